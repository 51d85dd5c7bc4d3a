#include "store/recovery/audit.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/say.h"
#include "store/log/journal_struct.h"
#include "store/log/store_struct.h"

struct audit {
    struct background background;
    struct journal *journal;     /* outlives us */
    struct file_head head;       /* that the file should have */
    uint64_t until;              /* the offset after it */
    void (*done)(void *arg, int rc);
    void *arg;
    /* The disk thread's, while a step runs. */
    int fd;                      /* owned */
    struct reader reader;        /* owned */
    struct scan scan;            /* position 0: not begun */
    struct damaged_range damage[AUDIT_RANGES_MAX];
    unsigned damage_count;
    bool ended;
    int rc;
};

/* -- on the disk thread ----------------------------------------------------------------------------------- */

/* Adjacent ranges become one; when there is no place for another one, the last is extended. */
static void note_damage(struct audit *a, uint64_t from, uint64_t to)
{
    struct damaged_range *last = a->damage_count ? &a->damage[a->damage_count - 1] : NULL;
    if (last && (last->to == from || a->damage_count == AUDIT_RANGES_MAX))
        last->to = to;
    else
        a->damage[a->damage_count++] = (struct damaged_range){.from = from, .to = to};
}

static int begin(struct audit *a)
{
    const char *p;
    uint64_t first = a->head.first;
    int rc = reader_init(&a->reader, a->fd);
    ssize_t n = rc < 0 ? rc : reader_get(&a->reader, 0, FILE_HEAD_SIZE, &p);
    if (n < 0)
        return (int)n;
    if (n < FILE_HEAD_SIZE || !file_head_is(&a->head, p))
        note_damage(a, first, first);
    return scan_begin(&a->reader, first, &a->scan);
}

/* Goes past one batch, or past damage. 0 or -errno. */
static int scan_on(struct audit *a)
{
    struct batch_head head;
    const char *bytes;
    uint64_t from = a->scan.next;
    int found = scan_next(&a->reader, &a->scan, &head, &bytes);
    if (found < 0 || found == SCAN_BATCH)
        return found < 0 ? found : 0;
    if (found == SCAN_SEALED) {
        /* The end record must be where the next file begins, and the last of this file. */
        if (a->scan.next != a->until || a->reader.size != a->scan.position + END_RECORD_SIZE)
            note_damage(a, a->scan.next, a->until > a->scan.next ? a->until : a->scan.next);
        a->ended = true;
        return 0;
    }
    int rc = scan_resync(&a->reader, &a->scan);
    if (rc < 0)
        return rc;
    note_damage(a, from, rc ? a->scan.next : a->until);
    a->ended = rc == 0;
    return 0;
}

static void audit_run(struct job *job)
{
    struct audit *a = LIST_OWNER(job, struct audit, background.job);
    uint64_t from = a->scan.position;
    int rc = from ? 0 : begin(a);
    while (rc == 0 && !a->ended && a->scan.position - from < AUDIT_STEP)
        rc = scan_on(a);
    if (rc == 0)
        return;
    a->ended = true;
    if (rc == -EIO)                    /* a sector cannot be read: everything after it counts as damaged */
        note_damage(a, a->scan.next ? a->scan.next : a->head.first, a->until);
    else
        a->rc = rc;
}

/* -- on the loop thread ----------------------------------------------------------------------------------- */

static void finish(struct audit *a, int rc)
{
    void (*done)(void *arg, int rc) = a->done;
    void *arg = a->arg;
    reader_fini(&a->reader);
    close(a->fd);
    mem_free(a);
    done(arg, rc);
}

static int record_damage(struct audit *a)
{
    struct journal *j = a->journal;
    if (!part_sealed(&j->parts, a->head.first))
        return -ERR_GONE;
    for (unsigned i = 0; i < a->damage_count; i++) {
        struct damaged_range r = a->damage[i];
        if (damage_add(&j->damage, r.from, r.to))
            say_error("store", "damaged records topic=%s file=%020" PRIu64 " from=%" PRIu64 " to=%" PRIu64 " (audit)",
                      j->parts.dir.name, a->head.first, r.from, r.to);
    }
    return a->damage_count ? -ERR_DAMAGED : a->rc;
}

static void audit_stepped(struct background *b)
{
    struct audit *a = LIST_OWNER(b, struct audit, background);
    b->due_ns = clock_ns() + (uint64_t)AUDIT_STEP * 1000 / AUDIT_RATE * NS_PER_MS;
    if (!a->ended)
        return;
    background_remove(b);
    finish(a, record_damage(a));
}

static void audit_stopped(struct background *b)
{
    finish(LIST_OWNER(b, struct audit, background), -ERR_CANCELLED);
}

static const struct background_kind audit_kind = {.stepped = audit_stepped, .stopped = audit_stopped};

int journal_audit(struct journal *j, uint64_t first, void (*done)(void *arg, int rc), void *arg)
{
    struct store *s = j->store;
    struct topic_dir *dir = &j->parts.dir;
    struct part *part = part_sealed(&j->parts, first);
    if (!part || (part->segment && part->segment->pinned))
        return -ERR_GONE;              /* or not sealed yet */
    if (background_of_store(&s->background, &audit_kind))
        return -ERR_BUSY;
    struct path path = file_path(dir, first, FILE_SEALED);
    int fd = open(path.s, O_RDONLY | O_DIRECT | O_CLOEXEC);
    if (fd < 0 && errno == EINVAL)     /* not every filesystem can do that */
        fd = open(path.s, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? -ERR_GONE : -errno;
    struct audit *a = MEM_NEW(struct audit);
    *a = (struct audit){.journal = j, .head = file_head_of(dir, first, 0), .until = part_end(j, part), .done = done,
                        .arg = arg, .fd = fd};
    a->background = (struct background){.kind = &audit_kind, .dir = dir, .job.run = audit_run, .due_ns = 1};
    background_begin(&a->background, &s->background, &j->background);
    return 0;
}
