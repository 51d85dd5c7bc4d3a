/* What a leader does from time to time: deadlines, words to silent links, and who ought to be in the synced set. */
#include "base/clock.h"
#include "base/say.h"
#include "broker/leader/peer.h"

/* A member that is gone keeps every live topic from acknowledging, so it is asked out soon; it comes back as soon as it
 * has caught up. Whoever has not heard yet of a new epoch gets longer. */
#define ABSENT_NS (300 * NS_PER_MS)
#define EXPECTED_NS (1500 * NS_PER_MS)

static void ping(struct peer *p, uint64_t now)
{
    if (p->phase != PEER_READY || now - p->spoken_ns < PING_MS * NS_PER_MS)
        return;
    link_begin(p->link, WIRE_PING);
    link_end(p->link);
    p->spoken_ns = now;
    link_flush(p->link);
}

static void deadline(struct peer *p, uint64_t now)
{
    bool late = p->phase != PEER_READY && now - p->since_ns > HANDSHAKE_MS * NS_PER_MS;
    if (late || now - p->heard_ns > SILENCE_MS * NS_PER_MS)
        peer_refuse(p, late ? "its greeting took too long" : "it has been silent for too long");
}

/* ---- who is not here ---- */

static void absent_add(struct leader *l, const struct member *m, bool expected)
{
    if (l->absent_count == MEMBERS_MAX || member_eq(m, &l->o.role->self) || !role_counts(l->o.role, m))
        return;
    l->absent[l->absent_count++] = (struct absent){.member = *m, .since_ns = clock_ns(), .expected = expected};
}

void absent_begin(struct leader *l)
{
    const struct members *set = &l->o.role->synced.confirmed.set;
    l->absent_count = 0;
    for (unsigned i = 0; i < set->count; i++)
        absent_add(l, &set->at[i], true);
}

void absent_forget(struct leader *l)
{
    for (unsigned i = 0; i < l->absent_count; i++)
        if (!role_counts(l->o.role, &l->absent[i].member))
            l->absent[i--] = l->absent[--l->absent_count];
}

void absent_arrived(struct leader *l, const struct member *m)
{
    for (unsigned i = 0; i < l->absent_count; i++)
        if (member_eq(&l->absent[i].member, m))
            l->absent[i--] = l->absent[--l->absent_count];
}

static bool is_here(struct leader *l, const struct member *m)
{
    LIST_EACH(node, &l->peers) {
        const struct peer *p = LIST_OWNER(node, struct peer, all);
        if (p->phase == PEER_READY && !p->doomed && member_eq(&p->member, m))
            return true;
    }
    return false;
}

/* An older connection of a member that has a newer one is not missed. */
void absent_left(struct leader *l, const struct peer *p)
{
    if (is_here(l, &p->member))
        return;
    absent_arrived(l, &p->member);
    absent_add(l, &p->member, false);
}

static bool is_lost(const struct absent *a, uint64_t now)
{
    return now - a->since_ns > (a->expected ? EXPECTED_NS : ABSENT_NS);
}

/* ---- the synced set ---- */

static bool is_live(const struct topic *t)
{
    return t->settings.replication == REPLICATION_LIVE;
}

static bool has_started(const struct peer *p, struct topic *t)
{
    const struct feed *f = peer_feed(p, t);
    return f != NULL && f->started;
}

/* Is there a live topic in which this member has been behind for too long? */
static bool lagging(const struct peer *p, uint64_t now)
{
    for (uint32_t i = 0; i < p->slots; i++) {
        const struct feed *f = p->by_slot[i];
        if (f != NULL && is_live(f->topic) && feed_acked(f) < f->topic->tail.at &&
            now - f->caught_ns > p->leader->o.lag_max_ns)
            return true;
    }
    return false;
}

/* Is there a live topic that it has not asked for in all that time? It could not make the directory, say. */
static bool lacking(const struct peer *p, uint64_t now)
{
    const struct leader *l = p->leader;
    struct topic *t;
    if (p->started >= topics_count(l->o.topics) || now - p->since_ns <= l->o.lag_max_ns)
        return false;
    for (size_t i = 0; (t = topics_at(l->o.topics, i)) != NULL; i++)
        if (is_live(t) && now - t->lead.begun_ns > l->o.lag_max_ns && !has_started(p, t))
            return true;
    return false;
}

