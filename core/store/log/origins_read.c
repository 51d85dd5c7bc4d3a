#include "store/log/origins_read.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/say.h"
#include "store/disk/io.h"
#include "store/log/store_struct.h"
#include "store/log/write.h"

enum { READ_CHUNK = 1 * MIB };

/* -- in memory -------------------------------------------------------------------------------------------- */

struct senders_bounds origins_bounds(const struct journal *j)
{
    return (struct senders_bounds){
        .producers = {PRODUCERS_MAX, PRODUCER_AGE_MS},
        .keys = {j->options->dedupe_keys, j->options->dedupe_age_ms},
        .letters = {PRODUCERS_MAX, PRODUCER_AGE_MS},
    };
}

void origins_drop(struct journal *j)
{
    if (j->origins)
        senders_free(j->origins->senders);
    mem_free(j->origins);
    j->origins = NULL;
}

void origins_note(struct journal *j, const struct batch_head *head, const struct origin *o)
{
    if (!j->origins)
        return;
    struct senders_bounds bounds = origins_bounds(j);
    senders_note(j->origins->senders, &bounds, head, o);
}

void origins_note_batch(struct journal *j, const struct batch_head *head, const char *batch)
{
    struct origin o;
    if (origin_read(batch, head, &o) == 0)
        origins_note(j, head, &o);
}

/* -- snapshots -------------------------------------------------------------------------------------------- */

struct path origins_path(const struct journal *j, uint64_t offset)
{
    return file_path(&j->parts.dir, offset, FILE_SENDERS);
}


static int downwards(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return (*x < *y) - (*x > *y);
}

/* The offsets of the snapshots in the topic's directory, the highest first; the caller frees them. */
static uint64_t *snapshots_list(const struct journal *j, size_t *count)
{
    uint64_t *offsets = NULL, offset;
    DIR *dir = opendir(topic_path(&j->parts.dir).s);
    *count = 0;
    for (struct dirent *e; dir && (e = readdir(dir));) {
        if (file_name_read(e->d_name, &offset) != FILE_SENDERS)
            continue;
        offsets = mem_resize(offsets, (*count + 1) * sizeof *offsets);
        offsets[(*count)++] = offset;
    }
    if (dir)
        closedir(dir);
    if (*count > 1)
        qsort(offsets, *count, sizeof *offsets, downwards);
    return offsets;
}

void origins_truncated(struct journal *j, uint64_t to)
{
    size_t count;
    uint64_t *offsets = snapshots_list(j, &count);
    for (size_t i = 0; i < count && offsets[i] > to; i++)
        io.unlink(origins_path(j, offsets[i]).s);
    mem_free(offsets);
    origins_drop(j);
}

/* The epoch of the batch that ends at this offset. 0 where there is none. */
static uint64_t epoch_before(struct journal *j, uint64_t offset)
{
    struct buf one = {0};
    struct batch_head head;
    uint64_t next, epoch = 0;
    if (offset > journal_first(j) && journal_read(j, offset - 1, offset, 1, &one, &next) == 0 && next == offset
        && batch_head_read(one.data + one.at, &head) == 0)
        epoch = head.epoch;
    buf_fini(&one);
    return epoch;
}

