/* Asking for changes of topics, and what will hold once those under way have taken effect. */
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
    return c != NULL && c->kind != CHANGE_DELETE ? c->settings : t->settings;
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

static void count_copies(const struct topic_settings *s, unsigned *least_copies)
{
    if (s->replication == REPLICATION_LIVE && (*least_copies == 0 || s->copies < *least_copies))
        *least_copies = s->copies;
}

/* The smallest `copies` of any live topic once all changes under way have taken effect. */
static unsigned copies_to_be(const struct topics *ts)
{
    unsigned copies = 0;
    struct registry_cursor at = {0};
    for (const struct topic *t; (t = registry_next(&ts->all, &at)) != NULL;) {
        struct topic_settings s = topics_settings_to_be(ts, t);
        if (!topic_is_internal(t) && !is_leaving(ts, t))
            count_copies(&s, &copies);
    }
    for (const struct list *l = ts->log.changes.next; l != &ts->log.changes; l = l->next) {
        const struct change *c = LIST_OWNER(l, const struct change, link);
        if (c->kind == CHANGE_CREATE)
            count_copies(&c->settings, &copies);
    }
    return copies == 0 ? 1 : copies;
}

unsigned topics_copies_kept(const struct topics *ts)
{
    unsigned copies = topics_holdings(ts).copies_min;
    if (copies > 1 && !list_empty(&ts->log.changes))
        copies = (unsigned)least(copies, copies_to_be(ts));
    return copies;
}

static void hold_copies(const struct topic *t, struct holdings *h)
{
    if (topic_is_internal(t))
        return;
    count_copies(&t->settings, &h->copies_min);
    if (t->settings.replication == REPLICATION_LIVE && t->settings.copies > h->copies_max)
        h->copies_max = t->settings.copies;
}

struct holdings topics_holdings(const struct topics *ts)
{
    struct holdings h = {.empty = true, .unopened = ts->unopened.count > 0, .copies_min = 0, .copies_max = 1};
    h.lacks_topics = topic_first(ts->log.topic) > ts->log.applied.at;
    struct registry_cursor at = {0}, at_unopened = {0};
    for (const struct topic *t; (t = registry_next(&ts->all, &at)) != NULL;) {
        struct journal_info info;
        journal_info(t->journal, &info);
        h.empty = h.empty && info.tail == 0;
        h.damaged = h.damaged || info.damaged > 0;
        hold_copies(t, &h);
    }
    for (const struct topic *t; (t = registry_next(&ts->unopened, &at_unopened)) != NULL;)
        hold_copies(t, &h);
    if (h.copies_min == 0)
        h.copies_min = 1;
    return h;
}
