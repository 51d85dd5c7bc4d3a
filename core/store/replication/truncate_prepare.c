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

struct preparation {
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

static int prepare_scan(struct preparation *a)
{
    struct batch_head head;
    const char *bytes;
    uint64_t until = a->scan.position + TRUNCATE_STEP;
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
static int prepare_copy(struct preparation *a)
{
    uint64_t until = a->end - a->copied < TRUNCATE_STEP ? a->end : a->copied + TRUNCATE_STEP;
    int rc = set_aside_copy(a->in, a->copied, until, a->out, a->copied - a->at.position + FILE_HEAD_SIZE);
    if (rc == 0)
        a->copied = until;
    return rc == 0 && io.sync_all(a->out) < 0 ? -errno : rc;
}

static void prepare_run(struct job *job)
{
    struct preparation *a = LIST_OWNER(job, struct preparation, job);
    a->rc = a->scan.position < a->at.position ? prepare_scan(a) : prepare_copy(a);
    a->ended = a->rc < 0 || (a->scan.position == a->at.position && a->copied == a->end);
}

/* -- on the loop thread ----------------------------------------------------------------------------------- */

static void prepare_close(struct preparation *a)
{
    list_remove(&a->link);
    reader_fini(&a->reader);
    if (a->in >= 0)
        close(a->in);
    if (a->out >= 0)
        close(a->out);
    a->in = a->out = -1;
}

static void prepare_drop_copy(const struct preparation *a)
{
    disk_remove_dir(&a->journal->store->disk, path_of("%s.part", a->dir.s).s);
}

static void prepare_drop(struct preparation *a)
{
    prepare_close(a);
    prepare_drop_copy(a);
    mem_free(a);
}

static void prepare_done(struct job *job)
{
    struct preparation *a = LIST_OWNER(job, struct preparation, job);
    a->busy = false;
    a->journal->jobs--;
    if (a->cancelled) {
        prepare_drop(a);
        return;
    }
    if (a->ended)
        prepare_close(a);
    if (a->rc < 0)
        prepare_drop_copy(a);            /* at once: it may be what has filled the disk, and nobody need ask again */
}

void prepare_step(struct store *s)
{
    if (list_empty(&s->preparations))
        return;
    struct preparation *a = list_first(&s->preparations, struct preparation, link);
    if (a->busy)
        return;
    a->busy = true;
    a->journal->jobs++;
    worker_submit(s->disk.worker, &a->job);
}

void prepare_cancel(struct journal *j)
{
    struct preparation *a = j->preparation;
    if (!a)
        return;
    j->preparation = NULL;
    a->cancelled = true;
    if (!a->busy)
        prepare_drop(a);
}

bool prepare_running(const struct journal *j, uint64_t to)
{
    const struct preparation *a = j->preparation;
    return a && (a->busy || !a->ended) && a->at.offset == to;
}

bool prepare_of_another(const struct journal *j)
{
    const struct list *all = &j->store->preparations;
    return !list_empty(all) && list_first(all, struct preparation, link) != j->preparation;
}

static int prepare_open(struct preparation *a, struct segment *seg)
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
    int fd = set_aside_begin(seg, a->at, part.s);
    a->out = fd < 0 ? -1 : fd;
    return fd < 0 ? fd : 0;
}

/* One at a time: each has files open, and a buffer. */
static int prepare_begin(struct segment *seg, struct hint at)
{
    struct journal *j = seg->journal;
    if (!list_empty(&j->store->preparations))
        return -ERR_BUSY;
    struct preparation *a = MEM_NEW(struct preparation);
    *a = (struct preparation){.journal = j, .first = seg->first, .tail = j->tail, .at = at, .copied = at.position,
                        .end = seg->written, .dir = set_aside_path(j, at.offset), .in = -1, .out = -1};
    a->job = (struct job){.run = prepare_run, .done = prepare_done};
    list_init(&a->link);
    int rc = prepare_open(a, seg);
    if (rc < 0) {
        prepare_drop(a);
        return rc;
    }
    say_info("store", "reads and copies a large file before it is cut topic=%s file=%020" PRIu64 " from=%" PRIu64,
             j->name, seg->first, at.offset);
    list_push(&j->store->preparations, &a->link);
    j->preparation = a;
    return -ERR_BUSY;
}

int prepare_take(struct segment *seg, struct hint at, struct scan *scan, struct path *dir)
{
    struct journal *j = seg->journal;
    struct preparation *a = j->preparation;
    if (a && (a->first != seg->first || a->tail != j->tail || a->at.offset != at.offset || a->end != seg->written)) {
        prepare_cancel(j);
        return -ERR_BUSY;              /* begun anew the next time: the segment may have gone with it */
    }
    if (!a)
        return prepare_begin(seg, at);
    int rc = a->ended ? a->rc : -ERR_BUSY;
    if (rc < 0)
        return rc;
    *scan = a->scan;
    *dir = a->dir;
    j->preparation = NULL;
    prepare_close(a);
    mem_free(a);
    return 0;
}
