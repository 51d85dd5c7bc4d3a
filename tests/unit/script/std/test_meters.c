/* Counters of hooks and timers: which names the page has when there are too many. */
#include <stdio.h>

#include "base/clock.h"
#include "base/limits.h"
#include "script/std/meters.h"
#include "unit/unit.h"

static bool page_has(const struct meters *ms, const char *text)
{
    struct buf page = {0};
    meters_render(ms, &page);
    buf_add_char(&page, '\0');
    bool has = strstr(page.data, text) != NULL;
    buf_fini(&page);
    return has;
}

TEST(test_names_of_calls_above_the_bound_take_the_places_of_those_called_longest_ago)
{
    struct meters *ms = meters_new();
    char name[32];
    for (int i = 0; i < METER_SERIES_MAX + 5; i++) {
        snprintf(name, sizeof name, "timer-%d-", i);
        meters_called(ms, "timer", name, 1, NULL);
        meters_called(ms, "timer", "timer-1-", 1, "lignum.lua:3: broken");     /* in use all the time */
    }
    CHECK(!page_has(ms, "timer-0-"));
    CHECK(!page_has(ms, "timer-5-"));
    CHECK(page_has(ms, "timer-6-"));
    CHECK(page_has(ms, name));
    snprintf(name, sizeof name, "\"timer-1-\"} %d\n", METER_SERIES_MAX + 6);
    CHECK(page_has(ms, name));
    CHECK(page_has(ms, "lignum_metrics_dropped_total 5\n"));
    meters_free(ms);
}

TEST(test_calls_have_their_last_problem_and_how_long_most_took)
{
    struct meters *ms = meters_new();
    struct calls_info c;
    char large[2 * CALL_PROBLEM_MAX];
    for (int i = 0; i < 98; i++)
        meters_called(ms, "hook", "on_publish", 40 * 1000, NULL);
    meters_called(ms, "hook", "on_publish", 2 * NS_PER_MS, "first");
    meters_called(ms, "hook", "on_publish", 2 * NS_PER_MS, "lignum.lua:3: broken");
    meters_called(ms, "hook", "on_publish", 40 * 1000, NULL);
    CHECK(meters_calls_at(ms, 0, &c) && !meters_calls_at(ms, 1, &c));
    CHECK_EQ(101, c.took.count);
    CHECK_EQ(2, c.errors);
    CHECK(strcmp("lignum.lua:3: broken", c.problem) == 0);
    CHECK(c.problem_ms > UINT64_C(1600000000000));
    double p50 = hist_quantile_ns(&c.took, 0.5), p99 = hist_quantile_ns(&c.took, 0.99);
    CHECK(p50 > 0 && p50 < 50 * 1000);
    CHECK(p99 > 1 * NS_PER_MS && p99 <= 2.5 * NS_PER_MS);

    memset(large, 'x', sizeof(large));
    large[sizeof(large) - 1] = '\0';
    meters_called(ms, "timer", "cut", 20 * NS_PER_S, large);
    CHECK(meters_calls_at(ms, 1, &c));
    CHECK_EQ(CALL_PROBLEM_MAX, strlen(c.problem));
    CHECK(hist_quantile_ns(&c.took, 0.99) == 10.0 * (double)NS_PER_S);
    meters_free(ms);
}
