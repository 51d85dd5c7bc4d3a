#include "store/log/append.h"

#include <errno.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "base/err.h"
#include "base/least.h"
#include "base/say.h"
#include "store/disk/io.h"
#include "store/log/commit_log.h"
#include "store/log/origins.h"
#include "store/log/store_struct.h"
#include "store/log/write.h"

/* At least this many bytes of received batches are written from the caller's buffer, and not copied to `pending`. */
enum { WRITE_DIRECTLY_MIN = 64 * KIB };

/* -- the active file -------------------------------------------------------------------------------------- */

/* Writes what is pending and the end record. The next group commit syncs the file; then it is sealed. */
static void end_active(struct journal *j)
{
    struct segment *seg = j->parts.active;
    struct batch_head like = segment_end_like(seg);
    end_record_write(buf_reserve(&j->pending, END_RECORD_SIZE), &like, seg->crc);
    j->pending.end += END_RECORD_SIZE;
    journal_write(j);
    seg->ended = seg->pinned = true;
    list_push(&j->sync.sealing, &seg->sealing);
    part_resize(&j->parts, &j->parts.at[j->parts.count - 1], seg->size + END_RECORD_SIZE);
    j->parts.active = NULL;
    origins_sealed(j);
}

static void begin_segment(struct journal *j, struct segment *seg, uint64_t epoch)
{
    segment_begin(seg, epoch, &j->pending);
    seg->time_last = j->marks.time_ms;         /* files are searched by time, also those without batches */
}

int journal_begin_file(struct journal *j, uint64_t first, uint64_t epoch, uint64_t need)
{
    struct topic_dir *dir = &j->parts.dir;
    struct segment *seg;
    int rc = first > 0 || j->parts.count > 0 ? journal_own_dir(j) : 0;
    if (rc < 0)
        return rc;
    bool ready = preallocate_take(dir, &j->next_file, file_path(dir, first, FILE_ACTIVE).s) == 0;
    rc = segment_create(dir, first, ready, &seg);
    if (rc < 0)
        return rc;
    rc = segment_reserve(seg, need, j->options->segment_bytes);
    if (rc < 0) {
        segment_discard(seg);
        return rc;
    }
    j->sync.dir_dirty = true;
    j->store->queue.small_dirty |= dir->small;
    if (j->parts.active)
        end_active(j);
    begin_segment(j, seg, epoch);
    parts_add(&j->parts, first, 0, seg);
    j->parts.active = seg;
    j->checkpoint.position = 0;
    return 0;
}

int journal_begin_empty(struct journal *j)
{
    int rc = journal_begin_file(j, j->marks.tail, j->store->disk.state.epoch, 0);
    if (rc < 0)
        return rc;
    journal_write(j);
    if (io.sync_all(j->parts.active->file.fd) < 0)
        return -errno;
    return io_sync_dir(topic_folder(&j->parts.dir).s);
}

/* Saves, before anything is appended under a durability that acknowledges before the sync, that this may happen. */
static int note_durability(struct journal *j)
{
    struct disk *disk = &j->store->disk;
    if (j->options->durability == DURABILITY_COMMIT || disk->state.weak)
        return 0;
    disk->state.weak = true;
    int rc = disk_save_state(disk);
    if (rc < 0)
        disk->state.weak = false;
    return rc;
}

static int no_space(struct store *s, uint64_t size)
{
    s->refused_ns = clock_ns();
    s->refused_size = size;
    return -ENOSPC;
}

int journal_make_room(struct journal *j, uint64_t epoch, uint64_t size, bool begin)
{
    struct store *s = j->store;
    if (s->lost)
        return -ERR_STORAGE;
    if (j->shortening)
        return -ERR_BUSY;
    background_stop(&j->background, JOURNAL_APPENDS);
    int rc = note_durability(j);
    if (rc == 0)
        rc = begin ? journal_begin_file(j, j->marks.tail, epoch, size)
                   : segment_reserve(j->parts.active, size, j->options->segment_bytes);
    if (rc < 0)
        return rc == -ENOSPC || rc == -EDQUOT || rc == -EFBIG ? no_space(s, size) : rc;
    if (size >= s->refused_size)
        s->refused_ns = 0;
    /* A file bears the epoch of its first batch. One that was written without batches may bear another one. */
    struct segment *seg = j->parts.active;
    if (seg->next == seg->first && seg->written >= FILE_HEAD_SIZE)
        begin_segment(j, seg, epoch);
    return 0;
}

