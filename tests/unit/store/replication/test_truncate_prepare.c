/* Truncations in the middle of files so large that the disk thread prepares them. */
#include "unit/truncations.h"
#include "command/verify.h"

#include <fcntl.h>
#include <sys/wait.h>

enum { SIZE = 1000 * KIB, COUNT = 70 };

static const struct journal_options one_file = {
    .segment_messages = 1000 * 1000, .segment_bytes = 1024 * MIB, .durability = DURABILITY_COMMIT,
};

/* One file of 70 batches. */
static struct journal *large_topic(struct store *s, const char *name)
{
    struct journal *j = open_journal_with(s, name, one_file);
    for (int i = 0; i < COUNT; i++) {
        append_some(j, 1, SIZE);
        store_flush(s);
    }
    settle_store(s);
    return j;
}

static unsigned turns;

/* Asks until the truncation is done, in turns as the loop makes. */
static int truncate_in_turns(struct journal *j, uint64_t to)
{
    uint64_t messages = 0;
    int rc;
    for (turns = 0; (rc = journal_truncate(j, to, &messages)) == -ERR_BUSY && turns < 1000; turns++) {
        CHECK_EQ(j->marks.tail, COUNT);
        store_sync(j->store);
        worker_wait(j->store->disk.worker);
    }
    worker_wait(j->store->disk.worker);
    if (rc == 0)
        CHECK_EQ(messages, COUNT - to);
    return rc;
}

TEST(test_a_large_truncation_may_be_asked_for_at_any_time)
{
    skip_syncs();
    struct store *s = open_store();
    struct journal *j = large_topic(s, "t");
    uint64_t messages = 0;
    unsigned asked = 0;
    while (journal_truncate(j, 40, &messages) == -ERR_BUSY) {
        store_collect(s);
        store_sync(s);
        asked++;
    }
    CHECK(asked > 20);
    CHECK_EQ(messages, 30);
    check_reads_all(j);
    store_close(s);
}

static size_t written_by_loop;

static ssize_t counting_pwrite(int fd, const void *p, size_t n, off_t at)
{
    written_by_loop += gettid() == getpid() ? n : 0;
    return pwrite(fd, p, n, at);
}

TEST(test_a_large_file_is_truncated_after_work_on_the_disk_thread)
{
    skip_syncs();
    static const uint64_t cuts[] = {66, 40, 1, COUNT - 1};
    for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++) {
        uint64_t to = cuts[i];
        struct store *s = open_store();
        struct journal *j = large_topic(s, "t");
        written_by_loop = 0;
        io.pwrite = counting_pwrite;
        CHECK_EQ(truncate_in_turns(j, to), 0);
        io.pwrite = pwrite;
        CHECK(turns >= 10);                    /* in steps */
        CHECK(written_by_loop < 1 * KIB);
        CHECK_EQ(j->marks.tail, to);
        CHECK_EQ(j->marks.disk, to);
        CHECK_EQ(j->parts.dir.jobs, 0);
        check_reads_all(j);
        append_some(j, 2, 100);
        settle_store(s);
        check_reads_all(j);
        store_close(s);
        CHECK_EQ(data_verify("data"), 0);
        struct path kept = diverged_name(to);
        CHECK(!strstr(kept.s, ".part"));
        CHECK_EQ(run(path_of("mkdir -p copy/torn copy/trash copy/diverged copy/topics; cp data/state copy; mv %s "
                             "copy/topics/t", kept.s).s), 0);
        s = open_store_with((struct store_options){.path = "copy", .files_max = 8});
        j = open_journal_with(s, "t", one_file);
        CHECK_EQ(journal_first(j), to);
        CHECK_EQ(j->marks.tail, COUNT);
        check_reads_all(j);
        abandon_store(s);
        CHECK_EQ(run("rm -r data copy"), 0);
    }
}

/* -- the file becomes shorter -------------------------------------------------------------------------------------- */

static unsigned steps_left;

static int truncate_until_killed(int fd, off_t size)
{
    if (steps_left-- == 0)
        _exit(0);
    return ftruncate(fd, size);
}

static void truncate_and_be_killed(unsigned steps)
{
    struct store *s = open_store();
    struct journal *j = large_topic(s, "t");
    steps_left = steps;
    io.truncate = truncate_until_killed;
    truncate_in_turns(j, 30);
    _exit(1);
}

