/* Failures of the file system that are rare, and files that change while the store uses them. */
#include "unit/journals.h"

#include <fcntl.h>
#include <sys/resource.h>

#define FILE_1 "data/topics/t/00000000000000000001.qwal"

static struct io real;

static bool ends_with(const char *path, const char *end)
{
    size_t n = strlen(path), m = strlen(end);
    return n >= m && strcmp(path + n - m, end) == 0;
}

static int open_no_segment(const char *path, int flags, mode_t mode)
{
    if (ends_with(path, ".qwal"))
        return errno = EMFILE, -1;
    return real.open(path, flags, mode);
}

static int rename_nothing_sealed(const char *from, const char *to)
{
    if (ends_with(to, ".log"))
        return errno = ENOSPC, -1;
    return real.rename(from, to);
}

static int rename_nothing(const char *from, const char *to)
{
    (void)from;
    (void)to;
    return errno = EACCES, -1;
}

static unsigned whole_syncs;

static int sync_fs_counted(int fd)
{
    (void)fd;
    whole_syncs++;
    return 0;
}

static int no_sync(int fd)
{
    (void)fd;
    return errno = EIO, -1;
}

TEST(nobody_is_left_waiting_for_the_disk_when_durability_is_weakened)
{
    struct store *s = open_store();
    struct journal *j = open_journal(s, "t");
    append_some(j, 1, 20);
    store_flush(s);
    struct journal_options o = small_files;
    o.durability = DURABILITY_OS;
    journal_set_options(j, &o);
    settle_store(s);
    CHECK_EQ(j->marks.disk, 1);
    store_close(s);
}

TEST(a_roll_that_found_no_descriptor_can_be_tried_again)
{
    struct store *s = open_store();
    struct journal *j = open_journal(s, "t");
    append_some(j, 1, 700 * KIB);
    settle_store(s);
    CHECK_EQ(j->next_file, PREALLOCATED_READY);
    real = io;
    io.open = open_no_segment;
    CHECK_EQ(try_append(j, 1, 500 * KIB, 1000), -EMFILE);
    io.open = real.open;
    append_some(j, 1, 500 * KIB);
    settle_store(s);
    CHECK(exists(FILE_1));
    check_reads_all(j);
    store_close(s);
}

TEST(retention_removes_a_file_whose_sealing_failed)
{
    struct store *s = open_store();
    struct journal *j = open_journal_with(s, "t", files_of(1));
    real = io;
    io.rename = rename_nothing_sealed;
    append_some(j, 1, 20);
    settle_store(s);
    append_some(j, 1, 20);
    settle_store(s);
    CHECK(exists(FILE_0));
    CHECK_EQ(journal_apply_retention(j, &(struct retain){.messages = 1}, 1000, UINT64_MAX), 1);
    worker_wait(s->disk.worker);
    CHECK(!exists(FILE_0));
    io.rename = real.rename;
    store_close(s);
}

TEST(a_journal_whose_directory_cannot_be_moved_away_is_closed_all_the_same)
{
    struct store *s = open_store();
    struct journal *j = open_journal(s, "t");
    append_some(j, 1, 20);
    store_flush(s);
    real = io;
    io.rename = rename_nothing;
    journal_delete(j);
    io.rename = real.rename;
    CHECK(list_empty(&s->journals));
    CHECK(list_empty(&s->queue.unsynced));
    store_close(s);
}

static void trim_without_syncs(void)
{
    struct store *s = open_store();
    struct journal *j = open_journal_with(s, "t", files_of(1));
    append_some(j, 1, 20);
    append_some(j, 1, 20);
    settle_store(s);
    worker_wait(s->disk.worker);
    io.sync_all = no_sync;
    CHECK_EQ(journal_apply_retention(j, &(struct retain){.messages = 1}, 1000, UINT64_MAX), 1);
    worker_wait(s->disk.worker);
}

TEST(a_failed_fsync_of_a_directory_that_lost_a_file_ends_the_process)
{
    CHECK_DIES(trim_without_syncs(), EXIT_IO);
}

TEST(a_directory_is_synced_without_a_descriptor_to_spare)
{
    int root = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct rlimit limit;
    CHECK_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
    struct rlimit none = {0, limit.rlim_max};
    io.sync_fs = sync_fs_counted;
    CHECK_EQ(io_sync_dir_or_all(".", root), 0);
    CHECK_EQ(whole_syncs, 0);
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
    CHECK_EQ(io_sync_dir_or_all(".", root), 0);
    CHECK_EQ(whole_syncs, 1);
    setrlimit(RLIMIT_NOFILE, &limit);   /* a sanitizer wants to read files at the end */
}

TEST(after_damage_messages_are_still_found_by_time_and_time_goes_on)
{
    struct store *s = open_store();
    struct journal *j = open_journal(s, "t");
    for (int i = 0; i < 4; i++) {
        append_some(j, 1, 20);
        settle_store(s);
    }
    uint64_t last = j->parts.active->last.position;
    abandon_store(s);
    change_file(FILE_0, last - 5, SLICE("?"));      /* the third batch; the fourth says that it was on the disk */
    s = open_store();
    j = open_journal(s, "t");
    CHECK_EQ(j->damage.count, 1);
    uint64_t offset;
    CHECK_EQ(journal_at_time(j, 1, &offset), 0);
    CHECK_EQ(offset, 0);
    CHECK_EQ(try_append(j, 1, 20, 1), 0);           /* the clock went back */
    CHECK_EQ(j->marks.time_ms, 1000);
    store_close(s);
}

