#include "store/format/origin.h"

#include "base/ensure.h"
#include "base/err.h"

static size_t name_max(enum origin_kind kind)
{
    return kind == ORIGIN_PRODUCER ? PRODUCER_ID_MAX : kind == ORIGIN_KEY || kind == ORIGIN_LETTER
           ? IDEMPOTENCY_KEY_MAX : 0;
}

void origin_write(char *out, const struct origin *o)
{
    ENSURE(o->name.n > 0);
    ENSURE(o->name.n <= name_max(o->kind));
    out[0] = (char)o->kind;
    memcpy(out + 1, o->name.p, o->name.n);
}

int origin_read(const char *batch, const struct batch_head *head, struct origin *out)
{
    struct origin o = {.epoch = head->producer_epoch, .sequence = head->sequence};
    if (head->origin > 0) {
        o.kind = (enum origin_kind)(unsigned char)batch[BATCH_HEAD_SIZE];
        o.name = slice_of(batch + BATCH_HEAD_SIZE + 1, head->origin - 1u);
        if (o.name.n == 0 || o.name.n > name_max(o.kind))
            return -ERR_DAMAGED;
    }
    bool numbered = o.epoch > 0 || o.sequence > 0;
    if (numbered && (o.kind != ORIGIN_PRODUCER || o.epoch > JSON_INTEGER_MAX || o.sequence > JSON_INTEGER_MAX))
        return -ERR_DAMAGED;
    *out = o;
    return 0;
}

void origin_strip(struct buf *out, const char *batch, const struct batch_head *head)
{
    struct batch_head bare = *head;
    slice messages = batch_messages(batch, head);
    bare.size -= head->origin;
    bare.origin = 0;
    bare.producer_epoch = bare.sequence = 0;
    char *p = buf_reserve(out, bare.size);
    memcpy(p + BATCH_HEAD_SIZE, messages.p, messages.n);
    batch_head_write(p, &bare);
    out->end += bare.size;
}
