/*
 * What a cut removes is kept: data/diverged/NAME-OFFSET-MILLISECONDS/ has the shape of a topic's directory, so that
 * verify and dump read it. Whole files are linked into it; of one that is cut through, a file of the same format is
 * made that begins with the first batch that goes. It is called .part until it is complete: then what it is a copy of
 * is still in the journal.
 */
#include "store/diverged.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/say.h"
#include "store/inner.h"
#include "store/io.h"

struct path diverged_path(const struct journal *j, uint64_t offset)
{
    struct path path;
    long long now_ms = clock_wall_ms();
    do
        path = path_of("%s/diverged/%s-%" PRIu64 "-%lld", j->store->root, j->name, offset, now_ms++);
    while (access(path.s, F_OK) == 0 || access(path_of("%s.part", path.s).s, F_OK) == 0);
    return path;
}

static int copy_range(int from, uint64_t at, uint64_t end, int to)
{
    char chunk[64 * KIB];
    for (uint64_t out = FILE_HEAD_SIZE; at < end;) {
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
    file_head_write(head, &(struct file_head){.cluster = j->store->state.cluster, .topic = j->options.id,
                                              .first = at.offset, .epoch = batch.epoch});
    return io_write(fd, head, sizeof head, 0);
}

/* Copies the batches from a place in a file on. */
static int keep_rest(struct segment *seg, struct hint at, const char *dir)
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
        rc = copy_range(seg->file.fd, at.position, seg->written, fd);
    if (rc == 0 && io.sync_all(fd) < 0)
        rc = -errno;
    close(fd);
    return rc;
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
    rc = -errno;
    if (rc != -EPERM && rc != -EOPNOTSUPP && rc != -EMLINK)
        return rc;
    return keep_rest(seg, (struct hint){seg->first, FILE_HEAD_SIZE}, dir);
}

static int keep_all(struct journal *j, uint32_t index, struct hint at, const char *dir)
{
    struct segment *seg;
    int rc = part_segment(j, &j->parts[index], &seg);
    if (rc == 0 && at.position == FILE_HEAD_SIZE)
        rc = keep_whole(j, &j->parts[index], dir);
    else if (rc == 0 && at.position < seg->written)
        rc = keep_rest(seg, at, dir);
    for (uint32_t i = index + 1; rc == 0 && i < j->parts_count; i++)
        rc = keep_whole(j, &j->parts[i], dir);
    return rc < 0 ? rc : io_sync_dir(dir);
}

static void drop(struct journal *j, uint32_t index, struct hint at, const char *dir)
{
    io.unlink(path_of("%s/%0*" PRIu64 "%s", dir, FILE_DIGITS, at.offset, file_suffix[FILE_ACTIVE]).s);
    for (uint32_t i = index; i < j->parts_count; i++)
        for (int kind = FILE_ACTIVE; kind <= FILE_SEALED; kind++)
            io.unlink(path_of("%s/%0*" PRIu64 "%s", dir, FILE_DIGITS, j->parts[i].first, file_suffix[kind]).s);
    io.rmdir(dir);
}

int diverged_keep(struct journal *j, uint32_t index, struct hint at)
{
    struct path dir = diverged_path(j, at.offset), part = path_of("%s.part", dir.s);
    if (io.mkdir(part.s, 0750) < 0)
        return -errno;
    int rc = keep_all(j, index, at, part.s);
    if (rc == 0 && io.rename(part.s, dir.s) < 0)
        rc = -errno;
    if (rc < 0)
        drop(j, index, at, part.s);
    else
        rc = io_sync_dir(path_of("%s/diverged", j->store->root).s);
    if (rc < 0)
        return rc;
    say_warn("store", "history cut off topic=%s from=%" PRIu64 " messages=%" PRIu64 " copy=%s", j->name, at.offset,
             j->tail - at.offset, dir.s);
    return 0;
}
