/* Promises of a follower: on the disk first, and only rising. */
#include "unit/broker/election/role_rig.h"

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

/* data/state was lost: the epoch is that of the last batch. */
TEST(test_an_epoch_whose_leader_is_not_known_is_promised_to_one_leader)
{
    struct node n = follower();
    store_state(n.store)->epoch = n.role.epoch = 8;
    struct register_stamp lower = {7, 3, {{1}}}, first = {8, 3, {{1}}}, rival = {8, 3, {{2}}};
    CHECK_EQ(role_promise(&n.role, &lower), -ERR_OLD_EPOCH);
    CHECK_EQ(role_promise(&n.role, &first), 0);
    struct state s = on_disk();
    CHECK(id_eq(&s.leader, &first.leader));
    CHECK_EQ(role_promise(&n.role, &rival), -ERR_OLD_EPOCH);
    CHECK_EQ(role_promise(&n.role, &first), 0);
    stop(&n);
}

/* Consul was rolled back, and another node has said so in the register. */
TEST(test_a_node_that_has_read_of_more_claims_nothing_by_an_older_register)
{
    struct node n = leader();
    struct synced_register old = n.role.seen;
    read_flag(&n, (struct register_stamp){.epoch = 8, .leader = {{1}}});
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
    read_flag(&n, (struct register_stamp){6, 11, store_state(n.store)->incarnation});
    CHECK_EQ(role_promise(&n.role, &(struct register_stamp){7, 10, {{7}}}), -ERR_OLD_EPOCH);
    CHECK_EQ(role_see(&n.role, &v, 79, &messages, clock_ns()), VERDICT_REGRESSED);
    v = claimed(&n, CLAIM_UNCLEAN, &messages);
    CHECK_EQ(v.version, 12);
    CHECK_EQ(v.epoch, 8);
    stop(&n);
}

TEST(test_a_claim_is_void_once_more_was_read)
{
    struct node n = follower();
    struct synced_register v = value(&n, 5, 9, "n1");
    with(&n, &v, "n1");
    role_see(&n.role, &v, 77, &messages, clock_ns());
    v = claimed(&n, CLAIM_CLEAN, &messages);
    read_flag(&n, (struct register_stamp){6, 11, {{1}}});
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
