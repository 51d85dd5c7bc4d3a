#include "store/recovery/inspect.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/err.h"
#include "base/say.h"
#include "store/log/store_struct.h"
#include "store/recovery/identity.h"

bool is_last_file(const struct recovery *r, const struct found_file *f)
{
    return f == &r->files[r->count - 1];
}

/* Opens the file and checks its header. */
static int open_file(struct recovery *r, struct found_file *f)
{
    char in[FILE_HEAD_SIZE + BATCH_HEAD_SIZE] = {0};
    struct batch_head first;
    struct segment *seg = f->segment = segment_new(&r->journal->parts.dir, f->first);
    int rc = segment_use(seg);
    if (rc < 0)
        return rc;
    if (pread(seg->file.fd, in, sizeof in, 0) < 0)
        return -errno;
    rc = file_head_check(seg->dir, in, f->first);
    if (rc == -ERR_FORMAT)
        say_error("store", "refused %s: it belongs to another cluster or a newer format", segment_path(seg).s);
    if (rc == 0 && batch_head_read(in + FILE_HEAD_SIZE, &first) == 0)
        seg->time_first = first.time_ms;
    f->headless = rc == -ERR_DAMAGED;
    return f->headless ? 0 : rc;
}

/* Takes the bounds of the file from a finished scan. */
static void accept(struct found_file *f, const struct scan *s)
{
    struct segment *seg = f->segment;
    seg->next = s->next;
    seg->size = seg->written = s->position;
    seg->space = f->size;
    seg->epoch = s->epoch;
    seg->time_last = s->time_ms;
    seg->crc = s->crc;
    seg->origins = s->origins;
    f->epoch_falls = s->older_next != 0;
}

/* -- the marks that batches state ------------------------------------------------------------------------- */

/* Whether the mark that a batch states covers this node's disk.
 *
 * The mark of a leader's disk does only if this node led that epoch. The mark of the synced set does if this node is a
 * member: every member had those messages, and a node has everything before it becomes one. It does not if the node may
 * have lost what it acknowledged, or acknowledges before the sync. */
static bool mark_covers_disk(const struct journal *j, const struct batch_head *head)
{
    const struct state *state = &j->store->disk.state;
    bool member = state->counts && !state->amnesiac && j->options->durability == DURABILITY_COMMIT;
    return identity_led(j->store, head->epoch) || (member && (head->flags & BATCH_FLAG_PEERS));
}

static void note_mark(struct recovery *r, const struct batch_head *head)
{
    if ((head->flags & BATCH_FLAG_PEERS) && head->disk > r->stated)
        r->stated = head->disk;
    if (head->disk > r->disk && mark_covers_disk(r->journal, head))
        r->disk = head->disk;
}

/* -- scanning --------------------------------------------------------------------------------------------- */

static bool checkpoint_fits(const struct recovery *r, const struct found_file *f)
{
    const struct checkpoint *c = &r->checkpoint;
    return r->has_checkpoint && !f->headless && c->first == f->first && c->position >= FILE_HEAD_SIZE
        && c->position <= f->size && c->next >= c->first;
}

/* Stands where the checkpoint does. The index has no entries before that: it is complete if none are due there. */
static struct scan begin_at_checkpoint(const struct checkpoint *c, struct segment *seg)
{
    seg->cached.complete = c->position < FILE_HEAD_SIZE + INDEX_EVERY;
    if (c->position > seg->cached.index.due)
        seg->cached.index.due = c->position;
    return (struct scan){.position = c->position, .next = c->next, .epoch = c->epoch, .time_ms = c->time_ms,
                         .crc = c->file_crc, .origins = c->origins};
}

/* Goes through the valid batches. f->end tells what they end with. 0 or -errno. */
static int scan_batches(struct recovery *r, struct found_file *f, struct reader *reader, struct scan *s)
{
    struct batch_head head;
    const char *bytes;
    for (;;) {
        uint64_t position = s->position;
        f->end = scan_next(reader, s, &head, &bytes);
        if (f->end != SCAN_BATCH)
            return f->end < 0 ? f->end : 0;
        note_mark(r, &head);
        index_note(&f->segment->cached.index, (struct index_entry){head.first, position, head.time_ms});
    }
}

