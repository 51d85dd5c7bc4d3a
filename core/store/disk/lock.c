#include "store/disk/lock.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/err.h"
#include "store/disk/io.h"
#include "store/disk/path.h"

static int fail(struct buf *why, int rc, const char *what, const char *root)
{
    buf_addf(why, "%s %s: %s", what, root, strerror(-rc));
    return rc;
}

static int open_root(const char *root, bool shared, int *root_fd, struct buf *why)
{
    if (strlen(root) > ROOT_SIZE_MAX) {
        buf_addf(why, "the path of the data directory is longer than %d bytes", ROOT_SIZE_MAX);
        return -ENAMETOOLONG;
    }
    if (!shared && io.mkdir(root, 0750) == 0) {
        int rc = io_sync_dir(path_of("%s/..", root).s);
        if (rc < 0)
            return fail(why, rc, "cannot fsync the parent of", root);
    } else if (!shared && errno != EEXIST) {
        return fail(why, -errno, "cannot make the data directory", root);
    }
    *root_fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return *root_fd < 0 ? fail(why, -errno, "cannot use as a data directory:", root) : 0;
}

static bool is_ours(const char *name)
{
    static const char *const ours[] = {
        ".", "..", "lock", "state", "state.new", "topics", "torn", "trash", "diverged", "io-failed", "lost+found",
    };
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
        if (strcmp(name, ours[i]) == 0)
            return true;
    return false;
}

/* A directory with `state` or `topics` is Lignum's, whatever other files it has. One without them may hold only names
 * that Lignum makes. */
static int refuse_foreign(const char *root, struct buf *why)
{
    struct path foreign = {""};
    bool known = false;
    DIR *dir = opendir(root);
    if (!dir)
        return fail(why, -errno, "cannot list", root);
    for (struct dirent *e; (e = readdir(dir));) {
        known = known || strcmp(e->d_name, "state") == 0 || strcmp(e->d_name, "topics") == 0;
        if (!is_ours(e->d_name))
            foreign = path_of("%s", e->d_name);
    }
    closedir(dir);
    if (known || foreign.s[0] == 0)
        return 0;
    buf_addf(why, "%s is not a Lignum data directory and not empty (it has %s): name another, or an empty one", root,
             foreign.s);
    return -ERR_FORMAT;
}

/* Names the process that holds the lock: it has written its pid into the file. */
static int lock_busy(int fd, const char *root, struct buf *why)
{
    char pid[16] = "";
    ssize_t n = pread(fd, pid, sizeof pid - 1, 0);
    slice who = slice_trim(slice_of(pid, n > 0 ? (size_t)n : 0));
    while (who.n > 0 && who.p[who.n - 1] == '\n')
        who.n--;
    buf_addf(why, "%s is in use by another process%s%.*s", root, who.n ? ", pid " : "", SLICE_ARGS(who));
    return -EBUSY;
}

static int lock_file(const char *root, bool shared, int *lock_fd, struct buf *why)
{
    struct path path = path_of("%s/lock", root);
    *lock_fd = shared ? open(path.s, O_RDONLY | O_CLOEXEC) : open(path.s, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
    if (*lock_fd < 0)
        return fail(why, -errno, shared ? "not a Lignum data directory:" : "cannot write to", shared ? root : path.s);
    if (flock(*lock_fd, (shared ? LOCK_SH : LOCK_EX) | LOCK_NB) < 0)
        return lock_busy(*lock_fd, root, why);
    if (shared)
        return 0;
    char pid[16];
    int n = snprintf(pid, sizeof pid, "%ld\n", (long)getpid());
    if (ftruncate(*lock_fd, 0) < 0 || pwrite(*lock_fd, pid, (size_t)n, 0) != n)
        return errno == ENOSPC ? 0 : fail(why, -errno, "cannot write to", path.s);
    return 0;
}

int lock_take(const char *root, bool shared, int *root_fd, int *lock_fd, struct buf *why)
{
    int rc = open_root(root, shared, root_fd, why);
    if (rc == 0)
        rc = refuse_foreign(root, why);
    return rc < 0 ? rc : lock_file(root, shared, lock_fd, why);
}
