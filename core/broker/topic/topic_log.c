#include "broker/topic/topic_log.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/say.h"

/* ---- reading ---- */

bool topic_log_takes(slice name)
{
    bool internal = name.n > 1 && name.n <= TOPIC_NAME_MAX && name.p[0] == '_';
    return topic_name_ok(internal ? slice_skip(name, 1) : name);
}

int topic_log_read(const struct topic_log *log, uint64_t *from, uint64_t to, size_t bytes, topic_log_fn *fn, void *arg)
{
    struct buf chunk = {0};
    uint64_t next;
    if (*from >= to)
        return 0;
    int rc = journal_read(log->topic->journal, *from, to, bytes, &chunk, &next);
    if (rc == 0 && buf_size(&chunk) == 0)
        rc = -ERR_DAMAGED;
    for (slice rest = buf_slice(&chunk); rc == 0 && rest.n > 0;) {
        struct batch_head head;
        struct message m;
        rc = batch_head_read(rest.p, &head);
        if (rc < 0)
            break;
        slice messages = batch_messages(rest.p, &head);
        uint64_t end = head.first + head.count;
        for (uint64_t offset = head.first; offset < end && message_read(&messages, &m) == 0; offset++)
            if (offset >= *from && topic_log_takes(m.key))   /* a directory's name, perhaps from another node */
                fn(arg, &m, (struct topic_id){head.epoch, offset});
        *from = end;
        rest = slice_skip(rest, head.size);
    }
    buf_fini(&chunk);
    return rc;
}

int topic_log_read_all(const struct topic_log *log, uint64_t *from, uint64_t to, topic_log_fn *fn, void *arg)
{
    int rc = 0;
    while (rc == 0 && *from < to)
        rc = topic_log_read(log, from, to, READ_SIZE_DEFAULT, fn, arg);
    return rc;
}

/* Of a keep record, besides those of a create record. */
static const char *const keep_headers[] = {"id", "dependents", "gone"};

static bool keep_has(slice name)
{
    for (size_t i = 0; i < sizeof(keep_headers) / sizeof(keep_headers[0]); i++)
        if (slice_eq(name, slice_from(keep_headers[i])))
            return true;
    return false;
}

void topic_log_settings(const struct message *m, struct topic_settings *s)
{
    slice headers = m->headers, name, value;
    struct buf why = {0};
    while (header_read(&headers, &name, &value)) {
        if (!birth_has(name) && !keep_has(name) && settings_set(s, name, value, &why) < 0)
            say_warn("topics", "a record in " TOPIC_LOG_NAME " has a setting that is not understood: %.*s",
                     SLICE_ARGS(buf_slice(&why)));
        buf_clear(&why);
    }
    buf_fini(&why);
}

/* ---- writing ---- */

static void pair_write(void *arg, const char *name, slice text)
{
    header_write(arg, slice_from(name), text);
}

int topic_log_append(struct topic_log *log, const struct topic_record *r, uint64_t *want)
{
    struct buf headers = {0};
    struct buf record = {0};
    if (r->settings != NULL)          /* "set" names also those that it sets back to their defaults */
        settings_each(r->settings, r->birth != NULL ? &settings_default : NULL, pair_write, &headers);
    if (r->birth != NULL)
        birth_write(&headers, r->birth);
    struct message m = {.key = r->name, .headers = buf_slice(&headers), .payload = slice_from(r->what)};
    message_write(&record, &m);
    struct append a = {.messages = buf_slice(&record), .count = 1};
    uint64_t first;
    int rc = topic_append(log->topic, &a, &first);
    buf_fini(&headers);
    buf_fini(&record);
    if (rc == 0)
        *want = first + 1;
    return rc;
}

