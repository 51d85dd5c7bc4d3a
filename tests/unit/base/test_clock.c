#include "base/clock.h"

#include <errno.h>

#include "base/hist.h"
#include "unit/unit.h"

static void check_format(int64_t wall_ms, slice want)
{
    struct buf b = {0};
    int64_t back;
    clock_format(&b, wall_ms);
    CHECK_SLICE(buf_slice(&b), want);
    CHECK_EQ(clock_parse(buf_slice(&b), &back), 0);
    CHECK_EQ(back, wall_ms);
    buf_fini(&b);
}

TEST(test_known_dates_are_written_as_rfc_3339)
{
    check_format(0, SLICE("1970-01-01T00:00:00.000Z"));
    check_format(-1, SLICE("1969-12-31T23:59:59.999Z"));
    check_format(-1000, SLICE("1969-12-31T23:59:59.000Z"));
    check_format(951782399007, SLICE("2000-02-28T23:59:59.007Z"));
    check_format(951868799999, SLICE("2000-02-29T23:59:59.999Z"));
    check_format(1795428000000, SLICE("2026-11-23T10:00:00.000Z"));
    check_format(-62167219200000, SLICE("0000-01-01T00:00:00.000Z"));
    check_format(253402300799999, SLICE("9999-12-31T23:59:59.999Z"));
}

TEST(test_a_time_beyond_four_digit_years_is_held_at_the_end)
{
    struct buf b = {0};
    clock_format(&b, INT64_MAX);
    CHECK_SLICE(buf_slice(&b), SLICE("9999-12-31T23:59:59.999Z"));
    buf_clear(&b);
    clock_format(&b, INT64_MIN);
    CHECK_SLICE(buf_slice(&b), SLICE("0000-01-01T00:00:00.000Z"));
    buf_fini(&b);
}

TEST(test_what_is_formatted_parses_back)
{
    struct buf b = {0};
    for (int64_t ms = -62167219200000; ms <= 253402300799999; ms += 1234567891) {
        int64_t back;
        buf_clear(&b);
        clock_format(&b, ms);
        CHECK_EQ(clock_parse(buf_slice(&b), &back), 0);
        CHECK_EQ(back, ms);
    }
    buf_fini(&b);
}

TEST(test_consecutive_milliseconds_format_in_order)
{
    struct buf now = {0}, before = {0};
    for (int64_t ms = -2500; ms < 2500; ms++) {
        buf_clear(&now);
        clock_format(&now, ms);
        if (ms > -2500)
            CHECK(memcmp(before.data, now.data, 24) < 0);
        buf_clear(&before);
        buf_add_slice(&before, buf_slice(&now));
    }
    buf_fini(&now);
    buf_fini(&before);
}

static void check_parse(slice text, int64_t want)
{
    int64_t ms;
    CHECK_EQ(clock_parse(text, &ms), 0);
    CHECK_EQ(ms, want);
}

TEST(test_fractions_and_zones_are_optional_or_any)
{
    check_parse(SLICE("2026-11-23T10:00:00Z"), 1795428000000);
    check_parse(SLICE("2026-11-23T10:00:00.5Z"), 1795428000500);
    check_parse(SLICE("2026-11-23T10:00:00.1239999Z"), 1795428000123);
    check_parse(SLICE("2026-11-23T12:30:00+02:30"), 1795428000000);
    check_parse(SLICE("2026-11-22T23:00:00.007-11:00"), 1795428000007);
}

TEST(test_what_is_no_date_is_refused)
{
    static const char *const bad[] = {
        "", "2026", "2026-11-23", "2026-11-23T10:00Z", "2026-11-23T10:00:00", "2026-11-23 10:00:00Z",
        "2026-11-23T10:00:00.Z", "2026-11-23T10:00:00.000", "2026-11-23T10:00:00.000Zx",
        "2026-13-01T00:00:00Z", "2026-00-01T00:00:00Z", "2026-02-29T00:00:00Z", "2026-04-31T00:00:00Z",
        "2026-01-00T00:00:00Z", "2026-01-32T00:00:00Z", "2026-01-01T24:00:00Z", "2026-01-01T00:60:00Z",
        "2026-01-01T00:00:60Z", "2026-01-01T00:00:00+24:00", "2026-01-01T00:00:00+00:60",
        "2026-01-01T00:00:00+0000", "2026-01-01T00:00:00+", "2026-01-01T00:00:00-1:00",
        "+026-01-01T00:00:00Z", "2026-1-01T00:00:00Z", "20 6-01-01T00:00:00Z", "2026-01-01t00:00:00z",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        int64_t ms = 42;
        if (clock_parse(slice_from(bad[i]), &ms) != -EINVAL)
            unit_failed(__FILE__, __LINE__, "accepted: %s", bad[i]);
        CHECK_EQ(ms, 42);
    }
}

TEST(test_every_prefix_of_a_date_is_refused)
{
    slice whole = SLICE("2026-11-23T10:00:00.123+02:30");
    int64_t ms;
    CHECK_EQ(clock_parse(whole, &ms), 0);
    for (size_t n = 0; n < whole.n; n++)
        CHECK_EQ(clock_parse(slice_of(whole.p, n), &ms), -EINVAL);
}

TEST(test_the_clocks_run_forward)
{
    uint64_t start = clock_ns(), cpu = clock_cpu_ns();
    CHECK(clock_wall_ms() > 1600000000000);
    while (clock_ns() == start || clock_cpu_ns() == cpu)
        ;
    CHECK(clock_ns() > start);
    CHECK(clock_cpu_ns() > cpu);
}

TEST(test_a_duration_lands_in_the_first_bucket_that_is_not_below_it)
{
    struct hist h = {0};
    for (int i = 0; i < HIST_BOUNDS; i++) {
        CHECK(i == 0 || hist_bound_ns[i] > hist_bound_ns[i - 1]);
        hist_record(&h, hist_bound_ns[i]);
        hist_record(&h, hist_bound_ns[i] + 1);
    }
    CHECK_EQ(h.bucket[0], 1);
    for (int i = 1; i < HIST_BOUNDS; i++)
        CHECK_EQ(h.bucket[i], 2);
    CHECK_EQ(h.bucket[HIST_BOUNDS], 1);
    CHECK_EQ(h.count, 2 * HIST_BOUNDS);
    CHECK_EQ(hist_bound_ns[0], 50 * 1000);
    CHECK_EQ(hist_bound_ns[HIST_BOUNDS - 1], 10 * NS_PER_S);
}

TEST(test_a_histogram_adds_up_its_time)
{
    struct hist h = {0};
    hist_record(&h, 0);
    hist_record(&h, 5);
    hist_record(&h, 20 * NS_PER_S);
    CHECK_EQ(h.sum_ns, 20 * NS_PER_S + 5);
    CHECK_EQ(h.count, 3);
}
