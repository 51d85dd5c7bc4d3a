/*
 * The inside of the HTTP server, for the http_*.c files only.
 *
 * A client is one connection. Its states, and what moves it to the next one:
 *
 *     SHAKE    waits for the TLS handshake     -> HEAD     http_handshake.c, when it is done; not on a plain listener
 *                                              -> LINGER   the same, when it fails
 *                                              -> SENDING  the same, with a refusal, if it sends no TLS
 *     HEAD     waits for a request head        -> BODY     http_request.c, when the head is whole
 *     BODY     waits for the body              -> HANDLED  http_request.c, when the body is whole; http_next returns it
 *     HANDLED  the caller has the request      -> SENDING  http_answer.c, when the answer is whole, or its source is
 *     SENDING  the answer goes to the socket   -> HEAD     http_flush.c, when the kernel has taken all of it
 *                                              -> LINGER   the same, if the connection is to close and the client may
 *                                                          still be sending
 *     LINGER   reads and discards, until the peer closes, a deadline or DISCARD_MAX; then the client is dropped
 *
 * Over the bound on unsent answers, those clients are dropped that have taken nothing for the longest (http_flush.c).
 *
 * A refusal leads from HEAD or BODY to SENDING. client_drop closes the socket in any state.
 *
 * Invariants: A client is in at most one of the queues `shaking` (client_shake, for a limited time in each turn),
 * `arrived` (client_advance at the next http_next) and `flushing` (client_flush at the next http_flush). It has an
 * exchange from the first byte of a request to the end of its answer; exchanges are pooled. A client whose socket
 * closes while it is HANDLED is freed when the request is answered. While it is HANDLED its input buffer does not move,
 * because the request's slices point into it. A deadline of the kind SHAKE, IDLE, HEAD, BODY or LINGER is set in the
 * state of that name (IDLE: HEAD without a byte), one of the kind WRITE while the socket does not take more.
 */
#ifndef NET_HTTP_SERVER_H
#define NET_HTTP_SERVER_H

#include "base/list.h"
#include "base/map.h"
#include "base/map.h"
#include "net/address.h"
#include "net/conn.h"
#include "net/deadline.h"
#include "net/http.h"

enum {
    LISTENERS_MAX = 16,
    CONNECTIONS_RESERVED = 16,    /* beyond limits.connections, for http_reserve */
    ACCEPTS_PER_EVENT = 64,       /* then other events are served */
    EXCHANGES_SPARE = 256,        /* 2.3 KiB each */
    ROUTES_MAX = 256,             /* patterns counted one by one */
    SHAKE_MS = 4,                 /* of handshakes in one turn; one takes 0.2 to 2 ms */
    DISCARD_PER_TURN = 256 * KIB, /* while lingering */
    DISCARD_MAX = 16 * MIB,       /* a client that sends more after an error answer may lose it to a reset */
    FILE_PER_TURN = 1 * MIB,      /* sent to one client, so that it does not delay the others; the same of a source */
    TAKE_COPY_MAX = 2 * KIB,      /* a taken body up to this is copied behind its head: one write instead of writev */
};

enum client_state { CLIENT_SHAKE, CLIENT_HEAD, CLIENT_BODY, CLIENT_HANDLED, CLIENT_SENDING, CLIENT_LINGER };

/* What clients hold; each has a bound for all of them together. */
enum held {
    HELD_CLIENTS,                 /* their number */
    HELD_BODIES,                  /* bytes of input buffers above the usual size */
    HELD_ANSWERS,                 /* memory of answers that are not sent yet, above the usual size */
    HELD_FILES,                   /* open, of answers */
    HELD_SHAKES,                  /* TLS handshakes that have begun */
    HELD_KINDS,
};

/* An address that clients come from (http_address.c). */
struct client_address {
    char key[8];
    unsigned char key_size;
    uint64_t held[HELD_KINDS];    /* its part of server.held; freed when it has no client */
};

/* One request and its answer. */
struct exchange {
    struct http_request request;  /* must be first: exchange_of converts the caller's pointer */
    struct client *client;
    struct exchange *spare;       /* the next one in the pool */
    size_t scanned;               /* of the head, by http_parse_head */
    size_t head_size, body_size;  /* in the input buffer; the body follows the head */
    size_t taken;                 /* bytes of the input buffer that belong to the request */
    bool parsed;                  /* the head is whole */
    bool moved;                   /* the input buffer has moved since the head was parsed */
    struct http_chunks chunks;
    struct buf body;              /* of the answer, if its memory was taken over */
    size_t held;                  /* its part of HELD_ANSWERS: exchange_charge */
    int file;
    uint64_t file_at, file_left;
    struct http_source source;    /* of the rest of the body; source.more == NULL: there is none, or no more */
    bool chunked_answer, bodiless;
    char *shared;                 /* the other origin whose page may read the answer; owned; NULL: there is none */
    void (*on_drained)(void *arg);
    void *drained_arg;
    void (*on_left)(void *arg);
    void *left_arg;
    uint64_t id;                  /* in the log of requests; 0: it is not logged */
    struct buf note;              /* what http_note has said of it */
};