/* The next start finds all messages that are to stay, and those of the rest that were not cut off yet. */
TEST(test_a_kill_between_the_steps_that_shorten_a_file_leaves_a_history)
{
    skip_syncs();
    uint64_t before = COUNT + 1;
    for (unsigned steps = 0; steps < 10; steps += 3) {
        pid_t child = unit_fork();
        if (child == 0)
            truncate_and_be_killed(steps);
        int status;
        CHECK_EQ(waitpid(child, &status, 0), child);
        CHECK_EQ(status, 0);
        struct store *s = open_store();
        struct journal *j = open_journal_with(s, "t", one_file);
        uint64_t left = j->marks.tail;
        CHECK(left > 30);
        CHECK(left < before);
        CHECK_EQ(j->damage.count, 0);
        check_reads_all(j);
        before = left;
        CHECK_EQ(IN_TURNS(s, journal_truncate(j, 30, &(uint64_t){0})), 0);
        CHECK_EQ(IN_TURNS(s, try_append(j, 1, 10, 1000)), 0);
        settle_store(s);
        check_reads_all(j);
        store_close(s);
        CHECK_EQ(data_verify("data"), 0);
        CHECK_EQ(run("rm -r data"), 0);
    }
}

/* Truncated batches would follow what is appended. */
TEST(test_nothing_is_appended_while_a_file_is_shortened)
{
    skip_syncs();
    for (int end = 0; end < 3; end++) {
        struct store *s = open_store();
        struct journal *j = large_topic(s, "t");
        CHECK_EQ(IN_TURNS(s, journal_truncate(j, 1, &(uint64_t){0})), 0);
        CHECK(journal_shortening(j));
        CHECK_EQ(j->marks.tail, 1);
        CHECK_EQ(try_append(j, 1, 10, 1000), -ERR_BUSY);
        CHECK_EQ(journal_truncate(j, 0, &(uint64_t){0}), -ERR_BUSY);
        CHECK_EQ(journal_restart(j, 7, true), -ERR_BUSY);
        check_reads_all(j);
        if (end == 1)
            journal_delete(j);
        if (end == 2)
            CHECK_EQ(IN_TURNS(s, try_append(j, 1, 10, 1000)), 0);
        store_close(s);
        CHECK_EQ(data_verify("data"), 0);
        CHECK_EQ(run("rm -r data"), 0);
    }
}

TEST(test_a_truncation_at_the_end_of_a_large_sealed_file_is_prepared_too)
{
    skip_syncs();
    struct store *s = open_store();
    struct journal *j = large_topic(s, "t");
    struct journal_options o = one_file;
    o.id = j->parts.dir.id;
    o.segment_messages = COUNT;
    journal_set_options(j, &o);
    append_some(j, 3, 10);
    settle_store(s);
    CHECK_EQ(j->parts.count, 2);
    uint64_t messages;
    CHECK_EQ(journal_truncate(j, COUNT, &messages), -ERR_BUSY);
    for (unsigned i = 0; i < 100 && journal_truncate(j, COUNT, &messages) == -ERR_BUSY; i++) {
        store_sync(s);
        worker_wait(s->disk.worker);
    }
    CHECK_EQ(j->marks.tail, COUNT);
    CHECK_EQ(j->parts.count, 1);
    CHECK_EQ(messages, 3);
    append_some(j, 1, 10);
    settle_store(s);
    check_reads_all(j);
    store_close(s);
    CHECK_EQ(data_verify("data"), 0);
}

/* The copy that was prepared for a truncation is removed when that is not asked for any more, or another one is. */
TEST(test_the_copy_of_a_void_preparation_is_removed)
{
    skip_syncs();
    for (int way = 0; way < 6; way++)
        for (int steps = 0; steps < 30; steps += 7) {
            struct store *s = open_store();
            struct journal *j = large_topic(s, "t");
            uint64_t messages;
            CHECK_EQ(journal_truncate(j, 60, &messages), -ERR_BUSY);
            for (int i = 0; i < steps; i++) {
                store_sync(s);
                worker_wait(s->disk.worker);
            }
            store_sync(s);                     /* one may be under way */
            if (way == 0)
                append_some(j, 1, 10);
            else if (way == 1)
                CHECK_EQ(restart_now(j, 500, false), 0);
            else if (way == 2)
                journal_delete(j);
            else if (way == 3)
                journal_close(j);
            else if (way == 4)
                CHECK_EQ(journal_truncate(j, 3, &messages), -ERR_BUSY);
            else
                CHECK_EQ(journal_truncate(j, 71, &messages), -ERR_BAD_RANGE);
            worker_wait(s->disk.worker);
            if (way < 4)
                CHECK(nothing_kept());
            if (way == 0) {
                settle_store(s);
                CHECK_EQ(journal_truncate(j, COUNT, &messages), -ERR_BUSY);
                check_reads_all(j);
            } else if (way > 3) {
                CHECK_EQ(truncate_in_turns(j, 3), 0);
                CHECK_EQ(run("ls data/diverged | wc -l | grep -q '^1$'"), 0);
                check_reads_all(j);
            }
            store_close(s);
            CHECK_EQ(run("ls data/diverged | grep part"), 256);
            CHECK_EQ(run("rm -r data"), 0);
        }
}

static int rename_refused(const char *from, const char *to)
{
    return strstr(from, "/diverged/") ? (errno = EXDEV, -1) : rename(from, to);
}

