/* The groups that are held: finding them, and their coming and going. */
#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "broker/group/groups_reader.h"
#include "broker/group/groups_struct.h"

int64_t groups_now_ms(const struct groups *gs)
{
    if (gs->led_epoch == 0)
        return topics_date(gs->topics);
    return gs->date_ms + (int64_t)((clock_ns() - gs->date_ns) / NS_PER_MS);
}

struct topic *groups_log(struct groups *gs)
{
    return topics_find_again(gs->topics, SLICE(GROUP_LOG_NAME), &gs->log);
}

struct mark *groups_mark(struct groups *gs, struct topic *t)
{
    struct topic *log = groups_log(gs);
    return t->settings->replication == REPLICATION_LIVE ? &log->peers : topic_own_mark(log);
}

struct mark *groups_deaths(struct groups *gs)
{
    return &gs->deaths;
}

size_t groups_count(const struct groups *gs)
{
    return gs->by_key.count;
}

/* ---- finding ---- */

static char *digits_write(char *to, uint64_t v)
{
    char digits[20];
    size_t n = 0;
    do
        digits[n++] = (char)('0' + v % 10);
    while ((v /= 10) > 0);
    while (n > 0)
        *to++ = digits[--n];
    return to;
}

slice group_key_of(char text[GROUP_KEY_MAX], const struct topic_id *id, slice name)
{
    char *end = digits_write(text, id->epoch);
    *end++ = ':';
    end = digits_write(end, id->offset);
    *end++ = '/';
    if (name.n > 0)
        memcpy(end, name.p, name.n);
    return slice_of(text, (size_t)(end - text) + name.n);
}

struct held_group *groups_find(struct groups *gs, const struct topic *t, slice name)
{
    char text[GROUP_KEY_MAX];
    return name.n > TOPIC_NAME_MAX ? NULL : map_get(&gs->by_key, group_key_of(text, &t->id, name));
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
    return t != NULL && !t->gone && is_of(g, t) ? t : NULL;
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
    else if (g->wakes.first != NULL)
        mark_advance(&g->wakes, g->wakes.first->want);
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
    buf_fini(&g->ended);
    mem_free(g->key);
    mem_free(g->name);
    mem_free(g->topic_name);
    mem_free(g);
}

void group_due(struct groups *gs, struct held_group *g, int64_t at_ms)
{
    g->due_ms = at_ms;
    if (at_ms < gs->due_ms)
        gs->due_ms = at_ms;
}
