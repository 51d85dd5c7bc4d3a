/* beanstalkd: put, into the tube "default". */
#include "bench/wire/wire.h"

static void make(struct buf *out, const struct order *o, unsigned topic)
{
    (void)topic;
    for (unsigned i = 0; i == 0 || i < o->lines; i++) {
        slice message = order_message(o, i);
        buf_addf(out, "put 0 0 60 %zu\r\n", message.n);
        buf_add_slice(out, message);
        buf_add_slice(out, SLICE("\r\n"));
    }
}

static int take(struct answer *a, char *in, size_t n, size_t *took)
{
    char *at = in, *end;
    a->status = a->status ? a->status : 200;
    while (a->replies > 0 && (end = memchr(at, '\n', n - *took))) {
        slice line = slice_of(at, (size_t)(end - at));
        if (!slice_starts(line, SLICE("INSERTED ")))
            a->status = refused(line);
        at = end + 1;
        *took = (size_t)(at - in);
        a->replies--;
    }
    return a->replies == 0;
}

const struct wire wire_beanstalk = {.scheme = "beanstalk", .reply_each = true, .make = make, .take = take};
