#include "net/tls_server.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/ensure.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/say.h"
#include "net/tls_server_inside.h"

#define CIPHERS_12 \
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:" \
    "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
#define CIPHERS_13 "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
#define GROUPS "X25519:P-256:P-384"

enum { FILE_MAX = 1 * MIB, TICKETS = 1, TICKET_S = 3600 };

/* ---- the description ---- */

/* Cuts a field off, and ends it. */
static const char *field(char **at, char end)
{
    char *begin = *at, *tab = strchr(begin, end);
    if (tab == NULL)
        return NULL;
    *tab = '\0';
    *at = tab + 1;
    return begin;
}

int tls_files_read(struct buf *text, struct tls_files *out)
{
    buf_add_char(text, '\0');
    char *at = text->data + text->at;
    const char *ca = field(&at, '\t'), *kind = field(&at, '\n');
    if (ca == NULL || kind == NULL)
        return -EINVAL;
    *out = (struct tls_files){.client_ca = ca[0] == '\0' ? NULL : ca, .client_optional = strcmp(kind, "optional") == 0};
    while (*at != '\0') {
        const char *host = field(&at, '\t'), *cert = field(&at, '\t'), *key = field(&at, '\n');
        if (key == NULL || out->count > TLS_NAMES_MAX)
            return -EINVAL;
        out->pairs[out->count++] = (struct tls_pair){host[0] == '\0' ? NULL : host, cert, key};
    }
    return out->count > 0 ? 0 : -EINVAL;
}

/* ---- files ---- */

static int refuse(struct buf *why, const char *path, const char *problem)
{
    buf_addf(why, "%s: %s", path, problem);
    return -EINVAL;
}

/* What OpenSSL says about its last failure. */
static int refuse_by_openssl(struct buf *why, const char *path, const char *what)
{
    const char *reason = openssl.ERR_reason_error_string(openssl.ERR_peek_error());
    buf_addf(why, "%s: %s: %s", path, what, reason != NULL ? reason : "unknown error");
    openssl.ERR_clear_error();
    return -EINVAL;
}

static int file_read(const char *path, struct buf *out, struct buf *why)
{
    struct stat file;
    ssize_t n = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return refuse(why, path, strerror(errno));
    int rc = 0;
    if (fstat(fd, &file) < 0 || !S_ISREG(file.st_mode))
        rc = refuse(why, path, "is not a file");
    else if (file.st_size > FILE_MAX)
        rc = refuse(why, path, "is larger than 1 MiB, which no certificate or key is");
    while (rc == 0 && (n = read(fd, buf_reserve(out, 16 * KIB), 16 * KIB)) > 0)
        out->end += (size_t)n;
    if (n < 0)
        rc = refuse(why, path, strerror(errno));
    close(fd);
    return rc;
}

/* A key that is encrypted is not asked for its passphrase on a terminal. */
static int no_passphrase(char *to, int size, int writing, void *arg)
{
    (void)to;
    (void)size;
    (void)writing;
    *(bool *)arg = true;
    return -1;
}

/* Calls `take` with each certificate of a file in PEM form, and with its number. */
static int certificates_read(const char *path, int (*take)(void *arg, X509 *x, int number), void *arg, struct buf *why)
{
    struct buf text = {0};
    int rc = file_read(path, &text, why), number = 0;
    BIO *bio = rc < 0 ? NULL : openssl.BIO_new_mem_buf(text.data, (int)buf_size(&text));
    bool asked = false;
    X509 *x;
    while (rc == 0 && bio != NULL && (x = openssl.PEM_read_bio_X509(bio, NULL, no_passphrase, &asked)) != NULL) {
        if (take(arg, x, number++) != 1)
            rc = refuse_by_openssl(why, path, "OpenSSL refuses a certificate");
        openssl.X509_free(x);
    }
    if (rc == 0 && ERR_GET_REASON(openssl.ERR_peek_error()) != PEM_R_NO_START_LINE)
        rc = refuse_by_openssl(why, path, "holds a certificate that cannot be read");
    else if (rc == 0 && number == 0)
        rc = refuse(why, path, "holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)");
    openssl.ERR_clear_error();
    openssl.BIO_free(bio);
    buf_fini(&text);
    return rc;
}

static int key_read(const char *path, EVP_PKEY **out, struct buf *why)
{
    struct buf text = {0};
    bool asked = false;
    int rc = file_read(path, &text, why);
    BIO *bio = rc < 0 ? NULL : openssl.BIO_new_mem_buf(text.data, (int)buf_size(&text));
    *out = bio == NULL ? NULL : openssl.PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, &asked);
    if (rc == 0 && *out == NULL)
        rc = refuse(why, path, asked ? "the key is encrypted; Lignum reads keys without a passphrase only"
                                     : "holds no private key in PEM form (-----BEGIN PRIVATE KEY-----)");
    openssl.ERR_clear_error();
    openssl.BIO_free(bio);
    if (text.data != NULL)
        explicit_bzero(text.data, text.cap);
    buf_fini(&text);
    return rc;
}

