/*
 * What the tests of truncation share: a topic of four files, and checks of what is left of it.
 */
#ifndef UNIT_TRUNCATIONS_H
#define UNIT_TRUNCATIONS_H

#include <sys/resource.h>

#include "unit/journals.h"

/* 17 batches of two messages: files [0,10), [10,20), [20,30), and the active one with [30,34). */
static struct store *four_files(struct journal **j)
{
    struct store *s = open_store();
    *j = open_journal_with(s, "t", ten_each);
    for (int i = 0; i < 17; i++) {
        (*j)->marks.epoch = 1 + (uint64_t)i / 4;
        CHECK_EQ(try_append(*j, 2, 60, 1000 + i), 0);
    }
    settle_store(s);
    return s;
}

static slice file_bytes(uint64_t first, enum file_kind kind)
{
    return read_whole(path_of("data/topics/t/%020" PRIu64 "%s", first, file_suffix[kind]).s);
}

static struct path diverged_name_of(const char *topic, uint64_t offset)
{
    FILE *p = popen(path_of("ls -d data/diverged/%s-%" PRIu64 "-*", topic, offset).s, "r");
    struct path path = {""};
    CHECK(p && fgets(path.s, sizeof path.s, p) != NULL);
    path.s[strcspn(path.s, "\n")] = 0;
    pclose(p);
    return path;
}

static struct path diverged_name(uint64_t offset)
{
    return diverged_name_of("t", offset);
}

/* Checks that the journal equals one of the same history that never was longer. */
static void check_is_truncated_at(struct journal *j, uint64_t to)
{
    CHECK_EQ(j->marks.tail, to);
    CHECK_EQ(j->marks.written, to);
    CHECK_EQ(j->marks.disk, to);
    CHECK(j->marks.stated <= to);
    CHECK_EQ(j->marks.epoch, to ? 1 + (to / 2 - 1) / 4 : 0);
    CHECK_EQ(j->marks.time_ms, to ? 1000 + (int64_t)to / 2 - 1 : 0);
    CHECK_EQ(j->parts.count, to ? (to + 9) / 10 : 1);
    CHECK(j->parts.active != NULL);
    CHECK_EQ(j->parts.active->first, to ? (to - 1) / 10 * 10 : 0);
    struct batch_head head;
    CHECK_EQ(journal_batch_before(j, to, &head), to ? 0 : -ERR_BAD_RANGE);
    check_reads_all(j);
}

/* Uses up all descriptors, as many connections would. */
static void take_descriptors(void)
{
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &(struct rlimit){200, 200}), 0);
    while (dup(0) >= 0)
        continue;
    CHECK_EQ(errno, EMFILE);
}

static void give_descriptors(void)
{
    for (int fd = 100; fd < 200; fd++)
        close(fd);
}

static bool nothing_kept(void)
{
    return rmdir("data/diverged") == 0 && mkdir("data/diverged", 0750) == 0;
}

#endif