/* -- batches ---------------------------------------------------------------------------------------------- */

/* The durability that the options ask for, unless the sync is deferred, the journal is to settle, or the store
 * closes. */
static enum durability durability_now(const struct journal *j)
{
    if (j->store->queue.urgent || j->marks.disk < j->sync.settle_to)
        return DURABILITY_COMMIT;
    if (j->sync.deferred && j->options->durability == DURABILITY_COMMIT)
        return DURABILITY_INTERVAL;
    return j->options->durability;
}

/* Adds a batch whose bytes are, or will be, in `pending` or the file. */
static void add_batch(struct journal *j, const struct batch_head *head, const char *bytes)
{
    struct commit_queue *queue = &j->store->queue;
    segment_add(j->parts.active, head, bytes);
    j->marks.tail += head->count;
    j->marks.time_ms = head->time_ms;
    j->marks.timed_ns = clock_ns();
    j->marks.epoch = head->epoch;
    if ((head->flags & BATCH_FLAG_PEERS) && head->disk > j->marks.stated)
        j->marks.stated = head->disk;
    if (list_alone(&j->sync.dirty))
        list_push(&queue->dirty, &j->sync.dirty);
    if (durability_now(j) == DURABILITY_COMMIT)
        commit_wait_add(&queue->wait);
}

/* Bounds the memory that is taken by a turn that appends much. */
static void bound_pending(struct journal *j)
{
    if (buf_size(&j->pending) > BATCH_SIZE_MAX)
        journal_write(j);
}

void journal_add_batches(struct journal *j, slice batches)
{
    struct batch_head head;
    bool directly = batches.n >= WRITE_DIRECTLY_MIN;
    if (directly)
        journal_write(j);
    for (slice rest = batches; rest.n > 0; rest = slice_skip(rest, head.size)) {
        batch_head_read(rest.p, &head);
        add_batch(j, &head, rest.p);
        if (head.origin > 0)
            origins_note_batch(j, &head, rest.p);
    }
    if (directly)
        journal_write_bytes(j, batches);
    else
        buf_add_slice(&j->pending, batches);
    bound_pending(j);
}

/* Whether a leader's clock was wrong before, so that dates fall: only from one file to the next, because a file is
 * searched by them. */
static bool dates_fall(const struct journal *j, const struct append *a)
{
    return a->time_ms < j->marks.time_ms - DATES_FALL_MS;
}

static bool is_full(const struct journal *j, const struct append *a, uint64_t size)
{
    const struct segment *seg = j->parts.active;
    const struct journal_options *o = j->options;
    if (seg->next == seg->first)
        return false;
    return seg->next - seg->first + a->count > o->segment_messages
        || seg->size + size + END_RECORD_SIZE > o->segment_bytes || dates_fall(j, a)
        || (o->segment_age_ms > 0 && a->time_ms - seg->time_first >= o->segment_age_ms);
}

int journal_append(struct journal *j, const struct append *a, uint64_t *first)
{
    const struct marks *m = &j->marks;
    uint16_t origin = origin_size(&a->origin);
    uint64_t size = BATCH_HEAD_SIZE + origin + a->messages.n;
    if (a->messages.n > BATCH_SIZE_MAX || a->count > BATCH_COUNT_MAX)
        return -ERR_TOO_LARGE;
    if (a->count == 0 || a->messages.n < (uint64_t)a->count * MESSAGE_HEAD_SIZE || a->epoch < m->epoch)
        return -EINVAL;
    if (a->has_stated && a->stated > m->tail)
        return -EINVAL;
    int rc = journal_make_room(j, a->epoch, size, !j->parts.active || is_full(j, a, size));
    if (rc < 0)
        return rc;

    if (dates_fall(j, a))
        say_warn("store", "the last message is dated %lld s from now, and dates go back by that topic=%s",
                 (long long)(m->time_ms - a->time_ms) / MS_PER_S, j->parts.dir.name);
    struct batch_head head = {
        .size = (uint32_t)size, .first = m->tail, .count = a->count, .flags = a->has_stated ? BATCH_FLAG_PEERS : 0,
        .epoch = a->epoch, .time_ms = a->time_ms > m->time_ms || dates_fall(j, a) ? a->time_ms : m->time_ms,
        .disk = a->has_stated ? a->stated : m->disk,
        .origin = origin, .producer_epoch = a->origin.epoch, .sequence = a->origin.sequence,
    };
    char *p = buf_reserve(&j->pending, head.size);
    if (origin > 0)
        origin_write(p + BATCH_HEAD_SIZE, &a->origin);
    memcpy(p + BATCH_HEAD_SIZE + origin, a->messages.p, a->messages.n);
    batch_head_write(p, &head);
    j->pending.end += head.size;
    add_batch(j, &head, p);
    if (origin > 0)
        origins_note(j, &head, &a->origin);
    bound_pending(j);
    *first = head.first;
    return 0;
}

