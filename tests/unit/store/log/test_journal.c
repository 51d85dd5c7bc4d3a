#include "unit/journals.h"

TEST(test_what_is_appended_is_read_back)
{
    struct store *s = open_store();
    struct journal *j = open_journal(s, "t");
    for (int i = 0; i < 100; i++)
        append_some(j, 1 + (uint32_t)i % 3, 10 + (size_t)i);
    CHECK_EQ(j->marks.written, 0);
    settle_store(s);
    CHECK_EQ(j->marks.disk, j->marks.tail);
    check_reads_all(j);
    store_close(s);
}

TEST(test_a_restart_continues_where_it_ended)
{
    for (int round = 0; round < 5; round++) {
        struct store *s = open_store();
        struct journal *j = open_journal(s, "t");
        CHECK_EQ(j->marks.tail, round * 10);
        CHECK_EQ(j->marks.disk, round * 10);
        for (int i = 0; i < 10; i++)
            append_some(j, 1, 100);
        store_close(s);
    }
}

TEST(test_all_ranges_of_a_journal_of_many_files_are_read)
{
    struct store *s = open_store();
    struct journal_options o = small_files;
    o.segment_messages = 7;
    struct journal *j = open_journal_with(s, "t", o);
    for (int i = 0; i < 30; i++) {
        append_some(j, 1 + (uint32_t)i % 4, 30);
        if (i % 5 == 0)
            settle_store(s);
    }
    settle_store(s);
    CHECK(j->parts.count > 5);
    for (uint64_t from = 0; from <= j->marks.tail; from++)
        for (uint64_t to = from; to <= j->marks.tail + 1; to++) {
            struct buf out = {0};
            uint64_t next = 0, first = 0;
            CHECK_EQ(journal_read(j, from, to, MIB, &out, &next), 0);
            uint64_t least = to < j->marks.tail ? to : j->marks.tail;
            if (least <= from)
                CHECK_EQ(next, from);
            else {
                CHECK_EQ(check_batches(buf_slice(&out), &first), next);
                CHECK(first <= from);
                CHECK(next >= least);
            }
            buf_fini(&out);
        }
    store_close(s);
}

TEST(test_a_read_takes_at_least_one_batch_and_no_more_bytes_than_allowed_after_it)
{
    struct store *s = open_store();
    struct journal *j = open_journal(s, "t");
    for (int i = 0; i < 20; i++)
        append_some(j, 5, 200);
    settle_store(s);
    size_t one = (j->parts.active->size - FILE_HEAD_SIZE) / 20;
    for (size_t max = 0; max < 8 * one; max += 97) {
        struct buf out = {0};
        uint64_t next;
        CHECK_EQ(journal_read(j, 7, UINT64_MAX, max, &out, &next), 0);
        size_t batches = max / one ? max / one : 1;
        CHECK_EQ(buf_size(&out), batches * one);
        CHECK_EQ(next, 5 + batches * 5);
        buf_fini(&out);
    }
    store_close(s);
}

TEST(test_nothing_is_read_past_what_was_written)
{
    struct store *s = open_store();
    struct journal *j = open_journal(s, "t");
    append_some(j, 1, 100);
    settle_store(s);
    append_some(j, 1, 100);
    CHECK_EQ(read_all_of(j, 0, UINT64_MAX), 1);
    store_flush(s);
    CHECK_EQ(read_all_of(j, 0, UINT64_MAX), 2);
    store_close(s);
}

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
    struct journal_options o = small_files;
    o.segment_messages = 50;
    struct journal *j = open_journal_with(s, "t", o);
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

/* The epoch that a range states which holds the batch at `from`, or more. */
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
    for (int i = 0; i < 20; i++)
        append_some(j, 1, INDEX_EVERY + 1000);
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

