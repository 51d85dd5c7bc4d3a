#include "broker/topic/topics.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/say.h"
#include "broker/topic/topics_struct.h"
#include "store/recovery/open.h"
#include "store/replication/truncate.h"

struct topic *topics_find(struct topics *ts, slice name)
{
    return map_get(&ts->all.by_name, name);
}

struct topic *topics_find_again(struct topics *ts, slice name, struct topic_found *found)
{
    if (found->changes != ts->all.changes)
        *found = (struct topic_found){ts->all.changes, topics_find(ts, name)};
    return found->topic;
}

struct topic *topic_deref(struct topics *ts, struct topic_ref ref)
{
    return registry_deref(&ts->all, ref);
}

size_t topics_count(const struct topics *ts)
{
    return ts->all.count;
}

struct topic *topics_at(struct topics *ts, size_t i)
{
    return registry_at(&ts->all, i);
}

size_t topics_below(const struct topics *ts, slice name, bool equal)
{
    return registry_below(&ts->all, name, equal);
}

struct topic *topics_log(struct topics *ts)
{
    return ts->log.topic;
}

struct role *topics_role(const struct topics *ts)
{
    return ts->shared.role;
}

/* ---- one topic ---- */

static bool are_equal(const void *a, const void *b)
{
    return settings_equal(a, b);
}

int topics_find_unopened(struct topics *ts, slice name, struct topic **out)
{
    struct topic *t = map_get(&ts->unopened.by_name, name);
    if (t == NULL)
        return -ERR_UNKNOWN_TOPIC;
    *out = t;
    return topic_open_late(ts, t);
}

bool topics_open_late(struct topics *ts)
{
    for (size_t i = ts->unopened.count; i > 0; i--)
        topic_open_late(ts, registry_at(&ts->unopened, i - 1));
    return ts->unopened.count > 0;
}

struct topic *topics_find_any(struct topics *ts, slice name)
{
    struct topic *t = topics_find(ts, name);
    return t != NULL ? t : map_get(&ts->unopened.by_name, name);
}

struct topic *topics_by_id(const struct topics *ts, struct topic_id id)
{
    return order_find(&ts->by_id, &(struct order_key){.id = id});
}

/* ---- records taking effect ---- */

void topics_add(struct topics *ts, struct topic *t)
{
    registry_add(&ts->all, t);
    order_add(&ts->by_id, t);
    if (!t->gone)
        topics_count_copies(ts, t, true);
    if (ts->opening)
        return;
    int rc = topic_open_journal(ts, t);
    if (rc == 0)
        return;
    say_error("topics", "cannot open a new topic's directory, and tries again topic=%s error=%s", t->name,
              err_sentence(rc));
    registry_remove(&ts->all, t);
    registry_add(&ts->unopened, t);
}

static void apply_create(struct topics *ts, const struct message *m, struct topic_id id)
{
    if (topics_find_any(ts, m->key) != NULL)
        return;                   /* two clients asked at once: the first record made it */
    struct topic_settings settings = settings_default;
    topic_log_settings(m, &settings);
    struct topic *t = topic_new(ts, m->key, id, &settings);
    birth_read(t, m);
    if (topic_has_source(t)) {
        struct topic *source = topics_by_id(ts, t->birth->source);
        if (source == NULL || source->gone) {   /* its delete record came first */
            topic_free(t);
            return;
        }
        source->dependents++;
    }
    topics_add(ts, t);
}

static void apply_set(struct topics *ts, const struct message *m)
{
    struct topic *t = topics_find_any(ts, m->key);
    if (t == NULL)
        return;
    struct topic_settings settings = *t->settings;
    topic_log_settings(m, &settings);
    if (!t->gone)
        topics_count_copies(ts, t, false);
    topic_set_settings(t, &settings);
    if (!t->gone)
        topics_count_copies(ts, t, true);
    if (t->journal == NULL)
        return;
    struct journal_options o = topic_journal_options(t);
    journal_set_options(t->journal, &o);
    expiry_begin(&ts->expiry, t);
    topic_used(t);
    topic_settle(t);
}

/* Removes a topic that no other has as its source. */
static void topic_remove(struct topics *ts, struct topic *t)
{
    if (!ts->opening) {
        topic_drop(ts, t);
        return;
    }
    registry_remove(&ts->all, t);
    order_remove(&ts->by_id, t);
    struct topic *before = map_remove(&ts->deleted, slice_from(t->name));
    topic_free(before);
    map_put(&ts->deleted, slice_from(t->name), t);
}

/* With the last dependent of a topic that is gone the topic goes, too, and so on along its sources. */
static void apply_delete(struct topics *ts, const struct message *m)
{
    struct topic *t = topics_find_any(ts, m->key);
    if (t == NULL || t->gone)
        return;
    topics_count_copies(ts, t, false);
    if (t->dependents > 0) {
        t->gone = true;
        t->deleting = false;
        expiry_end(&ts->expiry, t);
        return;
    }
    for (bool more = true; more;) {
        struct topic *source = topic_has_source(t) ? topics_by_id(ts, t->birth->source) : NULL;
        more = source != NULL && --source->dependents == 0 && source->gone;
        topic_remove(ts, t);
        t = source;
    }
}