static void ask_out(struct leader *l, const struct member *m, const char *why)
{
    struct members set = l->o.role->synced.confirmed.set;
    members_remove(&set, m);
    say_warn("leader", "asking to take a member out of the synced set member=%s reason=\"%s\" left=%u", m->text, why,
             set.count);
    role_propose(l->o.role, &set);
}

/* The first member that had better go, and why; NULL: all are well. */
static const struct member *misfit(const struct leader *l, uint64_t now, const char **why)
{
    const struct members *set = &l->o.role->synced.confirmed.set;
    struct list *peers = (struct list *)(uintptr_t)&l->peers;
    for (unsigned i = 0; i < l->absent_count; i++) {
        const struct absent *a = &l->absent[i];
        *why = "it is not connected";
        if (members_have(set, &a->member) && is_lost(a, now))
            return &a->member;
    }
    LIST_EACH(node, peers) {
        const struct peer *p = LIST_OWNER(node, struct peer, all);
        if (p->phase != PEER_READY || !members_have(set, &p->member))
            continue;
        *why = p->amnesiac ? "it may have forgotten what it acknowledged" : "it is too far behind";
        if (p->amnesiac || lagging(p, now) || lacking(p, now))
            return &p->member;
    }
    return NULL;
}

/* The set never gets smaller than the smallest `copies` of any live topic. A leader that is held up by that, with
 * nobody to ask in, is stalled. */
static bool shrink(struct leader *l, uint64_t now)
{
    const char *why;
    const struct member *m = misfit(l, now, &why);
    bool can = m != NULL && l->o.role->synced.confirmed.set.count > topics_holdings(l->o.topics).copies_min;
    if (m == NULL || can)
        l->stalled_ns = 0;
    else if (l->stalled_ns == 0)
        l->stalled_ns = now;
    if (can)
        ask_out(l, m, why);
    return can;
}

/* A node whose copies did not count is told when it has everything: it may forget that it forgot. That does not wait
 * for a change of the set that is asked for, which may take as long as Consul is away. */
static void confirm_caught_up(struct peer *p)
{
    if (p->phase != PEER_READY || p->doomed || !p->amnesiac)
        return;
    peer_caught_up(p);
    if (!p->caught_up)
        return;
    link_begin(p->link, WIRE_CAUGHT);
    link_end(p->link);
    p->amnesiac = false;
    absent_arrived(p->leader, &p->member);
    leader_recount(p->leader);
}

/* The first ready node that has caught up and is not in the set. One with a member's name is that member reborn: the
 * old one is asked out as absent. */
static bool grow(struct leader *l)
{
    struct members set = l->o.role->synced.confirmed.set;
    LIST_EACH(node, &l->peers) {
        struct peer *p = LIST_OWNER(node, struct peer, all);
        if (p->phase != PEER_READY || p->doomed || p->amnesiac || members_have(&set, &p->member))
            continue;
        peer_caught_up(p);
        if (!p->caught_up || !members_add(&set, &p->member))
            continue;
        say_info("leader", "asking for a new member of the synced set member=%s size=%u", p->member.text, set.count);
        role_propose(l->o.role, &set);
        return true;
    }
    return false;
}

static bool set_is_whole(const struct leader *l)
{
    const struct members *set = &l->o.role->synced.confirmed.set;
    struct list *head = (struct list *)(uintptr_t)&l->peers;
    LIST_EACH(node, head) {
        const struct peer *p = LIST_OWNER(node, struct peer, all);
        if (p->phase != PEER_READY || !members_have(set, &p->member))
            return false;
    }
    return l->missing == 0;
}

bool leader_tick(struct leader *l)
{
    uint64_t now = clock_ns();
    say_limit_end(&l->refusals);
    LIST_EACH(node, &l->peers) {
        struct peer *p = LIST_OWNER(node, struct peer, all);
        if (!p->doomed)
            deadline(p, now);
        if (!p->doomed)
            ping(p, now);
        link_rest(p->link);
    }
    if (!l->leading)
        return l->peer_count > 0;
    LIST_EACH(node, &l->peers)
        confirm_caught_up(LIST_OWNER(node, struct peer, all));
    if (!l->o.role->synced.proposing && (grow(l) || shrink(l, now)))
        leader_recount(l);
    return !set_is_whole(l);
}