TEST(test_a_file_is_sealed_by_messages_bytes_or_age)
{
    struct store *s = open_store();
    struct journal_options o = small_files;
    o.segment_messages = 10;
    struct journal *count = open_journal_with(s, "count", o);
    for (int i = 0; i < 25; i++)
        append_some(count, 1, 10);
    CHECK_EQ(count->parts.count, 3);
    CHECK_EQ(count->parts.at[1].first, 10);

    o = small_files;
    o.segment_bytes = 10 * KIB;
    struct journal *bytes = open_journal_with(s, "bytes", o);
    for (int i = 0; i < 25; i++)
        append_some(bytes, 1, KIB);
    CHECK_EQ(bytes->parts.count, 3);
    settle_store(s);
    CHECK(file_size("data/topics/bytes/00000000000000000000.log") <= 10 * KIB);
    append_some(bytes, 1, 50 * KIB);       /* larger than a whole file: it gets one of its own */
    CHECK_EQ(bytes->parts.active->first, 25);
    append_some(bytes, 1, 10);
    CHECK_EQ(bytes->parts.active->first, 26);

    o = small_files;
    o.segment_age_ms = 1000;
    struct journal *age = open_journal_with(s, "age", o);
    CHECK_EQ(try_append(age, 1, 10, 5000), 0);
    CHECK_EQ(try_append(age, 1, 10, 5999), 0);
    CHECK_EQ(age->parts.count, 1);
    CHECK_EQ(try_append(age, 1, 10, 6000), 0);
    CHECK_EQ(age->parts.count, 2);
    settle_store(s);
    check_reads_all(count);
    check_reads_all(bytes);
    check_reads_all(age);
    store_close(s);
}

TEST(test_sealed_files_end_exactly_and_are_called_log)
{
    struct store *s = open_store();
    struct journal_options o = small_files;
    o.segment_messages = 10;
    struct journal *j = open_journal_with(s, "t", o);
    for (int i = 0; i < 25; i++)
        append_some(j, 1, 10);
    settle_store(s);
    CHECK(exists(LOG_0));
    CHECK(!exists(FILE_0));
    CHECK_EQ(file_size(LOG_0), j->parts.at[0].size);
    CHECK(exists("data/topics/t/00000000000000000020.qwal"));
    store_close(s);
    s = open_store();
    j = open_journal_with(s, "t", o);
    CHECK_EQ(j->marks.tail, 25);
    check_reads_all(j);
    store_close(s);
}

static uint64_t spoken_written, spoken_disk;

static void on_moved(void *owner, uint64_t written, uint64_t disk)
{
    CHECK(owner == &spoken_disk);
    CHECK(disk <= written);
    spoken_written = written;
    spoken_disk = disk;
}

TEST(test_marks_rise_in_their_order_and_the_owner_is_told)
{
    struct store *s = open_store_with((struct store_options){.files_max = 8, .moved = on_moved});
    struct journal *j = open_journal(s, "t");
    journal_set_owner(j, &spoken_disk);
    append_some(j, 3, 10);
    CHECK_EQ(spoken_written, 0);
    worker_wait(s->disk.worker);                    /* what the opening had begun */
    store_flush(s);
    CHECK_EQ(spoken_written, 3);
    CHECK_EQ(spoken_disk, 0);
    store_sync(s);
    append_some(j, 2, 10);                 /* not covered by the sync under way */
    store_flush(s);
    struct pollfd p = {.fd = store_event_fd(s), .events = POLLIN};
    CHECK_EQ(poll(&p, 1, 5000), 1);
    store_collect(s);
    CHECK_EQ(spoken_written, 5);
    CHECK_EQ(spoken_disk, 3);
    store_sync(s);
    worker_wait(s->disk.worker);
    CHECK_EQ(spoken_disk, 5);
    store_close(s);
}

TEST(test_durability_decides_when_the_disk_mark_rises)
{
    struct store *s = open_store();
    struct journal_options o = small_files;
    o.durability = DURABILITY_OS;
    struct journal *os = open_journal_with(s, "os", o);
    o.durability = DURABILITY_INTERVAL;
    struct journal *interval = open_journal_with(s, "interval", o);
    append_some(os, 1, 10);
    append_some(interval, 1, 10);
    CHECK_EQ(store_deadline_ns(s), 0);
    store_flush(s);
    store_sync(s);
    CHECK(store_deadline_ns(s) > 0);
    CHECK_EQ(interval->marks.disk, 0);
    while (interval->marks.disk == 0) {
        store_sync(s);
        worker_wait(s->disk.worker);
    }
    CHECK_EQ(store_deadline_ns(s), 0);
    CHECK_EQ(os->marks.disk, 0);
    o = small_files;
    journal_set_options(os, &o);           /* from now on it is committed */
    append_some(os, 1, 10);
    settle_store(s);
    CHECK_EQ(os->marks.disk, 2);
    store_close(s);
}

