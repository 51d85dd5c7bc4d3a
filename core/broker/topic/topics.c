#include "broker/topic/topic_log.h"

#include "base/clock.h"
#include "base/ensure.h"
#include "base/err.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/say.h"
#include "broker/topic/registry.h"

struct topic *topics_find(struct topics *ts, slice name)
{
    return map_get(&ts->all.by_name, name);
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
    return i < ts->all.count ? ts->all.sorted[i] : NULL;
}

struct topic *topics_log(struct topics *ts)
{
    return ts->log;
}

struct topic *topic_add(struct topics *ts, slice name, struct topic_id id, const struct topic_settings *settings)
{
    ENSURE(name.n <= TOPIC_NAME_MAX);
    struct topic *t = MEM_NEW(struct topic);
    memcpy(t->name, name.p, name.n);
    t->topics = ts;
    t->id = id;
    t->settings = *settings;
    list_init(&t->feeds);
    list_init(&t->unshipped);
    list_init(&t->placing);
    registry_add(&ts->all, t);
    return t;
}

/* ---- journals ---- */

struct journal_options journal_options_of(const struct topic *t)
{
    return (struct journal_options){
        .id = t->id,
        .segment_messages = t->settings.segment_messages,
        .segment_bytes = t->settings.segment_bytes,
        .segment_age_ms = t->settings.segment_age_ms,
        .durability = t->settings.durability,
    };
}

/* What a node alone has is committed. In a cluster a node knows what every member had only from what records of a live
 * topic state (and that retention removes nothing else); of a `wal` topic it holds only what was acknowledged
 * (topic_shippable), so readers may have all. */
static void marks_begin(const struct topics *ts, struct topic *t)
{
    struct journal_info info;
    journal_info(t->journal, &info);
    bool alone = ts->role->kind == ROLE_ALONE, live = t->settings.replication == REPLICATION_LIVE;
    uint64_t stated = live && info.stated < info.first ? info.first : info.stated;
    mark_init(&t->tail, info.tail);
    mark_init(&t->written, info.written);
    mark_init(&t->disk, info.disk);
    mark_init(&t->peers, alone ? info.disk : stated);
    mark_init(&t->readable, alone || !live ? info.disk : stated);
    t->told_readable = t->readable.at;
    t->told_peers = t->peers.at;
    t->begun = t->ship = t->sealed = info.tail;
    t->begun_ns = clock_ns();
}

int topic_open_journal(struct topics *ts, struct topic *t)
{
    struct journal_options o = journal_options_of(t);
    int rc = journal_open(ts->store, topic_name(t), &o, &t->journal);
    if (rc == -ERR_TOPIC_EXISTS) {   /* deleted and created anew, and a crash before the directory was removed */
        rc = store_set_aside(ts->store, topic_name(t));
        if (rc == 0)
            rc = journal_open(ts->store, topic_name(t), &o, &t->journal);
    }
    if (rc < 0)
        return rc;
    marks_begin(ts, t);
    journal_set_owner(t->journal, t);
    if (ts->hooks != NULL)
        ts->hooks->opened(ts->hooks->arg, t);
    topic_settle(t);
    return 0;
}

void topics_moved(void *owner, uint64_t written, uint64_t disk)
{
    topic_moved(owner, written, disk);
}

/* First of all nobody is told any more that its marks rise: deleting waits for a sync that is under way. */
void topic_drop(struct topics *ts, struct topic *t)
{
    registry_remove(&ts->all, t);
    if (t->journal != NULL)
        journal_set_owner(t->journal, NULL);
    if (ts->hooks != NULL)
        ts->hooks->dropped(ts->hooks->arg, t);
    topic_fail(t, -ERR_UNKNOWN_TOPIC);
    mark_fail(&t->readable, -ERR_UNKNOWN_TOPIC);
    int rc = t->journal == NULL ? 0 : journal_delete(t->journal);
    if (rc < 0)
        say_error("topics", "cannot remove a deleted topic's directory topic=%s error=%s", t->name, err_sentence(rc));
    mem_free(t);
}

/* ---- opening and closing ---- */

/* A crash between the delete's commit and the removal of the directory leaves it behind: the record decides. */
static void leftover_remove(struct topics *ts, slice name)
{
    struct topic *t = map_get(&ts->deleted, name);
    if (t == NULL) {
        say_warn("topics", "a directory has no record in " LOG_NAME " and is left alone directory=%.*s",
                 SLICE_ARGS(name));
        return;
    }
    struct journal_options o = journal_options_of(t);
    if (journal_open(ts->store, name, &o, &t->journal) == 0)
        journal_delete(t->journal);
}

