/*
 * 128-bit random identities, of a cluster or of a node's incarnation.
 */
#ifndef BASE_ID_H
#define BASE_ID_H

#include "base/buf.h"

enum { ID_SIZE = 16, ID_TEXT_SIZE = 2 * ID_SIZE };

struct id {
    unsigned char bytes[ID_SIZE];
};

struct id id_mint(void);
bool id_eq(const struct id *a, const struct id *b);
bool id_is_zero(const struct id *a);
void id_format(struct buf *out, const struct id *id);   /* 32 hex digits */
int id_parse(slice text, struct id *out);               /* 0 or -EINVAL */

#endif
