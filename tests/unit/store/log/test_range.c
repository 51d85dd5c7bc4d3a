/* Ranges of a file, as they are sent to a client without being copied. */
#include "unit/journals.h"

/* Reads the range; a small one has its bytes with it. */
static void check_range_holds(struct file_range *range, const char *want)
{
    CHECK(range->fd < 0 ? buf_size(&range->bytes) == range->size : buf_size(&range->bytes) == 0);
    if (range->fd >= 0) {
        CHECK_EQ(pread(range->fd, buf_reserve(&range->bytes, range->size), range->size, (off_t)range->position),
                 range->size);
        close(range->fd);
    }
    CHECK(memcmp(range->bytes.data, want, range->size) == 0);
    buf_fini(&range->bytes);
}

TEST(test_a_range_holds_the_bytes_that_a_read_gives)
{
    struct store *s = open_store();
    struct journal *j = open_journal_with(s, "t", files_of(50));
    for (int i = 0; i < 60; i++)
        append_some(j, 2, 1000 + (size_t)i * 20);
    settle_store(s);
    for (uint64_t from = 0; from < j->marks.tail; from += 3)
        for (size_t max = 0; max < 70 * KIB; max += 3333) {
            struct buf out = {0};
            struct file_range range;
            uint64_t next;
            CHECK_EQ(journal_range(j, from, UINT64_MAX, max, &range), 0);
            CHECK_EQ(journal_read(j, from, range.next, max, &out, &next), 0);
            CHECK_EQ(buf_size(&out), range.size);
            CHECK_EQ(next, range.next);
            CHECK_EQ(range.epoch, 1);
            CHECK(range.first <= from);
            check_range_holds(&range, out.data);
            buf_fini(&out);
        }
    store_close(s);
}

/* The epoch that is stated with a range from `from` on, of at most `size` bytes. */
static uint64_t epoch_of_range(struct journal *j, uint64_t from, size_t size)
{
    struct file_range range;
    CHECK_EQ(journal_range(j, from, UINT64_MAX, size, &range), 0);
    if (range.fd >= 0)
        close(range.fd);
    buf_fini(&range.bytes);
    return range.epoch;
}

TEST(test_a_range_that_ends_at_an_index_entry_tells_its_epoch)
{
    struct store *s = open_store();
    struct journal *j = open_journal(s, "t");
    append_each(j, 20, INDEX_EVERY + 1000);
    settle_store(s);
    for (uint64_t from = 0; from < j->marks.tail; from++)
        for (size_t size = 0; size < 5 * INDEX_EVERY; size += 5000)
            CHECK_EQ(epoch_of_range(j, from, size), 1);
    store_close(s);
}

TEST(test_a_range_tells_an_epoch_only_where_it_is_the_files_last)
{
    struct store *s = open_store();
    struct journal *j = open_journal(s, "t");
    for (int i = 0; i < 8; i++) {
        j->marks.epoch = i < 4 ? 1 : 2;
        append_some(j, 1, 20000);
    }
    settle_store(s);
    for (uint64_t from = 0; from < 8; from++)
        CHECK_EQ(epoch_of_range(j, from, 1), from < 4 ? 0 : 2);
    CHECK_EQ(epoch_of_range(j, 0, 3 * 20200), 0);      /* copied */
    CHECK_EQ(epoch_of_range(j, 2, 3 * 20200), 2);
    CHECK_EQ(epoch_of_range(j, 0, 4 * 20200), 0);      /* by its file */
    CHECK_EQ(epoch_of_range(j, 1, 4 * 20200), 2);
    store_close(s);
}

TEST(test_damage_that_a_range_meets_is_known_from_then_on)
{
    struct store *s = open_store();
    struct journal *j = open_journal_with(s, "t", files_of(500));
    append_each(j, 600, 1000);
    settle_store(s);
    struct file_range range;
    CHECK_EQ(journal_range(j, 0, 1, 100, &range), 0);
    uint64_t second = range.position + range.size;       /* and where it begins is remembered */
    if (range.fd >= 0)
        close(range.fd);
    buf_fini(&range.bytes);
    change_file(LOG_0, second, SLICE("\xff\xfe\xfd"));
    CHECK_EQ(journal_range(j, 1, 500, 90 * KIB, &range), -ERR_DAMAGED);
    CHECK_EQ(j->damage.count, 1);
    store_close(s);
}
