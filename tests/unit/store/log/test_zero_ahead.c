/* Zeros behind the end of a file: small group commits overwrite blocks that were written before. */
#include "store/log/zero_ahead.h"

#include "store/log/commit_log.h"
#include "unit/journals.h"

enum { BLOCK = 4 * KIB };

static struct journal *watched;
static uint64_t high;                  /* no byte of the file at or above was written; whole blocks */
static unsigned entered;               /* writes of batches that reached it */
static unsigned zero_writes;
static int fails_with;

static bool all_zero(const char *p, size_t n)
{
    return p[0] == 0 && memcmp(p, p + 1, n - 1) == 0;
}

static ssize_t watch(int fd, const void *p, size_t n, off_t at)
{
    bool zeros = all_zero(p, n);
    uint64_t end = (uint64_t)at + n;
    if (zeros) {
        zero_writes++;
        if (watched)
            CHECK((uint64_t)at >= watched->parts.active->size && end <= watched->parts.active->space);
        if (fails_with)
            return errno = fails_with, -1;
    } else if (end > high) {
        entered++;
    }
    if (end > high)
        high = (end + BLOCK - 1) / BLOCK * BLOCK;
    return pwrite(fd, p, n, at);
}

static struct journal *begin(struct store *s)
{
    high = entered = zero_writes = 0;
    fails_with = 0;
    watched = open_journal(s, "t");
    io.pwrite = watch;
    return watched;
}

static void commit_each(struct store *s, struct journal *j, int commits, size_t size)
{
    for (int i = 0; i < commits; i++) {
        append_some(j, 1, size);
        settle_store(s);
    }
}

static void check_after(struct store *s, uint64_t tail)
{
    io.pwrite = pwrite;
    watched = NULL;
    check_whole_after(s, small_files, tail);
}

TEST(test_small_group_commits_enter_few_blocks)
{
    struct store *s = open_store();
    struct journal *j = begin(s);
    commit_each(s, j, 400, 1500);                     /* 600 KB, 150 blocks */
    CHECK(entered <= 12);                             /* the space is 4, 8, ... 1024 KiB, and 256 KiB each from there */
    check_after(s, 400);
}

TEST(test_large_group_commits_write_nothing_twice)
{
    struct store *s = open_store();
    struct journal *j = begin(s);
    commit_each(s, j, 5, 100 * KIB);
    CHECK_EQ(zero_writes, 0);
    commit_each(s, j, 60, 100);
    CHECK(zero_writes > 0);
    check_after(s, 65);
}

TEST(test_nothing_is_written_ahead_where_an_overwrite_takes_space)
{
    struct store *s = open_store();
    struct journal *j = begin(s);
    s->disk.copies_on_write = true;
    commit_each(s, j, 100, 1500);
    CHECK_EQ(zero_writes, 0);
    check_after(s, 100);
}

TEST(test_zeros_that_cannot_be_written_cost_nothing)
{
    struct store *s = open_store();
    struct journal *j = begin(s);
    fails_with = ENOSPC;
    commit_each(s, j, 100, 1500);
    CHECK(zero_writes > 0);
    check_after(s, 100);
}

TEST(test_zeros_follow_the_end_that_a_truncation_leaves)
{
    struct store *s = open_store();
    struct journal *j = begin(s);
    commit_each(s, j, 100, 1500);
    uint64_t messages;
    watched = NULL;
    CHECK_EQ(truncate_now(j, 37, &messages), 0);
    watched = j;
    high = entered = 0;
    commit_each(s, j, 30, 1500);
    CHECK(entered <= 12);
    check_after(s, 67);
}

TEST(test_a_new_commit_log_is_zeroed_ahead_too)
{
    struct store *s = open_store();
    begin(s);
    watched = NULL;
    struct journal *many[8];
    for (int i = 0; i < 8; i++) {
        char name[8];
        snprintf(name, sizeof name, "m%d", i);
        many[i] = open_journal(s, name);
        append_some(many[i], 1, 100);
    }
    settle_store(s);                                  /* new files: by their own syncs */
    high = entered = zero_writes = 0;
    for (int k = 0; k < 60; k++) {
        for (int i = 0; i < 8; i++)
            append_some(many[i], 1, 200);
        settle_store(s);
    }
    CHECK(zero_writes > 0);
    CHECK(entered <= 3);                              /* of 60 frames of 2 KB */
    io.pwrite = pwrite;
    abandon_store(s);
    s = open_store();
    for (int i = 0; i < 8; i++) {
        char name[8];
        snprintf(name, sizeof name, "m%d", i);
        CHECK_EQ(open_journal(s, name)->marks.tail, 61);
    }
    store_close(s);
    CHECK_EQ(data_verify("data"), 0);
}
