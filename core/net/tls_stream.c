#include "net/tls_stream.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>

#include "base/ensure.h"
#include "base/least.h"
#include "base/mem.h"
#include "net/tls_server.h"
#include "net/tls_server_inside.h"

enum { WRITE_STEP = 1 * MIB, USER_MAX = 64 };

struct tls_stream {
    SSL *ssl;                        /* owned */
    struct tls_server *server;       /* shared */
    int fd;
    int error;                       /* of the last failed call of the socket: -errno */
    bool eof;                        /* the socket has ended */
    bool more;                       /* of the present write */
    bool holds;
    unsigned char user_size;
    char user[USER_MAX];
    char why[128];
};

/* ---- OpenSSL on the socket ---- */

static int keep_error(BIO *bio, int retry)
{
    struct tls_stream *t = openssl.BIO_get_data(bio);
    bool again = errno == EAGAIN || errno == EINTR;
    t->error = again ? 0 : -errno;
    openssl.BIO_set_flags(bio, again ? retry | BIO_FLAGS_SHOULD_RETRY : 0);
    return -1;
}

static int bio_read(BIO *bio, char *to, int size)
{
    struct tls_stream *t = openssl.BIO_get_data(bio);
    openssl.BIO_clear_flags(bio, BIO_FLAGS_RWS | BIO_FLAGS_SHOULD_RETRY);
    ssize_t n = recv(t->fd, to, (size_t)size, 0);
    t->eof = n == 0;
    return n < 0 ? keep_error(bio, BIO_FLAGS_READ) : (int)n;
}

static int bio_write(BIO *bio, const char *from, int size)
{
    struct tls_stream *t = openssl.BIO_get_data(bio);
    openssl.BIO_clear_flags(bio, BIO_FLAGS_RWS | BIO_FLAGS_SHOULD_RETRY);
    ssize_t n = send(t->fd, from, (size_t)size, MSG_NOSIGNAL | (t->more ? MSG_MORE : 0));
    return n < 0 ? keep_error(bio, BIO_FLAGS_WRITE) : (int)n;
}

static long bio_ctrl(BIO *bio, int command, long number, void *pointer)
{
    (void)number;
    (void)pointer;
    if (command == BIO_CTRL_EOF)
        return ((const struct tls_stream *)openssl.BIO_get_data(bio))->eof;
    return command == BIO_CTRL_FLUSH;
}

static BIO_METHOD *socket_method(void)
{
    static BIO_METHOD *method;       /* of the process, as the library is */
    if (method != NULL)
        return method;
    method = openssl.BIO_meth_new(BIO_TYPE_SOURCE_SINK, "socket");
    ENSURE(method != NULL);
    openssl.BIO_meth_set_read(method, bio_read);
    openssl.BIO_meth_set_write(method, bio_write);
    openssl.BIO_meth_set_ctrl(method, bio_ctrl);
    return method;
}

struct tls_stream *tls_stream_new(struct tls_server *s, int fd)
{
    struct tls_stream *t = MEM_NEW(struct tls_stream);
    BIO *bio = openssl.BIO_new(socket_method());
    t->server = tls_server_share(s);
    t->fd = fd;
    t->ssl = openssl.SSL_new(s->shown[0].ssl);
    ENSURE(bio != NULL);
    ENSURE(t->ssl != NULL);
    openssl.BIO_set_data(bio, t);
    openssl.BIO_set_init(bio, 1);
    openssl.SSL_set_bio(t->ssl, bio, bio);
    openssl.SSL_set_accept_state(t->ssl);
    return t;
}

void tls_stream_free(struct tls_stream *t)
{
    if (t == NULL)
        return;
    openssl.SSL_free(t->ssl);
    tls_server_drop(t->server);
    mem_free(t);
}

/* ---- the handshake ---- */

