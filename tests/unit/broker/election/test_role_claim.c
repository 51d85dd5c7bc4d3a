/* A claim, and the leading that follows from its confirmation. */
#include "unit/broker/election/role_rig.h"

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