TEST(test_an_os_topic_is_synced_when_a_file_is_sealed_and_at_close)
{
    struct store *s = open_store();
    struct journal_options o = small_files;
    o.durability = DURABILITY_OS;
    o.segment_messages = 10;
    struct journal *j = open_journal_with(s, "t", o);
    for (int i = 0; i < 15; i++)
        append_some(j, 1, 10);
    settle_store(s);
    CHECK_EQ(j->marks.disk, 10);
    CHECK(exists(LOG_0));
    store_close(s);
    s = open_store();
    CHECK_EQ(open_journal_with(s, "t", o)->marks.disk, 15);
    store_close(s);
}

static int allocate_full(int fd, off_t from, off_t n)
{
    (void)fd, (void)from, (void)n;
    return ENOSPC;
}

TEST(test_a_full_disk_refuses_before_the_tail_moves_and_heals_by_itself)
{
    struct store *s = open_store();
    struct journal_options o = small_files;
    o.segment_messages = 20;
    struct journal *j = open_journal_with(s, "t", o);
    append_some(j, 1, 10);
    settle_store(s);
    struct io real = io;
    io.allocate = allocate_full;
    int taken = 0, rc;
    while ((rc = try_append(j, 1, 10 * KIB, 1000)) == 0)
        taken++;
    CHECK_EQ(rc, -ENOSPC);
    CHECK_EQ(taken, 6);                    /* what was taken in advance is still there to be used */
    CHECK_EQ(j->marks.tail, 7);
    settle_store(s);
    CHECK_EQ(j->marks.disk, 7);
    check_reads_all(j);
    while (j->marks.tail < 20)
        append_some(j, 1, 1);
    CHECK_EQ(try_append(j, 1, 1, 1000), -ENOSPC);   /* the next file cannot be made */
    CHECK_EQ(j->marks.tail, 20);
    CHECK(!exists("data/topics/t/00000000000000000020.qwal"));
    io = real;
    append_some(j, 1, 10 * KIB);
    settle_store(s);
    CHECK_EQ(j->marks.tail, 21);
    check_reads_all(j);
    store_close(s);
}

TEST(test_a_nearly_full_disk_gives_small_steps)
{
    struct store *s = open_store();
    struct journal *j = open_journal(s, "t");
    for (int i = 0; i < 100; i++)
        append_some(j, 1, 10 * KIB);       /* grows by doubling, up to what one file may hold */
    CHECK(j->parts.active->space <= 1 * MIB + 64 * KIB);
    settle_store(s);
    CHECK_EQ(file_size(j->parts.active->renamed ? LOG_0 : FILE_0) % 4096, 0);
    store_close(s);
}

TEST(test_an_append_past_a_limit_changes_nothing)
{
    struct store *s = open_store();
    struct journal *j = open_journal(s, "t");
    char *big = mem_new(BATCH_SIZE_MAX + 1);
    struct append a = {.messages = slice_of(big, BATCH_SIZE_MAX + 1), .count = 1, .epoch = 1};
    uint64_t first;
    CHECK_EQ(journal_append(j, &a, &first), -ERR_TOO_LARGE);
    a.messages.n = 8 * (BATCH_COUNT_MAX + 1);
    a.count = BATCH_COUNT_MAX + 1;
    CHECK_EQ(journal_append(j, &a, &first), -ERR_TOO_LARGE);
    CHECK_EQ(j->marks.tail, 0);
    CHECK_EQ(j->parts.count, 0);
    mem_free(big);
    store_close(s);
}

