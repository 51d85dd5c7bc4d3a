/* The log of access tokens: what each turn makes of it, and changes of it. */
#include "base/err.h"
#include "base/least.h"
#include "base/mem.h"
#include "base/say.h"
#include "broker/access/access.h"
#include "broker/access/access_struct.h"

enum { RECORD_COST = 512 };          /* bytes of a token's record, about */

struct topic *access_log(struct access *a)
{
    return topics_find_again(a->topics, SLICE(ACCESS_LOG_NAME), &a->log);
}

/* ---- reading ---- */

static void chunk_take(struct access *a, slice chunk)
{
    while (chunk.n > 0) {
        struct batch_head head;
        struct message m;
        if (batch_head_read(chunk.p, &head) < 0)
            return;
        slice messages = batch_messages(chunk.p, &head);
        for (uint64_t at = head.first; message_read(&messages, &m) == 0; at++)
            if (at >= a->applied)
                access_record_take(a, &m, at);
        a->applied = head.first + head.count;
        chunk = slice_skip(chunk, head.size);
    }
}

/* Applies all records below `to`. 0 or an error of journal_read. */
static int log_read(struct access *a, struct topic *log, uint64_t to)
{
    struct buf chunk = {0};
    int rc = 0;
    if (a->applied < topic_first(log))
        a->applied = topic_first(log);
    while (rc == 0 && a->applied < to) {
        uint64_t next, before = a->applied;
        buf_clear(&chunk);
        rc = journal_read(log->journal, a->applied, to, READ_SIZE_DEFAULT, &chunk, &next);
        if (rc == 0)
            chunk_take(a, buf_slice(&chunk));
        if (rc == 0 && a->applied == before)
            rc = -ERR_DAMAGED;
    }
    buf_fini(&chunk);
    return rc;
}

/* A log that was cut, or is another one, is read from its beginning. */
void access_turn(struct access *a)
{
    struct topic *log = access_log(a);
    if (log == NULL)
        return;
    a->made = true;
    bool same = a->cuts == log->cuts && a->log_id.epoch == log->id.epoch &&
                a->log_id.offset == log->id.offset;
    if (!same && a->applied > 0) {
        access_forget(a, &a->by_name);
        a->applied = 0;
    }
    a->cuts = log->cuts;
    a->log_id = log->id;
    uint64_t to = topic_readable(log);
    if (a->applied >= to)
        return;
    int rc = log_read(a, log, to);
    if (rc == 0)
        return;
    say_error("access", "cannot read " ACCESS_LOG_NAME ", and forgets all tokens that are made at run time: %s; "
              "`lignum verify` says more", err_sentence(rc));
    access_forget(a, &a->by_name);
    a->applied = to;
}

int access_open(struct topics *ts, struct access **out, struct buf *why)
{
    struct access *a = MEM_NEW(struct access);
    struct topic *log;
    a->topics = ts;
    map_init(&a->by_name);
    map_init(&a->declared);
    map_init(&a->by_hash);
    int rc = (log = access_log(a)) == NULL ? 0 : log_read(a, log, topic_readable(log));
    if (rc < 0) {
        buf_addf(why, "the log of access tokens (" ACCESS_LOG_NAME ") cannot be read: %s; `lignum verify` says more",
                 err_sentence(rc));
        access_close(a);
        return rc;
    }
    if (log != NULL) {
        a->made = true;
        a->cuts = log->cuts;
        a->log_id = log->id;
    }
    *out = a;
    return 0;
}

void access_close(struct access *a)
{
    access_forget(a, &a->by_name);
    access_forget(a, &a->declared);
    map_fini(&a->by_name);
    map_fini(&a->declared);
    map_fini(&a->by_hash);
    mem_free(a);
}

/* ---- changes ---- */

int access_make_log(struct access *a, uint64_t *want)
{
    struct topic_settings s = settings_default;
    s.replication = REPLICATION_LIVE;
    s.segment_bytes = ACCESS_LOG_SEGMENT;
    return topics_create_internal(a->topics, SLICE(ACCESS_LOG_NAME), &s, want);
}

static int record_append(struct access *a, slice record, uint64_t *want)
{
    struct topic *log = access_log(a);
    struct append batch = {.messages = record, .count = 1};
    uint64_t first;
    int rc = log == NULL ? -ERR_UNAVAILABLE : topics_append(log, &batch, &first);
    if (rc == 0)
        *want = first + 1;
    return rc;
}

/* Two clients may ask for the same name at once. Then the later record wins, and the secret of the earlier one is valid
 * for no longer than that takes. */
int access_add(struct access *a, const struct access_grant *g, uint64_t *want)
{
    struct buf record = {0};
    if (map_get(&a->declared, g->name) != NULL)
        return -ERR_CONFLICT;
    if (map_get(&a->by_name, g->name) != NULL)
        return -ERR_TOKEN_EXISTS;
    if (a->by_name.count >= ACCESS_TOKENS_MAX)
        return -ERR_TOO_MANY;
    access_record_write(&record, g, topics_date(a->topics));
    int rc = record_append(a, buf_slice(&record), want);
    buf_fini(&record);
    return rc;
}

int access_revoke(struct access *a, slice name, uint64_t *want)
{
    struct buf record = {0};
    if (map_get(&a->by_name, name) == NULL)
        return map_get(&a->declared, name) != NULL ? -ERR_CONFLICT : -ERR_UNKNOWN_TOKEN;
    access_record_revoke(&record, name);
    int rc = record_append(a, buf_slice(&record), want);
    buf_fini(&record);
    return rc;
}

/* ---- trimming ---- */

static void revoke_expired(struct access *a)
{
    struct access_token *t;
    uint64_t want;
    int64_t before = topics_date(a->topics) - ACCESS_EXPIRED_MS;
    for (size_t at = 0; (t = map_next(&a->by_name, &at)) != NULL;)
        if (t->expires_ms != 0 && t->expires_ms < before && access_revoke(a, slice_from(t->name), &want) < 0)
            return;
}

/* Writes each token again, so that the files before are superfluous. */
static void write_again(struct access *a)
{
    struct access_token *t;
    for (size_t at = 0; (t = map_next(&a->by_name, &at)) != NULL;) {
        struct access_grant g = {.name = slice_from(t->name), .topics = slice_from(t->topics), .may = t->may,
                                 .expires_ms = t->expires_ms};
        struct buf record = {0};
        uint64_t want;
        memcpy(g.hash, t->hash, sizeof(g.hash));
        access_record_write(&record, &g, t->made_ms);
        int rc = record_append(a, buf_slice(&record), &want);
        buf_fini(&record);
        if (rc < 0)
            return;
    }
}

void access_trim(struct access *a)
{
    struct topic *log = access_log(a);
    struct access_token *t;
    struct journal_info info;
    uint64_t oldest = a->applied;
    if (log == NULL || a->applied > topic_readable(log))
        return;
    journal_info(log->journal, &info);
    for (size_t at = 0; (t = map_next(&a->by_name, &at)) != NULL;)
        oldest = least(oldest, t->at);
    if (oldest > info.first && oldest < info.tail)
        journal_apply_retention(log->journal, &(struct retain){.messages = info.tail - oldest}, topics_date(a->topics),
                                topic_readable(log));
    if (!role_leads(topics_role(a->topics)) || a->applied < info.tail)
        return;
    revoke_expired(a);
    if (info.bytes > ACCESS_LOG_GROWTH + 3 * RECORD_COST * a->by_name.count)
        write_again(a);
}
