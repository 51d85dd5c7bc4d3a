/*
 * Writing JSON; json_read.h reads it. Each function writes one value; the caller places braces and commas.
 */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include "base/buf.h"

/* A quoted string. Bytes that are not valid UTF-8 are replaced by U+FFFD. */
void json_string(struct buf *out, slice text);

/* The same in one pass, for text that needs no escapes and no validation (ASCII without controls, quote and backslash),
 * as nearly all text is. False, with nothing written, for any other. */
bool json_plain(struct buf *out, slice text);

/* The shortest decimal that reads back as v; null for nan and inf, which JSON cannot express. */
void json_number(struct buf *out, double v);

/* A member name and its colon, "name":, with a comma before it unless the last byte is a brace or bracket. */
void json_key(struct buf *out, slice name);

bool utf8_valid(slice text);

#endif
