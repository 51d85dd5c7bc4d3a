#include "script/message/trace.h"

#include "store/format/record.h"

enum {
    VERSION = 2, TRACE_ID = 32, PARENT_ID = 16, FLAGS = 2,       /* digits of the parts, with a dash between them */
    PARENT_SIZE = VERSION + 1 + TRACE_ID + 1 + PARENT_ID + 1 + FLAGS,
    STATE_SIZE_MAX = 512,                                        /* what the standard has every one keep */
};

static const slice parent_name = SLICE("traceparent"), state_name = SLICE("tracestate");

/* Hexadecimal digits in lower case and then a dash, or the end of the text: removes both, and says whether one of the
 * digits is not 0. */
static bool take_part(slice *text, size_t digits, bool *set)
{
    if (text->n < digits || (text->n > digits && text->p[digits] != '-'))
        return false;
    *set = false;
    for (size_t i = 0; i < digits; i++) {
        char c = text->p[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
            return false;
        *set = *set || c != '0';
    }
    *text = slice_skip(*text, digits + (text->n > digits));
    return true;
}

/* Version 00 has four parts; later ones begin with these and may go on behind a dash. ff is no version. */
static bool is_parent(slice v)
{
    slice rest = v;
    bool set, trace, parent;
    if (v.n < PARENT_SIZE || slice_starts(v, SLICE("ff")) || (slice_starts(v, SLICE("00")) && v.n != PARENT_SIZE))
        return false;
    return take_part(&rest, VERSION, &set) && take_part(&rest, TRACE_ID, &trace) &&
           take_part(&rest, PARENT_ID, &parent) && take_part(&rest, FLAGS, &set) && trace && parent;
}

static bool is_state(slice v)
{
    for (size_t i = 0; i < v.n; i++)
        if (v.p[i] < ' ' || v.p[i] > '~')
            return false;
    return v.n > 0 && v.n <= STATE_SIZE_MAX;
}

static void add(struct buf *headers, slice name, slice value)
{
    if (buf_size(headers) + HEADER_SIZES + name.n + value.n <= HEADERS_SIZE_MAX)
        header_write(headers, name, value);
}

void trace_add(struct buf *headers, const struct http_head *head)
{
    if (!http_head_has(head, NAME_TRACEPARENT) || header_named(buf_slice(headers), parent_name).p != NULL)
        return;
    size_t line = http_head_next(head, parent_name, 0);
    slice parent = head->headers[line].value;
    if (!is_parent(parent) || http_head_next(head, parent_name, line + 1) < head->header_count)
        return;
    struct buf list = {0};
    slice state = http_head_join(head, state_name, &list);
    add(headers, parent_name, parent);
    if (is_state(state) && header_named(buf_slice(headers), state_name).p == NULL)
        add(headers, state_name, state);
    buf_fini(&list);
}
