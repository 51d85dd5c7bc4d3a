#include "net/vouch.h"

#include <errno.h>

#include "base/ensure.h"
#include "net/openssl.h"

enum { MAC_SIZE = 32 };

void voucher_set(struct voucher *v, const struct secret *s)
{
    secret_derive(s, SLICE("lignum forward 1"), v->key);
    v->set = true;
}

void voucher_clear(struct voucher *v)
{
    explicit_bzero(v, sizeof(*v));
}

/* No part of what is signed contains a line feed: the parser of heads lets none in, nor do users have any. */
static void sign(const struct voucher *v, const struct vouched *r, unsigned char mac[MAC_SIZE])
{
    struct buf text = {0};
    unsigned size = 0;
    const slice parts[] = {r->method, r->path, r->query, r->user};
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        buf_add_slice(&text, parts[i]);
        buf_add_char(&text, '\n');
    }
    ENSURE(openssl.HMAC(openssl.EVP_sha256(), v->key, sizeof(v->key), (const unsigned char *)text.data, buf_size(&text),
                        mac, &size));
    ENSURE(size == MAC_SIZE);
    buf_fini(&text);
}

static void add_hex(struct buf *out, const unsigned char *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        buf_addf(out, "%02x", bytes[i]);
}

void vouch(const struct voucher *v, const struct vouched *r, struct buf *out)
{
    unsigned char mac[MAC_SIZE];
    ENSURE(v->set);
    sign(v, r, mac);
    add_hex(out, (const unsigned char *)r->user.p, r->user.n);
    buf_add_char(out, '.');
    add_hex(out, mac, sizeof(mac));
}

static int digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* `text` is twice as long as n. */
static bool read_hex(slice text, unsigned char *to, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int high = digit(text.p[2 * i]), low = digit(text.p[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        to[i] = (unsigned char)(16 * high + low);
    }
    return true;
}

int vouch_read(const struct voucher *v, const struct vouched *request, slice text, char user[VOUCHED_MAX])
{
    unsigned char name[VOUCHED_MAX], mac[MAC_SIZE], right[MAC_SIZE];
    struct vouched r = *request;
    slice first, rest = text;
    if (!v->set || !slice_split(&rest, '.', &first) || first.n % 2 != 0 || first.n / 2 > VOUCHED_MAX || first.n == 0 ||
        rest.n != 2 * sizeof(mac))
        return -EINVAL;
    if (!read_hex(first, name, first.n / 2) || !read_hex(rest, mac, sizeof(mac)))
        return -EINVAL;
    r.user = slice_of((const char *)name, first.n / 2);
    sign(v, &r, right);
    if (openssl.CRYPTO_memcmp(mac, right, sizeof(mac)) != 0)
        return -EINVAL;
    memcpy(user, name, r.user.n);
    return (int)r.user.n;
}
