/*
 * AMQP 0-9-1, to a durable queue of RabbitMQ with publisher confirms: one persistent message a request. The URL's
 * path is the queue's name; its type is the part after a dot: "/q.quorum", "/q.stream".
 */
#include "bench/wire/big_endian.h"
#include "bench/wire/wire.h"

enum { METHOD = 1, HEADER = 2, BODY = 3, FRAME_HEAD = 7, FRAME_END = 0xce, IN_MAX = 4096 };

static void short_add(struct buf *out, slice s)
{
    u_add(out, s.n, 1);
    buf_add_slice(out, s);
}

static void long_add(struct buf *out, slice s)
{
    u_add(out, s.n, 4);
    buf_add_slice(out, s);
}

static void frame_add(struct buf *out, int type, unsigned channel, slice payload)
{
    u_add(out, (unsigned)type, 1);
    u_add(out, channel, 2);
    long_add(out, payload);
    u_add(out, FRAME_END, 1);
}

/* Sends one method and waits for the method that answers it. */
static bool call(int fd, unsigned channel, struct buf *payload, uint32_t answer)
{
    char head[FRAME_HEAD], in[IN_MAX];
    struct buf out = {0};
    frame_add(&out, METHOD, channel, buf_slice(payload));
    bool good = send_all(fd, buf_slice(&out));
    buf_fini(&out);
    buf_clear(payload);
    if (!good || answer == 0)
        return good;
    if (!read_all(fd, head, sizeof head) || u_at(head + 3, 4) >= sizeof in)
        return false;
    size_t size = u_at(head + 3, 4);
    if (!read_all(fd, in, size + 1))
        return false;
    if (u_at(in, 4) != answer)
        refused(slice_of(in, size));
    return u_at(in, 4) == answer;
}

#define AMQP(class, method) ((uint32_t)(class) << 16 | (method))

static bool connection_open(int fd, struct buf *b)
{
    u_add(b, AMQP(10, 11), 4);                         /* start-ok */
    long_add(b, SLICE(""));
    short_add(b, SLICE("PLAIN"));
    long_add(b, SLICE("\0guest\0guest"));
    short_add(b, SLICE("en_US"));
    if (!call(fd, 0, b, AMQP(10, 30)))
        return false;
    u_add(b, AMQP(10, 31), 4);                         /* tune-ok: channels, frame size, no heartbeats */
    u_add(b, 16, 2);
    u_add(b, 128 * 1024, 4);
    u_add(b, 0, 2);
    if (!call(fd, 0, b, 0))
        return false;
    u_add(b, AMQP(10, 40), 4);                         /* open "/" */
    short_add(b, SLICE("/"));
    u_add(b, 0, 2);
    return call(fd, 0, b, AMQP(10, 41));
}

static bool queue_declare(int fd, struct buf *b, slice name)
{
    struct buf table = {0};
    const char *dot = memrchr(name.p, '.', name.n);
    short_add(&table, SLICE("x-queue-type"));
    u_add(&table, 'S', 1);
    long_add(&table, slice_skip(name, dot ? (size_t)(dot - name.p) + 1 : 0));
    u_add(b, AMQP(50, 10), 4);
    u_add(b, 0, 2);
    short_add(b, name);
    u_add(b, 2, 1);                                    /* durable */
    long_add(b, buf_slice(&table));
    buf_fini(&table);
    return call(fd, 1, b, AMQP(50, 11));
}

static bool greet(int fd, const struct order *o, unsigned connection)
{
    char head[FRAME_HEAD], in[IN_MAX];
    struct buf b = {0}, name = {0};
    if (!send_all(fd, SLICE("AMQP\0\0\x09\x01")) || !read_all(fd, head, sizeof head))
        return false;
    if (u_at(head + 3, 4) >= sizeof in || !read_all(fd, in, u_at(head + 3, 4) + 1) || !connection_open(fd, &b))
        return false;
    u_add(&b, AMQP(20, 10), 4);                        /* channel open */
    u_add(&b, 0, 1);
    name_add(&name, o, connection);
    if (!call(fd, 1, &b, AMQP(20, 11)) || !queue_declare(fd, &b, buf_slice(&name)))
        return false;
    u_add(&b, AMQP(85, 10), 4);                        /* confirm select */
    u_add(&b, 0, 1);
    bool good = call(fd, 1, &b, AMQP(85, 11));
    buf_fini(&b);
    buf_fini(&name);
    return good;
}

static void make(struct buf *out, const struct order *o, unsigned topic)
{
    struct buf b = {0}, name = {0};
    name_add(&name, o, topic);
    u_add(&b, AMQP(60, 40), 4);                        /* publish */
    u_add(&b, 0, 2);
    short_add(&b, SLICE(""));
    short_add(&b, buf_slice(&name));
    u_add(&b, 0, 1);
    frame_add(out, METHOD, 1, buf_slice(&b));
    buf_clear(&b);
    u_add(&b, 60, 2);
    u_add(&b, 0, 2);
    u_add(&b, o->body.n, 8);
    u_add(&b, 0x1000, 2);                              /* one property: delivery mode, 2 = persistent */
    u_add(&b, 2, 1);
    frame_add(out, HEADER, 1, buf_slice(&b));
    frame_add(out, BODY, 1, o->body);
    buf_fini(&b);
    buf_fini(&name);
}

static int take(struct answer *a, char *in, size_t n, size_t *took)
{
    a->status = 200;
    while (a->replies > 0 && n - *took >= FRAME_HEAD) {
        const char *at = in + *took;
        size_t size = u_at(at + 3, 4) + FRAME_HEAD + 1;
        if (n - *took < size)
            break;
        *took += size;
        if (at[0] != METHOD)
            continue;
        a->replies--;
        if (u_at(at + FRAME_HEAD, 4) != AMQP(60, 80))
            a->status = refused(slice_of(at + FRAME_HEAD, size - FRAME_HEAD - 1));
    }
    return a->replies == 0;
}

const struct wire wire_amqp = {.scheme = "amqp", .make = make, .greet = greet, .take = take};
