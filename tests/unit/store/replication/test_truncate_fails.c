/* Truncations that fail or are killed half-way, and the copies of what they remove. */
#include "unit/killed.h"
#include "unit/truncations.h"
#include "command/verify.h"

static ssize_t pwrite_no_space(int fd, const void *p, size_t n, off_t at)
{
    (void)fd, (void)p, (void)n, (void)at;
    return errno = ENOSPC, -1;
}

TEST(test_a_truncation_that_cannot_be_copied_changes_nothing)
{
    struct journal *j;
    struct store *s = four_files(&j);
    ssize_t (*was)(int, const void *, size_t, off_t) = io.pwrite;
    uint64_t messages = 99;
    io.pwrite = pwrite_no_space;
    CHECK_EQ(truncate_now(j, 14, &messages), -ENOSPC);
    io.pwrite = was;
    CHECK_EQ(messages, 99);
    CHECK_EQ(j->marks.tail, 34);
    CHECK_EQ(rmdir("data/diverged"), 0);       /* nothing is left of it */
    CHECK_EQ(mkdir("data/diverged", 0750), 0);
    append_some(j, 2, 20);
    settle_store(s);
    check_reads_all(j);
    store_close(s);
}

static int unlink_all_but_checkpoints(const char *path)
{
    return strstr(path, "/checkpoint") ? (errno = EACCES, -1) : unlink(path);
}

static int sync_all_but_diverged(int fd)
{
    char path[PATH_SIZE] = "";
    CHECK(readlink(path_of("/proc/self/fd/%d", fd).s, path, sizeof path - 1) > 0);
    return strcmp(strrchr(path, '/'), "/diverged") == 0 ? (errno = EIO, -1) : fsync(fd);
}

/* No file of the journal has a name in diverged/, where appended bytes would appear. */
TEST(test_a_truncation_that_fails_after_the_copy_leaves_no_copy)
{
    struct journal *j;
    struct store *s = four_files(&j);
    struct io was = io;
    uint64_t messages;
    for (int i = 0; i < 2; i++) {
        if (i == 0)
            io.unlink = unlink_all_but_checkpoints;
        else
            io.sync_all = sync_all_but_diverged;
        CHECK_EQ(truncate_now(j, 14, &messages), i == 0 ? -EACCES : -EIO);
        io = was;
        CHECK_EQ(rmdir("data/diverged"), 0);
        CHECK_EQ(mkdir("data/diverged", 0750), 0);
        append_some(j, 2, 20);
        settle_store(s);
        check_reads_all(j);
    }
    store_close(s);
}

TEST(test_a_truncation_without_a_descriptor_changes_nothing)
{
    struct journal *j;
    struct store *s = four_files(&j);
    uint64_t messages;
    for (uint64_t to = 0; to < 34; to += 2) {
        take_descriptors();
        CHECK_EQ(truncate_now(j, to, &messages), -EMFILE);
        CHECK(nothing_kept());
        give_descriptors();
        CHECK_EQ(j->marks.tail, 34);
        check_reads_all(j);
    }
    CHECK_EQ(truncate_now(j, 14, &messages), 0);
    check_is_truncated_at(j, 14);
    store_close(s);
}

static int refusal;

static int link_refused(const char *from, const char *to)
{
    (void)from, (void)to;
    return errno = refusal, -1;
}

TEST(test_where_no_links_can_be_made_there_are_copies)
{
    static const int refusals[] = {EPERM, EXDEV};
    io.link = link_refused;
    for (int i = 0; i < 2; i++) {
        struct journal *j;
        struct store *s = four_files(&j);
        uint64_t messages;
        refusal = refusals[i];
        CHECK_EQ(truncate_now(j, 14, &messages), 0);
        store_close(s);
        CHECK_EQ(data_verify("data"), 0);
        CHECK(exists(path_of("%s/00000000000000000020.qwal", diverged_name(14).s).s));
        CHECK_EQ(run(path_of("cat %s/* | grep -qa 'message 33'", diverged_name(14).s).s), 0);
        CHECK_EQ(run("rm -r data"), 0);
    }
}

