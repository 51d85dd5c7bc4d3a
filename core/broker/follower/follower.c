#include "broker/follower/follower.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/least.h"
#include "base/mem.h"
#include "base/say.h"
#include "broker/follower/barrier.h"
#include "broker/follower/call.h"
#include "broker/follower/handshake.h"
#include "broker/follower/reconcile.h"
#include "broker/follower/refetch.h"
#include "broker/follower/stream.h"
#include "net/address.h"

/* Pauses before dialling again: short at first, as a leader may just be beginning to lead, then longer; much longer
 * where an operator has to say whose history counts. */
#define RETRY_FIRST_NS (20 * NS_PER_MS)
#define RETRY_MAX_NS NS_PER_S
#define RETRY_STUCK_NS (30 * NS_PER_S)

struct follower *follower_new(const struct follower_options *o)
{
    struct follower *f = MEM_NEW(struct follower);
    f->loop = o->loop;
    f->role = o->role;
    f->topics = o->topics;
    f->tls = o->tls;
    f->http = o->http;
    list_init(&f->unplaced);
    list_init(&f->held);
    list_init(&f->unacked);
    list_init(&f->calls);
    mark_init(&f->answered, 0);
    f->reached = mem_new(BARRIERS_MAX * sizeof *f->reached);
    return f;
}

void follower_free(struct follower *f)
{
    refetch_cancel(f);
    call_hang_up(f);
    if (f->link != NULL)
        link_free(f->link);
    mem_free(f->by_slot);
    mem_free(f->reached);
    mem_free(f);
}

/* ---- the connection ---- */

/* What a leader stated of offsets that have not arrived must not be applied to those that the next leader sends. */
static void unplace(struct follower *f, struct topic *t)
{
    struct topic_follow *tf = t->follow;
    f->placed -= tf->placed;
    tf->told_readable = least(tf->told_readable, t->tail.at);
    tf->told_peers = least(tf->told_peers, t->tail.at);
    tf->slot = 0;
    tf->known = tf->placed = tf->held = false;
    tf->acked_written = tf->acked_disk = 0;
    buf_fini(&tf->senders);
    journal_defer_sync(t->journal, false);
    list_remove(&tf->placing);
    list_push(&f->unplaced, &tf->placing);
}

static void hang_up(struct follower *f)
{
    struct topic *t;
    if (f->link != NULL)
        link_free(f->link);
    f->link = NULL;
    f->failed = false;
    bool asked = f->phase == UPSTREAM_READY;   /* before that, all topics are unplaced */
    f->phase = UPSTREAM_NONE;
    for (size_t i = 0; asked && (t = topics_at(f->topics, i)) != NULL; i++)
        unplace(f, t);
    mem_free(f->by_slot);
    f->by_slot = NULL;
    f->slots = f->slots_cap = 0;
    f->log_placed = false;
    topics_note_leader(f->topics, UINT64_MAX);
    refetch_cancel(f);
    barrier_hang_up(f);
    call_hang_up(f);
}

/* If upstream_fail has recorded a reason: hangs up, and dials again later. */
static void act_on_failure(struct follower *f)
{
    uint64_t now = clock_ns();
    if (!f->failed)
        return;
    if ((f->phase == UPSTREAM_READY && !f->stuck) || strcmp(f->why, f->said) != 0)
        say_limited(&f->failures, SAY_WARN, "follower",
                    "no connection to the leader member=%s address=%s reason=\"%s\"", f->leader.member.text,
                    f->leader.replication, f->why);
    snprintf(f->said, sizeof(f->said), "%s", f->why);
    /* A connection that was good for some time starts the pauses over; one that fails at once does not. */
    bool was_good = f->phase == UPSTREAM_READY && now - f->since_ns > RETRY_MAX_NS;
    if (was_good || f->retry_ns == 0)
        f->retry_ns = RETRY_FIRST_NS;
    else
        f->retry_ns = least(f->retry_ns * 2, f->stuck ? RETRY_STUCK_NS : RETRY_MAX_NS);
    f->dial_at_ns = now + f->retry_ns;
    hang_up(f);
}

static void dial(struct follower *f)
{
    int fd = address_dial(slice_from(f->leader.replication));
    f->refused = fd == -ECONNREFUSED;
    if (fd < 0) {
        upstream_fail(f, err_sentence(fd));
        act_on_failure(f);
        return;
    }
    f->link = link_new(f->loop, fd, true);
    wire_secure(f->link, f->tls, TLS_CLIENT, &store_state(f->role->store)->cluster);
    f->phase = UPSTREAM_HELLO;
    f->since_ns = f->heard_ns = f->spoken_ns = clock_ns();
    handshake_hello(f);
}

