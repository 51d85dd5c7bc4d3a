#include "command/client.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/say.h"
#include "script/client/line_edit.h"
#include "net/frame.h"

enum { EXIT_LUA = 1, EXIT_INTERRUPTED = 128 + SIGINT };

struct client {
    int fd;              /* owned; blocking */
    struct buf answer;   /* payload of the last frame */
};

/* ---- output ---- */

/* Control characters of ASCII and of Latin-1 are escaped on a terminal: text from a message must not control it. */
static void put_text(FILE *to, slice text)
{
    bool terminal = isatty(fileno(to));
    for (size_t i = 0; terminal && i < text.n; i++) {
        unsigned char c = (unsigned char)text.p[i], next = i + 1 < text.n ? (unsigned char)text.p[i + 1] : 0;
        if (c == 0xc2 && next >= 0x80 && next < 0xa0) {
            fprintf(to, "\\u%04x", next);
            i++;
        } else if ((c < 0x20 && c != '\n' && c != '\t') || c == 0x7f) {
            fprintf(to, "\\x%02x", c);
        } else {
            putc(c, to);
        }
    }
    if (!terminal)
        fwrite(text.p, 1, text.n, to);
    fflush(to);
}

static void put_line(FILE *to, slice text)
{
    put_text(to, text);
    put_text(to, SLICE("\n"));
}

static int fail(int code, const char *what, const char *why)
{
    fprintf(stderr, "lignum console: %s: %s\n", what, why);
    return code;
}

/* ---- requests ---- */

static volatile sig_atomic_t interrupted;

static void on_interrupt(int signo)
{
    (void)signo;
    interrupted = 1;
}

/* Blocks SIGINT, which is then delivered only while await_frame waits, and forgets one that is pending. */
static void interrupts_hold(void)
{
    sigset_t set;
    struct sigaction action = {.sa_handler = on_interrupt};
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaction(SIGINT, &action, NULL);
    sigprocmask(SIG_BLOCK, &set, NULL);
    sigtimedwait(&set, NULL, &(struct timespec){0});   /* a pending one was meant for the last line */
    interrupted = 0;
}

/* Waits for a frame. The first Ctrl-C asks the broker to stop the line; a second one before it answers exits. */
static void await_frame(struct client *c)
{
    struct pollfd p = {.fd = c->fd, .events = POLLIN};
    sigset_t set;
    sigprocmask(SIG_BLOCK, NULL, &set);
    sigdelset(&set, SIGINT);
    for (int times = 0; ppoll(&p, 1, NULL, &set) < 0;) {
        if (errno != EINTR || !interrupted)
            continue;
        interrupted = 0;
        if (++times > 1)
            exit(EXIT_INTERRUPTED);
        frame_write(c->fd, 'I', SLICE(""));
    }
}

/* Sends a frame and shows output until the answer arrives in c->answer. Its type, or 0: the broker has gone. */
static unsigned char ask(struct client *c, unsigned char type, slice text)
{
    unsigned char got = 'O';
    interrupts_hold();
    int rc = frame_write(c->fd, type, text);
    while (rc == 0 && got == 'O') {
        await_frame(c);
        rc = frame_read(c->fd, CONSOLE_FRAME_MAX, &got, &c->answer);
        if (rc == 0 && got == 'O')
            put_text(stdout, buf_slice(&c->answer));
    }
    return rc == 0 ? got : 0;
}

static int lost(void)
{
    return fail(EXIT_UNAVAILABLE, "the broker", "has closed the connection");
}

/* ---- scripts ---- */

static int run_script(struct client *c, slice code)
{
    if (code.n > CONSOLE_FRAME_MAX)
        return fail(EXIT_LUA, "the script", "is larger than 1 MiB");
    switch (ask(c, 'L', code)) {
    case 'R':
        if (buf_size(&c->answer) > 0)
            put_line(stdout, buf_slice(&c->answer));
        return 0;
    case 'E':
        put_line(stderr, buf_slice(&c->answer));
        return EXIT_LUA;
    case 'M':
        return fail(EXIT_LUA, "the script", "ends in the middle of a statement");
    default:
        return lost();
    }
}

/* A byte order mark and a first line that begins with # are skipped, as in lignum.lua. */
static slice script_of(slice text)
{
    if (slice_starts(text, SLICE("\xef\xbb\xbf")))
        text = slice_skip(text, 3);
    if (slice_starts(text, SLICE("#"))) {
        const char *end = memchr(text.p, '\n', text.n);
        text = slice_skip(text, end == NULL ? text.n : (size_t)(end - text.p));
    }
    return text;
}

static int run_file(struct client *c, int fd, const char *name)
{
    struct buf code = {0};
    ssize_t n = 1;
    while (n > 0 && buf_size(&code) <= CONSOLE_FRAME_MAX) {
        n = read(fd, buf_reserve(&code, 64 * KIB), 64 * KIB);
        code.end += n > 0 ? (size_t)n : 0;
    }
    int rc = n < 0 ? fail(EXIT_LUA, name, strerror(errno)) : run_script(c, script_of(buf_slice(&code)));
    buf_fini(&code);
    return rc;
}

/* ---- terminal ---- */

static void complete(void *arg, slice before, struct buf *names)
{
    struct client *c = arg;
    if (before.n <= CONSOLE_FRAME_MAX && ask(c, 'C', before) == 'C')
        buf_move(names, &c->answer);
}

