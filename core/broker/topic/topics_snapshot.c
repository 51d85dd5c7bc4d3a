/* Snapshots in the log of topics: what a leader appends, and how a node begins with one. The rules are modelled in
 * tests/model/topics.pml; [m] marks them. */
#include "base/err.h"
#include "base/say.h"
#include "broker/topic/topics.h"
#include "broker/topic/topics_struct.h"

static bool is_word(const struct message *m, slice word)
{
    return slice_eq(m->payload, word);
}

/* ---- reading ---- */

static uint64_t size_of(const struct message *m)
{
    return MESSAGE_HEAD_SIZE + m->key.n + m->headers.n + m->payload.n;
}

bool snapshot_record(struct topics *ts, const struct message *m, uint64_t offset)
{
    struct topic_log_snapshot *s = &ts->log.snapshot;
    s->since += BATCH_HEAD_SIZE + size_of(m);
    if (is_word(m, SLICE("begin"))) {
        s->began = offset + 1;       /* one before it that has no end counts for nothing [m] */
        s->reading = 0;
    } else if (is_word(m, SLICE("keep"))) {
        s->reading += size_of(m);
    } else if (is_word(m, SLICE("end")) && s->began > 0) {
        s->first = s->began - 1;
        s->size = s->reading;
        s->since = s->again = s->began = 0;
    } else {
        return is_word(m, SLICE("end"));
    }
    return true;
}

/* The first whole snapshot above the beginning of the files is committed, whatever is known to be: files go only when
 * the end of one is committed that begins above them [m]. */
static void record_look(void *arg, const struct message *m, struct topic_id id)
{
    struct topics *ts = arg;
    struct topic_log_snapshot *s = &ts->log.snapshot;
    if (ts->log.state == TOPIC_LOG_TAKING)
        return;
    uint64_t began = s->began;
    snapshot_record(ts, m, id.offset);
    if (began == 0 || s->began > 0)
        return;
    s->at = began - 1;
    s->till = id.offset + 1;
    ts->log.state = TOPIC_LOG_TAKING;
}

/* The id is of a create record before the snapshot, and of no other topic. A leader that lies must not end this
 * node. */
static bool may_be_kept(const struct topics *ts, struct topic_id id)
{
    return id.epoch > 0 && id.offset < ts->log.snapshot.first && topics_by_id(ts, id) == NULL;
}

static void record_keep(void *arg, const struct message *m, struct topic_id at)
{
    struct topics *ts = arg;
    struct topic_id id;
    unsigned dependents;
    bool gone;
    if (!is_word(m, SLICE("keep")) || topics_find_any(ts, m->key) != NULL)
        return;
    if (!topic_log_kept(m, &id, &dependents, &gone) || !may_be_kept(ts, id)) {
        say_error("topics", "a record in " TOPIC_LOG_NAME " is not understood offset=%llu",
                  (unsigned long long)at.offset);
        return;
    }
    struct topic_settings settings = settings_default;
    topic_log_settings(m, &settings);
    struct topic *t = topic_new(ts, m->key, id, &settings);
    birth_read(t, m);
    t->dependents = dependents;
    t->gone = gone;
    topics_add(ts, t);
}

int snapshot_take(struct topics *ts, bool *more)
{
    struct topic_log *log = &ts->log;
    struct topic_log_snapshot *s = &log->snapshot;
    *more = false;
    if (log->state == TOPIC_LOG_WHOLE || s->cuts != log->topic->cuts) {
        log->state = TOPIC_LOG_LACKING;
        *s = (struct topic_log_snapshot){.at = topic_first(log->topic), .cuts = log->topic->cuts};
    }
    if (log->state == TOPIC_LOG_LACKING) {
        uint64_t at = s->at, written = log->topic->written.at;
        int rc = topic_log_read(log, &at, written, READ_SIZE_DEFAULT, record_look, ts);
        if (log->state == TOPIC_LOG_LACKING)
            s->at = at;
        *more = rc == 0 && (log->state == TOPIC_LOG_TAKING || at < written);
        return rc;
    }
    int rc = topic_log_read(log, &s->at, s->till, ts->opening ? READ_SIZE_DEFAULT : TOPIC_LOG_STEP, record_keep, ts);
    *more = rc == 0 && s->at < s->till;
    if (rc < 0 || *more)
        return rc;
    log->state = TOPIC_LOG_WHOLE;
    mark_advance(&log->applied, s->till);
    say_info("topics", "the topics are those of a snapshot topics=%zu offset=%llu", ts->all.count + ts->unopened.count,
             (unsigned long long)s->first);
    return 0;
}

/* ---- writing ---- */

struct run {
    struct topics *ts;
    struct buf messages;
    uint32_t count;
    int rc;
};

static void run_append(struct run *r)
{
    struct append a = {.messages = buf_slice(&r->messages), .count = r->count};
    uint64_t first;
    if (r->rc == 0 && r->count > 0)
        r->rc = topic_append(r->ts->log.topic, &a, &first);
    buf_clear(&r->messages);
    r->count = 0;
}

static void run_word(struct run *r, slice word)
{
    struct message m = {.key = SLICE(TOPIC_LOG_NAME), .payload = word};
    message_write(&r->messages, &m);
    r->count++;
}

static void run_keeps(struct run *r, const struct registry *topics)
{
    struct order_cursor at = {0};
    for (const struct topic *t; (t = registry_next(topics, &at)) != NULL;) {
        if (t == r->ts->log.topic)
            continue;
        topic_log_keep(&r->messages, t);
        if (++r->count == BATCH_COUNT_MAX || buf_size(&r->messages) >= READ_SIZE_DEFAULT)
            run_append(r);
    }
}

/* In one turn, so that no other record comes in between: 0.3 us a topic. A change under way would be in none of its
 * records, so there must be none [m]. */
void snapshot_append(struct topics *ts)
{
    struct topic_log *log = &ts->log;
    struct topic_log_snapshot *s = &log->snapshot;
    if (s->since <= TOPIC_LOG_GROWTH + 3 * s->size || s->since < s->again)
        return;
    if (log->applied.at < log->topic->tail.at || topics_may_append(log->topic) < 0)
        return;
    uint64_t first = log->topic->tail.at;
    struct run r = {.ts = ts};
    run_word(&r, SLICE("begin"));
    run_keeps(&r, &ts->all);
    run_keeps(&r, &ts->unopened);
    run_word(&r, SLICE("end"));
    run_append(&r);
    buf_fini(&r.messages);
    s->again = r.rc == 0 ? 0 : s->since + TOPIC_LOG_GROWTH;
    if (r.rc == 0)
        say_info("topics", "a snapshot was appended to " TOPIC_LOG_NAME " topics=%zu offset=%llu",
                 ts->all.count + ts->unopened.count - 1, (unsigned long long)first);
    else
        say_warn("topics", "no snapshot could be appended to " TOPIC_LOG_NAME ": %s", err_sentence(r.rc));
}
