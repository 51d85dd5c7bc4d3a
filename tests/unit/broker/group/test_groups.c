/* The rules of groups on a real store, one by one. */
#include "unit/groups_rig.h"

TEST(test_a_lease_that_is_over_is_lost_and_the_message_comes_again)
{
    struct node n = {0};
    uint64_t got[4];
    begin(&n, &group_settings_default);
    publish_plain(&n, 1);
    struct claim first = claim(&n, 1, got);
    CHECK_EQ(first.count, 1);
    CHECK_EQ(claim(&n, 1, got).count, 0);
    pass(&n, 31 * 1000);
    struct claim second = claim(&n, 1, got);
    CHECK_EQ(second.count, 1);
    CHECK(!settle(&n, (struct settle){.what = SETTLE_ACK, .offset = 0, .claim = first.number}));
    CHECK(settle(&n, (struct settle){.what = SETTLE_ACK, .offset = 0, .claim = second.number}));
    CHECK(settle(&n, (struct settle){.what = SETTLE_ACK, .offset = 0, .claim = second.number}));
    CHECK(!settle(&n, (struct settle){.what = SETTLE_ACK, .offset = 0, .claim = first.number}));
    CHECK_EQ(n.group->state.count.redelivered, 1);
    node_close(&n);
}

/* The system's clock is not the date here: it is an hour behind. */
TEST(test_deadlines_go_by_the_date_of_messages)
{
    struct node n = {0};
    struct journal_info info;
    uint64_t got[4];
    begin(&n, &group_settings_default);
    publish_plain(&n, 1);
    journal_info(n.topic->journal, &info);
    CHECK(llabs(groups_now_ms(n.groups) - info.last_time_ms) < 60 * 1000);
    CHECK_EQ(claim(&n, 1, got).count, 1);
    uint64_t left_ns = groups_deadline_ns(n.groups) - clock_ns();
    CHECK(left_ns <= group_settings_default.lease_ms * NS_PER_MS);
    node_close(&n);
}

/* One message is leased and one delayed; each has a time left, before and after a restart. */
TEST(test_a_date_that_is_set_leaves_leases_and_delays_what_is_left_of_them)
{
    static const int64_t steps[] = {50 * 1000, -50 * 1000, 40 * HOUR, -30 * HOUR};
    struct node n = {0};
    uint64_t got[4];
    begin(&n, &group_settings_default);
    publish_plain(&n, 2);
    struct claim c = claim(&n, 2, got);
    struct settle later = {.what = SETTLE_RELEASE, .offset = 0, .claim = c.number, .has_delay = true, .ms = 20 * 1000};
    CHECK(settle(&n, later));
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        set_date(&n, steps[i]);
        groups_turn(n.groups);
        CHECK(llabs(groups_now_ms(n.groups) - topics_date(n.topics)) < GROUP_STEP_MS);
        uint64_t left_ns = groups_deadline_ns(n.groups) - clock_ns();
        CHECK(left_ns > 10 * 1000 * NS_PER_MS);
        CHECK(left_ns <= 20 * 1000 * NS_PER_MS);
        CHECK_EQ(claim(&n, 2, got).count, 0);
        CHECK(group_leased(&n.group->state, 1, c.number) != NULL);
        if (i % 2 == 0)              /* after a step back, the newest message is later than the date */
            restart(&n);
    }
    pass(&n, 21 * 1000);
    CHECK_EQ(claim(&n, 2, got).count, 1);
    pass(&n, 10 * 1000);
    CHECK_EQ(claim(&n, 2, got).count, 1);
    CHECK_EQ(got[0], 1);
    node_close(&n);
}

/* Deadlines and dates stay together where the record cannot be appended, and follow once it can. */
TEST(test_deadlines_follow_the_date_as_soon_as_they_can)
{
    struct node n = {0};
    uint64_t got[4];
    begin(&n, &group_settings_default);
    publish_plain(&n, 1);
    struct claim c = claim(&n, 1, got);
    topics_hold(n.topics, true);
    set_date(&n, HOUR);
    groups_turn(n.groups);
    CHECK(group_leased(&n.group->state, 0, c.number) != NULL);
    CHECK(llabs(topics_date(n.topics) - groups_now_ms(n.groups) - HOUR) < GROUP_STEP_MS);
    topics_hold(n.topics, false);
    groups_turn(n.groups);
    CHECK(group_leased(&n.group->state, 0, c.number) != NULL);
    CHECK(llabs(topics_date(n.topics) - groups_now_ms(n.groups)) < GROUP_STEP_MS);
    restart(&n);
    CHECK(group_leased(&n.group->state, 0, c.number) != NULL);
    node_close(&n);
}