static void leftovers_remove(struct topics *ts)
{
    slice name;
    for (size_t at = 0; store_next_name(ts->store, &at, &name);)
        if (topics_find(ts, name) == NULL)
            leftover_remove(ts, name);
    struct topic *t;
    for (size_t at = 0; (t = map_next(&ts->deleted, &at)) != NULL;)
        mem_free(t);
    map_fini(&ts->deleted);
}

static int journals_open(struct topics *ts, struct buf *why)
{
    for (size_t i = 0; i < ts->all.count; i++) {
        struct topic *t = ts->all.sorted[i];
        int rc = t == ts->log ? 0 : topic_open_journal(ts, t);
        if (rc < 0) {
            buf_addf(why, "topic %s: %s", t->name, err_sentence(rc));
            return rc;
        }
    }
    return 0;
}

int topics_open(struct store *s, struct role *role, struct topics **out, struct buf *why)
{
    struct topics *ts = MEM_NEW(struct topics);
    ts->store = s;
    ts->role = role;
    registry_init(&ts->all);
    map_init(&ts->deleted);
    list_init(&ts->changes);
    ts->opening = true;
    int rc = changes_open(ts);
    if (rc < 0)
        buf_addf(why, "the log of topics (" LOG_NAME ") cannot be read: %s; `lignum verify` says more",
                 err_sentence(rc));
    if (rc == 0)
        rc = journals_open(ts, why);
    if (rc < 0) {
        topics_close(ts);
        return rc;
    }
    ts->opening = false;
    leftovers_remove(ts);
    *out = ts;
    return 0;
}

void topics_close(struct topics *ts)
{
    changes_forget(ts, UINT64_MAX);
    for (size_t i = 0; i < ts->all.count; i++) {
        if (ts->all.sorted[i]->journal != NULL)
            journal_set_owner(ts->all.sorted[i]->journal, NULL);
        mem_free(ts->all.sorted[i]);
    }
    registry_fini(&ts->all);
    mem_free(ts);
}

/* ---- the rest ---- */

bool topics_trim(struct topics *ts)
{
    bool some = false;
    for (size_t i = 0; i < ts->all.count; i++) {
        struct topic *t = ts->all.sorted[i];
        const struct retain *keep = &t->settings.retain;
        if (keep->age_ms == 0 && keep->bytes == 0 && keep->messages == 0)
            continue;
        some = true;
        int files = journal_apply_retention(t->journal, keep, clock_wall_ms());
        if (files > 0)
            say_info("topics", "retention removed files topic=%s files=%d first=%llu", t->name, files,
                     (unsigned long long)topic_first(t));
    }
    return some;
}

int topics_may_append(const struct topic *t)
{
    const struct role *role = t->topics->role;
    if (t->topics->stopping)
        return -ERR_STOPPING;
    if (t->deleting)
        return -ERR_UNKNOWN_TOPIC;
    if (!role_leads(role))
        return -ERR_NOT_LEADER;
    if (role->kind == ROLE_LEADER && !role_lease_valid(role, clock_ns()))
        return -ERR_UNCONFIRMED;
    if (changes_pending(t->topics, t))
        return -ERR_UNAVAILABLE;
    if (t->settings.replication == REPLICATION_LIVE && t->settings.copies > role_copies(role))
        return -ERR_NO_COPIES;
    return 0;
}

struct role *topics_role(const struct topics *ts)
{
    return ts->role;
}

void topics_set_hooks(struct topics *ts, const struct topic_hooks *hooks)
{
    ts->hooks = hooks;
}

const struct topic_hooks *topics_hooks(const struct topics *ts)
{
    return ts->hooks;
}

void topics_settle(struct topics *ts)
{
    for (size_t i = 0; i < ts->all.count; i++)
        topic_settle(ts->all.sorted[i]);
}

void topics_fail(struct topics *ts, int rc)
{
    changes_forget(ts, UINT64_MAX);
    for (size_t i = 0; i < ts->all.count; i++) {
        ts->all.sorted[i]->deleting = false;
        topic_fail(ts->all.sorted[i], rc);
    }
}

bool topics_undone(const struct topics *ts)
{
    return ts->applied > ts->log->tail.at;
}

struct holdings topics_holdings(const struct topics *ts)
{
    struct holdings h = {.empty = true, .copies_min = 0};
    for (size_t i = 0; i < ts->all.count; i++) {
        const struct topic *t = ts->all.sorted[i];
        struct journal_info info;
        journal_info(t->journal, &info);
        h.empty = h.empty && info.tail == 0;
        h.damaged = h.damaged || info.damaged > 0;
        bool counts = t != ts->log && t->settings.replication == REPLICATION_LIVE;
        if (counts && (h.copies_min == 0 || t->settings.copies < h.copies_min))
            h.copies_min = t->settings.copies;
    }
    if (h.copies_min == 0)
        h.copies_min = 1;
    return h;
}

void topics_stop(struct topics *ts)
{
    ts->stopping = true;
}
