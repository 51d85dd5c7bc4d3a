#include "journals.h"

#include <fcntl.h>
#include <sys/wait.h>

static const struct journal_options ten_each = {
    .id = {1, 5}, .segment_messages = 10, .segment_bytes = 1 * MIB, .durability = DURABILITY_COMMIT,
};

/* 17 batches of two messages: files [0,10), [10,20), [20,30), and the active one with [30,34). */
static struct store *four_files(struct journal **j)
{
    struct store *s = open_store();
    *j = open_journal_with(s, "t", ten_each);
    for (int i = 0; i < 17; i++) {
        (*j)->epoch = 1 + (uint64_t)i / 4;
        CHECK_EQ(try_append(*j, 2, 60, 1000 + i), 0);
    }
    settle_store(s);
    return s;
}

static slice file_bytes(uint64_t first, enum file_kind kind)
{
    return read_whole(path_of("data/topics/t/%020" PRIu64 "%s", first, file_suffix[kind]).s);
}

static struct path diverged_name(uint64_t offset)
{
    FILE *p = popen(path_of("ls -d data/diverged/t-%" PRIu64 "-*", offset).s, "r");
    struct path path = {""};
    CHECK(p && fgets(path.s, sizeof path.s, p) != NULL);
    path.s[strcspn(path.s, "\n")] = 0;
    pclose(p);
    return path;
}

/* What a topic of the same history that never was longer would be. */
static void check_is_cut_at(struct journal *j, uint64_t to)
{
    CHECK_EQ(j->tail, to);
    CHECK_EQ(j->written, to);
    CHECK_EQ(j->disk, to);
    CHECK(j->stated <= to);
    CHECK_EQ(j->epoch, to ? 1 + (to / 2 - 1) / 4 : 0);
    CHECK_EQ(j->time_ms, to ? 1000 + (int64_t)to / 2 - 1 : 0);
    CHECK_EQ(j->parts_count, to ? (to + 9) / 10 : 1);
    CHECK(j->active != NULL);
    CHECK_EQ(j->active->first, to ? (to - 1) / 10 * 10 : 0);
    struct batch_head head;
    CHECK_EQ(journal_batch_before(j, to, &head), to ? 0 : -ERR_BAD_RANGE);
    check_reads_all(j);
}

/* Grows again and is the same, byte for byte, as what was there before. */
static void check_grows_again(struct journal *j, const slice before[4])
{
    for (uint64_t i = j->tail / 2; i < 17; i++) {
        j->epoch = 1 + i / 4;
        uint64_t disk = j->disk;
        j->disk = 0;                           /* as in the batches that were appended before a sync */
        CHECK_EQ(try_append(j, 2, 60, 1000 + (int64_t)i), 0);
        j->disk = disk;
    }
    settle_store(j->store);
    check_reads_all(j);
    for (uint64_t i = 0; i < 4; i++) {
        slice now = file_bytes(i * 10, i < 3 ? FILE_SEALED : FILE_ACTIVE), was = before[i];
        if (i == 3)
            now.n = was.n = j->active->written;
        CHECK_SLICE(now, was);
    }
}

TEST(test_a_cut_journal_is_as_if_it_had_never_been_longer)
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
            CHECK_EQ(journal_cut(j, to, &messages), 0);
            CHECK_EQ(messages, 34 - to);
            if (restart == 1)
                store_close(s);
            else if (restart == 2)
                abandon_store(s);
            if (restart) {
                s = open_store();
                j = open_journal_with(s, "t", ten_each);
                CHECK_EQ(j->damage_count, 0);
            }
            check_is_cut_at(j, to);
            check_grows_again(j, before);
            store_close(s);
            CHECK_EQ(store_verify("data"), 0);
            CHECK_EQ(run("rm -r data"), 0);
        }
}

TEST(test_a_cut_is_refused_inside_a_batch_and_outside_the_journal)
{
    struct journal *j;
    struct store *s = four_files(&j);
    uint64_t messages = 99;
    for (uint64_t to = 1; to < 34; to += 2)
        CHECK_EQ(journal_cut(j, to, &messages), -ERR_BAD_RANGE);
    CHECK_EQ(journal_cut(j, 35, &messages), -ERR_BAD_RANGE);
    CHECK_EQ(journal_trim(j, &(struct retain){.messages = 20}, 0), 1);
    CHECK_EQ(journal_cut(j, 8, &messages), -ERR_BAD_RANGE);
    CHECK_EQ(messages, 99);
    CHECK_EQ(j->tail, 34);
    check_reads_all(j);
    CHECK_EQ(journal_cut(j, 10, &messages), 0);          /* all that is left, and the first offset stays */
    CHECK_EQ(journal_first(j), 10);
    CHECK_EQ(j->tail, 10);
    abandon_store(s);
    s = open_store();
    j = open_journal_with(s, "t", ten_each);
    CHECK_EQ(journal_first(j), 10);
    CHECK_EQ(j->tail, 10);
    append_some(j, 1, 20);
    settle_store(s);
    check_reads_all(j);
    CHECK_EQ(rmdir("data/diverged"), -1);
    store_close(s);
}

