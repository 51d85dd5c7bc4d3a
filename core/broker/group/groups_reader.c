#include "broker/group/groups_reader.h"

#include "base/err.h"
#include "base/mem.h"

enum { SPENT_MAX = 16 * KIB };       /* bytes of batches that are kept when all of their messages were claimed */

static bool reader_step(struct reader *r, struct message *m)
{
    while (r->messages.n == 0) {
        if (r->rest.n == 0 || batch_head_read(r->rest.p, &r->head) < 0)
            return false;
        r->messages = batch_messages(r->rest.p, &r->head);
        r->rest = slice_skip(r->rest, r->head.size);
        r->next = r->head.first;
    }
    r->next++;
    return message_read(&r->messages, m) == 0;
}

int reader_message(struct reader *r, uint64_t offset, uint64_t to, size_t bytes, struct message *m)
{
    if (offset < r->next || offset >= r->end || r->cuts != r->topic->cuts) {
        r->cuts = r->topic->cuts;
        r->next = r->end = 0;
        buf_clear(&r->raw);
        int rc = topic_read(r->topic, offset, to, bytes, &r->raw, &r->end);
        if (rc < 0)
            return rc;
        r->rest = buf_slice(&r->raw);
        r->messages = SLICE("");
        r->next = 0;
    }
    do {
        if (!reader_step(r, m))
            return -ERR_DAMAGED;
    } while (r->next <= offset);
    return 0;
}

void reader_free(struct groups *gs, struct held_group *g)
{
    if (g->reader == NULL)
        return;
    gs->cached -= g->reader->counted;
    buf_fini(&g->reader->raw);
    mem_free(g->reader);
    g->reader = NULL;
}

struct reader *reader_of(struct held_group *g, struct topic *t)
{
    if (g->reader == NULL)
        g->reader = MEM_NEW(struct reader);
    g->reader->topic = t;
    g->reader->used = true;
    return g->reader;
}

void reader_keep(struct groups *gs, struct held_group *g)
{
    struct reader *r = g->reader;
    gs->cached += r->raw.cap - r->counted;
    r->counted = r->raw.cap;
    bool spent = r->next >= r->end && r->raw.cap > SPENT_MAX;
    if (spent || gs->cached > GROUP_CACHE_MAX)
        reader_free(gs, g);
}

void readers_trim(struct groups *gs)
{
    struct held_group *g;
    for (size_t at = 0; (g = map_next(&gs->by_key, &at)) != NULL;) {
        if (g->reader != NULL && !g->reader->used)
            reader_free(gs, g);
        else if (g->reader != NULL)
            g->reader->used = false;
    }
}
