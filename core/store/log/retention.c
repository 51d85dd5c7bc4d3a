/* Retention: the oldest files of a journal go. The last message always stays. */
#include <inttypes.h>

#include "base/clock.h"
#include "base/least.h"
#include "base/say.h"
#include "store/log/append.h"
#include "store/log/delete_later.h"
#include "store/log/journal_struct.h"
#include "store/log/origins.h"

/* Whether all batches of the oldest file are older than this. A file is no younger than those after it: where its own
 * date is in the future, because a leader's clock was wrong, it goes by the next file whose date is not. */
static bool is_older(struct journal *j, int64_t than_ms, int64_t now_ms)
{
    struct segment *seg;
    uint64_t last = j->parts.count - 1;
    for (uint64_t i = 0;; i = least(2 * i + 1, last)) {
        if (part_segment(j, &j->parts.at[i], &seg) < 0)
            return false;
        if (seg->time_last <= now_ms || i == last)
            return seg->time_last < than_ms;
    }
}

int64_t journal_date(const struct journal *j)
{
    return j->marks.time_ms + (int64_t)((clock_ns() - j->marks.timed_ns) / NS_PER_MS);
}

/* Whether the oldest file may go. At least what was asked for is kept: the bound lies within the oldest file that
 * stays. */
static bool may_go(struct journal *j, const struct retain *keep, int64_t now_ms)
{
    const struct part *oldest = &j->parts.at[0];
    struct journal_info info;
    journal_info(j, &info);
    if (oldest[1].first <= keep->passed)
        return true;
    if (keep->bytes && info.bytes - oldest->size >= keep->bytes)
        return true;
    if (keep->messages && info.tail - oldest[1].first >= keep->messages)
        return true;
    return keep->age_ms && is_older(j, now_ms - keep->age_ms, now_ms);
}

int journal_apply_retention(struct journal *j, const struct retain *keep, int64_t now_ms, uint64_t readable)
{
    static const enum file_kind kinds[] = {FILE_ACTIVE, FILE_SEALED,                /* active: sealing it failed */
                                           FILE_INDEX, FILE_SENDERS};
    struct parts *parts = &j->parts;
    struct buf paths = {0};
    int count = 0;
    while (parts->count > 1 && parts->at[1].first <= readable && parts->at[1].first < j->marks.tail &&
           !(parts->at[0].segment && parts->at[0].segment->pinned) && may_go(j, keep, now_ms)) {
        for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
            struct path path = file_path(&parts->dir, parts->at[0].first, kinds[i]);
            buf_add(&paths, path.s, strlen(path.s) + 1);
        }
        origins_removing(j);
        parts_remove(parts, 0);
        count++;
    }
    if (count == 0)
        return 0;
    damage_keep(&j->damage, journal_first(j), UINT64_MAX);
    journal_forget_lacking(j);
    origins_removed(j);
    say_info("store", "retention topic=%s files=%d first=%" PRIu64, parts->dir.name, count, journal_first(j));
    delete_later_files(&parts->dir, &paths);
    return count;
}
