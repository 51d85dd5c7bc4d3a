/* The state machine of leadership: what is seen, claimed, led, promised and asked for; what of it is on the disk. */
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

static void open_as(struct node *n, bool alone)
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

static struct node follower(void)
{
    struct node n;
    open_as(&n, false);
    return n;
}

static void stop(struct node *n)
{
    store_close(n->store);
}

static void restart(struct node *n)
{
    store_close(n->store);
    open_as(n, false);
}

static void forget_all(struct node *n)
{
    stop(n);
    CHECK_EQ(system("rm -r data"), 0);
}

static struct member other(const char *name)
{
    struct id id = {{7}};
    return member_of(name, &id);
}

/* A register of this node's cluster. Members are given by name: "n1" is this node. */
static struct synced_register value(struct node *n, uint64_t epoch, uint64_t version, const char *leader)
{
    struct synced_register v = {.cluster = store_state(n->store)->cluster, .epoch = epoch, .version = version};
    v.leader = strcmp(leader, "n1") == 0 ? n->role.self : other(leader);
    return v;
}

static void with(struct node *n, struct synced_register *v, const char *member)
{
    struct member m = strcmp(member, "n1") == 0 ? n->role.self : other(member);
    CHECK(members_add(&v->set, &m));
}

static struct state on_disk(void)
{
    struct state s;
    CHECK_EQ(state_load("data", &s), 0);
    return s;
}

static const char *claim_refused(struct node *n, enum claim_kind kind, const struct holdings *h)
{
    struct synced_register v = {.epoch = 12345};
    const char *why = NULL;
    CHECK_EQ(role_claim(&n->role, kind, h, &v, &why), -ERR_NOT_ELIGIBLE);
    CHECK_EQ(v.epoch, 12345);
    CHECK(!n->role.claiming);
    CHECK(why != NULL && why[0] != '\0');
    return why;
}

static struct synced_register claimed(struct node *n, enum claim_kind kind, const struct holdings *h)
{
    struct synced_register v;
    const char *why = NULL;
    if (role_claim(&n->role, kind, h, &v, &why) < 0)
        unit_failed(__FILE__, __LINE__, "claim: %s", why);
    return v;
}

/* Leads epoch 6 with n1 and n2, after n3's epoch 5. */
static struct node leader(void)
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

static void ask_for(struct node *n, const char *third)
{
    struct members set = n->role.synced.confirmed.set;
    struct member m = other(third);
    if (!members_remove(&set, &m))
        members_add(&set, &m);
    role_propose(&n->role, &set);
}

/* ---- alone ---- */

TEST(test_alone_takes_an_epoch_of_its_own_at_each_start)
{
    struct node n;
    open_as(&n, true);
    CHECK_EQ(n.role.epoch, 1);
    CHECK_EQ(on_disk().epoch, 1);
    struct state s = on_disk();
    CHECK(state_led(&s, 1));
    CHECK(role_leads(&n.role));
    CHECK(role_lease_valid(&n.role, UINT64_MAX));   /* it needs nobody's word */
    CHECK_EQ(role_copies(&n.role), 1);
    stop(&n);
    open_as(&n, true);
    CHECK_EQ(n.role.epoch, 2);
    stop(&n);
}

TEST(test_alone_neither_claims_nor_promises)
{
    struct node n;
    open_as(&n, true);
    struct register_stamp p = {.epoch = 100, .leader = {{1}}};
    claim_refused(&n, CLAIM_CLEAN, &messages);
    claim_refused(&n, CLAIM_UNCLEAN, &messages);
    CHECK_EQ(role_promise(&n.role, &p), -ERR_OLD_EPOCH);
    CHECK_EQ(n.role.kind, ROLE_ALONE);
    role_resign(&n.role);
    CHECK_EQ(n.role.kind, ROLE_ALONE);
    stop(&n);
}

/* ---- seeing ---- */

enum seen { NOTHING, FOREIGN, EPOCH_BACK, VERSION_BACK, SAME, OTHER_NEWER, SELF_NEWER, STRANGER, ASKED, SEEN_COUNT };

/* Around epoch 6, version 10, which is the newest that was seen. */
static struct synced_register seen_value(struct node *n, enum seen what)
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

struct expectation {
    enum verdict verdict;
    bool leads, regressed, foreign;
};

static void check_seen(struct node *n, enum seen what, const struct expectation *e)
{
    struct synced_register v = seen_value(n, what);
    n->role.confirmed_ns = 0;
    CHECK_EQ(role_see(&n->role, what == NOTHING ? NULL : &v, 80, &messages, clock_ns()), e->verdict);
    CHECK_EQ(n->role.kind == ROLE_LEADER, e->leads);
    CHECK_EQ(n->role.regressed, e->regressed);
    CHECK_EQ(n->role.foreign, e->foreign);
    CHECK_EQ(n->role.has_seen, what != NOTHING);
    CHECK_EQ(n->role.seen_index, what == NOTHING ? 0 : 80);
    CHECK_EQ(n->role.confirmed_ns > 0, e->leads);   /* only the very value confirms */
    CHECK_EQ(n->role.synced.proposing, e->leads && n->role.synced.proposing);
    struct state s = on_disk();
    bool back = what == EPOCH_BACK || what == VERSION_BACK || what == FOREIGN || what == NOTHING || what == SAME;
    CHECK_EQ(s.seen_epoch, back ? 6 : v.epoch);
    CHECK_EQ(s.seen_version, back ? 10 : v.version);
}

