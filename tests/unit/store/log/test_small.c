/* Topics that are small, and how they get a directory of their own. */
#include <sys/stat.h>

#include "store/replication/truncate.h"
#include "unit/killed.h"

#define OWN_0 "data/topics/t/00000000000000000000.qwal"

static struct store *small_topic(struct journal **j, int messages)
{
    struct store *s = open_store();
    *j = open_journal_with(s, "t", ten_each);
    append_each(*j, messages, 60);
    settle_store(s);
    CHECK(exists("data/small/t"));
    CHECK(!exists("data/topics/t"));
    return s;
}

static void check_moved(struct journal *j)
{
    CHECK(!j->parts.dir.small);
    CHECK(!exists("data/small/t"));
    CHECK(exists("data/topics/t"));
    check_reads_all(j);
}

TEST(test_a_topic_without_messages_has_nothing_on_the_disk)
{
    struct store *s = open_store();
    open_journal(s, "t");
    settle_store(s);
    CHECK(!exists("data/small/t") && !exists("data/topics/t"));
    store_close(s);
    s = open_store();
    CHECK_EQ(open_journal(s, "t")->marks.tail, 0);
    CHECK(!exists("data/topics/t"));
    store_close(s);
}

TEST(test_a_small_topic_stays_small_over_starts)
{
    struct journal *j;
    struct store *s = small_topic(&j, 7);
    check_whole_after(s, ten_each, 7);
    s = small_topic(&j, 7);
    store_close(s);
    s = open_store();
    j = open_journal_with(s, "t", ten_each);
    append_each(j, 2, 60);
    settle_store(s);
    CHECK(exists("data/small/t") && !exists("data/topics/t"));
    check_whole_after(s, ten_each, 9);
}

TEST(test_a_second_file_is_made_in_a_directory)
{
    struct journal *j;
    struct store *s = small_topic(&j, 10);
    append_each(j, 5, 60);
    check_moved(j);
    settle_store(s);
    check_moved(j);
    check_whole_after(s, ten_each, 15);
}

TEST(test_a_checkpoint_is_made_in_a_directory)
{
    struct journal *j;
    struct journal_options large = ten_each;
    large.segment_messages = 10000;
    large.segment_bytes = 16 * MIB;
    struct store *s = open_store();
    j = open_journal_with(s, "t", large);
    append_each(j, CHECKPOINT_EVERY / 2000, 2000);
    append_each(j, 40, 2000);
    settle_store(s);
    check_moved(j);
    CHECK(exists("data/topics/t/checkpoint"));
    check_whole_after(s, ten_each, CHECKPOINT_EVERY / 2000 + 40);
}

TEST(test_a_truncation_and_a_new_beginning_are_made_in_a_directory)
{
    struct journal *j;
    uint64_t messages;
    struct store *s = small_topic(&j, 7);
    CHECK_EQ(truncate_now(j, 3, &messages), 0);
    check_moved(j);
    CHECK_EQ(run("cat data/diverged/t-3-*/*.qwal | grep -qa 'message 6'"), 0);
    check_whole_after(s, ten_each, 3);
    s = small_topic(&j, 7);
    CHECK_EQ(restart_now(j, 100, true), 0);
    check_moved(j);
    CHECK_EQ(run("cat data/diverged/t-100-*/00000000000000000000.qwal | grep -qa 'message 6'"), 0);
    check_whole_after(s, ten_each, 100);
}

TEST(test_snapshots_of_senders_are_made_in_a_directory)
{
    struct store *s = open_store();
    struct journal *j = open_journal_with(s, "t", ten_each);
    append_from(j, "p", 1, 60);
    settle_store(s);
    CHECK(exists("data/small/t"));
    struct origin o = {.kind = ORIGIN_PRODUCER, .name = SLICE("p"), .epoch = 1, .sequence = 2};
    struct sent sent;
    CHECK_EQ(journal_sent(j, &o, 1000, &sent), 0);       /* it is in memory from now on */
    store_close(s);
    CHECK(exists(OWN_0));
    CHECK_EQ(run("test -n \"$(ls data/topics/t/*.senders)\""), 0);
    s = open_store();
    check_moved(open_journal_with(s, "t", ten_each));
    check_whole_after(s, ten_each, 1);
}

static void begin_second_file(struct journal *j)
{
    append_each(j, 5, 60);
    settle_store(j->store);
}

/* kill -9 before each change of the disk: whatever has been made of the move, all messages are there. */
TEST(test_a_move_survives_kill_9_at_any_moment)
{
    skip_syncs();
    struct journal *j;
    struct store *s = small_topic(&j, 10);
    abandon_store(s);
    CHECK_EQ(rename("data", "base"), 0);
    bool killed = true;
    int calls = 0;
    for (; killed; calls++) {
        killed = killed_after(calls, begin_second_file);
        s = open_store();
        j = open_journal_with(s, "t", ten_each);
        CHECK(j->marks.tail >= 10 && j->marks.tail <= 15);
        CHECK_EQ(j->damage.count, 0);
        check_reads_all(j);
        append_each(j, 12, 60);
        settle_store(s);
        check_reads_all(j);
        store_close(s);
        CHECK_EQ(data_verify("data"), 0);
    }
    CHECK(calls > 5);
}

static void delete_it(struct journal *j)
{
    struct store *s = j->store;
    journal_delete(j);
    settle_store(s);
    worker_wait(s->disk.worker);
}