/* ---- one certificate ---- */

struct reading {
    SSL_CTX *ssl;
    X509 *own;                       /* the first of the file */
};

static int take_own(void *arg, X509 *x, int number)
{
    struct reading *r = arg;
    if (number > 0)
        return openssl.X509_up_ref(x) == 1 && openssl.SSL_CTX_ctrl(r->ssl, SSL_CTRL_CHAIN_CERT, 0, x) == 1;
    r->own = x;
    openssl.X509_up_ref(x);
    return openssl.SSL_CTX_use_certificate(r->ssl, x);
}

static time_t time_of(const ASN1_TIME *t)
{
    struct tm tm = {0};
    return openssl.ASN1_TIME_to_tm(t, &tm) == 1 ? timegm(&tm) : 0;
}

static int own_check(struct tls_shown *s, const struct tls_pair *p, X509 *own, struct buf *why)
{
    EVP_PKEY *key = NULL;
    int rc = key_read(p->key, &key, why);
    if (rc == 0 && openssl.X509_check_private_key(own, key) != 1) {
        buf_addf(why, "%s: the key does not fit the certificate in %s", p->key, p->cert);
        openssl.ERR_clear_error();
        rc = -EINVAL;
    }
    if (rc == 0 && openssl.SSL_CTX_use_PrivateKey(s->ssl, key) != 1)
        rc = refuse_by_openssl(why, p->key, "OpenSSL refuses the key");
    openssl.EVP_PKEY_free(key);
    if (rc == 0 && p->host != NULL && openssl.X509_check_host(own, p->host, 0, 0, NULL) != 1) {
        buf_addf(why, "%s: the certificate is not for the name %s", p->cert, p->host);
        rc = -EINVAL;
    }
    s->from = time_of(openssl.X509_get0_notBefore(own));
    s->until = time_of(openssl.X509_get0_notAfter(own));
    return rc;
}

static int shown_read(struct tls_shown *s, const struct tls_pair *p, struct buf *why)
{
    struct reading r = {.ssl = s->ssl};
    s->host = p->host == NULL ? NULL : mem_copy(p->host, strlen(p->host));
    s->path = mem_copy(p->cert, strlen(p->cert));
    int rc = certificates_read(p->cert, take_own, &r, why);
    if (rc == 0)
        rc = own_check(s, p, r.own, why);
    openssl.X509_free(r.own);
    return rc;
}

/* ---- clients' certificates ---- */

static int take_ca(void *arg, X509 *x, int number)
{
    SSL_CTX *ssl = arg;
    (void)number;
    return openssl.X509_STORE_add_cert(openssl.SSL_CTX_get_cert_store(ssl), x) == 1 &&
           openssl.SSL_CTX_add_client_CA(ssl, x) == 1;
}

/* ---- names ---- */

/* "*.example" stands for one label before ".example". */
static bool host_fits(const char *pattern, const char *name)
{
    const char *dot = strchr(name, '.');
    if (strcasecmp(pattern, name) == 0)
        return true;
    return pattern[0] == '*' && dot != NULL && dot > name && strcasecmp(pattern + 1, dot) == 0;
}

/* The client has named a host. The one that fits exactly comes before a pattern, as it is first in the list. */
static int on_name(SSL *ssl, int *alert, void *arg)
{
    const struct tls_server *s = arg;
    const char *name = openssl.SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    (void)alert;
    for (unsigned i = 1; name != NULL && i < s->count; i++)
        if (host_fits(s->shown[i].host, name)) {
            openssl.SSL_set_SSL_CTX(ssl, s->shown[i].ssl);
            return SSL_TLSEXT_ERR_OK;
        }
    return SSL_TLSEXT_ERR_OK;
}

static int on_protocols(SSL *ssl, const unsigned char **out, unsigned char *size, const unsigned char *in,
                        unsigned in_size, void *arg)
{
    static const char own[] = "http/1.1";
    (void)ssl;
    (void)arg;
    for (unsigned i = 0; i < in_size; i += in[i] + 1U)
        if (in[i] == sizeof(own) - 1 && i + in[i] < in_size && memcmp(in + i + 1, own, in[i]) == 0) {
            *out = in + i + 1;
            *size = in[i];
            return SSL_TLSEXT_ERR_OK;
        }
    return SSL_TLSEXT_ERR_ALERT_FATAL;
}

