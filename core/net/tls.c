#include "net/tls.h"

#include <errno.h>
#include <stdio.h>

#include "base/ensure.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/say.h"
#include "net/openssl.h"

/* RFC 8446, section 5.5: AES-GCM is safe for 2^24.5 full records under one key. OpenSSL does not count. */
#define REKEY_RECORDS ((uint64_t)1 << 23)

enum { RECORD_MAX = 16 * KIB };

/* One cipher suite, whose hash is that of the PSK. AES-128 matches the least that a secret must have. */
static const unsigned char cipher_id[] = {0x13, 0x01};
#define CIPHERS "TLS_AES_128_GCM_SHA256"
#define GROUPS "X25519"

/* A fatal alert. OpenSSL sends none to a peer whose first bytes are not TLS; from this one it learns that they ought
 * to have been (net/link.c). */
#define PROTOCOL_VERSION_ALERT "\x15\x03\x03\0\2\2\x46"

struct tls_context {
    SSL_CTX *ssl;                    /* owned */
    BIO_METHOD *buffers;             /* owned by the process */
    struct secret secret;
};

struct tls {
    SSL *ssl;                        /* owned */
    enum tls_side side;
    char name[TLS_NAME_MAX];
    size_t name_size;
    unsigned char key[SECRET_KEY_SIZE];
    struct buf *in, *out;            /* the caller's, during a call */
    uint64_t records, rekey;         /* encrypted under the current key; how many may be */
    bool open;
    bool stranger;                   /* the client named another key */
    char why[128];
};

/* ---- OpenSSL reads from `in` and writes to `out` ---- */

static int bio_read(BIO *bio, char *to, int size)
{
    struct tls *t = openssl.BIO_get_data(bio);
    openssl.BIO_clear_flags(bio, BIO_FLAGS_RWS | BIO_FLAGS_SHOULD_RETRY);
    slice from = t->in != NULL ? buf_slice(t->in) : (slice){0};
    size_t n = from.n < (size_t)size ? from.n : (size_t)size;
    if (n == 0) {
        openssl.BIO_set_flags(bio, BIO_FLAGS_READ | BIO_FLAGS_SHOULD_RETRY);
        return -1;
    }
    memcpy(to, from.p, n);
    buf_drop(t->in, n);
    return (int)n;
}

static int bio_write(BIO *bio, const char *from, int size)
{
    struct tls *t = openssl.BIO_get_data(bio);
    openssl.BIO_clear_flags(bio, BIO_FLAGS_RWS | BIO_FLAGS_SHOULD_RETRY);
    buf_add(t->out, from, (size_t)size);
    return size;
}

static long bio_ctrl(BIO *bio, int command, long number, void *pointer)
{
    (void)bio;
    (void)number;
    (void)pointer;
    return command == BIO_CTRL_FLUSH;
}

static BIO_METHOD *buffers_method(void)
{
    static BIO_METHOD *method;
    if (method != NULL)
        return method;
    method = openssl.BIO_meth_new(BIO_TYPE_SOURCE_SINK, "buffers");
    ENSURE(method != NULL);
    openssl.BIO_meth_set_read(method, bio_read);
    openssl.BIO_meth_set_write(method, bio_write);
    openssl.BIO_meth_set_ctrl(method, bio_ctrl);
    return method;
}

/* ---- the shared key ---- */

static SSL_SESSION *psk_session(const struct tls *t)
{
    SSL_SESSION *s = openssl.SSL_SESSION_new();
    ENSURE(s != NULL);
    ENSURE(openssl.SSL_SESSION_set1_master_key(s, t->key, sizeof(t->key)) == 1);
    ENSURE(openssl.SSL_SESSION_set_cipher(s, openssl.SSL_CIPHER_find(t->ssl, cipher_id)) == 1);
    ENSURE(openssl.SSL_SESSION_set_protocol_version(s, TLS1_3_VERSION) == 1);
    return s;
}

/* The client offers its key by name. OpenSSL may ask again, for one of a certain hash. */
static int on_use_psk(SSL *ssl, const EVP_MD *hash, const unsigned char **name, size_t *size, SSL_SESSION **out)
{
    const struct tls *t = openssl.SSL_get_ex_data(ssl, 0);
    *out = NULL;
    *name = NULL;
    *size = 0;
    if (hash != NULL && hash != openssl.EVP_sha256())
        return 1;
    *name = (const unsigned char *)t->name;
    *size = t->name_size;
    *out = psk_session(t);
    return 1;
}

