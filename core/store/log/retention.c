/* Retention: the oldest files of a journal go. */
#include <inttypes.h>

#include "base/say.h"
#include "store/log/delete_later.h"
#include "store/log/journal_struct.h"

/* Whether the oldest file may go. At least what was asked for is kept: the bound lies within the oldest file that
 * stays. */
static bool may_go(struct journal *j, const struct retain *keep, int64_t now_ms)
{
    const struct part *oldest = &j->parts.at[0];
    struct journal_info info;
    journal_info(j, &info);
    if (keep->bytes && info.bytes - oldest->size >= keep->bytes)
        return true;
    if (keep->messages && info.tail - oldest[1].first >= keep->messages)
        return true;
    struct segment *seg;
    if (!keep->age_ms || part_segment(j, &j->parts.at[0], &seg) < 0)
        return false;
    return seg->time_last < now_ms - keep->age_ms;
}

int journal_apply_retention(struct journal *j, const struct retain *keep, int64_t now_ms, uint64_t readable)
{
    static const enum file_kind kinds[] = {FILE_ACTIVE, FILE_SEALED, FILE_INDEX};   /* active: sealing it failed */
    struct parts *parts = &j->parts;
    struct buf paths = {0};
    int count = 0;
    while (parts->count > 1 && parts->at[1].first <= readable &&
           !(parts->at[0].segment && parts->at[0].segment->pinned) && may_go(j, keep, now_ms)) {
        for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
            struct path path = file_path(&parts->dir, parts->at[0].first, kinds[i]);
            buf_add(&paths, path.s, strlen(path.s) + 1);
        }
        parts_remove(parts, 0);
        count++;
    }
    if (count == 0)
        return 0;
    damage_keep(&j->damage, journal_first(j), UINT64_MAX);
    say_info("store", "retention topic=%s files=%d first=%" PRIu64, parts->dir.name, count, journal_first(j));
    delete_later_files(&parts->dir, &paths);
    return count;
}