/* Runs a statement. False: it is not complete, more lines are needed. *code is set when the client has to exit. */
static bool run_lines(struct client *c, slice lines, int *code)
{
    if (lines.n > CONSOLE_FRAME_MAX) {
        put_line(stderr, SLICE("the statement is larger than 1 MiB"));
        return true;
    }
    unsigned char type = ask(c, 'L', lines);
    if (type == 'M')
        return false;
    if (type == 0)
        *code = lost();
    else if (buf_size(&c->answer) > 0)
        put_line(type == 'R' ? stdout : stderr, buf_slice(&c->answer));
    return true;
}

/* What people type who want to leave. In Lua it would only be the value of an unknown name. */
static bool is_farewell(slice line)
{
    return slice_eq(line, SLICE("quit")) || slice_eq(line, SLICE("exit")) || slice_eq(line, SLICE("quit()")) ||
           slice_eq(line, SLICE("exit()"));
}

/* A statement may take several lines; all of it is sent again with each new line, so the broker keeps no state. Returns
 * the exit code, or -1 after Ctrl-D. */
static int converse(struct client *c, struct edit *e)
{
    struct buf lines = {0};
    slice line;
    int rc, code = -1;
    while (code < 0 && (rc = edit_read(e, buf_size(&lines) > 0 ? "     .. " : "lignum> ", &line)) != -EPIPE) {
        if (rc < 0)
            buf_clear(&lines);
        if (rc < 0 || (buf_size(&lines) == 0 && slice_trim(line).n == 0))
            continue;
        if (buf_size(&lines) == 0 && is_farewell(slice_trim(line)))
            break;
        if (buf_size(&lines) > 0)
            buf_add_char(&lines, '\n');
        buf_add_slice(&lines, line);
        if (run_lines(c, buf_slice(&lines), &code))
            buf_clear(&lines);
    }
    buf_fini(&lines);
    return code;
}

static int run_terminal(struct client *c)
{
    struct edit *e = edit_new(&(struct edit_options){complete, c});
    if (!e)
        return fail(EXIT_SOFTWARE, "the terminal", "does not support line editing");
    put_text(stdout, buf_slice(&c->answer));
    put_line(stdout, SLICE(". help() lists the functions, quit or Ctrl-D exits."));
    int code = converse(c, e);
    if (code < 0)
        putchar('\n');
    edit_free(e);
    return code < 0 ? 0 : code;
}

/* ---- connection ---- */

static int connect_to(const char *path)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    memcpy(a.sun_path, path, strlen(path));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (connect(fd, (const struct sockaddr *)&a, sizeof a) == 0)
        return fd;
    int rc = -errno;
    close(fd);
    return rc;
}

/* A process of another user may listen where a node is expected, and what is typed is for the node. Only root talks to
 * processes of others, and is told whose it is. 0, or the exit code after a sentence. */
static int check_owner(int fd, const char *path)
{
    struct ucred peer;
    socklen_t size = sizeof(peer);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
        return fail(EXIT_UNAVAILABLE, path, strerror(errno));
    if (peer.uid == geteuid() || peer.uid == 0)
        return 0;
    const struct passwd *user = getpwuid(peer.uid);
    bool refuse = geteuid() != 0;
    fprintf(stderr, "lignum console: %s belongs to a process of user %s (uid %u, pid %d)%s\n", path,
            user == NULL ? "without a name" : user->pw_name, peer.uid, peer.pid,
            refuse ? ", and is not used: only root and the node's own user may use a node's console" : "");
    return refuse ? EXIT_UNAVAILABLE : 0;
}

/* Connects and reads the hello. 0, or the exit code after a sentence. */
static int client_open(struct client *c, const char *path)
{
    unsigned char type;
    if (strlen(path) > CONSOLE_PATH_MAX) {
        fprintf(stderr, "lignum console: the path of a Unix socket has at most %d bytes, and %s has %zu\n",
                CONSOLE_PATH_MAX, path, strlen(path));
        return EXIT_UNAVAILABLE;
    }
    c->fd = connect_to(path);
    if (c->fd < 0) {
        fprintf(stderr, "lignum console: cannot connect to %s (%s); is the broker running with this console.path?\n",
                path, strerror(-c->fd));
        return EXIT_UNAVAILABLE;
    }
    int code = check_owner(c->fd, path);
    if (code != 0) {
        close(c->fd);
        return code;
    }
    int rc = frame_read(c->fd, CONSOLE_FRAME_MAX, &type, &c->answer);
    if (rc == 0 && type == 'H')
        return 0;
    code = rc == 0 && type == 'E' ? EXIT_UNAVAILABLE : lost();
    if (rc == 0 && type == 'E')
        put_line(stderr, buf_slice(&c->answer));
    close(c->fd);
    buf_fini(&c->answer);
    return code;
}

const char *console_path(void)
{
    static const char here[] = "data/console.sock", service[] = "/run/lignum/console.sock";
    return access(here, F_OK) < 0 && access(service, F_OK) == 0 ? service : here;
}

int console_client(const char *path, const char *code)
{
    struct client c = {0};
    int rc = client_open(&c, path);
    if (rc != 0)
        return rc;
    if (code)
        rc = run_script(&c, slice_from(code));
    else
        rc = isatty(STDIN_FILENO) ? run_terminal(&c) : run_file(&c, STDIN_FILENO, "standard input");
    close(c.fd);
    buf_fini(&c.answer);
    return rc;
}

int console_script(const char *path, const char *script)
{
    struct client c = {0};
    int fd = open(script, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return fail(EXIT_LUA, script, strerror(errno));
    int rc = client_open(&c, path);
    if (rc == 0) {
        rc = run_file(&c, fd, script);
        close(c.fd);
        buf_fini(&c.answer);
    }
    close(fd);
    return rc;
}
