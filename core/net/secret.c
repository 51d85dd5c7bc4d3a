#include "net/secret.h"

#include <errno.h>
#include <sys/random.h>

#include "base/ensure.h"
#include "net/openssl.h"

static int nibble(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if ((c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'))
        return (c | 0x20) - 'a' + 10;
    return -1;
}

int secret_parse(slice text, struct secret *out)
{
    struct secret s = {.size = text.n / 2};
    int rc = text.n == 0 || (text.n % 2 == 0 && s.size >= SECRET_SIZE_MIN && s.size <= SECRET_SIZE_MAX) ? 0 : -EINVAL;
    for (size_t i = 0; rc == 0 && i < s.size; i++) {
        int high = nibble(text.p[2 * i]), low = nibble(text.p[2 * i + 1]);
        s.bytes[i] = (unsigned char)(16 * high + low);
        rc = high < 0 || low < 0 ? -EINVAL : 0;
    }
    if (rc == 0)
        *out = s;
    secret_clear(&s);
    return rc;
}

void secret_clear(struct secret *s)
{
    explicit_bzero(s, sizeof(*s));
}

void secret_mint(struct buf *out)
{
    unsigned char bytes[SECRET_SIZE_NEW];
    ENSURE(getrandom(bytes, sizeof(bytes), 0) == sizeof(bytes));
    for (size_t i = 0; i < sizeof(bytes); i++)
        buf_addf(out, "%02x", bytes[i]);
    explicit_bzero(bytes, sizeof(bytes));
}

static void mac(const void *key, size_t key_size, slice text, unsigned char out[SECRET_KEY_SIZE])
{
    unsigned size = 0;
    ENSURE(openssl.HMAC(openssl.EVP_sha256(), key, (int)key_size, (const unsigned char *)text.p, text.n, out, &size));
    ENSURE(size == SECRET_KEY_SIZE);
}

/* RFC 5869: extract with a salt of zeros, then one block of expand, which is as much as is needed. */
void secret_derive(const struct secret *s, slice info, unsigned char key[SECRET_KEY_SIZE])
{
    static const unsigned char salt[SECRET_KEY_SIZE];
    unsigned char extracted[SECRET_KEY_SIZE];
    struct buf block = {0};
    ENSURE(s->size > 0);
    mac(salt, sizeof(salt), slice_of((const char *)s->bytes, s->size), extracted);
    buf_add_slice(&block, info);
    buf_add_char(&block, 1);
    mac(extracted, sizeof(extracted), buf_slice(&block), key);
    buf_fini(&block);
    explicit_bzero(extracted, sizeof(extracted));
}