TEST(test_every_register_in_the_eyes_of_a_leader)
{
    static const struct expectation expected[SEEN_COUNT] = {
        [NOTHING] = {VERDICT_REGRESSED, false, true, false},
        [FOREIGN] = {VERDICT_FOREIGN, false, false, true},
        [EPOCH_BACK] = {VERDICT_REGRESSED, false, true, false},
        [VERSION_BACK] = {VERDICT_REGRESSED, false, true, false},
        [SAME] = {VERDICT_OURS, true, false, false},
        [OTHER_NEWER] = {VERDICT_OTHER, false, false, false},
        [SELF_NEWER] = {VERDICT_OTHER, false, false, false},
        [STRANGER] = {VERDICT_OTHER, false, false, false},
        [ASKED] = {VERDICT_OTHER, false, false, false},   /* nobody has asked */
    };
    for (enum seen what = NOTHING; what < SEEN_COUNT; what++) {
        struct node n = leader();
        CHECK_EQ(n.role.epoch, 6);
        check_seen(&n, what, &expected[what]);
        forget_all(&n);
    }
}

TEST(test_every_register_in_the_eyes_of_a_leader_that_asks)
{
    static const struct expectation expected[SEEN_COUNT] = {
        [NOTHING] = {VERDICT_REGRESSED, false, true, false},
        [FOREIGN] = {VERDICT_FOREIGN, false, false, true},
        [EPOCH_BACK] = {VERDICT_REGRESSED, false, true, false},
        [VERSION_BACK] = {VERDICT_REGRESSED, false, true, false},
        [SAME] = {VERDICT_OURS, true, false, false},
        [OTHER_NEWER] = {VERDICT_OTHER, false, false, false},
        [SELF_NEWER] = {VERDICT_OTHER, false, false, false},
        [STRANGER] = {VERDICT_OTHER, false, false, false},
        [ASKED] = {VERDICT_OURS, true, false, false},
    };
    for (enum seen what = NOTHING; what < SEEN_COUNT; what++) {
        struct node n = leader();
        ask_for(&n, "n3");
        check_seen(&n, what, &expected[what]);
        CHECK_EQ(n.role.synced.proposing, what == SAME);   /* the old value proves nothing */
        forget_all(&n);
    }
}

TEST(test_every_register_in_the_eyes_of_a_follower)
{
    static const struct expectation expected[SEEN_COUNT] = {
        [NOTHING] = {VERDICT_REGRESSED, false, true, false},
        [FOREIGN] = {VERDICT_FOREIGN, false, false, true},
        [EPOCH_BACK] = {VERDICT_REGRESSED, false, true, false},
        [VERSION_BACK] = {VERDICT_REGRESSED, false, true, false},
        [SAME] = {VERDICT_OTHER, false, false, false},   /* an epoch does not outlive its process */
        [OTHER_NEWER] = {VERDICT_OTHER, false, false, false},
        [SELF_NEWER] = {VERDICT_OTHER, false, false, false},
        [STRANGER] = {VERDICT_OTHER, false, false, false},
        [ASKED] = {VERDICT_OTHER, false, false, false},
    };
    for (enum seen what = NOTHING; what < SEEN_COUNT; what++) {
        struct node n = leader();
        restart(&n);
        CHECK_EQ(n.role.kind, ROLE_FOLLOWER);
        check_seen(&n, what, &expected[what]);
        forget_all(&n);
    }
}

TEST(test_an_empty_register_is_no_news_to_a_node_that_has_seen_none)
{
    struct node n = follower();
    CHECK_EQ(role_see(&n.role, NULL, 0, &messages, clock_ns()), VERDICT_EMPTY);
    CHECK_EQ(role_see(&n.role, NULL, 0, &nothing, clock_ns()), VERDICT_EMPTY);
    CHECK(!n.role.regressed);
    stop(&n);
    n = leader();
    role_resign(&n.role);
    CHECK_EQ(role_see(&n.role, NULL, 0, &nothing, clock_ns()), VERDICT_REGRESSED);   /* others may hold messages */
    store_state(n.store)->counts = true;
    CHECK_EQ(role_see(&n.role, NULL, 0, &nothing, clock_ns()), VERDICT_EMPTY);       /* no member does */
    CHECK(!n.role.regressed);
    stop(&n);
}

TEST(test_a_register_that_came_back_is_no_longer_regressed)
{
    struct node n = leader();
    struct synced_register back = seen_value(&n, VERSION_BACK), newer = seen_value(&n, OTHER_NEWER);
    role_see(&n.role, &back, 80, &messages, clock_ns());
    CHECK(n.role.regressed);
    CHECK_EQ(role_see(&n.role, &newer, 81, &messages, clock_ns()), VERDICT_OTHER);
    CHECK(!n.role.regressed);
    stop(&n);
}

TEST(test_a_confirmation_lasts_for_a_lease)
{
    struct node n = leader();
    uint64_t now = clock_ns();
    CHECK(role_lease_valid(&n.role, now));
    CHECK(!role_lease_valid(&n.role, now + n.role.lease_ns));
    CHECK(!role_lease_valid(&n.role, n.role.confirmed_ns + n.role.lease_ns));
    CHECK(role_lease_valid(&n.role, n.role.confirmed_ns + n.role.lease_ns - 1));
    stop(&n);
}

