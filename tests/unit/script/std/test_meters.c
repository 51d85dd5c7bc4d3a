/* Counters of hooks and timers: which names the page has when there are too many. */
#include <stdio.h>

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
        meters_called(ms, "timer", name, 1, false);
        meters_called(ms, "timer", "timer-1-", 1, true);     /* in use all the time */
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