/* Index entries and readers' hints of what was cut lead nobody to where other batches begin now. */
TEST(test_nothing_remembers_where_cut_batches_began)
{
    skip_syncs();
    for (int restart = 0; restart < 2; restart++) {
        struct store *s = open_store();
        struct journal *j = open_journal(s, "t");
        for (int i = 0; i < 60; i++)
            append_some(j, 1, 10 * KIB);
        settle_store(s);
        if (restart) {
            store_close(s);
            s = open_store();
            j = open_journal(s, "t");
        }
        for (uint64_t to = 56; to <= 60; to++)
            CHECK_EQ(read_all_of(j, 0, to), (int64_t)to);
        uint64_t messages;
        CHECK_EQ(journal_cut(j, 20, &messages), 0);
        for (int i = 0; i < 60; i++)
            append_some(j, 1, 7 * KIB);
        settle_store(s);
        for (uint64_t from = 61; from-- > 0;)
            CHECK_EQ(read_all_of(j, from, from + 1), (int64_t)from + 1);
        CHECK_EQ(read_all_of(j, 60, 80), 80);
        CHECK(!j->active->scanned);            /* nothing had to be looked for */
        store_close(s);
        CHECK_EQ(run("rm -r data"), 0);
    }
}

/* A copy of what was cut that reads like a topic. */
TEST(test_what_is_cut_is_kept_as_valid_files)
{
    struct journal *j;
    struct store *s = four_files(&j);
    slice sealed = file_bytes(20, FILE_SEALED);
    uint64_t messages;
    CHECK_EQ(journal_cut(j, 14, &messages), 0);
    store_close(s);
    struct path kept = diverged_name(14);
    CHECK_EQ(store_dump("data", slice_from(kept.s + strlen("data/")), 0, UINT64_MAX), 0);
    CHECK_EQ(store_dump("data", SLICE("diverged/../topics/t"), 0, UINT64_MAX), EXIT_DATA);
    CHECK_SLICE(unit_read_file(path_of("%s/00000000000000000020.log", kept.s).s), sealed);
    CHECK_EQ(run(path_of("mkdir -p copy/torn copy/trash copy/diverged; cp data/state copy; "
                         "mkdir copy/topics; cp -r %s copy/topics/t", kept.s).s), 0);
    s = open_store_with((struct store_options){.path = "copy", .files_max = 8});
    j = open_journal_with(s, "t", ten_each);
    CHECK_EQ(j->damage_count, 0);
    CHECK_EQ(journal_first(j), 14);
    CHECK_EQ(j->tail, 34);
    check_reads_all(j);
    abandon_store(s);
}

TEST(test_a_cut_waits_for_the_disk_thread)
{
    skip_syncs();
    for (int i = 0; i < 60; i++) {
        struct store *s = open_store();
        struct journal_options o = ten_each;
        o.segment_messages = 1000;
        o.segment_bytes = 200 * KIB;
        struct journal *j = open_journal_with(s, "t", o);
        for (int k = 0; k < 10 + i; k++) {     /* files are being sealed, a spare made, a round is under way */
            append_some(j, 1, 10 * KIB);
            store_flush(s);
            store_sync(s);
        }
        append_some(j, 1, 10);
        uint64_t messages, to = (uint64_t)(i * 7 % 10);
        CHECK_EQ(journal_cut(j, to, &messages), 0);
        CHECK_EQ(j->tail, to);
        CHECK_EQ(j->disk, to);
        CHECK_EQ(j->jobs, 0);
        append_some(j, 1, 10);
        settle_store(s);
        CHECK_EQ(j->disk, to + 1);
        check_reads_all(j);
        store_close(s);
        CHECK_EQ(run("rm -r data"), 0);
    }
}

TEST(test_a_checkpoint_claims_no_more_than_a_cut_left)
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
    CHECK_EQ(journal_cut(j, 14, &messages), 0);
    CHECK_EQ(checkpoint_load("data/topics/t/checkpoint", &c), 0);
    CHECK_EQ(c.disk, 14);
    CHECK_EQ(c.next, 14);
    CHECK_EQ(c.first, 10);
    abandon_store(s);
    change_file("data/topics/t/00000000000000000010.qwal", c.position, SLICE("half of a batch"));
    s = open_store();
    j = open_journal_with(s, "t", ten_each);
    CHECK_EQ(j->tail, 14);                     /* torn, and no damage */
    CHECK_EQ(j->damage_count, 0);
    store_close(s);
}

