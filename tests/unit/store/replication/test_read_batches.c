/* The files of a follower equal those of its leader byte for byte. */
#include "unit/two_nodes.h"
#include "command/verify.h"

#include "base/crc32c.h"

TEST(test_batches_are_received_as_the_same_files)
{
    struct node a, b;
    two_nodes(&a, &b, ten_each);
    for (int i = 0; i < 40; i++)
        append_some(a.journal, 1 + (uint32_t)i % 3, 50 + (size_t)i);
    replicate_all(&a, &b, 500);
    check_same(&a, &b);
    CHECK_EQ(b.journal->marks.disk, a.journal->marks.tail);
    CHECK(b.journal->parts.count > 5);
    check_reads_all(b.journal);
    node_stop(&a, false);
    node_stop(&b, false);
}

TEST(test_batches_with_origins_are_received_as_the_same_files)
{
    struct node a, b;
    two_nodes(&a, &b, ten_each);
    for (uint64_t i = 0; i < 42; i++)
        append_from(a.journal, i % 15 == 4 ? "p" : NULL, i, 100);      /* the file from 20 on has none */
    replicate_all(&a, &b, 500);
    check_same(&a, &b);
    struct batch_head head;
    CHECK_EQ(journal_batch_of(b.journal, 34, &head), 0);
    CHECK_EQ(head.sequence, 34);
    node_stop(&a, false);
    node_stop(&b, false);
}

static void check_end_record(const struct node *n, uint64_t first)
{
    slice file = read_whole(path_of("%s/topics/t/%020" PRIu64 ".log", n->path, first).s);
    const char *end = file.p + file.n - END_RECORD_SIZE;
    CHECK_EQ(end_record_file_crc(end), crc32c(0, file.p, file.n - END_RECORD_SIZE));
}

/* Small runs are collected before they are written, large ones are written at once. */
TEST(test_runs_of_batches_of_all_sizes_make_the_same_files)
{
    static const size_t sizes[] = {100, 90 * KIB, 10, 30 * KIB, 200 * KIB, 64 * KIB, 15 * KIB, 17 * KIB, 300 * KIB};
    struct node a, b;
    two_nodes(&a, &b, ten_each);
    unsigned count = sizeof sizes / sizeof *sizes;
    for (unsigned i = 0; i < 5 * count; i++)
        append_some(a.journal, 1 + i % 2, sizes[i % count]);
    for (unsigned i = 0; b.journal->marks.tail < a.journal->marks.tail; i++) {
        CHECK_EQ(replicate_once(&a, &b, i % 3 ? 1 * MIB : 1), 0);
        if (i % 4 == 3)
            store_flush(b.store);
    }
    replicate_all(&a, &b, 1);
    check_same(&a, &b);
    for (uint32_t i = 0; i + 1 < a.journal->parts.count; i++)
        check_end_record(&b, b.journal->parts.at[i].first);
    check_reads_all(b.journal);
    struct buf out = {0};
    stop_both(&a, &b, &out);
}

TEST(test_a_run_of_batches_begins_at_its_offset_and_ends_with_the_file)
{
    struct node a, b;
    two_nodes(&a, &b, ten_each);
    for (int i = 0; i < 12; i++)
        append_some(a.journal, 2, 20);
    settle_store(a.store);
    struct buf out = {0};
    struct batch_run s;
    for (uint64_t from = 0; from < 24; from += 2) {
        buf_clear(&out);
        CHECK_EQ(journal_read_batches(a.journal, from, UINT64_MAX, MIB, &out, &s), 0);
        CHECK_EQ(s.first, from);
        CHECK_EQ(s.file_first, from / 10 * 10);
        CHECK_EQ(s.next, from < 20 ? s.file_first + 10 : 24);
        CHECK_EQ(s.has_file_crc, from == 10 || from == 20);
        CHECK_EQ(journal_read_batches(a.journal, from, from + 1, MIB, &out, &s), 0);
        CHECK_EQ(s.next, from + 2);
    }
    buf_clear(&out);
    CHECK_EQ(journal_read_batches(a.journal, 5, UINT64_MAX, MIB, &out, &s), -ERR_BAD_RANGE);
    CHECK_EQ(journal_read_batches(a.journal, 25, UINT64_MAX, MIB, &out, &s), -ERR_BAD_RANGE);
    CHECK_EQ(buf_size(&out), 0);
    CHECK_EQ(journal_read_batches(a.journal, 24, UINT64_MAX, MIB, &out, &s), 0);
    CHECK_EQ(s.next, 24);
    CHECK_EQ(journal_apply_retention(a.journal, &(struct retain){.messages = 1}, 0, UINT64_MAX), 2);
    CHECK_EQ(journal_read_batches(a.journal, 2, UINT64_MAX, MIB, &out, &s), -ERR_GONE);
    CHECK_EQ(journal_read_batches(a.journal, 20, UINT64_MAX, MIB, &out, &s), 0);
    CHECK(!s.has_file_crc);
    buf_fini(&out);
    node_stop(&a, false);
    node_stop(&b, false);
}

