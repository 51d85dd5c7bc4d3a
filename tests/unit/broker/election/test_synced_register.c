#include "broker/election/synced_register.h"

#include <stdio.h>

#include "base/err.h"
#include "unit/unit.h"

#define HEX "000102030405060708090a0b0c0d0e0f"

static struct member named(const char *name)
{
    struct id id = {{1, 2, 3}};
    return member_of(name, &id);
}

TEST(test_a_member_is_its_name_and_incarnation)
{
    struct member m;
    CHECK_EQ(member_parse(SLICE("n1:" HEX), &m), 0);
    CHECK_SLICE(member_name(&m), SLICE("n1"));
    struct id id = member_incarnation(&m);
    CHECK_EQ(id.bytes[0], 0);
    CHECK_EQ(id.bytes[15], 15);
    struct member again = member_of("n1", &id), other = member_of("n2", &id);
    CHECK(member_eq(&m, &again));
    CHECK(!member_eq(&m, &other));
    id.bytes[15]++;
    other = member_of("n1", &id);
    CHECK(!member_eq(&m, &other));   /* a wiped disk under an old name is somebody else */
}

TEST(test_names_that_would_break_json_keys_or_logs_are_refused)
{
    static const char *const bad[] = {"", ":" HEX, "n1", "n1:", "n1" HEX, "n1:" "000102030405060708090a0b0c0d0e0",
                                      "n1:" HEX "0", "n1:g00102030405060708090a0b0c0d0e0f", "n 1:" HEX, "n\"1:" HEX,
                                      "n\\1:" HEX, "n/1:" HEX, "n\n:" HEX, "n\x7f:" HEX, "n\xc3\xa9:" HEX};
    struct member m, before = named("kept");
    m = before;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        CHECK_EQ(member_parse(slice_from(bad[i]), &m), -ERR_BAD_VALUE);
        CHECK(member_eq(&m, &before));
    }
    CHECK_EQ(member_parse(SLICE("n\0:" HEX), &m), -ERR_BAD_VALUE);
}

TEST(test_the_longest_name_fits_and_no_longer_one)
{
    char text[MEMBER_TEXT_MAX + 2];
    struct member m;
    memset(text, 'x', sizeof text);
    memcpy(text + NODE_NAME_MAX, ":" HEX, 1 + ID_TEXT_SIZE);
    CHECK_EQ(member_parse(slice_of(text, MEMBER_TEXT_MAX), &m), 0);
    CHECK_EQ(member_name(&m).n, NODE_NAME_MAX);
    memset(text, 'x', sizeof text);
    memcpy(text + NODE_NAME_MAX + 1, ":" HEX, 1 + ID_TEXT_SIZE);
    CHECK_EQ(member_parse(slice_of(text, MEMBER_TEXT_MAX + 1), &m), -ERR_BAD_VALUE);
}

TEST(test_a_member_that_is_none_has_neither_name_nor_incarnation)
{
    struct member none = {""};
    struct id id = member_incarnation(&none);
    CHECK_EQ(member_name(&none).n, 0);
    CHECK(id_is_zero(&id));
}

TEST(test_a_set_holds_each_member_once_up_to_its_bound)
{
    struct members set = {.count = 0};
    struct member m;
    char name[16];
    for (int i = 0; i < MEMBERS_MAX; i++) {
        snprintf(name, sizeof name, "n%d", i);
        m = named(name);
        CHECK(!members_have(&set, &m));
        CHECK(members_add(&set, &m));
        CHECK(!members_add(&set, &m));
        CHECK(members_have(&set, &m));
    }
    CHECK_EQ(set.count, MEMBERS_MAX);
    m = named("one too many");
    CHECK(!members_add(&set, &m));
    CHECK(!members_remove(&set, &m));
    m = named("n7");
    CHECK(members_remove(&set, &m));
    CHECK(!members_have(&set, &m));
    CHECK_EQ(set.count, MEMBERS_MAX - 1);
}

TEST(test_sets_are_equal_in_any_order)
{
    struct member a = named("a"), b = named("b"), c = named("c");
    struct members one = {{a, b}, 2}, two = {{b, a}, 2}, other = {{a, c}, 2}, smaller = {{a}, 1};
    CHECK(members_eq(&one, &two));
    CHECK(!members_eq(&one, &other));
    CHECK(!members_eq(&one, &smaller));
    CHECK(!members_eq(&smaller, &one));
}

TEST(test_registers_differ_in_every_field)
{
    struct synced_register v = {.cluster = {{1}}, .epoch = 5, .version = 9, .leader = named("a"),
                               .set = {{named("a"), named("b")}, 2}, .unclean = 3, .lost = {6, 10, {{2}}}}, w = v;
    CHECK(synced_register_eq(&v, &w));
    w.cluster.bytes[0] = 2;
    CHECK(!synced_register_eq(&v, &w));
    w = v;
    w.epoch++;
    CHECK(!synced_register_eq(&v, &w));
    w = v;
    w.version++;
    CHECK(!synced_register_eq(&v, &w));
    w = v;
    w.leader = named("b");
    CHECK(!synced_register_eq(&v, &w));
    w = v;
    w.set.count = 1;
    CHECK(!synced_register_eq(&v, &w));
    w = v;
    w.unclean = 4;
    CHECK(!synced_register_eq(&v, &w));
    w = v;
    w.lost.epoch = 7;
    CHECK(!synced_register_eq(&v, &w));
    w = v;
    w.lost.version = 7;
    CHECK(!synced_register_eq(&v, &w));
    w = v;
    w.lost.leader.bytes[0] = 7;
    CHECK(!synced_register_eq(&v, &w));
}

TEST(test_a_register_follows_what_its_own_history_has_seen_and_nothing_else)
{
    static const struct register_stamp seen = {5, 9, {{1}}}, nothing = {.epoch = 0};
    static const struct register_stamp leaderless = {.epoch = 5, .version = 9};
    static const struct {
        struct register_stamp later;
        bool follows;
    } cases[] = {
        {{5, 9, {{1}}}, true},       /* the same */
        {{5, 10, {{1}}}, true},      /* another set */
        {{6, 10, {{1}}}, true},      /* another claim, */
        {{6, 10, {{2}}}, true},      /* by whomever */
        {{9, 90, {{2}}}, true},
        {{5, 8, {{1}}}, false},
        {{4, 9, {{1}}}, false},
        {{4, 10, {{1}}}, false},
        {{5, 9, {{2}}}, false},      /* an epoch has one leader */
        {{5, 10, {{2}}}, false},
        {{6, 9, {{1}}}, false},      /* each write is a version of its own */
        {{6, 8, {{1}}}, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        CHECK_EQ(stamp_follows(&cases[i].later, &seen), cases[i].follows);
        CHECK(stamp_follows(&cases[i].later, &nothing));
    }
    CHECK(stamp_follows(&cases[8].later, &leaderless));
}
