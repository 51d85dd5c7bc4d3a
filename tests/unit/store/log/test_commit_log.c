#include "store/log/commit_log.h"

#include <fcntl.h>

#include "base/clock.h"
#include "store/format/commit_record.h"
#include "unit/journals.h"

enum { MANY = 12 };

static struct journal *journals[MANY];

static int data_syncs, fs_syncs;

static int count_data(int fd)
{
    __atomic_fetch_add(&data_syncs, 1, __ATOMIC_RELAXED);
    return fdatasync(fd);
}

static int count_fs(int fd)
{
    __atomic_fetch_add(&fs_syncs, 1, __ATOMIC_RELAXED);
    return syncfs(fd);
}

static void count_syncs(void)
{
    io.sync_data = count_data;
    io.sync_fs = count_fs;
    data_syncs = fs_syncs = 0;
}

static const char *name_of(int i)
{
    static char name[16];
    snprintf(name, sizeof name, "t%d", i);
    return name;
}

static const char *file_of(int i)
{
    static char path[64];
    snprintf(path, sizeof path, "data/small/t%d", i);
    if (access(path, F_OK) < 0)
        snprintf(path, sizeof path, "data/topics/t%d/00000000000000000000.qwal", i);
    return path;
}

static void open_journals(struct store *s)
{
    for (int i = 0; i < MANY; i++)
        journals[i] = open_journal(s, name_of(i));
}

static void append_to(struct store *s, int from, int to)
{
    for (int i = from; i < to; i++)
        append_some(journals[i], 1, 100);
    settle_store(s);
}

/* A store whose topics have one message each, in their own files. */
static struct store *store_of_many(void)
{
    struct store *s = open_store_with((struct store_options){.files_max = 64, .commit_log_age_ms = 3600 * 1000});
    open_journals(s);
    append_to(s, 0, MANY);
    return s;
}

/* What a power loss may do to a page that was not synced: the end of the file is as it was at the size given. */
static void lose_end(int i, uint64_t from)
{
    struct stat st;
    static char zeros[64 * KIB];
    int fd = open(file_of(i), O_WRONLY);
    CHECK(fd >= 0 && fstat(fd, &st) == 0);
    CHECK_EQ(pwrite(fd, zeros, (size_t)st.st_size - from, (off_t)from), st.st_size - (off_t)from);
    close(fd);
}

static void retire_all(struct store *s)
{
    commit_log_release(s->log);
    for (int turns = 0; turns < 4; turns++) {
        store_sync(s);
        worker_wait(s->disk.worker);
    }
    CHECK_EQ(commit_log_deadline_ns(s->log), 0);
}

/* Opens it again, and checks that each topic has so many messages, and those that it was given. */
static struct store *reopen(const uint64_t counts[MANY])
{
    struct store *s = open_store();
    open_journals(s);
    for (int i = 0; i < MANY; i++) {
        CHECK_EQ(journals[i]->marks.tail, counts[i]);
        CHECK_EQ(journals[i]->damage.count, 0);
        check_reads_all(journals[i]);
    }
    return s;
}

static size_t files_left(struct store *s, size_t left)
{
    store_write_files(s, &left);
    return left;
}

static const uint64_t two[MANY] = {2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2};

TEST(test_what_many_topics_are_given_is_one_sync)
{
    struct store *s = store_of_many();
    count_syncs();
    append_to(s, 0, MANY);
    CHECK_EQ(data_syncs, 1);
    CHECK_EQ(fs_syncs, 0);
    for (int i = 0; i < MANY; i++)
        CHECK_EQ(journals[i]->marks.disk, 2);
    append_to(s, 0, COMMIT_LOG_MIN - 1);   /* a few: each file by itself */
    CHECK_EQ(data_syncs, 1 + COMMIT_LOG_MIN - 1);
    store_close(s);
    CHECK(!exists("data/commit/0.log"));   /* a directory that was closed in order has no log */
}