/* A topic has a message of a date to come, so the clock is not believed at the next start; leases are not over yet. */
TEST(test_leases_outlive_a_restart_after_the_date_was_set_back)
{
    struct node n = {0};
    uint64_t got[4], first;
    struct buf messages = {0};
    begin(&n, &group_settings_default);
    publish_plain(&n, 1);
    message_write(&messages, &(struct message){.payload = SLICE("payload")});
    struct append a = {.messages = buf_slice(&messages), .count = 1, .epoch = n.role.epoch,
                       .time_ms = topics_date(n.topics) + INT64_C(48) * HOUR};
    struct claim c = claim(&n, 1, got);
    settle_disk(&n);
    CHECK_EQ(journal_append(n.topic->journal, &a, &first), 0);
    node_close(&n);
    n = (struct node){0};
    node_open(&n);
    CHECK(group_leased(&n.group->state, 0, c.number) != NULL);
    pass(&n, 31 * 1000);
    CHECK_EQ(claim(&n, 1, got).count, 1);
    CHECK_EQ(got[0], 0);
    node_close(&n);
    buf_fini(&messages);
}

TEST(test_the_delay_before_a_retry_grows_up_to_its_bound)
{
    struct group_settings s = group_settings_default;
    s.retry_min_ms = 1000;
    s.retry_max_ms = 5000;
    CHECK_EQ(group_retry_delay_ms(&s, 1), 1000);
    CHECK_EQ(group_retry_delay_ms(&s, 2), 2000);
    CHECK_EQ(group_retry_delay_ms(&s, 3), 4000);
    CHECK_EQ(group_retry_delay_ms(&s, 4), 5000);
    CHECK_EQ(group_retry_delay_ms(&s, 1000 * 1000), 5000);
    s.retry_factor = 1000;
    CHECK_EQ(group_retry_delay_ms(&s, 9), 1000);
    s.retry_min_ms = 0;
    CHECK_EQ(group_retry_delay_ms(&s, 9), 0);
}

TEST(test_no_more_than_lease_max_are_leased_at_once)
{
    struct node n = {0};
    uint64_t got[16];
    struct group_settings s = group_settings_default;
    s.lease_max = 3;
    begin(&n, &s);
    publish_plain(&n, 8);
    struct claim c = claim(&n, 8, got);
    CHECK_EQ(c.count, 3);
    CHECK_EQ(claim(&n, 8, got).count, 0);
    CHECK(settle(&n, (struct settle){.what = SETTLE_ACK, .offset = 1, .claim = c.number}));
    CHECK_EQ(claim(&n, 8, got).count, 1);
    CHECK_EQ(got[0], 3);
    node_close(&n);
}

