#include "broker/topic/topic.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/least.h"
#include "broker/topic/expiry.h"
#include "store/replication/epochs.h"
#include "store/replication/truncate.h"

static bool is_name_byte(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
           c == '-';
}

bool topic_name_ok(slice name)
{
    if (name.n == 0 || name.n > TOPIC_NAME_MAX)
        return false;
    if (name.p[0] == '.' || name.p[0] == '-' || name.p[0] == '_')
        return false;
    for (size_t i = 0; i < name.n; i++)
        if (!is_name_byte(name.p[i]))
            return false;
    return true;
}

/* ---- appending ---- */

int topic_append(struct topic *t, struct append *a, uint64_t *first)
{
    a->epoch = t->shared->role->epoch;
    if (a->time_ms == 0)
        a->time_ms = wall_clock_now(t->shared->clock);
    a->has_stated = t->settings->replication == REPLICATION_LIVE;
    a->stated = least(t->peers.at, t->disk.at);
    int rc = journal_append(t->journal, a, first);
    if (rc < 0)
        return rc;
    if (t->lead != NULL && *first > t->lead->begun && journal_active_first(t->journal) == *first) {
        t->lead->sealed = *first;      /* it begins a file */
        t->lead->has_new_seal = true;
    }
    mark_advance(&t->tail, *first + a->count);
    topic_used(t);
    t->count.appended_messages += a->count;
    t->count.appended_bytes += a->messages.n;
    struct topic_sums *sums = t->shared->sums;
    sums->appended_messages += a->count;
    sums->appended_bytes += a->messages.n;
    sums->epoch = most(sums->epoch, a->epoch);
    return 0;
}

void topic_received(struct topic *t, uint64_t next)
{
    mark_advance(&t->tail, next);
    t->shared->sums->epoch = most(t->shared->sums->epoch, topic_last_epoch(t));
}

void topic_count_read(struct topic *t, uint64_t messages, uint64_t bytes)
{
    t->count.read_messages += messages;
    t->count.read_bytes += bytes;
    t->shared->sums->read_messages += messages;
    t->shared->sums->read_bytes += bytes;
}

/* ---- marks ---- */

struct mark *topic_own_mark(struct topic *t)
{
    return t->settings->durability == DURABILITY_COMMIT ? &t->disk : &t->written;
}

struct mark *topic_ack_mark(struct topic *t)
{
    return t->settings->replication == REPLICATION_LIVE ? &t->peers : topic_own_mark(t);
}

uint64_t topic_readable(struct topic *t)
{
    return t->readable.at;
}

/* In live mode the network overlaps the disk write. In `wal` mode a follower never holds what the leader has not
 * acknowledged, so it may serve all that it has. */
uint64_t topic_shippable(struct topic *t)
{
    if (t->settings->replication == REPLICATION_LIVE)
        return t->written.at;
    return least(t->lead->ship, topic_own_mark(t)->at);
}

void topic_ship(struct topic *t, uint64_t offset)
{
    if (t->lead == NULL || offset <= t->lead->ship)
        return;
    t->lead->ship = offset;
    topic_settle(t);
}

uint64_t topic_shipped(const struct topic *t)
{
    return t->lead != NULL ? t->lead->ship : t->tail.at;
}

/* What a node alone has is committed. In a cluster, a node knows what every member had only from what records of a live
 * topic state, and that retention removes only what they had. Of a `wal` topic it holds only what the leader had
 * acknowledged (topic_shippable), so readers may have all. */
void topic_begin_marks(struct topic *t)
{
    struct journal_info info;
    journal_info(t->journal, &info);
    bool alone = t->shared->role->kind == ROLE_ALONE, live = t->settings->replication == REPLICATION_LIVE;
    uint64_t stated = live && info.stated < info.first ? info.first : info.stated;
    t->shared->sums->messages += info.disk;
    t->shared->sums->epoch = most(t->shared->sums->epoch, info.epoch);
    mark_init(&t->tail, info.tail);
    mark_init(&t->written, info.written);
    mark_init(&t->disk, info.disk);
    mark_init(&t->peers, alone ? info.disk : stated);
    mark_init(&t->readable, alone || !live ? info.disk : stated);
    if (t->lead == NULL)
        return;
    t->follow->told_readable = t->readable.at;
    t->follow->told_peers = t->peers.at;
    t->lead->begun = t->lead->ship = t->lead->sealed = info.tail;
    t->lead->begun_ns = clock_ns();
}

static void raise(struct mark *m, uint64_t to)
{
    if (to > m->at)
        mark_advance(m, to);
}

void topic_settle(struct topic *t)
{
    const struct topic_hooks *hooks = t->shared->hooks;
    uint64_t own = topic_own_mark(t)->at;
    if (t->shared->role->kind == ROLE_FOLLOWER) {
        raise(&t->peers, least(t->follow->told_peers, own));
        raise(&t->readable, least(t->follow->told_readable, own));
    } else {
        raise(&t->peers, hooks ? hooks->peers(hooks->arg, t) : own);
        raise(&t->readable, topic_ack_mark(t)->at);
    }
    if (hooks && t->settings->replication == REPLICATION_LIVE)
        journal_note_stated(t->journal, t->peers.at, false);
    if (hooks)
        hooks->moved(hooks->arg, t);
}