/* However often a node is killed, the copies that it has begun do not fill the disk. */
static void check_unfinished_copy_is_removed(void)
{
    pid_t child = unit_fork();
    if (child == 0) {
        struct store *s = open_store();
        struct journal *j = large_topic(s, "t");
        uint64_t messages;
        CHECK_EQ(journal_truncate(j, 3, &messages), -ERR_BUSY);
        for (int i = 0; i < 5; i++) {
            store_sync(s);
            worker_wait(s->disk.worker);
        }
        _exit(0);
    }
    int status;
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK_EQ(run("ls -d data/diverged/t-3-*.part >/dev/null"), 0);
    CHECK_EQ(run("mkdir data/diverged/t-60-1 data/diverged/mine.part"), 0);
    struct store *s = open_store();
    struct journal *j = open_journal_with(s, "t", one_file);
    CHECK_EQ(j->marks.tail, COUNT);
    check_reads_all(j);
    store_close(s);
    CHECK_EQ(run("ls data/diverged | tr '\\n' ' ' | grep -qx 'mine.part t-60-1 '"), 0);
    CHECK_EQ(run("ls data/trash | grep -q ."), 256);
    CHECK_EQ(run("rm -r data"), 0);
}

TEST(test_a_copy_that_a_kill_left_unfinished_is_removed_by_the_next_start)
{
    skip_syncs();
    check_unfinished_copy_is_removed();
    io.rename = rename_refused;
    check_unfinished_copy_is_removed();
}

static ssize_t pwrite_no_space(int fd, const void *p, size_t n, off_t at)
{
    return gettid() == getpid() ? pwrite(fd, p, n, at) : (errno = ENOSPC, -1);
}

TEST(test_a_large_truncation_that_cannot_be_copied_changes_nothing)
{
    skip_syncs();
    struct store *s = open_store();
    struct journal *j = large_topic(s, "t");
    uint64_t messages;
    io.pwrite = pwrite_no_space;
    CHECK_EQ(journal_truncate(j, 50, &messages), -ERR_BUSY);
    for (int i = 0; i < 30; i++) {
        store_sync(s);
        worker_wait(s->disk.worker);
    }
    CHECK(nothing_kept());                     /* the copies are removed at once, so that they do not fill the disk */
    CHECK_EQ(journal_truncate(j, 50, &messages), -ENOSPC);
    CHECK_EQ(truncate_in_turns(j, 50), -ENOSPC);
    io.pwrite = pwrite;
    CHECK(nothing_kept());
    CHECK_EQ(j->marks.tail, COUNT);
    CHECK_EQ(truncate_in_turns(j, 50), 0);
    check_reads_all(j);
    store_close(s);
}

TEST(test_a_large_truncation_without_a_descriptor_changes_nothing)
{
    skip_syncs();
    struct store *s = open_store();
    struct journal *j = large_topic(s, "t");
    uint64_t messages;
    for (int left = 0; left < 6; left++) {
        take_descriptors();
        for (int fd = 150; fd < 150 + left; fd++)
            close(fd);
        int rc = journal_truncate(j, 50 - (uint64_t)left, &messages);
        CHECK(rc == -EMFILE || (rc == -ERR_BUSY && left > 0));
        if (rc == -EMFILE)
            CHECK(nothing_kept());
        give_descriptors();
    }
    CHECK_EQ(truncate_in_turns(j, 44), 0);
    check_reads_all(j);
    store_close(s);
}

TEST(test_damage_below_a_large_truncation_prevents_it)
{
    skip_syncs();
    struct store *s = open_store();
    struct journal *j = large_topic(s, "t");
    change_file(FILE_0, 30 * SIZE, SLICE("\xff\xfe\xfd"));
    CHECK_EQ(truncate_in_turns(j, 50), -ERR_DAMAGED);
    CHECK(nothing_kept());
    CHECK_EQ(s->stats.damaged, 1);
    CHECK_EQ(truncate_in_turns(j, 20), 0);
    CHECK_EQ(s->stats.damaged, 0);
    check_reads_all(j);
    store_close(s);
}

TEST(test_large_truncations_of_two_topics_wait_for_each_other)
{
    skip_syncs();
    struct store *s = open_store();
    struct journal *a = large_topic(s, "a"), *b = large_topic(s, "b");
    uint64_t messages;
    CHECK_EQ(journal_truncate(a, 50, &messages), -ERR_BUSY);
    uint64_t copied = file_size(path_of("%s/%020d.qwal", diverged_name_of("a", 50).s, 50).s);
    for (int i = 0; i < 100; i++)
        CHECK_EQ(journal_truncate(b, 40, &messages), -ERR_BUSY);   /* at once: with no step of the other on the way */
    CHECK_EQ(file_size(path_of("%s/%020d.qwal", diverged_name_of("a", 50).s, 50).s), copied);
    CHECK_EQ(truncate_in_turns(b, 40), 0);          /* once what was begun for a is ready */
    CHECK_EQ(journal_truncate(a, 50, &messages), 0);
    check_reads_all(a);
    check_reads_all(b);
    store_close(s);
}
