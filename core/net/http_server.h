/*
 * The inside of the HTTP server, shared by the http_*.c files and nobody else.
 *
 * A client is one connection. It goes round in this circle:
 *
 *     HEAD -> BODY -> HANDLED -> SENDING -> HEAD          (or -> LINGER -> closed)
 *             bytes   http_next  answered    flushed
 *
 * and is queued in `arrived` (http_request.c looks at its bytes at the next http_next) or in `flushing` (http_flush.c
 * writes at the next http_flush), never in both. What a request needs besides is its exchange, which is pooled:
 * an idle client has none. A client whose socket is gone while its request is HANDLED stays until the answer.
 */
#ifndef NET_HTTP_SERVER_H
#define NET_HTTP_SERVER_H

#include "base/list.h"
#include "net/address.h"
#include "net/conn.h"
#include "net/deadline.h"
#include "net/http.h"

enum {
    LISTENERS_MAX = 16,
    ACCEPTS_PER_EVENT = 64,       /* then the others get their turn */
    EXCHANGES_SPARE = 256,        /* 2.3 KiB each */
    ROUTES_MAX = 256,             /* patterns counted one by one */
    DISCARD_PER_TURN = 256 * KIB, /* while lingering */
    DISCARD_MAX = 16 * MIB,       /* who sends more after an error answer may lose it to a reset */
    FILE_PER_TURN = 1 * MIB,      /* of one client, so that it cannot stall another */
    TAKE_COPY_MAX = 2 * KIB,      /* a taken body up to this is copied behind its head: one write instead of writev */
};

enum client_state { CLIENT_HEAD, CLIENT_BODY, CLIENT_HANDLED, CLIENT_SENDING, CLIENT_LINGER };

/* One request and its answer. */
struct exchange {
    struct http_request request;  /* first: the caller's pointer is this one */
    struct client *client;
    struct exchange *spare;       /* the next one in the pool */
    size_t scanned;               /* of the head, by http_parse_head */
    size_t head_size, body_size;  /* in the input buffer; the body follows the head */
    size_t taken;                 /* bytes of the input buffer that the request uses up */
    bool moved;                   /* the input buffer has, since the slices of the head were made */
    struct http_chunks chunks;
    struct buf body;              /* of the answer, when it was taken */
    size_t held;                  /* of server.answers */
    int file;
    uint64_t file_at, file_left;
    bool chunked_answer, bodiless;
    void (*on_drained)(void *arg);
    void *drained_arg;
    void (*on_left)(void *arg);
    void *left_arg;
};

struct client {
    struct conn conn;
    struct http_server *server;
    struct exchange *exchange;    /* NULL between two requests */
    struct list all, queue;
    struct deadline deadline;
    enum client_state state;
    int refused;                  /* a negative code to answer instead of going on */
    bool lost;                    /* the socket has failed; noted by a callback, acted on in the turn */
    bool closing;                 /* after this answer */
    bool linger;                  /* the client may still be sending then */
    unsigned char peer_size;
    char peer[ADDRESS_TEXT_MAX];
    size_t discarded;
    size_t body_before;           /* size of this client's last request: its next one may take that at once */
};

struct listener {
    struct http_server *server;
    struct event event;
    int fd;
};

struct http_server {
    struct loop *loop;            /* outlives us */
    struct http_limits limits;
    http_render_error *render;
    struct buf refusal;           /* the answer past limits.connections; made when first needed */
    struct listener listeners[LISTENERS_MAX];
    unsigned listener_count;
    bool accept_paused, draining;
    uint64_t shortage_said_ns;
    struct watch accept_timer;
    struct list all, arrived, flushing;
    struct deadlines deadlines;
    struct buf_pool pool;
    struct exchange *exchanges;   /* the pool */
    unsigned exchange_count;
    uint64_t now_ns;              /* of this turn; 0: not looked at yet */
    uint64_t bodies;              /* bytes of input buffers beyond the usual size */
    uint64_t answers;             /* bytes of whole answers that clients have yet to take */
    struct http_stats stats;
    struct http_route_stats *routes;
    time_t date;                  /* the second that date_line is of */
    char date_line[96];
};

/* http.c */
uint64_t server_now(struct http_server *s);
void client_queue(struct list *queue, struct client *c);
void client_new(struct http_server *s, int fd, const char *peer);
void client_drop(struct client *c);      /* closes it; frees it unless a request of it is HANDLED */
void client_free(struct client *c);
struct exchange *client_exchange(struct client *c);
void exchange_release(struct client *c);
void exchange_left(struct exchange *x);
void exchange_drained(struct exchange *x);   /* tells who waits for that, once; also of the client's end */

/* Closes it if it is idle. A request that has arrived but was not read yet is answered, not lost to a reset. */
void client_drain(struct client *c);

/* http_listen.c */
void listeners_close(struct http_server *s);
void accept_resume(struct http_server *s);

/* http_request.c */
void client_on_ready(evutil_socket_t fd, short what, void *arg);
void client_on_readable(struct client *c);
bool client_advance(struct client *c);   /* true when a whole request is there */
void client_expire(struct client *c);
void input_release(struct client *c);    /* gives the input buffer back; it must be empty */

/* http_answer.c */
void answer_refusal(struct client *c, int error, slice detail);
void refusal_render(struct http_server *s, struct buf *out, int error, slice detail);

/* http_flush.c */
void client_flush(struct client *c);

/* http_stats.c */
void routes_init(struct http_server *s);
void routes_fini(struct http_server *s);

#endif
