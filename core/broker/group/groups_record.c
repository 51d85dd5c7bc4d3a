/* The records of groups: appending them to _groups, and applying each. */
#include "base/err.h"
#include "base/say.h"
#include "broker/group/groups_struct.h"

/* ---- applying ---- */

void record_take(struct groups *gs, const struct message *m, uint64_t offset)
{
    struct held_group *g = map_get(&gs->by_key, m->key);
    unsigned kind = m->payload.n == 0 ? 0 : (unsigned char)m->payload.p[0];
    if (kind == RECORD_DELETE) {
        if (g != NULL)
            held_group_free(gs, g);
        return;
    }
    bool whole = kind == RECORD_CREATE || kind == RECORD_SNAPSHOT;
    if (g == NULL && whole)
        g = held_group_new(gs, m->key, header_named(m->headers, SLICE("topic")));
    if (g == NULL)
        return;                      /* of a group that was deleted, or whose snapshot comes later */
    uint32_t dying = g->state.dying;
    if (group_apply(&g->state, m) < 0)
        say_error("groups", "a record in " GROUP_LOG_NAME " is not understood offset=%llu",
                  (unsigned long long)offset);
    if (whole) {
        g->snapshot_at = offset;
        g->size = 0;
    }
    if (g->state.dying > dying)
        mark_advance(&gs->deaths, gs->deaths.at + 1);
    if (whole || (kind >= RECORD_RANGES && kind <= RECORD_ACKED))
        g->size += m->payload.n + m->headers.n + m->key.n;
}

/* ---- appending ---- */

static void pair_write(void *arg, const char *name, slice text)
{
    header_write(arg, slice_from(name), text);
}

void group_headers_write(struct buf *out, slice topic_name, const struct group_settings *s)
{
    header_write(out, SLICE("topic"), topic_name);
    group_settings_each(s, pair_write, out);
}

int append_messages(struct groups *gs, slice messages, uint32_t count, uint64_t *first)
{
    struct topic *log = groups_log(gs);
    struct append a = {.messages = messages, .count = count};
    if (log == NULL || gs->led_epoch == 0)
        return -ERR_UNAVAILABLE;
    int rc = topics_append(log, &a, first);
    if (rc == 0)
        gs->applied = *first + count;
    return rc;
}

int append_record(struct groups *gs, const struct message *m, uint64_t *want)
{
    struct buf record = {0};
    uint64_t first;
    message_write(&record, m);
    int rc = append_messages(gs, buf_slice(&record), 1, &first);
    buf_fini(&record);
    if (rc < 0)
        return rc;
    record_take(gs, m, first);
    *want = first + 1;
    return 0;
}

int record_append(struct groups *gs, struct held_group *g, slice headers, slice payload, uint64_t *want)
{
    struct message m = {.key = slice_from(g->key), .headers = headers, .payload = payload};
    return append_record(gs, &m, want);
}

int records_append(struct groups *gs, struct held_group *g, const slice *payloads, uint32_t count)
{
    struct message m = {.key = slice_from(g->key)};
    struct buf records = {0};
    uint64_t first;
    for (uint32_t i = 0; i < count; i++) {
        m.payload = payloads[i];
        message_write(&records, &m);
    }
    int rc = append_messages(gs, buf_slice(&records), count, &first);
    buf_fini(&records);
    for (uint32_t i = 0; i < count && rc == 0; i++) {
        m.payload = payloads[i];
        record_take(gs, &m, first + i);
    }
    return rc;
}
