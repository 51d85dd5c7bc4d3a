#include "broker/topics.h"

#include <errno.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "base/err.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/say.h"
#include "broker/registry.h"

#define LOG_NAME "_topics"

/* A change whose record is appended and not yet applied. */
struct change {
    struct list link;
    char name[TOPIC_NAME_MAX + 1];
    struct topic_settings settings;
    uint64_t want;
    bool creates;
};

struct topics {
    struct store *store;          /* outlives us */
    struct role *role;            /* outlives us */
    struct registry all;
    struct topic *log;
    uint64_t applied;             /* records of the log below this have taken effect */
    struct list changes;          /* in the order of their records */
    struct map deleted;           /* while opening: topics whose directory should be gone */
    const struct topics_watch *watch;   /* or NULL: this node is alone */
    int create_failed;            /* why the last create that did not take effect did not */
    bool opening, stopping;
};

static slice topic_name(const struct topic *t)
{
    return slice_from(t->name);
}

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

static struct topic *topic_add(struct topics *ts, slice name, struct topic_id id, const struct topic_settings *settings)
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

static struct journal_options journal_options_of(const struct topic *t)
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
 * topic state; of a `wal` topic it holds only what was acknowledged (topic_shippable), so readers may have all. */
static void marks_begin(const struct topics *ts, struct topic *t)
{
    struct journal_info info;
    journal_info(t->journal, &info);
    bool alone = ts->role->kind == ROLE_ALONE, live = t->settings.replication == REPLICATION_LIVE;
    uint64_t stated = info.stated > info.first ? info.stated : info.first;
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

static int topic_open(struct topics *ts, struct topic *t)
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
    if (ts->watch != NULL)
        ts->watch->opened(ts->watch->arg, t);
    return 0;
}

void topics_moved(void *owner, uint64_t written, uint64_t disk)
{
    topic_moved(owner, written, disk);
}

static void topic_drop(struct topics *ts, struct topic *t)
{
    registry_remove(&ts->all, t);
    if (ts->watch != NULL)
        ts->watch->dropped(ts->watch->arg, t);
    topic_fail(t, -ERR_UNKNOWN_TOPIC);
    mark_fail(&t->readable, -ERR_UNKNOWN_TOPIC);
    int rc = t->journal == NULL ? 0 : journal_delete(t->journal);
    if (rc < 0)
        say_error("topics", "cannot remove a deleted topic's directory topic=%s error=%s", t->name, err_sentence(rc));
    mem_free(t);
}

/* ---- records taking effect ---- */

static void settings_read(struct topic_settings *s, slice headers)
{
    slice name;
    slice value;
    struct buf why = {0};
    while (header_read(&headers, &name, &value)) {
        if (settings_set(s, name, value, &why) < 0)
            say_warn("topics", "a record in " LOG_NAME " has a setting that is not understood: %.*s",
                     SLICE_ARGS(buf_slice(&why)));
        buf_clear(&why);
    }
    buf_fini(&why);
}

/* A later create of a name means that its delete took effect: what is left of the directory is not in the way. */
static void apply_create(struct topics *ts, const struct message *m, struct topic_id id)
{
    struct topic *before = topics_find(ts, m->key);
    if (before != NULL && !ts->opening)
        return;                   /* two asked at once: the first one made it */
    struct topic_settings settings = settings_default;
    settings_read(&settings, m->headers);
    if (before != NULL) {         /* its directory could not be made then; what is there belongs to the later create */
        before->id = id;
        before->settings = settings;
        return;
    }
    struct topic *t = topic_add(ts, m->key, id, &settings);
    if (ts->opening)
        return;
    int rc = topic_open(ts, t);
    if (rc == 0)
        return;
    say_error("topics", "cannot open a new topic's directory topic=%s error=%s", t->name, err_sentence(rc));
    ts->create_failed = rc;
    registry_remove(&ts->all, t);
    mem_free(t);
}

