#include "script/message/batch.h"

#include "base/ensure.h"
#include "broker/group/filter.h"

bool cursor_next_batch(struct cursor *c)
{
    if (c->rest.n < BATCH_HEAD_SIZE)
        return false;
    ENSURE(batch_head_read(c->rest.p, &c->head) == 0);   /* the store has verified it */
    ENSURE(c->head.size <= c->rest.n);
    c->batch = c->rest.p;
    c->messages = batch_messages(c->rest.p, &c->head);
    c->rest = slice_skip(c->rest, c->head.size);
    c->offset = c->head.first - 1;
    c->left = c->head.count;
    return true;
}

bool cursor_next(struct cursor *c, struct message *m)
{
    do {
        while (c->left == 0)
            if (!cursor_next_batch(c))
                return false;
        c->message = c->messages.p;
        ENSURE(message_read(&c->messages, m) == 0);
        c->left--;
        c->offset++;
    } while (c->filter.n > 0 && !filter_takes(c->filter, m));
    return true;
}

struct cursor batch_walk(const struct batch *b)
{
    return (struct cursor){.rest = buf_slice(&b->raw), .filter = buf_slice(&b->filter)};
}

/* Reads the heads only: where the messages end that fit into the limit. */
static void cut_count(struct batch *b, const struct batch_range *range)
{
    struct cursor c = {.rest = buf_slice(&b->raw)};
    while (b->count < range->limit && cursor_next_batch(&c)) {
        uint64_t low = c.head.first > range->from ? c.head.first : range->from;
        uint64_t high = c.head.first + c.head.count < range->to ? c.head.first + c.head.count : range->to;
        if (low >= high)
            continue;
        uint64_t n = high - low < range->limit - b->count ? high - low : range->limit - b->count;
        b->count += n;
        b->to = low + n;
        b->epoch = c.head.epoch;
    }
}

/* A single stored batch can be larger than the bytes that were asked for, so count message by message. */
static void cut_bytes(struct batch *b, size_t bytes)
{
    struct cursor c = {.rest = buf_slice(&b->raw)};
    struct message m;
    size_t size = 0;
    uint64_t count = 0;
    while (cursor_next(&c, &m) && c.offset < b->to) {
        if (c.offset < b->from)
            continue;
        size += m.payload.n + m.key.n + m.headers.n;
        if (size > bytes && count > 0)
            break;
        count++;
        b->epoch = c.head.epoch;
    }
    b->to -= b->count - count;
    b->count = count;
}

void batch_cut(struct batch *b, const struct batch_range *range)
{
    b->from = b->to = range->from;
    b->count = b->epoch = 0;
    cut_count(b, range);
    if (buf_size(&b->raw) > range->bytes)
        cut_bytes(b, range->bytes);
}

bool batch_sift(struct batch *b, size_t position, const struct batch_range *range, size_t *size)
{
    struct cursor c = {.rest = slice_skip(buf_slice(&b->raw), position)};
    struct message m;
    while (cursor_next(&c, &m) && c.offset < range->to) {
        if (c.offset < b->to)
            continue;
        if (filter_takes(buf_slice(&b->filter), &m)) {
            *size += m.payload.n + m.key.n + m.headers.n;
            if (*size > range->bytes && b->count > 0)
                return false;
            b->count++;
        }
        b->to = c.offset + 1;
        b->epoch = c.head.epoch;
        if (b->count == range->limit)
            return false;
    }
    return true;
}

void batch_release(struct memory *memory, struct batch *b)
{
    memory_release(memory, b->claimed);
    b->claimed = 0;
    buf_fini(&b->raw);
    buf_fini(&b->filter);
    buf_fini(&b->index);
}
