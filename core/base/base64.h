/*
 * Base64 (RFC 4648 section 4), with padding.
 */
#ifndef BASE_BASE64_H
#define BASE_BASE64_H

#include "base/buf.h"

void base64_add(struct buf *out, slice bytes);

/* Decodes `text` to out->end. 0, or -EINVAL with `out` unchanged: another alphabet, a wrong length, padding that is
 * missing or not at the end. Bits of the last digit that belong to no byte are ignored. */
int base64_decode(struct buf *out, slice text);

#endif