TEST(test_new_topics_and_large_batches_go_by_their_own_files)
{
    struct store *s = open_store();
    open_journals(s);
    count_syncs();
    append_to(s, 0, MANY);                 /* new files: their names must be synced */
    CHECK_EQ(fs_syncs, 1);
    CHECK(!exists("data/commit/0.log"));
    append_some(journals[0], 1, 2 * COMMIT_LOGGED_MAX);
    data_syncs = 0;
    append_to(s, 0, MANY);
    CHECK_EQ(data_syncs, 2);               /* the large one's file, and the log */
    CHECK_EQ(fs_syncs, 1);
    store_close(s);
}

TEST(test_a_start_writes_what_the_files_of_topics_lack)
{
    struct store *s = store_of_many();
    uint64_t end = journals[0]->parts.active->written;
    append_to(s, 0, MANY);
    abandon_store(s);
    for (int i = 0; i < MANY; i += 2)
        lose_end(i, end);
    s = reopen(two);
    CHECK(!exists("data/commit/0.log"));
    append_to(s, 0, MANY);
    store_close(s);
}

TEST(test_a_hole_in_the_middle_of_a_file_is_filled)
{
    struct store *s = store_of_many();
    uint64_t end = journals[0]->parts.active->written;
    static char zeros[100];
    append_to(s, 0, MANY);
    append_to(s, 0, MANY);
    abandon_store(s);
    for (int i = 0; i < MANY; i++) {
        int fd = open(file_of(i), O_WRONLY);
        CHECK_EQ(pwrite(fd, zeros, sizeof zeros, (off_t)end + 10), sizeof zeros);
        close(fd);
    }
    s = reopen((uint64_t[MANY]){3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3});
    store_close(s);
}

TEST(test_a_power_loss_while_a_start_replays_changes_nothing)
{
    struct store *s = store_of_many();
    uint64_t end = journals[0]->parts.active->written;
    append_to(s, 0, MANY);
    abandon_store(s);
    CHECK_EQ(system("cp data/commit/0.log kept"), 0);
    lose_end(3, end);
    s = reopen(two);
    abandon_store(s);                      /* the log's file was removed, but the disk does not know yet */
    CHECK_EQ(system("cp kept data/commit/0.log"), 0);
    lose_end(3, end);
    s = reopen(two);
    store_close(s);
}

TEST(test_what_was_cut_does_not_come_back)
{
    struct store *s = store_of_many();
    uint64_t gone;
    append_to(s, 0, MANY);
    append_to(s, 0, MANY);
    for (int i = 0; i < MANY; i++) {       /* one by one, so that the new history goes by the topic's own file */
        CHECK_EQ(truncate_now(journals[i], 1, &gone), 0);
        journals[i]->marks.epoch = 2;
        append_to(s, i, i + 1);
    }
    abandon_store(s);
    s = reopen(two);
    for (int i = 0; i < MANY; i++)
        CHECK_EQ(journals[i]->marks.epoch, 2);
    store_close(s);
}

TEST(test_a_topic_that_begins_again_at_an_offset_stays_so)
{
    struct store *s = store_of_many();
    append_to(s, 0, MANY);
    CHECK_EQ(restart_now(journals[5], 0, false), 0);
    abandon_store(s);
    uint64_t counts[MANY];
    memcpy(counts, two, sizeof counts);
    counts[5] = 0;
    store_close(reopen(counts));
}

TEST(test_frames_of_an_earlier_use_count_no_more)
{
    struct store *s = store_of_many();
    uint64_t gone;
    append_to(s, 0, MANY);                 /* offset 1 and 2, in two frames of 0.log */
    append_to(s, 0, MANY);
    retire_all(s);
    append_to(s, 0, MANY);                 /* 1.log, so that 0.log is next */
    retire_all(s);
    for (int i = 0; i < MANY; i++)
        CHECK_EQ(truncate_now(journals[i], 1, &gone), 0);
    append_to(s, 0, MANY);                 /* offset 1 again, before the old frame of offset 2 */
    abandon_store(s);
    CHECK(exists("data/commit/0.log"));
    store_close(reopen(two));
}