TEST(test_damage_above_a_cut_goes_with_it_and_below_it_refuses_the_cut)
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
    CHECK_EQ(journal_cut(j, 18, &messages), -ERR_DAMAGED);
    CHECK_EQ(journal_cut(j, 20, &messages), -ERR_DAMAGED);
    CHECK_EQ(j->tail, 34);
    CHECK_EQ(journal_cut(j, 26, &messages), 0);
    CHECK_EQ(s->stats.damaged, 1);
    CHECK_EQ(journal_cut(j, 16, &messages), 0);
    CHECK_EQ(s->stats.damaged, 0);
    CHECK_EQ(j->damage_count, 0);
    check_reads_all(j);
    append_some(j, 1, 10);
    store_close(s);
    CHECK_EQ(store_verify("data"), 0);
}

static ssize_t pwrite_no_space(int fd, const void *p, size_t n, off_t at)
{
    (void)fd, (void)p, (void)n, (void)at;
    return errno = ENOSPC, -1;
}

TEST(test_a_cut_that_cannot_be_copied_changes_nothing)
{
    struct journal *j;
    struct store *s = four_files(&j);
    ssize_t (*was)(int, const void *, size_t, off_t) = io.pwrite;
    uint64_t messages = 99;
    io.pwrite = pwrite_no_space;
    CHECK_EQ(journal_cut(j, 14, &messages), -ENOSPC);
    io.pwrite = was;
    CHECK_EQ(messages, 99);
    CHECK_EQ(j->tail, 34);
    CHECK_EQ(rmdir("data/diverged"), 0);       /* nothing is left of it */
    CHECK_EQ(mkdir("data/diverged", 0750), 0);
    append_some(j, 2, 20);
    settle_store(s);
    check_reads_all(j);
    store_close(s);
}

static int link_refused(const char *from, const char *to)
{
    (void)from, (void)to;
    return errno = EPERM, -1;
}

TEST(test_a_filesystem_without_links_gets_copies)
{
    io.link = link_refused;
    struct journal *j;
    struct store *s = four_files(&j);
    uint64_t messages;
    CHECK_EQ(journal_cut(j, 14, &messages), 0);
    store_close(s);
    CHECK_EQ(store_verify("data"), 0);
    CHECK(exists(path_of("%s/00000000000000000020.qwal", diverged_name(14).s).s));
}

/* -- a crash at any point --------------------------------------------------------------------------------- */

static struct io real;
static int calls_left;

/* kill -9 just before the call that changes the disk. */
static void count_down(void)
{
    if (calls_left-- == 0)
        _exit(99);
}

static int counted_open(const char *path, int flags, mode_t mode)
{
    if (flags & (O_CREAT | O_TRUNC))
        count_down();
    return real.open(path, flags, mode);
}

static ssize_t counted_pwrite(int fd, const void *p, size_t n, off_t at)
{
    count_down();
    return real.pwrite(fd, p, n, at);
}

static int counted_truncate(int fd, off_t size)
{
    count_down();
    return real.truncate(fd, size);
}

static int counted_rename(const char *from, const char *to)
{
    count_down();
    return real.rename(from, to);
}

static int counted_link(const char *from, const char *to)
{
    count_down();
    return real.link(from, to);
}

static int counted_unlink(const char *path)
{
    count_down();
    return real.unlink(path);
}

static int counted_mkdir(const char *path, mode_t mode)
{
    count_down();
    return real.mkdir(path, mode);
}

static void count_calls(int most)
{
    calls_left = most;
    real = io;
    io.open = counted_open;
    io.pwrite = counted_pwrite;
    io.truncate = counted_truncate;
    io.rename = counted_rename;
    io.link = counted_link;
    io.unlink = counted_unlink;
    io.mkdir = counted_mkdir;
}

/* Opens the base of the test and does this after n calls; false once it came to its end. */
static bool killed_after(int calls, void (*act)(struct journal *j))
{
    CHECK_EQ(run("rm -rf data; cp -a base data"), 0);
    pid_t child = unit_fork();
    if (child == 0) {
        struct store *s = open_store();
        struct journal *j = open_journal_with(s, "t", ten_each);
        count_calls(calls);
        act(j);
        io = real;
        _exit(0);
    }
    int status;
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 99 || WEXITSTATUS(status) == 0);
    return WEXITSTATUS(status) == 99;
}

static uint64_t cut_to;

