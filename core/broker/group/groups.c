#include "broker/group/groups.h"

#include <stdio.h>

#include "base/err.h"
#include "base/least.h"
#include "base/mem.h"
#include "base/say.h"
#include "broker/group/groups_struct.h"
#include "store/replication/epochs.h"

int64_t groups_now_ms(const struct groups *gs)
{
    return topics_date(gs->topics);
}

struct topic *groups_log(struct groups *gs)
{
    return topics_find(gs->topics, SLICE(GROUP_LOG_NAME));
}

struct mark *groups_mark(struct groups *gs, struct topic *t)
{
    struct topic *log = groups_log(gs);
    return t->settings.replication == REPLICATION_LIVE ? &log->peers : topic_own_mark(log);
}

size_t groups_count(const struct groups *gs)
{
    return gs->by_key.count;
}

/* ---- finding ---- */

enum { KEY_TEXT_MAX = 2 * 20 + 2 + TOPIC_NAME_MAX };

static slice key_of(char text[KEY_TEXT_MAX + 1], const struct topic_id *id, slice name)
{
    int n = snprintf(text, KEY_TEXT_MAX + 1, "%llu:%llu/%.*s", (unsigned long long)id->epoch,
                     (unsigned long long)id->offset, SLICE_ARGS(name));
    return slice_of(text, (size_t)n);
}

struct held_group *groups_find(struct groups *gs, const struct topic *t, slice name)
{
    char text[KEY_TEXT_MAX + 1];
    return name.n > TOPIC_NAME_MAX ? NULL : map_get(&gs->by_key, key_of(text, &t->id, name));
}

static bool is_of(const struct held_group *g, const struct topic *t)
{
    return t == NULL || (g->topic.epoch == t->id.epoch && g->topic.offset == t->id.offset);
}

struct held_group *groups_next(struct groups *gs, const struct topic *t, size_t *at)
{
    struct held_group *g;
    do
        g = map_next(&gs->by_key, at);
    while (g != NULL && !is_of(g, t));
    return g;
}

struct topic *group_topic(struct groups *gs, const struct held_group *g)
{
    struct topic *t = topics_find(gs->topics, slice_from(g->topic_name));
    return t != NULL && is_of(g, t) ? t : NULL;
}

/* ---- coming and going ---- */

static bool key_parse(slice key, struct topic_id *id, slice *name)
{
    slice epoch, offset;
    if (!slice_split(&key, ':', &epoch) || !slice_split(&key, '/', &offset) || !topic_name_ok(key))
        return false;
    *name = key;
    return slice_u64(epoch, &id->epoch) == 0 && slice_u64(offset, &id->offset) == 0;
}

static void on_fresh(struct waiter *w, int rc)
{
    struct held_group *g = LIST_OWNER(w, struct held_group, fresh);
    if (rc < 0)
        mark_fail(&g->wakes, rc);
    else if (!list_empty(&g->wakes.waiters))
        mark_advance(&g->wakes, list_first(&g->wakes.waiters, struct waiter, link)->want);
}

struct held_group *held_group_new(struct groups *gs, slice key, slice topic_name)
{
    struct topic_id id;
    slice name;
    if (!key_parse(key, &id, &name))
        return NULL;
    struct held_group *g = MEM_NEW(struct held_group);
    group_init(&g->state, &group_settings_default);
    g->key = mem_copy(key.p, key.n);
    g->name = mem_copy(name.p, name.n);
    g->topic_name = mem_copy(topic_name.p, topic_name.n);
    g->topic = id;
    g->due_ms = INT64_MAX;
    mark_init(&g->wakes, 0);
    list_init(&g->fresh.link);
    g->fresh.wake = on_fresh;
    map_put(&gs->by_key, slice_from(g->key), g);
    return g;
}

void held_group_free(struct groups *gs, struct held_group *g)
{
    map_remove(&gs->by_key, slice_from(g->key));
    reader_free(gs, g);
    waiter_cancel(&g->fresh);
    mark_fail(&g->wakes, -ERR_UNKNOWN_GROUP);
    group_fini(&g->state);
    mem_free(g->key);
    mem_free(g->name);
    mem_free(g->topic_name);
    mem_free(g);
}

/* ---- changes ---- */

int groups_make_log(struct groups *gs, uint64_t *want)
{
    struct topic_settings s = settings_default;
    s.replication = REPLICATION_LIVE;
    s.segment_bytes = GROUP_LOG_SEGMENT;
    return topics_create_internal(gs->topics, SLICE(GROUP_LOG_NAME), &s, want);
}

static void pair_write(void *arg, const char *name, slice text)
{
    header_write(arg, slice_from(name), text);
}

void group_headers_write(struct buf *out, slice topic_name, const struct group_settings *s)
{
    header_write(out, SLICE("topic"), topic_name);
    group_settings_each(s, pair_write, out);
}

int groups_create(struct groups *gs, struct topic *t, slice name, const struct group_settings *s,
                  const struct group_place *from, uint64_t *want)
{
    char text[KEY_TEXT_MAX + 1];
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
        .key = key_of(text, &t->id, name), .headers = buf_slice(&headers), .payload = buf_slice(&payload)};
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

/* Up to where the group's histories and the topic's agree. Each history is compared by its epoch: a topic that has a
 * message of an epoch has all that the leader of that epoch had before it. */
static int find_agreed(const struct group *g, struct topic *t, uint64_t *agreed)
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
    groups_wake(gs, g, t);
    return rc;
}
