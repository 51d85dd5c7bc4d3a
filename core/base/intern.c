#include "base/intern.h"

#include <stdint.h>
#include <string.h>

#include "base/mem.h"

enum { LOOKED_AT = 16 };

struct interned {
    struct list link;            /* in its pool */
    size_t users;
    max_align_t value[];
};

void intern_init(struct intern_pool *p, size_t size, intern_equal_fn *equal)
{
    list_init(&p->values);
    p->size = size;
    p->equal = equal;
}

static struct interned *find(const struct intern_pool *p, const void *value)
{
    unsigned looked = 0;
    for (struct list *l = p->values.prev; l != &p->values && looked < LOOKED_AT; l = l->prev, looked++) {
        struct interned *in = LIST_OWNER(l, struct interned, link);
        if (p->equal(in->value, value))
            return in;
    }
    return NULL;
}

const void *intern(struct intern_pool *p, const void *value)
{
    struct interned *in = find(p, value);
    if (in) {
        list_remove(&in->link);
    } else {
        in = mem_new(sizeof *in + p->size);
        memcpy(in->value, value, p->size);
    }
    list_push(&p->values, &in->link);
    in->users++;
    return in->value;
}

void intern_release(const void *value)
{
    if (!value)
        return;
    struct interned *in = LIST_OWNER((uintptr_t)value, struct interned, value);
    if (--in->users > 0)
        return;
    list_remove(&in->link);
    mem_free(in);
}
