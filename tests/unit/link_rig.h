/*
 * A link on a loop, and the socket at its other end, which the test holds.
 */
#ifndef UNIT_LINK_RIG_H
#define UNIT_LINK_RIG_H

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/mem.h"
#include "net/link.h"
#include "unit/unit.h"

enum { HEAD = 5 };

struct fixture {
    struct loop loop;
    struct link *link;
    int fd, peer;             /* the link's end and the other one */
    unsigned char type;       /* of the frame that was taken */
    slice payload;
    bool (*enough)(struct fixture *f);
};

static inline void fixture_open(struct fixture *f)
{
    int fds[2];
    *f = (struct fixture){.peer = -1};
    CHECK_EQ(loop_init(&f->loop), 0);
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    CHECK_EQ(fcntl(fds[0], F_SETFL, O_NONBLOCK), 0);
    f->link = link_new(&f->loop, fds[0], false);
    f->fd = fds[0];
    f->peer = fds[1];
}

static inline void fixture_close(struct fixture *f)
{
    link_free(f->link);
    loop_fini(&f->loop);
    if (f->peer >= 0)
        close(f->peer);
}

static inline void turn(void *arg)
{
    struct fixture *f = arg;
    if (f->enough(f))
        loop_stop(&f->loop);
}

static inline void run_until(struct fixture *f, bool (*enough)(struct fixture *f))
{
    f->enough = enough;
    loop_again(&f->loop);
    loop_run(&f->loop, turn, f);
}

static inline bool has_frame(struct fixture *f)
{
    return link_take(f->link, &f->type, &f->payload);
}

static inline bool has_ended(struct fixture *f)
{
    return link_state(f->link) == LINK_ENDED;
}

static inline bool is_open(struct fixture *f)
{
    return link_state(f->link) == LINK_OPEN;
}

static inline bool has_sent_all(struct fixture *f)
{
    return link_unsent(f->link) == 0;
}

static inline bool no_frame_then_end(struct fixture *f)
{
    CHECK(!has_frame(f));
    return has_ended(f);
}

/* One iteration of the loop. */
static inline bool at_once(struct fixture *f)
{
    (void)f;
    return true;
}

static inline void put(struct fixture *f, const void *bytes, size_t n)
{
    CHECK_EQ(write(f->peer, bytes, n), (ssize_t)n);
}

static inline void put_head(struct fixture *f, size_t size, char type)
{
    char head[HEAD] = {(char)size, (char)(size >> 8), (char)(size >> 16), (char)(size >> 24), type};
    put(f, head, HEAD);
}

static inline char *pattern(size_t n)
{
    char *bytes = mem_resize(NULL, n + 1);
    for (size_t i = 0; i < n; i++)
        bytes[i] = (char)(i * 7 + i / 251);
    return bytes;
}

static inline void send_frame(struct link *k, unsigned char type, slice payload)
{
    buf_add_slice(link_begin(k, type), payload);
    link_end(k);
}

#endif