TEST(test_an_offset_below_the_first_is_gone_and_one_above_is_nothing)
{
    struct store *s = open_store();
    struct journal_options o = small_files;
    o.segment_messages = 10;
    struct journal *j = open_journal_with(s, "t", o);
    for (int i = 0; i < 35; i++)
        append_some(j, 1, 10);
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
    struct journal_options o = small_files;
    o.segment_messages = 10;
    struct journal *j = open_journal_with(s, "t", o);
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

TEST(test_a_time_finds_the_first_batch_not_older)
{
    struct store *s = open_store();
    struct journal_options o = small_files;
    o.segment_messages = 100;
    struct journal *j = open_journal_with(s, "t", o);
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

TEST(test_time_never_falls_within_a_topic)
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

TEST(test_a_lower_epoch_is_not_appended)
{
    struct store *s = open_store();
    struct journal *j = open_journal(s, "t");
    j->marks.epoch = 5;
    append_some(j, 1, 10);
    j->marks.epoch = 5;
    struct append a = {.messages = SLICE("12345678"), .count = 1, .epoch = 4};
    uint64_t first;
    CHECK(journal_append(j, &a, &first) < 0);
    CHECK_EQ(j->marks.tail, 1);
    store_close(s);
}

TEST(test_a_wrong_index_is_noticed_and_made_again)
{
    struct store *s = open_store();
    struct journal_options o = small_files;
    o.segment_messages = 500;
    struct journal *j = open_journal_with(s, "t", o);
    for (int i = 0; i < 600; i++)
        append_some(j, 1, 1000);
    store_close(s);
    struct index ix;
    index_init(&ix);
    for (uint64_t i = 1; i < 10; i++)
        index_put(&ix, (struct index_entry){i * 40, i * 30000, 0});
    CHECK_EQ(index_save(&ix, "data/topics/t/00000000000000000000.index"), 0);
    index_fini(&ix);
    s = open_store();
    j = open_journal_with(s, "t", o);
    for (uint64_t from = 0; from < 600; from += 7)
        CHECK_EQ(read_all_of(j, from, from + 1), from + 1);
    CHECK_EQ(j->damage.count, 0);
    store_close(s);
}

static struct journal *open_with_a_lying_index(struct store **s)
{
    struct index ix;
    struct journal_options o = small_files;
    o.segment_messages = 500;
    CHECK_EQ(run("rm -rf data"), 0);
    *s = open_store();
    struct journal *j = open_journal_with(*s, "t", o);
    for (int i = 0; i < 600; i++)
        CHECK_EQ(try_append(j, 1, 1000, 1000 + i), 0);
    store_close(*s);
    index_init(&ix);
    for (int i = 1; i < 10; i++)
        index_put(&ix, (struct index_entry){(uint64_t)i * 40, (uint64_t)i * 30000, 1000 + i * 40});
    CHECK_EQ(index_save(&ix, "data/topics/t/00000000000000000000.index"), 0);
    index_fini(&ix);
    *s = open_store();
    return open_journal_with(*s, "t", o);
}

TEST(test_a_wrong_index_misleads_neither_ranges_nor_times)
{
    for (int i = 0; i < 500; i += 45) {
        struct store *s;
        struct file_range range;
        uint64_t offset = 0;
        struct journal *j = open_with_a_lying_index(&s);
        CHECK_EQ(journal_at_time(j, 1000 + i, &offset), 0);
        CHECK_EQ(offset, i);
        store_close(s);
        j = open_with_a_lying_index(&s);
        CHECK_EQ(read_all_of(j, 0, 1), 1);               /* leaves a hint, so that the begin is known */
        CHECK_EQ(journal_range(j, i > 100, 500, 90 * KIB + (size_t)i * 500, &range), 0);
        CHECK(range.next > 80);
        close(range.fd);
        CHECK_EQ(j->damage.count, 0);
        store_close(s);
    }
}

TEST(test_damage_that_a_range_meets_is_known_from_then_on)
{
    struct store *s = open_store();
    struct journal_options o = small_files;
    o.segment_messages = 500;
    struct journal *j = open_journal_with(s, "t", o);
    for (int i = 0; i < 600; i++)
        append_some(j, 1, 1000);
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
    struct journal_options o = small_files;
    o.segment_messages = 100;
    struct journal *j = open_journal_with(s, "t", o);
    for (int i = 0; i < 2000; i++)
        append_some(j, 1, 1000);
    settle_store(s);
    CHECK_EQ(indexes_in_memory(j), 0);
    s->indexes.bytes_max = 5 * 3 * sizeof(struct index_entry);    /* five files' */
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
    struct journal_options o = small_files;
    o.segment_messages = 100;
    struct journal *j = open_journal_with(s, "t", o);
    for (int i = 0; i < 250; i++)
        append_some(j, 1, 1000);
    settle_store(s);
    CHECK_EQ(unlink("data/topics/t/00000000000000000000.index"), 0);
    CHECK_EQ(read_all_of(j, 70, 71), 71);
    CHECK(exists("data/topics/t/00000000000000000000.index"));
    store_close(s);
}

TEST(test_a_file_may_be_read_while_it_is_being_renamed)
{
    struct store *s = open_store();
    struct journal_options o = small_files;
    o.segment_messages = 10;
    struct journal *j = open_journal_with(s, "t", o);
    for (int i = 0; i < 15; i++)
        append_some(j, 1, 10);
    store_flush(s);
    struct segment *old = j->parts.at[0].segment;
    files_close(&s->disk.files, &old->file);
    CHECK_EQ(rename(FILE_0, LOG_0), 0);    /* the thread was quicker than its completion */
    check_reads_all(j);
    CHECK_EQ(rename(LOG_0, FILE_0), 0);
    files_close(&s->disk.files, &old->file);
    check_reads_all(j);
    settle_store(s);
    check_reads_all(j);
    store_close(s);
}

TEST(test_the_next_file_is_preallocated_and_used)
{
    struct store *s = open_store();
    struct journal_options o = small_files;
    o.segment_bytes = 256 * KIB;
    struct journal *j = open_journal_with(s, "t", o);
    while (j->parts.active == NULL || j->parts.active->size < 150 * KIB)
        append_some(j, 1, 10 * KIB);
    settle_store(s);
    CHECK(exists("data/topics/t/spare"));
    struct io real = io;
    io.allocate = allocate_full;           /* a roll needs no new space now */
    while (j->parts.count == 1)
        append_some(j, 1, 10 * KIB);
    CHECK(!exists("data/topics/t/spare"));
    io = real;
    settle_store(s);
    check_reads_all(j);
    store_close(s);
    put_file("data/topics/t/spare", SLICE("left over by a crash"));
    s = open_store();
    j = open_journal_with(s, "t", o);
    CHECK(!exists("data/topics/t/spare"));
    check_reads_all(j);
    store_close(s);
}

TEST(test_a_deleted_topic_is_gone_and_its_name_free)
{
    struct store *s = open_store();
    struct journal_options o = small_files;
    o.segment_messages = 10;
    struct journal *j = open_journal_with(s, "t", o);
    for (int i = 0; i < 25; i++)
        append_some(j, 1, 10);
    store_flush(s);
    store_sync(s);                         /* a group commit runs */
    journal_delete(j);
    j = open_journal(s, "t");
    CHECK_EQ(j->marks.tail, 0);
    append_some(j, 1, 10);
    store_close(s);
    CHECK_EQ(run("test -z \"$(ls data/trash)\""), 0);
}

TEST(test_thousands_of_topics_need_few_descriptors)
{
    struct store *s = open_store_with((struct store_options){.files_max = 8});
    enum { MANY = 2000 };
    static struct journal *js[MANY];
    struct journal_options o = small_files;
    o.segment_messages = 4;
    for (int i = 0; i < MANY; i++) {
        char name[16];
        snprintf(name, sizeof name, "t%d", i);
        js[i] = open_journal_with(s, name, o);
    }
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < MANY; i++)
            append_some(js[i], 2, 20);
        settle_store(s);
        CHECK(s->disk.files.open <= 8);
        for (int i = 0; i < MANY; i++)
            CHECK_EQ(js[i]->marks.disk, 2 * (round + 1));
    }
    for (int i = 0; i < MANY; i += 17)
        check_reads_all(js[i]);
    CHECK(s->disk.files.open <= 8);
    store_close(s);
}

