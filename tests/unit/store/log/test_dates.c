/* Dates of messages where a leader's clock was wrong; searches and retention that use them. */
#include "unit/journals.h"

#include "base/clock.h"
#include "command/verify.h"

#define DAY INT64_C(86400000)
#define NOW INT64_C(1800000000000)

static void append_at(struct journal *j, int64_t time_ms, int count)
{
    for (int i = 0; i < count; i++)
        CHECK_EQ(try_append(j, 1, 10, time_ms), 0);
}

static int64_t date_at(struct journal *j, uint64_t offset)
{
    struct batch_head head;
    CHECK_EQ(journal_batch_of(j, offset, &head), 0);
    return head.time_ms;
}

static uint64_t at_time(struct journal *j, int64_t time_ms)
{
    uint64_t offset = UINT64_MAX;
    CHECK_EQ(journal_at_time(j, time_ms, &offset), 0);
    return offset;
}

/* Offsets 0 to 34 are dated one a day, 35 ten years ahead, and 36 to 69 one a day again. */
static struct journal *with_a_wrong_date(struct store *s)
{
    struct journal *j = open_journal_with(s, "t", ten_each);
    for (int i = 0; i < 70; i++)
        append_at(j, NOW + i * DAY + (i == 35 ? 3650 * DAY : 0), 1);
    settle_store(s);
    return j;
}

TEST(test_a_small_step_back_raises_the_date_and_a_large_one_is_a_date_of_its_own)
{
    struct store *s = open_store();
    struct journal *j = open_journal_with(s, "t", ten_each);
    append_at(j, NOW, 1);
    append_at(j, NOW - DATES_FALL_MS, 1);
    CHECK_EQ(j->parts.count, 1);
    append_at(j, NOW - DATES_FALL_MS - 1, 1);
    CHECK_EQ(j->parts.count, 2);           /* within a file dates never fall */
    settle_store(s);
    CHECK_EQ(date_at(j, 1), NOW);
    CHECK_EQ(date_at(j, 2), NOW - DATES_FALL_MS - 1);
    store_close(s);
    CHECK_EQ(data_verify("data"), 0);
}

TEST(test_one_message_of_a_wrong_date_dates_no_other)
{
    struct store *s = open_store();
    struct journal *j = with_a_wrong_date(s);
    for (uint64_t i = 0; i < 70; i++)
        CHECK_EQ(date_at(j, i), NOW + (int64_t)i * DAY + (i == 35 ? 3650 * DAY : 0));
    abandon_store(s);
    s = open_store();
    j = open_journal_with(s, "t", ten_each);
    CHECK_EQ(j->marks.time_ms, NOW + 69 * DAY);
    CHECK_EQ(j->damage.count, 0);
    check_reads_all(j);
    store_close(s);
}

TEST(test_times_after_and_before_a_wrong_date_are_found)
{
    struct store *s = open_store();
    struct journal *j = with_a_wrong_date(s);
    for (uint64_t i = 0; i < 70; i++)
        if (i != 35) {
            uint64_t first = i == 36 ? 35 : i;     /* the one of the wrong date is no older either */
            CHECK_EQ(at_time(j, NOW + (int64_t)i * DAY), first);
            CHECK_EQ(at_time(j, NOW + (int64_t)i * DAY - DAY / 2), first);
        }
    CHECK_EQ(at_time(j, NOW + 70 * DAY), 70);
    CHECK_EQ(at_time(j, 0), 0);
    store_close(s);
}

TEST(test_retention_by_age_goes_on_past_a_wrong_date)
{
    struct store *s = open_store();
    struct journal *j = with_a_wrong_date(s);
    struct retain keep = {.age_ms = 10 * DAY};
    int64_t now = NOW + 69 * DAY;
    CHECK(journal_apply_retention(j, &keep, now, UINT64_MAX) > 0);
    CHECK(journal_first(j) > 40);          /* those of the first wrong date have gone, */
    CHECK(journal_first(j) <= 60);         /* and no young ones */
    store_close(s);
}

/* All files that retention may look at are dated ahead: their age is not known. */
TEST(test_retention_by_age_keeps_what_is_dated_in_the_future)
{
    struct store *s = open_store();
    struct journal *j = open_journal_with(s, "t", ten_each);
    append_at(j, NOW + 3650 * DAY, 45);
    settle_store(s);
    struct retain keep = {.age_ms = 1};
    CHECK_EQ(journal_apply_retention(j, &keep, NOW, UINT64_MAX), 0);
    append_at(j, NOW, 1);
    settle_store(s);
    CHECK_EQ(journal_apply_retention(j, &keep, NOW + 1, UINT64_MAX), 0);
    CHECK_EQ(journal_apply_retention(j, &keep, NOW + 2, UINT64_MAX), 5);   /* they are older than the last one */
    store_close(s);
}

TEST(test_the_date_of_a_journal_goes_on_from_its_last_message)
{
    struct store *s = open_store();
    struct journal *j = open_journal_with(s, "t", ten_each);
    append_at(j, NOW, 1);
    CHECK(journal_date(j) >= NOW);
    CHECK(journal_date(j) < NOW + 60 * MS_PER_S);
    usleep(20 * 1000);
    CHECK(journal_date(j) >= NOW + 20);
    settle_store(s);
    store_close(s);
    s = open_store();
    j = open_journal_with(s, "t", ten_each);
    CHECK(journal_date(j) >= NOW);
    CHECK(journal_date(j) < NOW + 60 * MS_PER_S);
    store_close(s);
}

TEST(test_a_time_finds_the_first_batch_not_older)
{
    struct store *s = open_store();
    struct journal *j = open_journal_with(s, "t", files_of(100));
    for (int i = 0; i < 450; i++)
        CHECK_EQ(try_append(j, 1, 1000, 1000 + i / 3 * 10), 0);    /* three of each time; many index entries */
    settle_store(s);
    uint64_t offset;
    for (int i = 0; i < 450; i++) {
        CHECK_EQ(journal_at_time(j, 1000 + i / 3 * 10, &offset), 0);
        CHECK_EQ(offset, i / 3 * 3);
        CHECK_EQ(journal_at_time(j, 1000 + i / 3 * 10 - 9, &offset), 0);
        CHECK_EQ(offset, i / 3 * 3);
    }
    CHECK_EQ(journal_at_time(j, INT64_MAX, &offset), 0);
    CHECK_EQ(offset, 450);
    CHECK_EQ(journal_at_time(j, 0, &offset), 0);
    CHECK_EQ(offset, 0);
    store_close(s);
}

TEST(test_a_date_that_is_a_little_lower_is_raised)
{
    struct store *s = open_store();
    struct journal *j = open_journal(s, "t");
    CHECK_EQ(try_append(j, 1, 10, 5000), 0);
    CHECK_EQ(try_append(j, 1, 10, 4000), 0);
    CHECK_EQ(j->marks.time_ms, 5000);
    store_close(s);
    s = open_store();
    j = open_journal(s, "t");
    CHECK_EQ(try_append(j, 1, 10, 3000), 0);
    CHECK_EQ(j->marks.time_ms, 5000);
    store_close(s);
}
