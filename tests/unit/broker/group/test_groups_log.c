/* The records of groups: their log, histories, snapshots, retention, and what each of them costs. */
#include "unit/groups_rig.h"
#include "unit/topic_set.h"

/* 3 * 10^9 offsets are settled while ten messages are out. */
TEST(test_a_settled_range_costs_by_what_is_out)
{
    enum { RANGES = 3000 };
    struct group g;
    struct buf payload = {0};
    struct settle_run *runs = mem_new(RANGES * sizeof(*runs));
    group_init(&g, &group_settings_default);
    for (uint64_t i = 0; i < 10; i++)
        group_hold(&g, deliveries_add(&g.out, i * 400 * GROUP_DELIVERIES_MAX, 0), 7, HOUR, 0);
    for (uint64_t i = 0; i < RANGES; i++)
        runs[i] = (struct settle_run){.what = SETTLE_LEAVE_OUT, .offset = i * GROUP_DELIVERIES_MAX,
                                      .n = GROUP_DELIVERIES_MAX};
    record_settle(&payload, runs, RANGES);
    uint64_t before = clock_cpu_ns();
    CHECK_EQ(group_apply(&g, &(struct message){.payload = buf_slice(&payload)}), 0);
    CHECK(clock_cpu_ns() - before < NS_PER_S);
    CHECK_EQ(g.settled.cursor, (uint64_t)RANGES * GROUP_DELIVERIES_MAX);
    CHECK_EQ(g.out.count, 2);                        /* the last two are above */
    CHECK_EQ(g.out.leased, 2);
    group_fini(&g);
    buf_fini(&payload);
    mem_free(runs);
}

TEST(test_messages_that_are_not_in_the_history_are_forgotten)
{
    struct node n = {0};
    uint64_t got[16];
    begin(&n, &group_settings_default);
    for (int i = 0; i < 4; i++)
        publish_plain(&n, 1);
    struct claim c = claim(&n, 4, got);
    for (uint64_t i = 0; i < 4; i++)
        CHECK(settle(&n, (struct settle){.what = SETTLE_ACK, .offset = i, .claim = c.number}));
    CHECK_EQ(n.group->state.settled.cursor, 4);
    restart(&n);
    CHECK_EQ(topic_truncate(n.topic, 2), 0);         /* as if the leader before had not sent the others */
    publish_plain(&n, 3);                            /* of a later epoch, up to offset 5 */
    n.group->checked_epoch = 0;
    CHECK_EQ(groups_use(n.groups, n.group, n.topic), 0);
    CHECK_EQ(n.group->state.settled.cursor, 2);
    CHECK_EQ(claim(&n, 8, got).count, 3);
    CHECK_EQ(got[0], 2);
    node_close(&n);
}

TEST(test_a_record_that_cannot_be_appended_changes_nothing)
{
    struct node n = {0};
    uint64_t got[4], want;
    struct claim lost;
    struct buf out = {0};
    struct claim_options o = {SLICE("me"), 2, READ_SIZE_DEFAULT};
    begin(&n, &group_settings_default);
    publish_plain(&n, 3);
    struct claim c = claim(&n, 1, got);
    struct settle s = {.what = SETTLE_ACK, .offset = 0, .claim = c.number};
    topics_stop(n.topics);
    CHECK_EQ(groups_settle(n.groups, n.group, &s, 1, &want), -ERR_STOPPING);
    CHECK_EQ(groups_claim(n.groups, n.group, n.topic, &o, &out, &lost), -ERR_STOPPING);
    CHECK_EQ(buf_size(&out), 0);
    CHECK_EQ(n.group->state.out.leased, 1);
    CHECK_EQ(n.group->state.settled.cursor, 0);
    CHECK(group_leased(&n.group->state, 0, c.number) != NULL);
    restart(&n);
    CHECK(settle(&n, s));
    CHECK_EQ(claim(&n, 4, got).count, 2);
    CHECK_EQ(got[0], 1);
    buf_fini(&out);
    node_close(&n);
}

TEST(test_what_retention_removes_is_counted_and_its_leases_are_lost)
{
    struct node n = {0};
    uint64_t got[16];
    begin(&n, &group_settings_default);
    publish_plain(&n, 4);
    struct claim c = claim(&n, 4, got);
    CHECK(settle(&n, (struct settle){.what = SETTLE_ACK, .offset = 1, .claim = c.number}));
    CHECK_EQ(topic_restart(n.topic, 3, false), 0);
    CHECK_EQ(groups_use(n.groups, n.group, n.topic), 0);
    CHECK_EQ(n.group->state.count.removed, 2);
    CHECK_EQ(n.group->state.settled.cursor, 3);
    CHECK(!settle(&n, (struct settle){.what = SETTLE_ACK, .offset = 0, .claim = c.number}));
    node_close(&n);
}