TEST(test_a_deletion_survives_kill_9_at_any_moment)
{
    skip_syncs();
    struct journal *j;
    struct store *s = small_topic(&j, 7);
    abandon_store(s);
    CHECK_EQ(rename("data", "base"), 0);
    bool killed = true;
    for (int calls = 0; killed; calls++) {
        killed = killed_after(calls, delete_it);
        s = open_store();
        j = open_journal_with(s, "t", ten_each);
        CHECK(j->marks.tail == 7 || j->marks.tail == 0);
        check_reads_all(j);
        worker_wait(s->disk.worker);
        CHECK_EQ(run("test -z \"$(ls data/trash)\""), 0);
        store_close(s);
    }
    CHECK(!exists("data/small/t") && !exists("data/topics/t"));
}

TEST(test_a_topic_without_messages_is_deleted)
{
    struct store *s = open_store();
    delete_it(open_journal(s, "t"));
    open_journal(s, "t");
    store_close(s);
}

/* A file system that did not make the rename durable as a whole: the file has both names. */
TEST(test_a_file_with_both_names_keeps_the_one_in_its_directory)
{
    struct journal *j;
    struct store *s = small_topic(&j, 7);
    abandon_store(s);
    CHECK_EQ(mkdir("data/topics/t", 0750), 0);
    CHECK_EQ(link("data/small/t", OWN_0), 0);
    s = open_store();
    check_moved(open_journal_with(s, "t", ten_each));
    check_whole_after(s, ten_each, 7);
}

TEST(test_two_files_of_a_topic_are_refused_and_left_alone)
{
    struct journal *j;
    struct store *s = small_topic(&j, 7);
    store_close(s);
    CHECK_EQ(run("mkdir data/topics/t && cp data/small/t " OWN_0), 0);
    s = open_store();
    struct journal_options o = ten_each;
    o.id = small_files.id;
    CHECK_EQ(journal_open(s, SLICE("t"), &o, &j), -ERR_TOPIC_EXISTS);
    CHECK(exists("data/small/t") && exists(OWN_0));
    store_close(s);
}

/* What cannot be looked at now may be the topic's messages. */
TEST(test_a_move_replaces_nothing_that_cannot_be_looked_at)
{
    struct journal *j;
    struct store *s = small_topic(&j, 7);
    store_close(s);
    CHECK_EQ(mkdir("data/topics/t", 0750), 0);
    CHECK_EQ(symlink("../../../elsewhere", OWN_0), 0);
    s = open_store();
    struct journal_options o = ten_each;
    o.id = small_files.id;
    CHECK(journal_open(s, SLICE("t"), &o, &j) < 0);
    struct stat st;
    CHECK(exists("data/small/t") && lstat(OWN_0, &st) == 0 && S_ISLNK(st.st_mode));
    store_close(s);
}

static int mkdir_is_full(const char *path, mode_t mode)
{
    (void)path;
    (void)mode;
    errno = ENOSPC;
    return -1;
}

TEST(test_a_disk_that_is_full_refuses_the_move_and_nothing_has_changed)
{
    struct journal *j;
    struct store *s = small_topic(&j, 10);
    int (*was)(const char *, mode_t) = io.mkdir;
    io.mkdir = mkdir_is_full;
    CHECK_EQ(try_append(j, 1, 60, 1000), -ENOSPC);
    uint64_t messages;
    CHECK_EQ(truncate_now(j, 3, &messages), -ENOSPC);
    CHECK_EQ(j->marks.tail, 10);
    CHECK(j->parts.dir.small && exists("data/small/t"));
    check_reads_all(j);
    io.mkdir = was;
    begin_second_file(j);
    check_moved(j);
    check_whole_after(s, ten_each, 15);
}

static int all_syncs;

static int count_all(int fd)
{
    __atomic_add_fetch(&all_syncs, 1, __ATOMIC_SEQ_CST);
    return fsync(fd);
}

/* Before `disk` rises, the name of a new file is on the disk: one fsync for all new topics of a group commit. */
TEST(test_new_topics_share_one_sync_of_their_directory)
{
    struct store *s = open_store();
    struct journal *j[3];
    char name[8];
    for (int i = 0; i < 3; i++) {
        snprintf(name, sizeof name, "t%d", i);
        j[i] = open_journal(s, name);
        append_some(j[i], 1, 60);
    }
    io.sync_all = count_all;
    settle_store(s);
    io.sync_all = fsync;
    CHECK_EQ(all_syncs, 1);
    for (int i = 0; i < 3; i++)
        CHECK_EQ(j[i]->marks.disk, 1);
    store_close(s);
}

TEST(test_a_small_topic_is_set_aside_as_a_directory)
{
    struct journal *j;
    struct store *s = small_topic(&j, 7);
    store_close(s);
    s = open_store();
    CHECK_EQ(store_set_aside(s, SLICE("t")), 0);
    CHECK(!exists("data/small/t") && !exists("data/topics/t"));
    CHECK_EQ(run("cat data/diverged/t-*/00000000000000000000.qwal | grep -qa 'message 6'"), 0);
    store_close(s);
}

/* Else messages would go to another file, and the two could not be told apart later. */
TEST(test_a_topic_whose_directory_cannot_be_looked_at_does_not_begin_anew)
{
    static const char *const leads_to[] = {"nowhere", "t"};
    struct journal *j;
    struct journal_options o = small_files;
    struct store *s = open_store();
    append_each(open_journal_with(s, "t", ten_each), 25, 60);
    store_close(s);
    CHECK_EQ(rename("data/topics/t", "elsewhere"), 0);
    for (int i = 0; i < 2; i++) {
        CHECK_EQ(symlink(leads_to[i], "data/topics/t"), 0);
        s = open_store();
        CHECK(journal_open(s, SLICE("t"), &o, &j) < 0);
        store_close(s);
        CHECK_EQ(unlink("data/topics/t"), 0);
    }
    CHECK_EQ(symlink("../../elsewhere", "data/topics/t"), 0);
    s = open_store();
    CHECK_EQ(open_journal_with(s, "t", ten_each)->marks.tail, 25);
    store_close(s);
}
