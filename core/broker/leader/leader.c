#include "broker/leader/leader.h"

#include <errno.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/least.h"
#include "base/mem.h"
#include "base/say.h"
#include "broker/leader/barrier.h"
#include "broker/leader/call.h"
#include "broker/leader/feed.h"
#include "broker/leader/handshake.h"
#include "broker/leader/membership.h"
#include "broker/leader/requests.h"
#include "broker/wire/wire.h"

enum { LAG_PAUSE = 20 };             /* times what adding it up took */
#define RETURN_NS (1500 * NS_PER_MS)   /* how long a leader that hands over waits for a member to connect again */

/* ---- connections ---- */

/* The timer only ends the loop's sleep: the turn does the work. */
static void on_pace(void *arg)
{
    (void)arg;
}

struct leader *leader_new(const struct leader_options *o)
{
    struct leader *l = MEM_NEW(struct leader);
    l->loop = o->loop;
    l->role = o->role;
    l->topics = o->topics;
    l->tls = o->tls;
    l->http = o->http;
    l->lag_max_ns = o->lag_max_ns;
    list_init(&l->peers);
    list_init(&l->arrived);
    list_init(&l->unshipped);
    mark_init(&l->confirmed, 0);
    watch_timer(o->loop, &l->pace, on_pace, l);
    return l;
}

void leader_set_lag_max(struct leader *l, uint64_t lag_max_ns)
{
    l->lag_max_ns = lag_max_ns;
}

static void peer_free(struct peer *p)
{
    for (uint32_t i = 0; i < p->slots; i++)
        if (p->by_slot[i] != NULL)
            feed_free(p->by_slot[i]);
    confirm_forget(p);
    call_forget_peer(p);
    list_remove(&p->all);
    p->leader->peer_count--;
    link_free(p->link);
    mem_free(p->by_slot);
    mem_free(p);
}

