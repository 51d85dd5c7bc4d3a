/*
 * Writing JSON. Only writing: what comes in is parsed by lua-cjson.
 *
 * The caller places braces and commas; these write one value each.
 */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include "base/buf.h"

/* A quoted string. The text must be valid UTF-8; what is not comes out as U+FFFD. */
void json_string(struct buf *out, slice text);

/* The same for text in which each byte stands for itself (ASCII without controls, quote and backslash), as nearly all
 * has: one pass. False, with nothing written, for any other. */
bool json_plain(struct buf *out, slice text);

/* The shortest decimal that reads back as v; null for what JSON has no word for (nan, inf). */
void json_number(struct buf *out, double v);

/* A member name and its colon: "name": -- with a comma before it unless a brace or bracket precedes. */
void json_key(struct buf *out, slice name);

bool utf8_valid(slice text);

#endif
