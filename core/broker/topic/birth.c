#include "broker/topic/birth.h"

#include "base/mem.h"

#define LABEL "label."
#define SOURCE "source"

bool birth_has(slice name)
{
    return slice_eq(name, SLICE(SOURCE)) || slice_starts(name, SLICE(LABEL));
}

void birth_write(struct buf *headers, const struct topic_birth *b)
{
    struct buf text = {0};
    slice name, value, rest = b->labels;
    if (!topic_id_eq(b->source, (struct topic_id){0, 0})) {
        buf_addf(&text, "%llu:%llu", (unsigned long long)b->source.epoch, (unsigned long long)b->source.offset);
        header_write(headers, SLICE(SOURCE), buf_slice(&text));
    }
    while (header_read(&rest, &name, &value)) {
        buf_clear(&text);
        buf_add_slice(&text, SLICE(LABEL));
        buf_add_slice(&text, name);
        header_write(headers, buf_slice(&text), value);
    }
    buf_fini(&text);
}

bool topic_id_read(slice text, struct topic_id *out)
{
    slice epoch;
    return slice_split(&text, ':', &epoch) && slice_u64(epoch, &out->epoch) == 0 && slice_u64(text, &out->offset) == 0;
}

void birth_read(struct topic *t, const struct message *m)
{
    slice name, value, rest = m->headers;
    while (header_read(&rest, &name, &value)) {
        if (!birth_has(name))
            continue;
        if (t->birth == NULL)
            t->birth = MEM_NEW(struct kept_birth);
        if (slice_eq(name, SLICE(SOURCE)))
            topic_id_read(value, &t->birth->source);
        else
            header_write(&t->birth->labels, slice_skip(name, sizeof(LABEL) - 1), value);
    }
}

void birth_free(struct topic *t)
{
    if (t->birth == NULL)
        return;
    buf_fini(&t->birth->labels);
    mem_free(t->birth);
    t->birth = NULL;
}
