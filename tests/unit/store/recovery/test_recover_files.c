/* Recovery of a topic of several files. */
#include "unit/journals.h"
#include "command/verify.h"

#define FILE_10 "data/topics/t/00000000000000000010.qwal"
#define LOG_10 "data/topics/t/00000000000000000010.log"
#define FILE_20 "data/topics/t/00000000000000000020.qwal"

/* Three files: two that were sealed, [0,10) and [10,20), and the active one with five messages. */
static void three_files(bool synced)
{
    struct store *s = open_store();
    struct journal *j = open_journal_with(s, "t", ten_each);
    for (int i = 0; i < 25; i++) {
        append_some(j, 1, 30);
        if (synced)
            settle_store(s);
    }
    settle_store(s);
    abandon_store(s);
}

static void check_recovers_to(uint64_t tail)
{
    for (int again = 0; again < 2; again++) {
        struct store *s = open_store();
        struct journal *j = open_journal_with(s, "t", ten_each);
        CHECK_EQ(j->marks.tail, tail);
        CHECK_EQ(j->damage.count, 0);
        check_reads_all(j);
        settle_store(s);
        abandon_store(s);
    }
}

TEST(test_a_sealed_file_whose_rename_was_lost_is_renamed)
{
    three_files(true);
    CHECK_EQ(rename(LOG_10, FILE_10), 0);
    CHECK_EQ(rename(LOG_0, FILE_0), 0);
    CHECK_EQ(truncate(FILE_0, 65536), 0);  /* and so was its truncation */
    check_recovers_to(25);
    CHECK(exists(LOG_0));
    CHECK(exists(LOG_10));
    CHECK(file_size(LOG_0) < 4096);
}

TEST(test_renames_may_reach_the_disk_in_any_order)
{
    three_files(true);
    CHECK_EQ(rename(LOG_0, FILE_0), 0);
    check_recovers_to(25);
}

TEST(test_a_lost_end_record_is_written_again)
{
    three_files(true);
    uint64_t size = file_size(LOG_10);
    slice before = read_whole(LOG_10);
    CHECK_EQ(rename(LOG_10, FILE_10), 0);
    for (uint64_t n = size - END_RECORD_SIZE; n < size; n += 11) {
        if (exists(LOG_10))
            CHECK_EQ(rename(LOG_10, FILE_10), 0);
        CHECK_EQ(truncate(FILE_10, (off_t)n), 0);
        CHECK_EQ(truncate(FILE_10, 65536), 0);
        check_recovers_to(25);
        CHECK_SLICE(unit_read_file(LOG_10), before);
    }
}

TEST(test_files_after_a_torn_tail_are_set_aside_with_it)
{
    three_files(false);
    uint64_t size = file_size(LOG_10);
    CHECK_EQ(rename(LOG_10, FILE_10), 0);
    CHECK_EQ(truncate(FILE_10, (off_t)(size - END_RECORD_SIZE - 50)), 0);   /* its last batch and end record */
    check_recovers_to(19);
    CHECK(!exists(FILE_20));
    CHECK(exists("data/torn/t-20-0.qwal"));
    CHECK(exists("data/torn/t-19-0.bin"));
}

TEST(test_a_file_whose_header_never_came_is_dropped)
{
    three_files(true);
    char zeros[4096] = {0};
    put_file(FILE_20, slice_of(zeros, sizeof zeros));
    check_recovers_to(20);
    CHECK(!exists(FILE_20));
    put_file(FILE_20, SLICE(""));
    check_recovers_to(20);
}

TEST(test_more_unsealed_files_than_may_be_open_recover_all_the_same)
{
    three_files(true);
    char zeros[4096] = {0};
    CHECK_EQ(rename(LOG_10, FILE_10), 0);
    CHECK_EQ(rename(LOG_0, FILE_0), 0);
    put_file(FILE_20, slice_of(zeros, sizeof zeros));
    struct store *s = open_store_with((struct store_options){.files_max = 1});
    struct journal *j = open_journal_with(s, "t", ten_each);
    CHECK_EQ(j->marks.tail, 20);
    check_reads_all(j);
    store_close(s);
}

