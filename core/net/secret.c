#include "net/secret.h"

#include <dlfcn.h>
#include <errno.h>
#include <sys/random.h>

#include "base/ensure.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/say.h"

/* What is used of libcrypto's API, as its manual pages EVP_Q_mac(3) and CRYPTO_memcmp(3) declare it. */
struct crypto {
    unsigned char *(*hmac)(const void *md, const void *key, int key_size, const unsigned char *data, size_t size,
                           unsigned char *out, unsigned *out_size);
    const void *(*sha256)(void);
    int (*compare)(const void *a, const void *b, size_t n);
};

static struct crypto crypto;

static bool find(void *library, const char *name, void *to)
{
    void *found = dlsym(library, name);
    memcpy(to, &found, sizeof found);
    return found != NULL;
}

static int crypto_load(void)
{
    if (crypto.hmac)
        return 0;
    void *library = dlopen("libcrypto.so.3", RTLD_NOW | RTLD_LOCAL);
    struct crypto c;
    if (!library || !find(library, "EVP_sha256", &c.sha256) || !find(library, "CRYPTO_memcmp", &c.compare) ||
        !find(library, "HMAC", &c.hmac)) {
        say_error("secret", "cannot load libcrypto.so.3: %s", dlerror());
        return -ERR_UNAVAILABLE;
    }
    crypto = c;
    return 0;
}

int secret_init(struct secret *s, slice key)
{
    *s = (struct secret){0};
    if (key.n == 0)
        return 0;
    if (key.n < SECRET_MIN || key.n > SECRET_MAX)
        return -EINVAL;
    int rc = crypto_load();
    if (rc < 0)
        return rc;
    s->key = mem_copy(key.p, key.n);
    s->size = key.n;
    return 0;
}

void secret_fini(struct secret *s)
{
    if (s->key)
        explicit_bzero(s->key, s->size);
    mem_free(s->key);
    *s = (struct secret){0};
}

void nonce_mint(char out[NONCE_SIZE])
{
    ENSURE(getrandom(out, NONCE_SIZE, 0) == NONCE_SIZE);
}

void secret_mac(const struct secret *s, slice text, char out[PROOF_SIZE])
{
    unsigned size = 0;
    ENSURE(crypto.hmac(crypto.sha256(), s->key, (int)s->size, (const unsigned char *)text.p, text.n,
                       (unsigned char *)out, &size) != NULL);
    ENSURE(size == PROOF_SIZE);
}

/* Without a secret the proof is zeros on both sides. */
void secret_prove(const struct secret *s, const char *role, slice what, char out[PROOF_SIZE])
{
    struct buf text = {0};
    memset(out, 0, PROOF_SIZE);
    if (!s->key)
        return;
    buf_add_slice(&text, slice_from(role));
    buf_add_char(&text, '\0');
    buf_add_slice(&text, what);
    secret_mac(s, buf_slice(&text), out);
    buf_fini(&text);
}

bool secret_check(const struct secret *s, const char *role, slice what, slice proof)
{
    char want[PROOF_SIZE];
    if (!s->key)
        return true;
    secret_prove(s, role, what, want);
    return proof.n == PROOF_SIZE && crypto.compare(want, proof.p, PROOF_SIZE) == 0;
}