TEST(test_a_dying_message_is_out_until_it_is_buried_also_over_a_restart)
{
    struct node n = {0};
    uint64_t got[4], want;
    struct buf why = {0};
    struct group_settings s = group_settings_default;
    CHECK_EQ(group_settings_set(&s, SLICE("dead_letter"), SLICE("_x"), &why), -ERR_BAD_VALUE);
    CHECK_EQ(group_settings_set(&s, SLICE("dead_letter"), SLICE("dead"), &why), 0);
    s.deliveries = 1;
    begin(&n, &s);
    publish_plain(&n, 3);
    struct claim c = claim(&n, 2, got);
    struct settle reject = {.what = SETTLE_DEAD, .offset = 0, .claim = c.number, .reason = SLICE("no address")};
    CHECK(settle(&n, reject));
    pass(&n, 31 * 1000);
    CHECK_EQ(groups_use(n.groups, n.group, n.topic), 0);
    for (int i = 0; i < 2; i++) {
        CHECK(slice_eq(group_reason(&n.group->state, deliveries_find(&n.group->state.out, 0)), SLICE("no address")));
        CHECK_EQ(group_reason(&n.group->state, deliveries_find(&n.group->state.out, 1)).n, 0);
        CHECK_EQ(n.group->state.dying, 2);
        CHECK_EQ(n.group->state.out.leased, 0);
        CHECK_EQ(n.group->state.settled.cursor, 0);
        CHECK(groups_deadline_ns(n.groups) < UINT64_MAX / 2);
        check_snapshot(&n);
        restart(&n);
    }
    CHECK_EQ(deliveries_find(&n.group->state.out, 0)->claim, DYING_REJECTED);
    CHECK_EQ(deliveries_find(&n.group->state.out, 1)->claim, DYING_DELIVERIES);
    CHECK_EQ(claim(&n, 4, got).count, 1);
    CHECK_EQ(groups_bury(n.groups, n.group, 0, &want), 0);
    CHECK(want > 0);
    CHECK_EQ(groups_bury(n.groups, n.group, 0, &want), 0);
    CHECK_EQ(want, 0);
    CHECK_EQ(groups_bury(n.groups, n.group, 2, &want), 0);
    CHECK_EQ(want, 0);                               /* it is leased, and not dying */
    CHECK_EQ(n.group->state.dying, 1);
    CHECK_EQ(n.group->state.count.dead, 1);
    CHECK_EQ(n.group->state.settled.cursor, 1);
    buf_fini(&why);
    node_close(&n);
}

TEST(test_a_dying_message_holds_back_none_of_its_key)
{
    struct node n = {0};
    uint64_t got[4], want;
    struct buf why = {0};
    struct group_settings s = group_settings_default;
    const char *keys[] = {"a", "a", "a"};
    s.order = ORDER_KEY;
    CHECK_EQ(group_settings_set(&s, SLICE("dead_letter"), SLICE("dead"), &why), 0);
    begin(&n, &s);
    publish(&n, keys, 3);
    for (uint64_t i = 0; i < 2; i++) {
        struct claim c = claim(&n, 4, got);
        CHECK_EQ(c.count, 1);
        CHECK_EQ(got[0], i);
        CHECK(settle(&n, (struct settle){.what = SETTLE_DEAD, .offset = i, .claim = c.number}));
        check_snapshot(&n);
        restart(&n);
    }
    CHECK_EQ(n.group->state.dying, 2);
    CHECK_EQ(claim(&n, 4, got).count, 1);
    for (uint64_t i = 0; i < 2; i++)
        CHECK_EQ(groups_bury(n.groups, n.group, i, &want), 0);
    CHECK_EQ(n.group->state.settled.cursor, 2);
    CHECK_EQ(n.group->state.out.key_count, 1);
    buf_fini(&why);
    node_close(&n);
}

/* Publishes one message of a key, with a header or none. */
static void publish_one(struct node *n, const char *key, const char *name, const char *value)
{
    struct buf messages = {0}, headers = {0};
    uint64_t first;
    if (name != NULL)
        header_write(&headers, slice_from(name), slice_from(value));
    message_write(&messages, &(struct message){
        .key = slice_from(key), .headers = buf_slice(&headers), .payload = SLICE("payload")});
    struct append a = {.messages = buf_slice(&messages), .count = 1};
    CHECK_EQ(topics_append(n->topic, &a, &first), 0);
    buf_fini(&messages);
    buf_fini(&headers);
    settle_disk(n);
}

TEST(test_what_a_filter_does_not_take_is_settled_when_a_claim_meets_it)
{
    struct node n = {0};
    uint64_t got[16];
    struct buf filter = {0}, why = {0};
    struct group_settings s = group_settings_default;
    CHECK_EQ(group_settings_set(&s, SLICE("filter"), SLICE("x"), &why), -ERR_BAD_VALUE);
    header_write(&filter, SLICE("hcolour"), SLICE("red"));
    header_write(&filter, SLICE("k"), SLICE("a"));
    CHECK_EQ(group_settings_set(&s, SLICE("filter"), buf_slice(&filter), &why), 0);
    begin(&n, &s);
    publish_one(&n, "a", "colour", "red");
    publish_one(&n, "b", "colour", "red");
    publish_one(&n, "a", "colour", "blue");
    publish_one(&n, "a", NULL, NULL);
    publish_one(&n, "a", "colour", "red");
    struct claim c = claim(&n, 1, got);
    CHECK_EQ(n.group->state.settled.above, 0);       /* no claim has met the others */
    c = claim(&n, 9, got);
    CHECK_EQ(c.count, 1);
    CHECK_EQ(got[0], 4);
    CHECK_EQ(n.group->state.settled.above, 3);
    check_snapshot(&n);
    restart(&n);
    CHECK_EQ(n.group->state.settled.above, 3);
    CHECK_EQ(n.group->state.count.dead + n.group->state.count.acks, 0);
    publish_one(&n, "b", NULL, NULL);
    CHECK_EQ(claim(&n, 9, got).count, 0);
    CHECK_EQ(group_top(&n.group->state), 6);         /* a cut of it would be noticed */
    buf_fini(&filter);
    buf_fini(&why);
    node_close(&n);
}

