/* What each turn makes of the log of groups, its snapshots, and opening and closing. */
#include <stdlib.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/least.h"
#include "base/mem.h"
#include "base/say.h"
#include "broker/group/groups_reader.h"
#include "broker/group/groups_struct.h"

enum { READ_STEP = MIB, AGAIN_MS = 250 };

static void forget_all(struct groups *gs, int rc)
{
    struct held_group *g;
    for (size_t at = 0; (g = map_next(&gs->by_key, &at)) != NULL;) {
        mark_fail(&g->wakes, rc);
        held_group_free(gs, g);
        at = 0;                                      /* removing moves entries */
    }
    gs->applied = 0;
    gs->noted_at = 0;
    gs->led_epoch = 0;
}

/* ---- reading the log ---- */

/* Applies the batches in `chunk`, from an offset on; the offset after the last. */
static uint64_t chunk_take(struct groups *gs, slice chunk, uint64_t from)
{
    while (chunk.n > 0) {
        struct batch_head head;
        struct message m;
        if (batch_head_read(chunk.p, &head) < 0)
            break;
        slice messages = batch_messages(chunk.p, &head);
        for (uint64_t at = head.first; message_read(&messages, &m) == 0; at++)
            if (at >= from)
                record_take(gs, &m, at);
        from = head.first + head.count;
        chunk = slice_skip(chunk, head.size);
    }
    return from;
}

/* Applies records below `to`, in one step or all at once. 0 or an error of journal_read. */
static int log_read(struct groups *gs, struct topic *log, uint64_t to, bool all)
{
    struct buf chunk = {0};
    int rc = 0;
    if (gs->applied < topic_first(log))
        gs->applied = topic_first(log);
    do {
        uint64_t next;
        buf_clear(&chunk);
        if (gs->applied >= to)
            break;
        rc = journal_read(log->journal, gs->applied, to, READ_STEP, &chunk, &next);
        if (rc == 0 && buf_size(&chunk) == 0)
            rc = -ERR_DAMAGED;
        if (rc == 0)
            gs->applied = chunk_take(gs, buf_slice(&chunk), gs->applied);
    } while (rc == 0 && all);
    buf_fini(&chunk);
    return rc;
}

/* Is what was applied still the beginning of this log? */
static bool is_undone(const struct groups *gs, const struct topic *log)
{
    return gs->cuts != log->cuts || gs->log_id.epoch != log->id.epoch || gs->log_id.offset != log->id.offset ||
           (gs->applied > 0 && gs->applied < topic_first(log));
}

static void note_log(struct groups *gs, const struct topic *log)
{
    gs->cuts = log->cuts;
    gs->log_id = log->id;
}

static void note_date(struct groups *gs, int64_t date_ms)
{
    gs->date_ms = date_ms;
    gs->date_ns = clock_ns();
}

/* The date with which deadlines begin on this leader; follow_date moves them to the present one. It is that of the last
 * record and the time since it came where the present date is before that, because it was set back, and where it is
 * not known: the newest message of all topics, from which it goes on then, may have a wrong date. */
static int64_t first_date(struct groups *gs, const struct topic *log)
{
    int64_t now = topics_date(gs->topics), last = log == NULL ? now : journal_date(log->journal);
    return last > now || topics_date_is_guess(gs->topics) ? last : now;
}

/* Leading has begun: applies what is not committed yet. False: not now. */
static bool begin(struct groups *gs, struct topic *log, uint64_t epoch)
{
    if (log != NULL && log->written.at < log->tail.at)
        return false;
    int rc = log == NULL ? 0 : log_read(gs, log, log->tail.at, true);
    if (rc < 0) {
        say_error("groups", "cannot read back " GROUP_LOG_NAME ": %s; `lignum verify` says more", err_sentence(rc));
        return false;
    }
    gs->led_epoch = epoch;
    note_date(gs, first_date(gs, log));
    gs->due_ms = INT64_MIN;
    mark_advance(&gs->deaths, gs->deaths.at + 1);
    return true;
}

