#include "store/recovery/unchanged.h"

#include <sys/stat.h>

#include "store/log/store_struct.h"
#include "store/log/topic_end.h"

static const struct topic_end *end_of(const struct journal *j)
{
    const struct topic_end *end = ends_find(j->store->ends, slice_from(j->parts.dir.name));
    const struct topic_id *id = &j->parts.dir.id;
    return end && end->id.epoch == id->epoch && end->id.offset == id->offset ? end : NULL;
}

bool checkpoint_of_end(const struct journal *j, struct checkpoint *out)
{
    const struct topic_end *end = end_of(j);
    if (!end || end->size == 0)
        return false;
    *out = (struct checkpoint){.first = end->first, .next = end->next, .disk = end->next, .stated = end->stated,
                               .oldest = end->first};
    return true;
}

bool journal_take_unchanged(struct journal *j)
{
    const struct last_run *last = &j->store->last_run;
    const struct topic_end *end = end_of(j);
    struct topic_end now;
    if (!end || last->io_failed || !(last->clean || last->same_boot))
        return false;
    j->parts.dir.small = end->small;
    if (topic_end_stat(&j->parts.dir, end->size > 0 ? &end->first : NULL, &now) < 0)
        return false;
    if (now.size != end->size || now.file_changed != end->file_changed || now.dir_changed != end->dir_changed)
        return false;

    struct marks *m = &j->marks;
    m->tail = m->written = m->disk = end->next;
    m->stated = end->stated;
    if (end->next > end->first) {
        m->epoch = end->epoch;
        m->time_ms = end->time_last;
    }
    if (end->size == 0)
        return true;
    struct segment *seg = segment_new(&j->parts.dir, end->first);
    seg->next = end->next;
    seg->size = seg->written = end->position;
    seg->space = end->size;
    seg->epoch = end->epoch;
    seg->time_first = end->time_first;
    seg->time_last = end->time_last;
    seg->crc = end->crc;
    seg->origins = end->origins;
    parts_add(&j->parts, end->first, 0, seg);
    j->parts.active = seg;
    j->checkpoint.position = end->position;
    return true;
}
