#include "base/wall_clock.h"

#include "base/clock.h"
#include "base/limits.h"
#include "unit/unit.h"

#define S(n) ((n) * INT64_C(1000))
#define NS(n) ((uint64_t)(n) * NS_PER_S)

enum { BEGAN = 1800 * 1000 * 1000, DAY = 24 * 3600 };

static int64_t look(struct wall_clock *c, int64_t ahead_s, uint64_t passed_s)
{
    int64_t date_ms = wall_clock_look(c, S(BEGAN + (int64_t)passed_s + ahead_s), NS(100 + passed_s));
    return date_ms / 1000 - BEGAN - (int64_t)passed_s;         /* how far the date is ahead, in seconds */
}

TEST(test_a_steady_clock_is_the_date)
{
    struct wall_clock c = {0};
    CHECK_EQ(look(&c, 0, 0), 0);
    CHECK_EQ(look(&c, 3, 10), 3);          /* it was set a little */
    CHECK_EQ(look(&c, -5, 20), -5);
    CHECK_EQ(look(&c, 0, 100 * DAY), 0);   /* nobody looked for long */
}

static struct wall_clock begun(int64_t behind_s, bool set)
{
    struct wall_clock c;
    wall_clock_begin(&c, S(BEGAN), S(BEGAN - behind_s), NS(100), set);
    return c;
}

TEST(test_a_clock_that_begins_behind_the_newest_message_is_not_believed_unless_it_is_known_to_be_right)
{
    static const int64_t behind[] = {61, DAY, 50 * 365 * DAY};
    for (size_t i = 0; i < sizeof behind / sizeof *behind; i++) {
        struct wall_clock c = begun(behind[i], false);
        CHECK_EQ(look(&c, -behind[i], 0), 0);
        CHECK_EQ(look(&c, -behind[i], CLOCK_TRUST_MS / 1000 - 1), 0);
        CHECK_EQ(look(&c, -behind[i], CLOCK_TRUST_MS / 1000 + 1), -behind[i]);
        c = begun(behind[i], false);
        CHECK_EQ(look(&c, -behind[i], 1), 0);
        CHECK_EQ(look(&c, DAY, 2), DAY);       /* it is set; the node was stopped for a day */
        CHECK_EQ(look(&c, 0, 3), DAY);         /* from here on it jumps as any other */
        c = begun(behind[i], true);
        CHECK_EQ(look(&c, -behind[i], 0), -behind[i]);
    }
    struct wall_clock c = begun(59, false);
    CHECK_EQ(look(&c, -59, 0), -59);
    c = begun(-365 * DAY, false);
    CHECK_EQ(look(&c, 365 * DAY, 0), 365 * DAY);
    wall_clock_begin(&c, 0, S(BEGAN), NS(100), false);
    CHECK_EQ(look(&c, 0, 0), 0);
}

TEST(test_a_moment_of_a_wrong_clock_does_not_change_the_date)
{
    static const int64_t wrong[] = {3600, 10 * 365 * DAY, -DAY, 90};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct wall_clock c = {0};
        look(&c, 0, 0);
        for (uint64_t passed = 1; passed < CLOCK_TRUST_MS / 1000; passed += 7)
            CHECK_EQ(look(&c, wrong[i], passed), 0);
        CHECK_EQ(look(&c, 1, CLOCK_TRUST_MS / 1000), 1);
        CHECK_EQ(look(&c, wrong[i], CLOCK_TRUST_MS / 1000 + 2), 1);        /* and another one begins anew */
    }
}

TEST(test_a_jump_that_stays_is_believed)
{
    struct wall_clock c = {0};
    look(&c, DAY, 0);                      /* the machine began with a wrong clock, and it was set right */
    CHECK_EQ(look(&c, 0, 1), DAY);
    CHECK_EQ(look(&c, 0, CLOCK_TRUST_MS / 1000), DAY);
    CHECK_EQ(look(&c, 0, CLOCK_TRUST_MS / 1000 + 1), 0);
    CHECK_EQ(look(&c, 0, CLOCK_TRUST_MS / 1000 + 2), 0);
}

TEST(test_a_clock_that_jumps_to_and_fro_is_not_believed)
{
    struct wall_clock c = {0};
    look(&c, 0, 0);
    for (uint64_t passed = 1; passed < 10 * CLOCK_TRUST_MS / 1000; passed += 30)
        CHECK_EQ(look(&c, passed % 60 == 1 ? DAY : 2 * DAY, passed), 0);
}
