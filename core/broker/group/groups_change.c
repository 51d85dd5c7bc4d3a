/* What requests change of groups, and what makes a group fit for use. */
#include "base/err.h"
#include "base/least.h"
#include "base/say.h"
#include "broker/group/groups_struct.h"
#include "store/replication/epochs.h"

int groups_make_log(struct groups *gs, uint64_t *want)
{
    struct topic_settings s = settings_default;
    s.replication = REPLICATION_LIVE;
    s.segment_bytes = GROUP_LOG_SEGMENT;
    return topics_create_internal(gs->topics, SLICE(GROUP_LOG_NAME), &s, want);
}

int groups_create(struct groups *gs, struct topic *t, slice name, const struct group_settings *s,
                  const struct group_place *from, uint64_t *want)
{
    char text[GROUP_KEY_MAX];
    struct buf headers = {0}, payload = {0};
    if (!topic_name_ok(name))
        return -ERR_BAD_VALUE;
    const struct held_group *there = groups_find(gs, t, name);
    if (there != NULL)
        return -ERR_GROUP_EXISTS;
    if (gs->by_key.count >= GROUPS_MAX)
        return -ERR_TOO_MANY;
    int rc = topics_may_append(t);
    if (rc < 0)
        return rc;
    group_headers_write(&headers, slice_from(t->name), s);
    record_create(&payload, from->cursor, from->epoch);
    struct message m = {
        .key = group_key_of(text, &t->id, name), .headers = buf_slice(&headers), .payload = buf_slice(&payload)};
    rc = append_record(gs, &m, want);
    buf_fini(&headers);
    buf_fini(&payload);
    return rc;
}

int groups_set(struct groups *gs, struct held_group *g, const struct group_settings *s, uint64_t *want)
{
    struct buf headers = {0}, payload = {0};
    if (s->order != g->state.settings.order && g->state.out.leased > 0)
        return -ERR_BUSY;
    g->used_ms = groups_now_ms(gs);
    group_headers_write(&headers, slice_from(g->topic_name), s);
    record_kind_only(&payload, RECORD_SET);
    int rc = record_append(gs, g, buf_slice(&headers), buf_slice(&payload), want);
    buf_fini(&headers);
    buf_fini(&payload);
    return rc;
}

int groups_delete(struct groups *gs, struct held_group *g, uint64_t *want)
{
    struct buf payload = {0};
    record_kind_only(&payload, RECORD_DELETE);
    int rc = record_append(gs, g, SLICE(""), buf_slice(&payload), want);
    buf_fini(&payload);
    return rc;
}

int groups_seek(struct groups *gs, struct held_group *g, const struct group_place *to, uint64_t *want)
{
    struct buf payload = {0};
    g->used_ms = groups_now_ms(gs);
    record_seek(&payload, to->cursor, to->epoch, g->state.generation + 1);
    int rc = record_append(gs, g, SLICE(""), buf_slice(&payload), want);
    buf_fini(&payload);
    return rc;
}

static int append_offset(struct groups *gs, struct held_group *g, enum record_kind kind, uint64_t to)
{
    struct buf payload = {0};
    uint64_t want;
    record_offset(&payload, kind, to);
    int rc = record_append(gs, g, SLICE(""), buf_slice(&payload), &want);
    buf_fini(&payload);
    return rc;
}

/* ---- fit for use ---- */

/* Each history is compared by its epoch: a topic that has a message of an epoch has all that the leader of that epoch
 * had before it. */
int find_agreed(const struct group *g, struct topic *t, uint64_t *agreed)
{
    *agreed = topic_first(t);
    for (unsigned i = g->history_count; i > 0; i--) {
        const struct history *h = &g->histories[i - 1];
        uint64_t found, end;
        int rc = h->epoch == EPOCH_UNKNOWN ? -ERR_GONE : journal_epoch_end(t->journal, h->epoch, &found, &end);
        if (rc == -ERR_GONE)
            continue;
        if (rc < 0)
            return rc;
        if (found == h->epoch) {
            *agreed = least(h->top, end);
            return 0;
        }
    }
    return 0;
}

static int check_histories(struct groups *gs, struct held_group *g, struct topic *t)
{
    uint64_t agreed, top = group_top(&g->state);
    int rc = find_agreed(&g->state, t, &agreed);
    if (rc < 0)
        return rc;
    if (agreed < top && top > topic_first(t)) {
        rc = append_offset(gs, g, RECORD_CUT, agreed);
        if (rc < 0)
            return rc;
        say_warn("groups", "settles of messages that are not in this history are forgotten topic=%s group=%s from=%llu",
                 g->topic_name, g->name, (unsigned long long)agreed);
    }
    g->checked_epoch = gs->led_epoch;
    return 0;
}

/* Retention has removed messages that the group has not settled. */
static int check_removed(struct groups *gs, struct held_group *g, struct topic *t)
{
    uint64_t first = topic_first(t), removed = g->state.count.removed;
    if (first <= g->state.settled.cursor)
        return 0;
    int rc = append_offset(gs, g, RECORD_GONE, first);
    if (rc == 0 && g->state.count.removed > removed)
        say_warn("groups", "retention removed messages that were not settled topic=%s group=%s messages=%llu",
                 g->topic_name, g->name, (unsigned long long)(g->state.count.removed - removed));
    return rc;
}

int groups_use(struct groups *gs, struct held_group *g, struct topic *t)
{
    if (gs->led_epoch == 0)
        return role_leads(topics_role(gs->topics)) ? -ERR_UNAVAILABLE : -ERR_NOT_LEADER;
    int rc = g->checked_epoch == gs->led_epoch ? 0 : check_histories(gs, g, t);
    if (rc == 0)
        rc = check_removed(gs, g, t);
    if (rc == 0)
        rc = group_tick(gs, g);
    groups_wake(g, t);
    return rc;
}
