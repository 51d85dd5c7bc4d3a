/*
 * How far all groups of a topic are, for retain.groups. Every node removes files by itself, by what it knows of the
 * groups, as far as that is of the history that it has of the topic [m].
 *
 * What is not committed may be undone, and a group with it. So a node notes how far the groups are, and goes by that
 * once all records up to then are committed; a group that has gone back meanwhile holds the topic back.
 */
#include "base/least.h"
#include "broker/group/groups_struct.h"

static uint64_t passed_by(const struct held_group *g, struct topic *t)
{
    uint64_t agreed;
    return find_agreed(&g->state, t, &agreed) < 0 ? 0 : least(g->state.settled.cursor, agreed);
}

/* Into topic_groups.least of all topics that ask for it; 0 where there is no group. */
static void find_least(struct groups *gs)
{
    const struct held_group *g;
    struct topic *t;
    for (size_t i = 0; (t = topics_at(gs->topics, i)) != NULL; i++)
        t->groups.least = UINT64_MAX;
    for (size_t at = 0; (g = map_next(&gs->by_key, &at)) != NULL;)
        if ((t = group_topic(gs, g)) != NULL && t->settings.retain_groups)
            t->groups.least = least(t->groups.least, passed_by(g, t));
    for (size_t i = 0; (t = topics_at(gs->topics, i)) != NULL; i++)
        if (t->groups.least == UINT64_MAX)
            t->groups.least = 0;
}

void passed_note(struct groups *gs)
{
    struct topic *log = groups_log(gs), *t;
    bool whole = gs->applied >= topic_readable(log);
    bool committed = whole && gs->noted_at > 0 && topic_readable(log) >= gs->noted_at;
    if (whole)
        find_least(gs);
    for (size_t i = 0; (t = topics_at(gs->topics, i)) != NULL; i++) {
        t->groups.passed = committed ? least(t->groups.noted, t->groups.least) : 0;
        t->groups.noted = whole ? t->groups.least : 0;
    }
    gs->noted_at = whole ? gs->applied : 0;
}
