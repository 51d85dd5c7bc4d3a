#include "store/log/origins.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/say.h"
#include "store/disk/io.h"
#include "store/log/store_struct.h"

enum { SNAPSHOT_PART = 4 };

struct senders_bounds origins_bounds(const struct journal *j)
{
    return (struct senders_bounds){
        .producers = {PRODUCERS_MAX, PRODUCER_AGE_MS},
        .keys = {j->options.dedupe_keys, j->options.dedupe_age_ms},
        .letters = {PRODUCERS_MAX, PRODUCER_AGE_MS},
    };
}

void origins_drop(struct journal *j)
{
    senders_free(j->origins.senders);
    j->origins = (struct journal_origins){0};
}

void origins_note(struct journal *j, const struct batch_head *head, const char *batch)
{
    struct origin o;
    struct senders_bounds bounds = origins_bounds(j);
    if (!j->origins.senders || origin_read(batch, head, &o) < 0 || o.kind == ORIGIN_NONE)
        return;
    senders_note(j->origins.senders, &bounds, head, &o);
}

/* -- snapshots -------------------------------------------------------------------------------------------- */

struct path origins_path(const struct journal *j, uint64_t offset)
{
    return file_path(&j->parts.dir, offset, FILE_SENDERS);
}

/* Written without fsync: one that a power loss has torn is not used. 0 or -errno, and then there is none. */
static int snapshot_write(const char *path, slice bytes)
{
    int fd = io.open(path, O_WRONLY | O_CREAT | O_TRUNC, 0640);
    if (fd < 0)
        return -errno;
    int rc = io_write(fd, bytes.p, bytes.n, 0);
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
    struct buf bytes;            /* owned */
    int rc;
};

static void snapshot_run(struct job *job)
{
    struct snapshot *s = LIST_OWNER(job, struct snapshot, job);
    s->rc = snapshot_write(s->path.s, buf_slice(&s->bytes));
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
    struct journal_origins *o = &j->origins;
    struct senders_place at = {j->options.id, j->marks.tail, j->marks.epoch};
    struct snapshot *s = MEM_NEW(struct snapshot);
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
    const struct senders *senders = j->origins.senders;
    if (senders_count(senders) == 0 || logged < SNAPSHOT_PART * senders_size(senders))
        return;
    struct snapshot *s = snapshot_make(j);
    j->parts.dir.jobs++;
    worker_submit(j->store->disk.worker, &s->job);
}

void origins_sealed(struct journal *j)
{
    struct journal_origins *o = &j->origins;
    o->logged += j->parts.at[j->parts.count - 1].size - o->position;
    o->position = 0;
    if (o->senders)
        snapshot_if_worth(j, o->logged);
}

void origins_grown(struct journal *j)
{
    struct journal_origins *o = &j->origins;
    if (!o->senders || !j->parts.active)
        return;
    uint64_t logged = o->logged + j->parts.active->size - o->position;
    if (logged >= SENDERS_EVERY)
        snapshot_if_worth(j, logged);
}

void origins_close(struct journal *j)
{
    struct journal_origins *o = &j->origins;
    if (!o->senders || senders_count(o->senders) == 0 || (o->has_snapshot && o->snapshot == j->marks.tail))
        return;
    struct snapshot *s = snapshot_make(j);
    j->parts.dir.jobs++;
    snapshot_run(&s->job);
    snapshot_done(&s->job);
}
