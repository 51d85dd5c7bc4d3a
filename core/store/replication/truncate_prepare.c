/*
 * A cut through a large file is prepared ahead, in steps on the disk thread: what stays of the file is scanned, and
 * what goes is copied into the directory that keeps it, which is called .part until then. Meanwhile the journal is as
 * it was, and whoever wants the cut asks again. If anything was appended or cut in between, that was in vain.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/say.h"
#include "store/disk/io.h"
#include "store/replication/set_aside.h"
#include "store/replication/truncate_prepare.h"

struct ahead {
    struct job job;
    struct list link;            /* alone in store.ahead until it has ended */
    struct journal *journal;     /* outlives us */
    uint64_t first, tail;        /* of the file and of the journal, when it began */
    struct hint at;              /* where the cut is */
    uint64_t end;                /* of what the file holds */
    struct path dir;             /* of the copy, without .part */
    bool busy, cancelled;
    int in, out;                 /* the disk thread's while busy, as all that follows; out: -1 when nothing is copied */
    struct reader reader;        /* owned */
    struct scan scan;
    uint64_t copied;             /* of the file, up to there */
    bool ended;
    int rc;
};

/* -- on the disk thread ----------------------------------------------------------------------------------- */

static int ahead_scan(struct ahead *a)
{
    struct batch_head head;
    const char *bytes;
    uint64_t until = a->scan.position + CUT_STEP;
    while (a->scan.position < a->at.position && a->scan.position < until) {
        int found = scan_next(&a->reader, &a->scan, &head, &bytes);
        if (found != SCAN_BATCH)
            return found < 0 ? found : -ERR_DAMAGED;
    }
    if (a->scan.position < a->at.position)
        return 0;
    return a->scan.position == a->at.position && a->scan.next == a->at.offset ? 0 : -ERR_DAMAGED;
}

/* Synced as it goes: all of it at the end would keep rounds waiting. */
static int ahead_copy(struct ahead *a)
{
    uint64_t until = a->end - a->copied < CUT_STEP ? a->end : a->copied + CUT_STEP;
    int rc = diverged_copy(a->in, a->copied, until, a->out, a->copied - a->at.position + FILE_HEAD_SIZE);
    if (rc == 0)
        a->copied = until;
    return rc == 0 && io.sync_all(a->out) < 0 ? -errno : rc;
}

static void ahead_run(struct job *job)
{
    struct ahead *a = LIST_OWNER(job, struct ahead, job);
    a->rc = a->scan.position < a->at.position ? ahead_scan(a) : ahead_copy(a);
    a->ended = a->rc < 0 || (a->scan.position == a->at.position && a->copied == a->end);
}

/* -- on the loop thread ----------------------------------------------------------------------------------- */

static void ahead_close(struct ahead *a)
{
    list_remove(&a->link);
    reader_fini(&a->reader);
    if (a->in >= 0)
        close(a->in);
    if (a->out >= 0)
        close(a->out);
    a->in = a->out = -1;
}

static void ahead_drop_copy(const struct ahead *a)
{
    diverged_drop(a->journal->store, path_of("%s.part", a->dir.s).s);
}

static void ahead_drop(struct ahead *a)
{
    ahead_close(a);
    ahead_drop_copy(a);
    mem_free(a);
}

static void ahead_done(struct job *job)
{
    struct ahead *a = LIST_OWNER(job, struct ahead, job);
    a->busy = false;
    a->journal->jobs--;
    if (a->cancelled) {
        ahead_drop(a);
        return;
    }
    if (a->ended)
        ahead_close(a);
    if (a->rc < 0)
        ahead_drop_copy(a);            /* at once: it may be what has filled the disk, and nobody need ask again */
}

void ahead_step(struct store *s)
{
    struct ahead *a = list_empty(&s->ahead) ? NULL : list_first(&s->ahead, struct ahead, link);
    if (!a || a->busy)
        return;
    a->busy = true;
    a->journal->jobs++;
    sync_submit(s->sync, &a->job);
}

void ahead_cancel(struct journal *j)
{
    struct ahead *a = j->ahead;
    if (!a)
        return;
    j->ahead = NULL;
    a->cancelled = true;
    if (!a->busy)
        ahead_drop(a);
}

bool ahead_going_on(const struct journal *j, uint64_t to)
{
    const struct ahead *a = j->ahead;
    return a && (a->busy || !a->ended) && a->at.offset == to;
}

bool ahead_is_anothers(const struct journal *j)
{
    const struct list *all = &j->store->ahead;
    return !list_empty(all) && list_first(all, struct ahead, link) != j->ahead;
}

static int ahead_open(struct ahead *a, struct segment *seg)
{
    char head[FILE_HEAD_SIZE];
    struct path part = path_of("%s.part", a->dir.s);
    a->in = io.open(segment_path(seg).s, O_RDONLY, 0);
    if (a->in < 0)
        return -errno;
    int rc = pread(a->in, head, sizeof head, 0) == sizeof head ? file_head_check(a->journal, head, seg->first) : -EIO;
    if (rc == 0)
        rc = reader_init(&a->reader, a->in);
    if (rc == 0)
        rc = scan_begin(&a->reader, seg->first, &a->scan);
    if (rc == 0 && io.mkdir(part.s, 0750) < 0)
        rc = -errno;
    if (rc < 0 || a->copied == a->end)
        return rc;
    int fd = diverged_begin(seg, a->at, part.s);
    a->out = fd < 0 ? -1 : fd;
    return fd < 0 ? fd : 0;
}

/* One at a time: each has files open, and a buffer. */
static int ahead_begin(struct segment *seg, struct hint at)
{
    struct journal *j = seg->journal;
    if (!list_empty(&j->store->ahead))
        return -ERR_BUSY;
    struct ahead *a = MEM_NEW(struct ahead);
    *a = (struct ahead){.journal = j, .first = seg->first, .tail = j->tail, .at = at, .copied = at.position,
                        .end = seg->written, .dir = diverged_path(j, at.offset), .in = -1, .out = -1};
    a->job = (struct job){.run = ahead_run, .done = ahead_done};
    list_init(&a->link);
    int rc = ahead_open(a, seg);
    if (rc < 0) {
        ahead_drop(a);
        return rc;
    }
    say_info("store", "reads and copies a large file before it is cut topic=%s file=%020" PRIu64 " from=%" PRIu64,
             j->name, seg->first, at.offset);
    list_push(&j->store->ahead, &a->link);
    j->ahead = a;
    return -ERR_BUSY;
}

int ahead_cut(struct segment *seg, struct hint at, struct scan *scan, struct path *dir)
{
    struct journal *j = seg->journal;
    struct ahead *a = j->ahead;
    if (a && (a->first != seg->first || a->tail != j->tail || a->at.offset != at.offset || a->end != seg->written)) {
        ahead_cancel(j);
        return -ERR_BUSY;              /* begun anew the next time: the segment may have gone with it */
    }
    if (!a)
        return ahead_begin(seg, at);
    int rc = a->ended ? a->rc : -ERR_BUSY;
    if (rc < 0)
        return rc;
    *scan = a->scan;
    *dir = a->dir;
    j->ahead = NULL;
    ahead_close(a);
    mem_free(a);
    return 0;
}
