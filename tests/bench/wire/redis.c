/*
 * RESP, to the streams of Redis: XADD to the key that the URL's path names, or whatever -m says, a %d in it being the
 * topic's number. A request of several messages is a pipeline.
 */
#include "bench/wire/wire.h"

static void word_add(struct buf *out, slice word)
{
    buf_addf(out, "$%zu\r\n", word.n);
    buf_add_slice(out, word);
    buf_add_slice(out, SLICE("\r\n"));
}

static void xadd_add(struct buf *out, slice key, slice message)
{
    buf_add_slice(out, SLICE("*5\r\n"));
    word_add(out, SLICE("XADD"));
    word_add(out, key);
    word_add(out, SLICE("*"));
    word_add(out, SLICE("d"));
    word_add(out, message);
}

static void command_add(struct buf *out, slice command, unsigned topic)
{
    struct buf words = {0};
    unsigned count = 1;
    slice word;
    path_add(&words, command, topic);
    slice rest = buf_slice(&words);
    for (size_t i = 0; i < rest.n; i++)
        count += rest.p[i] == ' ';
    buf_addf(out, "*%u\r\n", count);
    while (slice_split(&rest, ' ', &word))
        word_add(out, word);
    buf_fini(&words);
}

static void make(struct buf *out, const struct order *o, unsigned topic)
{
    struct buf key = {0};
    name_add(&key, o, topic);
    for (unsigned i = 0; i == 0 || i < o->lines; i++) {
        if (o->method)
            command_add(out, slice_from(o->method), topic);
        else
            xadd_add(out, buf_slice(&key), order_message(o, i));
    }
    buf_fini(&key);
}

/* One line of a reply: it is one element, and may announce more elements, or the bytes of a string. */
static bool line_apply(struct answer *a, slice line)
{
    uint64_t n = 0;
    slice digits = slice_of(line.p + 1, line.n - 3);
    bool none = digits.n > 0 && *digits.p == '-';
    if (strchr("$*", line.p[0]) && !none && slice_u64(digits, &n) < 0)
        return false;
    switch (line.p[0]) {
    case '+': case ':': break;
    case '-': a->status = refused(digits); break;
    case '$': a->left = none ? 0 : n + 2; break;
    case '*': a->elements += n; break;
    default: return false;
    }
    a->elements--;
    return true;
}

static void reply_end(struct answer *a)
{
    if (a->elements == 0 && a->left == 0)
        a->replies--;
}

static int take(struct answer *a, char *in, size_t n, size_t *took)
{
    if (a->status == 0)
        a->status = 200;
    while (*took < n && a->replies > 0) {
        size_t some = n - *took < a->left ? n - *took : (size_t)a->left;
        if (some > 0) {
            a->left -= some;
            *took += some;
            reply_end(a);
            continue;
        }
        char *at = in + *took, *end = memchr(at, '\n', n - *took);
        if (!end)
            break;
        if (a->elements == 0)
            a->elements = 1;
        if (end - at < 2 || !line_apply(a, slice_of(at, (size_t)(end - at) + 1)))
            return -1;
        *took += (size_t)(end - at) + 1;
        reply_end(a);
    }
    return a->replies == 0;
}

const struct wire wire_redis = {.scheme = "redis", .reply_each = true, .make = make, .take = take};
