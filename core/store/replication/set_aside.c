/*
 * What a cut removes is kept: data/diverged/NAME-OFFSET-MILLISECONDS/ has the shape of a topic's directory, so that
 * verify and dump read it. Whole files are linked into it; of one that is cut through, a file of the same format is
 * made that begins with the first batch that goes. It is called .part until it is complete: then what it is a copy of
 * is still in the journal.
 *
 * Between the link and the end of the cut a file has both names. A cut that ends early lets the journal keep the file,
 * which writes to it or truncates it: so the name in diverged/ goes before anything else happens, here where the cut
 * fails, and at the next start where the process ended. Nothing is lost by it, as the journal has the file.
 */
#include "store/replication/set_aside.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/say.h"
#include "store/disk/io.h"
#include "store/log/inner.h"

struct path set_aside_path(const struct journal *j, uint64_t offset)
{
    struct path path;
    long long now_ms = clock_wall_ms();
    do
        path = path_of("%s/diverged/%s-%" PRIu64 "-%lld", j->store->disk.root, j->name, offset, now_ms++);
    while (access(path.s, F_OK) == 0 || access(path_of("%s.part", path.s).s, F_OK) == 0);
    return path;
}

int set_aside_copy(int from, uint64_t at, uint64_t end, int to, uint64_t out)
{
    char chunk[64 * KIB];
    while (at < end) {
        size_t n = end - at < sizeof chunk ? (size_t)(end - at) : sizeof chunk;
        ssize_t got = pread(from, chunk, n, (off_t)at);
        int rc = got <= 0 ? (got < 0 ? -errno : -EIO) : io_write(to, chunk, (size_t)got, out);
        if (rc < 0)
            return rc;
        at += (uint64_t)got;
        out += (uint64_t)got;
    }
    return 0;
}

/* The header of a file that begins with the batch at this place. */
static int write_head(struct segment *seg, struct hint at, int fd)
{
    unsigned char head[FILE_HEAD_SIZE];
    char bytes[BATCH_HEAD_SIZE];
    struct batch_head batch = {.epoch = seg->epoch};
    if (pread(seg->file.fd, bytes, sizeof bytes, (off_t)at.position) == sizeof bytes)
        batch_head_read(bytes, &batch);      /* damaged: the file's last epoch is as good */
    struct journal *j = seg->journal;
    file_head_write(head, &(struct file_head){.cluster = j->store->disk.state.cluster, .topic = j->options.id,
                                              .first = at.offset, .epoch = batch.epoch});
    return io_write(fd, head, sizeof head, 0);
}

int set_aside_begin(struct segment *seg, struct hint at, const char *dir)
{
    int rc = segment_use(seg);
    if (rc < 0)
        return rc;
    struct path path = path_of("%s/%0*" PRIu64 "%s", dir, FILE_DIGITS, at.offset, file_suffix[FILE_ACTIVE]);
    int fd = io.open(path.s, O_WRONLY | O_CREAT | O_EXCL, 0640);
    if (fd < 0)
        return -errno;
    rc = write_head(seg, at, fd);
    if (rc == 0)
        return fd;
    close(fd);
    return rc;
}

/* Copies the batches from a place in a file on. */
static int keep_rest(struct segment *seg, struct hint at, const char *dir)
{
    int fd = set_aside_begin(seg, at, dir);
    if (fd < 0)
        return fd;
    int rc = set_aside_copy(seg->file.fd, at.position, seg->written, fd, FILE_HEAD_SIZE);
    if (rc == 0 && io.sync_all(fd) < 0)
        rc = -errno;
    close(fd);
    return rc;
}

/* No link can be made there, but a copy can: of another filesystem, of one without links, of a file with too many. */
static bool is_unlinkable(int error)
{
    return error == EXDEV || error == EPERM || error == EOPNOTSUPP || error == EMLINK;
}

/* A file as it is: nobody writes to it any more, the journal loses it, so that another name for it is a copy. */
static int keep_whole(struct journal *j, struct part *part, const char *dir)
{
    struct segment *seg;
    int rc = part_segment(j, part, &seg);
    if (rc < 0)
        return rc;
    if (seg->next == seg->first && !seg->ended)
        return 0;
    struct path from = segment_path(seg);
    if (io.link(from.s, path_of("%s/%s", dir, strrchr(from.s, '/') + 1).s) == 0)
        return 0;
    if (!is_unlinkable(errno))
        return -errno;
    return keep_rest(seg, (struct hint){seg->first, FILE_HEAD_SIZE}, dir);
}

static int keep_all(struct journal *j, uint32_t index, struct hint at, const char *dir, bool ahead)
{
    struct segment *seg;
    int rc = part_segment(j, &j->parts[index], &seg);
    if (rc == 0 && at.position == FILE_HEAD_SIZE)
        rc = keep_whole(j, &j->parts[index], dir);
    else if (rc == 0 && at.position < seg->written && !ahead)
        rc = keep_rest(seg, at, dir);
    for (uint32_t i = index + 1; rc == 0 && i < j->parts_count; i++)
        rc = keep_whole(j, &j->parts[i], dir);
    return rc < 0 ? rc : io_sync_dir(dir);
}