/* A follower that was killed between beginning a file and receiving its first batch continues in the file in which its
 * leader continues. */
TEST(test_a_file_begun_for_nothing_is_given_up_when_the_leader_goes_on_in_the_one_before)
{
    struct node a, b;
    struct buf out = {0};
    next_run(&a, &b, 10, &out);
    CHECK_EQ(journal_begin_empty(b.journal), 0);
    settle_store(b.store);
    for (int again = 0; again < 2; again++) {
        node_stop(&b, true);
        node_open(&b, "other", NULL);
        CHECK_EQ(b.journal->marks.tail, 10);
    }
    CHECK_EQ(b.journal->parts.active->first, 10);
    node_stop(&a, false);
    CHECK_EQ(unlink("data/topics/t/00000000000000000010.qwal"), 0);     /* a leader that never saw more than 10 */
    CHECK_EQ(unlink("data/topics/t/checkpoint"), 0);
    CHECK_EQ(rename("data/topics/t/00000000000000000000.log", FILE_0), 0);
    CHECK_EQ(truncate(FILE_0, (off_t)file_size(FILE_0) - END_RECORD_SIZE), 0);
    a.options.segment_messages = 20;
    node_open(&a, "data", NULL);
    a.journal->marks.epoch = 9;
    for (int i = 0; i < 5; i++)
        append_some(a.journal, 3, 30);
    replicate_all(&a, &b, 200);
    check_same(&a, &b);
    CHECK_EQ(b.journal->parts.at[1].first, 19);
    check_reads_all(b.journal);
    stop_both(&a, &b, &out);
}

/* Recovery begins a file after damage, and journal_restart where the leader's begins: in an epoch that may not be that
 * of the first batch. */
TEST(test_a_file_without_batches_gets_the_header_of_its_first_one)
{
    struct node a, b;
    struct buf out = {0};
    for (int leader = 0; leader < 2; leader++) {
        next_run(&a, &b, 10, &out);
        uint64_t messages;
        if (leader) {
            CHECK_EQ(restart_now(a.journal, 50, false), 0);
            CHECK_EQ(restart_now(b.journal, 50, true), 0);
            a.journal->marks.epoch = 8;
            append_some(a.journal, 1, 20);
        } else
            CHECK_EQ(truncate_now(a.journal, 10, &messages), 0);
        CHECK_EQ(leader ? 0 : journal_begin_empty(b.journal), 0);
        append_some(a.journal, 10, 20);
        append_some(a.journal, 1, 20);
        replicate_all(&a, &b, 100);
        check_same(&a, &b);
        struct file_head head;
        unsigned version;
        slice bytes = read_whole(leader ? "other/topics/t/00000000000000000050.log"
                                        : "other/topics/t/00000000000000000010.log");
        CHECK_EQ(file_head_read((const unsigned char *)bytes.p, &head, &version), 0);
        CHECK_EQ(head.epoch, leader ? 8 : 3);
        stop_both(&a, &b, &out);
        CHECK_EQ(run("rm -r data other"), 0);
    }
}

/* -- random histories ---------------------------------------------------------------------------------------------- */