void leader_accept(struct leader *l, int fd, const union address *from)
{
    /* The oldest handshake makes room: it should take milliseconds, and strangers must not keep followers out. */
    if (l->peer_count == LINKS_MAX) {
        LIST_EACH(node, &l->peers) {
            struct peer *p = LIST_OWNER(node, struct peer, all);
            if (p->phase != PEER_READY) {
                peer_free(p);
                break;
            }
        }
    }
    if (l->peer_count == LINKS_MAX) {
        close(fd);
        return;
    }
    struct peer *p = MEM_NEW(struct peer);
    p->leader = l;
    p->link = link_new(l->loop, fd, false);
    wire_secure(p->link, l->tls, TLS_SERVER, &store_state(l->role->store)->cluster);
    p->since_ns = p->heard_ns = p->spoken_ns = clock_ns();
    address_format(from, p->address);
    list_init(&p->dirty);
    list_init(&p->told_later);
    list_init(&p->behind);
    list_init(&p->barriers);
    list_init(&p->calls);
    list_push(&l->peers, &p->all);
    l->peer_count++;
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

void leader_begin(struct leader *l)
{
    struct topic *t;
    l->leading = true;
    l->damaged = false;
    l->stalled_ns = 0;
    membership_begin(l);
    for (size_t i = 0; (t = topics_at(l->topics, i)) != NULL; i++) {
        t->lead->begun = t->lead->ship = t->lead->sealed = t->tail.at;
        t->lead->begun_ns = clock_ns();
        t->lead->has_new_seal = false;
        list_remove(&t->lead->unshipped);
        leader_moved(l, t);
    }
    l->recount = true;
    membership_recount(l);
    topics_begin(l->topics);
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
    confirm_end(l);
}

struct mark *leader_barrier(struct leader *l, uint64_t *want)
{
    return confirm_begin(l, want);
}

bool leader_reached(struct leader *l, slice name, struct reached *out)
{
    return confirm_reached(l, name, out);
}

void leader_set_changed(struct leader *l)
{
    l->recount = true;
}

/* ---- marks ---- */

/* The lowest position of every member that counts, this node included; 0: `peers` must not rise now. Of a `wal` topic
 * it is never above what may be sent, also while this node is the only member: a node that joins has to have all of it
 * [m], and could not if the mark ran ahead. */
uint64_t leader_peers(struct leader *l, struct topic *t)
{
    bool live = t->settings->replication == REPLICATION_LIVE;
    uint64_t lowest = live ? topic_own_mark(t)->at : topic_shippable(t);
    unsigned counted = 0;
    if (l->recount || l->missing > 0 || (live && role_copies(l->role) < t->settings->copies))
        return 0;
    LIST_EACH(node, &t->lead->feeds) {
        const struct feed *f = LIST_OWNER(node, struct feed, of_topic);
        if (!f->peer->counted)
            continue;
        counted++;
        lowest = least(lowest, feed_acked(f));
    }
    return counted < l->counted ? 0 : lowest;
}

void leader_moved(struct leader *l, struct topic *t)
{
    uint64_t own = topic_own_mark(t)->at;
    if (!l->leading)
        return;
    if (t->settings->replication == REPLICATION_LIVE || t->lead->ship >= own) {
        list_remove(&t->lead->unshipped);
    } else {
        l->ship_news = l->ship_news || list_empty(&l->unshipped) || (t->lead->has_new_seal && own >= t->lead->sealed);
        if (list_alone(&t->lead->unshipped))
            list_push(&l->unshipped, &t->lead->unshipped);
    }
    LIST_EACH(node, &t->lead->feeds)
        feed_moved(LIST_OWNER(node, struct feed, of_topic));
}

void leader_dropped(struct leader *l, struct topic *t)
{
    (void)l;
    list_remove(&t->lead->unshipped);
    LIST_EACH(node, &t->lead->feeds)
        feed_free(LIST_OWNER(node, struct feed, of_topic));
}

unsigned leader_unshipped(struct leader *l, struct topic **out, unsigned max)
{
    unsigned n = 0;
    l->ship_news = false;
    LIST_EACH(node, &l->unshipped) {
        struct topic *t = LIST_OWNER(node, struct topic_lead, unshipped)->topic;
        if (n == max || (n > 0 && t == out[0]))
            break;
        t->lead->has_new_seal = false;
        out[n++] = t;
        list_remove(node);           /* to the end: the others come first next time */
        list_push(&l->unshipped, node);
    }
    return n;
}

bool leader_has_ship_news(const struct leader *l)
{
    return l->ship_news;
}

/* ---- the turn ---- */

static void peer_receive(struct peer *p)
{
    unsigned char type;
    slice payload;
    unsigned left = LINK_STEP;
    while (!p->closing && left > 0 && link_listens(p->link) && link_take(p->link, &type, &payload)) {
        left--;
        p->heard_ns = clock_ns();
        if (p->phase == PEER_READY)
            requests_frame(p, type, payload);
        else
            handshake_frame(p, type, payload);
    }
    if (left == 0)
        loop_again(p->leader->loop);
    else if (link_state(p->link) == LINK_ENDED)
        p->closing = true;
}

void leader_receive(struct leader *l)
{
    LIST_EACH(node, &l->peers)
        peer_receive(LIST_OWNER(node, struct peer, all));
    LIST_EACH(node, &l->peers) {
        struct peer *p = LIST_OWNER(node, struct peer, all);
        if (!p->closing)
            continue;
        if (p->phase == PEER_READY)
            say_limited(&l->moves, SAY_INFO, "leader", "follower gone member=%s reason=\"%s\"", p->member.text,
                        link_why(p->link));
        else if (link_error(p->link) == -EPROTO)
            say_limited(&l->refusals, SAY_WARN, "leader", "refused a connection address=%s reason=\"%s\"", p->address,
                        link_why(p->link));
        membership_left(p);
        peer_free(p);
    }
    membership_recount(l);
    confirm_turn(l);
}

void leader_send(struct leader *l)
{
    membership_recount(l);           /* scripts may have told of a changed set since leader_receive */
    confirm_turn(l);
    LIST_EACH(node, &l->peers)
        feeds_send(LIST_OWNER(node, struct peer, all));
}

bool leader_tick(struct leader *l)
{
    return membership_tick(l);
}

/* ---- an orderly stop ---- */

void leader_ship_all(struct leader *l)
{
    struct topic *t;
    for (size_t i = 0; (t = topics_at(l->topics, i)) != NULL; i++) {
        t->lead->ship = t->tail.at;
        topic_settle(t);
    }
}

/* What lacks something is in peer.behind: leader_ship_all has settled all topics after the last append. */
bool leader_drained(struct leader *l)
{
    uint64_t now = clock_ns();
    for (unsigned i = 0; i < l->absent_count; i++)
        if (role_counts(l->role, &l->absent[i].member) && now - l->absent[i].since_ns < RETURN_NS)
            return false;
    LIST_EACH(node, &l->peers) {
        const struct peer *p = LIST_OWNER(node, struct peer, all);
        if (!p->counted || p->closing)
            continue;
        LIST_EACH(behind, &p->behind) {
            const struct feed *f = LIST_OWNER(behind, struct feed, behind);
            if (f->started && !f->stuck && feed_acked(f) < f->topic->tail.at)
                return false;
        }
    }
    return true;
}

/* ---- status ---- */

void leader_damaged(struct leader *l)
{
    l->damaged = true;
}

const char *leader_unfit(const struct leader *l)
{
    return l->damaged && l->counted > 0 ? "records that followers need are damaged here" : NULL;
}

static void lag_add(const struct feed *f, uint64_t now, struct peer_lag *out)
{
    const struct topic *t = f->topic;
    struct journal_info info;
    journal_info(t->journal, &info);
    uint64_t messages = t->tail.at - feed_acked(f), all = info.tail - info.first;
    double seconds = (double)(now - f->caught_ns) / (double)NS_PER_S;
    out->messages += messages;
    out->bytes += all ? info.bytes / all * messages : 0;   /* by the average message: positions are not known */
    if (seconds > out->seconds)
        out->seconds = seconds;
}

/* While a node catches up with a million topics all of them are behind, so this takes at most a 20th of the time. */
static const struct peer_lag *peer_lag(struct peer *p)
{
    uint64_t now = clock_ns();
    if (p->lag.next_ns > now)
        return &p->lag;
    p->lag = (struct peer_lag){0};
    LIST_EACH(node, &p->behind) {
        const struct feed *f = LIST_OWNER(node, struct feed, behind);
        if (feed_acked(f) < f->topic->tail.at)
            lag_add(f, now, &p->lag);
    }
    p->lag.next_ns = now + (clock_ns() - now) * LAG_PAUSE;
    return &p->lag;
}

bool leader_peer(struct leader *l, unsigned i, struct peer_info *out)
{
    LIST_EACH(node, &l->peers) {
        struct peer *p = LIST_OWNER(node, struct peer, all);
        if (p->phase != PEER_READY || i-- > 0)
            continue;
        const struct peer_lag *lag = peer_lag(p);
        *out = (struct peer_info){
            .member = p->member, .http = p->http, .address = p->address, .connected = true, .counted = p->counted,
            .caught_up = p->caught_up, .amnesiac = p->amnesiac, .shipped_bytes = p->shipped_bytes,
            .lag_messages = lag->messages, .lag_bytes = lag->bytes, .lag_seconds = lag->seconds,
        };
        return true;
    }
    return false;
}

bool leader_feed(const struct topic *t, unsigned i, struct feed_info *out)
{
    if (t->lead == NULL)
        return false;
    const struct list *feeds = &t->lead->feeds;
    for (const struct list *node = feeds->next; node != feeds; node = node->next) {
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