TEST(test_batches_that_are_kept_for_the_next_claim_are_dropped_when_the_log_is_cut)
{
    struct node n = {0};
    uint64_t got[4];
    static const char *const keys[] = {"a"};
    struct group_settings s = group_settings_default;
    s.lease_max = 1;
    begin(&n, &s);
    for (int i = 0; i < 4; i++)
        publish(&n, keys, 1);
    struct claim c = claim(&n, 4, got);              /* reads all, and gets one */
    CHECK_EQ(c.count, 1);
    CHECK(settle(&n, (struct settle){.what = SETTLE_ACK, .offset = 0, .claim = c.number}));
    CHECK(n.group->reader != NULL);
    CHECK(n.groups->cached > 0);
    CHECK_EQ(topic_truncate(n.topic, 1), 0);
    publish_plain(&n, 3);                            /* without a key, at the same offsets */
    CHECK_EQ(claim(&n, 1, got).count, 1);
    CHECK_EQ(got[0], 1);
    CHECK_EQ(deliveries_find(&n.group->state.out, 1)->key, 0);
    groups_trim(n.groups);
    CHECK(n.group->reader != NULL);
    groups_trim(n.groups);                           /* nothing was claimed between these two */
    CHECK(n.group->reader == NULL);
    CHECK_EQ(n.groups->cached, 0);
    node_close(&n);
}

TEST(test_a_group_expires_by_the_time_since_its_last_use)
{
    struct node n = {0};
    uint64_t got[4];
    struct group_settings s = group_settings_default;
    s.expire_ms = 60 * 1000;
    begin(&n, &s);
    groups_trim(n.groups);
    pass(&n, 50 * 1000);
    claim(&n, 1, got);                               /* which finds nothing, and is a use */
    pass(&n, 50 * 1000);
    groups_trim(n.groups);
    CHECK_EQ(groups_count(n.groups), 1);
    restart(&n);                                     /* a leader counts from its start */
    groups_trim(n.groups);
    pass(&n, 59 * 1000);
    groups_trim(n.groups);
    CHECK_EQ(groups_count(n.groups), 1);
    pass(&n, 2 * 1000);
    groups_trim(n.groups);
    CHECK_EQ(groups_count(n.groups), 0);
    node_close(&n);
}

/* A topic of small files, and what its groups let go. */
TEST(test_what_all_groups_have_passed_is_known_once_it_is_committed)
{
    struct node n = {0};
    uint64_t got[16], want;
    struct group_settings s = group_settings_default;
    struct group_place from = {0, 0};
    begin(&n, &s);
    TOPIC_SET(n.topic, retain_groups, 1);
    for (int i = 0; i < 4; i++)
        publish_plain(&n, 1);
    CHECK_EQ(groups_create(n.groups, n.topic, SLICE("slow"), &s, &from, &want), 0);
    struct claim c = claim(&n, 4, got);
    for (uint64_t i = 0; i < 3; i++)
        CHECK(settle(&n, (struct settle){.what = SETTLE_ACK, .offset = i, .claim = c.number}));
    struct held_group *slow = groups_find(n.groups, n.topic, SLICE("slow"));
    from.cursor = 2;
    from.epoch = topic_last_epoch(n.topic);
    settle_disk(&n);
    CHECK_EQ(groups_seek(n.groups, slow, &from, &want), 0);
    for (int i = 0; i < 3; i++) {
        groups_trim(n.groups);
        CHECK_EQ(topic_passed(n.topic), 0);         /* the seek is not committed */
    }
    settle_disk(&n);
    groups_trim(n.groups);
    CHECK_EQ(topic_passed(n.topic), 2);
    from = (struct group_place){0, 0};
    CHECK_EQ(groups_seek(n.groups, slow, &from, &want), 0);
    groups_trim(n.groups);
    CHECK_EQ(topic_passed(n.topic), 0);             /* it has gone back */
    settle_disk(&n);
    CHECK_EQ(groups_delete(n.groups, slow, &want), 0);
    groups_trim(n.groups);
    groups_trim(n.groups);
    CHECK_EQ(topic_passed(n.topic), 0);             /* the delete is not committed */
    settle_disk(&n);
    groups_trim(n.groups);
    CHECK_EQ(topic_passed(n.topic), 3);
    restart(&n);
    TOPIC_SET(n.topic, retain_groups, 1);
    CHECK_EQ(topic_truncate(n.topic, 1), 0);         /* what is settled from there on is of another history */
    for (int i = 0; i < 4; i++)
        publish_plain(&n, 1);
    groups_trim(n.groups);
    groups_trim(n.groups);
    CHECK_EQ(topic_passed(n.topic), 1);
    node_close(&n);
}

/* A name that holds nothing gives its place to a new one. */
TEST(test_a_group_remembers_a_bounded_number_of_consumers)
{
    struct group g;
    char name[16];
    group_init(&g, &group_settings_default);
    for (int i = 1; i < 3 * GROUP_CONSUMERS_MAX; i++) {
        int n = snprintf(name, sizeof(name), "c%d", i);
        unsigned at = group_consumer(&g, slice_of(name, (size_t)n));
        CHECK(at > 0);
        CHECK(slice_eq(slice_from(g.consumers[at]->name), slice_of(name, (size_t)n)));
        CHECK_EQ(group_consumer(&g, slice_of(name, (size_t)n)), at);
        g.consumers[at]->last_ms = i;
        g.consumers[at]->leased = i == 7;
    }
    CHECK_EQ(g.consumer_count, GROUP_CONSUMERS_MAX);
    CHECK_EQ(group_consumer(&g, SLICE("")), 0);
    CHECK_EQ(group_consumer(&g, SLICE("c7")), 7);
    CHECK_EQ(g.consumers[7]->leased, 1);
    for (unsigned i = 1; i < GROUP_CONSUMERS_MAX; i++)
        g.consumers[i]->leased = 1;
    CHECK_EQ(group_consumer(&g, SLICE("one more")), 0);
    group_fini(&g);
}

