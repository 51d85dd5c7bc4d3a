/*
 * Tells systemd how the node is: sd_notify(3), with `Type=notify` in the unit. Without $NOTIFY_SOCKET nothing is sent,
 * and no timer runs.
 *
 *     start --ready--> running <--reloading, ready--> reloading
 *                         |--stopping--> stopping
 *
 * The watchdog is fed from the loop, twice in each $WATCHDOG_USEC, so that systemd restarts a node whose loop hangs.
 * The protocol is a datagram of lines, which systemd promises to keep; so libsystemd, with its own dependencies, is not
 * linked.
 */
#ifndef NET_NOTIFY_H
#define NET_NOTIFY_H

#include "base/buf.h"
#include "net/loop.h"

struct notify {
    int fd;                                    /* connected to the socket; -1: nobody listens */
    uint64_t every_ns;                         /* half of the watchdog's time; 0: it is off */
    struct watch beat;
    void (*status)(void *arg, struct buf *out);
    void *arg;
};

/* Reads the environment and removes from it what is this process's alone. `status` adds what `systemctl status` shows
 * in one line; it is asked with each message. A bad $NOTIFY_SOCKET is said in the log. */
void notify_init(struct notify *n, struct loop *loop, void (*status)(void *arg, struct buf *out), void *arg);
void notify_fini(struct notify *n);

void notify_ready(struct notify *n);           /* also ends `reloading` */
void notify_reloading(struct notify *n);
void notify_stopping(struct notify *n);

#endif