TEST(test_a_file_is_free_only_once_the_filesystem_was_synced)
{
    struct store *s = store_of_many();
    append_to(s, 0, MANY);
    count_syncs();
    CHECK(commit_log_holds(s->log, journals[0]));
    retire_all(s);
    CHECK_EQ(fs_syncs, 1);
    CHECK(!commit_log_holds(s->log, journals[0]));
    abandon_store(s);
    struct commit_head head;
    CHECK_EQ(commit_head_read(unit_read_file("data/commit/0.log").p, &head), 0);
    CHECK(!head.in_use);
    store_close(reopen(two));
}

static int fail_fs(int fd)
{
    (void)fd;
    errno = EIO;
    return -1;
}

TEST(test_a_failed_sync_while_a_file_retires_ends_the_process)
{
    struct store *s = store_of_many();
    append_to(s, 0, MANY);
    io.sync_fs = fail_fs;
    CHECK_DIES(retire_all(s), EXIT_IO);
    io.sync_fs = syncfs;
    store_close(s);
}

static int refuse_space(int fd, off_t from, off_t n)
{
    return n == COMMIT_FILE_SIZE ? ENOSPC : posix_fallocate(fd, from, n);
}

TEST(test_on_a_full_disk_the_filesystem_is_synced_instead)
{
    struct store *s = store_of_many();
    count_syncs();
    io.allocate = refuse_space;
    append_to(s, 0, MANY);
    append_to(s, 0, MANY);
    CHECK_EQ(fs_syncs, 2);
    for (int i = 0; i < MANY; i++)
        CHECK_EQ(journals[i]->marks.disk, 3);
    CHECK(!exists("data/commit/0.log"));
    store_close(s);
}

TEST(test_the_log_of_another_node_is_refused)
{
    struct store *s = store_of_many();
    append_to(s, 0, MANY);
    abandon_store(s);
    char block[COMMIT_HEAD_SIZE];
    struct commit_head head;
    CHECK_EQ(commit_head_read(unit_read_file("data/commit/0.log").p, &head), 0);
    head.incarnation.bytes[0] ^= 1;
    commit_head_write(block, &head);
    int fd = open("data/commit/0.log", O_WRONLY);
    CHECK_EQ(pwrite(fd, block, sizeof block, 0), sizeof block);
    struct store_options o = {.path = "data", .node_name = "n1"};
    struct buf why = {0};
    CHECK_EQ(store_open(&o, &s, &why), -ERR_FORMAT);
    CHECK(strstr(why.data, "data/commit/0.log is the commit log of another node") != NULL);
    buf_fini(&why);
    block[8]++;                            /* and of a newer version */
    CHECK_EQ(pwrite(fd, block, sizeof block, 0), sizeof block);
    CHECK_EQ(store_open(&o, &s, &why), -ERR_FORMAT);
    CHECK(strstr(why.data, "data/commit/0.log is of a newer version") != NULL);
    buf_fini(&why);
    close(fd);
}

/* Where the n-th frame of data/commit/0.log begins. */
static uint64_t frame_at(int n)
{
    slice all = unit_read_file("data/commit/0.log");
    struct commit_head head;
    struct commit_frame f;
    uint64_t at = COMMIT_HEAD_SIZE;
    CHECK_EQ(commit_head_read(all.p, &head), 0);
    for (; n > 0; n--) {
        CHECK(commit_frame_read(slice_skip(all, at), head.seed, at, &f));
        at += commit_frame_space(f.size);
    }
    return at;
}

static void flip(const char *path, uint64_t at)
{
    char c;
    int fd = open(path, O_RDWR);
    CHECK_EQ(pread(fd, &c, 1, (off_t)at), 1);
    c ^= 4;
    CHECK_EQ(pwrite(fd, &c, 1, (off_t)at), 1);
    close(fd);
}

TEST(test_a_torn_frame_at_the_end_was_never_acknowledged)
{
    struct store *s = store_of_many();
    uint64_t end = journals[0]->parts.active->written;
    append_to(s, 0, MANY);
    abandon_store(s);
    flip("data/commit/0.log", frame_at(0) + 30);
    for (int i = 0; i < MANY; i++)
        lose_end(i, end);
    static const uint64_t one[MANY] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    store_close(reopen(one));
    CHECK(!exists("data/commit/0.log.damaged"));
}

