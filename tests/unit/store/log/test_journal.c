/* Appending and reading, marks, sealing and deleting. */
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
        append_each(j, 10, 100);
        store_close(s);
    }
}

TEST(test_all_ranges_of_a_journal_of_many_files_are_read)
{
    struct store *s = open_store();
    struct journal *j = open_journal_with(s, "t", files_of(7));
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

TEST(test_a_file_is_sealed_by_messages_bytes_or_age)
{
    struct store *s = open_store();
    struct journal_options o = ten_each;
    struct journal *count = open_journal_with(s, "count", o);
    append_each(count, 25, 10);
    CHECK_EQ(count->parts.count, 3);
    CHECK_EQ(count->parts.at[1].first, 10);

    o = small_files;
    o.segment_bytes = 10 * KIB;
    struct journal *bytes = open_journal_with(s, "bytes", o);
    append_each(bytes, 25, KIB);
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
    struct journal_options o = ten_each;
    struct journal *j = open_journal_with(s, "t", o);
    append_each(j, 25, 10);
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
    append_each(j, 15, 10);
    settle_store(s);
    CHECK_EQ(j->marks.disk, 10);
    CHECK(exists(LOG_0));
    store_close(s);
    s = open_store();
    CHECK_EQ(open_journal_with(s, "t", o)->marks.disk, 15);
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

TEST(test_a_file_may_be_read_while_it_is_being_renamed)
{
    struct store *s = open_store();
    struct journal *j = open_journal_with(s, "t", ten_each);
    append_each(j, 15, 10);
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

TEST(test_a_deleted_topic_is_gone_and_its_name_free)
{
    struct store *s = open_store();
    struct journal *j = open_journal_with(s, "t", ten_each);
    append_each(j, 25, 10);
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
    struct journal_options o = files_of(4);
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

/* Journals with the same options share them; a change is that of one journal. */
TEST(test_options_are_shared_and_change_for_one_journal_only)
{
    struct store *s = open_store();
    struct journal *all[40];
    char name[16];
    for (unsigned i = 0; i < 40; i++) {
        struct journal_options o = files_of(1 + i % 20);
        o.id.offset = 100 + i;
        snprintf(name, sizeof name, "t%u", i);
        CHECK_EQ(journal_open(s, slice_from(name), &o, &all[i]), 0);
    }
    struct journal_options o = files_of(7);
    o.id.offset = 139;
    CHECK(all[39]->options != all[38]->options);
    journal_set_options(all[39], &o);
    for (unsigned i = 0; i < 40; i++) {
        CHECK_EQ(all[i]->options->segment_messages, i == 39 ? 7 : 1 + i % 20);
        CHECK_EQ(all[i]->parts.dir.id.offset, 100 + i);
    }
    struct journal *again;
    o.id.offset = 200;
    CHECK_EQ(journal_open(s, SLICE("again"), &o, &again), 0);
    CHECK(again->options == all[39]->options);
    store_close(s);
}