/* The server knows one name. Without a key OpenSSL looks for a certificate, of which there is none, and fails. */
static int on_find_psk(SSL *ssl, const unsigned char *name, size_t size, SSL_SESSION **out)
{
    struct tls *t = openssl.SSL_get_ex_data(ssl, 0);
    t->stranger = !slice_eq(slice_of((const char *)name, size), slice_of(t->name, t->name_size));
    *out = t->stranger ? NULL : psk_session(t);
    return 1;
}

/* ---- contexts ---- */

int tls_context_new(const struct secret *s, struct tls_context **out)
{
    int rc = openssl_load();
    if (rc < 0)
        return rc;
    struct tls_context *c = MEM_NEW(struct tls_context);
    c->secret = *s;
    c->buffers = buffers_method();
    SSL_CTX *ssl = c->ssl = openssl.SSL_CTX_new(openssl.TLS_method());
    if (ssl == NULL || openssl.SSL_CTX_ctrl(ssl, SSL_CTRL_SET_MIN_PROTO_VERSION, TLS1_3_VERSION, NULL) != 1 ||
        openssl.SSL_CTX_ctrl(ssl, SSL_CTRL_SET_MAX_PROTO_VERSION, TLS1_3_VERSION, NULL) != 1 ||
        openssl.SSL_CTX_set_ciphersuites(ssl, CIPHERS) != 1 ||
        openssl.SSL_CTX_ctrl(ssl, SSL_CTRL_SET_GROUPS_LIST, 0, (void *)(uintptr_t)GROUPS) != 1 ||
        openssl.SSL_CTX_set_num_tickets(ssl, 0) != 1) {
        say_error("tls", "this OpenSSL has been configured without TLS 1.3, %s or %s", CIPHERS, GROUPS);
        tls_context_free(c);
        return -ERR_UNAVAILABLE;
    }
    openssl.SSL_CTX_ctrl(ssl, SSL_CTRL_SET_SESS_CACHE_MODE, SSL_SESS_CACHE_OFF, NULL);
    openssl.SSL_CTX_set_options(ssl, SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION);
    openssl.SSL_CTX_set_psk_use_session_callback(ssl, on_use_psk);
    openssl.SSL_CTX_set_psk_find_session_callback(ssl, on_find_psk);
    *out = c;
    return 0;
}

void tls_context_free(struct tls_context *c)
{
    if (c == NULL)
        return;
    openssl.SSL_CTX_free(c->ssl);
    secret_clear(&c->secret);
    mem_free(c);
}

/* ---- connections ---- */

struct tls *tls_new(const struct tls_context *c, enum tls_side side, slice name)
{
    struct tls *t = MEM_NEW(struct tls);
    struct buf info = {0};
    ENSURE(name.n <= TLS_NAME_MAX);
    t->side = side;
    t->rekey = REKEY_RECORDS;
    t->name_size = name.n;
    memcpy(t->name, name.p, name.n);
    buf_add_slice(&info, SLICE("lignum psk 1"));
    buf_add_char(&info, '\0');
    buf_add_slice(&info, name);
    secret_derive(&c->secret, buf_slice(&info), t->key);
    buf_fini(&info);

    BIO *bio = openssl.BIO_new(c->buffers);
    t->ssl = openssl.SSL_new(c->ssl);
    ENSURE(bio != NULL);
    ENSURE(t->ssl != NULL);
    openssl.BIO_set_data(bio, t);
    openssl.BIO_set_init(bio, 1);
    openssl.SSL_set_bio(t->ssl, bio, bio);
    ENSURE(openssl.SSL_set_ex_data(t->ssl, 0, t) == 1);
    if (side == TLS_CLIENT) {
        openssl.SSL_set_connect_state(t->ssl);
        openssl.SSL_set_verify(t->ssl, SSL_VERIFY_PEER, NULL);   /* no certificate is trusted */
    } else {
        openssl.SSL_set_accept_state(t->ssl);
    }
    return t;
}

void tls_free(struct tls *t)
{
    if (t == NULL)
        return;
    openssl.SSL_free(t->ssl);
    explicit_bzero(t->key, sizeof(t->key));
    mem_free(t);
}

/* ---- failures ---- */

