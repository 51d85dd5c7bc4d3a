/* The reading half of recovery: what each file without an end record holds, and how far promises went. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/err.h"
#include "base/say.h"
#include "store/format/scan.h"
#include "store/recovery/recover.h"

bool recovery_last(const struct recovery *r, const struct found *f)
{
    return f == &r->files[r->count - 1];
}

static bool zeros(const char *p, size_t n)
{
    while (n > 0 && p[n - 1] == 0)
        n--;
    return n == 0;
}

/* Where its batches begin, and whether it is ours at all. */
static int inspect_head(struct recovery *r, struct found *f)
{
    char in[FILE_HEAD_SIZE + BATCH_HEAD_SIZE] = {0};
    struct segment *seg = f->segment;
    struct batch_head first;
    if (pread(seg->file.fd, in, sizeof in, 0) < 0)
        return -errno;
    int rc = file_head_check(r->journal, in, f->first);
    if (rc == -ERR_FORMAT)
        say_error("store", "refused %s: it belongs to another cluster or a newer format", segment_path(seg).s);
    f->headless = rc == -ERR_DAMAGED;
    if (rc == 0 && batch_head_read(in + FILE_HEAD_SIZE, &first) == 0)
        seg->time_first = first.time_ms;
    return f->headless ? 0 : rc;
}

static bool checkpoint_fits(const struct recovery *r, const struct found *f)
{
    const struct checkpoint *c = &r->checkpoint;
    return r->has_checkpoint && !f->headless && c->first == f->first && c->position >= FILE_HEAD_SIZE
        && c->position <= f->size && c->next >= c->first;
}

static struct scan scan_of_checkpoint(const struct checkpoint *c)
{
    return (struct scan){
        .position = c->position, .next = c->next, .epoch = c->epoch, .time_ms = c->time_ms,
        .crc = c->file_crc,
    };
}

/* Does the mark that this batch states tell what this node's disk had? Its leader's own mark does not, but where this
 * node led. What every member had, a member had: also what was stated before it became one, because it had to have all
 * of it for that. Once it is out of the set, or may have forgotten, or where written was enough, it is not bound. */
static bool mark_binds(const struct journal *j, const struct batch_head *head)
{
    const struct state *state = &j->store->disk.state;
    bool member = state->counts && !state->amnesiac && j->options.durability == DURABILITY_COMMIT;
    return store_led(j->store, head->epoch) || (member && (head->flags & BATCH_FLAG_PEERS));
}

/* The marks that a valid batch states. */
static void inspect_marks(struct recovery *r, const struct batch_head *head)
{
    if ((head->flags & BATCH_FLAG_PEERS) && head->disk > r->stated)
        r->stated = head->disk;
    if (head->disk > r->disk && mark_binds(r->journal, head))
        r->disk = head->disk;
}

/* The walk over the valid batches. What it ended with, or -errno. */
static int inspect_batches(struct recovery *r, struct reader *reader, struct scan *s, struct index *index)
{
    struct batch_head head;
    const char *bytes;
    for (;;) {
        uint64_t position = s->position;
        int found = scan_next(reader, s, &head, &bytes);
        if (found != SCAN_BATCH)
            return found;
        inspect_marks(r, &head);
        index_note(index, (struct index_entry){head.first, position, head.time_ms});
    }
}

/* From the checkpoint when it can be believed: bad bytes just there make it doubtful. One of a file without batches is
 * of no use: the first one may have brought another header, of another checksum, since. */
static int inspect_walk(struct recovery *r, struct found *f, struct reader *reader, struct scan *s)
{
    struct segment *seg = f->segment;
    if (checkpoint_fits(r, f) && r->checkpoint.position > FILE_HEAD_SIZE) {
        *s = scan_of_checkpoint(&r->checkpoint);
        seg->index_whole = s->position < FILE_HEAD_SIZE + INDEX_EVERY;
        seg->index.due = s->position > seg->index.due ? s->position : seg->index.due;
        f->end = inspect_batches(r, reader, s, &seg->index);
        if (f->end < 0 || f->end != SCAN_BAD || s->position > r->checkpoint.position)
            return f->end < 0 ? f->end : 0;
        say_warn("store", "checkpoint not believed topic=%s", r->journal->name);
    }
    index_fini(&seg->index);
    seg->index_whole = true;
    int rc = scan_begin(reader, f->first, s);
    if (rc < 0)
        return rc;
    f->end = f->headless ? SCAN_BAD : inspect_batches(r, reader, s, &seg->index);
    return f->end < 0 ? f->end : 0;
}

