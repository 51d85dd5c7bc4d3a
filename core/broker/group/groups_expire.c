/* Deleting topics that nobody uses any more (broker/topic/expiry.h). */
#include "base/least.h"
#include "base/say.h"
#include "broker/group/groups_struct.h"

/* A group that has not settled all that there is of the topic; NULL: none. */
static const struct held_group *keeper(struct groups *gs, const struct topic *t)
{
    const struct held_group *g;
    size_t at = 0;
    while ((g = groups_next(gs, t, &at)) != NULL && g->state.settled.cursor >= t->tail.at)
        ;
    return g;
}

/* Messages may be settled by records that are not committed: the next leader may not have these, and then the group
 * still needs the messages. */
static bool is_committed(struct groups *gs)
{
    struct topic *log = groups_log(gs);
    return log == NULL || gs->applied <= topic_readable(log);
}

static void say_kept(struct topic *t, const struct held_group *g)
{
    if (!t->use->kept)
        say_warn("topics", "a topic that nobody has used for its `expire` is kept, because a group has not settled all "
                 "of it: delete the group, or the topic topic=%s group=%s settled=%llu end=%llu",
                 t->name, g->name, (unsigned long long)g->state.settled.cursor, (unsigned long long)t->tail.at);
    t->use->kept = true;
}

void groups_expire_topics(struct groups *gs, uint64_t now_ns)
{
    struct expiry *e = topics_expiry(gs->topics);
    size_t visits = 0, deleted = 0;
    char first[TOPIC_NAME_MAX + 1] = "";
    if (gs->led_epoch == 0)
        return;
    for (unsigned i = 0; i < EXPIRE_STEP_LOOKS && visits < EXPIRE_STEP_GROUPS; i++) {
        struct topic *t = expiry_look(e, now_ns);
        uint64_t want;
        if (t == NULL)
            break;
        uint64_t left_ns = topic_expires_in_ns(t, now_ns);
        if (left_ns > 0) {
            t->use->kept = false;
            expiry_postpone(e, t, now_ns, least(left_ns, t->use->look_ns - now_ns));
            continue;
        }
        visits += groups_count(gs);
        const struct held_group *g = keeper(gs, t);
        if (g != NULL) {
            say_kept(t, g);
        } else if (!is_committed(gs) || topics_delete(gs->topics, t, &want) < 0) {
            expiry_postpone(e, t, now_ns, EXPIRE_MS * NS_PER_MS);      /* this node cannot do it now */
        } else if (deleted++ == 0) {
            memcpy(first, t->name, strlen(t->name) + 1);
        }
    }
    e->deleted += deleted;
    if (deleted > 0)
        say_info("topics", "topics that nobody has used for their `expire` are deleted topics=%zu first=%s", deleted,
                 first);
}