TEST(test_an_answer_confirms_as_of_its_question)
{
    struct node n = leader();
    struct synced_register v = n.role.synced.confirmed;
    uint64_t asked = clock_ns();
    CHECK_EQ(role_see(&n.role, &v, 78, &messages, asked), VERDICT_OURS);
    CHECK_EQ(n.role.confirmed_ns, asked);
    CHECK_EQ(role_see(&n.role, &v, 78, &messages, asked - 1), VERDICT_OURS);
    CHECK_EQ(n.role.confirmed_ns, asked);
    role_expire_lease(&n.role);
    CHECK_EQ(role_see(&n.role, &v, 78, &messages, asked), VERDICT_OURS);
    CHECK(!role_lease_valid(&n.role, clock_ns()));
    CHECK_EQ(role_see(&n.role, &v, 78, &messages, clock_ns()), VERDICT_OURS);
    CHECK(role_lease_valid(&n.role, clock_ns()));
    stop(&n);
}

TEST(test_a_claim_that_was_answered_while_the_node_was_away_is_no_confirmation)
{
    struct node n = follower();
    struct synced_register v = claimed(&n, CLAIM_CLEAN, &nothing);
    role_expire_lease(&n.role);
    CHECK_EQ(role_lead(&n.role, &v, 1), 0);
    CHECK(!role_lease_valid(&n.role, clock_ns()));
    stop(&n);
}

TEST(test_an_answer_that_a_promise_has_overtaken_is_no_rollback)
{
    struct node n = follower();
    struct synced_register v = value(&n, 5, 9, "n3");
    with(&n, &v, "n1");
    with(&n, &v, "n3");
    CHECK_EQ(role_see(&n.role, &v, 77, &messages, clock_ns()), VERDICT_OTHER);
    uint64_t asked = clock_ns();
    struct register_stamp p = {.epoch = 5, .version = 10, .leader = {{7}}};
    CHECK_EQ(role_promise(&n.role, &p), 0);
    CHECK(role_read_is_stale(&n.role, &v, asked));
    CHECK(!role_read_is_stale(&n.role, &v, clock_ns()));
    CHECK_EQ(role_see(&n.role, &v, 77, &messages, clock_ns()), VERDICT_REGRESSED);
    v.version = 10;
    CHECK(!role_read_is_stale(&n.role, &v, asked));
    stop(&n);
}

/* ---- claiming ---- */

TEST(test_a_node_without_messages_makes_the_register)
{
    struct node n = follower();
    CHECK_EQ(role_see(&n.role, NULL, 0, &nothing, clock_ns()), VERDICT_EMPTY);
    struct synced_register v = claimed(&n, CLAIM_CLEAN, &nothing);
    CHECK_EQ(v.epoch, 1);
    CHECK_EQ(v.version, 1);
    CHECK(member_eq(&v.leader, &n.role.self));
    CHECK_EQ(v.set.count, 1);
    CHECK(members_have(&v.set, &n.role.self));
    CHECK(id_eq(&v.cluster, &store_state(n.store)->cluster));
    CHECK_EQ(n.role.seen_index, 0);
    CHECK_EQ(n.role.kind, ROLE_FOLLOWER);   /* not before it is confirmed */
    stop(&n);
}

TEST(test_a_node_with_messages_does_not_make_the_register_without_being_told)
{
    struct node n = follower();
    role_see(&n.role, NULL, 0, &messages, clock_ns());
    claim_refused(&n, CLAIM_CLEAN, &messages);
    struct synced_register v = claimed(&n, CLAIM_UNCLEAN, &messages);
    CHECK_EQ(v.set.count, 1);
    stop(&n);
}

TEST(test_only_a_sound_member_claims)
{
    struct node n = follower();
    struct synced_register v = value(&n, 5, 9, "n3");
    with(&n, &v, "n2");
    with(&n, &v, "n3");
    role_see(&n.role, &v, 77, &messages, clock_ns());
    claim_refused(&n, CLAIM_CLEAN, &messages);            /* no member */
    with(&n, &v, "n1");
    v.version++;
    role_see(&n.role, &v, 78, &messages, clock_ns());
    struct holdings damaged = {.damaged = true, .copies_min = 1};
    claim_refused(&n, CLAIM_CLEAN, &damaged);
    store_state(n.store)->amnesiac = true;
    claim_refused(&n, CLAIM_CLEAN, &messages);
    store_state(n.store)->amnesiac = false;
    claimed(&n, CLAIM_CLEAN, &messages);
    stop(&n);
}

TEST(test_another_node_of_this_name_is_not_this_member)
{
    struct node n = follower();
    struct synced_register v = value(&n, 5, 9, "n3");
    struct member before = other("n1");                   /* an incarnation that was lost */
    members_add(&v.set, &before);
    role_see(&n.role, &v, 77, &messages, clock_ns());
    claim_refused(&n, CLAIM_CLEAN, &messages);
    stop(&n);
}

TEST(test_a_foreign_or_regressed_register_is_not_claimed)
{
    struct node n = leader();
    role_resign(&n.role);
    struct synced_register v = seen_value(&n, FOREIGN);
    role_see(&n.role, &v, 80, &messages, clock_ns());
    claim_refused(&n, CLAIM_CLEAN, &messages);
    v = seen_value(&n, EPOCH_BACK);
    role_see(&n.role, &v, 81, &messages, clock_ns());
    claim_refused(&n, CLAIM_CLEAN, &messages);
    role_see(&n.role, NULL, 0, &messages, clock_ns());
    claim_refused(&n, CLAIM_CLEAN, &messages);
    stop(&n);
}

