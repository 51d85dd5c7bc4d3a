#include "net/link.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/ensure.h"
#include "base/err.h"
#include "base/least.h"
#include "base/limits.h"
#include "base/mem.h"
#include "net/frame.h"

enum {
    READ_STEP = 256 * KIB,   /* a turn's worth: larger steps only fill caches */
    CRYPT_STEP = 256 * KIB,  /* encrypted before it is written, so that memory does not hold all of `out` twice */
    KEPT_MAX = 64 * KIB,     /* an empty buffer above this size is freed when it is not in use */
};

/*
 * `reading` is set while the socket is connected, unless `in` holds a largest frame and a read beyond it. `writing` is
 * set until the socket is connected, and then when link_flush has left something that may be written. Neither is set
 * once ENDED.
 */
struct link {
    struct loop *loop;       /* outlives us */
    int fd;                  /* owned */
    enum link_state state;
    int error;
    bool connected;          /* the socket is */
    bool tls_arrived;        /* on a link without TLS */
    size_t frame_max;
    size_t taken;            /* bytes at the front of `in` that the last link_take handed out */
    size_t open_at;          /* where in `out` the frame begins that is being written */
    bool reading, writing;   /* the watches are set */
    bool deaf;               /* link_listens has said no since it was last said yes */
    bool busy;               /* more than KEPT_MAX was in a buffer since link_rest was last called */
    struct watch readable, writable;
    struct buf in, out;
    struct tls *tls;         /* owned; NULL: none */
    size_t handshake_size;   /* bytes that arrived before TLS was open */
    struct buf tls_in, tls_out;   /* encrypted: arrived; to be written before what is in `out` */
};

static void end(struct link *k, int error)
{
    if (k->state == LINK_ENDED)
        return;
    k->state = LINK_ENDED;
    k->error = error;
    watch_fini(&k->readable);
    watch_fini(&k->writable);
    k->reading = k->writing = false;
}

static void on_readable(void *arg);
static void on_writable(void *arg);

static void want_reading(struct link *k, bool on)
{
    if (k->reading == on || k->state == LINK_ENDED)
        return;
    k->reading = on;
    if (on)
        watch_readable(k->loop, &k->readable, k->fd, on_readable, k);
    else
        watch_fini(&k->readable);
}

static void want_writing(struct link *k, bool on)
{
    if (k->writing == on || k->state == LINK_ENDED)
        return;
    k->writing = on;
    if (on)
        watch_writable(k->loop, &k->writable, k->fd, on_writable, k);
    else
        watch_fini(&k->writable);
}

struct link *link_new(struct loop *l, int fd, bool connecting)
{
    struct link *k = MEM_NEW(struct link);
    k->loop = l;
    k->fd = fd;
    k->state = connecting ? LINK_CONNECTING : LINK_OPEN;
    k->connected = !connecting;
    k->frame_max = LINK_GREETING_MAX;
    want_reading(k, !connecting);
    want_writing(k, connecting);
    return k;
}

void link_secure(struct link *k, struct tls *tls)
{
    ENSURE(k->tls == NULL);
    k->tls = tls;
    k->state = LINK_CONNECTING;
    tls_handshake(tls, &k->tls_in, &k->tls_out);   /* a client's first message; of a server nothing */
}

void link_free(struct link *k)
{
    end(k, 0);
    close(k->fd);
    tls_free(k->tls);
    buf_fini(&k->in);
    buf_fini(&k->out);
    buf_fini(&k->tls_in);
    buf_fini(&k->tls_out);
    mem_free(k);
}

void link_allow(struct link *k, size_t frame_max)
{
    ENSURE(frame_max <= LINK_FRAME_MAX);
    k->frame_max = frame_max;
}

enum link_state link_state(const struct link *k)
{
    return k->state;
}

int link_error(const struct link *k)
{
    return k->error;
}

const char *link_why(const struct link *k)
{
    if (k->tls != NULL && tls_why(k->tls)[0] != '\0')
        return tls_why(k->tls);
    if (k->tls_arrived)
        return "it uses TLS: it has a secret (cluster.replication.secret), this node has none";
    return k->error < 0 ? err_sentence(k->error) : "closed";
}

/* Freed a while after they became empty, not at once: the kernel has to clear memory that is freed and allocated again
 * for each frame. */
void link_rest(struct link *k)
{
    struct buf *all[] = {&k->in, &k->out, &k->tls_in, &k->tls_out};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        if (!k->busy && buf_size(all[i]) == 0 && all[i]->cap > KEPT_MAX)
            buf_fini(all[i]);
    k->busy = false;
}

/* ---- in ---- */

/* Of n bytes that have been added to tls_in. What the handshake answers, and an alert, is written at once. */
static void decrypt(struct link *k, size_t n)
{
    bool shaking = k->state == LINK_CONNECTING;
    int rc = 1;
    if (shaking) {
        k->handshake_size += n;
        rc = tls_handshake(k->tls, &k->tls_in, &k->tls_out);
        if (rc > 0)
            k->state = LINK_OPEN;
        else if (rc == 0 && k->handshake_size >= LINK_TLS_HANDSHAKE_MAX)
            rc = -EPROTO;
    }
    if (rc > 0)
        rc = tls_decrypt(k->tls, &k->tls_in, &k->in, &k->tls_out);
    if (shaking || rc < 0)
        link_flush(k);
    if (rc < 0)
        end(k, rc);
}

