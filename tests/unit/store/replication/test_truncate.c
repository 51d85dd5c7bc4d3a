#include "unit/truncations.h"
#include "command/dump.h"
#include "command/verify.h"

/* Appends the truncated messages again, and checks that the files equal those of before byte for byte. */
static void check_grows_again(struct journal *j, const slice before[4])
{
    for (uint64_t i = j->marks.tail / 2; i < 17; i++) {
        j->marks.epoch = 1 + i / 4;
        uint64_t disk = j->marks.disk;
        j->marks.disk = 0;                           /* as in the batches that were appended before a sync */
        CHECK_EQ(try_append(j, 2, 60, 1000 + (int64_t)i), 0);
        j->marks.disk = disk;
    }
    settle_store(j->store);
    check_reads_all(j);
    for (uint64_t i = 0; i < 4; i++) {
        slice now = file_bytes(i * 10, i < 3 ? FILE_SEALED : FILE_ACTIVE), was = before[i];
        if (i == 3)
            now.n = was.n = j->parts.active->written;
        CHECK_SLICE(now, was);
    }
}

TEST(test_a_truncated_journal_is_as_if_it_had_never_been_longer)
{
    for (uint64_t to = 0; to <= 34; to += 2)
        for (int restart = 0; restart < 3; restart++) {
            struct journal *j;
            struct store *s = four_files(&j);
            slice before[4];
            for (uint64_t i = 0; i < 4; i++)
                before[i] = file_bytes(i * 10, i < 3 ? FILE_SEALED : FILE_ACTIVE);
            uint64_t messages = 99;
            CHECK_EQ(read_all_of(j, to > 3 ? to - 3 : 0, 34), 34);   /* leaves hints behind */
            CHECK_EQ(truncate_now(j, to, &messages), 0);
            CHECK_EQ(messages, 34 - to);
            if (restart == 1)
                store_close(s);
            else if (restart == 2)
                abandon_store(s);
            if (restart) {
                s = open_store();
                j = open_journal_with(s, "t", ten_each);
                CHECK_EQ(j->damage.count, 0);
            }
            check_is_truncated_at(j, to);
            check_grows_again(j, before);
            store_close(s);
            CHECK_EQ(data_verify("data"), 0);
            CHECK_EQ(run("rm -r data"), 0);
        }
}

/* A backup has hard links of sealed files. */
TEST(test_a_truncation_leaves_the_bytes_of_a_file_that_has_a_second_name)
{
    for (uint64_t to = 10; to <= 18; to += 4) {
        struct journal *j;
        struct store *s = four_files(&j);
        slice was = file_bytes(10, FILE_SEALED);
        uint64_t messages = 99;
        CHECK_EQ(run("ln data/topics/t/00000000000000000010.log backup"), 0);
        CHECK_EQ(truncate_now(j, to, &messages), 0);
        CHECK_EQ(try_append(j, 2, 60, 2000), 0);
        settle_store(j->store);
        check_reads_all(j);
        CHECK_SLICE(read_whole("backup"), was);
        store_close(s);
        CHECK_EQ(data_verify("data"), 0);
        CHECK_EQ(run("rm -r data backup"), 0);
    }
}

TEST(test_a_truncation_is_refused_inside_a_batch_and_outside_the_journal)
{
    struct journal *j;
    struct store *s = four_files(&j);
    uint64_t messages = 99;
    for (uint64_t to = 1; to < 34; to += 2)
        CHECK_EQ(truncate_now(j, to, &messages), -ERR_BAD_RANGE);
    CHECK_EQ(truncate_now(j, 35, &messages), -ERR_BAD_RANGE);
    CHECK_EQ(journal_apply_retention(j, &(struct retain){.messages = 20}, 0, UINT64_MAX), 1);
    CHECK_EQ(truncate_now(j, 8, &messages), -ERR_BAD_RANGE);
    CHECK_EQ(messages, 99);
    CHECK_EQ(j->marks.tail, 34);
    check_reads_all(j);
    CHECK_EQ(truncate_now(j, 10, &messages), 0);          /* all that is left, and the first offset stays */
    CHECK_EQ(journal_first(j), 10);
    CHECK_EQ(j->marks.tail, 10);
    abandon_store(s);
    s = open_store();
    j = open_journal_with(s, "t", ten_each);
    CHECK_EQ(journal_first(j), 10);
    CHECK_EQ(j->marks.tail, 10);
    append_some(j, 1, 20);
    settle_store(s);
    check_reads_all(j);
    CHECK_EQ(rmdir("data/diverged"), -1);
    store_close(s);
}

/* Index entries and hints of truncated batches are not used for later batches that begin elsewhere. */
TEST(test_nothing_remembers_where_truncated_batches_began)
{
    skip_syncs();
    for (int restart = 0; restart < 2; restart++) {
        struct store *s = open_store();
        struct journal *j = open_journal(s, "t");
        append_each(j, 60, 10 * KIB);
        settle_store(s);
        if (restart) {
            store_close(s);
            s = open_store();
            j = open_journal(s, "t");
        }
        for (uint64_t to = 56; to <= 60; to++)
            CHECK_EQ(read_all_of(j, 0, to), (int64_t)to);
        uint64_t messages;
        CHECK_EQ(truncate_now(j, 20, &messages), 0);
        append_each(j, 60, 7 * KIB);
        settle_store(s);
        for (uint64_t from = 61; from-- > 0;)
            CHECK_EQ(read_all_of(j, from, from + 1), (int64_t)from + 1);
        CHECK_EQ(read_all_of(j, 60, 80), 80);
        CHECK(!j->parts.active->scanned);            /* nothing had to be looked for */
        store_close(s);
        CHECK_EQ(run("rm -r data"), 0);
    }
}