TEST(test_an_unclean_claim_is_of_this_node_alone_and_above_all_that_is_known)
{
    struct node n = leader();
    claim_refused(&n, CLAIM_UNCLEAN, &messages);          /* it leads */
    role_resign(&n.role);
    struct synced_register v = seen_value(&n, FOREIGN);
    v.epoch = 40;
    role_see(&n.role, &v, 80, &messages, clock_ns());
    v = claimed(&n, CLAIM_UNCLEAN, &messages);
    CHECK_EQ(v.epoch, 41);
    CHECK_EQ(v.version, 11);
    CHECK_EQ(v.set.count, 1);
    CHECK(id_eq(&v.cluster, &store_state(n.store)->cluster));
    v = seen_value(&n, EPOCH_BACK);
    role_see(&n.role, &v, 81, &messages, clock_ns());
    CHECK_EQ(claimed(&n, CLAIM_UNCLEAN, &messages).epoch, 7);   /* above the register that was seen before */
    stop(&n);
}

TEST(test_a_claim_is_above_what_was_seen_before_and_what_this_node_led_alone)
{
    struct node n = follower();
    struct synced_register v = value(&n, 9, 1, "n3");
    role_see(&n.role, &v, 77, &messages, clock_ns());
    v.epoch = 5;
    role_see(&n.role, &v, 78, &messages, clock_ns());
    CHECK_EQ(claimed(&n, CLAIM_UNCLEAN, &messages).epoch, 10);
    stop(&n);
    CHECK_EQ(system("rm -r data"), 0);
    open_as(&n, true);
    restart(&n);
    CHECK_EQ(claimed(&n, CLAIM_UNCLEAN, &messages).epoch, 2);
    stop(&n);
}

TEST(test_an_unclean_claim_counts_from_its_confirmation_on)
{
    struct node n = leader();
    role_resign(&n.role);
    struct synced_register lost = claimed(&n, CLAIM_UNCLEAN, &messages);
    CHECK_EQ(lost.epoch, 7);
    CHECK_EQ(lost.unclean, 7);
    CHECK_EQ(on_disk().unclean, 0);
    struct synced_register v = seen_value(&n, OTHER_NEWER);      /* n2 was faster, and clean */
    CHECK_EQ(role_see(&n.role, &v, 80, &messages, clock_ns()), VERDICT_OTHER);
    v = claimed(&n, CLAIM_CLEAN, &messages);
    CHECK_EQ(role_lead(&n.role, &v, 81), 0);
    CHECK_EQ(n.role.synced.confirmed.unclean, 0);               /* nobody may cut what is committed on its word */
    CHECK_EQ(on_disk().unclean, 0);
    role_resign(&n.role);
    v = claimed(&n, CLAIM_UNCLEAN, &messages);
    CHECK_EQ(role_lead(&n.role, &v, 82), 0);
    CHECK_EQ(n.role.synced.confirmed.unclean, v.epoch);
    stop(&n);
}

/* The set of a claim after this register, for the smallest `copies`. */
static struct members claim_set(const char *leader_before, unsigned copies_min)
{
    struct node n = follower();
    struct synced_register v = value(&n, 5, 9, leader_before);
    with(&n, &v, "n3");
    with(&n, &v, "n1");
    with(&n, &v, "n2");
    struct holdings h = {.copies_min = copies_min};
    role_see(&n.role, &v, 77, &h, clock_ns());
    struct members set = claimed(&n, CLAIM_CLEAN, &h).set;
    forget_all(&n);
    return set;
}

TEST(test_a_claim_drops_the_leader_before_but_keeps_copies_min)
{
    struct member n3 = other("n3"), n2 = other("n2");
    for (unsigned least = 0; least <= 4; least++) {
        struct members set = claim_set("n3", least);
        CHECK_EQ(set.count, least < 3 ? 2 : 3);
        CHECK_EQ(members_have(&set, &n3), least >= 3);
        CHECK(members_have(&set, &n2));
    }
    CHECK_EQ(claim_set("n1", 1).count, 3);                /* it led itself: nobody is gone */
    CHECK_EQ(claim_set("stranger", 1).count, 3);          /* the leader before was no member */
}

TEST(test_a_claim_is_one_epoch_and_version_above_what_was_seen)
{
    struct node n = leader();
    role_resign(&n.role);
    struct register_stamp p = {.epoch = 20, .version = 13, .leader = {{7}}};
    CHECK_EQ(role_promise(&n.role, &p), 0);
    claim_refused(&n, CLAIM_CLEAN, &messages);            /* by a register from before the promise */
    struct synced_register v = value(&n, 20, 14, "n3");
    with(&n, &v, "n1");
    CHECK_EQ(role_see(&n.role, &v, 79, &messages, clock_ns()), VERDICT_OTHER);
    v = claimed(&n, CLAIM_CLEAN, &messages);
    CHECK_EQ(v.epoch, 21);
    CHECK_EQ(v.version, 15);
    stop(&n);
}

/* ---- leading ---- */