TEST(test_a_missing_file_is_refused_and_not_skipped)
{
    three_files(true);
    CHECK_EQ(unlink(LOG_10), 0);
    struct store *s = open_store();
    struct journal *j = open_journal_with(s, "t", ten_each);
    CHECK_EQ(j->marks.tail, 25);
    CHECK_EQ(j->damage.count, 1);
    CHECK_EQ(check_reads_right_or_refused(j), 10);
    CHECK_EQ(read_all_of(j, 5, 25), -ERR_DAMAGED);
    CHECK_EQ(read_all_of(j, 20, 25), 25);
    store_close(s);
}

TEST(test_a_missing_active_file_does_not_begin_again_below_what_was_promised)
{
    struct store *s = open_store();
    struct journal *j = open_journal_with(s, "t", ten_each);
    append_each(j, 25, 30);
    store_close(s);
    CHECK_EQ(unlink(FILE_20), 0);
    for (int again = 0; again < 2; again++) {
        s = open_store();
        j = open_journal_with(s, "t", ten_each);
        CHECK_EQ(j->marks.tail, 25);
        CHECK_EQ(check_reads_right_or_refused(j), 5);
        store_close(s);
    }
    CHECK_EQ(run("rm data/topics/t/*.log data/topics/t/*.qwal"), 0);
    s = open_store();
    j = open_journal_with(s, "t", ten_each);
    CHECK_EQ(j->marks.tail, 25);
    store_close(s);
}

TEST(test_a_sealed_file_without_its_end_is_damage)
{
    three_files(true);
    CHECK_EQ(truncate(LOG_0, (off_t)file_size(LOG_0) - END_RECORD_SIZE - 20), 0);
    struct store *s = open_store();
    struct journal *j = open_journal_with(s, "t", ten_each);
    CHECK_EQ(j->marks.tail, 25);
    CHECK_EQ(check_reads_right_or_refused(j), 1);
    CHECK(j->damage.count > 0);
    store_close(s);
}

TEST(test_a_reader_who_stands_before_a_lost_end_is_refused_each_time)
{
    three_files(true);
    uint64_t batch = BATCH_HEAD_SIZE + MESSAGE_HEAD_SIZE + 1 + 30;
    slice all = read_whole(LOG_0);         /* without its last batch, so that the end record follows the one before */
    struct buf cut = {0};
    buf_add(&cut, all.p, FILE_HEAD_SIZE + 9 * batch);
    buf_add(&cut, all.p + all.n - END_RECORD_SIZE, END_RECORD_SIZE);
    put_file(LOG_0, buf_slice(&cut));
    buf_fini(&cut);
    struct store *s = open_store();
    struct journal *j = open_journal_with(s, "t", ten_each);
    for (int again = 0; again < 3; again++) {
        struct buf out = {0};
        uint64_t next;
        CHECK_EQ(journal_read(j, 0, 25, MIB, &out, &next), 0);
        CHECK_EQ(next, 9);
        CHECK_EQ(journal_read(j, 9, 25, MIB, &out, &next), -ERR_DAMAGED);
        CHECK_EQ(read_all_of(j, 10, 25), 25);
        buf_fini(&out);
    }
    store_close(s);
}

TEST(test_a_foreign_or_newer_file_is_refused_and_not_touched)
{
    three_files(true);
    slice good = read_whole(FILE_20);
    struct file_head head;
    unsigned version;
    CHECK_EQ(file_head_read((const unsigned char *)good.p, &head, &version), 0);
    for (int kind = 0; kind < 3; kind++) {
        struct file_head other = head;
        other.cluster.bytes[0] ^= kind == 0;
        other.topic.offset += kind == 1;
        unsigned char bytes[FILE_HEAD_SIZE];
        file_head_write(bytes, &other);
        bytes[0] ^= kind == 2;
        change_file(FILE_20, 0, slice_of((char *)bytes, sizeof bytes));
        slice before = read_whole(FILE_20);
        struct store *s = open_store();
        struct journal *j;
        struct journal_options o = ten_each;
        CHECK_EQ(journal_open(s, SLICE("t"), &o, &j), kind == 1 ? -ERR_TOPIC_EXISTS : -ERR_FORMAT);
        store_close(s);
        CHECK_SLICE(unit_read_file(FILE_20), before);
    }
}

TEST(test_a_damaged_file_header_costs_no_message)
{
    three_files(true);
    spoil(FILE_20, 20);
    struct store *s = open_store();
    struct journal *j = open_journal_with(s, "t", ten_each);
    CHECK_EQ(j->marks.tail, 25);
    CHECK(j->damage.count > 0);
    CHECK_EQ(check_reads_right_or_refused(j), 0);
    store_close(s);
}