/* -- a crash at any point ------------------------------------------------------------------------------------------ */

static uint64_t truncate_to;

static void truncate_there(struct journal *j)
{
    uint64_t messages;
    CHECK_EQ(truncate_now(j, truncate_to, &messages), 0);
}

static void check_truncation_killed_anywhere(uint64_t to)
{
    struct journal *j;
    truncate_to = to;
    store_close(four_files(&j));
    CHECK_EQ(run("mv data base"), 0);
    int calls = 0;
    bool killed = true, seen_old = false, seen_truncated = false;
    for (; killed; calls++) {
        killed = killed_after(calls, truncate_there);
        struct store *s = open_store();
        j = open_journal_with(s, "t", ten_each);
        CHECK_EQ(j->damage.count, 0);
        CHECK(j->marks.tail == 34 || (j->marks.tail % 10 == 0 && j->marks.tail > to) || j->marks.tail == to);
        seen_old = seen_old || j->marks.tail == 34;
        seen_truncated = seen_truncated || j->marks.tail == to;
        check_reads_all(j);
        uint64_t messages, tail = j->marks.tail;
        CHECK_EQ(truncate_now(j, to, &messages), 0);
        CHECK_EQ(messages, tail - to);
        check_is_truncated_at(j, to);
        append_some(j, 3, 10);
        store_close(s);
        CHECK_EQ(data_verify("data"), 0);
        CHECK_EQ(run("ls data/diverged/t-*[0-9]/00000000000000000030.qwal >/dev/null"), 0);   /* nothing is lost */
    }
    CHECK(calls > 10);
    CHECK(seen_old);
    CHECK(seen_truncated);
}

TEST(test_a_truncation_killed_at_any_point_leaves_a_history_without_holes)
{
    check_truncation_killed_anywhere(14);
}

TEST(test_a_truncation_of_everything_killed_at_any_point_leaves_no_holes)
{
    check_truncation_killed_anywhere(0);
}

/* After a killed truncation the journal is appended to, or truncated again. The files that were kept do not change;
 * names of files that the journal still has are removed from among them. */
static void check_kept_is_not_written_to(uint64_t to, bool appends)
{
    struct journal *j;
    truncate_to = to;
    store_close(four_files(&j));
    CHECK_EQ(run("mv data base"), 0);
    bool killed = true, seen_shared = false;
    for (int calls = 0; killed; calls++) {
        uint64_t messages;
        killed = killed_after(calls, truncate_there);
        CHECK_EQ(run("rm -rf kept; cp -r data/diverged kept"), 0);
        seen_shared = seen_shared || run("find data/diverged -type f -links +1 | grep -q .") == 0;
        struct store *s = open_store();
        j = open_journal_with(s, "t", ten_each);
        worker_wait(s->disk.worker);                    /* a copy that was not complete goes by way of trash/ */
        CHECK_EQ(run("find data -type f -links +1 | grep -q ."), 256);
        if (appends || j->marks.tail <= 26)
            append_some(j, 3, 10);
        else
            CHECK_EQ(truncate_now(j, 26, &messages), 0);
        uint64_t tail = j->marks.tail;
        store_close(s);
        CHECK_EQ(run("diff -rq kept data/diverged | grep -q differ"), 256);
        CHECK_EQ(run("test `grep -aohr 'message [0-9]* ' data/topics data/diverged | awk '$2 < 34' | sort -u | wc -l`"
                     " = 34"), 0);
        CHECK(tail > to);
    }
    CHECK(seen_shared);
    CHECK_EQ(run("rm -r base data"), 0);
}

TEST(test_what_a_killed_truncation_has_kept_is_not_written_to)
{
    for (int appends = 0; appends < 2; appends++) {
        check_kept_is_not_written_to(14, appends);
        check_kept_is_not_written_to(0, appends);
    }
}

