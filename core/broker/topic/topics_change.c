/* Asking for changes of topics, and what will hold once those under way have taken effect. */
#include <limits.h>

#include "base/err.h"
#include "base/least.h"
#include "broker/topic/topics.h"
#include "broker/topic/topics_struct.h"

static int change_append(struct topics *ts, const struct topic_record *r, uint64_t *want)
{
    int rc = topics_may_append(ts->log.topic);
    return rc < 0 ? rc : topic_log_append(&ts->log, r, want);
}

static int create(struct topics *ts, const struct topic_plan *plan, uint64_t *want)
{
    const struct change *c = topic_log_find(&ts->log, plan->name);
    const struct topic *t = topics_find_any(ts, plan->name);
    if (c != NULL && c->kind != CHANGE_DELETE) {
        if (!settings_equal(&c->settings, plan->settings))
            return -ERR_TOPIC_EXISTS;
        *want = c->want;
        return 0;
    }
    if (t != NULL && (c == NULL || t->dependents > 0))   /* one with dependents is not removed by its delete record */
        return -ERR_TOPIC_EXISTS;
    if (ts->all.count + ts->unopened.count + ts->log.creations >= ts->most)
        return -ERR_TOO_MANY_TOPICS;
    struct topic_record r = {plan->name, "create", plan->settings, &plan->birth};
    int rc = change_append(ts, &r, want);
    if (rc == 0)
        topic_log_remember(&ts->log, plan->name, CHANGE_CREATE, plan->settings, *want);
    return rc;
}

int topics_create_born(struct topics *ts, const struct topic_plan *plan, uint64_t *want)
{
    return topic_name_ok(plan->name) ? create(ts, plan, want) : -ERR_BAD_TOPIC;
}

int topics_create(struct topics *ts, slice name, const struct topic_settings *settings, uint64_t *want)
{
    return topics_create_born(ts, &(struct topic_plan){.name = name, .settings = settings}, want);
}

int topics_create_internal(struct topics *ts, slice name, const struct topic_settings *settings, uint64_t *want)
{
    return create(ts, &(struct topic_plan){.name = name, .settings = settings}, want);
}

/* Is it deleted once all changes under way have taken effect? */
static bool is_leaving(const struct topics *ts, const struct topic *t)
{
    const struct change *c = topic_log_find(&ts->log, slice_from(t->name));
    return t->deleting || t->gone || (c != NULL && c->kind == CHANGE_DELETE);
}

struct topic_settings topics_settings_to_be(const struct topics *ts, const struct topic *t)
{
    const struct change *c = topic_log_find(&ts->log, slice_from(t->name));
    return c != NULL && c->kind != CHANGE_DELETE ? c->settings : *t->settings;
}

int topics_set(struct topics *ts, struct topic *t, const struct topic_settings *settings, uint64_t *want)
{
    if (topic_is_internal(t))
        return -ERR_FORBIDDEN;
    if (is_leaving(ts, t))
        return -ERR_UNKNOWN_TOPIC;
    int rc = change_append(ts, &(struct topic_record){slice_from(t->name), "set", settings, NULL}, want);
    if (rc == 0)
        topic_log_remember(&ts->log, slice_from(t->name), CHANGE_SET, settings, *want);
    return rc;
}

int topics_delete(struct topics *ts, struct topic *t, uint64_t *want)
{
    if (topic_is_internal(t))
        return -ERR_FORBIDDEN;
    if (is_leaving(ts, t))
        return -ERR_UNKNOWN_TOPIC;
    int rc = change_append(ts, &(struct topic_record){slice_from(t->name), "delete", NULL, NULL}, want);
    if (rc < 0)
        return rc;
    t->deleting = true;
    topic_log_remember(&ts->log, slice_from(t->name), CHANGE_DELETE, NULL, *want);
    return 0;
}

/* ---- copies ---- */

void topics_count_copies(struct topics *ts, const struct topic *t, bool counts)
{
    if (t->settings->replication == REPLICATION_LIVE && !topic_is_internal(t))
        ts->sums.live[t->settings->copies] += counts ? 1 : UINT_MAX;
}

/* The smallest `copies` that a topic has, or 1. */
static unsigned least_copies(const unsigned live[COPIES_MAX + 1])
{
    for (unsigned copies = 1; copies <= COPIES_MAX; copies++)
        if (live[copies] > 0)
            return copies;
    return 1;
}

/* The same once all changes under way have taken effect. */
static unsigned copies_to_be(const struct topics *ts)
{
    unsigned live[COPIES_MAX + 1];
    memcpy(live, ts->sums.live, sizeof(live));
    for (const struct list *l = ts->log.changes.next; l != &ts->log.changes; l = l->next) {
        const struct change *c = LIST_OWNER(l, const struct change, link);
        const struct topic *t = map_get(&ts->all.by_name, slice_from(c->name));
        if (t == NULL)
            t = map_get(&ts->unopened.by_name, slice_from(c->name));
        if (c->name[0] == '_' || c != topic_log_find(&ts->log, slice_from(c->name)))
            continue;                /* a later one counts */
        if (t != NULL && !t->gone && t->settings->replication == REPLICATION_LIVE)
            live[t->settings->copies]--;
        if (c->kind != CHANGE_DELETE && c->settings.replication == REPLICATION_LIVE)
            live[c->settings.copies]++;
    }
    return least_copies(live);
}

unsigned topics_copies_kept(const struct topics *ts)
{
    unsigned copies = least_copies(ts->sums.live);
    if (copies > 1 && !list_empty(&ts->log.changes))
        copies = (unsigned)least(copies, copies_to_be(ts));
    return copies;
}

/* A node without a message has no record in _topics either. */
struct holdings topics_holdings(const struct topics *ts)
{
    struct holdings h = {
        .empty = ts->log.topic->tail.at == 0,
        .damaged = store_is_damaged(ts->store),
        .lacks_topics = topic_first(ts->log.topic) > ts->log.applied.at,
        .unopened = ts->unopened.count > 0,
        .copies_min = least_copies(ts->sums.live),
        .copies_max = 1,
    };
    for (unsigned copies = 1; copies <= COPIES_MAX; copies++)
        if (ts->sums.live[copies] > 0)
            h.copies_max = copies;
    return h;
}

/* ---- sums ---- */

const struct topic_sums *topics_sums(struct topics *ts)
{
    struct order_cursor at = {0};
    if (!ts->sums.cut)
        return &ts->sums;
    ts->sums.cut = false;
    ts->sums.epoch = 0;
    for (const struct topic *t; (t = registry_next(&ts->all, &at)) != NULL;)
        ts->sums.epoch = most(ts->sums.epoch, topic_last_epoch(t));
    return &ts->sums;
}

int64_t topics_newest_ms(const struct topics *ts)
{
    return ts->newest_ms;
}
