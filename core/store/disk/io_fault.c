#include "store/disk/io_fault.h"

#ifdef FAULTS

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/say.h"
#include "store/disk/io.h"
#include "store/disk/path.h"

enum { RULES_MAX = 8, SHORT_WRITE = -1, SLOW_SYNC = -2 };

struct rule {
    char op[16], path[256], when_exists[256];
    int error;
    long after;
    atomic_long calls;
};

static struct io real;
static struct rule rules[RULES_MAX];
static int rules_count;
static struct path log_path;        /* empty: no log */
static _Thread_local int log_fd = -1;
static atomic_long tokens;

/* -- rules ------------------------------------------------------------------------------------------------ */

static struct path path_of_fd(int fd)
{
    struct path path = {""};
    ssize_t n = readlink(path_of("/proc/self/fd/%d", fd).s, path.s, sizeof path.s - 1);
    path.s[n > 0 ? n : 0] = 0;
    return path;
}

static bool rule_applies(struct rule *r, const char *op, const char *path)
{
    if (strcmp(r->op, op) != 0 || (r->path[0] && !strstr(path, r->path)))
        return false;
    if (r->when_exists[0] && access(r->when_exists, F_OK) != 0)
        return false;
    return atomic_fetch_add(&r->calls, 1) >= r->after;
}

/* The error that this call fails with, SHORT_WRITE, SLOW_SYNC, or 0. */
static int fault(const char *op, int fd)
{
    struct path path = path_of_fd(fd);
    for (int i = 0; i < rules_count; i++)
        if (rule_applies(&rules[i], op, path.s))
            return rules[i].error;
    return 0;
}

/* -- the log ---------------------------------------------------------------------------------------------- */

static _Noreturn void log_failed(void)
{
    say_fatal(EXIT_SOFTWARE, "fault", "cannot write the log %s: %s", log_path.s, strerror(errno));
}