TEST(test_a_damaged_frame_before_a_sound_one_is_said_and_the_file_is_kept)
{
    struct store *s = store_of_many();
    append_to(s, 0, MANY);
    append_to(s, 0, MANY);
    CHECK_EQ(files_left(s, SIZE_MAX), 0);
    abandon_store(s);
    flip("data/commit/0.log", frame_at(0) + 30);
    s = reopen((uint64_t[MANY]){3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3});   /* the files had it all */
    CHECK(exists("data/commit/0.log.damaged"));
    store_close(s);
}

TEST(test_a_topic_made_anew_by_the_same_name_gets_nothing_of_the_one_before)
{
    struct store *s = store_of_many();
    append_to(s, 0, MANY);
    journal_delete(journals[4]);
    store_sync(s);
    worker_wait(s->disk.worker);
    store_collect(s);
    struct journal_options o = small_files;
    o.id.offset = 77;
    CHECK_EQ(journal_open(s, SLICE("t4"), &o, &journals[4]), 0);
    append_to(s, 4, 5);                    /* as long as the first one before */
    abandon_store(s);
    s = open_store();
    CHECK_EQ(journal_open(s, SLICE("t4"), &o, &journals[4]), 0);
    CHECK_EQ(journals[4]->marks.tail, 1);
    check_reads_all(journals[4]);
    store_close(s);
}

TEST(test_a_start_leaves_out_topics_whose_files_are_gone)
{
    struct store *s = store_of_many();
    append_to(s, 0, MANY);
    abandon_store(s);
    CHECK_EQ(system("rm data/small/t3 data/small/t4; mkdir data/topics/t4"), 0);
    s = open_store();
    CHECK(!exists(file_of(3)));
    CHECK(!exists(file_of(4)));
    store_close(s);
}

/* -- bytes that memory and the commit log have, and no file ------------------------------------------------ */

/* What the file of a topic has of its batches, as bytes that are not zeros say. */
static uint64_t end_in_file(int i)
{
    slice all = unit_read_file(file_of(i));
    uint64_t end = all.n;
    while (end > 0 && all.p[end - 1] == 0)
        end--;
    return end;
}

static bool is_held(const struct journal *j)
{
    return !list_alone(&j->sync.held);
}

TEST(test_files_get_what_the_log_has_when_they_are_read)
{
    struct store *s = store_of_many();
    uint64_t end = end_in_file(0);
    for (int n = 0; n < 3; n++)
        append_to(s, 0, MANY);
    for (int i = 0; i < MANY; i++) {
        CHECK_EQ(journals[i]->marks.written, 4);
        CHECK_EQ(journals[i]->marks.disk, 4);
        CHECK_EQ(end_in_file(i), end);
        CHECK(is_held(journals[i]));
    }
    check_reads_all(journals[0]);
    CHECK(!is_held(journals[0]) && end_in_file(0) > end);
    struct file_range range;
    CHECK_EQ(journal_range(journals[1], 3, 4, 1 * MIB, &range), 0);
    CHECK_EQ(range.next, 4);
    buf_fini(&range.bytes);
    struct batch_head head;
    CHECK_EQ(journal_batch_of(journals[2], 3, &head), 0);
    CHECK(!is_held(journals[1]) && !is_held(journals[2]) && is_held(journals[3]));
    append_to(s, 0, MANY);                 /* from the end of what was written on */
    abandon_store(s);
    store_close(reopen((uint64_t[MANY]){5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5}));
}

TEST(test_files_are_written_before_the_log_is_free)
{
    struct store *s = store_of_many();
    uint64_t end = end_in_file(0);
    append_to(s, 0, MANY);
    CHECK_EQ(end_in_file(0), end);
    retire_all(s);
    CHECK_EQ(s->queue.held_bytes, 0);
    for (int i = 0; i < MANY; i++)
        CHECK(end_in_file(i) > end);
    abandon_store(s);
    store_close(reopen(two));
}

/* Appends a message of this size to so many topics, in group commits that fit the commit log. */
static void append_to_all(struct store *s, struct journal *const *all, int count, size_t size)
{
    for (int i = 0; i < count; i++) {
        append_some(all[i], 1, size);
        if (i % 256 == 255 || i == count - 1)
            settle_store(s);
    }
}