/* One of the last hundred offsets; sometimes any. */
static uint64_t random_boundary(struct journal *j)
{
    struct segment *seg;
    struct place at;
    journal_write(j);
    uint64_t first = journal_first(j);
    if (rand() % 20 && j->marks.tail > first + 100)
        first = j->marks.tail - 100;
    uint64_t offset = first + (uint64_t)rand() % (j->marks.tail - first + 1);
    if (offset == j->marks.tail)
        return offset;
    CHECK_EQ(journal_segment_of(j, offset, &seg), 0);
    CHECK_EQ(segment_find(seg, offset, &at), 0);
    return at.offset;
}

static void node_again(struct node *n)
{
    store_flush(n->store);
    node_stop(n, rand() % 2);
    node_open(n, n->path, NULL);
}

static void node_truncate(struct node *n, uint64_t to)
{
    uint64_t count, before = n->journal->marks.tail;
    CHECK_EQ(truncate_now(n->journal, to, &count), 0);
    CHECK_EQ(count, before - to);
    CHECK_EQ(n->journal->marks.tail, to);
    CHECK(count == 0 || n->journal->marks.disk == to);
    if (to > journal_first(n->journal))
        check_reads_all(n->journal);
}

static void lead_some(struct node *n)
{
    for (int i = rand() % 30; i > 0; i--) {
        if (rand() % 8 == 0)
            n->journal->marks.epoch++;
        int64_t time_ms = n->journal->marks.time_ms + rand() % 50 - (rand() % 32 == 0 ? 2 * DATES_FALL_MS : 0);
        CHECK_EQ(try_append(n->journal, 1 + (uint32_t)rand() % 5, (size_t)rand() % 3000, time_ms), 0);
        if (rand() % 4 == 0)
            store_flush(n->store);
        if (rand() % 8 == 0)
            settle_store(n->store);
    }
    store_flush(n->store);
}

/* A leader appends, and a follower receives in pieces. Either is killed or stopped, the follower is truncated, they
 * swap roles, and the new leader's history replaces what only the old one had: in the end their files are the same. */
TEST(test_files_of_leader_and_follower_are_the_same_whatever_happens)
{
    skip_syncs();
    struct node nodes[2], *leader = &nodes[0], *follower = &nodes[1];
    struct journal_options o = ten_each;
    o.segment_messages = 23;
    o.segment_bytes = 20 * KIB;
    o.segment_age_ms = 200;
    srand(11);
    two_nodes(leader, follower, o);
    int files = 0, swaps = 0;
    for (int round = 0; round < 200; round++) {
        lead_some(leader);
        for (int i = rand() % 6; i > 0 && follower->journal->marks.tail < leader->journal->marks.tail; i--)
            CHECK_EQ(replicate_once(leader, follower, (size_t)rand() % 9000), 0);
        if (rand() % 3 == 0)
            node_again(follower);
        if (rand() % 5 == 0)
            node_again(leader);
        uint64_t common = random_boundary(follower->journal);
        if (rand() % 2)
            node_truncate(follower, common);
        if (rand() % 3 == 0 && follower->journal->marks.tail > journal_first(follower->journal)) {
            struct node *was = leader;     /* the old leader has more, which will be truncated */
            leader = follower;
            follower = was;
            node_truncate(follower, leader->journal->marks.tail);
            leader->journal->marks.epoch = (follower->journal->marks.epoch > leader->journal->marks.epoch
                                          ? follower->journal->marks.epoch : leader->journal->marks.epoch) + 1;
            swaps++;
        }
        CHECK_EQ(try_append(leader->journal, 1, 10, leader->journal->marks.time_ms), 0);
        replicate_all(leader, follower, (size_t)rand() % 5000);
        check_same(leader, follower);
        files = (int)leader->journal->parts.count;
    }
    CHECK(files > 20);
    CHECK(swaps > 20);
    check_reads_all(leader->journal);
    check_reads_all(follower->journal);
    node_stop(leader, false);
    node_stop(follower, false);
    CHECK_EQ(data_verify("data"), 0);
    CHECK_EQ(data_verify("other"), 0);
}