void topic_moved(void *topic, uint64_t written, uint64_t disk)
{
    struct topic *t = topic;
    t->shared->sums->messages += disk - t->disk.at;
    mark_advance(&t->written, written);
    mark_advance(&t->disk, disk);
    topic_settle(t);
}

void topic_fail(struct topic *t, int rc)
{
    mark_fail(&t->tail, rc);
    mark_fail(&t->written, rc);
    mark_fail(&t->disk, rc);
    mark_fail(&t->peers, rc);
}

/* ---- where this node's history is not the leader's ---- */

static void marks_truncate(struct topic *t, uint64_t to)
{
    struct mark *all[] = {&t->tail, &t->written, &t->disk, &t->peers, &t->readable};
    t->cuts++;
    t->shared->sums->cut = true;
    t->shared->sums->messages -= t->disk.at - least(t->disk.at, to);
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        mark_cut(all[i], to);
    struct topic_follow *f = t->follow;
    if (f == NULL)
        return;
    f->told_peers = least(f->told_peers, to);
    f->told_readable = least(f->told_readable, to);
    f->acked_written = least(f->acked_written, to);
    f->acked_disk = least(f->acked_disk, to);
}

int topic_truncate(struct topic *t, uint64_t to)
{
    uint64_t messages = 0;
    int rc = journal_truncate(t->journal, to, &messages);
    if (rc == 0)
        marks_truncate(t, to);
    return rc;
}

int topic_restart(struct topic *t, uint64_t first, bool keep)
{
    int rc = journal_restart(t->journal, first, keep);
    if (rc < 0)
        return rc;
    marks_truncate(t, first);
    t->shared->sums->messages += first - t->disk.at;
    raise(&t->tail, first);
    raise(&t->written, first);
    raise(&t->disk, first);
    raise(&t->readable, first);
    return 0;
}

/* ---- reading ---- */

/* Whether the message before `offset` is of that epoch; a damaged one may be. `found` and `end` are the epoch's. */
static bool is_of_epoch(struct topic *t, uint64_t offset, uint64_t epoch, uint64_t found, uint64_t end)
{
    struct batch_head head;
    if (found < epoch)
        return false;
    return offset == end || journal_batch_of(t->journal, offset - 1, &head) < 0 || head.epoch == epoch;
}

int topic_check(struct topic *t, const struct topic_token *token, uint64_t *found, uint64_t *end)
{
    const struct role *r = t->shared->role;
    uint64_t epoch = token->epoch, offset = token->offset;
    *found = *end = 0;
    if (token->names_topic && token->topic != t->id.offset)      /* a later one may be created here yet */
        return token->topic > t->id.offset && r->kind == ROLE_FOLLOWER ? -ERR_UNAVAILABLE : -ERR_TRUNCATED;
    if (epoch == EPOCH_UNKNOWN)
        return 0;
    int rc = journal_epoch_end(t->journal, epoch, found, end);
    if (rc < 0)
        return rc;
    /* Is nothing of that epoch missing here? A leader cannot know it of an epoch above its own: Consul may have given
     * the lock to another node without its knowing yet. */
    bool knows = r->kind == ROLE_ALONE || (r->kind == ROLE_LEADER && epoch <= r->epoch);
    if (knows && epoch > r->epoch)
        return -ERR_TRUNCATED;
    if (offset <= topic_first(t))
        return 0;
    bool open = !knows && *end == t->tail.at;      /* nothing later is here, so the reader's messages may still come */
    if (open && (offset > *end || (offset == *end && *found < epoch)))
        return token->reached ? -ERR_UNAVAILABLE : 0;
    if (offset > *end)
        return -ERR_TRUNCATED;
    if (is_of_epoch(t, offset, epoch, *found, *end))
        return 0;
    if (open && *found < epoch)
        return -ERR_UNAVAILABLE;
    *end = offset - 1;                             /* the histories differ there at the latest */
    return -ERR_TRUNCATED;
}

bool topic_is_beyond(const struct topic *t, uint64_t offset)
{
    const struct role *r = t->shared->role;
    bool knows = r->kind == ROLE_ALONE || (r->kind == ROLE_LEADER && role_lease_valid(r, clock_ns()));
    return knows && offset > t->tail.at;
}

bool topic_is_next(const struct topic *t, const struct topic_token *token)
{
    if (token->offset != t->tail.at || (token->names_topic && token->topic != t->id.offset))
        return false;
    return token->offset == 0 || (token->epoch != EPOCH_UNKNOWN && token->epoch == topic_last_epoch(t));
}

uint64_t topic_last_epoch(const struct topic *t)
{
    struct journal_info info;
    journal_info(t->journal, &info);
    return info.epoch;
}

bool topic_is_unsure(const struct topic *t, uint64_t offset)
{
    bool between = offset >= t->readable.at && offset < t->tail.at;
    return between && t->shared->role->kind == ROLE_FOLLOWER && !t->follow->told;
}

uint64_t topic_first(const struct topic *t)
{
    struct journal_info info;
    journal_info(t->journal, &info);
    return info.first;
}

int topic_read(struct topic *t, uint64_t from, uint64_t to, size_t bytes_max, struct buf *out, uint64_t *next)
{
    return journal_read(t->journal, from, least(to, topic_readable(t)), bytes_max, out, next);
}
