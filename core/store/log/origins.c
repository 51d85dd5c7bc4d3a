#include "store/log/origins.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/say.h"
#include "store/disk/io.h"
#include "store/log/store_struct.h"

enum { SNAPSHOT_PART = 4 };

/* -- snapshots -------------------------------------------------------------------------------------------- */

/* Written without fsync: one that a power loss has torn is not used. `only`: the log does not say it again, so it is
 * synced. 0 or -errno, and then there is none. */
static int snapshot_write(const char *path, slice bytes, bool only)
{
    int fd = io.open(path, O_WRONLY | O_CREAT | O_TRUNC, 0640);
    if (fd < 0)
        return -errno;
    int rc = io_write(fd, bytes.p, bytes.n, 0);
    if (rc == 0 && only && io.sync_all(fd) < 0)
        rc = -errno;
    close(fd);
    if (rc < 0)
        io.unlink(path);
    return rc;
}

struct snapshot {
    struct job job;
    struct topic_dir *dir;       /* outlives us: it counts its jobs */
    struct path path;
    struct path before;          /* of the one that this makes useless; or "" */
    bool only;                   /* of what the log does not say any more */
    struct buf bytes;            /* owned */
    int rc;
};

static void snapshot_run(struct job *job)
{
    struct snapshot *s = LIST_OWNER(job, struct snapshot, job);
    s->rc = snapshot_write(s->path.s, buf_slice(&s->bytes), s->only);
    if (s->rc == 0 && s->before.s[0])
        io.unlink(s->before.s);
}

static void snapshot_done(struct job *job)
{
    struct snapshot *s = LIST_OWNER(job, struct snapshot, job);
    if (s->rc < 0)
        say_warn("store", "cannot write %s: %s (a start reads more of the log)", s->path.s, strerror(-s->rc));
    s->dir->jobs--;
    buf_fini(&s->bytes);
    mem_free(s);
}

/* What the log says up to the tail. The snapshot before it is kept where a file begins: a truncation may come to it. */
static struct snapshot *snapshot_make(struct journal *j)
{
    struct journal_origins *o = j->origins;
    struct senders_place at = {j->parts.dir.id, j->marks.tail, j->marks.epoch};
    struct snapshot *s = MEM_NEW(struct snapshot);
    journal_own_dir(j);                /* where it fails, so does writing the snapshot */
    *s = (struct snapshot){.job = {.run = snapshot_run, .done = snapshot_done}, .dir = &j->parts.dir,
                           .path = origins_path(j, at.offset)};
    const struct part *part = o->has_snapshot ? part_of(&j->parts, o->snapshot) : NULL;
    if (part && part->first != o->snapshot)
        s->before = origins_path(j, o->snapshot);
    senders_save(o->senders, &at, &s->bytes);
    o->has_snapshot = true;
    o->snapshot = at.offset;
    o->logged = 0;
    o->position = j->parts.active ? j->parts.active->size : 0;
    return s;
}

/* `logged`: bytes since the last one. */
static void snapshot_if_worth(struct journal *j, uint64_t logged)
{
    const struct senders *senders = j->origins->senders;
    if (senders_count(senders) == 0 || logged < SNAPSHOT_PART * senders_size(senders))
        return;
    struct snapshot *s = snapshot_make(j);
    j->parts.dir.jobs++;
    worker_submit(j->store->disk.worker, &s->job);
}

void origins_sealed(struct journal *j)
{
    struct journal_origins *o = j->origins;
    if (!o)
        return;
    o->logged += j->parts.at[j->parts.count - 1].size - o->position;
    o->position = 0;
    snapshot_if_worth(j, o->logged);
}

void origins_grown(struct journal *j)
{
    struct journal_origins *o = j->origins;
    if (!o || !j->parts.active)
        return;
    uint64_t logged = o->logged + j->parts.active->size - o->position;
    if (logged >= SENDERS_EVERY)
        snapshot_if_worth(j, logged);
}

void origins_close(struct journal *j)
{
    struct journal_origins *o = j->origins;
    if (!o || senders_count(o->senders) == 0 || (o->has_snapshot && o->snapshot == j->marks.tail))
        return;
    struct snapshot *s = snapshot_make(j);
    j->parts.dir.jobs++;
    snapshot_run(&s->job);
    snapshot_done(&s->job);
}

/* -- where the log begins --------------------------------------------------------------------------------- */

int journal_senders_at(struct journal *j, uint64_t offset, struct buf *out)
{
    size_t before = out->end;
    struct senders_place at = {.topic = j->parts.dir.id, .offset = offset};
    int rc = origins_read(j);
    if (rc < 0)
        return rc;
    if (!senders_save(j->origins->senders, &at, out))
        out->end = before;
    return 0;
}

int journal_take_senders(struct journal *j, slice bytes)
{
    struct senders *s;
    uint64_t epoch;
    struct senders_place of = {.topic = j->parts.dir.id, .offset = journal_first(j)};
    if (j->marks.tail != of.offset)
        return -ERR_DIVERGED;
    int rc = senders_load(bytes, &of, &epoch, &s);
    if (rc < 0)
        return rc;
    rc = journal_own_dir(j);
    if (rc == 0)
        rc = snapshot_write(origins_path(j, of.offset).s, bytes, true);
    if (rc == 0)
        rc = io_sync_dir(topic_path(&j->parts.dir).s);
    if (rc < 0) {
        senders_free(s);
        return rc;
    }
    origins_drop(j);
    j->origins = MEM_NEW(struct journal_origins);
    *j->origins = (struct journal_origins){.senders = s, .has_snapshot = true, .snapshot = of.offset};
    return 0;
}

void origins_removing(struct journal *j)
{
    struct segment *seg;
    bool says = part_segment(j, &j->parts.at[0], &seg) < 0 || seg->origins ||
                access(origins_path(j, journal_first(j)).s, F_OK) == 0;
    if (!j->origins && says && origins_read(j) < 0)
        say_warn("store", "producers of a topic may be forgotten: its log cannot be read topic=%s", j->parts.dir.name);
}

void origins_removed(struct journal *j)
{
    struct snapshot *s = MEM_NEW(struct snapshot);
    uint64_t first = journal_first(j);
    *s = (struct snapshot){.job = {.run = snapshot_run, .done = snapshot_done}, .dir = &j->parts.dir,
                           .path = origins_path(j, first), .only = true};
    if (j->origins && senders_count(j->origins->senders) > 0)
        journal_senders_at(j, first, &s->bytes);
    if (buf_size(&s->bytes) == 0) {
        mem_free(s);
        return;
    }
    j->parts.dir.jobs++;
    worker_submit(j->store->disk.worker, &s->job);
}
