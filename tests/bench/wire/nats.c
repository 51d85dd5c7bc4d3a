/*
 * NATS JetStream: a publish names an inbox of its connection, to which the stream sends its acknowledgement. A stream
 * for the subject must exist.
 */
#include "bench/wire/wire.h"

static bool greet(int fd, const struct order *o, unsigned connection)
{
    struct buf hello = {0};
    (void)o;
    buf_addf(&hello, "CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true,\"no_responders\":true}\r\n"
             "SUB _INBOX.%u 1\r\nPING\r\n", connection);
    bool good = read_until(fd, SLICE("\r\n")) && send_all(fd, buf_slice(&hello)) && read_until(fd, SLICE("PONG\r\n"));
    buf_fini(&hello);
    return good;
}

static void make(struct buf *out, const struct order *o, unsigned connection)
{
    for (unsigned i = 0; i == 0 || i < o->lines; i++) {
        slice message = order_message(o, i);
        buf_add_slice(out, SLICE("PUB "));
        name_add(out, o, connection);
        buf_addf(out, " _INBOX.%u %zu\r\n", connection, message.n);
        buf_add_slice(out, message);
        buf_add_slice(out, SLICE("\r\n"));
    }
}

/* The payload's length is the last word of "MSG subject sid length". */
static bool length_of(slice line, uint64_t *n)
{
    const char *blank = memrchr(line.p, ' ', line.n);
    return blank && slice_u64(slice_of(blank + 1, (size_t)(line.p + line.n - blank) - 1), n) == 0;
}

static int take(struct answer *a, char *in, size_t n, size_t *took)
{
    a->status = a->status ? a->status : 200;
    for (char *at = in, *end; (end = memmem(at, n - *took, "\r\n", 2)); at = in + *took) {
        slice line = slice_of(at, (size_t)(end - at)), payload = {end + 2, 0};
        uint64_t length;
        if (slice_eq(line, SLICE("PING")) || slice_eq(line, SLICE("+OK"))) {
            *took += line.n + 2;     /* not answered: the server waits minutes for a PONG, longer than a run */
            continue;
        }
        if (a->replies == 0)
            return -1;
        if (!(slice_starts(line, SLICE("MSG ")) || slice_starts(line, SLICE("HMSG "))) || !length_of(line, &length))
            return -1;
        payload.n = (size_t)length;
        if (n - *took < line.n + 2 + payload.n + 2)
            break;
        if (line.p[0] == 'H' || memmem(payload.p, payload.n, "\"error\"", 7))
            a->status = refused(payload);
        *took += line.n + 2 + payload.n + 2;
        a->replies--;
    }
    return a->replies == 0;
}

const struct wire wire_nats = {
    .scheme = "nats", .reply_each = true, .own_requests = true, .speaks_unasked = true,
    .make = make, .greet = greet, .take = take,
};
