#include "bench/wire/wire.h"

#include <stdio.h>
#include <sys/socket.h>

const struct wire *wire_find(slice url, slice *rest)
{
    static const struct wire *const wires[] = {
        &wire_http, &wire_redis, &wire_beanstalk, &wire_nats, &wire_tarantool, &wire_amqp,
    };
    const char *at = memmem(url.p, url.n, "://", 3);
    if (!at)
        return NULL;
    slice scheme = slice_of(url.p, (size_t)(at - url.p));
    *rest = slice_skip(url, scheme.n + 3);
    for (size_t i = 0; i < sizeof wires / sizeof *wires; i++)
        if (slice_eq(scheme, slice_from(wires[i]->scheme)))
            return wires[i];
    return NULL;
}

void path_add(struct buf *out, slice path, unsigned topic)
{
    const char *at = memmem(path.p, path.n, "%d", 2);
    if (!at) {
        buf_add_slice(out, path);
        return;
    }
    buf_add(out, path.p, (size_t)(at - path.p));
    buf_add_u64(out, topic);
    buf_add_slice(out, slice_skip(path, (size_t)(at - path.p) + 2));
}

void name_add(struct buf *out, const struct order *o, unsigned topic)
{
    path_add(out, slice_skip(o->path, 1), topic);
}

slice order_message(const struct order *o, unsigned i)
{
    if (o->lines == 0)
        return o->body;
    size_t each = o->body.n / o->lines;
    return slice_of(o->body.p + i * each, each - 1);
}

int refused(slice why)
{
    static bool said;         /* not synchronised: two threads may both print a line */
    if (!said)
        fprintf(stderr, "load: refused: %.*s\n", SLICE_ARGS(why));
    said = true;
    return 500;
}

bool send_all(int fd, slice s)
{
    return send(fd, s.p, s.n, MSG_NOSIGNAL) == (ssize_t)s.n;
}

bool read_all(int fd, char *p, size_t n)
{
    return recv(fd, p, n, MSG_WAITALL) == (ssize_t)n;
}

bool read_until(int fd, slice end)
{
    size_t matched = 0;
    char c;
    while (matched < end.n && read_all(fd, &c, 1))
        matched = c == end.p[matched] ? matched + 1 : c == end.p[0];
    return matched == end.n;
}
