/* Retention, and whole topics going away. */
#include <errno.h>
#include <inttypes.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/say.h"
#include "store/disk/io.h"
#include "store/log/inner.h"
#include "store/replication/set_aside.h"

/* May the oldest file go? What is kept is at least what was asked for: the bound falls within the oldest file left. */
static bool retention_allows(struct journal *j, const struct retain *keep, int64_t now_ms, uint64_t bytes)
{
    const struct part *oldest = &j->parts[0];
    if (keep->bytes && bytes - oldest->size >= keep->bytes)
        return true;
    if (keep->messages && j->tail - j->parts[1].first >= keep->messages)
        return true;
    struct segment *seg;
    if (!keep->age_ms || part_segment(j, &j->parts[0], &seg) < 0)
        return false;
    return seg->time_last < now_ms - keep->age_ms;
}

static void part_drop_oldest(struct journal *j, struct buf *paths)
{
    struct part *oldest = &j->parts[0];
    static const enum file_kind kinds[] = {FILE_ACTIVE, FILE_SEALED, FILE_INDEX};   /* .qwal: sealing it failed */
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        struct path path = file_path(j, oldest->first, kinds[i]);
        buf_add(paths, path.s, strlen(path.s) + 1);
    }
    j->bytes_sealed -= oldest->size;
    if (oldest->segment)
        segment_free(oldest->segment);
    j->parts_count--;
    memmove(oldest, oldest + 1, j->parts_count * sizeof *oldest);
}

int journal_apply_retention(struct journal *j, const struct retain *keep, int64_t now_ms)
{
    struct buf paths = {0};
    struct journal_info info;
    journal_info(j, &info);
    int count = 0;
    while (j->parts_count > 1 && !(j->parts[0].segment && j->parts[0].segment->pinned)) {
        if (!retention_allows(j, keep, now_ms, info.bytes))
            break;
        info.bytes -= j->parts[0].size;
        part_drop_oldest(j, &paths);
        count++;
    }
    if (count == 0)
        return 0;
    damage_keep(j, j->parts[0].first, UINT64_MAX);
    say_info("store", "retention topic=%s files=%d first=%" PRIu64, j->name, count, journal_first(j));
    delete_later_files(j, &paths);
    return count;
}

int journal_delete(struct journal *j)
{
    struct store *s = j->store;
    if (j->in_round || j->jobs || !list_empty(&j->sealing))
        store_sync_all(s);
    struct path from = topic_path(j);
    struct path to = path_of("%s/trash/%s-%" PRIu64 "-%" PRIu64, s->disk.root, j->name, j->options.id.epoch,
                             j->options.id.offset);
    int rc = io.rename(from.s, to.s) < 0 ? -errno : 0;
    journal_free(j);
    if (rc < 0)
        return rc;
    rc = io_sync_dir_or_all(path_of("%s/topics", s->disk.root).s, s->disk.root_fd);
    if (rc < 0)
        disk_failed(&s->disk, "fsync", from.s, rc);
    delete_later_trash(s);
    return 0;
}

int store_set_aside(struct store *s, slice name)
{
    struct path from = path_of("%s/topics/%.*s", s->disk.root, SLICE_ARGS(name));
    struct path to = path_of("%s/diverged/%.*s-%lld", s->disk.root, SLICE_ARGS(name), (long long)clock_wall_ms());
    int rc = set_aside_move(s, from.s, to.s);
    if (rc < 0)
        return rc;
    delete_later_trash(s);
    say_warn("store", "a directory of another topic of the same name was set aside topic=%.*s to=%s", SLICE_ARGS(name),
             to.s);
    return io_sync_dir(path_of("%s/topics", s->disk.root).s);
}
