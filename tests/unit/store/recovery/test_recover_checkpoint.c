/* Recovery from a checkpoint. */
#include "unit/journals.h"
#include "command/verify.h"

static struct store *store_of_megabytes(struct journal **j)
{
    struct store *s = open_store();
    struct journal_options o = small_files;
    o.segment_bytes = 16 * MIB;
    *j = open_journal_with(s, "t", o);
    while ((*j)->marks.tail < 3000) {
        for (int i = 0; i < 100; i++)
            append_some(*j, 1, 1000);
        settle_store(s);
    }
    return s;
}

TEST(test_recovery_reads_from_the_checkpoint_on)
{
    struct journal *j;
    struct store *s = store_of_megabytes(&j);
    uint64_t position = j->checkpoint.position;
    CHECK(position >= 2 * MIB);
    abandon_store(s);
    spoil(FILE_0, 500 * KIB);              /* recovery does not read below the checkpoint */
    s = open_store();
    j = open_journal(s, "t");
    CHECK_EQ(j->marks.tail, 3000);
    CHECK_EQ(j->damage.count, 0);
    CHECK_EQ(check_reads_right_or_refused(j), 1);    /* readers do */
    store_close(s);
}

TEST(test_a_checkpoint_that_lies_costs_no_message)
{
    struct journal *j;
    struct store *s = store_of_megabytes(&j);
    abandon_store(s);
    struct checkpoint c;
    CHECK_EQ(checkpoint_load("data/topics/t/checkpoint", &c), 0);
    c.sequence++;
    c.position -= 100;
    CHECK_EQ(checkpoint_save("data/topics/t/checkpoint", &c), 0);
    s = open_store();
    j = open_journal(s, "t");
    CHECK_EQ(j->marks.tail, 3000);
    CHECK_EQ(j->damage.count, 0);
    check_reads_all(j);
    store_close(s);
}

/* The header of a file without batches states the epoch in which the file was begun, until the first batch is added. */
TEST(test_a_header_that_was_written_again_after_the_checkpoint_is_in_the_checksum)
{
    struct store *s = open_store();
    struct journal *j = open_journal(s, "t");
    append_some(j, 3, 50);
    settle_store(s);
    uint64_t messages;
    CHECK_EQ(truncate_now(j, 0, &messages), 0);
    j->marks.epoch = 9;
    append_some(j, 1, 50);
    settle_store(s);
    abandon_store(s);
    s = open_store();
    j = open_journal(s, "t");
    CHECK_EQ(j->marks.tail, 1);
    struct journal_options o = files_of(1);
    journal_set_options(j, &o);
    append_some(j, 1, 50);
    store_close(s);
    CHECK(exists(LOG_0));
    CHECK_EQ(data_verify("data"), 0);
}

TEST(test_a_torn_checkpoint_leaves_the_one_before)
{
    struct checkpoint a = {.sequence = 4, .first = 1, .position = 64, .next = 5}, b = a, got;
    b.sequence = 5;
    b.next = 6;
    CHECK_EQ(checkpoint_save("c", &a), 0);
    CHECK_EQ(checkpoint_save("c", &b), 0);
    CHECK_EQ(checkpoint_load("c", &got), 0);
    CHECK_EQ(got.next, 6);
    for (uint64_t at = 128; at < 256; at++) {
        CHECK_EQ(checkpoint_save("c", &b), 0);
        change_file("c", at, SLICE("\xee"));
        CHECK_EQ(checkpoint_load("c", &got), 0);
        CHECK_EQ(got.next, 5);
    }
    CHECK_EQ(checkpoint_load("none", &got), -ENOENT);
}

TEST(test_a_clean_checkpoint_of_an_earlier_run_hides_nothing)
{
    struct store *s = open_store();
    struct journal *j = open_journal(s, "t");
    append_some(j, 5, 100);
    store_close(s);
    s = open_store();
    j = open_journal(s, "t");
    append_some(j, 5, 100);
    settle_store(s);
    abandon_store(s);                      /* killed; then a run that does not open the topic ends cleanly */
    store_close(open_store());
    s = open_store();
    j = open_journal(s, "t");
    CHECK_EQ(j->marks.tail, 10);
    check_reads_all(j);
    store_close(s);
}
