/* An index that is wrong or lost is built again, and few indexes are kept in memory. */
#include "unit/journals.h"

static void save_wrong_index(void)
{
    struct index ix;
    index_init(&ix);
    for (int i = 1; i < 10; i++)
        index_put(&ix, (struct index_entry){(uint64_t)i * 40, (uint64_t)i * 30000, 1000 + i * 40});
    CHECK_EQ(index_save(&ix, "data/topics/t/00000000000000000000.index"), 0);
    index_fini(&ix);
}

TEST(test_a_wrong_index_is_noticed_and_made_again)
{
    struct store *s = open_store();
    struct journal_options o = files_of(500);
    struct journal *j = open_journal_with(s, "t", o);
    append_each(j, 600, 1000);
    store_close(s);
    save_wrong_index();
    s = open_store();
    j = open_journal_with(s, "t", o);
    for (uint64_t from = 0; from < 600; from += 7)
        CHECK_EQ(read_all_of(j, from, from + 1), from + 1);
    CHECK_EQ(j->damage.count, 0);
    store_close(s);
}

static struct journal *open_with_wrong_index(struct store **s)
{
    struct journal_options o = files_of(500);
    CHECK_EQ(run("rm -rf data"), 0);
    *s = open_store();
    struct journal *j = open_journal_with(*s, "t", o);
    for (int i = 0; i < 600; i++)
        CHECK_EQ(try_append(j, 1, 1000, 1000 + i), 0);
    store_close(*s);
    save_wrong_index();
    *s = open_store();
    return open_journal_with(*s, "t", o);
}

TEST(test_a_wrong_index_misleads_neither_ranges_nor_times)
{
    for (int i = 0; i < 500; i += 45) {
        struct store *s;
        struct file_range range;
        uint64_t offset = 0;
        struct journal *j = open_with_wrong_index(&s);
        CHECK_EQ(journal_at_time(j, 1000 + i, &offset), 0);
        CHECK_EQ(offset, i);
        store_close(s);
        j = open_with_wrong_index(&s);
        CHECK_EQ(read_all_of(j, 0, 1), 1);               /* leaves a hint, so that the begin is known */
        CHECK_EQ(journal_range(j, i > 100, 500, 90 * KIB + (size_t)i * 500, &range), 0);
        CHECK(range.next > 80);
        close(range.fd);
        CHECK_EQ(j->damage.count, 0);
        store_close(s);
    }
}

static size_t indexes_in_memory(const struct journal *j)
{
    size_t bytes = 0;
    for (uint32_t i = 0; i < j->parts.count; i++)
        if (j->parts.at[i].segment && j->parts.at[i].segment->ended)
            bytes += j->parts.at[i].segment->cached.index.cap * sizeof(struct index_entry);
    return bytes;
}

TEST(test_what_is_stored_or_read_does_not_stay_in_memory)
{
    struct store *s = open_store();
    struct journal *j = open_journal_with(s, "t", files_of(100));
    append_each(j, 2000, 1000);
    settle_store(s);
    CHECK_EQ(indexes_in_memory(j), 0);
    s->indexes.bytes_max = 5 * 3 * sizeof(struct index_entry);    /* room for those of five files */
    for (uint64_t from = 0; from < 2000; from += 7) {
        struct file_range range;
        CHECK_EQ(journal_range(j, from, 2000, 70 * KIB, &range), 0);    /* too large to be copied: by the index */
        CHECK_EQ(range.first, from);
        if (range.fd >= 0)
            close(range.fd);
        buf_fini(&range.bytes);
        CHECK(indexes_in_memory(j) > 0);
        CHECK(indexes_in_memory(j) <= s->indexes.bytes_max);
        CHECK_EQ(indexes_in_memory(j), s->indexes.bytes);
    }
    uint64_t messages;
    CHECK_EQ(truncate_now(j, 1850, &messages), 0);           /* a file that is written again is none of them */
    CHECK_EQ(messages, 150);
    CHECK_EQ(indexes_in_memory(j), s->indexes.bytes);
    store_close(s);
}

TEST(test_an_index_that_is_lost_is_made_again)
{
    struct store *s = open_store();
    struct journal *j = open_journal_with(s, "t", files_of(100));
    append_each(j, 250, 1000);
    settle_store(s);
    CHECK_EQ(unlink("data/topics/t/00000000000000000000.index"), 0);
    CHECK_EQ(read_all_of(j, 70, 71), 71);
    CHECK(exists("data/topics/t/00000000000000000000.index"));
    store_close(s);
}