int set_aside_keep(struct journal *j, uint32_t index, struct hint at, const char *dir, bool ahead)
{
    struct path part = path_of("%s.part", dir);
    if (!ahead && io.mkdir(part.s, 0750) < 0)
        return -errno;
    int rc = keep_all(j, index, at, part.s, ahead);
    bool renamed = rc == 0 && io.rename(part.s, dir) == 0;
    if (renamed)
        rc = io_sync_dir(path_of("%s/diverged", j->store->disk.root).s);
    else if (rc == 0)
        rc = -errno;
    if (rc < 0)
        disk_remove_dir(&j->store->disk, renamed ? dir : part.s);
    return rc;
}

/* -- a directory as it is --------------------------------------------------------------------------------- */

static int copy_file(const char *from, const char *to)
{
    struct stat st;
    int in = open(from, O_RDONLY | O_CLOEXEC);
    if (in < 0)
        return -errno;
    int out = io.open(to, O_WRONLY | O_CREAT | O_EXCL, 0640);
    int rc = out < 0 || fstat(in, &st) < 0 ? -errno : set_aside_copy(in, 0, (uint64_t)st.st_size, out, 0);
    if (rc == 0 && io.sync_all(out) < 0)
        rc = -errno;
    if (out >= 0)
        close(out);
    close(in);
    return rc;
}

static int copy_files(const char *from, const char *to)
{
    int rc = 0;
    DIR *dir = opendir(from);
    if (!dir)
        return -errno;
    for (struct dirent *e; rc == 0 && (e = readdir(dir));)
        if (e->d_name[0] != '.')
            rc = copy_file(path_of("%s/%s", from, e->d_name).s, path_of("%s/%s", to, e->d_name).s);
    closedir(dir);
    return rc < 0 ? rc : io_sync_dir(to);
}

int set_aside_move(struct store *s, const char *from, const char *to)
{
    if (io.rename(from, to) == 0)
        return 0;
    if (errno != EXDEV)
        return -errno;
    struct path part = path_of("%s.part", to);
    say_warn("store", "%s/diverged is on another filesystem: all of %s is copied, and everything waits for it",
             s->disk.root, from);
    if (io.mkdir(part.s, 0750) < 0)
        return -errno;
    int rc = copy_files(from, part.s);
    if (rc == 0 && io.rename(part.s, to) < 0)
        rc = -errno;
    if (rc < 0) {
        disk_remove_dir(&s->disk, part.s);
        return rc;
    }
    rc = io_sync_dir(path_of("%s/diverged", s->disk.root).s);
    if (rc == 0 && io.rename(from, path_of("%s/trash/%s", s->disk.root, strrchr(to, '/') + 1).s) < 0)
        rc = -errno;
    if (rc < 0)
        disk_remove_dir(&s->disk, to);
    return rc;
}

/* -- what a crash left ------------------------------------------------------------------------------------ */

static bool is_part(const char *name)
{
    static const char suffix[] = ".part";
    size_t n = strlen(name), k = sizeof suffix - 1;
    return n > k && name[n - k - 1] >= '0' && name[n - k - 1] <= '9' && strcmp(name + n - k, suffix) == 0;
}

void set_aside_sweep(struct store *s)
{
    struct path all = path_of("%s/diverged", s->disk.root);
    DIR *dir = opendir(all.s);
    for (struct dirent *e; dir && (e = readdir(dir));) {
        struct path path = path_of("%s/%s", all.s, e->d_name);
        if (is_part(e->d_name) && io.rename(path.s, path_of("%s/trash/%s", s->disk.root, e->d_name).s) < 0)
            disk_remove_dir(&s->disk, path.s);
    }
    if (dir)
        closedir(dir);
}

static bool is_same_file(const struct stat *a, const char *path)
{
    struct stat b;
    return stat(path, &b) == 0 && a->st_dev == b.st_dev && a->st_ino == b.st_ino;
}

/* Takes the name away when it is one of a file of the journal. */
static int let_go_of(struct journal *j, const char *path, uint64_t first)
{
    struct stat st;
    struct path active = file_path(j, first, FILE_ACTIVE), sealed = file_path(j, first, FILE_SEALED);
    if (lstat(path, &st) < 0 || !S_ISREG(st.st_mode) || st.st_nlink == 1)
        return 0;
    if (!is_same_file(&st, active.s) && !is_same_file(&st, sealed.s))
        return 0;
    say_warn("store", "a cut that did not come to its end: the topic keeps what it had, and its second name goes "
             "topic=%s path=%s", j->name, path);
    return io.unlink(path) < 0 ? -errno : 0;
}

static int let_go_in(struct journal *j, const char *path)
{
    uint64_t first;
    int rc = 0;
    DIR *dir = opendir(path);
    if (!dir)
        return errno == ENOTDIR ? 0 : -errno;
    for (struct dirent *e; rc == 0 && (e = readdir(dir));)
        if (file_name_read(e->d_name, &first) < FILE_INDEX)
            rc = let_go_of(j, path_of("%s/%s", path, e->d_name).s, first);
    closedir(dir);
    io.rmdir(path);                    /* if it is empty now */
    return rc;
}

int set_aside_release(struct journal *j)
{
    struct path all = path_of("%s/diverged", j->store->disk.root);
    size_t n = strlen(j->name);
    int rc = 0;
    DIR *dir = opendir(all.s);
    if (!dir)
        return -errno;
    for (struct dirent *e; rc == 0 && (e = readdir(dir));)
        if (strncmp(e->d_name, j->name, n) == 0 && e->d_name[n] == '-')
            rc = let_go_in(j, path_of("%s/%s", all.s, e->d_name).s);
    closedir(dir);
    return rc;
}