static void record_apply(void *arg, const struct message *m, struct topic_id id)
{
    struct topics *ts = arg;
    bool snapshot = snapshot_record(ts, m, id.offset);
    if (slice_eq(m->payload, SLICE("create")))
        apply_create(ts, m, id);
    else if (slice_eq(m->payload, SLICE("set")))
        apply_set(ts, m);
    else if (slice_eq(m->payload, SLICE("delete")))
        apply_delete(ts, m);
    else if (!snapshot)
        say_error("topics", "a record in " TOPIC_LOG_NAME " is not understood offset=%llu",
                  (unsigned long long)id.offset);
}

static void read_or_die(int rc)
{
    if (rc < 0)
        say_fatal(EXIT_IO, "topics",
                  "cannot read back " TOPIC_LOG_NAME ", which was just written: %s; run `lignum verify`",
                  err_sentence(rc));
}

/* Have all records taken effect that are here, and that a follower's leader has? Its list may have been cut, for being
 * damaged, and come again. */
static bool know_all(const struct topics *ts)
{
    uint64_t applied = ts->log.applied.at;
    bool follows = ts->shared.role->kind == ROLE_FOLLOWER;
    return applied >= ts->log.topic->tail.at && (!follows || applied >= ts->leaders_end);
}

/* Once all records are known, every topic that has files is open, but for those that cannot be. */
static void note_opened(struct topics *ts)
{
    if (!ts->opens_more || ts->log.state != TOPIC_LOG_WHOLE || !know_all(ts) || ts->unopened.count > 0)
        return;
    ts->opens_more = false;
    store_opened(ts->store);
}

bool topics_apply(struct topics *ts)
{
    struct topic_log *log = &ts->log;
    uint64_t committed = topic_readable(log->topic), applied = log->applied.at;
    bool took = topic_first(log->topic) > applied;
    if (took) {
        read_or_die(snapshot_take(ts, &ts->taking_more));
        if (log->state != TOPIC_LOG_WHOLE)
            return ts->taking_more;
        if (ts->shared.hooks != NULL)
            journal_note_stated(log->topic->journal, log->applied.at, true);
        applied = log->applied.at;
        ts->strays = true;
    } else if (log->state != TOPIC_LOG_WHOLE) {
        log->state = TOPIC_LOG_WHOLE;
        log->snapshot = (struct topic_log_snapshot){0};
    }
    if (ts->strays && know_all(ts))
        topics_remove_leftovers(ts);
    note_opened(ts);
    if (applied >= committed)
        return took;
    read_or_die(topic_log_read(log, &applied, committed, TOPIC_LOG_STEP, record_apply, ts));
    topic_log_forget_below(log, applied);
    mark_advance(&log->applied, applied);
    if (ts->shared.hooks != NULL)
        journal_note_stated(log->topic->journal, applied, true);   /* for a restart while no node leads */
    snapshot_append(ts);
    return true;
}

bool topics_have_unapplied(const struct topics *ts)
{
    bool whole = topic_first(ts->log.topic) <= ts->log.applied.at;
    return whole ? ts->log.applied.at < topic_readable(ts->log.topic) : ts->taking_more;
}

void topics_note_leader(struct topics *ts, uint64_t end)
{
    ts->leaders_end = end;
}

bool topics_lack_snapshot(const struct topics *ts)
{
    const struct topic_log *log = &ts->log;
    return topic_first(log->topic) > log->applied.at && log->state != TOPIC_LOG_TAKING;
}

bool topics_undone(const struct topics *ts)
{
    uint64_t applied = ts->log.applied.at;
    bool whole = ts->log.state == TOPIC_LOG_WHOLE, known = ts->all.count + ts->unopened.count > 1;
    bool begins_later = whole ? topic_first(ts->log.topic) > applied : ts->log.snapshot.cuts != ts->log.topic->cuts;
    return applied > ts->log.topic->tail.at || (known && begins_later);
}

struct mark *topics_applied(struct topics *ts)
{
    return &ts->log.applied;
}

int topics_check_unknown(struct topics *ts, const struct topic_token *token)
{
    const struct role *r = ts->shared.role;
    bool passed = token->names_topic && ts->log.applied.at > token->topic;   /* created and deleted since */
    bool knows = r->kind == ROLE_ALONE || (r->kind == ROLE_LEADER && token->epoch <= r->epoch);
    return passed || (knows && !token->names_topic) || r->kind == ROLE_ALONE ? 0 : -ERR_UNAVAILABLE;
}

/* ---- opening and closing ---- */

/* A crash between a delete's commit and the removal of its directory leaves the directory behind. It is removed if its
 * record says so. One without any record is not ours to remove; where the beginning of the log was removed, it is of a
 * topic that was deleted, and goes to diverged/. But its record may be one that is not known to be committed, as after
 * a start, or has yet to come: so that waits for know_all. */