/* Claims and releases many messages again and again, so that _groups grows. */
static void churn(struct node *n, int rounds)
{
    uint64_t want;
    uint64_t *got = mem_new(CLAIM_COUNT_MAX * sizeof(*got));
    struct settle *all = mem_new(CLAIM_COUNT_MAX * sizeof(*all));
    for (int i = 0; i < rounds; i++) {
        struct claim c = claim(n, CLAIM_COUNT_MAX, got);
        CHECK(c.count > 0);
        for (uint32_t k = 0; k < c.count; k++)
            all[k] = (struct settle){.what = SETTLE_RETURN, .offset = got[k], .claim = c.number};
        CHECK_EQ(groups_settle(n->groups, n->group, all, c.count, &want), 0);
        settle_disk(n);
    }
    mem_free(got);
    mem_free(all);
}

TEST(test_snapshots_let_old_files_go_and_keep_all_that_is_known)
{
    struct node n = {0};
    uint64_t got[8], want;
    struct group_settings s = group_settings_default;
    struct group_place from = {0, 0};
    s.lease_max = GROUP_AHEAD_MAX;
    begin(&n, &s);
    CHECK_EQ(groups_create(n.groups, n.topic, SLICE("idle"), &s, &from, &want), 0);
    for (int i = 0; i < 200; i++)
        publish_plain(&n, 16);
    struct claim c = claim(&n, 3, got);
    CHECK(settle(&n, (struct settle){.what = SETTLE_ACK, .offset = 1, .claim = c.number}));
    churn(&n, 100);
    groups_trim(n.groups);                           /* writes snapshots */
    CHECK_EQ(topic_first(groups_log(n.groups)), 0);
    settle_disk(&n);
    groups_trim(n.groups);                           /* which are committed now */
    CHECK(topic_first(groups_log(n.groups)) > 0);
    CHECK_EQ(groups_log(n.groups)->tail.at, n.groups->applied);
    restart(&n);
    CHECK(n.group != NULL);
    CHECK_EQ(n.group->state.settings.lease_max, GROUP_AHEAD_MAX);
    CHECK_EQ(n.group->state.out.leased, 2);
    CHECK(group_leased(&n.group->state, 0, c.number) != NULL);
    CHECK(settled_has(&n.group->state.settled, 1));
    CHECK(groups_find(n.groups, n.topic, SLICE("idle")) != NULL);
    CHECK(settle(&n, (struct settle){.what = SETTLE_ACK, .offset = 1, .claim = c.number}));
    struct journal_info info;
    churn(&n, 100);
    groups_trim(n.groups);
    settle_disk(&n);
    groups_trim(n.groups);
    journal_info(groups_log(n.groups)->journal, &info);
    CHECK(info.bytes < (uint64_t)GROUP_LOG_GROWTH + 2 * GROUP_LOG_SEGMENT);
    node_close(&n);
}

TEST(test_a_snapshot_that_is_not_committed_removes_nothing)
{
    struct node n = {0};
    struct group_settings s = group_settings_default;
    s.lease_max = GROUP_AHEAD_MAX;
    begin(&n, &s);
    for (int i = 0; i < 200; i++)
        publish_plain(&n, 16);
    churn(&n, 100);
    groups_trim(n.groups);
    store_flush(n.store);
    groups_trim(n.groups);
    CHECK_EQ(topic_first(groups_log(n.groups)), 0);
    node_close(&n);
}

TEST(test_groups_of_a_deleted_topic_are_deleted)
{
    struct node n = {0};
    uint64_t want;
    begin(&n, &group_settings_default);
    CHECK_EQ(topics_delete(n.topics, n.topic, &want), 0);
    settle_disk(&n);
    CHECK_EQ(groups_count(n.groups), 1);
    groups_trim(n.groups);
    CHECK_EQ(groups_count(n.groups), 0);
    n.topic = NULL;
    restart(&n);
    CHECK_EQ(groups_count(n.groups), 0);
    node_close(&n);
}

TEST(test_no_record_can_crash_a_group)
{
    srandom(3);
    struct group g;
    group_init(&g, &group_settings_default);
    for (int i = 0; i < 20000; i++) {
        char bytes[80];
        size_t n = (size_t)random() % sizeof(bytes);
        for (size_t k = 0; k < n; k++)
            bytes[k] = random() % 3 ? 0 : (char)(random() % 16);
        if (n > 0)
            bytes[0] = (char)(random() % (RECORD_SHIFT + 2));
        struct message m = {.payload = slice_of(bytes, n)};
        group_apply(&g, &m);
    }
    group_fini(&g);
}
