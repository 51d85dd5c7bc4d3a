#include "script/message/read_headers.h"

#include <string.h>

#include "script/message/token.h"

static void add_pair(struct buf *out, uint64_t a, char between, uint64_t b)
{
    buf_add_u64(out, a);
    buf_add_char(out, between);
    buf_add_u64(out, b);
}

/* "<topic id>/<epoch>:<from>-<next>/<form>", quotes included. */
static void add_tag(struct buf *out, const struct read_headers *h, slice form)
{
    buf_add_char(out, '"');
    add_pair(out, h->id_epoch, ':', h->id_offset);
    buf_add_char(out, '/');
    buf_add_u64(out, h->epoch);
    buf_add_char(out, ':');
    add_pair(out, h->asked, '-', h->next);
    buf_add_char(out, '/');
    buf_add_slice(out, form);
    buf_add_char(out, '"');
}

void read_headers_write(struct buf *lines, const struct read_headers *h, slice form)
{
    buf_add_slice(lines, SLICE("Lignum-Next-Offset: "));
    token_write(lines, h->epoch, h->next, h->id_offset);
    buf_add_slice(lines, SLICE("\r\nLignum-Epoch: "));
    buf_add_u64(lines, h->epoch_now);
    buf_add_slice(lines, SLICE("\r\nLignum-Earliest: "));
    buf_add_u64(lines, h->earliest);
    if (h->staleness_ms >= 0) {
        buf_add_slice(lines, SLICE("\r\nLignum-Staleness-Ms: "));
        buf_add_u64(lines, (uint64_t)h->staleness_ms);
    }
    buf_add_slice(lines, SLICE("\r\nX-Content-Type-Options: nosniff\r\n"));
    if (!h->tagged) {
        buf_add_slice(lines, SLICE("Cache-Control: no-store\r\n"));
        return;
    }
    buf_add_slice(lines, SLICE("ETag: "));
    add_tag(lines, h, form);
    buf_add_slice(lines, SLICE("\r\n"));
}

bool read_headers_match(struct read_headers *h, const struct http_request *r, slice form, struct buf *tag)
{
    h->tagged = h->fixed;
    if (!h->tagged)
        return false;
    const struct http_head *head = &r->head;
    static const slice name = SLICE("if-none-match");
    add_tag(tag, h, form);
    for (size_t i = http_head_next(head, name, 0); i < head->header_count; i = http_head_next(head, name, i + 1)) {
        slice list = head->headers[i].value;
        /* A list of quoted tags, none of which contains a quote: to find the quoted tag is to find the element. */
        if (slice_eq(list, SLICE("*")) ||
            (list.n > 0 && memmem(list.p, list.n, tag->data + tag->at, buf_size(tag)) != NULL))
            return true;
    }
    return false;
}
