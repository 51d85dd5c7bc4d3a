#include "store/log/journal.h"

#include <errno.h>
#include <sys/stat.h>

#include "base/ensure.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/say.h"
#include "store/disk/io.h"
#include "store/log/inner.h"

/* Bytes that were checked and lie together already are not copied once more when they are so many. */
enum { WRITE_STRAIGHT_MIN = 64 * KIB };

/* -- parts ------------------------------------------------------------------------------------------------ */

struct part *part_add(struct journal *j, uint64_t first, uint64_t size, struct segment *seg)
{
    if (j->parts_count == j->parts_cap) {
        j->parts_cap = j->parts_cap ? j->parts_cap * 2 : 1;
        j->parts = mem_resize(j->parts, j->parts_cap * sizeof *j->parts);
    }
    struct part *part = &j->parts[j->parts_count++];
    *part = (struct part){first, size, seg};
    return part;
}

struct part *part_of(const struct journal *j, uint64_t offset)
{
    uint32_t low = 0, high = j->parts_count;
    while (low < high) {
        uint32_t mid = (low + high) / 2;
        if (j->parts[mid].first <= offset)
            low = mid + 1;
        else
            high = mid;
    }
    return low ? &j->parts[low - 1] : NULL;
}

int part_segment(struct journal *j, struct part *part, struct segment **out)
{
    int rc = part->segment ? segment_use(part->segment) : segment_load(j, part->first, &part->segment);
    if (rc == 0)
        *out = part->segment;
    return rc;
}

void segment_evicted(struct file *f)
{
    struct segment *seg = LIST_OWNER(f, struct segment, file);
    struct part *part = part_of(seg->journal, seg->first);
    if (!seg->ended || seg->pinned || !part || part->segment != seg)
        return;                        /* still wanted, or being opened */
    part->segment = NULL;
    segment_free(seg);
}

uint64_t journal_first(const struct journal *j)
{
    return j->parts_count ? j->parts[0].first : j->tail;
}

/* -- opening and closing ---------------------------------------------------------------------------------- */

static struct journal *journal_new(struct store *s, slice name, const struct journal_options *o)
{
    struct journal *j = MEM_NEW(struct journal);
    j->store = s;
    j->name = mem_copy(name.p, name.n);
    j->options = *o;
    list_init(&j->dirty);
    list_init(&j->unsynced);
    list_init(&j->sealing);
    list_init(&j->all);
    list_push(&s->journals, &j->all);
    return j;
}

void journal_free(struct journal *j)
{
    ENSURE(!j->repairing);
    audit_cancel(j);
    prepare_cancel(j);
    for (uint32_t i = 0; i < j->parts_count; i++)
        if (j->parts[i].segment)
            segment_free(j->parts[i].segment);
    list_remove(&j->all);
    list_remove(&j->dirty);
    list_remove(&j->unsynced);
    buf_fini(&j->pending);
    mem_free(j->parts);
    mem_free(j->damage);
    mem_free(j->name);
    mem_free(j);
}

int journal_open(struct store *s, slice name, const struct journal_options *o, struct journal **out)
{
    struct journal *j = journal_new(s, name, o);
    struct path dir = topic_path(j);
    int rc = io.mkdir(dir.s, 0750) < 0 ? -errno : 0;
    if (rc == 0)
        s->topics_dirty = true;
    else if (rc == -EEXIST)
        rc = journal_recover(j);
    if (rc < 0) {
        journal_free(j);
        return rc;
    }
    store_note_epoch(s, j->epoch);
    *out = j;
    return 0;
}

void journal_close(struct journal *j)
{
    struct store *s = j->store;
    if (j->written < j->tail || j->disk < j->written || j->in_round || j->jobs)
        store_sync_all(s);
    if (j->active && !j->checkpoint_clean) {
        struct checkpoint c = journal_checkpoint(j);
        c.clean = true;
        journal_save_checkpoint(j, &c);
    }
    if (j->preallocated == PREALLOCATE_READY)
        io.unlink(preallocate_path(j).s);
    journal_free(j);
}

void journal_set_options(struct journal *j, const struct journal_options *o)
{
    ENSURE(j->options.id.epoch == o->id.epoch);
    ENSURE(j->options.id.offset == o->id.offset);
    if (j->options.durability != o->durability && j->disk < j->tail)
        store_sync_all(j->store);   /* some wait for what the old one promised; the answer will name the new */
    j->options = *o;
}

void journal_defer_sync(struct journal *j, bool on)
{
    if (j->put_off == on)
        return;
    j->put_off = on;
    if (on || list_alone(&j->unsynced))
        return;
    list_remove(&j->unsynced);
    journal_want_sync(j);
}

void journal_set_owner(struct journal *j, void *owner)
{
    j->owner = owner;
}

/* -- appending -------------------------------------------------------------------------------------------- */

