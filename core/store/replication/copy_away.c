#include "store/replication/copy_away.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/least.h"
#include "base/mem.h"
#include "base/say.h"
#include "store/disk/io.h"
#include "store/log/store_struct.h"

struct copying {
    struct background background;
    struct disk *disk;           /* outlives us */
    uint64_t tail;               /* of the journal when it began */
    struct path from, kept;      /* kept: without .part */
    /* The disk thread's, while a step runs. */
    struct buf names;            /* owned; files that are not copied yet, each with a NUL */
    int in, out;                 /* owned; of the file that is being copied; -1: none is */
    uint64_t copied, size;       /* of it */
    bool ended;
    int rc;
};

static struct path part_of_copy(const struct copying *c)
{
    return path_of("%s.part", c->kept.s);
}

static void close_files(struct copying *c)
{
    if (c->in >= 0)
        close(c->in);
    if (c->out >= 0)
        close(c->out);
    c->in = c->out = -1;
}

/* -- on the disk thread ----------------------------------------------------------------------------------- */

/* Opens the next file. One that has gone meanwhile, such as a checkpoint that was being written, is left out. */
static int open_next(struct copying *c)
{
    struct stat st;
    const char *name = c->names.data + c->names.at;
    c->in = io.open(path_of("%s/%s", c->from.s, name).s, O_RDONLY, 0);
    int rc = c->in < 0 || fstat(c->in, &st) < 0 ? -errno : 0;
    if (rc == 0) {
        c->out = io.open(path_of("%s/%s", part_of_copy(c).s, name).s, O_WRONLY | O_CREAT | O_EXCL, 0640);
        rc = c->out < 0 ? -errno : 0;
        c->copied = 0;
        c->size = (uint64_t)st.st_size;
    }
    buf_drop(&c->names, strlen(name) + 1);
    return rc == -ENOENT ? 0 : rc;
}

static int copy_step(struct copying *c)
{
    uint64_t until = c->copied + least(c->size - c->copied, BACKGROUND_STEP);
    int rc = io_copy(c->in, c->copied, until, c->out, c->copied);
    if (rc == 0 && io.sync_all(c->out) < 0)
        rc = -errno;
    c->copied = until;
    if (c->copied == c->size)
        close_files(c);
    return rc;
}

static void copy_run(struct job *job)
{
    struct copying *c = LIST_OWNER(job, struct copying, background.job);
    bool last = c->in < 0 && buf_size(&c->names) == 0;
    if (last)
        c->rc = io_sync_dir(part_of_copy(c).s);
    else
        c->rc = c->in >= 0 ? copy_step(c) : open_next(c);
    c->ended = last || c->rc < 0;
}

/* -- on the loop thread ----------------------------------------------------------------------------------- */

static void copy_end(struct copying *c, bool remove)
{
    close_files(c);
    if (remove)
        disk_remove_dir(c->disk, part_of_copy(c).s);
}

static void copy_stepped(struct background *b)
{
    struct copying *c = LIST_OWNER(b, struct copying, background);
    if (!c->ended)
        return;
    background_end(b);
    copy_end(c, c->rc < 0);            /* at once: it may be what filled the disk */
}

static void copy_stopped(struct background *b)
{
    struct copying *c = LIST_OWNER(b, struct copying, background);
    copy_end(c, true);
    buf_fini(&c->names);
    mem_free(c);
}

static const struct background_kind copy_kind = {
    .appends_stop_it = true, .stepped = copy_stepped, .stopped = copy_stopped,
};

static int begin(struct journal *j, const struct path *to)
{
    struct topic_dir *topic = &j->parts.dir;
    struct copying *c = MEM_NEW(struct copying);
    *c = (struct copying){.disk = topic->disk, .tail = j->marks.tail, .from = topic_path(topic), .kept = *to, .in = -1,
                          .out = -1};
    DIR *dir = opendir(c->from.s);
    int rc = dir == NULL || io.mkdir(part_of_copy(c).s, 0750) < 0 ? -errno : 0;
    for (struct dirent *e; rc == 0 && (e = readdir(dir));)
        if (e->d_name[0] != '.')
            buf_add(&c->names, e->d_name, strlen(e->d_name) + 1);
    if (dir)
        closedir(dir);
    if (rc < 0) {
        mem_free(c);
        return rc;
    }
    say_warn("store", "%s/diverged is on another filesystem: copies what topic=%s has there", topic->disk->root,
             topic->name);
    c->background = (struct background){.kind = &copy_kind, .dir = topic, .job.run = copy_run};
    background_begin(&c->background, &j->store->background, &j->background);
    return -ERR_BUSY;
}

int copy_away_take(struct journal *j, const struct path *to, struct path *kept)
{
    struct background *b = background_of_journal(&j->background, &copy_kind);
    if (!b)
        return begin(j, to);
    struct copying *c = LIST_OWNER(b, struct copying, background);
    if (c->background.running || !c->ended)
        return -ERR_BUSY;
    int rc = c->tail == j->marks.tail ? c->rc : -ERR_BUSY;
    if (rc == -ERR_BUSY) {
        background_cancel(b);          /* the next call begins another one */
        return rc;
    }
    *kept = c->kept;
    background_remove(b);
    buf_fini(&c->names);
    mem_free(c);
    return rc;
}