TEST(test_only_the_exact_claim_leads)
{
    for (int i = 0; i < 6; i++) {
        struct node n = follower();
        role_see(&n.role, NULL, 0, &nothing, clock_ns());
        struct synced_register v = claimed(&n, CLAIM_CLEAN, &nothing);
        struct synced_register changed = v;
        changed.epoch += i == 0;
        changed.version += i == 1;
        changed.cluster.bytes[0] ^= i == 2;
        if (i == 3)
            changed.leader = other("n2");
        if (i == 4)
            with(&n, &changed, "n2");
        if (i == 5)
            n.role.claiming = false;                      /* it was given up */
        CHECK_EQ(role_lead(&n.role, &changed, 1), -ERR_CONFLICT);
        CHECK_EQ(n.role.kind, ROLE_FOLLOWER);
        CHECK_EQ(on_disk().epoch, 0);
        forget_all(&n);
    }
}

TEST(test_leading_is_on_the_disk_before_it_begins)
{
    struct node n = leader();
    struct state s = on_disk();
    CHECK_EQ(s.epoch, 6);
    CHECK_EQ(s.seen_epoch, 6);
    CHECK_EQ(s.seen_version, 10);
    CHECK(id_eq(&s.leader, &s.incarnation));
    CHECK(state_led(&s, 6));
    CHECK(!state_led(&s, 5));
    CHECK_EQ(n.role.seen_index, 78);
    CHECK(role_lease_valid(&n.role, clock_ns()));
    CHECK_EQ(role_copies(&n.role), 2);
    stop(&n);
}

TEST(test_a_claim_leads_once)
{
    struct node n = leader();
    struct synced_register v = n.role.synced.confirmed;
    CHECK_EQ(role_lead(&n.role, &v, 79), -ERR_CONFLICT);
    role_resign(&n.role);
    CHECK_EQ(n.role.kind, ROLE_FOLLOWER);
    CHECK_EQ(role_lead(&n.role, &v, 79), -ERR_CONFLICT);  /* the epoch is over for this process */
    stop(&n);
}

TEST(test_a_claim_is_void_once_an_epoch_as_high_is_promised)
{
    for (uint64_t epoch = 7; epoch <= 8; epoch++) {
        struct node n = leader();
        role_resign(&n.role);
        struct synced_register v = claimed(&n, CLAIM_CLEAN, &messages);
        CHECK_EQ(v.epoch, 7);
        struct register_stamp p = {.epoch = epoch, .version = 20, .leader = {{1}}};
        CHECK_EQ(role_promise(&n.role, &p), 0);
        CHECK_EQ(role_lead(&n.role, &v, 79), -ERR_CONFLICT);
        n.role.claiming = true;                           /* the epoch alone is enough */
        CHECK_EQ(role_lead(&n.role, &v, 79), -ERR_CONFLICT);
        forget_all(&n);
    }
}

TEST(test_a_leader_that_starts_again_claims_anew)
{
    struct node n = leader();
    struct synced_register v = n.role.synced.confirmed;
    restart(&n);
    CHECK_EQ(n.role.epoch, 6);
    CHECK_EQ(role_see(&n.role, &v, 78, &messages, clock_ns()), VERDICT_OTHER);
    struct synced_register next = claimed(&n, CLAIM_CLEAN, &messages);
    CHECK_EQ(next.epoch, 7);
    CHECK_EQ(next.set.count, 2);
    CHECK_EQ(role_lead(&n.role, &next, 79), 0);
    stop(&n);
}

/* ---- promising ---- */

TEST(test_a_promise_is_on_the_disk_before_it_is_given)
{
    struct node n = follower();
    struct register_stamp p = {.epoch = 8, .version = 3, .leader = {{1, 2}}};
    CHECK_EQ(role_promise(&n.role, &p), 0);
    struct state s = on_disk();
    CHECK_EQ(s.epoch, 8);
    CHECK(id_eq(&s.leader, &p.leader));
    CHECK_EQ(s.seen_epoch, 8);
    CHECK_EQ(s.seen_version, 3);
    CHECK(id_eq(&s.seen_leader, &p.leader));
    CHECK_EQ(n.role.epoch, 8);
    CHECK(!state_led(&s, 8));
    stop(&n);
}

static int cannot_sync(int fd)
{
    (void)fd;
    errno = EIO;
    return -1;
}

TEST(test_what_cannot_be_written_down_is_neither_promised_nor_led)
{
    struct node n = leader();
    role_resign(&n.role);
    struct synced_register v = claimed(&n, CLAIM_CLEAN, &messages), newer = seen_value(&n, OTHER_NEWER);
    struct register_stamp p = {.epoch = 9, .version = 20, .leader = {{1}}};
    io.sync_all = cannot_sync;
    CHECK_DIES(role_promise(&n.role, &p), EXIT_IO);
    CHECK_DIES(role_lead(&n.role, &v, 79), EXIT_IO);
    CHECK_DIES(role_see(&n.role, &newer, 79, &messages, clock_ns()), EXIT_IO);
}

TEST(test_promises_only_rise)
{
    struct node n = follower();
    struct register_stamp first = {8, 1, {{1}}}, lower = {7, 1, {{1}}}, rival = {8, 1, {{2}}}, next = {9, 2, {{2}}};
    CHECK_EQ(role_promise(&n.role, &first), 0);
    CHECK_EQ(role_promise(&n.role, &lower), -ERR_OLD_EPOCH);
    CHECK_EQ(role_promise(&n.role, &rival), -ERR_OLD_EPOCH);
    CHECK_EQ(role_promise(&n.role, &first), 0);           /* the same one again */
    restart(&n);
    CHECK_EQ(n.role.epoch, 8);
    CHECK_EQ(role_promise(&n.role, &rival), -ERR_OLD_EPOCH);
    CHECK_EQ(role_promise(&n.role, &lower), -ERR_OLD_EPOCH);
    CHECK_EQ(role_promise(&n.role, &first), 0);
    CHECK_EQ(role_promise(&n.role, &next), 0);
    CHECK_EQ(role_promise(&n.role, &first), -ERR_OLD_EPOCH);
    CHECK_EQ(on_disk().epoch, 9);
    stop(&n);
}

