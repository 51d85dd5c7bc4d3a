#include "broker/follower/follower.h"

#include <errno.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/least.h"
#include "base/mem.h"
#include "base/say.h"
#include "broker/follower/upstream.h"
#include "net/address.h"

/* Dialling again: soon at first, as a leader may just be starting to lead, then more slowly; where an operator has to
 * say whose history counts, much more slowly. */
#define RETRY_FIRST_NS (20 * NS_PER_MS)
#define RETRY_MAX_NS NS_PER_S
#define RETRY_STUCK_NS (30 * NS_PER_S)

/* ---- the connection ---- */

struct follower *follower_new(const struct follower_options *o)
{
    struct follower *f = MEM_NEW(struct follower);
    f->o = *o;
    list_init(&f->unplaced);
    list_init(&f->held);
    list_init(&f->unacked);
    return f;
}

/* What a leader said of offsets that have not come may not be said of those that come from the next one. */
static void place_later(struct follower *f, struct topic *t)
{
    t->follow.told_readable = least(t->follow.told_readable, t->tail.at);
    t->follow.told_peers = least(t->follow.told_peers, t->tail.at);
    t->follow.slot = 0;
    t->follow.known = t->follow.placed = t->follow.held = false;
    t->follow.acked_written = t->follow.acked_disk = 0;
    journal_defer_sync(t->journal, false);
    list_remove(&t->follow.placing);
    list_push(&f->unplaced, &t->follow.placing);
}

static void unplace_all(struct follower *f)
{
    struct topic *t;
    for (size_t i = 0; (t = topics_at(f->o.topics, i)) != NULL; i++)
        place_later(f, t);
    mem_free(f->by_slot);
    f->by_slot = NULL;
    f->slots = f->slots_cap = 0;
    f->log_placed = false;
    refetch_cancel(f);
}

static void hang_up(struct follower *f)
{
    if (f->link != NULL)
        link_free(f->link);
    f->link = NULL;
    f->phase = UPSTREAM_NONE;
    unplace_all(f);
}

void follower_free(struct follower *f)
{
    refetch_cancel(f);
    if (f->link != NULL)
        link_free(f->link);
    mem_free(f->by_slot);
    mem_free(f);
}

/* A connection that was not good for long is no reason to dial the more often. */
static uint64_t retry_next(const struct follower *f, uint64_t now)
{
    uint64_t most = f->stuck ? RETRY_STUCK_NS : RETRY_MAX_NS;
    bool held = f->phase == UPSTREAM_READY && now - f->since_ns > RETRY_MAX_NS;
    if (held || f->retry_ns == 0)
        return RETRY_FIRST_NS;
    return least(f->retry_ns * 2, most);
}

void upstream_fail(struct follower *f, const char *why)
{
    uint64_t now = clock_ns();
    if ((f->phase == UPSTREAM_READY && !f->stuck) || !f->said)
        say_limited(&f->failures, SAY_WARN, "follower",
                    "no connection to the leader member=%s address=%s reason=\"%s\"", f->leader.member.text,
                    f->leader.replication, why);
    f->said = true;
    f->retry_ns = retry_next(f, now);
    f->dial_at_ns = now + f->retry_ns;
    hang_up(f);
}

static void dial(struct follower *f)
{
    int fd = address_dial(slice_from(f->leader.replication));
    f->refused = fd == -ECONNREFUSED;
    if (fd < 0) {
        upstream_fail(f, err_sentence(fd));
        return;
    }
    f->link = link_new(f->o.loop, fd, true);
    wire_secure(f->link, f->o.tls, TLS_CLIENT, &store_state(f->o.role->store)->cluster);
    f->phase = UPSTREAM_HELLO;
    f->since_ns = f->heard_ns = f->spoken_ns = clock_ns();
    upstream_hello(f);
}

/* What differs from one leader's history need not differ from the next one's. */
static void forget_differences(struct follower *f)
{
    struct topic *t;
    for (size_t i = 0; (t = topics_at(f->o.topics, i)) != NULL; i++)
        t->follow.refetch = false;
}

void follower_follow(struct follower *f, const struct leader_address *leader)
{
    bool same = leader != NULL && f->follows && member_eq(&leader->member, &f->leader.member) &&
                leader->epoch == f->leader.epoch && strcmp(leader->replication, f->leader.replication) == 0;
    if (same)
        return;
    hang_up(f);
    f->lost += f->follows;
    forget_differences(f);
    f->follows = leader != NULL;
    f->refused = f->said = f->stuck = false;
    f->retry_ns = 0;
    if (leader == NULL)
        return;
    f->leader = *leader;
    dial(f);
}

const struct leader_address *follower_leader(const struct follower *f)
{
    return f->follows ? &f->leader : NULL;
}

/* ---- the turn ---- */

void follower_receive(struct follower *f)
{
    unsigned char type;
    slice payload;
    while (f->link != NULL && link_unsent(f->link) < LINK_ANSWERS_MAX && link_take(f->link, &type, &payload)) {
        f->heard_ns = clock_ns();
        if (f->phase == UPSTREAM_READY)
            f->told_ns = f->heard_ns;
        if (f->phase == UPSTREAM_READY)
            upstream_frame(f, type, payload);
        else
            upstream_greet(f, type, payload);
    }
    if (f->link == NULL || link_state(f->link) != LINK_ENDED)
        return;
    f->refused = link_error(f->link) == -ECONNREFUSED;
    upstream_fail(f, f->refused ? "nobody listens there" : link_why(f->link));
}

