#include "store/log/journal_struct.h"

#include <inttypes.h>

#include "base/ensure.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/say.h"
#include "store/log/segment_find.h"
#include "store/log/segment_scan.h"
#include "store/log/store_struct.h"
#include "store/log/write.h"

bool journal_options_equal(const void *options, const void *other)
{
    const struct journal_options *a = options, *b = other;
    return a->segment_messages == b->segment_messages && a->segment_bytes == b->segment_bytes
        && a->segment_age_ms == b->segment_age_ms && a->durability == b->durability
        && a->written_at_once == b->written_at_once
        && a->dedupe_age_ms == b->dedupe_age_ms && a->dedupe_keys == b->dedupe_keys;
}

void journal_share_options(struct journal *j, const struct journal_options *o)
{
    struct journal_options shared = *o;
    const struct journal_options *before = j->options;
    shared.id = (struct topic_id){0};
    j->options = intern(&j->store->options_of_journals, &shared);
    intern_release(before);
}

struct journal *journal_new(struct store *s, slice name, const struct journal_options *o)
{
    struct journal *j = mem_new(sizeof *j + name.n + 1);
    memcpy(j->name, name.p, name.n);
    j->store = s;
    journal_share_options(j, o);
    j->oldest = UINT64_MAX;
    parts_init(&j->parts, &s->disk, &s->indexes, j->name, o->id);
    j->damage.total = &s->stats.damaged;
    list_init(&j->sync.dirty);
    list_init(&j->sync.unsynced);
    list_init(&j->sync.held);
    list_init(&j->sync.sealing);
    list_init(&j->background);
    list_init(&j->all);
    list_push(&s->journals, &j->all);
    return j;
}

void journal_free(struct journal *j)
{
    ENSURE(!j->repairing);
    ENSURE(j->parts.dir.jobs == 0);
    background_stop(&j->background, JOURNAL_CHANGES);
    list_remove(&j->all);
    list_remove(&j->sync.dirty);
    list_remove(&j->sync.unsynced);
    journal_unhold(j);
    buf_fini(&j->pending);
    if (j->origins)
        senders_free(j->origins->senders);
    mem_free(j->origins);
    parts_fini(&j->parts);
    damage_fini(&j->damage);
    mem_free(j->checkpoint.last);
    intern_release(j->options);
    mem_free(j);
}

void checkpointing_note(struct checkpointing *c, const struct checkpoint *last)
{
    if (last && !c->last)
        c->last = MEM_NEW(struct checkpoint);
    if (last) {
        *c->last = *last;
        return;
    }
    mem_free(c->last);
    c->last = NULL;
}

void journal_set_owner(struct journal *j, void *owner)
{
    j->owner = owner;
}

int journal_own_dir(struct journal *j)
{
    struct topic_dir *dir = &j->parts.dir;
    int rc = dir->small ? small_move(dir->disk, dir->name) : 0;
    if (rc < 0 || !dir->small)
        return rc;
    dir->small = false;
    j->sync.dir_dirty = j->store->queue.topics_dirty = true;
    return 0;
}

/* -- marks ------------------------------------------------------------------------------------------------ */

uint64_t journal_first(const struct journal *j)
{
    return j->parts.count ? j->parts.at[0].first : j->marks.tail;
}

uint64_t journal_active_first(const struct journal *j)
{
    return j->parts.active ? j->parts.active->first : j->marks.tail;
}

void journal_info(const struct journal *j, struct journal_info *out)
{
    *out = (struct journal_info){
        .first = journal_first(j), .tail = j->marks.tail, .written = j->marks.written, .disk = j->marks.disk,
        .bytes = j->parts.bytes_sealed + (j->parts.active ? j->parts.active->size : 0),
        .segments = j->parts.count, .damaged = j->damage.count, .last_time_ms = j->marks.time_ms,
        .stated = j->marks.stated, .epoch = j->marks.epoch,
    };
}

