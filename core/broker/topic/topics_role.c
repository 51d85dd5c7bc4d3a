/* What holds for all topics together: their date, retention, and what the node's role and its end mean for them. */
#include "base/clock.h"
#include "base/err.h"
#include "base/say.h"
#include "broker/topic/topics.h"
#include "broker/topic/topics_struct.h"

int64_t topics_date(struct topics *ts)
{
    return wall_clock_now(ts->shared.clock);
}

bool topics_date_is_guess(const struct topics *ts)
{
    return ts->shared.clock->least;
}

/* The date, for retention by age. A leader's clock dates the messages, and a follower's may show another date: a
 * follower goes by the date of the last message and the time since it came, if that is earlier. */
static int64_t date_of(struct topics *ts, const struct topic *t)
{
    int64_t ours = topics_date(ts), leaders = journal_date(t->journal);
    return ts->shared.role->kind == ROLE_FOLLOWER && leaders < ours ? leaders : ours;
}

enum trimmed topics_trim(struct topics *ts)
{
    struct topic *t = NULL;
    if (ts->trim_at == 0)
        ts->trim_some = false;
    for (unsigned i = 0; i < TRIM_STEP && (t = registry_at(&ts->all, ts->trim_at)) != NULL; i++) {
        ts->trim_at++;
        struct retain keep = t->settings->retain;
        if (t == ts->log.topic && ts->log.snapshot.first > topic_first(t))
            keep.messages = t->tail.at - ts->log.snapshot.first;
        if (t->settings->retain_groups)
            keep.passed = topic_passed(t);
        else if (keep.age_ms == 0 && keep.bytes == 0 && keep.messages == 0)
            continue;
        ts->trim_some = true;
        int files = journal_apply_retention(t->journal, &keep, date_of(ts, t), topic_readable(t));
        if (files > 0)
            say_info("topics", "retention removed files topic=%s files=%d first=%llu", t->name, files,
                     (unsigned long long)topic_first(t));
    }
    if (t != NULL)
        return TRIMMED_SOME;
    ts->trim_at = 0;
    return ts->trim_some ? TRIMMED_ALL : TRIMMED_NOTHING;
}

struct expiry *topics_expiry(struct topics *ts)
{
    return &ts->expiry;
}

int topics_may_append(const struct topic *t)
{
    const struct topics *ts = t->topics;
    const struct role *role = ts->shared.role;
    if (ts->stopping)
        return -ERR_STOPPING;
    if (t->deleting || t->gone)
        return -ERR_UNKNOWN_TOPIC;
    if (!role_leads(role) || ts->held)
        return -ERR_NOT_LEADER;
    if (role->kind == ROLE_LEADER && !role_lease_valid(role, clock_ns()))
        return -ERR_UNCONFIRMED;
    if (topic_log_pending(&ts->log, t))
        return -ERR_UNAVAILABLE;
    if (t->settings->replication == REPLICATION_LIVE && t->settings->copies > role_copies(role))
        return -ERR_NO_COPIES;
    return 0;
}

int topics_append(struct topic *t, struct append *a, uint64_t *first)
{
    int rc = topics_may_append(t);
    return rc < 0 ? rc : topic_append(t, a, first);
}

void topics_set_hooks(struct topics *ts, const struct topic_hooks *hooks)
{
    ts->shared.hooks = hooks;
}

void topics_settle(struct topics *ts)
{
    struct order_cursor at = {0};
    for (struct topic *t; (t = registry_next(&ts->all, &at)) != NULL;)
        topic_settle(t);
}

void topics_begin(struct topics *ts)
{
    journal_flush(ts->log.topic->journal);   /* reading covers what is written, and the tail may be above that */
    topic_log_begin(&ts->log);
}

void topics_fail(struct topics *ts, int rc)
{
    topic_log_forget_below(&ts->log, UINT64_MAX);
    mark_fail(&ts->log.applied, rc);
    struct order_cursor at = {0}, at_unopened = {0};
    for (struct topic *t; (t = registry_next(&ts->all, &at)) != NULL;) {
        t->deleting = false;
        topic_fail(t, rc);
    }
    for (struct topic *t; (t = registry_next(&ts->unopened, &at_unopened)) != NULL;)
        t->deleting = false;
}

void topics_set_most(struct topics *ts, size_t most)
{
    ts->most = most;
}

void topics_stop(struct topics *ts)
{
    ts->stopping = true;
}

void topics_hold(struct topics *ts, bool hold)
{
    ts->held = hold;
}
