#include "broker/topic/topic_log.h"

#include <errno.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/say.h"

/* A change whose record is appended and not yet applied. */
struct change {
    struct list link;
    char name[TOPIC_NAME_MAX + 1];
    struct topic_settings settings;
    uint64_t want;
    bool creates;
};

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
    int rc = topic_open_journal(ts, t);
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

typedef void record_fn(struct topics *ts, const struct message *m, struct topic_id id);

static void batch_each(struct topics *ts, slice bytes, const struct batch_head *head, uint64_t from, record_fn *fn)
{
    slice messages = slice_of(bytes.p + BATCH_HEAD_SIZE, head->size - BATCH_HEAD_SIZE);
    struct message m;
    for (uint64_t offset = head->first; offset < head->first + head->count; offset++) {
        if (message_read(&messages, &m) < 0)
            break;
        if (offset >= from && topic_name_ok(m.key))   /* it becomes a directory, and may have come over a link */
            fn(ts, &m, (struct topic_id){head->epoch, offset});
    }
}

/* All written records from *from on; *from is then the offset after the last that was read. */
static int log_each(struct topics *ts, uint64_t *from, uint64_t to, record_fn *fn)
{
    struct buf chunk = {0};
    int rc = 0;
    while (rc == 0 && *from < to) {
        uint64_t next;
        buf_clear(&chunk);
        rc = journal_read(ts->log->journal, *from, to, READ_SIZE_DEFAULT, &chunk, &next);
        if (rc == 0 && buf_size(&chunk) == 0)
            rc = -ERR_DAMAGED;
        for (slice rest = buf_slice(&chunk); rc == 0 && rest.n > 0;) {
            struct batch_head head;
            rc = batch_head_read(rest.p, &head);
            if (rc < 0)
                break;
            batch_each(ts, rest, &head, *from, fn);
            *from = head.first + head.count;
            rest = slice_skip(rest, head.size);
        }
    }
    buf_fini(&chunk);
    return rc;
}

bool topics_apply(struct topics *ts)
{
    uint64_t committed = topic_readable(ts->log);
    if (ts->applied >= committed)
        return false;
    int rc = log_each(ts, &ts->applied, committed, record_apply);
    if (rc < 0)
        say_fatal(EXIT_IO, "topics", "cannot read back " LOG_NAME ", which was just written: %s; run `lignum verify`",
                  err_sentence(rc));
    changes_forget(ts, ts->applied);
    if (ts->hooks != NULL)
        journal_note_stated(ts->log->journal, committed, true);   /* for a restart while nobody leads */
    return true;
}

int changes_open(struct topics *ts)
{
    struct topic_settings settings = settings_default;
    settings.replication = REPLICATION_LIVE;
    ts->log = topic_add(ts, SLICE(LOG_NAME), (struct topic_id){0, 0}, &settings);
    int rc = topic_open_journal(ts, ts->log);
    if (rc < 0)
        return rc;
    return log_each(ts, &ts->applied, topic_readable(ts->log), record_apply);
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

void changes_forget(struct topics *ts, uint64_t below)
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

static void record_remember(struct topics *ts, const struct message *m, struct topic_id id)
{
    struct topic_settings settings = settings_default;
    bool creates = slice_eq(m->payload, SLICE("create"));
    if (creates)
        settings_read(&settings, m->headers);
    change_remember(ts, m->key, creates ? &settings : NULL, id.offset + 1);
}

void topics_begin(struct topics *ts)
{
    uint64_t from = ts->applied;
    store_flush(ts->store);          /* what is read is what is written */
    changes_forget(ts, UINT64_MAX);
    int rc = log_each(ts, &from, ts->log->tail.at, record_remember);
    ts->unread = rc < 0;
    if (rc < 0)
        say_error("topics", "cannot read back " LOG_NAME ": %s; `lignum verify` says more", err_sentence(rc));
}

bool changes_pending(const struct topics *ts, const struct topic *t)
{
    if (ts->role->kind != ROLE_LEADER || ts->applied >= ts->log->begun)
        return false;
    return ts->unread || t == ts->log || change_find(ts, topic_name(t)) != NULL;
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
