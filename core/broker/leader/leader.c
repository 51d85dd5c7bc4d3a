#include "broker/leader/leader.h"

#include <errno.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/say.h"
#include "broker/leader/peer.h"

/* ---- connections ---- */

/* The turn that follows does it all. */
static void on_pace(void *arg)
{
    (void)arg;
}

struct leader *leader_new(const struct leader_options *o)
{
    struct leader *l = MEM_NEW(struct leader);
    l->o = *o;
    list_init(&l->peers);
    list_init(&l->unshipped);
    watch_timer(o->loop, &l->pace, on_pace, l);
    return l;
}

void leader_set_lag_max(struct leader *l, uint64_t lag_max_ns)
{
    l->o.lag_max_ns = lag_max_ns;
}

static void peer_free(struct peer *p)
{
    for (uint32_t i = 0; i < p->slots; i++)
        if (p->by_slot[i] != NULL)
            feed_free(p->by_slot[i]);
    list_remove(&p->all);
    p->leader->peer_count--;
    link_free(p->link);
    mem_free(p->by_slot);
    mem_free(p);
}

/* The oldest that has not shown who it is goes: a greeting takes milliseconds, and strangers must not keep ours out. */
static bool make_room(struct leader *l)
{
    LIST_EACH(node, &l->peers) {
        struct peer *p = LIST_OWNER(node, struct peer, all);
        if (p->phase != PEER_READY) {
            peer_free(p);
            return true;
        }
    }
    return false;
}

void leader_accept(struct leader *l, int fd, const union address *from)
{
    if (l->peer_count == LINKS_MAX && !make_room(l)) {
        close(fd);
        return;
    }
    struct peer *p = MEM_NEW(struct peer);
    p->leader = l;
    p->link = link_new(l->o.loop, fd, false);
    wire_secure(p->link, l->o.tls, TLS_SERVER, &store_state(l->o.role->store)->cluster);
    p->since_ns = p->heard_ns = p->spoken_ns = clock_ns();
    address_format(from, p->address);
    list_init(&p->dirty);
    list_init(&p->told_later);
    list_push(&l->peers, &p->all);
    l->peer_count++;
}

static void peer_drop(struct peer *p, const char *why)
{
    struct leader *l = p->leader;
    if (p->phase == PEER_READY)
        say_info("leader", "follower gone member=%s reason=\"%s\"", p->member.text, why);
    else if (link_error(p->link) == -EPROTO)
        say_limited(&l->refusals, SAY_WARN, "leader", "refused a connection address=%s reason=\"%s\"", p->address, why);
    if (p->phase == PEER_READY && l->leading)
        absent_left(l, p);
    bool counted = p->counted;
    peer_free(p);
    if (counted)
        leader_recount(l);
}

void leader_arrived(struct leader *l, struct peer *p)
{
    if (!p->amnesiac)
        absent_arrived(l, &p->member);
    leader_recount(l);
}

void leader_free(struct leader *l)
{
    l->leading = false;
    while (!list_empty(&l->peers))
        peer_free(list_first(&l->peers, struct peer, all));
    watch_fini(&l->pace);
    mem_free(l);
}

/* ---- epochs ---- */

static void topic_begin(struct leader *l, struct topic *t)
{
    t->lead.begun = t->lead.ship = t->lead.sealed = t->tail.at;
    t->lead.begun_ns = clock_ns();
    t->lead.has_new_seal = false;
    list_remove(&t->lead.unshipped);
    leader_moved(l, t);
}

void leader_begin(struct leader *l)
{
    struct topic *t;
    l->leading = true;
    l->damaged = false;
    l->outdated = NULL;
    l->stalled_ns = 0;
    absent_begin(l);
    for (size_t i = 0; (t = topics_at(l->o.topics, i)) != NULL; i++)
        topic_begin(l, t);
    leader_recount(l);
    topics_begin(l->o.topics);
}

void leader_end(struct leader *l)
{
    l->leading = false;
    LIST_EACH(node, &l->peers) {
        struct peer *p = LIST_OWNER(node, struct peer, all);
        if (p->phase != PEER_HELLO)
            peer_refuse(p, "this node does not lead any more");
    }
    while (!list_empty(&l->unshipped))
        list_remove(l->unshipped.next);
}