/* Consul was rolled back, and only another node knows: what it tells counts more than what Consul says. */
TEST(test_a_node_that_was_told_of_more_claims_nothing_by_an_older_register)
{
    struct node n = leader();
    struct synced_register old = n.role.seen;
    role_learn(&n.role, &(struct register_stamp){.epoch = 8});
    CHECK_EQ(on_disk().seen_epoch, 8);
    role_resign(&n.role);
    claim_refused(&n, CLAIM_CLEAN, &messages);
    CHECK_EQ(role_see(&n.role, &old, 79, &messages, clock_ns()), VERDICT_REGRESSED);
    claim_refused(&n, CLAIM_CLEAN, &messages);
    restart(&n);
    CHECK_EQ(role_see(&n.role, &old, 79, &messages, clock_ns()), VERDICT_REGRESSED);
    stop(&n);
}

/* Consul has lost the newest version of epoch 6, and somebody has claimed epoch 7 from the one before. */
TEST(test_a_higher_epoch_with_a_version_that_was_seen_before_is_of_the_past)
{
    struct node n = leader();
    struct synced_register v = value(&n, 7, 10, "n3");
    role_learn(&n.role, &(struct register_stamp){.epoch = 6, .version = 11});
    role_resign(&n.role);
    CHECK_EQ(role_promise(&n.role, &(struct register_stamp){7, 10, {{7}}}), -ERR_OLD_EPOCH);
    CHECK_EQ(role_see(&n.role, &v, 79, &messages, clock_ns()), VERDICT_REGRESSED);
    v = claimed(&n, CLAIM_UNCLEAN, &messages);
    CHECK_EQ(v.version, 12);
    CHECK_EQ(v.epoch, 8);
    stop(&n);
}

TEST(test_a_claim_is_void_once_more_was_told)
{
    struct node n = follower();
    struct synced_register v = value(&n, 5, 9, "n1");
    with(&n, &v, "n1");
    role_see(&n.role, &v, 77, &messages, clock_ns());
    v = claimed(&n, CLAIM_CLEAN, &messages);
    role_learn(&n.role, &(struct register_stamp){.epoch = 6, .version = 11});
    CHECK_EQ(role_lead(&n.role, &v, 78), -ERR_CONFLICT);
    stop(&n);
}

TEST(test_a_leader_that_promises_a_higher_epoch_leads_no_more)
{
    struct node n = leader();
    struct register_stamp equal = {.epoch = 6, .leader = {{2}}}, higher = {.epoch = 7, .version = 20, .leader = {{2}}};
    ask_for(&n, "n3");
    CHECK_EQ(role_promise(&n.role, &equal), -ERR_OLD_EPOCH);
    CHECK_EQ(n.role.kind, ROLE_LEADER);
    CHECK_EQ(role_promise(&n.role, &higher), 0);
    CHECK_EQ(n.role.kind, ROLE_FOLLOWER);
    CHECK(!n.role.synced.proposing);
    stop(&n);
}

TEST(test_a_promise_again_brings_news_of_the_register)
{
    struct node n = follower();
    struct register_stamp p = {.epoch = 8, .version = 3, .leader = {{1}}};
    CHECK_EQ(role_promise(&n.role, &p), 0);
    p.version = 4;
    CHECK_EQ(role_promise(&n.role, &p), 0);
    CHECK_EQ(on_disk().seen_version, 4);
    p.version = 1;                                        /* a change that is not confirmed to the leader yet */
    CHECK_EQ(role_promise(&n.role, &p), 0);
    CHECK_EQ(on_disk().seen_version, 4);                  /* it never falls */
    stop(&n);
}

/* ---- Consul was rolled back ---- */

/* The leader of epoch 6 sees what Consul has gone back to: epoch 5, version 9. */
static struct synced_register rolled_back(struct node *n)
{
    struct synced_register old = value(n, 5, 9, "n3");
    with(n, &old, "n1");
    with(n, &old, "n3");
    CHECK_EQ(role_see(&n->role, &old, 80, &messages, clock_ns()), VERDICT_REGRESSED);
    return old;
}

TEST(test_a_register_that_went_back_is_marked_with_what_is_known)
{
    struct node n = leader();
    CHECK(role_pending_write(&n.role) == NULL);
    struct synced_register old = rolled_back(&n), marked = *role_pending_write(&n.role), plain = marked;
    CHECK_EQ(n.role.seen_index, 80);                      /* it is a cas on just that register */
    CHECK_EQ(marked.lost.epoch, 6);
    CHECK_EQ(marked.lost.version, 10);
    CHECK(id_eq(&marked.lost.leader, &store_state(n.store)->incarnation));
    plain.lost = (struct register_stamp){.epoch = 0};
    CHECK(synced_register_eq(&plain, &old));                     /* nobody leads, and nothing is claimed, by a mark */
    CHECK_EQ(role_see(&n.role, &marked, 81, &messages, clock_ns()), VERDICT_REGRESSED);
    CHECK(role_pending_write(&n.role) == NULL);                  /* once is enough */
    claim_refused(&n, CLAIM_CLEAN, &messages);
    role_learn(&n.role, &(struct register_stamp){7, 12, {{1}}});
    CHECK_EQ(role_pending_write(&n.role)->lost.epoch, 7);        /* there was even more */
    CHECK_EQ(role_pending_write(&n.role)->lost.version, 12);
    stop(&n);
}

