/*
 * An audit reads a sealed file from the disk itself, in steps on the disk thread, with time between them: rounds of
 * syncing come first, and the loop never waits. It scans as recovery does, and what it finds bad is noted as damage.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/say.h"
#include "store/disk/io.h"
#include "store/format/scan.h"
#include "store/log/inner.h"

struct audit {
    struct job job;
    struct journal *journal;     /* outlives us */
    struct file_head head;       /* that it should have */
    uint64_t until;              /* the offset after it */
    void (*done)(void *arg, int rc);
    void *arg;
    bool busy;
    uint64_t due_ns;             /* the next step */
    int fd;                      /* the disk thread's while busy, as all that follows */
    struct reader reader;        /* owned */
    struct scan scan;
    struct damaged_range damage[AUDIT_RANGES_MAX];
    unsigned damage_count;
    bool ended;
    int rc;
};

/* -- on the disk thread ----------------------------------------------------------------------------------- */

static void audit_note(struct audit *a, uint64_t from, uint64_t to)
{
    struct damaged_range *last = a->damage_count ? &a->damage[a->damage_count - 1] : NULL;
    if (last && (last->to == from || a->damage_count == AUDIT_RANGES_MAX))
        last->to = to;
    else
        a->damage[a->damage_count++] = (struct damaged_range){from, to};
}

static int audit_begin(struct audit *a)
{
    const char *p;
    struct file_head head;
    unsigned version;
    int rc = reader_init(&a->reader, a->fd);
    ssize_t n = rc < 0 ? rc : reader_get(&a->reader, 0, FILE_HEAD_SIZE, &p);
    if (n < 0)
        return (int)n;
    const struct file_head *want = &a->head;
    if (n < FILE_HEAD_SIZE || file_head_read((const unsigned char *)p, &head, &version) < 0 || head.first != want->first
        || !id_eq(&head.cluster, &want->cluster) || head.topic.epoch != want->topic.epoch
        || head.topic.offset != want->topic.offset)
        audit_note(a, want->first, want->first);
    return scan_begin(&a->reader, want->first, &a->scan);
}

/* Is the end the end? */
static void audit_sealed(struct audit *a)
{
    if (a->scan.next != a->until || a->reader.size != a->scan.position + END_RECORD_SIZE)
        audit_note(a, a->scan.next, a->until > a->scan.next ? a->until : a->scan.next);
    a->ended = true;
}

/* 1 when there is more; 0; -errno. */
static int audit_next(struct audit *a)
{
    struct batch_head head;
    const char *bytes;
    uint64_t from = a->scan.next;
    int found = scan_next(&a->reader, &a->scan, &head, &bytes);
    if (found == SCAN_BATCH)
        return 1;
    if (found == SCAN_SEALED)
        return audit_sealed(a), 0;
    int rc = found < 0 ? found : scan_resync(&a->reader, &a->scan);
    if (rc >= 0)
        audit_note(a, from, rc ? a->scan.next : a->until);
    a->ended = rc == 0;
    return rc;
}

/* An unreadable sector is damage of all that follows it. */
static void audit_run(struct job *job)
{
    struct audit *a = LIST_OWNER(job, struct audit, job);
    uint64_t from = a->scan.position;
    int rc = from ? 0 : audit_begin(a);
    rc = rc < 0 ? rc : 1;
    while (rc > 0 && a->scan.position - from < AUDIT_STEP)
        rc = audit_next(a);
    if (rc == -EIO)
        audit_note(a, a->scan.next ? a->scan.next : a->head.first, a->until);
    else if (rc < 0)
        a->rc = rc;
    a->ended = a->ended || rc < 0;
}

/* -- on the loop thread ----------------------------------------------------------------------------------- */

static void audit_free(struct audit *a, int rc)
{
    a->journal->store->audit = NULL;
    void (*done)(void *arg, int rc) = a->done;
    void *arg = a->arg;
    reader_fini(&a->reader);
    close(a->fd);
    mem_free(a);
    done(arg, rc);
}

static int audit_verdict(struct audit *a)
{
    struct journal *j = a->journal;
    if (!part_sealed(j, a->head.first))
        return -ERR_GONE;
    for (unsigned i = 0; i < a->damage_count; i++) {
        struct damaged_range r = a->damage[i];
        if (damage_add(j, r.from, r.to))
            say_error("store", "damaged records topic=%s file=%020" PRIu64 " from=%" PRIu64 " to=%" PRIu64 " (audit)",
                      j->name, a->head.first, r.from, r.to);
    }
    return a->damage_count ? -ERR_DAMAGED : a->rc;
}

static void audit_done(struct job *job)
{
    struct audit *a = LIST_OWNER(job, struct audit, job);
    a->busy = false;
    a->journal->jobs--;
    a->due_ns = clock_ns() + (uint64_t)AUDIT_STEP * 1000 / AUDIT_RATE * NS_PER_MS;
    if (a->ended)
        audit_free(a, audit_verdict(a));
}

void audit_step(struct store *s)
{
    struct audit *a = s->audit;
    if (!a || a->busy || clock_ns() < a->due_ns)
        return;
    a->busy = true;
    a->journal->jobs++;
    worker_submit(s->disk.worker, &a->job);
}

uint64_t audit_deadline_ns(const struct store *s)
{
    return s->audit && !s->audit->busy ? s->audit->due_ns : 0;
}

void audit_cancel(struct journal *j)
{
    struct audit *a = j->store->audit;
    if (!a || a->journal != j)
        return;
    ENSURE(!a->busy);
    audit_free(a, -ERR_CANCELLED);
}

/* Past the page cache where the filesystem lets us: what matters is what the disk has. */
static int audit_open(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
    if (fd < 0 && errno == EINVAL)
        fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

int journal_audit(struct journal *j, uint64_t first, void (*done)(void *arg, int rc), void *arg)
{
    struct part *part = part_sealed(j, first);
    if (!part || (part->segment && part->segment->pinned))
        return -ERR_GONE;              /* or not sealed yet */
    if (j->store->audit)
        return -ERR_BUSY;
    int fd = audit_open(file_path(j, first, FILE_SEALED).s);
    if (fd < 0)
        return fd == -ENOENT ? -ERR_GONE : fd;
    struct audit *a = MEM_NEW(struct audit);
    *a = (struct audit){.journal = j, .until = part_end(j, part), .done = done, .arg = arg, .fd = fd, .due_ns = 1};
    a->head = (struct file_head){.cluster = j->store->disk.state.cluster, .topic = j->options.id, .first = first};
    a->job = (struct job){.run = audit_run, .done = audit_done};
    j->store->audit = a;
    return 0;
}