static const char *explain(int reason)
{
    switch (reason) {
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_WRONG_SSL_VERSION:
    case SSL_R_VERSION_TOO_LOW:
        return "it speaks neither TLS 1.2 nor 1.3";
    case SSL_R_NO_SHARED_CIPHER:
        return "it offers no cipher that is safe";
    case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
        return "it has shown no certificate";
    case SSL_R_NO_APPLICATION_PROTOCOL:
        return "it does not speak HTTP/1.1";
    case SSL_AD_REASON_OFFSET + SSL_AD_UNKNOWN_CA:
    case SSL_AD_REASON_OFFSET + SSL_AD_BAD_CERTIFICATE:
    case SSL_AD_REASON_OFFSET + SSL_AD_CERTIFICATE_UNKNOWN:
        return "it does not trust this node's certificate";
    case SSL_AD_REASON_OFFSET + SSL_AD_CERTIFICATE_EXPIRED:
        return "it says that this node's certificate has expired";
    }
    return NULL;
}

static int failed(struct tls_stream *t)
{
    unsigned long error = openssl.ERR_peek_error();
    long verdict = openssl.SSL_get_verify_result(t->ssl);
    const char *why = explain(ERR_GET_REASON(error)), *detail = openssl.ERR_reason_error_string(error);
    if (verdict != X509_V_OK)
        snprintf(t->why, sizeof(t->why), "its certificate is refused: %s",
                 openssl.X509_verify_cert_error_string(verdict));
    else if (error == 0 || t->eof)
        snprintf(t->why, sizeof(t->why), "it has gone");
    else
        snprintf(t->why, sizeof(t->why), "%s", why != NULL ? why : detail != NULL ? detail : "its TLS is not valid");
    openssl.ERR_clear_error();
    return -EPROTO;
}

/* The text of the only CN, if it is one that may stand in a log line or a header. */
static void user_read(struct tls_stream *t, X509 *peer)
{
    X509_NAME *name = openssl.X509_get_subject_name(peer);
    int at = openssl.X509_NAME_get_index_by_NID(name, NID_commonName, -1);
    unsigned char *text = NULL;
    if (at < 0 || openssl.X509_NAME_get_index_by_NID(name, NID_commonName, at) >= 0)
        return;
    int n = openssl.ASN1_STRING_to_UTF8(&text, openssl.X509_NAME_ENTRY_get_data(openssl.X509_NAME_get_entry(name, at)));
    bool fits = n > 0 && n <= USER_MAX;
    for (int i = 0; fits && i < n; i++)
        fits = text[i] >= ' ' && text[i] != 0x7f;
    if (fits) {
        memcpy(t->user, text, (size_t)n);
        t->user_size = (unsigned char)n;
    }
    openssl.CRYPTO_free(text, __FILE__, __LINE__);
    openssl.ERR_clear_error();
}

int tls_stream_shake(struct tls_stream *t)
{
    openssl.ERR_clear_error();
    int rc = openssl.SSL_do_handshake(t->ssl);
    int error = rc == 1 ? SSL_ERROR_NONE : openssl.SSL_get_error(t->ssl, rc);
    if (error == SSL_ERROR_WANT_READ)
        return 0;
    if (error == SSL_ERROR_WANT_WRITE)
        return -EAGAIN;
    if (error != SSL_ERROR_NONE)
        return failed(t);
    X509 *peer = openssl.SSL_get0_peer_certificate(t->ssl);
    if (peer != NULL)
        user_read(t, peer);
    return 1;
}

const char *tls_stream_why(const struct tls_stream *t)
{
    return t->why;
}

slice tls_stream_user(const struct tls_stream *t)
{
    return t->user_size == 0 ? (slice){0} : slice_of(t->user, t->user_size);
}