/* What is left of each lease and delay stays when the date is set: they are over so much later. One batch, so all
 * groups follow or none does, and then the next turn tries again. */
static void follow_date(struct groups *gs)
{
    int64_t by_ms = topics_date(gs->topics) - groups_now_ms(gs);
    struct buf payload = {0}, messages = {0};
    struct held_group *g;
    uint64_t first = 0;
    uint32_t count = 0;
    if (llabs(by_ms) < GROUP_STEP_MS)
        return;
    record_shift(&payload, by_ms);
    struct message m = {.payload = buf_slice(&payload)};
    for (size_t at = 0; (g = map_next(&gs->by_key, &at)) != NULL;) {
        if (g->state.out.timers.count == 0)
            continue;
        m.key = slice_from(g->key);
        message_write(&messages, &m);
        count++;
    }
    if (count == 0 || append_messages(gs, buf_slice(&messages), count, &first) == 0) {
        slice rest = buf_slice(&messages);
        for (uint32_t i = 0; i < count && message_read(&rest, &m) == 0; i++)
            record_take(gs, &m, first + i);
        for (size_t at = 0; (g = map_next(&gs->by_key, &at)) != NULL;) {
            g->used_ms += g->used_ms == 0 ? 0 : by_ms;
            g->due_ms = INT64_MIN;
        }
        note_date(gs, topics_date(gs->topics));
        gs->due_ms = INT64_MIN;
        say_info("groups", "the date was set, and deadlines of groups moved with it: ms=%lld groups=%u",
                 (long long)by_ms, count);
    }
    buf_fini(&payload);
    buf_fini(&messages);
}

bool groups_turn(struct groups *gs)
{
    struct topic *log = groups_log(gs);
    const struct role *role = topics_role(gs->topics);
    bool leads = role_leads(role);
    if (gs->led_epoch != 0 && (!leads || gs->led_epoch != role->epoch))
        forget_all(gs, -ERR_NOT_LEADER);
    if (log != NULL && is_undone(gs, log)) {
        forget_all(gs, -ERR_NOT_LEADER);
        note_log(gs, log);
    }
    if (leads) {
        if (gs->led_epoch != role->epoch && !begin(gs, log, role->epoch))
            return false;
        follow_date(gs);
        struct held_group *g;
        int64_t now = groups_now_ms(gs);
        if (now < gs->due_ms)
            return false;
        gs->due_ms = INT64_MAX;
        for (size_t at = 0; (g = map_next(&gs->by_key, &at)) != NULL;) {
            if (g->due_ms <= now || gs->led_epoch != g->checked_epoch) {
                struct topic *t = group_topic(gs, g);
                if (t == NULL || groups_use(gs, g, t) == 0)
                    continue;
                g->due_ms = now + AGAIN_MS;    /* it cannot be used now */
            }
            group_due(gs, g, g->due_ms);
        }
        return false;
    }
    if (log == NULL || gs->applied >= topic_readable(log))
        return false;
    return log_read(gs, log, topic_readable(log), false) == 0 && gs->applied < topic_readable(log);
}

uint64_t groups_deadline_ns(const struct groups *gs)
{
    if (gs->led_epoch == 0 || gs->due_ms == INT64_MAX)
        return 0;
    int64_t left = gs->due_ms - groups_now_ms(gs);
    return left <= 0 ? 1 : clock_ns() + (uint64_t)left * NS_PER_MS;
}

int groups_open(struct topics *ts, struct groups **out, struct buf *why)
{
    struct groups *gs = MEM_NEW(struct groups);
    gs->topics = ts;
    gs->due_ms = INT64_MAX;
    map_init(&gs->by_key);
    mark_init(&gs->deaths, 0);
    mark_init(&gs->retries, 0);
    struct topic *log = groups_log(gs);
    if (log != NULL) {
        note_log(gs, log);
        int rc = log_read(gs, log, topic_readable(log), true);
        if (rc < 0) {
            buf_addf(why, "the log of groups (" GROUP_LOG_NAME ") cannot be read: %s; `lignum verify` says more",
                     err_sentence(rc));
            groups_close(gs);
            return rc;
        }
    }
    *out = gs;
    return 0;
}