/* ---- marks ---- */

void leader_recount(struct leader *l)
{
    const struct role *role = l->o.role;
    const struct members *now = &role->synced.confirmed.set;
    unsigned due = now->count;
    for (unsigned i = 0; role->synced.proposing && i < role->synced.proposed.set.count; i++)
        due += !members_have(now, &role->synced.proposed.set.at[i]);
    l->counted = 0;
    LIST_EACH(node, &l->peers) {
        struct peer *p = LIST_OWNER(node, struct peer, all);
        p->counted = p->phase == PEER_READY && !p->amnesiac && !p->doomed && role_counts(role, &p->member);
        l->counted += p->counted;
    }
    l->missing = due - 1 - l->counted;   /* all but ourselves */
    absent_forget(l);
    if (l->leading)
        topics_settle(l->o.topics);
}

/* The minimum over every member that counts, ourselves included. Of a `wal` topic it is not beyond what may be sent,
 * also while nobody else is in the set: whoever comes in has to have all of it [m], and could not if it ran ahead. */
uint64_t leader_peers(struct leader *l, struct topic *t)
{
    bool live = t->settings.replication == REPLICATION_LIVE;
    uint64_t least = live ? topic_own_mark(t)->at : topic_shippable(t);
    unsigned counted = 0;
    if (l->missing > 0 || (live && role_copies(l->o.role) < t->settings.copies))
        return 0;
    LIST_EACH(node, &t->lead.feeds) {
        const struct feed *f = LIST_OWNER(node, struct feed, of_topic);
        if (!f->peer->counted)
            continue;
        counted++;
        if (feed_acked(f) < least)
            least = feed_acked(f);
    }
    return counted < l->counted ? 0 : least;
}

static void unshipped_note(struct leader *l, struct topic *t)
{
    if (t->settings.replication == REPLICATION_LIVE || t->lead.ship >= topic_own_mark(t)->at) {
        list_remove(&t->lead.unshipped);
        return;
    }
    if (list_alone(&t->lead.unshipped))
        list_push(&l->unshipped, &t->lead.unshipped);
    l->sealed = l->sealed || (t->lead.has_new_seal && topic_own_mark(t)->at >= t->lead.sealed);
}

void leader_moved(struct leader *l, struct topic *t)
{
    if (!l->leading)
        return;
    unshipped_note(l, t);
    LIST_EACH(node, &t->lead.feeds)
        feed_moved(LIST_OWNER(node, struct feed, of_topic));
}

void leader_dropped(struct leader *l, struct topic *t)
{
    (void)l;
    list_remove(&t->lead.unshipped);
    LIST_EACH(node, &t->lead.feeds)
        feed_free(LIST_OWNER(node, struct feed, of_topic));
}

unsigned leader_unshipped(struct leader *l, struct topic **out, unsigned max)
{
    unsigned n = 0;
    l->sealed = false;
    LIST_EACH(node, &l->unshipped) {
        struct topic *t = LIST_OWNER(node, struct topic, lead.unshipped);
        if (n == max || (n > 0 && t == out[0]))
            break;
        t->lead.has_new_seal = false;
        out[n++] = t;
        list_remove(node);           /* to the end: the others come first next time */
        list_push(&l->unshipped, node);
    }
    return n;
}

bool leader_sealed(const struct leader *l)
{
    return l->sealed;
}

/* ---- the turn ---- */

static void peer_receive(struct peer *p)
{
    unsigned char type;
    slice payload;
    while (!p->doomed && link_unsent(p->link) < LINK_ANSWERS_MAX && link_take(p->link, &type, &payload)) {
        p->heard_ns = clock_ns();
        if (p->phase == PEER_READY)
            peer_frame(p, type, payload);
        else
            handshake_frame(p, type, payload);
    }
    if (link_state(p->link) == LINK_ENDED)
        p->doomed = true;
}

