#include "net/acceptor.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/say.h"

enum { PAUSE_MS = 500 };

static void on_readable(void *arg)
{
    struct acceptor *a = arg;
    union address from = {0};
    int fd = address_accept(a->fd, &from);
    if (fd >= 0) {
        a->on_accept(a->arg, fd, &from);
    } else if (fd != -EAGAIN && fd != -EINTR && fd != -ECONNABORTED) {
        say_limited(&a->failures, SAY_WARN, a->area, "cannot accept error=\"%s\"", strerror(-fd));
        watch_fini(&a->readable);
        watch_arm(&a->pause, PAUSE_MS * NS_PER_MS);
    }
}

static void on_pause_over(void *arg)
{
    struct acceptor *a = arg;
    watch_readable(a->loop, &a->readable, a->fd, on_readable, a);
}

void acceptor_open(struct acceptor *a, struct loop *l, int fd)
{
    a->fd = fd;
    a->loop = l;
    watch_readable(l, &a->readable, fd, on_readable, a);
    watch_timer(l, &a->pause, on_pause_over, a);
}

void acceptor_close(struct acceptor *a)
{
    if (a->loop == NULL)
        return;
    watch_fini(&a->readable);
    watch_fini(&a->pause);
    close(a->fd);
    a->loop = NULL;
}
