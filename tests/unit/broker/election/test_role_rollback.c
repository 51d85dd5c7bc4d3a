/* A Consul that went back to an older state, and the claims of an operator. */
#include "unit/broker/election/role_rig.h"

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
    struct synced_register old = rolled_back(&n), flagged = *role_pending_write(&n.role), plain = flagged;
    CHECK_EQ(n.role.seen_index, 80);                      /* it is a cas on just that register */
    CHECK_EQ(flagged.lost.epoch, 6);
    CHECK_EQ(flagged.lost.version, 10);
    CHECK(id_eq(&flagged.lost.leader, &store_state(n.store)->incarnation));
    plain.lost = (struct register_stamp){.epoch = 0};
    CHECK(synced_register_eq(&plain, &old));                     /* nobody leads, and nothing is claimed, by a flag */
    CHECK_EQ(role_see(&n.role, &flagged, 81, &messages, clock_ns()), VERDICT_REGRESSED);
    CHECK(role_pending_write(&n.role) == NULL);                  /* once is enough */
    claim_refused(&n, CLAIM_CLEAN, &messages);
    read_flag(&n, (struct register_stamp){7, 12, {{1}}});
    CHECK(role_pending_write(&n.role) == NULL);
    CHECK_EQ(role_see(&n.role, &flagged, 83, &messages, clock_ns()), VERDICT_REGRESSED);
    CHECK_EQ(role_pending_write(&n.role)->lost.epoch, 7);        /* there was even more */
    CHECK_EQ(role_pending_write(&n.role)->lost.version, 12);
    stop(&n);
}

TEST(test_a_mark_in_the_register_stops_who_knows_of_nothing_newer)
{
    struct node n = leader();
    struct synced_register flagged = n.role.synced.confirmed;
    flagged.lost = (struct register_stamp){7, 11, {{1}}};
    CHECK_EQ(role_see(&n.role, &flagged, 80, &messages, clock_ns()), VERDICT_REGRESSED);
    CHECK_EQ(n.role.kind, ROLE_FOLLOWER);
    CHECK_EQ(on_disk().seen_epoch, 7);
    CHECK_EQ(on_disk().seen_version, 11);
    claim_refused(&n, CLAIM_CLEAN, &messages);
    CHECK(role_pending_write(&n.role) == NULL);                  /* it knows no more than the flag says */
    restart(&n);
    flagged.lost = (struct register_stamp){.epoch = 0};
    CHECK_EQ(role_see(&n.role, &flagged, 81, &messages, clock_ns()), VERDICT_REGRESSED);
    CHECK(role_pending_write(&n.role) != NULL);                  /* Consul went back once more */
    stop(&n);
}

TEST(test_the_operators_claim_ends_a_mark)
{
    struct node n = leader();
    rolled_back(&n);
    struct synced_register flagged = *role_pending_write(&n.role);
    role_see(&n.role, &flagged, 81, &messages, clock_ns());
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
    CHECK_EQ(on_disk().seen_epoch, 6);                    /* its flag is about another history */
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

TEST(test_a_leader_that_reads_of_another_leader_of_its_epoch_leads_no_more)
{
    struct node n = leader();
    struct synced_register ours = n.role.synced.confirmed;
    read_flag(&n, (struct register_stamp){6, 10, {{9}}});
    CHECK_EQ(n.role.kind, ROLE_FOLLOWER);
    CHECK_EQ(role_see(&n.role, &ours, 80, &messages, clock_ns()), VERDICT_REGRESSED);
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

/* ---- what others say, and numbers that no cluster reaches ---- */

TEST(test_what_another_node_says_makes_a_leader_ask_consul_and_nothing_else)
{
    struct node n = leader();
    struct synced_register ours = n.role.synced.confirmed;
    uint64_t before = clock_ns();
    role_told(&n.role);
    CHECK(n.role.behind);
    CHECK_EQ(n.role.kind, ROLE_LEADER);
    CHECK_EQ(role_see(&n.role, &ours, 78, &messages, before), VERDICT_OURS);
    CHECK(n.role.behind);                                 /* that was asked before */
    CHECK_EQ(role_see(&n.role, &ours, 78, &messages, clock_ns()), VERDICT_OURS);
    CHECK(!n.role.behind);
    role_told(&n.role);
    CHECK(!n.role.behind);                                /* not twice in a second */
    n.role.told_ns -= NS_PER_S;
    role_told(&n.role);
    CHECK(n.role.behind);
    CHECK_EQ(on_disk().seen_epoch, 6);
    stop(&n);
}

/* The leader of epoch 6, version 10 reads a register with this in it, and an operator claims it. */
static void check_out_of_range(struct register_stamp s, struct register_stamp lost)
{
    struct node n = leader();
    struct synced_register v = value(&n, s.epoch, s.version, "n3");
    with(&n, &v, "n1");
    v.lost = lost;
    CHECK_EQ(role_see(&n.role, &v, 80, &messages, clock_ns()), VERDICT_OUT_OF_RANGE);
    CHECK_EQ(n.role.kind, ROLE_FOLLOWER);
    CHECK_EQ(on_disk().seen_epoch, 6);
    CHECK_EQ(on_disk().seen_version, 10);
    CHECK(role_pending_write(&n.role) == NULL);
    claim_refused(&n, CLAIM_CLEAN, &messages);
    claim_refused(&n, CLAIM_CLEAN, &nothing);
    v = claimed(&n, CLAIM_UNCLEAN, &messages);
    CHECK_EQ(v.epoch, 7);
    CHECK_EQ(v.version, 11);
    CHECK_EQ(role_lead(&n.role, &v, 81), 0);
    forget_all(&n);
}

TEST(test_numbers_that_no_cluster_reaches_are_not_remembered_and_adopt_still_works)
{
    static const struct register_stamp none, usual = {7, 11, {{7}}};
    uint64_t far = REGISTER_JUMP_MAX + 11;
    check_out_of_range((struct register_stamp){.epoch = far, .version = 11}, none);
    check_out_of_range((struct register_stamp){.epoch = 7, .version = far}, none);
    check_out_of_range((struct register_stamp){.epoch = NUMBER_MAX, .version = NUMBER_MAX}, none);
    check_out_of_range(usual, (struct register_stamp){far, 11, {{1}}});
    check_out_of_range(usual, (struct register_stamp){8, far, {{1}}});
}

TEST(test_a_number_never_wraps)
{
    struct node n = leader();
    role_resign(&n.role);
    store_state(n.store)->seen_epoch = NUMBER_MAX;
    claim_refused(&n, CLAIM_UNCLEAN, &messages);
    store_state(n.store)->seen_epoch = 6;
    store_state(n.store)->seen_version = NUMBER_MAX;
    claim_refused(&n, CLAIM_UNCLEAN, &messages);
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
