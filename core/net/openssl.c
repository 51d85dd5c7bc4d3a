#include "net/openssl.h"

#include <dlfcn.h>
#include <string.h>

#include "base/err.h"
#include "base/say.h"

struct openssl openssl;

static bool find(void *library, const char *name, void *to)
{
    void *found = dlsym(library, name);
    memcpy(to, &found, sizeof found);
    return found != NULL;
}

/* They stay loaded: OpenSSL cannot be unloaded safely. */
int openssl_load(void)
{
    struct openssl o;
    if (openssl.SSL_new != NULL)
        return 0;
    void *crypto = dlopen("libcrypto.so.3", RTLD_NOW | RTLD_LOCAL);
    void *ssl = crypto != NULL ? dlopen("libssl.so.3", RTLD_NOW | RTLD_LOCAL) : NULL;
    bool whole = ssl != NULL;
#define X(name) whole = whole && find(crypto, #name, &o.name);
    OPENSSL_OF_CRYPTO(X)
#undef X
#define X(name) whole = whole && find(ssl, #name, &o.name);
    OPENSSL_OF_SSL(X)
#undef X
    if (!whole) {
        say_error("openssl", "cannot load libssl.so.3 and libcrypto.so.3 error=\"%s\"", dlerror());
        return -ERR_UNAVAILABLE;
    }
    openssl = o;
    return 0;
}

const EVP_MD *openssl_sha256(void)
{
    static EVP_MD *sha256;
    if (sha256 == NULL)
        sha256 = openssl.EVP_MD_fetch(NULL, "SHA256", NULL);
    return sha256 != NULL ? sha256 : openssl.EVP_sha256();
}