/* A large file that is removed as a whole is not copied, because everything would wait for that. */
TEST(test_files_that_go_whole_are_kept_under_a_second_name)
{
    struct journal *j;
    struct store *s = four_files(&j);
    slice was = file_bytes(30, FILE_ACTIVE), first = file_bytes(0, FILE_SEALED);
    uint64_t messages;
    CHECK_EQ(run("ls -i data/topics/t/*30.qwal | cut -d' ' -f1 > inodes; ls -i data/topics/t/*00.log | cut -d' ' -f1 "
                 ">> inodes"), 0);
    CHECK_EQ(truncate_now(j, 0, &messages), 0);
    append_some(j, 40, 20);                          /* and is not written to any more */
    store_close(s);
    struct path dir = diverged_name(0);
    CHECK_SLICE(read_whole(path_of("%s/00000000000000000030.qwal", dir.s).s), was);
    CHECK_SLICE(read_whole(path_of("%s/00000000000000000000.log", dir.s).s), first);
    CHECK_EQ(run(path_of("ls -i %s/*30.qwal %s/*00.log | sed 's/^ *//' | cut -d' ' -f1 | sort > kept; sort inodes | "
                         "cmp - kept", dir.s, dir.s).s), 0);
    CHECK_EQ(data_verify("data"), 0);
}

/* -- journal_restart ----------------------------------------------------------------------------------------------- */

TEST(test_a_journal_begins_again_where_it_is_told)
{
    for (int keep = 0; keep < 2; keep++) {
        struct journal *j;
        struct store *s = four_files(&j);
        append_some(j, 1, 10);                 /* not even written */
        CHECK_EQ(restart_now(j, 500, keep), 0);
        CHECK_EQ(journal_first(j), 500);
        CHECK_EQ(j->marks.tail, 500);
        CHECK_EQ(j->marks.disk, 500);
        CHECK_EQ(j->marks.epoch, 0);
        abandon_store(s);
        s = open_store();
        j = open_journal_with(s, "t", ten_each);
        CHECK_EQ(j->marks.tail, 500);
        CHECK_EQ(j->damage.count, 0);
        append_some(j, 2, 10);
        settle_store(s);
        CHECK_EQ(journal_first(j), 500);
        check_reads_all(j);
        store_close(s);
        CHECK_EQ(data_verify("data"), 0);
        CHECK_EQ(run("ls data/trash | wc -l | grep -q '^0$'"), 0);
        CHECK_EQ(run("ls data/diverged | grep -q '^t-500-'"), keep ? 0 : 256);
        CHECK_EQ(run("rm -r data"), 0);
    }
}

static int rename_within_a_filesystem(const char *from, const char *to)
{
    if (strstr(from, "data/topics") && strstr(to, "data/diverged"))
        return errno = EXDEV, -1;
    return rename(from, to);
}

TEST(test_what_goes_to_diverged_on_another_filesystem_is_copied)
{
    struct journal *j;
    struct store *s = four_files(&j);
    slice was = file_bytes(30, FILE_ACTIVE);
    io.rename = rename_within_a_filesystem;
    CHECK_EQ(restart_now(j, 500, true), 0);
    CHECK_EQ(journal_first(j), 500);
    CHECK_EQ(run("mkdir data/topics/u; echo whatever > data/topics/u/file"), 0);
    CHECK_EQ(store_set_aside(s, SLICE("u")), 0);
    store_close(s);
    CHECK_SLICE(read_whole(path_of("%s/00000000000000000030.qwal", diverged_name(500).s).s), was);
    CHECK_EQ(run("ls data/diverged/t-500-*/*.log | wc -l | grep -q '^3$'"), 0);
    CHECK_EQ(run("grep -q whatever data/diverged/u-*/file"), 0);
    CHECK(!exists("data/topics/u"));
    CHECK_EQ(run("ls data/trash | wc -l | grep -q '^0$'"), 0);
    CHECK_EQ(data_verify("data"), 0);
}

static int copied_by_the_loop;

static ssize_t pwrite_seen(int fd, const void *p, size_t n, off_t at)
{
    char link[64], path[256];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, sizeof path - 1);
    path[size < 0 ? 0 : size] = '\0';
    copied_by_the_loop += strstr(path, "/diverged/") != NULL && gettid() == getpid();
    return pwrite(fd, p, n, at);
}