void follower_follow(struct follower *f, const struct leader_address *leader)
{
    struct topic *t;
    bool same = leader != NULL && f->follows && member_eq(&leader->member, &f->leader.member) &&
                leader->epoch == f->leader.epoch && strcmp(leader->replication, f->leader.replication) == 0;
    if (same)
        return;
    hang_up(f);
    f->leader_losses += f->follows;
    for (size_t i = 0; (t = topics_at(f->topics, i)) != NULL; i++)
        t->follow->refetch = false;   /* what differs from one leader's history may be the same in the next one's */
    f->follows = leader != NULL;
    f->refused = f->stuck = false;
    f->said[0] = '\0';
    f->retry_ns = 0;
    f->leader_http[0] = '\0';
    if (leader == NULL)
        return;
    f->leader = *leader;
    dial(f);
}

const struct leader_address *follower_leader(const struct follower *f)
{
    return f->follows ? &f->leader : NULL;
}

const char *follower_leader_http(const struct follower *f)
{
    return f->leader_http[0] == '\0' && f->follows && f->tls == NULL ? f->leader.http : f->leader_http;
}

/* ---- the turn ---- */

void follower_receive(struct follower *f)
{
    unsigned char type;
    slice payload;
    if (f->link == NULL)
        return;
    f->waits = false;
    unsigned left = LINK_STEP;
    while (!f->failed && !f->waits && left > 0 && link_listens(f->link) && link_take(f->link, &type, &payload)) {
        left--;
        f->heard_ns = clock_ns();
        if (f->phase == UPSTREAM_READY) {
            stream_frame(f, type, payload);
            if (!f->suspended)
                f->leader_heard_ns = f->heard_ns;
            if (f->waits)
                link_put_back(f->link);
        } else {
            handshake_answer(f, type, payload);
        }
    }
    if (left == 0)
        loop_again(f->loop);
    else if (!f->failed && link_state(f->link) == LINK_ENDED) {
        f->refused = link_error(f->link) == -ECONNREFUSED;
        upstream_fail(f, f->refused ? "nobody listens there" : link_why(f->link));
    }
    act_on_failure(f);
}

/* Has the mark risen at which the topic acknowledges here? Then both marks are sent: the leader's settings may be
 * newer, and it counts by its own. */
static bool has_news(struct topic *t)
{
    struct mark *own = topic_own_mark(t);
    return t->follow->placed && own->at > (own == &t->disk ? t->follow->acked_disk : t->follow->acked_written);
}

static void send_acks(struct follower *f)
{
    struct buf *out = NULL;
    LIST_EACH(node, &f->unacked) {
        struct topic *t = LIST_OWNER(node, struct topic_follow, placing)->topic;
        list_remove(&t->follow->placing);
        if (!has_news(t))
            continue;
        if (out == NULL)
            out = link_begin(f->link, WIRE_ACK);
        t->follow->acked_written = t->written.at;
        t->follow->acked_disk = t->disk.at;
        put_u32(out, t->follow->slot);
        put_u64(out, t->follow->acked_written);
        put_u64(out, t->follow->acked_disk);
    }
    if (out != NULL)
        link_end(f->link);
}

/* _topics comes first: it says which topics there are. */
static void ask_positions(struct follower *f)
{
    struct topic *log = topics_log(f->topics);
    if (!list_empty(&f->held) && clock_ns() >= f->held_ns) {
        f->held_ns = clock_ns() + HELD_NS;
        LIST_EACH(node, &f->held) {
            struct topic *t = LIST_OWNER(node, struct topic_follow, placing)->topic;
            if (t == f->refetch.topic)
                continue;            /* it waits for its repair */
            t->follow->held = false;
            list_remove(node);
            list_push(&f->unplaced, node);
        }
    }
    if (!f->log_placed && !log->follow->held && !list_alone(&log->follow->placing))
        reconcile_ask(f, log);
    unsigned left = LINK_STEP;
    while (!f->failed && f->log_placed && !list_empty(&f->unplaced) && link_unsent(f->link) < LINK_UNSENT_MAX &&
           left-- > 0)
        reconcile_ask(f, list_first(&f->unplaced, struct topic_follow, placing)->topic);
    if (f->log_placed && !list_empty(&f->unplaced) && link_unsent(f->link) < LINK_UNSENT_MAX)
        loop_again(f->loop);
}

