#include "broker/access/trail.h"

#include "base/err.h"
#include "base/mem.h"
#include "base/say.h"

struct trail {
    struct topics *topics;           /* outlives us */
    struct buf messages;             /* noted and not appended, encoded */
    uint32_t count;
    uint64_t failed;
};

struct trail *trail_new(struct topics *ts)
{
    struct trail *a = MEM_NEW(struct trail);
    a->topics = ts;
    return a;
}

void trail_free(struct trail *a)
{
    trail_turn(a);
    buf_fini(&a->messages);
    mem_free(a);
}

static void say_not_stored(slice entry, int rc)
{
    struct buf text = {0};
    buf_addf(&text, "cannot be stored (%s): %.*s", err_sentence(rc), SLICE_ARGS(entry));
    say_text(SAY_WARN, "audit", buf_slice(&text), SLICE(""));
    buf_fini(&text);
}

/* Writes what is noted to the log. rc: why it is not stored; 0: this node does not lead. */
static void give_up(struct trail *a, int rc)
{
    slice rest = buf_slice(&a->messages);
    struct message m;
    while (message_read(&rest, &m) == 0) {
        if (rc == 0)
            say_text(SAY_INFO, "audit", m.payload, SLICE(""));
        else
            say_not_stored(m.payload, rc);
        a->failed += rc != 0;
    }
    buf_clear(&a->messages);
    a->count = 0;
}

void trail_note(struct trail *a, slice entry)
{
    message_write(&a->messages, &(struct message){.payload = entry});
    a->count++;
    if (!role_leads(topics_role(a->topics)))
        give_up(a, 0);
    else if (a->count >= AUDIT_NOTED_MAX)
        trail_turn(a);
    if (a->count >= AUDIT_NOTED_MAX)
        give_up(a, -ERR_BUSY);
}

static int make_log(struct trail *a)
{
    struct topic_settings s = settings_default;
    uint64_t want;
    s.replication = REPLICATION_LIVE;
    s.segment_bytes = AUDIT_SEGMENT;
    s.retain.bytes = AUDIT_SIZE_MAX;
    return topics_create_internal(a->topics, SLICE(AUDIT_LOG_NAME), &s, &want);
}

void trail_turn(struct trail *a)
{
    struct topic *log;
    uint64_t first;
    if (a->count == 0)
        return;
    log = topics_find(a->topics, SLICE(AUDIT_LOG_NAME));
    if (log == NULL) {
        int rc = make_log(a);
        if (rc < 0)
            give_up(a, rc);
        return;                      /* the entries wait until the topic is there */
    }
    int rc = topics_append(log, &(struct append){.messages = buf_slice(&a->messages), .count = a->count}, &first);
    if (rc < 0)
        give_up(a, rc);
    buf_clear(&a->messages);
    a->count = 0;
}

uint64_t trail_failed(const struct trail *a)
{
    return a->failed;
}
