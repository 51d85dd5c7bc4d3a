#include "store/log/damage.h"

#include "unit/unit.h"

static uint32_t total;

#define RANGE(from, to) {from, to, false}

static struct damage damage_of(const struct damaged_range *ranges, uint32_t count)
{
    struct damage d = {.total = &total};
    total = 0;
    for (uint32_t i = 0; i < count; i++)
        CHECK(damage_add(&d, ranges[i].from, ranges[i].to));
    CHECK_EQ(total, count);
    return d;
}

static void check_is(struct damage *d, const struct damaged_range *ranges, uint32_t count)
{
    CHECK_EQ(d->count, count);
    CHECK_EQ(total, count);
    for (uint32_t i = 0; i < count && i < d->count; i++) {
        CHECK_EQ(d->ranges[i].from, ranges[i].from);
        CHECK_EQ(d->ranges[i].to, ranges[i].to);
    }
    damage_fini(d);
}

TEST(test_damage_within_a_known_range_is_not_new)
{
    struct damage d = damage_of((struct damaged_range[]){RANGE(10, 20), RANGE(30, 30)}, 2);
    CHECK(!damage_add(&d, 10, 20));
    CHECK(!damage_add(&d, 12, 13));
    CHECK(!damage_add(&d, 20, 20));                  /* an empty range at the end of a known one */
    CHECK(!damage_add(&d, 30, 30));
    check_is(&d, (struct damaged_range[]){RANGE(10, 20), RANGE(30, 30)}, 2);
}

TEST(test_a_range_replaces_an_empty_one_within_it)
{
    struct damage d = damage_of((struct damaged_range[]){RANGE(10, 10), RANGE(40, 50)}, 2);
    CHECK(damage_add(&d, 10, 15));
    check_is(&d, (struct damaged_range[]){RANGE(10, 15), RANGE(40, 50)}, 2);
}

TEST(test_what_is_kept_of_damage_lies_within_the_bounds)
{
    static const struct damaged_range all[] = {RANGE(0, 5), RANGE(8, 12), RANGE(14, 14), RANGE(18, 25), RANGE(30, 30)};
    struct damage d = damage_of(all, 5);
    damage_keep(&d, 10, 20);
    check_is(&d, (struct damaged_range[]){RANGE(10, 12), RANGE(14, 14), RANGE(18, 20)}, 3);
    d = damage_of(all, 5);
    damage_keep(&d, 0, 0);
    check_is(&d, NULL, 0);
    d = damage_of(all, 5);
    damage_keep(&d, 0, UINT64_MAX);
    check_is(&d, all, 5);
}

TEST(test_dropped_damage_leaves_what_is_outside_the_bounds)
{
    static const struct damaged_range all[] = {RANGE(0, 5), RANGE(8, 12), RANGE(14, 14), RANGE(18, 25), RANGE(30, 30)};
    struct damage d = damage_of(all, 5);
    damage_drop(&d, 10, 20);
    check_is(&d, (struct damaged_range[]){RANGE(0, 5), RANGE(8, 10), RANGE(20, 25), RANGE(30, 30)}, 4);
    d = damage_of((struct damaged_range[]){RANGE(0, 30)}, 1);
    damage_drop(&d, 10, 20);
    check_is(&d, (struct damaged_range[]){RANGE(0, 10), RANGE(20, 30)}, 2);
}

TEST(test_a_refused_range_replaces_what_was_known_within_it_until_it_is_dropped)
{
    struct damage d = damage_of((struct damaged_range[]){RANGE(2, 3), RANGE(10, 12)}, 2);
    damage_refuse(&d, 0, 10);
    CHECK_EQ(d.count, 2);
    CHECK(damage_refuses(&d, 0));
    CHECK(damage_refuses(&d, 9));
    CHECK(!damage_refuses(&d, 10));                  /* damaged, not refused */
    damage_keep(&d, 5, UINT64_MAX);
    CHECK(damage_refuses(&d, 5));
    CHECK(!damage_refuses(&d, 4));
    damage_drop(&d, 0, 10);
    CHECK(!damage_refuses(&d, 5));
    CHECK_EQ(d.count, 1);
    damage_fini(&d);
}

TEST(test_damage_of_a_journal_that_goes_no_longer_counts)
{
    total = 0;
    struct damage one = {.total = &total}, other = {.total = &total};
    damage_add(&one, 1, 2);
    damage_add(&one, 5, 6);
    damage_add(&other, 1, 2);
    CHECK_EQ(total, 3);
    damage_fini(&one);
    CHECK_EQ(total, 1);
    damage_fini(&other);
    CHECK_EQ(total, 0);
}