static ssize_t pwrite_fails(int fd, const void *p, size_t n, off_t at)
{
    (void)fd, (void)p, (void)n, (void)at;
    return errno = EIO, -1;
}

static ssize_t pwrite_short(int fd, const void *p, size_t n, off_t at)
{
    return pwrite(fd, p, n - 1, at);
}

static int sync_fails(int fd)
{
    (void)fd;
    return errno = EIO, -1;
}

static struct store *store_with_pending(void)
{
    struct store *s = open_store();
    append_some(open_journal(s, "t"), 1, 100);
    return s;
}

TEST(test_a_failed_write_ends_the_process)
{
    CHECK_DIES({
        struct store *s = store_with_pending();
        io.pwrite = pwrite_fails;
        store_flush(s);
    }, EXIT_IO);
    CHECK(exists("data/io-failed"));
}

TEST(test_a_short_write_ends_the_process)
{
    CHECK_DIES({
        struct store *s = store_with_pending();
        io.pwrite = pwrite_short;
        store_flush(s);
    }, EXIT_IO);
}

TEST(test_a_failed_sync_ends_the_process_and_the_next_start_reads_the_disk)
{
    CHECK_DIES({
        struct store *s = store_with_pending();
        store_flush(s);
        io.sync_data = sync_fails;
        store_sync(s);
        worker_wait(s->disk.worker);
    }, EXIT_IO);
    CHECK(exists("data/io-failed"));
    struct store *s = open_store();
    CHECK(s->last_run.io_failed);
    struct journal *j = open_journal(s, "t");
    check_reads_all(j);
    store_close(s);
    CHECK(!exists("data/io-failed"));
}
