#include "store/replication/set_aside.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/say.h"
#include "store/disk/io.h"
#include "store/log/store_struct.h"
#include "store/replication/copy_away.h"

struct path set_aside_path(const struct topic_dir *dir, uint64_t offset)
{
    struct path path;
    long long now_ms = clock_wall_ms();
    do
        path = path_of("%s/diverged/%s-%" PRIu64 "-%lld", dir->disk->root, dir->name, offset, now_ms++);
    while (access(path.s, F_OK) == 0 || access(path_of("%s.part", path.s).s, F_OK) == 0);
    return path;
}

/* -- the files of a truncation ---------------------------------------------------------------------------- */

int set_aside_begin(struct segment *seg, struct place at, const char *folder)
{
    int rc = segment_use(seg);
    if (rc < 0)
        return rc;
    struct path path = path_of("%s/%0*" PRIu64 "%s", folder, FILE_DIGITS, at.offset, file_suffix[FILE_ACTIVE]);
    int fd = io.open(path.s, O_WRONLY | O_CREAT | O_EXCL, 0640);
    if (fd < 0)
        return -errno;
    /* A file bears the epoch of its first batch. Where that is damaged, the last epoch of the file will do. */
    unsigned char out[FILE_HEAD_SIZE];
    char in[BATCH_HEAD_SIZE];
    struct batch_head batch = {.epoch = seg->epoch};
    if (pread(seg->file.fd, in, sizeof in, (off_t)at.position) == sizeof in)
        batch_head_read(in, &batch);
    struct file_head head = file_head_of(seg->dir, at.offset, batch.epoch);
    file_head_write(out, &head);
    rc = io_write(fd, out, sizeof out, 0);
    if (rc == 0)
        return fd;
    close(fd);
    return rc;
}

static int copy_rest(struct segment *seg, struct place at, const char *folder)
{
    int fd = set_aside_begin(seg, at, folder);
    if (fd < 0)
        return fd;
    int rc = io_copy(seg->file.fd, at.position, seg->written, fd, FILE_HEAD_SIZE);
    if (rc == 0 && io.sync_all(fd) < 0)
        rc = -errno;
    close(fd);
    return rc;
}

/* The journal loses the file, and nothing is written to it any more: so another name for it is as good as a copy. Where
 * no link can be made (another filesystem, or one without links, or a file with too many), it is copied. */
static int link_file(struct journal *j, struct part *part, const char *folder)
{
    struct segment *seg;
    int rc = part_segment(j, part, &seg);
    if (rc < 0)
        return rc;
    if (seg->next == seg->first && !seg->ended)
        return 0;
    struct path from = segment_path(seg);
    if (io.link(from.s, path_of("%s/%s", folder, strrchr(from.s, '/') + 1).s) == 0)
        return 0;
    if (errno != EXDEV && errno != EPERM && errno != EOPNOTSUPP && errno != EMLINK)
        return -errno;
    return copy_rest(seg, (struct place){seg->first, FILE_HEAD_SIZE}, folder);
}

static int keep_files(struct journal *j, uint32_t index, struct place at, const char *folder, bool prepared)
{
    struct segment *seg;
    int rc = part_segment(j, &j->parts.at[index], &seg);
    if (rc == 0 && at.position == FILE_HEAD_SIZE)
        rc = link_file(j, &j->parts.at[index], folder);
    else if (rc == 0 && at.position < seg->written && !prepared)
        rc = copy_rest(seg, at, folder);
    for (uint32_t i = index + 1; rc == 0 && i < j->parts.count; i++)
        rc = link_file(j, &j->parts.at[i], folder);
    return rc < 0 ? rc : io_sync_dir(folder);
}

int set_aside_keep(struct journal *j, uint32_t index, struct place at, const char *to, bool prepared)
{
    struct disk *d = &j->store->disk;
    struct path part = path_of("%s.part", to);
    if (!prepared && io.mkdir(part.s, 0750) < 0)
        return -errno;
    int rc = keep_files(j, index, at, part.s, prepared);
    bool renamed = rc == 0 && io.rename(part.s, to) == 0;
    if (renamed)
        rc = io_sync_dir(path_of("%s/diverged", d->root).s);
    else if (rc == 0)
        rc = -errno;
    if (rc < 0)
        disk_remove_dir(d, renamed ? to : part.s);
    return rc;
}

/* -- a whole directory ------------------------------------------------------------------------------------ */

static int copy_file(const char *from, const char *to)
{
    struct stat st;
    int in = open(from, O_RDONLY | O_CLOEXEC);
    if (in < 0)
        return -errno;
    int out = io.open(to, O_WRONLY | O_CREAT | O_EXCL, 0640);
    int rc = out < 0 || fstat(in, &st) < 0 ? -errno : io_copy(in, 0, (uint64_t)st.st_size, out, 0);
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

/* Puts the copy in to.part in the place of what it was copied from, which goes to trash/. */
static int exchange_copy(struct disk *d, const char *from, const char *to)
{
    struct path part = path_of("%s.part", to);
    if (io.rename(part.s, to) < 0) {
        int rc = -errno;
        disk_remove_dir(d, part.s);
        return rc;
    }
    int rc = io_sync_dir(path_of("%s/diverged", d->root).s);
    if (rc == 0 && io.rename(from, path_of("%s/trash/%s", d->root, strrchr(to, '/') + 1).s) < 0)
        rc = -errno;
    if (rc < 0)
        disk_remove_dir(d, to);
    return rc;
}

int set_aside_journal(struct journal *j, struct path *to)
{
    struct path from = topic_path(&j->parts.dir), wanted = *to;
    if (io.rename(from.s, to->s) == 0)
        return 0;
    if (errno != EXDEV)
        return -errno;
    int rc = copy_away_take(j, &wanted, to);
    return rc < 0 ? rc : exchange_copy(&j->store->disk, from.s, to->s);
}

int set_aside_move(struct disk *d, const char *from, const char *to)
{
    if (io.rename(from, to) == 0)
        return 0;
    if (errno != EXDEV)
        return -errno;
    struct path part = path_of("%s.part", to);
    say_warn("store", "%s/diverged is on another filesystem: all of %s is copied, and everything waits for it", d->root,
             from);
    if (io.mkdir(part.s, 0750) < 0)
        return -errno;
    int rc = copy_files(from, part.s);
    if (rc < 0) {
        disk_remove_dir(d, part.s);
        return rc;
    }
    return exchange_copy(d, from, to);
}

unsigned set_aside_list(const struct store *s, unsigned max, void (*each)(void *arg, const char *name), void *arg)
{
    unsigned count = 0;
    const struct dirent *e;
    DIR *dir = opendir(path_of("%s/diverged", s->disk.root).s);
    while (dir != NULL && count < max && (e = readdir(dir)) != NULL) {
        size_t n = strlen(e->d_name);
        if (e->d_name[0] == '.' || (n > 5 && strcmp(e->d_name + n - 5, ".part") == 0))
            continue;
        each(arg, e->d_name);
        count++;
    }
    if (dir != NULL)
        closedir(dir);
    return count;
}