static void apply_set(struct topics *ts, const struct message *m)
{
    struct topic *t = topics_find(ts, m->key);
    if (t == NULL)
        return;
    settings_read(&t->settings, m->headers);
    if (ts->opening)
        return;
    struct journal_options o = journal_options_of(t);
    journal_set_options(t->journal, &o);
    topic_settle(t);
}

static void apply_delete(struct topics *ts, const struct message *m)
{
    struct topic *t = topics_find(ts, m->key);
    if (t == NULL)
        return;
    if (!ts->opening) {
        topic_drop(ts, t);
        return;
    }
    registry_remove(&ts->all, t);
    struct topic *before = map_remove(&ts->deleted, topic_name(t));
    mem_free(before);
    map_put(&ts->deleted, topic_name(t), t);
}

static void record_apply(struct topics *ts, const struct message *m, struct topic_id id)
{
    if (slice_eq(m->payload, SLICE("create")))
        apply_create(ts, m, id);
    else if (slice_eq(m->payload, SLICE("set")))
        apply_set(ts, m);
    else if (slice_eq(m->payload, SLICE("delete")))
        apply_delete(ts, m);
    else
        say_error("topics", "a record in " LOG_NAME " is not understood offset=%llu", (unsigned long long)id.offset);
}

static void batch_apply(struct topics *ts, slice bytes, const struct batch_head *head)
{
    slice messages = slice_of(bytes.p + BATCH_HEAD_SIZE, head->size - BATCH_HEAD_SIZE);
    struct message m;
    for (uint64_t offset = head->first; offset < head->first + head->count; offset++) {
        if (message_read(&messages, &m) < 0)
            break;
        if (offset >= ts->applied && topic_name_ok(m.key))   /* it becomes a directory, and may have come over a link */
            record_apply(ts, &m, (struct topic_id){head->epoch, offset});
    }
    ts->applied = head->first + head->count;
}

static int log_replay(struct topics *ts, uint64_t to)
{
    struct buf chunk = {0};
    int rc = 0;
    while (rc == 0 && ts->applied < to) {
        uint64_t next;
        buf_clear(&chunk);
        rc = journal_read(ts->log->journal, ts->applied, to, READ_SIZE_DEFAULT, &chunk, &next);
        for (slice rest = buf_slice(&chunk); rc == 0 && rest.n > 0;) {
            struct batch_head head;
            rc = batch_head_read(rest.p, &head);
            if (rc < 0)
                break;
            batch_apply(ts, rest, &head);
            rest = slice_skip(rest, head.size);
        }
    }
    buf_fini(&chunk);
    return rc;
}

/* ---- asking for changes ---- */

static void pair_write(void *arg, const char *name, slice text)
{
    header_write(arg, slice_from(name), text);
}

static int change_append(struct topics *ts, slice name, const char *what, const struct topic_settings *settings,
                         uint64_t *want)
{
    struct buf headers = {0};
    struct buf record = {0};
    if (settings != NULL)
        settings_each(settings, pair_write, &headers);
    struct message m = {.key = name, .headers = buf_slice(&headers), .payload = slice_from(what)};
    message_write(&record, &m);
    struct append a = {.messages = buf_slice(&record), .count = 1, .time_ms = clock_wall_ms()};
    uint64_t first;
    int rc = topic_append(ts->log, &a, &first);
    buf_fini(&headers);
    buf_fini(&record);
    if (rc == 0)
        *want = first + 1;
    return rc;
}

static void change_remember(struct topics *ts, slice name, const struct topic_settings *settings, uint64_t want)
{
    struct change *c = MEM_NEW(struct change);
    memcpy(c->name, name.p, name.n);
    c->creates = settings != NULL;
    if (settings != NULL)
        c->settings = *settings;
    c->want = want;
    list_push(&ts->changes, &c->link);
}

static void changes_forget(struct topics *ts, uint64_t below)
{
    while (!list_empty(&ts->changes)) {
        struct change *c = list_first(&ts->changes, struct change, link);
        if (c->want > below)
            break;
        list_remove(&c->link);
        mem_free(c);
    }
}