/* Disk marks stated by valid batches after the bad bytes count too. */
static int inspect_beyond(struct recovery *r, struct reader *reader, struct scan s)
{
    struct batch_head head;
    const char *bytes;
    int rc;
    if (s.fallen > r->disk)
        r->disk = s.fallen;
    while ((rc = scan_resync(reader, &s)) > 0) {
        while ((rc = scan_next(reader, &s, &head, &bytes)) == SCAN_BATCH)
            inspect_marks(r, &head);
        if (rc < 0 || rc == SCAN_SEALED)
            break;
    }
    return rc < 0 ? rc : 0;
}

/* Zeros that go on to the end of the file, or something behind them? */
static int inspect_end(struct reader *reader, struct found *f, const struct scan *s)
{
    if (f->end != SCAN_END)
        return 0;
    uint64_t end;
    int rc = reader_last_byte(reader, s->position, &end);
    if (rc == 0 && end > s->position)
        f->end = SCAN_BAD;
    return rc;
}

static void inspect_accept(struct found *f, const struct scan *s)
{
    struct segment *seg = f->segment;
    seg->next = s->next;
    seg->size = seg->written = s->position;
    seg->space = f->size;
    seg->epoch = s->epoch;
    seg->time_last = s->time_ms;
    seg->crc = s->crc;
    f->fallen = s->fallen != 0;
}

static int inspect_open(struct recovery *r, struct found *f)
{
    f->segment = segment_new(r->journal, f->first);
    int rc = segment_use(f->segment);
    return rc < 0 ? rc : inspect_head(r, f);
}

/* After a failed write, the page cache holds what the disk does not: read the disk. */
static int inspect_direct(const struct recovery *r, const struct found *f, struct reader *reader)
{
    int fd = f->segment->file.fd;
    if (r->journal->store->read_direct) {
        posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
        fd = open(segment_path(f->segment).s, O_RDONLY | O_DIRECT | O_CLOEXEC);
        if (fd < 0) {
            say_warn("store", "no O_DIRECT on this filesystem: %s is read through the page cache",
                     segment_path(f->segment).s);
            fd = f->segment->file.fd;
        }
    }
    return reader_init(reader, fd);
}

/* Reads one file from where that is needed to its end. */
static int inspect_file(struct recovery *r, struct found *f)
{
    struct reader *reader = &r->journal->store->reader;
    struct scan s;
    int rc = inspect_open(r, f);
    if (rc == 0)
        rc = inspect_direct(r, f, reader);
    if (rc < 0)
        return rc;
    rc = inspect_walk(r, f, reader, &s);
    if (rc == 0)
        rc = inspect_end(reader, f, &s);
    if (rc == 0)
        inspect_accept(f, &s);
    if (rc == 0 && f->end == SCAN_BAD)
        rc = inspect_beyond(r, reader, s);
    if (reader->fd != f->segment->file.fd)
        close(reader->fd);
    return rc;
}

/* After a clean stop a clean checkpoint stands for the file: only what surrounds it is looked at. */
static int inspect_clean(struct recovery *r, struct found *f, bool *done)
{
    char after[BATCH_HEAD_SIZE] = {0};
    *done = false;
    if (!r->journal->store->was_clean || !r->checkpoint.clean)
        return 0;
    int rc = inspect_open(r, f);
    if (rc == 0 && checkpoint_fits(r, f)
        && pread(f->segment->file.fd, after, sizeof after, (off_t)r->checkpoint.position) >= 0
        && zeros(after, sizeof after)) {
        struct scan s = scan_of_checkpoint(&r->checkpoint);
        f->end = SCAN_END;
        inspect_accept(f, &s);
        f->segment->index_whole = s.position < FILE_HEAD_SIZE + INDEX_EVERY;
        f->segment->index.due = s.position > f->segment->index.due ? s.position : f->segment->index.due;
        r->journal->checkpoint_clean = *done = true;
    }
    if (!*done) {
        segment_free(f->segment);
        f->segment = NULL;
    }
    return rc;
}

int recovery_inspect(struct recovery *r)
{
    for (size_t i = 0; i < r->count; i++) {
        struct found *f = &r->files[i];
        bool done = false;
        int rc = f->sealed || !recovery_last(r, f) ? 0 : inspect_clean(r, f, &done);
        if (rc == 0 && !f->sealed && !done)
            rc = inspect_file(r, f);
        if (rc < 0)
            return rc;
    }
    return 0;
}