static int snapshot_load(struct journal *j, uint64_t offset, struct senders **out)
{
    struct stat st;
    struct buf bytes = {0};
    int fd = open(origins_path(j, offset).s, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    size_t size = fstat(fd, &st) == 0 && st.st_size > 0 ? (size_t)st.st_size : 0;
    ssize_t got = size > 0 ? pread(fd, buf_reserve(&bytes, size), size, 0) : 0;
    close(fd);
    uint64_t epoch;
    struct senders *s;
    struct senders_place of = {.topic = j->parts.dir.id, .offset = offset};
    int rc = senders_load(slice_of(bytes.data, got > 0 ? (size_t)got : 0), &of, &epoch, &s);
    buf_fini(&bytes);
    if (rc == 0 && offset != journal_first(j) && (epoch == 0 || epoch != epoch_before(j, offset))) {
        senders_free(s);
        rc = -ERR_DIVERGED;
    }
    if (rc == 0)
        *out = s;
    return rc;
}

/* -- reading the log -------------------------------------------------------------------------------------- */

/* What is damaged from this offset on, in a file that ends at `to`: the offset after it. */
static uint64_t after_damage(const struct journal *j, uint64_t offset, uint64_t to)
{
    uint64_t from, until;
    for (uint32_t i = 0; journal_damage(j, i, &from, &until); i++)
        if (from <= offset && offset < until)
            return until < to ? until : to;
    return to;
}

struct lacking {
    unsigned ranges;             /* of damage that were left out */
    uint64_t first;              /* where the first one begins */
};

static int note_range(struct journal *j, uint64_t from, uint64_t to, struct lacking *lacking)
{
    struct buf chunk = {0};
    int rc = 0;
    while (rc == 0 && from < to) {
        uint64_t next = from;
        struct batch_head head;
        buf_clear(&chunk);
        rc = journal_read(j, from, to, READ_CHUNK, &chunk, &next);
        if (rc == -ERR_DAMAGED || (rc == 0 && next == from)) {
            if (lacking->ranges++ == 0)
                lacking->first = from;
            next = after_damage(j, from, to);
            rc = 0;
        }
        for (slice rest = buf_slice(&chunk); rc == 0 && rest.n > 0; rest = slice_skip(rest, head.size)) {
            rc = batch_head_read(rest.p, &head);
            if (rc == 0 && head.origin > 0 && head.first >= from)
                origins_note_batch(j, &head, rest.p);
        }
        from = next;
    }
    buf_fini(&chunk);
    return rc;
}

/* Whether a file has no batch that matters. One that cannot be opened may have some. */
static bool is_old(const struct journal *j, const struct segment *seg)
{
    int64_t age_ms = PRODUCER_AGE_MS > j->options->dedupe_age_ms ? PRODUCER_AGE_MS : j->options->dedupe_age_ms;
    return seg->time_last < j->marks.time_ms - age_ms;
}

/* Notes what the log says from an offset on. Files are opened one by one, the oldest that matters first. */
static int note_from(struct journal *j, uint64_t from, struct lacking *lacking)
{
    struct parts *parts = &j->parts;
    struct segment *seg;
    uint32_t i = parts->count;
    while (i > 0 && parts->at[i - 1].first > from) {
        i--;
        if (part_segment(j, &parts->at[i], &seg) == 0 && is_old(j, seg))
            break;
    }
    i -= i > 0 && parts->at[i - 1].first <= from;
    for (int rc; i < parts->count; i++) {
        uint64_t begin = parts->at[i].first, end = part_end(j, &parts->at[i]);
        if (part_segment(j, &parts->at[i], &seg) == 0) {
            if (!seg->origins || is_old(j, seg))
                continue;
            end = seg->next;
        }
        rc = note_range(j, begin > from ? begin : from, end, lacking);
        if (rc < 0)
            return rc;
    }
    return 0;
}

int origins_read(struct journal *j)
{
    uint64_t from = 0;
    size_t count;
    if (j->origins)
        return 0;
    journal_write(j);
    struct journal_origins *o = j->origins = MEM_NEW(struct journal_origins);
    uint64_t *offsets = snapshots_list(j, &count);
    for (size_t i = 0; i < count && !o->senders; i++) {
        if (offsets[i] > j->marks.tail || snapshot_load(j, offsets[i], &o->senders) < 0)
            continue;
        o->has_snapshot = true;
        o->snapshot = from = offsets[i];
    }
    mem_free(offsets);
    if (!o->senders)
        o->senders = senders_new();
    o->logged = 0;
    for (uint32_t i = j->parts.count; i > 0 && j->parts.at[i - 1].first >= from; i--)
        o->logged += j->parts.at[i - 1].size;
    struct lacking lacking = {0};
    int rc = note_from(j, from, &lacking);
    if (lacking.ranges > 0)
        say_warn("store", "producers of a topic may be missing, because its log is damaged topic=%s from=%" PRIu64
                 " ranges=%u", j->parts.dir.name, lacking.first, lacking.ranges);
    if (rc < 0)
        origins_drop(j);
    return rc;
}

/* As journal_append dates a batch. */
static int64_t date_of(const struct journal *j, int64_t now_ms)
{
    bool last = now_ms <= j->marks.time_ms && now_ms >= j->marks.time_ms - DATES_FALL_MS;
    return last ? j->marks.time_ms : now_ms;
}

int journal_sent(struct journal *j, const struct origin *o, int64_t now_ms, struct sent *out)
{
    int rc = j->origins ? 0 : origins_read(j);
    if (rc < 0)
        return rc;
    struct senders_bounds bounds = origins_bounds(j);
    *out = senders_ask(j->origins->senders, &bounds, o, date_of(j, now_ms));
    return 0;
}

int journal_last_sent(struct journal *j, struct origin *o, int64_t now_ms)
{
    int rc = origins_read(j);
    if (rc < 0)
        return rc;
    struct senders_bounds bounds = origins_bounds(j);
    return senders_last(j->origins->senders, &bounds, o, date_of(j, now_ms));
}