void topic_log_keep(struct buf *messages, const struct topic *t)
{
    struct topic_birth birth = topic_birth(t);
    struct buf headers = {0}, text = {0};
    buf_addf(&text, "%llu:%llu", (unsigned long long)t->id.epoch, (unsigned long long)t->id.offset);
    header_write(&headers, SLICE("id"), buf_slice(&text));
    if (t->dependents > 0) {
        buf_clear(&text);
        buf_addf(&text, "%u", t->dependents);
        header_write(&headers, SLICE("dependents"), buf_slice(&text));
    }
    if (t->gone)
        header_write(&headers, SLICE("gone"), SLICE("true"));
    settings_each(t->settings, &settings_default, pair_write, &headers);
    birth_write(&headers, &birth);
    struct message m = {.key = slice_from(t->name), .headers = buf_slice(&headers), .payload = SLICE("keep")};
    message_write(messages, &m);
    buf_fini(&headers);
    buf_fini(&text);
}

bool topic_log_kept(const struct message *m, struct topic_id *id, unsigned *dependents, bool *gone)
{
    uint64_t count = 0;
    slice text = header_named(m->headers, SLICE("dependents"));
    if (text.n > 0 && (slice_u64(text, &count) < 0 || count > UINT32_MAX))
        return false;
    *dependents = (unsigned)count;
    *gone = header_named(m->headers, SLICE("gone")).n > 0;
    return topic_id_read(header_named(m->headers, SLICE("id")), id);
}

/* ---- changes under way ---- */

void topic_log_remember(struct topic_log *log, slice name, enum change_kind kind, const struct topic_settings *settings,
                        uint64_t want)
{
    struct change *c = MEM_NEW(struct change);
    memcpy(c->name, name.p, name.n);
    c->kind = kind;
    if (settings != NULL)
        c->settings = *settings;
    c->want = want;
    list_push(&log->changes, &c->link);
    map_remove(&log->latest, name);
    map_put(&log->latest, slice_from(c->name), c);
    log->creations += kind == CHANGE_CREATE;
}

const struct change *topic_log_find(const struct topic_log *log, slice name)
{
    return map_get(&log->latest, name);
}

void topic_log_forget_below(struct topic_log *log, uint64_t offset)
{
    while (!list_empty(&log->changes)) {
        struct change *c = list_first(&log->changes, struct change, link);
        if (c->want > offset)
            break;
        list_remove(&c->link);
        if (topic_log_find(log, slice_from(c->name)) == c)
            map_remove(&log->latest, slice_from(c->name));
        log->creations -= c->kind == CHANGE_CREATE;
        mem_free(c);
    }
    if (log->latest.count == 0)
        map_clear(&log->latest);
}

static void record_remember(void *arg, const struct message *m, struct topic_id id)
{
    struct topic_settings settings = settings_default;
    enum change_kind kind = slice_eq(m->payload, SLICE("create")) ? CHANGE_CREATE
                          : slice_eq(m->payload, SLICE("set"))    ? CHANGE_SET
                                                                  : CHANGE_DELETE;
    if (kind == CHANGE_DELETE && !slice_eq(m->payload, SLICE("delete")))
        return;                       /* of a snapshot, which changes nothing */
    topic_log_settings(m, &settings);
    topic_log_remember(arg, m->key, kind, &settings, id.offset + 1);
}

void topic_log_begin(struct topic_log *log)
{
    uint64_t from = log->applied.at;
    topic_log_forget_below(log, UINT64_MAX);
    int rc = topic_log_read_all(log, &from, log->topic->tail.at, record_remember, log);
    log->unread = rc < 0;
    if (rc < 0)
        say_error("topics", "cannot read back " TOPIC_LOG_NAME ": %s; `lignum verify` says more", err_sentence(rc));
}

bool topic_log_pending(const struct topic_log *log, const struct topic *t)
{
    if (t->shared->role->kind != ROLE_LEADER || log->applied.at >= log->topic->lead->begun)
        return false;
    return log->unread || topic_log_find(log, slice_from(t->name)) != NULL;
}