/* -- syncing and checkpoints ------------------------------------------------------------------------------ */

void journal_want_sync(struct journal *j)
{
    struct commit_queue *queue = &j->store->queue;
    enum durability d = durability_now(j);
    if (!list_alone(&j->sync.unsynced))
        return;
    if (d == DURABILITY_COMMIT || (d == DURABILITY_OS && !list_empty(&j->sync.sealing)))
        list_push(&queue->unsynced, &j->sync.unsynced);
    else if (d == DURABILITY_INTERVAL)
        list_push(&queue->unsynced_later, &j->sync.unsynced);
}

int journal_settle(struct journal *j)
{
    const struct marks *m = &j->marks;
    struct journal_sync *sync = &j->sync;
    bool held = commit_log_holds(j->store->log, j);
    if (m->disk == m->tail && !sync->committing && list_empty(&sync->sealing) && j->parts.dir.jobs == 0 && !held)
        return 0;
    if (held)
        commit_log_release(j->store->log);
    sync->settle_to = m->tail;
    if (!sync->committing && (m->disk < m->written || !list_empty(&sync->sealing))) {
        list_remove(&sync->unsynced);
        journal_want_sync(j);
    }
    return -ERR_BUSY;
}

void journal_defer_sync(struct journal *j, bool defer)
{
    if (j->sync.deferred == defer)
        return;
    j->sync.deferred = defer;
    if (defer || list_alone(&j->sync.unsynced))
        return;
    list_remove(&j->sync.unsynced);
    journal_want_sync(j);
}

struct checkpoint journal_checkpoint(const struct journal *j)
{
    const struct segment *seg = j->parts.active;
    return (struct checkpoint){
        .file_crc = seg->crc, .first = seg->first, .position = seg->size, .next = j->marks.tail,
        .disk = j->marks.tail, .stated = j->marks.stated, .origins = seg->origins,
        .epoch = seg->epoch, .time_ms = seg->time_last,
    };
}

void journal_save_checkpoint(struct journal *j, struct checkpoint *c)
{
    ENSURE(c->next <= j->marks.disk);
    if (journal_own_dir(j) < 0)
        return;
    c->sequence = ++j->checkpoint.sequence;
    c->oldest = least(journal_first(j), j->oldest);
    struct path path = path_of("%s/checkpoint", topic_path(&j->parts.dir).s);
    if (checkpoint_save(path.s, c) < 0)
        return;
    j->checkpoint.position = c->position;
    j->checkpoint.clean = c->clean;
    checkpointing_note(&j->checkpoint, c);
}

void journal_forget_lacking(struct journal *j)
{
    j->oldest = UINT64_MAX;
    if (!j->checkpoint.last)
        return;
    struct checkpoint c = *j->checkpoint.last;
    c.clean = j->checkpoint.clean;
    journal_save_checkpoint(j, &c);
}

void journal_note_stated(struct journal *j, uint64_t mark, bool now)
{
    struct marks *m = &j->marks;
    if (mark > m->tail)
        mark = m->tail;
    if (mark > m->stated) {
        m->stated = mark;
        j->checkpoint.clean = false;
    }
    if (!now || !j->parts.active || m->disk < m->tail)
        return;
    struct checkpoint c = journal_checkpoint(j);
    journal_save_checkpoint(j, &c);
}
