/*
 * Base64 (RFC 4648 section 4), with padding; and base64url (section 5), without, as JSON Web Tokens have it. One text
 * stands for some bytes: the bits of the last digit that belong to no byte must be 0.
 */
#ifndef BASE_BASE64_H
#define BASE_BASE64_H

#include "base/buf.h"

void base64_add(struct buf *out, slice bytes);

/* Decodes `text` to out->end. 0, or -EINVAL with `out` unchanged: another alphabet, a wrong length, padding that is
 * missing or not at the end, last bits that are not 0. */
int base64_decode(struct buf *out, slice text);

/* The same of base64url. */
void base64url_add(struct buf *out, slice bytes);
int base64url_decode(struct buf *out, slice text);

#endif