TEST(test_the_loop_does_not_copy_to_another_filesystem_itself)
{
    struct journal *j;
    struct store *s = four_files(&j);
    io.rename = rename_within_a_filesystem;
    io.pwrite = pwrite_seen;
    CHECK_EQ(journal_restart(j, 500, true), -ERR_BUSY);
    CHECK_EQ(j->marks.tail, 34);
    check_reads_all(j);
    append_some(j, 1, 20);             /* makes the copy void */
    CHECK_EQ(restart_now(j, 500, true), 0);
    CHECK_EQ(copied_by_the_loop, 0);
    store_close(s);
    CHECK_EQ(run("ls data/diverged | wc -l | grep -q '^1$'"), 0);
    CHECK_EQ(data_verify("data"), 0);
    CHECK_EQ(run("grep -q . data/diverged/t-500-*/*30.qwal"), 0);
}

TEST(test_what_cannot_be_copied_to_another_filesystem_stays)
{
    struct journal *j;
    struct store *s = four_files(&j);
    struct io was = io;
    io.rename = rename_within_a_filesystem;
    io.pwrite = pwrite_no_space;
    CHECK_EQ(restart_now(j, 500, true), -ENOSPC);
    io = was;
    CHECK_EQ(rmdir("data/diverged"), 0);
    CHECK_EQ(mkdir("data/diverged", 0750), 0);
    CHECK_EQ(j->marks.tail, 34);
    append_some(j, 2, 20);
    settle_store(s);
    check_reads_all(j);
    store_close(s);
}

static int rename_only_whole(const char *from, const char *to)
{
    return strstr(from, ".new") ? (errno = EIO, -1) : rename(from, to);
}

static int rename_no_birth(const char *from, const char *to)
{
    return strstr(from, ".new") ? (errno = EIO, -1) : rename_within_a_filesystem(from, to);
}

TEST(test_a_restart_that_cannot_be_completed_is_undone_across_filesystems_too)
{
    for (int copied = 0; copied < 2; copied++)
        for (int keep = 0; keep < 2; keep++) {
            struct journal *j;
            struct store *s = four_files(&j);
            struct io was = io;
            io.rename = rename_no_birth;
            if (!copied)
                io.rename = rename_only_whole;
            CHECK_EQ(restart_now(j, 500, keep), -EIO);
            io = was;
            CHECK(nothing_kept());
            append_some(j, 2, 20);
            settle_store(s);
            check_reads_all(j);
            CHECK_EQ(j->marks.tail, 36);
            store_close(s);
            CHECK_EQ(data_verify("data"), 0);
            CHECK_EQ(run("rm -r data"), 0);
        }
}

static ssize_t pwrite_nearly_full(int fd, const void *p, size_t n, off_t at)
{
    if (gettid() != getpid() || at > 1000)
        return errno = ENOSPC, -1;
    return pwrite(fd, p, n > 100 ? 100 : n, at);
}

TEST(test_a_copy_that_is_written_in_part_says_that_there_is_no_space)
{
    struct journal *j;
    struct store *s = four_files(&j);
    struct io was = io;
    uint64_t messages;
    io.link = link_refused;
    refusal = EXDEV;
    io.pwrite = pwrite_nearly_full;
    CHECK_EQ(truncate_now(j, 14, &messages), -ENOSPC);
    io = was;
    CHECK(nothing_kept());
    check_reads_all(j);
    store_close(s);
}

static void restart_at_500(struct journal *j)
{
    CHECK_EQ(restart_now(j, 500, true), 0);
}

TEST(test_a_restart_killed_at_any_point_leaves_all_or_nothing)
{
    struct journal *j;
    store_close(four_files(&j));
    CHECK_EQ(run("mv data base"), 0);
    bool killed = true;
    for (int calls = 0; killed; calls++) {
        killed = killed_after(calls, restart_at_500);
        struct store *s = open_store();
        j = open_journal_with(s, "t", ten_each);
        CHECK_EQ(j->damage.count, 0);
        CHECK(j->marks.tail == 34 || j->marks.tail == 0 || j->marks.tail == 500);
        check_reads_all(j);
        store_close(s);
    }
}