static bool journal_full(const struct journal *j, const struct append *a, uint64_t size)
{
    const struct segment *seg = j->active;
    const struct journal_options *o = &j->options;
    if (seg->next == seg->first)
        return false;
    return seg->next - seg->first + a->count > o->segment_messages
        || seg->size + size + END_RECORD_SIZE > o->segment_bytes
        || (o->segment_age_ms > 0 && a->time_ms - seg->time_first >= o->segment_age_ms);
}

static void active_write(struct journal *j, slice bytes)
{
    struct segment *seg = j->active;
    int rc = segment_use(seg);
    if (rc == 0)
        rc = io_write(seg->file.fd, bytes.p, bytes.n, seg->written);
    if (rc < 0)
        disk_failed(&j->store->disk, "write", segment_path(seg).s, rc);
    seg->file.dirty = true;
    seg->written = seg->size;
    j->written = j->tail;
    j->checkpoint_clean = false;
    j->store->stats.written_bytes += bytes.n;
}

void journal_write(struct journal *j)
{
    if (buf_size(&j->pending) == 0)
        return;
    active_write(j, buf_slice(&j->pending));
    buf_clear(&j->pending);
}

/* Writes the rest of the active file and its end record. The next round syncs it; the disk thread then renames it. */
static void journal_end_active(struct journal *j)
{
    struct segment *seg = j->active;
    struct batch_head like = {.first = seg->next, .epoch = seg->epoch, .time_ms = seg->time_last};
    end_record_write(buf_reserve(&j->pending, END_RECORD_SIZE), &like, seg->crc);
    j->pending.end += END_RECORD_SIZE;
    journal_write(j);
    seg->ended = seg->pinned = true;
    list_push(&j->sealing, &seg->sealing);
    struct part *part = &j->parts[j->parts_count - 1];
    part->size = seg->size + END_RECORD_SIZE;
    j->bytes_sealed += part->size;
    j->active = NULL;
}

int journal_begin(struct journal *j, uint64_t first, uint64_t epoch, uint64_t need)
{
    struct segment *seg;
    int rc = segment_create(j, first, need, &seg);
    if (rc < 0)
        return rc;
    if (j->active)
        journal_end_active(j);
    segment_begin(seg, epoch);
    part_add(j, first, 0, seg);
    j->active = seg;
    j->checkpoint_position = 0;
    return 0;
}

int journal_begin_empty(struct journal *j)
{
    int rc = journal_begin(j, j->tail, j->store->disk.state.epoch, 0);
    if (rc < 0)
        return rc;
    journal_write(j);
    if (io.sync_all(j->active->file.fd) < 0)
        return -errno;
    return io_sync_dir(topic_path(j).s);
}

/* A file that was begun and has no batch yet may bear another epoch than it would where it is begun by its first batch;
 * its bytes must not depend on that. */
static void journal_head_again(struct journal *j, uint64_t epoch)
{
    struct segment *seg = j->active;
    if (seg->next > seg->first || seg->written < FILE_HEAD_SIZE)
        return;
    segment_begin(seg, epoch);
}

int journal_make_room(struct journal *j, uint64_t epoch, uint64_t size, bool begin)
{
    prepare_cancel(j);
    int rc = store_note_durability(j->store, j->options.durability);
    if (rc == 0)
        rc = begin ? journal_begin(j, j->tail, epoch, size) : segment_reserve(j->active, size);
    if (rc == 0)
        journal_head_again(j, epoch);
    return rc == -EDQUOT || rc == -EFBIG ? -ENOSPC : rc;
}

static struct batch_head journal_encode(struct journal *j, const struct append *a, int64_t time_ms)
{
    struct batch_head head = {
        .size = (uint32_t)(BATCH_HEAD_SIZE + a->messages.n), .first = j->tail, .count = a->count,
        .flags = a->has_stated ? BATCH_FLAG_PEERS : 0,
        .epoch = a->epoch, .time_ms = time_ms, .disk = a->has_stated ? a->stated : j->disk,
        .producer = a->producer, .sequence = a->sequence, .producer_epoch = a->producer_epoch,
    };
    char *p = buf_reserve(&j->pending, head.size);
    memcpy(p + BATCH_HEAD_SIZE, a->messages.p, a->messages.n);
    batch_head_write(p, &head);
    j->pending.end += head.size;
    return head;
}

static void segment_note(struct segment *seg, const struct batch_head *head, const char *bytes)
{
    if (seg->next == seg->first)
        seg->time_first = head->time_ms;
    index_note(&seg->index, (struct index_entry){seg->next, seg->size, head->time_ms});
    seg->last = (struct hint){seg->next, seg->size};
    seg->size += head->size;
    seg->next += head->count;
    seg->crc = batch_crc_after(seg->crc, bytes, head);
    seg->epoch = head->epoch;
    seg->time_last = head->time_ms;
}