/* -- files and damage ------------------------------------------------------------------------------------- */

uint64_t part_end(const struct journal *j, const struct part *part)
{
    return part + 1 < j->parts.at + j->parts.count ? part[1].first : j->marks.tail;
}

static void note_found(struct journal *j, uint64_t first, const struct segment *seg, struct damage *found)
{
    for (uint32_t i = 0; i < found->count; i++) {
        const struct damaged_range *r = &found->ranges[i];
        bool end_missing = seg && seg->end_missing && r->from == r->to && r->from == seg->next;
        if (damage_add(&j->damage, r->from, r->to))
            say_error("store", "damaged records topic=%s file=%020" PRIu64 " from=%" PRIu64 " to=%" PRIu64 "%s",
                      j->parts.dir.name, first, r->from, r->to, end_missing ? " (end record missing)" : "");
    }
    damage_fini(found);
}

int journal_scan(struct journal *j, struct segment *seg)
{
    struct damage found = {0};
    if (seg->scanned)
        return 0;
    int rc = segment_scan(seg, &found);
    note_found(j, seg->first, seg, &found);
    return rc < 0 ? rc : 1;
}

void journal_note_damaged_file(struct journal *j, const struct segment *seg)
{
    for (uint32_t i = 0; i < j->damage.count; i++) {
        uint64_t from = j->damage.ranges[i].from;
        if (from >= seg->first && (from < seg->next || from == seg->first))
            return;
    }
    if (damage_add(&j->damage, seg->first, seg->first))
        say_error("store", "damaged file topic=%s file=%020" PRIu64, j->parts.dir.name, seg->first);
}

void journal_note_missing(struct journal *j, uint64_t from, uint64_t to)
{
    if (from < to && damage_add(&j->damage, from, to))
        say_error("store", "missing records topic=%s from=%" PRIu64 " to=%" PRIu64, j->parts.dir.name, from, to);
}

int journal_refuse_file(struct journal *j, uint64_t first)
{
    struct part *part = part_sealed(&j->parts, first);
    if (!part)
        return -ERR_GONE;
    damage_refuse(&j->damage, first, part_end(j, part));
    return 0;
}

bool journal_refuses(const struct journal *j, uint64_t offset)
{
    return damage_refuses(&j->damage, offset);
}

bool journal_lacks(const struct journal *j, uint64_t *from)
{
    if (j->oldest >= journal_first(j))
        return false;
    *from = j->oldest;
    return true;
}

bool journal_damage(const struct journal *j, uint32_t i, uint64_t *from, uint64_t *to)
{
    if (i >= j->damage.count)
        return false;
    *from = j->damage.ranges[i].from;
    *to = j->damage.ranges[i].to;
    return true;
}

int part_segment(struct journal *j, struct part *part, struct segment **out)
{
    int rc;
    if (part->segment && part->segment == j->parts.active)
        journal_write_held(j);
    if (part->segment) {
        rc = segment_use(part->segment);
    } else {
        struct damage found = {0};
        rc = segment_load(&j->parts.dir, part->first, &found, &part->segment);
        note_found(j, part->first, part->segment, &found);
    }
    if (rc == 0)
        *out = part->segment;
    return rc;
}

int journal_segment_of(struct journal *j, uint64_t offset, struct segment **out)
{
    struct part *part = part_of(&j->parts, offset);
    if (!part)
        return -ERR_GONE;
    int rc = part_segment(j, part, out);
    if (rc < 0 || offset < (*out)->next)
        return rc;
    journal_note_missing(j, (*out)->next, part_end(j, part));
    return -ERR_DAMAGED;
}

int journal_find(struct journal *j, struct segment *seg, uint64_t offset, struct place *at)
{
    int rc = segment_find(seg, offset, at);
    if (rc != -ERR_DAMAGED)
        return rc;
    int scanned = journal_scan(j, seg);
    return scanned < 0 ? scanned : scanned ? segment_find(seg, offset, at) : rc;
}
