/* Tokens of readers on nodes whose histories have parted, and met again. */
#include "unit/broker/cluster/diverge_rig.h"

static int token(const struct node *n, uint64_t epoch, uint64_t offset)
{
    uint64_t found, end;
    struct topic_token token = {.epoch = epoch, .offset = offset};
    return topic_check(topic_at(n, "t"), &token, &found, &end);
}

TEST(test_a_node_that_lags_refuses_no_token_that_it_may_yet_get)
{
    rig_up(2);
    struct node *a = &rig.nodes[0], *b = &rig.nodes[1];
    struct topic *t = make_live(a, "t");
    publish(t, 5, 100);
    WAIT_UNTIL(can_read(b, "t", 5));
    CHECK_EQ(token(a, 1, 8), -ERR_TRUNCATED);        /* it leads epoch 1, and knows all of it, */
    CHECK_EQ(token(a, 2, 8), 0);                     /* but not whether somebody leads epoch 2 by now */
    a->paused = true;
    cluster_follow(b->cluster, NULL);
    CHECK_EQ(token(b, 1, 9), 0);
    lead(b);
    for (unsigned i = 0; i < 3; i++)
        CHECK_EQ(try_publish(topic_at(b, "t"), 100, "another"), 0);
    CHECK_EQ(token(b, 1, 5), 0);
    CHECK_EQ(token(b, 2, 8), 0);
    CHECK_EQ(token(b, 1, 6), -ERR_TRUNCATED);
    CHECK_EQ(token(b, 2, 9), -ERR_TRUNCATED);
    role_expire_lease(&a->role);                /* it has heard nothing of that, and its lease is over */
    CHECK_EQ(token(a, 2, 8), 0);
    CHECK_EQ(token(a, 1, 6), -ERR_TRUNCATED);        /* epoch 1 was its own */
    cluster_resign(a->cluster, "the test says so");
    CHECK_EQ(token(a, 2, 8), 0);
    CHECK_EQ(token(a, 1, 6), 0);
    CHECK_EQ(token(a, 2, 5), 0);
    CHECK_EQ(token(a, 2, 4), -ERR_UNAVAILABLE);      /* what it has there is of epoch 1: not what the reader has */
    a->paused = false;
    follow(a, b);
    WAIT_UNTIL(topic_readable(t) == 8);
    CHECK_EQ(token(a, 2, 8), 0);
    CHECK_EQ(token(a, 1, 6), -ERR_TRUNCATED);
    CHECK_EQ(token(a, 1, 9), -ERR_TRUNCATED);
    rig_down();
}

TEST(test_a_token_of_what_was_cut_is_refused_also_when_others_have_taken_its_place)
{
    struct topic *t = rig_up_with(15);
    struct node *a = &rig.nodes[0], *b = &rig.nodes[1];
    change_leaders(17);
    CHECK_EQ(token(a, 1, 32), 0);
    CHECK_EQ(token(a, 2, 20), -ERR_UNAVAILABLE);
    for (uint64_t next = 20; next <= 50; next += 5) {
        for (unsigned i = 0; i < 5; i++)
            CHECK_EQ(try_publish(topic_at(b, "t"), 100, "another"), 0);
        follow(a, b);
        WAIT_UNTIL(topic_readable(t) == next);
        CHECK_EQ(token(a, 1, 15), 0);
        for (uint64_t lost = 16; lost <= 32; lost++)
            CHECK_EQ(token(a, 1, lost), -ERR_TRUNCATED);
        CHECK_EQ(token(a, 2, next), 0);
        CHECK_EQ(token(a, 2, next + 1), 0);
    }
    rig_down();
}

/* Epochs 1 (a), 2 (b, which has half of what a has), 3 (a, which never heard of 2). */
TEST(test_a_token_of_an_epoch_that_the_leader_never_had_is_refused_though_an_older_one_goes_on)
{
    rig_up(2);
    struct node *a = &rig.nodes[0], *b = &rig.nodes[1];
    struct topic *t = make_live(a, "t");
    lost_epoch(t, 5);
    CHECK_EQ(token(b, 2, 8), 0);
    cluster_resign(b->cluster, "the test says so");
    lead(a);
    publish(t, 1, 100);
    follow(b, a);
    WAIT_UNTIL(in_set(a, b) && topic_readable(topic_at(b, "t")) == 11);
    for (struct node *n = a; n != NULL; n = n == a ? b : NULL) {
        uint64_t found, end;
        for (uint64_t offset = 1; offset <= 10; offset++)
            CHECK_EQ(token(n, 1, offset), 0);
        CHECK_EQ(token(n, 3, 11), 0);
        for (uint64_t offset = 1; offset <= 12; offset++)
            CHECK_EQ(token(n, 2, offset), -ERR_TRUNCATED);
        for (uint64_t offset = 1; offset <= 10; offset++)
            CHECK_EQ(token(n, 3, offset), -ERR_TRUNCATED);
        for (uint64_t offset = 0; offset <= 12; offset++)
            CHECK_EQ(token(n, EPOCH_UNKNOWN, offset), 0);
        struct topic_token later = {.epoch = 2, .offset = 8};
        CHECK_EQ(topic_check(topic_at(n, "t"), &later, &found, &end), -ERR_TRUNCATED);
        CHECK_EQ(found, 1);
        CHECK_EQ(end, 7);
    }
    rig_down();
}
