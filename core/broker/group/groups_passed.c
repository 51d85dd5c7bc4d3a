/*
 * How far all groups of a topic are, for retain.groups. Every node removes files by itself, by what it knows of the
 * groups, as far as that is of the history that it has of the topic [m].
 *
 * What is not committed may be undone, and a group with it. So a node notes how far the groups are, and goes by that
 * once all records up to then are committed; a group that has gone back meanwhile holds the topic back.
 */
#include "base/least.h"
#include "base/mem.h"
#include "broker/group/groups_struct.h"

static uint64_t passed_by(const struct held_group *g, struct topic *t)
{
    uint64_t agreed;
    return find_agreed(&g->state, t, &agreed) < 0 ? 0 : least(g->state.settled.cursor, agreed);
}

static void add_held(struct groups *gs, struct topic *t)
{
    if (t->groups != NULL)
        return;
    if (gs->held_count == gs->held_cap) {
        gs->held_cap = gs->held_cap == 0 ? 16 : gs->held_cap * 2;
        gs->held = mem_resize(gs->held, gs->held_cap * sizeof(gs->held[0]));
    }
    gs->held[gs->held_count++] = topic_ref(t);
    t->groups = MEM_NEW(struct topic_groups);
}

/* Into topic_groups.least of the topics in gs->held, to which those are added that have groups; 0 where there is none
 * any more. */
static void find_least(struct groups *gs)
{
    const struct held_group *g;
    struct topic *t;
    for (size_t at = 0; (g = map_next(&gs->by_key, &at)) != NULL;)
        if ((t = group_topic(gs, g)) != NULL && t->settings->retain_groups)
            add_held(gs, t);
    for (size_t i = 0; i < gs->held_count; i++)
        if ((t = topic_deref(gs->topics, gs->held[i])) != NULL)
            t->groups->least = UINT64_MAX;
    for (size_t at = 0; (g = map_next(&gs->by_key, &at)) != NULL;)
        if ((t = group_topic(gs, g)) != NULL && t->settings->retain_groups)
            t->groups->least = least(t->groups->least, passed_by(g, t));
}

/* Only topics in gs->held have anything noted, so the others, which may be a million, are not visited. */
void passed_note(struct groups *gs)
{
    struct topic *log = groups_log(gs), *t;
    bool whole = gs->applied >= topic_readable(log);
    bool committed = whole && gs->noted_at > 0 && topic_readable(log) >= gs->noted_at;
    size_t kept = 0;
    if (whole)
        find_least(gs);
    for (size_t i = 0; i < gs->held_count; i++) {
        if ((t = topic_deref(gs->topics, gs->held[i])) == NULL)
            continue;
        struct topic_groups *held = t->groups;
        if (whole && held->least == UINT64_MAX) {      /* it has no group any more */
            mem_free(held);
            t->groups = NULL;
            continue;
        }
        held->passed = committed ? least(held->noted, held->least) : 0;
        held->noted = whole ? held->least : 0;
        gs->held[kept++] = gs->held[i];
    }
    gs->held_count = kept;
    gs->noted_at = whole ? gs->applied : 0;
}
