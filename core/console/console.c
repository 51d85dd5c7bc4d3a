#include "console/console.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/say.h"
#include "console/session.h"
#include "net/frame.h"

enum { BACKLOG = CONSOLES_MAX, PAUSE_MS = 1000 };

struct console {
    struct vm *vm;                           /* outlives us */
    struct loop *loop;                       /* outlives us */
    int fd;                                  /* owned */
    struct watch connected;
    struct watch pause;                      /* after an accept that failed */
    struct session *sessions[CONSOLES_MAX];  /* owned; NULL: free */
    unsigned last_id;
    struct sockaddr_un address;
    struct stat file;                        /* the socket's, to remove no other */
};

/* ---- clients come and go ---- */

static struct session **slot_find(struct console *c, unsigned id)
{
    for (int i = 0; i < CONSOLES_MAX; i++)
        if (c->sessions[i] ? session_id(c->sessions[i]) == id : id == 0)
            return &c->sessions[i];
    return NULL;
}

static struct session **slot_free(struct console *c)
{
    return slot_find(c, 0);
}

static void on_session_closed(void *arg, unsigned id)
{
    struct session **slot = slot_find(arg, id);
    session_free(*slot);
    *slot = NULL;
    say_info("console", "closed session=%u", id);
}

/* A frame this short always fits into a new socket's buffer. */
static void refuse(int fd, const struct ucred *peer, const char *why)
{
    say_warn("console", "refused pid=%d uid=%u reason=\"%s\"", peer->pid, peer->uid, why);
    frame_write(fd, 'E', slice_from(why));
    close(fd);
}

static void admit(struct console *c, int fd)
{
    struct session **slot = slot_free(c);
    struct ucred peer = {.pid = 0, .uid = (uid_t)-1};
    socklen_t size = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0 || (peer.uid != geteuid() && peer.uid != 0)) {
        refuse(fd, &peer, "only the broker's own user and root may use its console");
    } else if (!slot) {
        refuse(fd, &peer, "too many consoles are open");
    } else {
        c->last_id++;
        *slot = session_new(&(struct session_options){c->vm, c->loop, fd, c->last_id, on_session_closed, c});
        say_info("console", "opened session=%u pid=%d uid=%u", c->last_id, peer.pid, peer.uid);
    }
}

static void on_connected(void *arg);

static void on_pause_over(void *arg)
{
    struct console *c = arg;
    watch_readable(c->loop, &c->connected, c->fd, on_connected, c);
}

/* Out of descriptors, the waiting client would make us spin. */
static void on_connected(void *arg)
{
    struct console *c = arg;
    int fd = accept4(c->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
        admit(c, fd);
    } else if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
        say_warn("console", "cannot accept error=\"%s\"", strerror(errno));
        watch_fini(&c->connected);
        watch_arm(&c->pause, PAUSE_MS * NS_PER_MS);
    }
}

/* ---- the socket ---- */

static int address_set(struct sockaddr_un *a, const char *path)
{
    if (strlen(path) >= sizeof a->sun_path)
        return -ENAMETOOLONG;
    *a = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(a->sun_path, path, strlen(path));
    return 0;
}

/* Whether there is a socket of a process that has ended. */
static bool is_stale(const struct sockaddr_un *a)
{
    struct stat st;
    if (lstat(a->sun_path, &st) < 0 || !S_ISSOCK(st.st_mode))
        return false;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool stale = fd >= 0 && connect(fd, (const struct sockaddr *)a, sizeof *a) < 0 && errno == ECONNREFUSED;
    if (fd >= 0)
        close(fd);
    return stale;
}

/* The mask makes it 0600 from the start: there is no moment in which others can connect. */
static int bind_private(int fd, const struct sockaddr_un *a)
{
    mode_t before = umask(0177);
    int rc = bind(fd, (const struct sockaddr *)a, sizeof *a) < 0 ? -errno : 0;
    umask(before);
    return rc;
}

static int bind_or_replace(int fd, const struct sockaddr_un *a)
{
    int rc = bind_private(fd, a);
    if (rc != -EADDRINUSE || !is_stale(a))
        return rc;
    if (unlink(a->sun_path) < 0)
        return -errno;
    return bind_private(fd, a);
}

static int listen_on(struct console *c)
{
    c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (c->fd < 0)
        return -errno;
    int rc = bind_or_replace(c->fd, &c->address);
    if (rc == 0 && (listen(c->fd, BACKLOG) < 0 || lstat(c->address.sun_path, &c->file) < 0))
        rc = -errno;
    if (rc < 0)
        close(c->fd);
    return rc;
}

int console_listen(struct vm *vm, struct loop *loop, const char *path, struct console **out)
{
    struct console *c = MEM_NEW(struct console);
    int rc = address_set(&c->address, path);
    if (rc == 0)
        rc = listen_on(c);
    if (rc < 0) {
        mem_free(c);
        return rc;
    }
    c->vm = vm;
    c->loop = loop;
    watch_readable(loop, &c->connected, c->fd, on_connected, c);
    watch_timer(loop, &c->pause, on_pause_over, c);
    *out = c;
    return 0;
}

static void socket_remove(struct console *c)
{
    struct stat now;
    close(c->fd);
    if (lstat(c->address.sun_path, &now) == 0 && now.st_ino == c->file.st_ino && now.st_dev == c->file.st_dev)
        unlink(c->address.sun_path);
}

void console_free(struct console *c)
{
    watch_fini(&c->connected);
    watch_fini(&c->pause);
    for (int i = 0; i < CONSOLES_MAX; i++)
        if (c->sessions[i])
            session_free(c->sessions[i]);
    socket_remove(c);
    mem_free(c);
}