struct client {
    struct conn conn;
    struct http_server *server;
    struct listener *listener;    /* outlives us */
    struct exchange *exchange;    /* NULL between two requests */
    struct list all, queue;
    struct list stalled;          /* in server.stalled while the socket does not take the rest of an answer; in
                                     server.shakes from the first byte of a handshake to its end */
    struct deadline deadline;
    enum client_state state;
    int refused;                  /* a negative code to answer with, instead of reading on */
    bool lost;                    /* the socket has failed, or the client gives way; recorded by a callback, acted on in
                                     the turn */
    bool beyond;                  /* it has one of the reserved places */
    bool closing;                 /* the connection ends after this answer */
    bool cut;                     /* and the answer is not whole */
    bool linger;                  /* and the client may still be sending then */
    unsigned char peer_size;
    char peer[ADDRESS_TEXT_MAX];
    size_t discarded;
    struct quota_ref quota;       /* who pays for what is sent */
    bool over;                    /* its address has too many connections: it is served as if it were `beyond` */
    size_t charged;               /* its part of HELD_BODIES */
    struct client_address *address;   /* outlives us */
    size_t body_before;           /* size of this client's last request, as a guess at the next one's */
};

struct listener {
    struct http_server *server;
    struct event event;
    char *address;                /* owned; as http_listen was told */
    struct tls_server *tls;       /* shared; NULL: plain */
    int fd;                       /* -1: closed */
    bool local;                   /* on loopback */
    bool tls_said;                /* that clients send TLS to it, as a plain one */
};

struct http_server {
    struct loop *loop;            /* outlives us */
    struct http_limits limits;
    struct quotas *quotas;        /* outlives us; NULL: nobody counts */
    http_render_error *render;
    bool (*is_reserved)(slice path);
    http_judge *judge;            /* NULL: none */
    void *judge_arg;
    bool browsers_set;
    struct buf origins_allowed, hosts;   /* as in struct http_browsers */
    struct buf refusal;           /* the answer above limits.connections; rendered when first needed */
    struct listener listeners[LISTENERS_MAX];
    unsigned listener_count;
    bool accept_paused, draining;
    bool logs;                    /* requests */
    uint64_t last_id;             /* of the log */
    uint64_t shortage_said_ns;
    struct watch accept_timer;
    struct list all, shaking, arrived, flushing;
    struct list shakes;           /* in the order in which they began */
    bool shaken;                  /* in this turn */
    struct list stalled;          /* in the order in which they last took something */
    struct deadlines deadlines;
    struct buf_pool pool;
    struct exchange *exchanges;   /* the pool */
    unsigned exchange_count;
    uint64_t now_ns;              /* of this turn; 0: the clock has not been read yet */
    uint64_t held[HELD_KINDS];
    struct map addresses;         /* address -> struct client_address, of each client that there is */
    struct http_stats stats;
    struct http_route_stats *routes;
    struct map route_numbers;         /* by pattern */
    time_t date;                  /* the second in ok_lines */
    char ok_lines[96];            /* that an answer of 200 begins with: the status line and Date (http_answer.c) */
    size_t ok_size;
};

/* http.c */
uint64_t server_now(struct http_server *s);
void client_queue(struct list *queue, struct client *c);
void client_new(struct listener *l, int fd, const union address *from, bool beyond, bool over);
void client_drop(struct client *c);      /* closes it; frees it unless it is HANDLED */
void client_free(struct client *c);
struct exchange *client_exchange(struct client *c);
void exchange_release(struct client *c);
void exchange_charge(struct exchange *x);    /* counts the memory that its answer holds now */
void exchange_end_source(struct exchange *x);
void exchange_left(struct exchange *x);      /* calls on_left once */
void exchange_drained(struct exchange *x);   /* calls on_drained once: all is sent, or the client is gone */

/* Closes it if it is idle. A request that has arrived but was not read yet is still answered. */
void client_drain(struct client *c);

/* http_address.c */
void client_address_join(struct client *c, const union address *from);
uint64_t client_address_connections(struct http_server *s, const union address *from);
void client_address_leave(struct client *c);     /* when it holds nothing else any more */
void client_hold(struct client *c, enum held what, int64_t more);
bool client_has_share(const struct client *c, enum held what);   /* its address holds its share at least */

/* http_browser.c */
int browser_judge(struct client *c);     /* of a whole head: 0, or a negative code to refuse the request with */
slice browser_advice(int rc);            /* how such a request is let in */
bool browser_preflight(struct client *c);   /* answers a whole request if it is one */
void browser_headers(const struct exchange *x, struct buf *out);

/* http_log.c */
void exchange_log(struct exchange *x, int status, const uint64_t *bytes);   /* bytes: NULL: not known */

/* http_listen.c */
void listeners_close(struct http_server *s);   /* their clients stay: also one whose handshake has not begun */
void listeners_free(struct http_server *s);    /* there is no client any more */
void accept_resume(struct http_server *s);

/* http_handshake.c */
void shakes_run(struct http_server *s);  /* once in a turn */
void shake_end(struct client *c);        /* it holds no place any more */

/* http_request.c */
void client_on_ready(evutil_socket_t fd, short what, void *arg);
void client_on_readable(struct client *c);
bool client_advance(struct client *c);   /* true when a whole request is there */
void client_expire(struct client *c);
void client_refuse(struct client *c, int error, slice detail);   /* counted as a bad request */
void input_release(struct client *c);    /* gives the input buffer back; it must be empty */

/* http_answer.c */
void answer_refusal(struct client *c, const struct http_refusal *r);
void refusal_render(struct http_server *s, struct buf *out, const struct http_refusal *r, const struct exchange *x);

/* http_flush.c */
void client_flush(struct client *c);
void slowest_drop(struct http_server *s);   /* until the unsent answers are within their bound */

/* http_stats.c */
void routes_init(struct http_server *s);
void routes_fini(struct http_server *s);

#endif