bool tls_stream_fits(const struct tls_stream *t, struct tls_server *s)
{
    if (s == t->server)
        return true;
    X509 *peer = openssl.SSL_get0_peer_certificate(t->ssl);
    if (!s->asks || peer == NULL)
        return !s->demands;
    X509_STORE_CTX *check = openssl.X509_STORE_CTX_new();
    ENSURE(check != NULL);
    bool fits = openssl.X509_STORE_CTX_init(check, openssl.SSL_CTX_get_cert_store(s->shown[0].ssl), peer,
                                            openssl.SSL_get_peer_cert_chain(t->ssl)) == 1 &&
                openssl.X509_STORE_CTX_set_default(check, "ssl_client") == 1 && openssl.X509_verify_cert(check) == 1;
    openssl.X509_STORE_CTX_free(check);
    openssl.ERR_clear_error();
    return fits;
}

/* ---- bytes ---- */

/* OpenSSL's calls are judged by what its queue of errors has afterwards, and others may have left some there. Looking
 * is cheaper than clearing. */
static void forget_errors(void)
{
    if (openssl.ERR_peek_error() != 0)
        openssl.ERR_clear_error();
}

/* Of a call that did nothing. A read that wants to write answers a change of keys to a client that reads nothing: it is
 * given up, as waiting for it would need states of its own. The same of a write that wants to read. */
static ssize_t nothing(struct tls_stream *t, int rc, int wanted)
{
    int error = openssl.SSL_get_error(t->ssl, rc);
    if (error == wanted)
        return -EAGAIN;
    if (error == SSL_ERROR_ZERO_RETURN)
        return 0;
    openssl.ERR_clear_error();
    return t->error != 0 ? t->error : -EPROTO;
}

ssize_t tls_stream_read(struct tls_stream *t, char *to, size_t size)
{
    size_t got = 0;
    forget_errors();
    t->error = 0;
    do {
        int n = openssl.SSL_read(t->ssl, to + got, (int)least(size - got, (size_t)INT32_MAX));
        if (n <= 0) {
            ssize_t rc = nothing(t, n, SSL_ERROR_WANT_READ);
            t->holds = got > 0 && rc != -EAGAIN;     /* the end is seen by the next read */
            return got > 0 ? (ssize_t)got : rc;
        }
        got += (size_t)n;
        t->holds = openssl.SSL_has_pending(t->ssl) == 1;
    } while (t->holds && got < size);
    return (ssize_t)got;
}

bool tls_stream_holds(const struct tls_stream *t)
{
    return t->holds;
}

/* The next record: of `head`, and of `body` behind it. */
static slice record_of(struct tls_stream *t, slice head, slice body)
{
    size_t room = TLS_RECORD_MAX;
    if (head.n >= room || body.n == 0)
        return slice_of(head.p, least(head.n, room));
    if (head.n == 0)
        return slice_of(body.p, least(body.n, room));
    size_t rest = least(body.n, room - head.n);
    memcpy(t->server->record, head.p, head.n);
    memcpy(t->server->record + head.n, body.p, rest);
    return slice_of(t->server->record, head.n + rest);
}

ssize_t tls_stream_write(struct tls_stream *t, slice head, slice body, bool more)
{
    size_t sent = 0;
    forget_errors();
    t->error = 0;
    while (head.n + body.n > 0 && sent < WRITE_STEP) {
        slice next = record_of(t, head, body);
        t->more = more || next.n < head.n + body.n;
        int n = openssl.SSL_write(t->ssl, next.p, (int)next.n);
        if (n <= 0) {
            ssize_t rc = nothing(t, n, SSL_ERROR_WANT_WRITE);
            return sent > 0 ? (ssize_t)sent : rc == 0 ? -EPIPE : rc;
        }
        size_t of_head = least((size_t)n, head.n);
        head = slice_skip(head, of_head);
        body = slice_skip(body, (size_t)n - of_head);
        sent += (size_t)n;
    }
    return (ssize_t)sent;
}

void tls_stream_end(struct tls_stream *t)
{
    openssl.ERR_clear_error();
    t->more = false;
    openssl.SSL_shutdown(t->ssl);
    openssl.ERR_clear_error();
}