void topics_remove_leftovers(struct topics *ts)
{
    slice name;
    struct topic *t;
    bool lacks = topic_first(ts->log.topic) > 0, all = know_all(ts);
    ts->strays = false;
    for (size_t at = 0; store_next_name(ts->store, &at, &name);) {
        if (topics_find_any(ts, name) != NULL)
            continue;
        t = map_get(&ts->deleted, name);
        if (t == NULL && lacks && !all)
            ts->strays = true;
        else if (t == NULL && !(lacks && topic_log_takes(name) && store_set_aside(ts->store, name) == 0))
            say_warn("topics", "a directory has no record in " TOPIC_LOG_NAME " and is left alone directory=%.*s",
                     SLICE_ARGS(name));
        if (t == NULL)
            continue;
        struct journal_options o = topic_journal_options(t);
        if (journal_open(ts->store, name, &o, &t->journal) == 0)
            journal_delete(t->journal);
    }
    for (size_t at = 0; (t = map_next(&ts->deleted, &at)) != NULL;)
        topic_free(t);
    map_fini(&ts->deleted);
    map_init(&ts->deleted);
}

static int log_open(struct topics *ts)
{
    struct topic_settings settings = settings_default;
    settings.replication = REPLICATION_LIVE;
    settings.segment_bytes = TOPIC_LOG_SEGMENT;
    ts->log.topic = topic_new(ts, SLICE(TOPIC_LOG_NAME), (struct topic_id){0, 0}, &settings);
    registry_add(&ts->all, ts->log.topic);
    int rc = topic_open_journal(ts, ts->log.topic);
    for (bool more = rc == 0 && topic_first(ts->log.topic) > 0; rc == 0 && more;)
        rc = snapshot_take(ts, &more);
    if (rc < 0 || ts->log.state != TOPIC_LOG_WHOLE)
        return rc == 0 && ts->shared.role->kind == ROLE_ALONE ? -ERR_GONE : rc;
    return topic_log_read_all(&ts->log, &ts->log.applied.at, topic_readable(ts->log.topic), record_apply, ts);
}

static int journals_open(struct topics *ts, struct buf *why)
{
    struct order_cursor at = {0};
    for (struct topic *t; (t = registry_next(&ts->all, &at)) != NULL;) {
        int rc = t == ts->log.topic ? 0 : topic_open_journal(ts, t);
        if (rc < 0) {
            buf_addf(why, "topic %s: %s", t->name, err_sentence(rc));
            return rc;
        }
    }
    return 0;
}

static void clock_begin(struct topics *ts)
{
    struct order_cursor at = {0};
    for (const struct topic *t; (t = registry_next(&ts->all, &at)) != NULL;) {
        struct journal_info info;
        journal_info(t->journal, &info);
        if (info.last_time_ms > ts->newest_ms)
            ts->newest_ms = info.last_time_ms;
    }
    wall_clock_begin(&ts->clock, ts->newest_ms, clock_wall_ms(), clock_ns(), clock_is_set());
}

int topics_open(struct store *s, struct role *role, struct topics **out, struct buf *why)
{
    struct topics *ts = MEM_NEW(struct topics);
    ts->store = s;
    ts->shared.role = role;
    ts->shared.clock = &ts->clock;
    ts->shared.sums = &ts->sums;
    ts->most = TOPICS_MAX;
    ts->leaders_end = UINT64_MAX;
    registry_init(&ts->all);
    registry_init(&ts->unopened);
    order_init(&ts->by_id, order_by_id);
    map_init(&ts->deleted);
    mark_init(&ts->log.applied, 0);
    list_init(&ts->log.changes);
    map_init(&ts->log.latest);
    intern_init(&ts->settings, sizeof(struct topic_settings), are_equal);
    ts->opening = ts->opens_more = true;
    int rc = log_open(ts);
    if (rc < 0)
        buf_addf(why, "the log of topics (" TOPIC_LOG_NAME ") cannot be read: %s; `lignum verify` says more",
                 err_sentence(rc));
    if (rc == 0)
        rc = journals_open(ts, why);
    if (rc < 0) {
        topics_close(ts);
        return rc;
    }
    ts->opening = false;
    clock_begin(ts);
    if (ts->log.state == TOPIC_LOG_WHOLE)
        topics_remove_leftovers(ts);
    note_opened(ts);
    *out = ts;
    return 0;
}

void topics_close(struct topics *ts)
{
    topic_log_forget_below(&ts->log, UINT64_MAX);
    map_fini(&ts->log.latest);
    struct order_cursor at = {0}, at_unopened = {0};
    for (struct topic *t; (t = registry_next(&ts->all, &at)) != NULL;) {
        if (t->journal != NULL)
            journal_set_owner(t->journal, NULL);
        topic_free(t);
    }
    for (struct topic *t; (t = registry_next(&ts->unopened, &at_unopened)) != NULL;)
        topic_free(t);
    registry_fini(&ts->all);
    registry_fini(&ts->unopened);
    order_fini(&ts->by_id);
    expiry_fini(&ts->expiry);
    mem_free(ts);
}