/* One read an event, so that a peer that sends without pause does not keep the loop from other events. */
static void on_readable(void *arg)
{
    struct link *k = arg;
    struct buf *to = k->tls != NULL ? &k->tls_in : &k->in;
    size_t step = k->state == LINK_CONNECTING ? LINK_TLS_HANDSHAKE_MAX - k->handshake_size : READ_STEP;
    ssize_t n = recv(k->fd, buf_reserve(to, step), step, 0);
    if (n > 0) {
        to->end += (size_t)n;
        if (k->tls != NULL)
            decrypt(k, (size_t)n);
    } else if (n == 0) {
        end(k, -EPIPE);
    } else if (errno != EAGAIN && errno != EINTR) {
        end(k, -errno);
    }
    k->busy = k->busy || buf_size(&k->in) > KEPT_MAX;
    if (buf_size(&k->in) >= k->frame_max + FRAME_HEAD_SIZE + READ_STEP)
        want_reading(k, false);
}

/* A record of TLS, taken for a frame, is too large. The other side learns from the answer that this is none of TLS. */
static void refuse_tls(struct link *k, slice in)
{
    static const char no_tls[FRAME_HEAD_SIZE];
    k->tls_arrived = k->tls == NULL && in.p[0] >= 0x14 && in.p[0] <= 0x17 && in.p[1] == 3;
    ssize_t n = k->tls_arrived ? send(k->fd, no_tls, sizeof(no_tls), MSG_NOSIGNAL) : 0;
    (void)n;                 /* it only serves the other side's log */
}

bool link_take(struct link *k, unsigned char *type, slice *payload)
{
    if (k->taken > 0)
        buf_drop(&k->in, k->taken);
    k->taken = 0;
    slice in = buf_slice(&k->in);
    struct frame_head head = {0};
    if (in.n >= FRAME_HEAD_SIZE)
        head = frame_head_read(in.p);
    if (head.size > k->frame_max) {
        refuse_tls(k, in);
        end(k, -EPROTO);
        return false;
    }
    if (in.n < FRAME_HEAD_SIZE + head.size) {
        want_reading(k, k->connected);   /* there is room again, if it was held back */
        return false;
    }
    *type = head.type;
    *payload = slice_of(in.p + FRAME_HEAD_SIZE, head.size);
    k->taken = FRAME_HEAD_SIZE + head.size;
    return true;
}

void link_put_back(struct link *k)
{
    k->taken = 0;
}

bool link_listens(struct link *k)
{
    k->deaf = link_unsent(k) >= LINK_ANSWERS_MAX;
    return !k->deaf;
}

/* ---- out ---- */

/* The size is not known yet; link_end writes it. */
struct buf *link_begin(struct link *k, unsigned char type)
{
    char *p = buf_reserve(&k->out, FRAME_HEAD_SIZE);
    k->open_at = buf_size(&k->out);
    frame_head_write(p, (struct frame_head){0, type});
    k->out.end += FRAME_HEAD_SIZE;
    return &k->out;
}

void link_end(struct link *k)
{
    size_t size = buf_size(&k->out) - k->open_at - FRAME_HEAD_SIZE;
    ENSURE(size <= LINK_FRAME_MAX);
    k->busy = k->busy || size > KEPT_MAX;
    char *p = k->out.data + k->out.at + k->open_at;
    frame_head_write(p, (struct frame_head){size, frame_head_read(p).type});
}

void link_cancel(struct link *k)
{
    k->out.end = k->out.at + k->open_at;
}

/* The bytes that may be written now; NULL: none. Encrypts the next ones. */
static struct buf *ready_bytes(struct link *k)
{
    bool open = k->state == LINK_OPEN && buf_size(&k->out) > 0;
    if (!k->connected || k->state == LINK_ENDED)
        return NULL;
    if (k->tls == NULL)
        return open ? &k->out : NULL;
    if (open && buf_size(&k->tls_out) == 0) {
        slice next = buf_slice(&k->out);
        next.n = least(next.n, CRYPT_STEP);
        if (tls_encrypt(k->tls, next, &k->tls_out) < 0) {
            end(k, -EPROTO);
            return NULL;
        }
        buf_drop(&k->out, next.n);
    }
    return buf_size(&k->tls_out) > 0 ? &k->tls_out : NULL;
}

void link_flush(struct link *k)
{
    struct buf *bytes;
    while ((bytes = ready_bytes(k)) != NULL) {
        slice rest = buf_slice(bytes);
        ssize_t n = send(k->fd, rest.p, rest.n, MSG_NOSIGNAL);
        if (n >= 0)
            buf_drop(bytes, (size_t)n);
        else if (errno == EAGAIN)
            break;
        else if (errno != EINTR)
            end(k, -errno);
    }
    if (k->connected)
        want_writing(k, bytes != NULL);
    if (k->deaf && link_unsent(k) < LINK_ANSWERS_MAX)
        loop_again(k->loop);         /* whole frames may have arrived, which no event announces */
}

size_t link_unsent(const struct link *k)
{
    return buf_size(&k->out) + buf_size(&k->tls_out);
}

static void on_writable(void *arg)
{
    struct link *k = arg;
    if (!k->connected) {
        int error = 0;
        socklen_t size = sizeof error;
        getsockopt(k->fd, SOL_SOCKET, SO_ERROR, &error, &size);
        if (error) {
            end(k, -error);
            return;
        }
        k->connected = true;
        if (k->tls == NULL)
            k->state = LINK_OPEN;
        want_reading(k, true);
    }
    link_flush(k);
}

void link_shut(struct link *k)
{
    link_flush(k);
    if (k->tls != NULL && buf_size(&k->out) == 0) {
        tls_close(k->tls, &k->tls_out);
        link_flush(k);
    }
    shutdown(k->fd, SHUT_WR);
    end(k, -ECONNABORTED);
}
