#include "console/console.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/mem.h"
#include "base/say.h"
#include "console/session.h"
#include "net/acceptor.h"
#include "net/frame.h"

enum { BACKLOG = CONSOLES_MAX };

_Static_assert(CONSOLE_PATH_MAX == sizeof(((struct sockaddr_un *)0)->sun_path) - 1, "with a NUL it fills an address");

struct console {
    struct vm *vm;                           /* outlives us */
    struct loop *loop;                       /* outlives us */
    struct acceptor acceptor;
    struct session *sessions[CONSOLES_MAX];  /* owned; NULL: free */
    unsigned open;                           /* sessions */
    unsigned last_id;
    struct sockaddr_un address;
    struct stat file;                        /* identifies the socket, so that no other is removed */
};

/* ---- clients ---- */

static void refuse(int fd, const struct ucred *peer, const char *why)
{
    say_warn("console", "refused pid=%d uid=%u reason=\"%s\"", peer->pid, peer->uid, why);
    frame_write(fd, 'E', slice_from(why));   /* does not wait: the buffer of a new socket has room for it */
    close(fd);
}

static void on_accept(void *arg, int fd, const union address *from)
{
    (void)from;
    struct console *c = arg;
    struct ucred peer = {.pid = 0, .uid = (uid_t)-1};
    socklen_t size = sizeof peer;
    int slot = 0;
    while (slot < CONSOLES_MAX && c->sessions[slot] != NULL)
        slot++;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0 || (peer.uid != geteuid() && peer.uid != 0)) {
        refuse(fd, &peer, "only the broker's own user and root may use its console");
    } else if (slot == CONSOLES_MAX) {
        refuse(fd, &peer, "too many consoles are open");
    } else {
        c->last_id++;
        c->open++;
        c->sessions[slot] = session_new(&(struct session_options){c->vm, c->loop, fd, c->last_id});
        say_info("console", "opened session=%u pid=%d uid=%u", c->last_id, peer.pid, peer.uid);
    }
}

void console_receive(struct console *c)
{
    for (int i = 0; c->open > 0 && i < CONSOLES_MAX; i++)
        if (c->sessions[i] != NULL)
            session_receive(c->sessions[i]);
}

void console_send(struct console *c)
{
    for (int i = 0; c->open > 0 && i < CONSOLES_MAX; i++) {
        struct session *s = c->sessions[i];
        if (s == NULL || session_send(s))
            continue;
        say_info("console", "closed session=%u", session_id(s));
        session_free(s);
        c->sessions[i] = NULL;
        c->open--;
    }
}

/* ---- the socket ---- */

static int address_set(struct sockaddr_un *a, const char *path)
{
    if (strlen(path) > CONSOLE_PATH_MAX)
        return -ENAMETOOLONG;
    *a = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(a->sun_path, path, strlen(path));
    return 0;
}

/* True when there is a socket that no process listens on. */
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

/* The mask makes it 0600 from the start, so that others cannot connect at any moment. */
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

/* The listening socket, or -errno. */
static int listen_on(struct console *c)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    int rc = bind_or_replace(fd, &c->address);
    if (rc == 0 && (listen(fd, BACKLOG) < 0 || lstat(c->address.sun_path, &c->file) < 0))
        rc = -errno;
    if (rc < 0)
        close(fd);
    return rc < 0 ? rc : fd;
}

int console_listen(struct vm *vm, struct loop *loop, const char *path, struct console **out)
{
    struct console *c = MEM_NEW(struct console);
    int rc = address_set(&c->address, path);
    int fd = rc < 0 ? rc : listen_on(c);
    if (fd < 0) {
        mem_free(c);
        return fd;
    }
    c->vm = vm;
    c->loop = loop;
    c->acceptor = (struct acceptor){.on_accept = on_accept, .arg = c, .area = "console"};
    acceptor_open(&c->acceptor, loop, fd);
    *out = c;
    return 0;
}

void console_free(struct console *c)
{
    acceptor_close(&c->acceptor);
    for (int i = 0; i < CONSOLES_MAX; i++)
        if (c->sessions[i] != NULL)
            session_free(c->sessions[i]);
    struct stat now;
    if (lstat(c->address.sun_path, &now) == 0 && now.st_ino == c->file.st_ino && now.st_dev == c->file.st_dev)
        unlink(c->address.sun_path);
    mem_free(c);
}
