/* Changes of the synced set: asked for, then confirmed. */
#include "unit/broker/election/role_rig.h"

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