/* The copy of what was truncated can be read as a topic. */
TEST(test_what_is_truncated_is_kept_as_valid_files)
{
    struct journal *j;
    struct store *s = four_files(&j);
    slice sealed = file_bytes(20, FILE_SEALED);
    uint64_t messages;
    CHECK_EQ(truncate_now(j, 14, &messages), 0);
    store_close(s);
    struct path kept = diverged_name(14);
    CHECK_EQ(data_dump("data", slice_from(kept.s + strlen("data/")), 0, UINT64_MAX), 0);
    CHECK_EQ(data_dump("data", SLICE("diverged/../topics/t"), 0, UINT64_MAX), EXIT_DATA);
    CHECK_SLICE(unit_read_file(path_of("%s/00000000000000000020.log", kept.s).s), sealed);
    CHECK_EQ(run(path_of("mkdir -p copy/torn copy/trash copy/diverged; cp data/state copy; "
                         "mkdir copy/topics; cp -r %s copy/topics/t", kept.s).s), 0);
    s = open_store_with((struct store_options){.path = "copy", .files_max = 8});
    j = open_journal_with(s, "t", ten_each);
    CHECK_EQ(j->damage.count, 0);
    CHECK_EQ(journal_first(j), 14);
    CHECK_EQ(j->marks.tail, 34);
    check_reads_all(j);
    abandon_store(s);
}

TEST(test_a_truncation_waits_for_the_disk_thread)
{
    skip_syncs();
    for (int i = 0; i < 60; i++) {
        struct store *s = open_store();
        struct journal_options o = ten_each;
        o.segment_messages = 1000;
        o.segment_bytes = 200 * KIB;
        struct journal *j = open_journal_with(s, "t", o);
        for (int k = 0; k < 10 + i; k++) {     /* files are being sealed, one is preallocated, a group commit runs */
            append_some(j, 1, 10 * KIB);
            store_flush(s);
            store_sync(s);
        }
        append_some(j, 1, 10);
        uint64_t messages, to = (uint64_t)(i * 7 % 10);
        CHECK_EQ(truncate_now(j, to, &messages), 0);
        CHECK_EQ(j->marks.tail, to);
        CHECK_EQ(j->marks.disk, to);
        CHECK_EQ(j->parts.dir.jobs, 0);
        append_some(j, 1, 10);
        settle_store(s);
        CHECK_EQ(j->marks.disk, to + 1);
        check_reads_all(j);
        store_close(s);
        CHECK_EQ(run("rm -r data"), 0);
    }
}

TEST(test_a_checkpoint_states_no_more_than_a_truncation_left)
{
    struct journal *j;
    struct store *s = four_files(&j);
    store_close(s);
    struct checkpoint c;
    CHECK_EQ(checkpoint_load("data/topics/t/checkpoint", &c), 0);
    CHECK_EQ(c.disk, 34);
    s = open_store();
    j = open_journal_with(s, "t", ten_each);
    uint64_t messages;
    CHECK_EQ(truncate_now(j, 14, &messages), 0);
    CHECK_EQ(checkpoint_load("data/topics/t/checkpoint", &c), 0);
    CHECK_EQ(c.disk, 14);
    CHECK_EQ(c.next, 14);
    CHECK_EQ(c.first, 10);
    abandon_store(s);
    change_file("data/topics/t/00000000000000000010.qwal", c.position, SLICE("half of a batch"));
    s = open_store();
    j = open_journal_with(s, "t", ten_each);
    CHECK_EQ(j->marks.tail, 14);                     /* torn, and no damage */
    CHECK_EQ(j->damage.count, 0);
    store_close(s);
}

TEST(test_damage_above_a_truncation_goes_with_it_and_damage_below_prevents_it)
{
    struct journal *j;
    struct store *s = four_files(&j);
    store_close(s);
    uint64_t batch = BATCH_HEAD_SIZE + 2 * (MESSAGE_HEAD_SIZE + 1 + 60);
    change_file("data/topics/t/00000000000000000010.log", FILE_HEAD_SIZE + 3 * batch + 80, SLICE("\xff\xfe\xfd"));
    s = open_store();
    j = open_journal_with(s, "t", ten_each);
    CHECK_EQ(check_reads_right_or_refused(j), 2);        /* [16,18) */
    CHECK_EQ(s->stats.damaged, 1);
    uint64_t messages;
    CHECK_EQ(truncate_now(j, 18, &messages), -ERR_DAMAGED);
    CHECK_EQ(truncate_now(j, 20, &messages), -ERR_DAMAGED);
    CHECK_EQ(j->marks.tail, 34);
    CHECK_EQ(truncate_now(j, 26, &messages), 0);
    CHECK_EQ(s->stats.damaged, 1);
    CHECK_EQ(truncate_now(j, 16, &messages), 0);
    CHECK_EQ(s->stats.damaged, 0);
    CHECK_EQ(j->damage.count, 0);
    check_reads_all(j);
    append_some(j, 1, 10);
    store_close(s);
    CHECK_EQ(data_verify("data"), 0);
}