void groups_close(struct groups *gs)
{
    forget_all(gs, -ERR_CANCELLED);
    mark_fail(&gs->deaths, -ERR_CANCELLED);
    mark_fail(&gs->retries, -ERR_CANCELLED);
    map_fini(&gs->by_key);
    mem_free(gs->held);
    mem_free(gs);
}

/* ---- snapshots ---- */

static int snapshot(struct groups *gs, struct held_group *g)
{
    struct buf headers = {0}, messages = {0};
    uint64_t first;
    group_headers_write(&headers, slice_from(g->topic_name), &g->state.settings);
    uint32_t count = record_snapshot(&messages, &g->state, slice_from(g->key), buf_slice(&headers));
    int rc = append_messages(gs, buf_slice(&messages), count, &first);
    if (rc == 0) {
        g->snapshot_at = first;
        g->size = buf_size(&messages);
    }
    buf_fini(&headers);
    buf_fini(&messages);
    return rc;
}

/* Deletes groups whose topics are deleted: a leader knows every topic. */
static void remove_orphans(struct groups *gs)
{
    struct held_group *g;
    uint64_t want;
    for (size_t at = 0; (g = map_next(&gs->by_key, &at)) != NULL;) {
        struct topic *t = NULL;
        bool unopened = topics_find_unopened(gs->topics, slice_from(g->topic_name), &t) != -ERR_UNKNOWN_TOPIC;
        if (group_topic(gs, g) != NULL || unopened)
            continue;
        if (groups_delete(gs, g, &want) < 0)
            return;
        at = 0;
    }
}

/* Deletes groups that nobody has used for as long as they say. A leader counts from its first look on. */
static void remove_expired(struct groups *gs)
{
    struct held_group *g;
    int64_t now = groups_now_ms(gs);
    uint64_t want;
    for (size_t at = 0; (g = map_next(&gs->by_key, &at)) != NULL;) {
        if (g->used_ms == 0)
            g->used_ms = now;
        uint64_t expire = g->state.settings.expire_ms;
        if (expire == 0 || (uint64_t)(now - g->used_ms) < expire)
            continue;
        say_info("groups", "a group that was not used is deleted topic=%s group=%s", g->topic_name, g->name);
        if (groups_delete(gs, g, &want) < 0)
            return;
        at = 0;
    }
}

/* Removes files below the oldest of the newest snapshots. One that is not committed replaces nothing. */
static void remove_files(struct groups *gs, struct topic *log)
{
    struct held_group *g;
    struct journal_info info;
    uint64_t oldest = gs->applied;
    if (gs->applied > topic_readable(log))
        return;
    for (size_t at = 0; (g = map_next(&gs->by_key, &at)) != NULL;)
        oldest = least(oldest, g->snapshot_at);
    journal_info(log->journal, &info);
    if (oldest > info.first && oldest < info.tail)
        journal_apply_retention(log->journal, &(struct retain){.messages = info.tail - oldest}, groups_now_ms(gs),
                                topic_readable(log));
}

void groups_trim(struct groups *gs)
{
    struct topic *log = groups_log(gs);
    struct held_group *g;
    struct journal_info info;
    uint64_t size = 0;
    if (log == NULL)
        return;
    readers_trim(gs);
    passed_note(gs);
    remove_files(gs, log);
    if (gs->led_epoch == 0)
        return;
    if (!topics_have_unapplied(gs->topics))
        remove_orphans(gs);
    remove_expired(gs);
    journal_info(log->journal, &info);
    for (size_t at = 0; (g = map_next(&gs->by_key, &at)) != NULL;)
        size += g->size;
    if (info.bytes <= GROUP_LOG_GROWTH + 3 * size)
        return;
    for (size_t at = 0; (g = map_next(&gs->by_key, &at)) != NULL;)
        if (snapshot(gs, g) < 0)
            return;
}
