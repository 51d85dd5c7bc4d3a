#include "net/notify.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/say.h"

/* The address is a path, or a name in the abstract namespace when it begins with '@'. -1 with errno set. */
static int open_socket(const char *address)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    size_t n = strlen(address);
    if ((address[0] != '/' && address[0] != '@') || n < 2 || n >= sizeof(to.sun_path)) {
        errno = EINVAL;
        return -1;
    }
    memcpy(to.sun_path, address, n);
    if (address[0] == '@')
        to.sun_path[0] = '\0';
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&to, size) < 0) {
        int e = errno;
        close(fd);
        errno = e;
        return -1;
    }
    return fd;
}

/* A message that the socket does not take is lost: the next beat says the same. */
static void tell(struct notify *n, const char *state)
{
    if (n->status == NULL || n->fd < 0)        /* a zeroed one tells nobody */
        return;
    struct buf text = {0}, status = {0};
    buf_add_slice(&text, slice_from(state));
    n->status(n->arg, &status);
    buf_addf(&text, "\nSTATUS=%.*s\n", SLICE_ARGS(buf_slice(&status)));
    (void)!send(n->fd, text.data, buf_size(&text), MSG_NOSIGNAL);
    buf_fini(&status);
    buf_fini(&text);
}

static void on_beat(void *arg)
{
    struct notify *n = arg;
    tell(n, "WATCHDOG=1");
    watch_arm(&n->beat, n->every_ns);
}

/* 0: no watchdog, or one that is another process's. */
static uint64_t watchdog_ns(void)
{
    const char *usec = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
    bool ours = pid == NULL || strtoll(pid, NULL, 10) == getpid();
    return usec == NULL || !ours ? 0 : strtoull(usec, NULL, 10) * 1000;
}

void notify_init(struct notify *n, struct loop *loop, void (*status)(void *arg, struct buf *out), void *arg)
{
    *n = (struct notify){.fd = -1, .status = status, .arg = arg};
    const char *address = getenv("NOTIFY_SOCKET");
    if (address == NULL)
        return;
    n->fd = open_socket(address);
    if (n->fd < 0)
        say_warn("main", "cannot tell the service manager that the node is ready NOTIFY_SOCKET=%s error=\"%s\"",
                 address, strerror(errno));
    n->every_ns = watchdog_ns() / 2;
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
    watch_timer(loop, &n->beat, on_beat, n);
}

void notify_fini(struct notify *n)
{
    watch_fini(&n->beat);
    if (n->fd >= 0)
        close(n->fd);
    *n = (struct notify){.fd = -1};
}

void notify_ready(struct notify *n)
{
    tell(n, "READY=1");
    if (n->fd >= 0 && n->every_ns > 0)
        watch_arm(&n->beat, n->every_ns);
}

void notify_reloading(struct notify *n)
{
    struct buf state = {0};
    buf_addf(&state, "RELOADING=1\nMONOTONIC_USEC=%llu%c", (unsigned long long)(clock_ns() / 1000), '\0');
    tell(n, state.data);
    buf_fini(&state);
}

void notify_stopping(struct notify *n)
{
    tell(n, "STOPPING=1");
}
