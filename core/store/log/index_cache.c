#include "store/log/index_cache.h"

static size_t index_bytes(const struct cached_index *ci)
{
    return ci->index.cap * sizeof *ci->index.entries;
}

void index_cache_init(struct index_cache *c, size_t bytes_max)
{
    *c = (struct index_cache){.bytes_max = bytes_max};
    list_init(&c->used);
}

void cached_index_init(struct cached_index *ci)
{
    *ci = (struct cached_index){.complete = true};
    list_init(&ci->link);
    index_init(&ci->index);
}

void index_cache_use(struct index_cache *c, struct cached_index *ci)
{
    index_cache_remove(c, ci);
    list_push(&c->used, &ci->link);
    c->bytes += index_bytes(ci);
    while (c->bytes > c->bytes_max && c->used.next != &ci->link)
        index_cache_drop(c, list_first(&c->used, struct cached_index, link));
}

void index_cache_remove(struct index_cache *c, struct cached_index *ci)
{
    if (list_alone(&ci->link))
        return;
    list_remove(&ci->link);
    c->bytes -= index_bytes(ci);
}

void index_cache_drop(struct index_cache *c, struct cached_index *ci)
{
    index_cache_remove(c, ci);
    index_fini(&ci->index);
    ci->complete = false;
}