static const char *explain(const struct tls *t, int reason)
{
    switch (reason) {
    case SSL_R_WRONG_VERSION_NUMBER:
    case SSL_R_HTTP_REQUEST:
    case SSL_R_HTTPS_PROXY_REQUEST:
        return "it does not use TLS: this node has a secret (cluster.replication.secret), it has none";
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_AD_REASON_OFFSET + SSL_AD_PROTOCOL_VERSION:
        return "it does not speak TLS 1.3";
    case SSL_R_BINDER_DOES_NOT_VERIFY:
    case SSL_AD_REASON_OFFSET + SSL_AD_ILLEGAL_PARAMETER:
        return "its secret is not this node's";
    case SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM:
    case SSL_R_NO_SHARED_CIPHER:
        return t->stranger ? "it belongs to another cluster" : "it offers no key of this cluster";
    case SSL_AD_REASON_OFFSET + SSL_AD_HANDSHAKE_FAILURE:
        return "it refuses the handshake: it belongs to another cluster, or is no node";
    case SSL_R_DECRYPTION_FAILED_OR_BAD_RECORD_MAC:
    case SSL_R_BAD_RECORD_TYPE:
        return "what it sent was changed on the way";
    case SSL_AD_REASON_OFFSET + SSL_AD_BAD_RECORD_MAC:
        return "what was sent to it was changed on the way";
    }
    return NULL;
}

static int failed(struct tls *t)
{
    unsigned long error = openssl.ERR_peek_error();
    const char *why = explain(t, ERR_GET_REASON(error));
    const char *detail = error != 0 ? openssl.ERR_reason_error_string(error) : NULL;
    if (why != NULL)
        snprintf(t->why, sizeof(t->why), "%s", why);
    else
        snprintf(t->why, sizeof(t->why), "its TLS is not valid: %s", detail != NULL ? detail : "unknown error");
    if (!t->open && buf_size(t->out) == 0)
        buf_add_slice(t->out, SLICE(PROTOCOL_VERSION_ALERT));
    openssl.ERR_clear_error();
    return -EPROTO;
}

const char *tls_why(const struct tls *t)
{
    return t->why;
}

/* ---- bytes ---- */

/* OpenSSL's calls are judged by what the queue of errors has afterwards, so it has to be empty before. */
static void begin(struct tls *t, struct buf *in, struct buf *out)
{
    t->in = in;
    t->out = out;
    openssl.ERR_clear_error();
}

int tls_handshake(struct tls *t, struct buf *in, struct buf *out)
{
    begin(t, in, out);
    int rc = openssl.SSL_do_handshake(t->ssl);
    if (rc != 1)
        return openssl.SSL_get_error(t->ssl, rc) == SSL_ERROR_WANT_READ ? 0 : failed(t);
    if (!openssl.SSL_session_reused(t->ssl)) {
        snprintf(t->why, sizeof(t->why), "it did not use the shared key");
        return -EPROTO;
    }
    explicit_bzero(t->key, sizeof(t->key));
    t->open = true;
    return 1;
}

int tls_decrypt(struct tls *t, struct buf *in, struct buf *plain, struct buf *out)
{
    ENSURE(t->open);
    begin(t, in, out);
    while (buf_size(in) > 0) {               /* each call takes one record; OpenSSL holds no whole one back */
        int n = openssl.SSL_read(t->ssl, buf_reserve(plain, RECORD_MAX), RECORD_MAX);
        int error = n > 0 ? SSL_ERROR_NONE : openssl.SSL_get_error(t->ssl, n);
        if (error == SSL_ERROR_ZERO_RETURN)
            return -EPIPE;
        if (error != SSL_ERROR_NONE && error != SSL_ERROR_WANT_READ)
            return failed(t);
        plain->end += n > 0 ? (size_t)n : 0;
    }
    return 0;
}

/* SSL_write takes all, as `out` does; it makes one record of each RECORD_MAX bytes. */
int tls_encrypt(struct tls *t, slice plain, struct buf *out)
{
    ENSURE(t->open);
    if (plain.n == 0)
        return 0;
    begin(t, NULL, out);
    t->records += (plain.n + RECORD_MAX - 1) / RECORD_MAX;
    if (t->records > t->rekey) {
        if (openssl.SSL_key_update(t->ssl, SSL_KEY_UPDATE_NOT_REQUESTED) != 1)
            return failed(t);
        t->records = 0;
    }
    int n = openssl.SSL_write(t->ssl, plain.p, (int)plain.n);
    return n == (int)plain.n ? 0 : failed(t);
}

void tls_close(struct tls *t, struct buf *out)
{
    begin(t, NULL, out);
    if (t->open)
        openssl.SSL_shutdown(t->ssl);
    openssl.ERR_clear_error();
}

void tls_set_rekey(struct tls *t, uint64_t records)
{
    t->rekey = records;
}