static void cut_there(struct journal *j)
{
    uint64_t messages;
    CHECK_EQ(journal_cut(j, cut_to, &messages), 0);
}

static void check_cut_killed_anywhere(uint64_t to)
{
    struct journal *j;
    cut_to = to;
    store_close(four_files(&j));
    CHECK_EQ(run("mv data base"), 0);
    int calls = 0;
    bool killed = true, seen_old = false, seen_cut = false;
    for (; killed; calls++) {
        killed = killed_after(calls, cut_there);
        struct store *s = open_store();
        j = open_journal_with(s, "t", ten_each);
        CHECK_EQ(j->damage_count, 0);
        CHECK(j->tail == 34 || (j->tail % 10 == 0 && j->tail > to) || j->tail == to);
        seen_old = seen_old || j->tail == 34;
        seen_cut = seen_cut || j->tail == to;
        check_reads_all(j);
        uint64_t messages, tail = j->tail;
        CHECK_EQ(journal_cut(j, to, &messages), 0);
        CHECK_EQ(messages, tail - to);
        check_is_cut_at(j, to);
        append_some(j, 3, 10);
        store_close(s);
        CHECK_EQ(store_verify("data"), 0);
        CHECK_EQ(run("ls data/diverged/t-*[0-9]/00000000000000000030.qwal >/dev/null"), 0);   /* nothing is lost */
    }
    CHECK(calls > 10);
    CHECK(seen_old);
    CHECK(seen_cut);
}

TEST(test_a_cut_killed_at_any_point_leaves_a_history_without_holes)
{
    check_cut_killed_anywhere(14);
}

TEST(test_a_cut_of_everything_killed_at_any_point_leaves_a_history_without_holes)
{
    check_cut_killed_anywhere(0);
}

/* A large file that goes whole is not copied: that would hold up everybody for as long as it takes. */
TEST(test_files_that_go_whole_are_kept_under_a_second_name)
{
    struct journal *j;
    struct store *s = four_files(&j);
    slice was = file_bytes(30, FILE_ACTIVE), first = file_bytes(0, FILE_SEALED);
    uint64_t messages;
    CHECK_EQ(run("ls -i data/topics/t/*30.qwal | cut -d' ' -f1 > inodes; ls -i data/topics/t/*00.log | cut -d' ' -f1 "
                 ">> inodes"), 0);
    CHECK_EQ(journal_cut(j, 0, &messages), 0);
    append_some(j, 40, 20);                          /* and is not written to any more */
    store_close(s);
    struct path dir = diverged_name(0);
    CHECK_SLICE(read_whole(path_of("%s/00000000000000000030.qwal", dir.s).s), was);
    CHECK_SLICE(read_whole(path_of("%s/00000000000000000000.log", dir.s).s), first);
    CHECK_EQ(run(path_of("ls -i %s/*30.qwal %s/*00.log | sed 's/^ *//' | cut -d' ' -f1 | sort > kept; sort inodes | "
                         "cmp - kept", dir.s, dir.s).s), 0);
    CHECK_EQ(store_verify("data"), 0);
}

/* -- beginning again -------------------------------------------------------------------------------------- */

TEST(test_a_journal_begins_again_where_it_is_told)
{
    for (int keep = 0; keep < 2; keep++) {
        struct journal *j;
        struct store *s = four_files(&j);
        append_some(j, 1, 10);                 /* not even written */
        CHECK_EQ(journal_restart(j, 500, keep), 0);
        CHECK_EQ(journal_first(j), 500);
        CHECK_EQ(j->tail, 500);
        CHECK_EQ(j->disk, 500);
        CHECK_EQ(j->epoch, 0);
        abandon_store(s);
        s = open_store();
        j = open_journal_with(s, "t", ten_each);
        CHECK_EQ(j->tail, 500);
        CHECK_EQ(j->damage_count, 0);
        append_some(j, 2, 10);
        settle_store(s);
        CHECK_EQ(journal_first(j), 500);
        check_reads_all(j);
        store_close(s);
        CHECK_EQ(store_verify("data"), 0);
        CHECK_EQ(run("ls data/trash | wc -l | grep -q '^0$'"), 0);
        CHECK_EQ(run("ls data/diverged | grep -q '^t-500-'"), keep ? 0 : 256);
        CHECK_EQ(run("rm -r data"), 0);
    }
}

static void restart_at_500(struct journal *j)
{
    CHECK_EQ(journal_restart(j, 500, true), 0);
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
        CHECK_EQ(j->damage_count, 0);
        CHECK(j->tail == 34 || j->tail == 0 || j->tail == 500);
        check_reads_all(j);
        store_close(s);
    }
}
