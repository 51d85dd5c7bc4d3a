/* What retention removes, and reads of what it has removed. */
#include "unit/journals.h"

TEST(test_an_offset_below_the_first_is_gone_and_one_above_is_nothing)
{
    struct store *s = open_store();
    struct journal_options o = ten_each;
    struct journal *j = open_journal_with(s, "t", o);
    append_each(j, 35, 10);
    settle_store(s);
    struct retain keep = {.messages = 12};
    CHECK_EQ(journal_apply_retention(j, &keep, 0, 9), 0);      /* no reader has seen offset 9 */
    CHECK_EQ(journal_apply_retention(j, &keep, 0, 10), 1);
    CHECK_EQ(journal_apply_retention(j, &keep, 0, UINT64_MAX), 1);
    CHECK_EQ(read_all_of(j, 19, 35), -ERR_GONE);
    CHECK_EQ(read_all_of(j, 20, 35), 35);
    CHECK_EQ(read_all_of(j, 99, 200), 99);
    store_close(s);
    CHECK(!exists(LOG_0));
    CHECK(!exists("data/topics/t/00000000000000000000.index"));
    s = open_store();
    j = open_journal_with(s, "t", o);
    CHECK_EQ(journal_first(j), 20);
    store_close(s);
}

TEST(test_retention_keeps_at_least_what_was_asked_for)
{
    struct store *s = open_store();
    struct journal *j = open_journal_with(s, "t", ten_each);
    for (int i = 0; i < 50; i++)
        CHECK_EQ(try_append(j, 1, 1000, 1000 + i), 0);
    settle_store(s);
    struct journal_info info;
    journal_info(j, &info);
    uint64_t part = j->parts.at[0].size;
    struct retain by_bytes = {.bytes = info.bytes - part - 1}, by_age = {.age_ms = 100}, none = {0};
    CHECK_EQ(journal_apply_retention(j, &none, INT64_MAX, UINT64_MAX), 0);
    CHECK_EQ(journal_apply_retention(j, &by_bytes, 0, UINT64_MAX), 1);
    journal_info(j, &info);
    CHECK(info.bytes >= by_bytes.bytes);
    CHECK_EQ(info.first, 10);
    CHECK_EQ(journal_apply_retention(j, &by_age, 1019 + 100, UINT64_MAX), 0);   /* its last message is young enough */
    CHECK_EQ(journal_apply_retention(j, &by_age, 1019 + 101, UINT64_MAX), 1);
    CHECK_EQ(journal_apply_retention(j, &by_age, 1000 * 1000, UINT64_MAX), 2);     /* never the active one */
    CHECK_EQ(journal_first(j), 40);
    store_close(s);
}
