#include "broker/leader/membership.h"

#include "base/clock.h"
#include "base/say.h"
#include "broker/leader/feed.h"
#include "broker/wire/wire.h"

/* A member that is gone keeps every live topic from acknowledging, so its removal is proposed soon; it is added again
 * when it has caught up. A member that may not have heard of a new epoch yet gets longer. */
#define ABSENT_NS (300 * NS_PER_MS)
#define EXPECTED_NS (1500 * NS_PER_MS)

static bool is_ready(const struct peer *p)
{
    return p->phase == PEER_READY && !p->closing;
}

/* ---- who is not here ---- */

static void absent_add(struct leader *l, const struct member *m, bool expected)
{
    if (l->absent_count == MEMBERS_MAX || member_eq(m, &l->role->self) || !role_counts(l->role, m))
        return;
    l->absent[l->absent_count++] = (struct absent){.member = *m, .since_ns = clock_ns(), .expected = expected};
}

static void absent_remove(struct leader *l, const struct member *m)
{
    for (unsigned i = 0; i < l->absent_count; i++)
        if (member_eq(&l->absent[i].member, m))
            l->absent[i--] = l->absent[--l->absent_count];
}

void membership_begin(struct leader *l)
{
    const struct members *set = &l->role->synced.confirmed.set;
    l->absent_count = 0;
    for (unsigned i = 0; i < set->count; i++)
        absent_add(l, &set->at[i], true);
}

void membership_arrived(struct peer *p)
{
    /* A node that connects again knows that its older connection is dead, even where this node has not noticed. */
    LIST_EACH(node, &p->leader->peers) {
        struct peer *other = LIST_OWNER(node, struct peer, all);
        if (other != p && other->phase == PEER_READY && slice_eq(member_name(&other->member), member_name(&p->member)))
            other->closing = true;
    }
    if (!p->amnesiac)
        absent_remove(p->leader, &p->member);
    p->leader->recount = true;
}

void membership_left(struct peer *p)
{
    struct leader *l = p->leader;
    if (p->counted)
        l->recount = true;
    if (p->phase != PEER_READY || !l->leading)
        return;
    LIST_EACH(node, &l->peers) {
        const struct peer *other = LIST_OWNER(node, struct peer, all);
        if (is_ready(other) && member_eq(&other->member, &p->member))
            return;                  /* this connection is an older one of it */
    }
    absent_remove(l, &p->member);
    absent_add(l, &p->member, false);
}

/* ---- whose copies count ---- */

void membership_recount(struct leader *l)
{
    if (!l->recount)
        return;
    l->recount = false;
    const struct synced_set *synced = &l->role->synced;
    const struct members *now = &synced->confirmed.set;
    unsigned due = now->count;
    for (unsigned i = 0; synced->proposing && i < synced->proposed.set.count; i++)
        due += !members_have(now, &synced->proposed.set.at[i]);
    l->counted = 0;
    LIST_EACH(node, &l->peers) {
        struct peer *p = LIST_OWNER(node, struct peer, all);
        p->counted = is_ready(p) && !p->amnesiac && role_counts(l->role, &p->member);
        l->counted += p->counted;
    }
    l->missing = due - 1 - l->counted;   /* all but this node itself */
    for (unsigned i = 0; i < l->absent_count; i++)
        if (!role_counts(l->role, &l->absent[i].member))
            l->absent[i--] = l->absent[--l->absent_count];
    if (l->leading)
        topics_settle(l->topics);
}

/* ---- proposals ---- */

/* Why a ready member should leave the set; NULL: it is well. */
static const char *unfit_because(struct peer *p, uint64_t now)
{
    const struct leader *l = p->leader;
    struct topic *t;
    if (p->amnesiac)
        return "it may have forgotten messages that it acknowledged";
    LIST_EACH(node, &p->behind) {
        const struct feed *f = LIST_OWNER(node, struct feed, behind);
        if (f->topic->settings->replication == REPLICATION_LIVE && feed_acked(f) < f->topic->tail.at &&
            now - f->caught_ns > l->lag_max_ns)
            return "it is too far behind";
    }
    /* It may also have failed to ask for a live topic in all that time: it could not make the directory, say. A look at
     * all topics takes several ticks if they are many. */
    if (p->started >= topics_count(l->topics) || now - p->since_ns <= l->lag_max_ns)
        return NULL;
    for (unsigned i = 0; i < LOOK_STEP && (t = topics_at(l->topics, p->looked_at)) != NULL; i++, p->looked_at++) {
        const struct feed *f = feed_find(p, t);
        if (t->settings->replication == REPLICATION_LIVE && now - t->lead->begun_ns > l->lag_max_ns &&
            (f == NULL || !f->started))
            return "it is too far behind";
    }
    if (t == NULL)
        p->looked_at = 0;
    return NULL;
}