TEST(test_a_mark_in_the_register_stops_who_knows_of_nothing_newer)
{
    struct node n = leader();
    struct synced_register marked = n.role.synced.confirmed;
    marked.lost = (struct register_stamp){7, 11, {{1}}};
    CHECK_EQ(role_see(&n.role, &marked, 80, &messages, clock_ns()), VERDICT_REGRESSED);
    CHECK_EQ(n.role.kind, ROLE_FOLLOWER);
    CHECK_EQ(on_disk().seen_epoch, 7);
    CHECK_EQ(on_disk().seen_version, 11);
    claim_refused(&n, CLAIM_CLEAN, &messages);
    CHECK(role_pending_write(&n.role) == NULL);                  /* it knows no more than the mark says */
    restart(&n);
    marked.lost = (struct register_stamp){.epoch = 0};
    CHECK_EQ(role_see(&n.role, &marked, 81, &messages, clock_ns()), VERDICT_REGRESSED);
    CHECK(role_pending_write(&n.role) != NULL);                  /* Consul went back once more */
    stop(&n);
}

TEST(test_the_operators_claim_ends_a_mark)
{
    struct node n = leader();
    rolled_back(&n);
    struct synced_register marked = *role_pending_write(&n.role);
    role_see(&n.role, &marked, 81, &messages, clock_ns());
    struct synced_register v = claimed(&n, CLAIM_UNCLEAN, &messages);
    CHECK_EQ(v.epoch, 7);
    CHECK_EQ(v.version, 11);
    CHECK_EQ(v.lost.epoch, 0);
    CHECK_EQ(role_lead(&n.role, &v, 82), 0);
    CHECK_EQ(role_see(&n.role, &v, 82, &messages, clock_ns()), VERDICT_OURS);
    stop(&n);
}

TEST(test_an_empty_or_foreign_register_is_not_marked)
{
    struct node n = leader();
    role_see(&n.role, NULL, 0, &messages, clock_ns());
    CHECK(n.role.regressed);
    CHECK(role_pending_write(&n.role) == NULL);
    struct synced_register v = seen_value(&n, FOREIGN);
    v.lost = (struct register_stamp){100, 100, {{1}}};
    role_see(&n.role, &v, 80, &messages, clock_ns());
    CHECK(role_pending_write(&n.role) == NULL);
    CHECK_EQ(on_disk().seen_epoch, 6);                    /* its mark is about another history */
    stop(&n);
}

/* The register goes on from another epoch 6 than ours: the numbers are as they were, or higher. */
TEST(test_one_epoch_of_two_leaders_is_two_histories)
{
    for (uint64_t version = 10; version <= 12; version++) {
        struct node n = leader();
        struct synced_register v = value(&n, 6, version, "n3");
        with(&n, &v, "n1");
        CHECK_EQ(role_see(&n.role, &v, 80, &messages, clock_ns()), VERDICT_REGRESSED);
        CHECK(id_eq(&role_pending_write(&n.role)->lost.leader, &store_state(n.store)->incarnation));
        claim_refused(&n, CLAIM_CLEAN, &messages);
        forget_all(&n);
    }
}

TEST(test_a_leader_that_is_told_of_another_leader_of_its_epoch_is_not_led_by_consul)
{
    struct node n = leader();
    struct synced_register ours = n.role.synced.confirmed;
    role_learn(&n.role, &(struct register_stamp){6, 10, {{9}}});
    CHECK(role_behind(&n.role));
    CHECK_EQ(role_see(&n.role, &ours, 80, &messages, clock_ns()), VERDICT_REGRESSED);
    CHECK(!role_behind(&n.role));
    CHECK_EQ(role_pending_write(&n.role)->lost.leader.bytes[0], 9);
    restart(&n);
    CHECK_EQ(role_see(&n.role, &ours, 80, &messages, clock_ns()), VERDICT_REGRESSED);
    stop(&n);
}

TEST(test_no_leader_of_a_history_that_consul_has_forgotten_gets_a_promise)
{
    static const struct register_stamp bad[] = {
        {6, 10, {{9}}},                                   /* our own epoch, by another one */
        {6, 20, {{9}}},
        {7, 10, {{9}}},                                   /* claimed as our version was */
        {7, 9, {{9}}},
        {5, 20, {{9}}},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct node n = leader();
        role_resign(&n.role);
        CHECK_EQ(role_promise(&n.role, &bad[i]), -ERR_OLD_EPOCH);
        CHECK_EQ(on_disk().epoch, 6);
        forget_all(&n);
    }
    struct node n = leader();
    CHECK_EQ(role_promise(&n.role, &(struct register_stamp){7, 11, {{9}}}), 0);
    stop(&n);
}

TEST(test_what_a_node_led_alone_is_known_of)
{
    struct node n;
    open_as(&n, true);
    restart(&n);
    struct register_stamp known = role_known(&n.role);
    CHECK_EQ(known.epoch, 1);
    CHECK(id_eq(&known.leader, &store_state(n.store)->incarnation));
    stop(&n);
}