/* ---- the whole ---- */

static SSL_CTX *context_new(struct tls_server *s)
{
    SSL_CTX *ssl = openssl.SSL_CTX_new(openssl.TLS_method());
    if (ssl == NULL || openssl.SSL_CTX_ctrl(ssl, SSL_CTRL_SET_MIN_PROTO_VERSION, TLS1_2_VERSION, NULL) != 1 ||
        openssl.SSL_CTX_ctrl(ssl, SSL_CTRL_SET_MAX_PROTO_VERSION, TLS1_3_VERSION, NULL) != 1 ||
        openssl.SSL_CTX_set_ciphersuites(ssl, CIPHERS_13) != 1 ||
        openssl.SSL_CTX_set_cipher_list(ssl, CIPHERS_12) != 1 ||
        openssl.SSL_CTX_ctrl(ssl, SSL_CTRL_SET_GROUPS_LIST, 0, (void *)(uintptr_t)GROUPS) != 1 ||
        openssl.SSL_CTX_set_session_id_context(ssl, (const unsigned char *)"lignum", 6) != 1 ||
        openssl.SSL_CTX_set_num_tickets(ssl, TICKETS) != 1) {
        say_error("tls", "this OpenSSL has been configured without what TLS needs here");
        openssl.SSL_CTX_free(ssl);
        return NULL;
    }
    openssl.SSL_CTX_set_timeout(ssl, TICKET_S);
    openssl.SSL_CTX_ctrl(ssl, SSL_CTRL_SET_SESS_CACHE_MODE, SSL_SESS_CACHE_OFF, NULL);
    openssl.SSL_CTX_ctrl(ssl, SSL_CTRL_SET_READ_AHEAD, 1, NULL);
    openssl.SSL_CTX_ctrl(ssl, SSL_CTRL_MODE, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                         SSL_MODE_RELEASE_BUFFERS, NULL);
    openssl.SSL_CTX_set_options(ssl, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE |
                                SSL_OP_IGNORE_UNEXPECTED_EOF);
    openssl.SSL_CTX_callback_ctrl(ssl, SSL_CTRL_SET_TLSEXT_SERVERNAME_CB, (void (*)(void))on_name);
    openssl.SSL_CTX_ctrl(ssl, SSL_CTRL_SET_TLSEXT_SERVERNAME_ARG, 0, s);
    openssl.SSL_CTX_set_alpn_select_cb(ssl, on_protocols, NULL);
    if (s->asks)
        openssl.SSL_CTX_set_verify(ssl, SSL_VERIFY_PEER | (s->demands ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0), NULL);
    return ssl;
}

int tls_server_new(const struct tls_files *f, struct tls_server **out, struct buf *why)
{
    int rc = openssl_load();
    if (rc < 0)
        return rc;
    ENSURE(f->count > 0);
    ENSURE(f->count <= TLS_NAMES_MAX + 1);
    struct tls_server *s = MEM_NEW(struct tls_server);
    s->users = 1;
    s->asks = f->client_ca != NULL;
    s->demands = s->asks && !f->client_optional;
    openssl.ERR_clear_error();
    for (unsigned i = 0; rc == 0 && i < f->count; i++) {
        struct tls_shown *shown = &s->shown[s->count++];
        shown->ssl = context_new(s);
        rc = shown->ssl == NULL ? -ERR_UNAVAILABLE : shown_read(shown, &f->pairs[i], why);
        if (rc == 0 && s->asks)
            rc = certificates_read(f->client_ca, take_ca, shown->ssl, why);
    }
    if (rc == 0)
        *out = s;
    else
        tls_server_drop(s);
    return rc;
}

struct tls_server *tls_server_share(struct tls_server *s)
{
    s->users++;
    return s;
}

bool tls_server_demands(const struct tls_server *s)
{
    return s->demands;
}

/* OpenSSL overwrites the keys. */
void tls_server_drop(struct tls_server *s)
{
    if (s == NULL || --s->users > 0)
        return;
    for (unsigned i = 0; i < s->count; i++) {
        openssl.SSL_CTX_free(s->shown[i].ssl);
        mem_free(s->shown[i].host);
        mem_free(s->shown[i].path);
    }
    mem_free(s);
}

bool tls_server_validity(const struct tls_server *s, unsigned i, struct tls_validity *out)
{
    if (i >= s->count)
        return false;
    const struct tls_shown *shown = &s->shown[i];
    *out = (struct tls_validity){
        .host = shown->host == NULL ? (slice){0} : slice_from(shown->host), .path = slice_from(shown->path),
        .from = shown->from, .until = shown->until};
    return true;
}