/* The last change of that name that is under way. */
static const struct change *change_find(const struct topics *ts, slice name)
{
    for (const struct list *l = ts->changes.prev; l != &ts->changes; l = l->prev) {
        const struct change *c = LIST_OWNER(l, const struct change, link);
        if (slice_eq(name, slice_from(c->name)))
            return c;
    }
    return NULL;
}

int topics_create(struct topics *ts, slice name, const struct topic_settings *settings, uint64_t *want)
{
    if (!topic_name_ok(name))
        return -ERR_BAD_TOPIC;
    const struct change *c = change_find(ts, name);
    if (c != NULL && c->creates) {
        if (!settings_equal(&c->settings, settings))
            return -ERR_TOPIC_EXISTS;
        *want = c->want;
        return 0;
    }
    if (c == NULL && topics_find(ts, name) != NULL)
        return -ERR_TOPIC_EXISTS;
    if (ts->all.count >= TOPICS_MAX)
        return -ERR_TOO_MANY;
    int rc = change_append(ts, name, "create", settings, want);
    if (rc == 0)
        change_remember(ts, name, settings, *want);
    return rc;
}

int topics_set(struct topics *ts, struct topic *t, const struct topic_settings *settings, uint64_t *want)
{
    if (t == ts->log)
        return -ERR_FORBIDDEN;
    if (t->deleting)
        return -ERR_UNKNOWN_TOPIC;
    return change_append(ts, topic_name(t), "set", settings, want);
}

int topics_delete(struct topics *ts, struct topic *t, uint64_t *want)
{
    if (t == ts->log)
        return -ERR_FORBIDDEN;
    if (t->deleting)
        return -ERR_UNKNOWN_TOPIC;
    int rc = change_append(ts, topic_name(t), "delete", NULL, want);
    if (rc < 0)
        return rc;
    t->deleting = true;
    change_remember(ts, topic_name(t), NULL, *want);
    return 0;
}

int topics_create_failed(const struct topics *ts)
{
    return ts->create_failed == -ENOSPC || ts->create_failed == -EDQUOT ? -ENOSPC : -ERR_INTERNAL;
}

bool topics_apply(struct topics *ts)
{
    uint64_t committed = topic_readable(ts->log);
    if (ts->applied >= committed)
        return false;
    int rc = log_replay(ts, committed);
    if (rc < 0)
        say_fatal(EXIT_IO, "topics", "cannot read back " LOG_NAME ", which was just written: %s; run `lignum verify`",
                  err_sentence(rc));
    changes_forget(ts, ts->applied);
    if (ts->watch != NULL)
        journal_note_stated(ts->log->journal, committed, true);   /* for a restart while nobody leads */
    return true;
}

/* ---- opening and closing ---- */

static int log_open(struct topics *ts)
{
    struct topic_settings settings = settings_default;
    settings.replication = REPLICATION_LIVE;
    ts->log = topic_add(ts, SLICE(LOG_NAME), (struct topic_id){0, 0}, &settings);
    int rc = topic_open(ts, ts->log);
    if (rc < 0)
        return rc;
    return log_replay(ts, topic_readable(ts->log));
}

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
        int rc = t == ts->log ? 0 : topic_open(ts, t);
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
    int rc = log_open(ts);
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
        int files = journal_trim(t->journal, keep, clock_wall_ms());
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
    if (role->kind == ROLE_LEADER && !role_confirmed(role, clock_ns()))
        return -ERR_UNCONFIRMED;
    if (t->settings.replication == REPLICATION_LIVE && t->settings.copies > role_copies(role))
        return -ERR_NO_COPIES;
    return 0;
}

struct role *topics_role(const struct topics *ts)
{
    return ts->role;
}

void topics_set_watch(struct topics *ts, const struct topics_watch *watch)
{
    ts->watch = watch;
}

const struct topics_watch *topics_watch(const struct topics *ts)
{
    return ts->watch;
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