/* So many topics with a message each in their files, and then one of this size that these lack. */
static struct store *store_of_held(struct journal **all, int count, size_t size)
{
    struct store *s = open_store_with((struct store_options){.files_max = 64, .commit_log_age_ms = 3600 * 1000});
    char name[16];
    for (int i = 0; i < count; i++) {
        snprintf(name, sizeof name, "m%d", i);
        all[i] = open_journal(s, name);
    }
    append_to_all(s, all, count, 100);
    append_to_all(s, all, count, size);
    return s;
}

static int count_held(struct journal *const *all, int count)
{
    int held = 0;
    for (int i = 0; i < count; i++)
        held += is_held(all[i]);
    return held;
}

TEST(test_files_are_written_over_several_turns_and_the_log_is_free_after_the_last)
{
    enum { FILES = 3 * COMMIT_WRITTEN_MAX };
    struct journal *all[FILES];
    struct store *s = store_of_held(all, FILES, 100);
    commit_log_release(s->log);
    for (int turns = 1; turns <= 3; turns++) {
        CHECK(commit_log_holds(s->log, all[FILES - 1]));
        store_sync(s);
        CHECK_EQ(count_held(all, FILES), FILES - turns * COMMIT_WRITTEN_MAX);
        CHECK_EQ(store_deadline_ns(s) == 1, turns < 3);
        append_some(all[0], 1, 100);       /* newer ones do not delay it */
        store_flush(s);
    }
    worker_wait(s->disk.worker);
    CHECK(!commit_log_holds(s->log, all[FILES - 1]));
    store_close(s);
}

TEST(test_for_a_reader_of_files_those_of_its_moment_are_written_in_steps)
{
    enum { FILES = 3 * COMMIT_WRITTEN_MAX, NEW = 10 };
    struct journal *all[FILES], *new[NEW];
    struct store *s = store_of_held(all, FILES, 100);
    char name[16];
    for (int i = 0; i < NEW; i++) {
        snprintf(name, sizeof name, "n%d", i);
        new[i] = open_journal(s, name);
    }
    append_to_all(s, new, NEW, 100);
    size_t left = files_left(s, SIZE_MAX);
    CHECK_EQ(left, 2 * COMMIT_WRITTEN_MAX);
    CHECK_EQ(count_held(all, FILES), 2 * COMMIT_WRITTEN_MAX);
    append_to_all(s, new, NEW, 100);       /* these come after it */
    append_to_all(s, all, NEW, 100);
    check_reads_all(all[FILES - 1]);       /* one of its moment is written otherwise */
    left = files_left(s, left);
    CHECK_EQ(left, COMMIT_WRITTEN_MAX);
    left = files_left(s, left);
    CHECK_EQ(left, 0);
    CHECK_EQ(count_held(all + NEW, FILES - NEW), 0);
    CHECK_EQ(count_held(all, NEW) + count_held(new, NEW), 2 * NEW - 1);
    CHECK_EQ(s->queue.held_count, 2 * NEW - 1);
    CHECK_EQ(files_left(s, SIZE_MAX), 0);
    CHECK_EQ(s->queue.held_count, 0);
    store_close(s);
}

TEST(test_all_topics_together_have_only_so_much_in_memory)
{
    enum { FILES = COMMIT_HELD_MAX / COMMIT_HELD_EACH + 200, SIZE = COMMIT_HELD_EACH - KIB };
    static struct journal *all[FILES];
    skip_syncs();
    struct store *s = store_of_held(all, FILES, SIZE);
    CHECK(count_held(all, FILES) > COMMIT_HELD_MAX / COMMIT_HELD_EACH);
    for (int turns = 0; turns < 8; turns++) {
        CHECK(s->queue.held_bytes > COMMIT_HELD_MAX - COMMIT_WRITTEN_MAX * COMMIT_HELD_EACH);
        store_sync(s);
    }
    CHECK(s->queue.held_bytes <= COMMIT_HELD_MAX);
    CHECK(!is_held(all[0]) && is_held(all[FILES - 1]));   /* the longest held first */
    store_close(s);
}

