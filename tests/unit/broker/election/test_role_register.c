/* What a node concludes from each register that it sees, alone and in a cluster. */
#include "unit/broker/election/role_rig.h"

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
