/*
 * A follower that is none, or lies: its greeting, and what the leader makes of it.
 */
#ifndef LEADER_HOSTILE_FOLLOWER_H
#define LEADER_HOSTILE_FOLLOWER_H

#include "unit/wild.h"

struct hello {
    unsigned version;
    const struct id *cluster;     /* NULL: the right one */
    const char *member, *http;
    unsigned flags;
    struct register_stamp known;
};

static const struct hello usual = {.version = WIRE_VERSION, .member = MEMBER, .http = "127.0.0.1:2"};

static void put_hello(struct buf *out, const struct node *leader, struct hello h)
{
    put_u16(out, h.version);
    put_id(out, h.cluster != NULL ? h.cluster : &store_state(leader->store)->cluster);
    put_text(out, slice_from(h.member));
    put_text(out, slice_from(h.http));
    put_u8(out, h.flags);
    put_u64(out, h.known.epoch);
    put_u64(out, h.known.version);
    put_id(out, &h.known.leader);
}

static void send_hello(struct wild *w, const struct node *leader, struct hello h)
{
    struct buf out = {0};
    put_hello(&out, leader, h);
    wild_send(w, WIRE_HELLO, buf_slice(&out));
    buf_fini(&out);
}

static void send_hello_knowing(struct wild *w, const struct node *leader, struct register_stamp known)
{
    struct hello h = usual;
    h.known = known;
    send_hello(w, leader, h);
}

static void send_promise(struct wild *w, uint64_t epoch)
{
    struct buf out = {0};
    put_u64(&out, epoch);
    wild_send(w, WIRE_PROMISE, buf_slice(&out));
    buf_fini(&out);
}

static const struct peer *wild_peer(const struct node *leader)
{
    LIST_EACH(node, &cluster_leader(leader->cluster)->peers) {
        const struct peer *p = LIST_OWNER(node, struct peer, all);
        if (strcmp(p->member.text, MEMBER) == 0 && p->phase == PEER_READY && !p->closing)
            return p;
    }
    return NULL;
}

static struct wild ready_follower(const struct node *leader)
{
    struct wild w = dial_to(leader);
    send_hello(&w, leader, usual);
    WAIT_UNTIL(wild_got(&w, WIRE_WELCOME));
    send_promise(&w, leader->role.epoch);
    WAIT_UNTIL((wild_turn(&w), wild_peer(leader) != NULL));
    return w;
}

/* At once, and not for its silence. */
static void check_refused(struct wild *w)
{
    uint64_t begun = clock_ns();
    WAIT_UNTIL(wild_ended(w));
    CHECK(clock_ns() - begun < SILENCE_MS / 2 * NS_PER_MS);
    wild_close(w);
}

static unsigned peers_of(const struct node *n)
{
    return cluster_leader(n->cluster)->peer_count;
}

#endif