static int scan_file(struct recovery *r, struct found_file *f, struct reader *reader, struct scan *s)
{
    struct segment *seg = f->segment;
    /* A checkpoint of a file without batches does not help: the first batch may have brought another header. */
    if (checkpoint_fits(r, f) && r->checkpoint.position > FILE_HEAD_SIZE) {
        *s = begin_at_checkpoint(&r->checkpoint, seg);
        int rc = scan_batches(r, f, reader, s);
        if (rc < 0 || f->end != SCAN_BAD || s->position > r->checkpoint.position)
            return rc;
        say_warn("store", "bad bytes just after the checkpoint: the whole file is read topic=%s",
                 r->journal->parts.dir.name);
    }
    index_fini(&seg->cached.index);
    seg->cached.complete = true;
    int rc = scan_begin(reader, f->first, s);
    if (rc < 0)
        return rc;
    if (!f->headless)
        return scan_batches(r, f, reader, s);
    f->end = SCAN_BAD;
    return 0;
}

/* Notes the marks of valid batches that follow the bad bytes. */
static int scan_beyond(struct recovery *r, struct reader *reader, struct scan s)
{
    struct batch_head head;
    const char *bytes;
    int rc;
    if (s.older_next > r->disk)
        r->disk = s.older_next;
    while ((rc = scan_resync(reader, &s)) > 0) {
        while ((rc = scan_next(reader, &s, &head, &bytes)) == SCAN_BATCH)
            note_mark(r, &head);
        if (rc < 0 || rc == SCAN_SEALED)
            break;
    }
    return rc < 0 ? rc : 0;
}

/* After a failed write the page cache holds bytes that the disk does not: a descriptor that reads from the disk itself;
 * or -1 where that is not needed or not possible. */
static int open_past_page_cache(const struct recovery *r, const struct segment *seg)
{
    if (!r->journal->store->last_run.io_failed)
        return -1;
    posix_fadvise(seg->file.fd, 0, 0, POSIX_FADV_DONTNEED);
    int fd = open(segment_path(seg).s, O_RDONLY | O_DIRECT | O_CLOEXEC);
    if (fd < 0)
        say_warn("store", "no O_DIRECT on this filesystem: %s is read through the page cache", segment_path(seg).s);
    return fd;
}

static int inspect_file(struct recovery *r, struct found_file *f)
{
    struct reader *reader = &r->journal->store->reader;
    struct scan s;
    int rc = open_file(r, f);
    if (rc < 0)
        return rc;
    int direct = open_past_page_cache(r, f->segment);
    rc = reader_init(reader, direct >= 0 ? direct : f->segment->file.fd);
    if (rc == 0)
        rc = scan_file(r, f, reader, &s);
    if (rc == 0 && f->end == SCAN_END) {
        uint64_t end;                  /* only zeros must follow, to the end of the file */
        rc = reader_last_byte(reader, s.position, &end);
        if (rc == 0 && end > s.position)
            f->end = SCAN_BAD;
    }
    if (rc == 0)
        accept(f, &s);
    if (rc == 0 && f->end == SCAN_BAD)
        rc = scan_beyond(r, reader, s);
    if (direct >= 0)
        close(direct);
    return rc;
}

static bool is_zero(const char *p, size_t n)
{
    while (n > 0 && p[n - 1] == 0)
        n--;
    return n == 0;
}

/* After a clean stop, a clean checkpoint replaces the scan: only the header and what follows the last batch are read.
 * *done: it did. */
static int inspect_clean_file(struct recovery *r, struct found_file *f, bool *done)
{
    const struct checkpoint *c = &r->checkpoint;
    char after[BATCH_HEAD_SIZE] = {0};
    *done = false;
    if (!r->journal->store->last_run.clean || !c->clean)
        return 0;
    int rc = open_file(r, f);
    if (rc == 0 && checkpoint_fits(r, f)
        && pread(f->segment->file.fd, after, sizeof after, (off_t)c->position) >= 0 && is_zero(after, sizeof after)) {
        struct scan s = begin_at_checkpoint(c, f->segment);
        f->end = SCAN_END;
        accept(f, &s);
        r->journal->checkpoint.clean = *done = true;
        return 0;
    }
    segment_free(f->segment);
    f->segment = NULL;
    return rc;
}

int recovery_inspect(struct recovery *r)
{
    for (size_t i = 0; i < r->count; i++) {
        struct found_file *f = &r->files[i];
        bool done = false;
        if (f->sealed)
            continue;
        int rc = is_last_file(r, f) ? inspect_clean_file(r, f, &done) : 0;
        if (rc == 0 && !done)
            rc = inspect_file(r, f);
        if (rc < 0)
            return rc;
    }
    return 0;
}
