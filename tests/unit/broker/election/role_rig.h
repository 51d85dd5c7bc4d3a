/*
 * What the tests of roles share: a node's role on a data directory of its own, registers as Consul would show them, and
 * the steps that make a follower a leader.
 */
#ifndef ELECTION_ROLE_RIG_H
#define ELECTION_ROLE_RIG_H

#include "broker/election/role.h"
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include "base/clock.h"
#include "base/err.h"
#include "base/say.h"
#include "store/disk/io.h"
#include "store/recovery/open.h"
#include "unit/unit.h"

struct node {
    struct store *store;
    struct role role;
};

static const struct holdings nothing = {.empty = true, .copies_min = 1};
static const struct holdings messages = {.copies_min = 1};

static inline void open_as(struct node *n, bool alone)
{
    struct buf why = {0};
    struct store_options o = {.path = "data", .node_name = "n1", .files_max = 16};
    CHECK_EQ(store_open(&o, &n->store, &why), 0);
    if (alone)
        CHECK_EQ(role_init_alone(&n->role, n->store), 0);
    else
        role_init_follower(&n->role, n->store);
    n->role.lease_ns = 10 * NS_PER_S;
}

static inline struct node follower(void)
{
    struct node n;
    open_as(&n, false);
    return n;
}

static inline void stop(struct node *n)
{
    store_close(n->store);
}

static inline void restart(struct node *n)
{
    store_close(n->store);
    open_as(n, false);
}

static inline void forget_all(struct node *n)
{
    stop(n);
    CHECK_EQ(system("rm -r data"), 0);
}

static inline struct member other(const char *name)
{
    struct id id = {{7}};
    return member_of(name, &id);
}

/* A register of this node's cluster. Members are given by name: "n1" is this node. */
static inline struct synced_register value(struct node *n, uint64_t epoch, uint64_t version, const char *leader)
{
    struct synced_register v = {.cluster = store_state(n->store)->cluster, .epoch = epoch, .version = version};
    v.leader = strcmp(leader, "n1") == 0 ? n->role.self : other(leader);
    return v;
}

static inline void with(struct node *n, struct synced_register *v, const char *member)
{
    struct member m = strcmp(member, "n1") == 0 ? n->role.self : other(member);
    CHECK(members_add(&v->set, &m));
}

static inline struct state on_disk(void)
{
    struct state s;
    CHECK_EQ(state_load("data", &s), 0);
    return s;
}

static inline const char *claim_refused(struct node *n, enum claim_kind kind, const struct holdings *h)
{
    struct synced_register v = {.epoch = 12345};
    const char *why = NULL;
    CHECK_EQ(role_claim(&n->role, kind, h, &v, &why), -ERR_NOT_ELIGIBLE);
    CHECK_EQ(v.epoch, 12345);
    CHECK(!n->role.claiming);
    CHECK(why != NULL && why[0] != '\0');
    return why;
}

static inline struct synced_register claimed(struct node *n, enum claim_kind kind, const struct holdings *h)
{
    struct synced_register v;
    const char *why = NULL;
    if (role_claim(&n->role, kind, h, &v, &why) < 0)
        unit_failed(__FILE__, __LINE__, "claim: %s", why);
    return v;
}

/* Leads epoch 6 with n1 and n2, after n3's epoch 5. */
static inline struct node leader(void)
{
    struct node n = follower();
    struct synced_register v = value(&n, 5, 9, "n3");
    with(&n, &v, "n1");
    with(&n, &v, "n2");
    with(&n, &v, "n3");
    CHECK_EQ(role_see(&n.role, &v, 77, &messages, clock_ns()), VERDICT_OTHER);
    v = claimed(&n, CLAIM_CLEAN, &messages);
    CHECK_EQ(role_lead(&n.role, &v, 78), 0);
    CHECK_EQ(n.role.kind, ROLE_LEADER);
    return n;
}

/* The node reads a flag at Consul, in the register that it has seen. */
static inline void read_flag(struct node *n, struct register_stamp lost)
{
    struct synced_register v = n->role.seen;
    v.lost = lost;
    CHECK_EQ(role_see(&n->role, &v, 79, &messages, clock_ns()), VERDICT_REGRESSED);
}

static inline void ask_for(struct node *n, const char *third)
{
    struct members set = n->role.synced.confirmed.set;
    struct member m = other(third);
    if (!members_remove(&set, &m))
        members_add(&set, &m);
    role_propose(&n->role, &set);
}

enum seen { NOTHING, FOREIGN, EPOCH_BACK, VERSION_BACK, SAME, OTHER_NEWER, SELF_NEWER, STRANGER, ASKED, SEEN_COUNT };

/* Around epoch 6, version 10, which is the newest that was seen. */
static inline struct synced_register seen_value(struct node *n, enum seen what)
{
    struct synced_register v = value(n, 6, 10, "n1");
    with(n, &v, "n1");
    with(n, &v, "n2");
    if (what == FOREIGN)
        v.cluster.bytes[0] ^= 1;
    if (what == EPOCH_BACK)
        v.epoch = 5, v.version = 1000;
    if (what == VERSION_BACK)
        v.version = 9;
    if (what == OTHER_NEWER)
        v.epoch = 7, v.version = 11, v.leader = other("n2");
    if (what == SELF_NEWER)
        v.epoch = 7, v.version = 11; /* ours by name, and of an epoch that this process never led */
    if (what == STRANGER)
        v.version = 11;
    if (what == ASKED) {
        v.version = 11;
        with(n, &v, "n3");
    }
    return v;
}

#endif
