/* The life of one topic of the set: made, its journal opened at once or later, dropped. */
#include <errno.h>

#include "base/ensure.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/say.h"
#include "broker/topic/topics_struct.h"
#include "store/recovery/open.h"
#include "store/replication/truncate.h"

static void begin_replication(struct topic *t)
{
    t->lead = MEM_NEW(struct topic_lead);
    t->lead->topic = t;
    list_init(&t->lead->feeds);
    list_init(&t->lead->unshipped);
    t->follow = MEM_NEW(struct topic_follow);
    t->follow->topic = t;
    list_init(&t->follow->placing);
}

struct topic *topic_new(struct topics *ts, slice name, struct topic_id id, const struct topic_settings *settings)
{
    ENSURE(name.n <= TOPIC_NAME_MAX);
    struct topic *t = mem_new(offsetof(struct topic, name) + name.n + 1);
    memcpy(t->name, name.p, name.n);
    t->topics = ts;
    t->shared = &ts->shared;
    t->id = id;
    topic_set_settings(t, settings);
    if (ts->shared.role->kind != ROLE_ALONE)
        begin_replication(t);
    return t;
}

void topic_free(struct topic *t)
{
    if (t == NULL)
        return;
    intern_release(t->settings);
    birth_free(t);
    mem_free(t->lead);
    mem_free(t->follow);
    mem_free(t->groups);
    mem_free(t->use);
    mem_free(t);
}

void topic_set_settings(struct topic *t, const struct topic_settings *settings)
{
    const struct topic_settings *before = t->settings;
    t->settings = intern(&t->topics->settings, settings);
    intern_release(before);
}

struct journal_options topic_journal_options(const struct topic *t)
{
    return (struct journal_options){
        .id = t->id,
        .segment_messages = t->settings->segment_messages,
        .segment_bytes = t->settings->segment_bytes,
        .segment_age_ms = t->settings->segment_age_ms,
        .durability = t->settings->durability,
        .written_at_once = t->settings->replication == REPLICATION_LIVE,
        .dedupe_age_ms = t->settings->dedupe_age_ms,
        .dedupe_keys = t->settings->dedupe_keys,
    };
}

int topic_open_journal(struct topics *ts, struct topic *t)
{
    const struct topic_hooks *hooks = ts->shared.hooks;
    struct journal_options o = topic_journal_options(t);
    slice name = slice_from(t->name);
    int rc = journal_open(ts->store, name, &o, &t->journal);
    if (rc == -ERR_TOPIC_EXISTS) {   /* of a deleted topic of this name, left by a crash before it was removed */
        rc = store_set_aside(ts->store, name);
        if (rc == 0)
            rc = journal_open(ts->store, name, &o, &t->journal);
    }
    if (rc < 0)
        return rc;
    topic_begin_marks(t);
    journal_set_owner(t->journal, t);
    expiry_begin(&ts->expiry, t);
    if (hooks != NULL)
        hooks->opened(hooks->arg, t);
    topic_settle(t);
    return 0;
}

int topic_open_late(struct topics *ts, struct topic *t)
{
    registry_remove(&ts->unopened, t);
    registry_add(&ts->all, t);
    int rc = topic_open_journal(ts, t);
    if (rc == 0) {
        say_info("topics", "the directory of a topic could be opened again topic=%s", t->name);
        return 0;
    }
    registry_remove(&ts->all, t);
    registry_add(&ts->unopened, t);
    return rc == -ENOSPC || rc == -EDQUOT ? -ENOSPC : -ERR_STORAGE;
}

void topic_drop(struct topics *ts, struct topic *t)
{
    const struct topic_hooks *hooks = ts->shared.hooks;
    order_remove(&ts->by_id, t);
    if (t->journal == NULL) {
        registry_remove(&ts->unopened, t);
        topic_free(t);
        return;
    }
    registry_remove(&ts->all, t);
    ts->sums.messages -= t->disk.at;
    expiry_end(&ts->expiry, t);
    if (hooks != NULL)
        hooks->dropped(hooks->arg, t);
    topic_fail(t, -ERR_UNKNOWN_OUTCOME);   /* not ERR_UNKNOWN_TOPIC, at which a publish creates the topic and repeats */
    mark_fail(&t->readable, -ERR_UNKNOWN_TOPIC);
    journal_delete(t->journal);
    topic_free(t);
}
