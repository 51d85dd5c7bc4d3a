/* Topic settings: one table serves the log of topics, HTTP and lignum.lua. */
#include "base/err.h"
#include "broker/topic/settings.h"
#include "unit/unit.h"

static void copy_pair(void *arg, const char *name, slice text)
{
    struct buf why = {0};
    CHECK_EQ(settings_set(arg, slice_from(name), text, &why), 0);
    buf_fini(&why);
}

TEST(test_settings_survive_the_way_through_text)
{
    struct topic_settings a = {
        .replication = REPLICATION_LIVE,
        .copies = 2,
        .durability = DURABILITY_OS,
        .retain = {.age_ms = 1234567890123, .bytes = UINT64_C(1) << 40, .messages = 77},
        .segment_messages = 10,
        .segment_bytes = 65536,
        .segment_age_ms = 60000,
        .dedupe_age_ms = 5000,
        .dedupe_keys = 7,
    };
    struct topic_settings b = settings_default;
    CHECK(!settings_equal(&a, &b));
    settings_each(&a, NULL, copy_pair, &b);
    CHECK(settings_equal(&a, &b));
}

static void count_pair(void *count, const char *name, slice text)
{
    (void)name, (void)text;
    ++*(unsigned *)count;
}

/* They are not in the log: another default would change topics that exist. */
TEST(test_create_records_leave_out_what_the_format_says)
{
    struct topic_settings s = settings_default;
    unsigned count = 0;
    settings_each(&s, &settings_default, count_pair, &count);
    CHECK_EQ(count, 0);
    s.segment_bytes--;
    settings_each(&s, &settings_default, count_pair, &count);
    CHECK_EQ(count, 1);
    CHECK(settings_equal(&settings_default, &(struct topic_settings){
        .replication = REPLICATION_WAL, .copies = 1, .durability = DURABILITY_COMMIT, .segment_messages = 1000000,
        .segment_bytes = 67108864, .dedupe_age_ms = 120000, .dedupe_keys = 100000,
    }));
}

static void check_refused(slice name, slice value, slice sentence)
{
    struct topic_settings s = settings_default;
    struct buf why = {0};
    CHECK_EQ(settings_set(&s, name, value, &why), -ERR_BAD_VALUE);
    CHECK_SLICE(buf_slice(&why), sentence);
    CHECK(settings_equal(&s, &settings_default));
    buf_fini(&why);
}

TEST(test_copies_beyond_one_need_live)
{
    struct topic_settings s = settings_default;
    struct buf why = {0};
    s.copies = 2;
    CHECK_EQ(settings_check(&s, &why), -ERR_BAD_VALUE);
    CHECK(slice_starts(buf_slice(&why), SLICE("copies: 2 needs replication \"live\"")));
    s.replication = REPLICATION_LIVE;
    CHECK_EQ(settings_check(&s, &why), 0);
    buf_fini(&why);
}

TEST(test_a_wrong_setting_is_refused_by_name)
{
    check_refused(SLICE("colour"), SLICE("red"), SLICE("there is no setting \"colour\""));
    check_refused(SLICE("replication"), SLICE("both"), SLICE("replication must be \"wal\" or \"live\""));
    check_refused(SLICE("copies"), SLICE("0"), SLICE("copies must be a whole number from 1 to 32"));
    check_refused(SLICE("copies"), SLICE("-1"), SLICE("copies must be a whole number from 1 to 32"));
    check_refused(SLICE("segment.bytes"), SLICE("1.5"),
                  SLICE("segment.bytes must be a whole number from 4096 to 1073741824"));
}
