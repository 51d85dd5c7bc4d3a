/*
 * What a client is told about a read besides its messages (doc/http.md, section 2). Each read says it, so it is
 * written here, from numbers straight to bytes.
 */
#include "script/message/batch.h"

static void add_pair(struct buf *out, uint64_t a, char between, uint64_t b)
{
    buf_add_u64(out, a);
    buf_add_char(out, between);
    buf_add_u64(out, b);
}

void facts_add_tag(struct buf *out, const struct read_facts *f, slice form)
{
    buf_add_char(out, '"');
    add_pair(out, f->id_epoch, ':', f->id_offset);
    buf_add_char(out, '/');
    buf_add_u64(out, f->epoch);
    buf_add_char(out, ':');
    add_pair(out, f->asked, '-', f->next);
    buf_add_char(out, '/');
    buf_add_slice(out, form);
    buf_add_char(out, '"');
}

void facts_add_headers(struct buf *lines, const struct read_facts *f, slice form)
{
    buf_add_slice(lines, SLICE("Lignum-Next-Offset: "));
    add_pair(lines, f->epoch, ':', f->next);
    buf_add_slice(lines, SLICE("\r\nLignum-Epoch: "));
    buf_add_u64(lines, f->epoch_now);
    buf_add_slice(lines, SLICE("\r\nLignum-Earliest: "));
    buf_add_u64(lines, f->earliest);
    if (f->staleness_ms >= 0) {
        buf_add_slice(lines, SLICE("\r\nLignum-Staleness-Ms: "));
        buf_add_u64(lines, (uint64_t)f->staleness_ms);
    }
    buf_add_slice(lines, SLICE("\r\n"));
    if (!f->tagged)
        return;
    buf_add_slice(lines, SLICE("ETag: "));
    facts_add_tag(lines, f, form);
    buf_add_slice(lines, SLICE("\r\n"));
}