void leader_receive(struct leader *l)
{
    LIST_EACH(node, &l->peers)
        peer_receive(LIST_OWNER(node, struct peer, all));
    LIST_EACH(node, &l->peers) {
        struct peer *p = LIST_OWNER(node, struct peer, all);
        if (p->doomed)
            peer_drop(p, link_why(p->link));
    }
}

void leader_send(struct leader *l)
{
    LIST_EACH(node, &l->peers)
        peer_send(LIST_OWNER(node, struct peer, all));
}

/* ---- an orderly end ---- */

void leader_ship_all(struct leader *l)
{
    struct topic *t;
    for (size_t i = 0; (t = topics_at(l->o.topics, i)) != NULL; i++) {
        t->lead.ship = t->tail.at;
        topic_settle(t);
    }
}

static bool peer_drained(const struct peer *p)
{
    for (uint32_t i = 0; i < p->slots; i++) {
        const struct feed *f = p->by_slot[i];
        if (f != NULL && f->started && !f->stuck && feed_acked(f) < f->topic->tail.at)
            return false;
    }
    return true;
}

bool leader_drained(const struct leader *l)
{
    struct list *peers = (struct list *)(uintptr_t)&l->peers;
    LIST_EACH(node, peers) {
        const struct peer *p = LIST_OWNER(node, struct peer, all);
        if (p->phase == PEER_READY && !p->doomed && !peer_drained(p))
            return false;
    }
    return true;
}

/* ---- questions ---- */

void leader_damaged(struct leader *l)
{
    l->damaged = true;
}

const char *leader_unfit(const struct leader *l)
{
    if (l->outdated != NULL)
        return l->outdated;
    return l->damaged && l->counted > 0 ? "records that followers need are damaged here" : NULL;
}

static void lag_add(const struct peer *p, const struct feed *f, uint64_t now, struct peer_info *out)
{
    const struct topic *t = f->topic;
    struct journal_info info;
    uint64_t acked = feed_acked(f);
    (void)p;
    if (acked >= t->tail.at)
        return;
    journal_info(t->journal, &info);
    uint64_t messages = t->tail.at - acked, all = info.tail - info.first;
    double seconds = (double)(now - f->caught_ns) / (double)NS_PER_S;
    out->lag_messages += messages;
    out->lag_bytes += all ? info.bytes / all * messages : 0;   /* by the average message: positions are not known */
    if (seconds > out->lag_seconds)
        out->lag_seconds = seconds;
}

static void lag_of(const struct peer *p, struct peer_info *out)
{
    uint64_t now = clock_ns();
    for (uint32_t i = 0; i < p->slots; i++)
        if (p->by_slot[i] != NULL)
            lag_add(p, p->by_slot[i], now, out);
}

static struct peer *ready_peer(const struct leader *l, unsigned i)
{
    struct list *head = (struct list *)(uintptr_t)&l->peers;
    LIST_EACH(node, head) {
        struct peer *p = LIST_OWNER(node, struct peer, all);
        if (p->phase == PEER_READY && i-- == 0)
            return p;
    }
    return NULL;
}

bool leader_peer(const struct leader *l, unsigned i, struct peer_info *out)
{
    const struct peer *p = ready_peer(l, i);
    if (p == NULL)
        return false;
    *out = (struct peer_info){
        .member = p->member, .http = p->http, .address = p->address, .connected = true, .counted = p->counted,
        .caught_up = p->caught_up, .amnesiac = p->amnesiac, .shipped_bytes = p->shipped_bytes,
    };
    lag_of(p, out);
    return true;
}

bool leader_feed(const struct topic *t, unsigned i, struct feed_info *out)
{
    struct list *head = (struct list *)(uintptr_t)&t->lead.feeds;
    LIST_EACH(node, head) {
        const struct feed *f = LIST_OWNER(node, struct feed, of_topic);
        if (f->started && i-- == 0) {
            *out = (struct feed_info){.member = f->peer->member, .acked = feed_acked(f), .counted = f->peer->counted};
            return true;
        }
    }
    return false;
}

uint64_t leader_stalled_ns(const struct leader *l)
{
    return l->leading && l->stalled_ns ? clock_ns() - l->stalled_ns : 0;
}

uint64_t leader_shipped_bytes(const struct leader *l)
{
    return l->shipped_bytes;
}
