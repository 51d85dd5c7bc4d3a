#include "base/err.h"
#include "store/log/append.h"
#include "store/log/origins.h"
#include "store/log/sealed_file.h"
#include "store/replication/batches.h"
#include "store/replication/truncate.h"

static bool contents_valid(const char *p, const struct batch_head *head)
{
    slice rest = batch_messages(p, head);
    struct message m;
    struct origin origin;
    uint32_t n = 0;
    while (n < head->count && message_read(&rest, &m) == 0)
        n++;
    return n == head->count && rest.n == 0 && origin_read(p, head, &origin) == 0;
}

/* Whether the bytes continue the journal as `run` says. *epoch: of the first batch. */
static int check_batches(const struct journal *j, const struct batch_run *run, slice bytes, uint64_t *epoch)
{
    struct batch_head head, before = {.epoch = j->marks.epoch, .time_ms = j->marks.time_ms};
    uint64_t next = j->marks.tail;
    if (bytes.n > BATCH_RUN_SIZE_MAX)
        return -ERR_TOO_LARGE;
    if (run->first != next || run->file_first > run->first || bytes.n == 0)
        return -ERR_DAMAGED;
    for (; bytes.n > 0; bytes = slice_skip(bytes, head.size)) {
        if (bytes.n < BATCH_HEAD_SIZE || batch_head_read(bytes.p, &head) < 0 || batch_is_end(&head)
            || head.size > bytes.n || !batch_valid(bytes.p, &head, next) || next + head.count <= next
            || !contents_valid(bytes.p, &head))
            return -ERR_DAMAGED;
        bool begins = next == run->file_first;
        if (head.epoch < before.epoch || (head.time_ms < before.time_ms && !begins))
            return -ERR_DAMAGED;
        if (next == run->first)
            *epoch = head.epoch;
        next += head.count;
        before = head;
    }
    return next == run->next ? 0 : -ERR_DAMAGED;
}

/* Whether our file that ends at the tail is the one that the leader has there. If its end is damaged, nothing can be
 * compared: the damage is known, and repaired in another way. */
static int check_file_before(struct journal *j, const struct batch_run *run)
{
    uint32_t crc = 0;
    uint64_t tail = j->marks.tail;
    struct part *before = tail ? part_of(&j->parts, tail - 1) : NULL;
    if (!run->has_file_crc || !before)
        return 0;
    if (run->first != run->file_first)
        return -ERR_DAMAGED;
    int rc = 0;
    if (before->segment && before->segment == j->parts.active)
        crc = before->segment->crc;
    else
        rc = part_end_crc(j, before, &crc);
    if (rc < 0)
        return rc == -ERR_DAMAGED ? 0 : rc;
    return crc == run->file_crc ? 0 : -ERR_DIVERGED;
}

/* The leader's file continues at the tail, but ours is sealed, or an empty one follows it: makes it the active one
 * again. */
static int reopen(struct journal *j, uint64_t file_first)
{
    const struct parts *p = &j->parts;
    bool empty = p->active && p->active->next == p->active->first;
    if ((p->active && !empty) || p->count < 1u + empty || p->at[p->count - 1 - empty].first != file_first)
        return -ERR_DIVERGED;
    int rc = journal_reopen(j);
    return rc == -ERR_DAMAGED ? -ERR_DIVERGED : rc;
}

int journal_receive(struct journal *j, const struct batch_run *run, slice batches)
{
    uint64_t epoch = 0;
    bool begins = run->first == run->file_first;
    bool active = j->parts.active && j->parts.active->first == run->file_first;
    int rc = check_batches(j, run, batches, &epoch);
    if (rc == 0)
        rc = check_file_before(j, run);
    if (rc == 0 && !begins && !active)
        rc = reopen(j, run->file_first);
    if (rc < 0)
        return rc;
    if (!begins && j->parts.active->size + batches.n + END_RECORD_SIZE > SEGMENT_BYTES_MAX)
        return -ERR_TOO_LARGE;
    rc = journal_make_room(j, epoch, batches.n, begins && !active);
    if (rc < 0)
        return rc;
    journal_add_batches(j, batches);
    if (j->parts.active->origins && !j->origins)
        origins_read(j);               /* this node knows them when it leads; if it cannot now, it tries again */
    return 0;
}