static void check_range(struct journal *j, uint64_t from, int want, uint64_t next)
{
    struct file_range range = {.fd = -1};
    CHECK_EQ(journal_range(j, from, 3, READ_SIZE_MAX, &range), want);
    if (want == 0) {
        CHECK_EQ(range.next, next);
        buf_fini(&range.bytes);
    }
}

TEST(a_range_of_stored_records_never_begins_in_damage_nor_spans_it)
{
    struct store *s = open_store();
    struct journal *j = open_journal(s, "t");
    append_each(j, 3, 20);
    settle_store(s);
    store_close(s);
    struct batch_head head;
    CHECK_EQ(batch_head_read(read_whole(FILE_0).p + FILE_HEAD_SIZE, &head), 0);
    change_file(FILE_0, FILE_HEAD_SIZE + head.size, SLICE("\xff\xff\xff\xff"));
    s = open_store();
    j = open_journal(s, "t");
    check_range(j, 1, -ERR_DAMAGED, 0);            /* not known yet: the head tells */
    CHECK_EQ(read_all_of(j, 1, 2), -ERR_DAMAGED);  /* now it is */
    check_range(j, 1, -ERR_DAMAGED, 0);
    check_range(j, 0, 0, 1);
    store_close(s);
}

static int allocate_full(int fd, off_t from, off_t n)
{
    (void)fd, (void)from, (void)n;
    return ENOSPC;
}

TEST(test_a_full_disk_refuses_before_the_tail_moves_and_heals_by_itself)
{
    struct store *s = open_store();
    struct journal *j = open_journal_with(s, "t", files_of(10));
    append_some(j, 1, 10);
    settle_store(s);
    real = io;
    io.allocate = allocate_full;
    int taken = 0, rc;
    while ((rc = try_append(j, 1, 500, 1000)) == 0)
        taken++;
    CHECK_EQ(rc, -ENOSPC);
    CHECK_EQ(taken, 6);                    /* what was taken in advance is still there to be used */
    CHECK_EQ(j->marks.tail, 7);
    settle_store(s);
    CHECK_EQ(j->marks.disk, 7);
    check_reads_all(j);
    while (j->marks.tail < 10)
        append_some(j, 1, 1);
    CHECK_EQ(try_append(j, 1, 1, 1000), -ENOSPC);   /* the next file cannot be made */
    CHECK_EQ(j->marks.tail, 10);
    CHECK(!exists("data/topics/t/00000000000000000010.qwal"));
    io = real;
    append_some(j, 1, 10 * KIB);
    settle_store(s);
    CHECK_EQ(j->marks.tail, 11);
    check_reads_all(j);
    store_close(s);
}

TEST(test_a_nearly_full_disk_gives_small_steps)
{
    struct store *s = open_store();
    struct journal *j = open_journal(s, "t");
    for (int i = 0; i < 100; i++)
        append_some(j, 1, 10 * KIB);       /* grows by doubling, up to what one file may hold */
    CHECK(j->parts.active->space <= 1 * MIB + 64 * KIB);
    settle_store(s);
    CHECK_EQ(file_size(j->parts.active->renamed ? LOG_0 : FILE_0) % 4096, 0);
    store_close(s);
}

static ssize_t pwrite_fails(int fd, const void *p, size_t n, off_t at)
{
    (void)fd, (void)p, (void)n, (void)at;
    return errno = EIO, -1;
}

static ssize_t pwrite_short(int fd, const void *p, size_t n, off_t at)
{
    return pwrite(fd, p, n - 1, at);
}

static int sync_fails(int fd)
{
    (void)fd;
    return errno = EIO, -1;
}

static struct store *store_with_pending(void)
{
    struct store *s = open_store();
    append_some(open_journal(s, "t"), 1, 100);
    return s;
}

TEST(test_a_failed_write_ends_the_process)
{
    CHECK_DIES({
        struct store *s = store_with_pending();
        io.pwrite = pwrite_fails;
        store_flush(s);
    }, EXIT_IO);
    CHECK(exists("data/io-failed"));
}

TEST(test_a_short_write_ends_the_process)
{
    CHECK_DIES({
        struct store *s = store_with_pending();
        io.pwrite = pwrite_short;
        store_flush(s);
    }, EXIT_IO);
}

TEST(test_a_failed_sync_ends_the_process_and_the_next_start_reads_the_disk)
{
    CHECK_DIES({
        struct store *s = store_with_pending();
        store_flush(s);
        io.sync_data = sync_fails;
        store_sync(s);
        worker_wait(s->disk.worker);
    }, EXIT_IO);
    CHECK(exists("data/io-failed"));
    struct store *s = open_store();
    CHECK(s->last_run.io_failed);
    struct journal *j = open_journal(s, "t");
    check_reads_all(j);
    store_close(s);
    CHECK(!exists("data/io-failed"));
}

TEST(test_the_next_file_is_preallocated_and_used)
{
    struct store *s = open_store();
    struct journal_options o = small_files;
    o.segment_bytes = 256 * KIB;
    struct journal *j = open_journal_with(s, "t", o);
    while (j->parts.active == NULL || j->parts.active->space < o.segment_bytes)
        append_some(j, 1, 10 * KIB);
    settle_store(s);
    CHECK(exists("data/topics/t/spare"));
    real = io;
    io.allocate = allocate_full;           /* a roll needs no new space now */
    while (j->parts.count == 1)
        append_some(j, 1, 10 * KIB);
    CHECK(!exists("data/topics/t/spare"));
    io = real;
    settle_store(s);
    check_reads_all(j);
    store_close(s);
    put_file("data/topics/t/spare", SLICE("left over by a crash"));
    s = open_store();
    j = open_journal_with(s, "t", o);
    CHECK(!exists("data/topics/t/spare"));
    check_reads_all(j);
    store_close(s);
}