/* An flock belongs to an open file description, so each thread opens the log itself. */
static int log_file(void)
{
    if (log_fd < 0)
        log_fd = open(log_path.s, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (log_fd < 0)
        log_failed();
    return log_fd;
}

/* The disk is changed only while this is held. */
static void log_lock(void)
{
    if (!log_path.s[0])
        return;
    while (flock(log_file(), LOCK_EX) < 0)
        if (errno != EINTR)
            log_failed();
}

/* Keeps errno, which the call has set. */
static void log_unlock(void)
{
    if (log_path.s[0] && flock(log_file(), LOCK_UN) < 0)
        log_failed();
}

/* One writev, so that the lines of two threads do not mix. */
static void log_bytes(const char *line, const void *p, size_t n)
{
    struct iovec parts[3] = {
        {(void *)(uintptr_t)line, strlen(line)}, {(void *)(uintptr_t)p, n}, {(void *)(uintptr_t)"\n", n ? 1 : 0},
    };
    if (log_path.s[0] && writev(log_file(), parts, n ? 3 : 1) < 0)
        log_failed();
}

#define LOG(...) log_bytes(log_line(__VA_ARGS__).s, NULL, 0)

struct line {
    char s[2 * PATH_SIZE + 64];
};

static struct line log_line(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static struct line log_line(const char *fmt, ...)
{
    struct line line;
    va_list args;
    va_start(args, fmt);
    vsnprintf(line.s, sizeof line.s, fmt, args);
    va_end(args);
    return line;
}

static struct path absolute(const char *path)
{
    struct path copy = path_of("%s", path), base = copy;
    char folder[PATH_MAX];
    if (!realpath(dirname(copy.s), folder))
        return path_of("%s", path);
    return path_of("%s/%s", folder, basename(base.s));
}

/* -- the calls -------------------------------------------------------------------------------------------- */

static int fault_open(const char *path, int flags, mode_t mode)
{
    struct stat st;
    log_lock();
    bool created = (flags & O_CREAT) && stat(path, &st) < 0;
    bool emptied = (flags & O_TRUNC) && !created;
    int fd = real.open(path, flags, mode);
    if (fd >= 0 && created)
        LOG("create\t%s\n", absolute(path).s);
    if (fd >= 0 && emptied)
        LOG("truncate\t%s\t0\n", absolute(path).s);
    log_unlock();
    return fd;
}

static ssize_t fault_pwrite(int fd, const void *p, size_t n, off_t at)
{
    int error = fault("pwrite", fd);
    if (error > 0)
        return errno = error, -1;
    log_lock();
    ssize_t done = real.pwrite(fd, p, error == SHORT_WRITE ? n / 2 : n, at);
    if (done > 0)
        log_bytes(log_line("write\t%s\t%lld\t%zd\n", path_of_fd(fd).s, (long long)at, done).s, p, (size_t)done);
    log_unlock();
    return done;
}

static int fault_allocate(int fd, off_t from, off_t n)
{
    int rc = fault("allocate", fd);
    if (rc != 0)
        return rc;
    log_lock();
    rc = real.allocate(fd, from, n);
    if (rc == 0)
        LOG("allocate\t%s\t%lld\n", path_of_fd(fd).s, (long long)(from + n));
    log_unlock();
    return rc;
}

static int fault_truncate(int fd, off_t size)
{
    log_lock();
    int rc = real.truncate(fd, size);
    if (rc == 0)
        LOG("truncate\t%s\t%lld\n", path_of_fd(fd).s, (long long)size);
    log_unlock();
    return rc;
}

static int fault_sync(int fd, const char *kind, int (*call)(int))
{
    int error = fault("sync", fd);
    if (error == SLOW_SYNC && gettid() != getpid())
        sleep(1);
    else if (error && error != SLOW_SYNC)
        return errno = error > 0 ? error : EIO, -1;
    long token = atomic_fetch_add(&tokens, 1);
    LOG("sync\t%ld\t%s\t%s\n", token, kind, path_of_fd(fd).s);
    int rc = call(fd);
    if (rc == 0)
        LOG("synced\t%ld\n", token);
    return rc;
}

static int fault_sync_data(int fd)
{
    return fault_sync(fd, "file", real.sync_data);
}

static int fault_sync_all(int fd)
{
    struct stat st;
    bool dir = fstat(fd, &st) == 0 && S_ISDIR(st.st_mode);
    return fault_sync(fd, dir ? "dir" : "file", real.sync_all);
}

static int fault_sync_fs(int fd)
{
    return fault_sync(fd, "all", real.sync_fs);
}

static int fault_rename(const char *from, const char *to)
{
    struct path a = absolute(from), b = absolute(to);
    log_lock();
    int rc = real.rename(from, to);
    if (rc == 0)
        LOG("rename\t%s\t%s\n", a.s, b.s);
    log_unlock();
    return rc;
}

static int fault_link(const char *from, const char *to)
{
    log_lock();
    int rc = real.link(from, to);
    if (rc == 0)
        LOG("link\t%s\t%s\n", absolute(from).s, absolute(to).s);
    log_unlock();
    return rc;
}

static int fault_exchange(const char *a, const char *b)
{
    log_lock();
    int rc = real.exchange(a, b);
    if (rc == 0)
        LOG("exchange\t%s\t%s\n", absolute(a).s, absolute(b).s);
    log_unlock();
    return rc;
}

static int fault_unlink(const char *path)
{
    log_lock();
    int rc = real.unlink(path);
    if (rc == 0)
        LOG("remove\t%s\n", absolute(path).s);
    log_unlock();
    return rc;
}

static int fault_mkdir(const char *path, mode_t mode)
{
    log_lock();
    int rc = real.mkdir(path, mode);
    if (rc == 0)
        LOG("mkdir\t%s\n", absolute(path).s);
    log_unlock();
    return rc;
}

static int fault_rmdir(const char *path)
{
    log_lock();
    int rc = real.rmdir(path);
    if (rc == 0)
        LOG("remove\t%s\n", absolute(path).s);
    log_unlock();
    return rc;
}

/* -- reading the environment ------------------------------------------------------------------------------ */

static _Noreturn void bad_rule(const char *text)
{
    say_fatal(EXIT_USAGE, "fault", "LIGNUM_FAULT is not understood: %s", text);
}

static int error_of(const char *name)
{
    static const struct { const char *name; int error; } errors[] = {
        {"EIO", EIO}, {"ENOSPC", ENOSPC}, {"EROFS", EROFS}, {"SHORT", SHORT_WRITE},
        {"SLOW", SLOW_SYNC},
    };
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        if (strcmp(name, errors[i].name) == 0)
            return errors[i].error;
    bad_rule(name);
}

static void read_condition(struct rule *r, const char *text)
{
    if (sscanf(text, "after=%ld", &r->after) == 1)
        return;
    if (sscanf(text, "when-exists=%255s", r->when_exists) == 1)
        return;
    if (sscanf(text, "path=%255s", r->path) == 1)
        return;
    bad_rule(text);
}

static void read_rule(char *text)
{
    char *rest = text, *op = strsep(&rest, ":"), *error = strsep(&rest, ":");
    if (strncmp(text, "log=", 4) == 0 && !error) {
        log_path = path_of("%s", text + 4);
        log_file();                    /* ends the process now if it cannot be written */
        return;
    }
    if (!error || rules_count == RULES_MAX)
        bad_rule(text);
    struct rule *r = &rules[rules_count++];
    snprintf(r->op, sizeof r->op, "%s", op);
    r->error = error_of(error);
    for (char *condition; (condition = strsep(&rest, ":"));)
        read_condition(r, condition);
}

void io_fault_install(void)
{
    const char *text = getenv("LIGNUM_FAULT");
    if (!text || real.open)
        return;
    real = io;
    io = (struct io){
        .open = fault_open, .pwrite = fault_pwrite, .allocate = fault_allocate, .truncate = fault_truncate,
        .sync_data = fault_sync_data, .sync_all = fault_sync_all, .sync_fs = fault_sync_fs, .rename = fault_rename,
        .link = fault_link, .exchange = fault_exchange, .unlink = fault_unlink, .mkdir = fault_mkdir,
        .rmdir = fault_rmdir,
    };
    char *copy = strdup(text), *rest = copy;
    for (char *rule; rest && (rule = strsep(&rest, ";"));)
        read_rule(rule);
    free(copy);
}

#else

void io_fault_install(void)
{
}

#endif