/* ---- unclean claims ---- */

TEST(test_the_register_says_which_claim_was_unclean_from_then_on)
{
    struct node n = leader();
    role_resign(&n.role);
    struct synced_register v = claimed(&n, CLAIM_UNCLEAN, &messages);
    CHECK_EQ(v.unclean, 7);
    CHECK_EQ(role_see(&n.role, &v, 79, &messages, clock_ns()), VERDICT_OTHER);   /* its answer is lost */
    restart(&n);
    CHECK_EQ(role_see(&n.role, &v, 79, &messages, clock_ns()), VERDICT_OTHER);
    v = claimed(&n, CLAIM_CLEAN, &messages);
    CHECK_EQ(v.epoch, 8);
    CHECK_EQ(v.unclean, 7);                               /* who leads by this tells its followers so */
    CHECK_EQ(role_lead(&n.role, &v, 80), 0);
    ask_for(&n, "n3");
    CHECK_EQ(n.role.synced.proposed.unclean, 7);
    stop(&n);
}

TEST(test_another_clusters_epochs_are_forgotten_with_its_id)
{
    struct node n = leader();
    role_resign(&n.role);
    role_reset_epochs(&n.role);
    struct state s = on_disk();
    CHECK_EQ(s.epoch, 0);
    CHECK_EQ(s.seen_epoch, 0);
    CHECK_EQ(s.led_count, 0);
    CHECK_EQ(n.role.epoch, 0);
    struct register_stamp p = {.epoch = 1, .version = 1, .leader = {{1}}};
    CHECK_EQ(role_promise(&n.role, &p), 0);
    stop(&n);
}

/* ---- the synced set ---- */

TEST(test_both_sets_count_while_one_is_asked_for)
{
    struct node n = leader();
    struct member n2 = other("n2"), n3 = other("n3");
    CHECK(role_counts(&n.role, &n2));
    CHECK(!role_counts(&n.role, &n3));
    ask_for(&n, "n3");
    CHECK_EQ(n.role.synced.proposed.version, 11);
    CHECK_EQ(n.role.synced.proposed.epoch, 6);
    CHECK(role_counts(&n.role, &n2));
    CHECK(role_counts(&n.role, &n3));
    CHECK_EQ(role_copies(&n.role), 2);                    /* of the smaller one */
    struct synced_register v = n.role.synced.proposed;
    CHECK_EQ(role_see(&n.role, &v, 80, &messages, clock_ns()), VERDICT_OURS);
    CHECK_EQ(role_copies(&n.role), 3);
    ask_for(&n, "n2");
    CHECK(role_counts(&n.role, &n2));
    CHECK_EQ(role_copies(&n.role), 2);
    v = n.role.synced.proposed;
    CHECK_EQ(role_see(&n.role, &v, 81, &messages, clock_ns()), VERDICT_OURS);
    CHECK(!role_counts(&n.role, &n2));
    CHECK(role_counts(&n.role, &n3));
    stop(&n);
}

TEST(test_a_change_that_was_confirmed_is_not_undone_by_the_value_before)
{
    struct node n = leader();
    struct synced_register before = n.role.synced.confirmed;
    ask_for(&n, "n3");
    struct synced_register v = n.role.synced.proposed;
    CHECK_EQ(role_see(&n.role, &v, 80, &messages, clock_ns()), VERDICT_OURS);
    CHECK_EQ(role_see(&n.role, &before, 79, &messages, clock_ns()), VERDICT_REGRESSED);
    CHECK_EQ(n.role.kind, ROLE_FOLLOWER);
    stop(&n);
}

TEST(test_the_same_version_with_another_set_deposes)
{
    struct node n = leader();
    ask_for(&n, "n3");
    struct synced_register v = n.role.synced.proposed;
    with(&n, &v, "n4");
    CHECK_EQ(role_see(&n.role, &v, 80, &messages, clock_ns()), VERDICT_OTHER);
    CHECK_EQ(n.role.kind, ROLE_FOLLOWER);
    stop(&n);
}

TEST(test_changes_are_asked_for_one_by_one_by_a_leader_and_never_without_it)
{
    struct node n = leader();
    struct members without = {.count = 0};
    struct member n2 = other("n2");
    members_add(&without, &n2);
    CHECK_DIES(role_propose(&n.role, &without), SIGABRT);
    ask_for(&n, "n3");
    CHECK_DIES(ask_for(&n, "n4"), SIGABRT);
    role_resign(&n.role);
    CHECK_DIES(ask_for(&n, "n4"), SIGABRT);
    stop(&n);
}

TEST(test_epochs_and_the_seen_register_survive_a_restart)
{
    struct node n = leader();
    struct synced_register v = seen_value(&n, OTHER_NEWER);
    role_see(&n.role, &v, 90, &messages, clock_ns());
    struct register_stamp p = {.epoch = 7, .version = 11, .leader = {{7}}};
    CHECK_EQ(role_promise(&n.role, &p), 0);
    restart(&n);
    CHECK_EQ(n.role.epoch, 7);
    struct state s = on_disk();
    CHECK(state_led(&s, 6));
    CHECK(!state_led(&s, 7));
    v.version--;
    CHECK_EQ(role_see(&n.role, &v, 1, &messages, clock_ns()), VERDICT_REGRESSED);
    v.version++;
    CHECK_EQ(role_see(&n.role, &v, 1, &messages, clock_ns()), VERDICT_OTHER);
    stop(&n);
}