/* Both marks are told whenever the one rises by which the topic acknowledges here: the leader, whose settings may be
 * newer, counts by its own. */
static bool has_news(struct topic *t)
{
    struct mark *own = topic_own_mark(t);
    return t->follow.placed && own->at > (own == &t->disk ? t->follow.acked_disk : t->follow.acked_written);
}

static void send_acks(struct follower *f)
{
    struct buf *out = NULL;
    LIST_EACH(node, &f->unacked) {
        struct topic *t = LIST_OWNER(node, struct topic, follow.placing);
        list_remove(&t->follow.placing);
        if (!has_news(t))
            continue;
        if (out == NULL)
            out = link_begin(f->link, WIRE_ACK);
        t->follow.acked_written = t->written.at;
        t->follow.acked_disk = t->disk.at;
        put_u32(out, t->follow.slot);
        put_u64(out, t->follow.acked_written);
        put_u64(out, t->follow.acked_disk);
    }
    if (out != NULL)
        link_end(f->link);
}

/* One that is being mended waits for that. */
static void ask_again(struct follower *f)
{
    if (list_empty(&f->held) || clock_ns() < f->held_ns)
        return;
    f->held_ns = clock_ns() + HELD_NS;
    LIST_EACH(node, &f->held) {
        struct topic *t = LIST_OWNER(node, struct topic, follow.placing);
        if (t == f->refetch.topic)
            continue;
        t->follow.held = false;
        list_remove(node);
        list_push(&f->unplaced, node);
    }
}

/* _topics comes first: it says which topics there are. */
static void ask_positions(struct follower *f)
{
    struct topic *log = topics_log(f->o.topics);
    ask_again(f);
    if (!f->log_placed && !log->follow.held && !list_alone(&log->follow.placing))
        upstream_ask(f, log);
    while (f->log_placed && !list_empty(&f->unplaced) && link_unsent(f->link) < LINK_UNSENT_MAX)
        upstream_ask(f, list_first(&f->unplaced, struct topic, follow.placing));
}

void follower_send(struct follower *f)
{
    if (f->phase == UPSTREAM_READY) {
        ask_positions(f);
        send_acks(f);
        refetch_continue(f);
    }
    if (f->link == NULL)
        return;
    if (link_unsent(f->link) > 0)
        f->spoken_ns = clock_ns();
    link_flush(f->link);
}

static void ping(struct follower *f, uint64_t now)
{
    if (now - f->spoken_ns < PING_MS * NS_PER_MS)
        return;
    link_begin(f->link, WIRE_PING);
    link_end(f->link);
    f->spoken_ns = now;
    link_flush(f->link);
}

static void silent(struct follower *f, const char *why)
{
    f->lost++;
    upstream_fail(f, why);
}

bool follower_tick(struct follower *f)
{
    uint64_t now = clock_ns();
    say_limit_end(&f->failures);
    if (!f->follows)
        return false;
    if (f->link == NULL) {
        if (now >= f->dial_at_ns)
            dial(f);
        return true;                 /* `now` is before what dial() has noted */
    }
    if (f->phase != UPSTREAM_READY && now - f->since_ns > HANDSHAKE_MS * NS_PER_MS)
        silent(f, "its greeting took too long");
    else if (now - f->heard_ns > SILENCE_MS * NS_PER_MS)
        silent(f, "it has been silent for too long");
    else if (f->phase == UPSTREAM_READY)
        ping(f, now);
    if (f->phase == UPSTREAM_READY)
        upstream_settle(f);
    if (f->link != NULL)
        link_rest(f->link);
    return f->phase != UPSTREAM_READY;
}

/* ---- topics ---- */

void follower_moved(struct follower *f, struct topic *t)
{
    if (has_news(t) && list_alone(&t->follow.placing))
        list_push(&f->unacked, &t->follow.placing);
}

void follower_opened(struct follower *f, struct topic *t)
{
    place_later(f, t);
}

void follower_dropped(struct follower *f, struct topic *t)
{
    list_remove(&t->follow.placing);
    if (t->follow.slot < f->slots)
        f->by_slot[t->follow.slot] = NULL;
    refetch_topic_dropped(f, t);
}

unsigned follower_connection(const struct follower *f)
{
    return (f->phase == UPSTREAM_READY ? 2 : 0) | (f->refused ? 1 : 0);
}

unsigned follower_leader_losses(const struct follower *f)
{
    return f->lost;
}

int64_t follower_staleness_ms(const struct follower *f)
{
    return f->told_ns ? (int64_t)((clock_ns() - f->told_ns) / NS_PER_MS) : -1;
}

void follower_info(const struct follower *f, struct follower_info *out)
{
    *out = (struct follower_info){
        .connected = f->phase == UPSTREAM_READY, .refused = f->refused,
        .staleness = (double)follower_staleness_ms(f) / 1000.0, .received_bytes = f->received_bytes,
        .diverged_messages = f->diverged_messages, .refetched_files = f->refetched_files,
    };
    struct list *head = (struct list *)(uintptr_t)&f->unplaced;
    LIST_EACH(node, head)
        out->unplaced++;
    head = (struct list *)(uintptr_t)&f->held;
    LIST_EACH(node, head)
        out->unplaced++;
}