TEST(test_what_a_claim_passed_over_is_met_again_where_its_record_cannot_be_appended)
{
    struct node n = {0};
    uint64_t got[16];
    struct claim c;
    struct buf filter = {0}, why = {0}, out = {0};
    struct claim_options o = {SLICE("me"), 9, READ_SIZE_DEFAULT};
    struct group_settings s = group_settings_default;
    begin(&n, &s);
    for (int i = 0; i < 4; i++)
        publish_one(&n, i == 2 ? "a" : "b", NULL, NULL);
    c = claim(&n, 1, got);
    CHECK(settle(&n, (struct settle){.what = SETTLE_RELEASE, .offset = 0, .claim = c.number}));
    header_write(&filter, SLICE("k"), SLICE("a"));
    CHECK_EQ(group_settings_set(&n.group->state.settings, SLICE("filter"), buf_slice(&filter), &why), 0);
    topics_hold(n.topics, true);
    CHECK_EQ(groups_claim(n.groups, n.group, n.topic, &o, &out, &c), -ERR_NOT_LEADER);
    CHECK_EQ(n.group->state.settled.cursor + n.group->state.settled.above, 0);
    topics_hold(n.topics, false);
    CHECK_EQ(claim(&n, 9, got).count, 1);
    CHECK_EQ(got[0], 2);
    CHECK_EQ(n.group->state.settled.cursor, 2);
    CHECK_EQ(n.group->state.settled.above, 1);
    buf_fini(&filter);
    buf_fini(&out);
    buf_fini(&why);
    node_close(&n);
}

static void check_outdated(bool dead)
{
    struct node n = {0};
    uint64_t got[16], want;
    struct buf why = {0};
    struct group_settings s = group_settings_default;
    s.order = ORDER_KEY;
    CHECK_EQ(group_settings_set(&s, SLICE("expired"), dead ? SLICE("dead") : SLICE("drop"), &why), 0);
    CHECK_EQ(group_settings_set(&s, SLICE("dead_letter"), SLICE("dead"), &why), 0);
    begin(&n, &s);
    for (int i = 0; i < 2; i++)
        publish_one(&n, "a", "lignum-ttl", "10");
    publish_one(&n, "b", "lignum-ttl", "10");
    publish_one(&n, "b", "lignum-ttl", "60");
    struct claim c = claim(&n, 1, got);
    pass(&n, 11 * 1000);
    CHECK(settle(&n, (struct settle){.what = SETTLE_RELEASE, .offset = 0, .claim = c.number}));
    c = claim(&n, 9, got);
    CHECK_EQ(c.count, 1);
    CHECK_EQ(got[0], 3);
    check_snapshot(&n);
    restart(&n);
    CHECK_EQ(n.group->state.count.outdated, 3);
    CHECK_EQ(n.group->state.dying, dead ? 3 : 0);
    for (uint64_t i = 0; i < 3 && dead; i++) {
        CHECK_EQ(deliveries_find(&n.group->state.out, i)->claim, DYING_OUTDATED);
        CHECK_EQ(groups_bury(n.groups, n.group, i, &want), 0);
    }
    CHECK_EQ(n.group->state.settled.cursor, 3);
    buf_fini(&why);
    node_close(&n);
}

TEST(test_a_message_whose_ttl_is_over_is_not_delivered)
{
    check_outdated(false);
}

TEST(test_a_message_whose_ttl_is_over_dies_where_the_group_says_so)
{
    check_outdated(true);
}