TEST(test_a_topic_has_only_so_much_in_memory)
{
    struct store *s = store_of_many();
    uint64_t end = end_in_file(0);
    for (int n = 0; n < 2; n++) {
        for (int i = 0; i < MANY; i++)
            append_some(journals[i], 1, i == 0 ? COMMIT_HELD_EACH - 1000 : 100);
        settle_store(s);
    }
    CHECK(!is_held(journals[0]) && end_in_file(0) > end + COMMIT_HELD_EACH);
    CHECK(s->queue.held_bytes <= (MANY - 1) * 2 * KIB);
    store_close(s);
}

TEST(test_a_topic_that_is_sent_before_the_sync_is_written_at_once)
{
    struct store *s = store_of_many();
    struct journal_options o = small_files;
    o.written_at_once = true;
    journal_set_options(journals[0], &o);
    for (int i = 0; i < MANY; i++)
        append_some(journals[i], 1, 100);
    store_flush(s);
    CHECK_EQ(journals[0]->marks.written, 2);
    CHECK_EQ(journals[1]->marks.written, 1);
    settle_store(s);
    CHECK_EQ(journals[1]->marks.written, 2);
    store_close(s);
}

TEST(test_a_checkpoint_of_what_the_log_has_is_good_after_a_crash)
{
    struct store *s = store_of_many();
    append_to(s, 0, MANY);
    CHECK(is_held(journals[0]));
    struct checkpoint c = journal_checkpoint(journals[0]);
    journal_save_checkpoint(journals[0], &c);
    abandon_store(s);
    store_close(reopen(two));
}

static ssize_t refuse_frames(int fd, const void *p, size_t n, off_t at)
{
    if (n < 4 || memcmp(p, "FRAM", 4) != 0)
        return pwrite(fd, p, n, at);
    errno = ENOSPC;
    return -1;
}

TEST(test_files_get_what_the_log_refuses)
{
    struct store *s = store_of_many();
    append_to(s, 0, MANY);
    CHECK(is_held(journals[0]));
    io.pwrite = refuse_frames;
    append_to(s, 0, MANY);
    io.pwrite = pwrite;
    for (int i = 0; i < MANY; i++) {
        CHECK_EQ(journals[i]->marks.disk, 3);
        CHECK(!is_held(journals[i]));
    }
    abandon_store(s);
    store_close(reopen((uint64_t[MANY]){3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3}));
}

static void try_the_log_again(void)
{
    clock_forward(clock_ns() + COMMIT_LOG_RETRY_MS * NS_PER_MS);
}

/* Else a start takes the place of what was refused for a damaged frame. */
TEST(test_what_the_log_refuses_leaves_no_gap)
{
    clock_hold(clock_wall_ms());
    struct store *s = store_of_many();
    int (*allocate)(int, off_t, off_t) = io.allocate;
    io.allocate = refuse_space;
    append_to(s, 0, MANY);
    CHECK(!exists("data/commit/0.log"));
    io.allocate = allocate;
    try_the_log_again();
    append_to(s, 0, MANY);
    CHECK(exists("data/commit/0.log"));
    io.pwrite = refuse_frames;
    append_to(s, 0, MANY);
    io.pwrite = pwrite;
    try_the_log_again();
    append_to(s, 0, MANY);
    CHECK(commit_log_holds(s->log, journals[0]));
    abandon_store(s);
    store_close(reopen((uint64_t[MANY]){5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5}));
    CHECK(!exists("data/commit/0.log.damaged"));
}

TEST(test_files_that_end_meanwhile_are_as_they_were)
{
    struct store *s = open_store_with((struct store_options){.files_max = 64, .commit_log_age_ms = 3600 * 1000});
    for (int i = 0; i < MANY; i++)
        journals[i] = open_journal_with(s, name_of(i), ten_each);
    for (int n = 0; n < 25; n++)
        append_to(s, 0, MANY);
    abandon_store(s);
    s = open_store();
    for (int i = 0; i < MANY; i++) {
        journals[i] = open_journal_with(s, name_of(i), ten_each);
        CHECK_EQ(journals[i]->marks.tail, 25);
        CHECK_EQ(journals[i]->damage.count, 0);
        check_reads_all(journals[i]);
    }
    store_close(s);
}
