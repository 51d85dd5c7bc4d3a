/*
 * A listening socket of the loop: each connection is handed to on_accept. When accepting fails for want of descriptors
 * or memory, it pauses, because the connection that still waits would wake the loop again and again.
 *
 * The HTTP server has listeners of its own (http_listen.c), which resume as soon as one of its connections closes.
 */
#ifndef NET_ACCEPTOR_H
#define NET_ACCEPTOR_H

#include "base/say.h"
#include "net/address.h"
#include "net/loop.h"

/* A zeroed one is closed. The owner fills in the first three before acceptor_open. */
struct acceptor {
    void (*on_accept)(void *arg, int fd, const union address *from);   /* takes over the non-blocking socket */
    void *arg;
    const char *area;                /* for the log */
    struct loop *loop;               /* outlives us; NULL: closed */
    int fd;                          /* owned */
    struct watch readable, pause;    /* one of them waits, never both */
    struct say_limit failures;       /* lines about them */
};

/* Takes over a listening, non-blocking socket. */
void acceptor_open(struct acceptor *a, struct loop *l, int fd);
void acceptor_close(struct acceptor *a);   /* a closed one too */

#endif