/* The first member that should leave the set, and why; NULL: all are well. */
static const struct member *find_unfit(struct leader *l, uint64_t now, const char **why)
{
    const struct members *set = &l->role->synced.confirmed.set;
    for (unsigned i = 0; i < l->absent_count; i++) {
        const struct absent *a = &l->absent[i];
        *why = "it is not connected";
        if (members_have(set, &a->member) && now - a->since_ns > (a->expected ? EXPECTED_NS : ABSENT_NS))
            return &a->member;
    }
    LIST_EACH(node, &l->peers) {
        struct peer *p = LIST_OWNER(node, struct peer, all);
        if (p->phase == PEER_READY && members_have(set, &p->member) && (*why = unfit_because(p, now)) != NULL)
            return &p->member;
    }
    return NULL;
}

/* The set never gets smaller than topics_copies_kept. A leader that cannot remove a member for
 * that reason, and has no node to add, is stalled. */
static void propose_removal(struct leader *l, uint64_t now)
{
    const char *why;
    struct members set = l->role->synced.confirmed.set;
    const struct member *m = find_unfit(l, now, &why);
    if (m != NULL && set.count <= topics_copies_kept(l->topics)) {
        l->stalled_ns = l->stalled_ns == 0 ? now : l->stalled_ns;
        return;
    }
    l->stalled_ns = 0;
    if (m == NULL)
        return;
    members_remove(&set, m);
    say_limited(&l->moves, SAY_WARN, "leader",
                "proposes to remove a member from the synced set member=%s reason=\"%s\" left=%u", m->text, why,
                set.count);
    role_propose(l->role, &set);
    l->recount = true;
}

/* The first ready node that has caught up and is not in the set. A node may have the name of a member and another
 * incarnation, after its disk was replaced: the old one is removed as absent. */
static bool propose_addition(struct leader *l)
{
    struct members set = l->role->synced.confirmed.set;
    LIST_EACH(node, &l->peers) {
        struct peer *p = LIST_OWNER(node, struct peer, all);
        if (!is_ready(p) || p->amnesiac || members_have(&set, &p->member))
            continue;
        if (!feeds_caught_up(p) || !members_add(&set, &p->member))
            continue;
        say_limited(&l->moves, SAY_INFO, "leader", "proposes a new member of the synced set member=%s size=%u",
                    p->member.text, set.count);
        role_propose(l->role, &set);
        l->recount = true;
        return true;
    }
    return false;
}

/* An amnesiac node is told when it has everything, and is then none any more. This does not wait for a change of the
 * set that is being proposed, which may take as long as Consul is away. */
static void confirm_caught_up(struct peer *p)
{
    if (!is_ready(p) || !p->amnesiac || !feeds_caught_up(p))
        return;
    link_begin(p->link, WIRE_CAUGHT);
    link_end(p->link);
    p->amnesiac = false;
    absent_remove(p->leader, &p->member);
    p->leader->recount = true;
}

/* ---- the timer ---- */

static void check_link(struct peer *p, uint64_t now)
{
    bool late = p->phase != PEER_READY && now - p->since_ns > HANDSHAKE_MS * NS_PER_MS;
    bool suspended = !role_lease_valid(p->leader->role, now);
    if (late || now - p->heard_ns > SILENCE_MS * NS_PER_MS) {
        peer_refuse(p, late ? "its handshake took too long" : "it has been silent for too long");
    } else if (p->phase == PEER_READY &&
               (now - p->spoken_ns >= PING_MS * NS_PER_MS || p->told_suspended != suspended)) {
        put_u8(link_begin(p->link, WIRE_PING), suspended);
        link_end(p->link);
        p->told_suspended = suspended;
        p->spoken_ns = now;
        link_flush(p->link);
    }
}

static bool set_is_whole(struct leader *l)
{
    const struct members *set = &l->role->synced.confirmed.set;
    LIST_EACH(node, &l->peers) {
        const struct peer *p = LIST_OWNER(node, struct peer, all);
        if (p->phase != PEER_READY || !members_have(set, &p->member))
            return false;
    }
    return l->missing == 0;
}

bool membership_tick(struct leader *l)
{
    uint64_t now = clock_ns();
    say_limit_end(&l->refusals);
    say_limit_end(&l->moves);
    say_limit_end(&l->faults);
    LIST_EACH(node, &l->peers) {
        struct peer *p = LIST_OWNER(node, struct peer, all);
        if (!p->closing)
            check_link(p, now);
        link_rest(p->link);
    }
    if (!l->leading)
        return l->peer_count > 0;
    LIST_EACH(node, &l->peers)
        confirm_caught_up(LIST_OWNER(node, struct peer, all));
    if (!l->role->synced.proposing && !propose_addition(l))
        propose_removal(l, now);
    membership_recount(l);
    return !set_is_whole(l);
}