/* What was asked for, unless the journal is put off, or the store closes: then everything is urgent. */
static enum durability durability_now(const struct journal *j)
{
    if (j->store->closing)
        return DURABILITY_COMMIT;
    return j->put_off && j->options.durability == DURABILITY_COMMIT ? DURABILITY_INTERVAL : j->options.durability;
}

static void journal_note(struct journal *j, const struct batch_head *head, const char *bytes)
{
    segment_note(j->active, head, bytes);
    j->tail += head->count;
    j->time_ms = head->time_ms;
    j->epoch = head->epoch;
    if ((head->flags & BATCH_FLAG_PEERS) && head->disk > j->stated)
        j->stated = head->disk;
    if (list_alone(&j->dirty))
        list_push(&j->store->dirty, &j->dirty);
    if (durability_now(j) == DURABILITY_COMMIT)
        commit_wait_add(&j->store->commit_wait);
}

/* A turn that appends much must not hold it all in memory. */
static void pending_bound(struct journal *j)
{
    if (buf_size(&j->pending) > BATCH_SIZE_MAX)
        journal_write(j);
}

void journal_take(struct journal *j, slice batches)
{
    struct batch_head head;
    slice rest = batches;
    bool straight = batches.n >= WRITE_STRAIGHT_MIN;
    if (straight)
        journal_write(j);
    for (; rest.n > 0; rest = slice_skip(rest, head.size)) {
        batch_head_read(rest.p, &head);
        journal_note(j, &head, rest.p);
    }
    if (straight)
        active_write(j, batches);
    else
        buf_add_slice(&j->pending, batches);
    pending_bound(j);
}

static int append_check(const struct journal *j, const struct append *a)
{
    if (a->messages.n > BATCH_SIZE_MAX || a->count > BATCH_COUNT_MAX)
        return -ERR_TOO_LARGE;
    if (a->count == 0 || a->messages.n < (uint64_t)a->count * MESSAGE_HEAD_SIZE || a->epoch < j->epoch)
        return -EINVAL;
    if (a->has_stated && a->stated > j->tail)
        return -EINVAL;
    return 0;
}

int journal_append(struct journal *j, const struct append *a, uint64_t *first)
{
    uint64_t size = BATCH_HEAD_SIZE + a->messages.n;
    int rc = append_check(j, a);
    if (rc == 0)
        rc = journal_make_room(j, a->epoch, size, !j->active || journal_full(j, a, size));
    if (rc < 0)
        return rc;
    *first = j->tail;
    struct batch_head head = journal_encode(j, a, a->time_ms > j->time_ms ? a->time_ms : j->time_ms);
    journal_note(j, &head, j->pending.data + j->pending.end - head.size);
    pending_bound(j);
    return 0;
}

/* -- marks and checkpoints -------------------------------------------------------------------------------- */

void journal_want_sync(struct journal *j)
{
    struct store *s = j->store;
    enum durability d = durability_now(j);
    if (!list_alone(&j->unsynced))
        return;
    if (d == DURABILITY_COMMIT || (d == DURABILITY_OS && !list_empty(&j->sealing)))
        list_push(&s->unsynced, &j->unsynced);
    else if (d == DURABILITY_INTERVAL)
        list_push(&s->unsynced_later, &j->unsynced);
}

struct checkpoint journal_checkpoint(const struct journal *j)
{
    const struct segment *seg = j->active;
    return (struct checkpoint){
        .file_crc = seg->crc, .first = seg->first, .position = seg->written, .next = j->written,
        .disk = j->written, .stated = j->stated, .epoch = seg->epoch, .time_ms = seg->time_last,
    };
}

void journal_save_checkpoint(struct journal *j, struct checkpoint *c)
{
    ENSURE(c->next <= j->disk);
    c->sequence = ++j->checkpoint_sequence;
    struct path path = path_of("%s/checkpoint", topic_path(j).s);
    if (checkpoint_save(path.s, c) < 0)
        return;                        /* recovery reads more, that is all */
    j->checkpoint_position = c->position;
    j->checkpoint_clean = c->clean;
}

void journal_note_stated(struct journal *j, uint64_t mark, bool now)
{
    if (mark > j->tail)
        mark = j->tail;
    if (mark > j->stated) {
        j->stated = mark;
        j->checkpoint_clean = false;
    }
    if (!now || !j->active || j->disk < j->written || buf_size(&j->pending) > 0)
        return;
    struct checkpoint c = journal_checkpoint(j);
    journal_save_checkpoint(j, &c);
}

uint64_t journal_active_first(const struct journal *j)
{
    return j->active ? j->active->first : j->tail;
}

void journal_info(const struct journal *j, struct journal_info *out)
{
    *out = (struct journal_info){
        .first = journal_first(j), .tail = j->tail, .written = j->written, .disk = j->disk,
        .bytes = j->bytes_sealed + (j->active ? j->active->size : 0),
        .segments = j->parts_count, .damaged = j->damage_count, .last_time_ms = j->time_ms,
        .stated = j->stated, .epoch = j->epoch,
    };
}