void follower_send(struct follower *f)
{
    if (f->phase == UPSTREAM_READY)
        ask_positions(f);
    if (f->phase == UPSTREAM_READY && !f->failed) {
        send_acks(f);
        refetch_continue(f);
    }
    act_on_failure(f);
    if (f->link == NULL)
        return;
    if (link_unsent(f->link) > 0)
        f->spoken_ns = clock_ns();
    link_flush(f->link);
}

bool follower_tick(struct follower *f)
{
    uint64_t now = clock_ns();
    say_limit_end(&f->failures);
    say_limit_end(&f->moves);
    say_limit_end(&f->faults);
    if (!f->follows)
        return false;
    if (f->link == NULL) {
        if (now >= f->dial_at_ns)
            dial(f);
        return true;
    }
    bool late = f->phase != UPSTREAM_READY && now - f->since_ns > HANDSHAKE_MS * NS_PER_MS;
    if (late || now - f->heard_ns > SILENCE_MS * NS_PER_MS) {
        f->leader_losses++;
        upstream_fail(f, late ? "its handshake took too long" : "it has been silent for too long");
        act_on_failure(f);
        return true;
    }
    if (f->phase == UPSTREAM_READY && now - f->spoken_ns >= PING_MS * NS_PER_MS) {
        link_begin(f->link, WIRE_PING);
        link_end(f->link);
        f->spoken_ns = now;
        link_flush(f->link);
    }
    if (f->phase == UPSTREAM_READY)
        stream_settle(f);
    link_rest(f->link);
    return f->phase != UPSTREAM_READY;
}

void follower_audited(struct follower *f, struct topic *t, const struct file_info *file)
{
    if (f->phase != UPSTREAM_READY || !t->follow->placed || !file->has_crc)
        return;
    struct buf *out = link_begin(f->link, WIRE_AUDIT);
    put_u32(out, t->follow->slot);
    put_u64(out, file->first);
    put_u64(out, file->next);
    put_u32(out, file->crc);
    link_end(f->link);
}

void follower_tell_uses(struct follower *f, uint64_t now_ns)
{
    struct expiry *e = topics_expiry(f->topics);
    struct buf *out = NULL;
    struct topic *t;
    for (unsigned i = 0; i < EXPIRE_STEP_LOOKS && (t = expiry_look(e, now_ns)) != NULL; i++) {
        uint64_t ago_ms = topic_unused_ns(t, now_ns) / NS_PER_MS;
        if (f->phase != UPSTREAM_READY || f->failed || !t->follow->placed || ago_ms >= t->settings->expire_ms)
            continue;
        if (out == NULL)
            out = link_begin(f->link, WIRE_USED);
        put_u32(out, t->follow->slot);
        put_u64(out, ago_ms);
    }
    if (out != NULL)
        link_end(f->link);
}

/* ---- topics ---- */

void follower_moved(struct follower *f, struct topic *t)
{
    if (has_news(t) && list_alone(&t->follow->placing))
        list_push(&f->unacked, &t->follow->placing);
}

void follower_opened(struct follower *f, struct topic *t)
{
    unplace(f, t);
}

void follower_dropped(struct follower *f, struct topic *t)
{
    f->placed -= t->follow->placed;
    list_remove(&t->follow->placing);
    buf_fini(&t->follow->senders);
    if (t->follow->slot < f->slots)
        f->by_slot[t->follow->slot] = NULL;
    if (t == f->refetch.topic)
        refetch_cancel(f);
}

/* ---- status ---- */

static bool is_silent(const struct follower *f)
{
    return f->follows && f->leader_heard_ns > 0 && clock_ns() - f->leader_heard_ns > SILENT_MS * NS_PER_MS;
}

unsigned follower_connection(const struct follower *f)
{
    return (is_silent(f) ? 4 : 0) | (f->phase == UPSTREAM_READY ? 2 : 0) | (f->refused ? 1 : 0);
}

unsigned follower_leader_losses(const struct follower *f)
{
    return f->leader_losses;
}

uint64_t follower_heard_ns(const struct follower *f)
{
    return f->leader_heard_ns;
}

void follower_info(const struct follower *f, struct follower_info *out)
{
    *out = (struct follower_info){
        .connected = f->phase == UPSTREAM_READY, .refused = f->refused, .silent = is_silent(f),
        .why = f->said[0] ? f->said : NULL,
        .received_bytes = f->received_bytes,
        .diverged_messages = f->diverged_messages, .refetched_files = f->refetched_files,
        .unplaced = topics_count(f->topics) - f->placed,
    };
}
