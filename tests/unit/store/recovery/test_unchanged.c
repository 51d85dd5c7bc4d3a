/* Small topics are taken from data/ends where their files have not changed, and are read where they have. */
#include <fcntl.h>

#include "base/clock.h"
#include "base/crc32c.h"
#include "command/verify.h"
#include "store/log/delete_later.h"
#include "unit/journals.h"

#define ENDS "data/ends"

/* Inodes are dated by a tick: after this, another change is dated later. */
static void let_dates_pass(void)
{
    uint64_t until = clock_ns() + 50 * NS_PER_MS;
    while (clock_ns() < until)
        poll(NULL, 0, 5);
}

/* A store with a journal of some messages, which was closed; nothing in it changed just before. */
static void close_store_with(struct store *s, int messages)
{
    struct journal *j = open_journal(s, "t");
    append_each(j, messages, 20);
    settle_store(s);
    let_dates_pass();
    store_close(s);
}

static void close_with(int messages)
{
    close_store_with(open_store(), messages);
}

static bool was_read(const struct journal *j)
{
    return j->parts.active && j->parts.active->file.fd >= 0;
}

TEST(test_a_topic_that_has_not_changed_is_not_read)
{
    close_with(3);
    CHECK(!exists("data/topics/t/checkpoint"));
    for (int again = 0; again < 2; again++) {
        struct store *s = open_store();
        struct journal *j = open_journal(s, "t");
        CHECK(!was_read(j));
        CHECK_EQ(j->marks.tail, 3);
        CHECK_EQ(j->marks.disk, 3);
        CHECK_EQ(j->marks.epoch, 1);
        store_close(s);
    }
    struct store *s = open_store();
    struct journal *j = open_journal(s, "t");
    CHECK(!was_read(j));
    check_reads_all(j);
    append_each(j, 1000, 20);          /* it goes on where it was, past the first allocation and into the index */
    settle_store(s);
    check_reads_all(j);
    store_close(s);
    CHECK_EQ(data_verify("data"), 0);
    s = open_store();
    j = open_journal(s, "t");
    CHECK_EQ(j->marks.tail, 1003);
    CHECK_EQ(j->damage.count, 0);
    check_reads_all(j);
    store_close(s);
}

TEST(test_a_topic_without_a_file_is_not_read_either)
{
    struct store *s = open_store();
    open_journal(s, "t");
    let_dates_pass();
    store_close(s);
    s = open_store();
    struct journal *j = open_journal(s, "t");
    CHECK_EQ(j->marks.tail, 0);
    append_each(j, 3, 20);
    settle_store(s);
    abandon_store(s);
    s = open_store();
    j = open_journal(s, "t");
    CHECK_EQ(j->marks.tail, 3);
    check_reads_all(j);
    store_close(s);
}

/* What was appended since, and lost its process, is found: the file is dated later. */
TEST(test_what_was_appended_before_a_crash_is_read)
{
    close_with(3);
    for (uint64_t n = 3; n < 6; n++) {
        struct store *s = open_store();
        struct journal *j = open_journal(s, "t");
        CHECK_EQ(j->marks.tail, n);
        append_each(j, 1, 20);
        settle_store(s);
        abandon_store(s);
    }
    struct store *s = open_store();
    struct journal *j = open_journal(s, "t");
    CHECK(was_read(j));
    CHECK_EQ(j->marks.tail, 6);
    CHECK_EQ(j->damage.count, 0);
    check_reads_all(j);
    store_close(s);
}

TEST(test_a_topic_that_changed_just_before_the_end_is_read)
{
    struct store *s = open_store();
    struct journal *j = open_journal(s, "t");
    int tries = 0;
    do {                                             /* on a busy machine, the end may come too late for that */
        append_each(j, 3, 20);
        settle_store(s);
        store_close(s);
        s = open_store();
        j = open_journal(s, "t");
    } while (!was_read(j) && ++tries < 50);
    CHECK(was_read(j));
    uint64_t tail = j->marks.tail;
    append_each(j, 1, 20);
    settle_store(s);
    abandon_store(s);
    s = open_store();
    j = open_journal(s, "t");
    CHECK_EQ(j->marks.tail, tail + 1);
    store_close(s);
}

/* On another machine's disk, or after the power went, dates say nothing. The entry still says from where to read. */
TEST(test_after_another_boot_files_are_read)
{
    close_with(3);
    struct store *s = open_store();
    snprintf(s->disk.state.boot, sizeof s->disk.state.boot, "another");
    CHECK_EQ(store_save_state(s), 0);
    abandon_store(s);
    s = open_store();
    struct journal *j = open_journal(s, "t");
    CHECK(was_read(j));
    CHECK_EQ(j->marks.tail, 3);
    check_reads_all(j);
    store_close(s);
}

/* After a crash only a start knows whether a topic whose file is missing was deleted: `verify` finds no damage. */
static void damage(const char *command, bool crash)
{
    bool removed = strstr(command, "rm ") != NULL;
    close_with(3);
    if (crash)
        abandon_store(open_store());
    CHECK_EQ(run(path_of("F=%s; %s", FILE_0, command).s), 0);
    CHECK_EQ(data_verify("data"), !(crash && removed));
    struct store *s = open_store();
    struct journal *j = open_journal(s, "t");
    CHECK_EQ(j->damage.count, 1);
    CHECK(j->marks.tail >= 3);
    store_close(s);
    CHECK_EQ(run("rm -r data"), 0);
}

/* The entry says up to where the topic was on the disk, so what is missing or bad below is damage and no torn tail. */
TEST(test_what_is_lost_of_an_entry_is_damage)
{
    for (int crash = 0; crash < 2; crash++) {
        damage("truncate -s 250 $F && truncate -s 4096 $F", crash);
        damage("printf bad | dd of=$F bs=1 seek=260 conv=notrunc status=none", crash);
        damage("rm $F", crash);
    }
}

/* As when a start fails before all are, or while it is not known yet which topics there are. */
TEST(test_what_is_known_of_topics_that_were_not_opened_is_kept)
{
    struct store *s = open_store();
    struct journal *j = open_journal(s, "other");
    append_each(j, 1, 20);
    close_store_with(s, 3);
    s = open_store();
    journal_delete(open_journal(s, "other"));
    store_close(s);
    CHECK_EQ(data_verify("data"), 0);      /* no entry is left of the one that was deleted */
    s = open_store();
    j = open_journal(s, "t");
    CHECK(!was_read(j));
    CHECK_EQ(j->marks.tail, 3);
    store_close(s);
    s = open_store();
    store_opened(s);                       /* there is no topic "t" any more */
    store_close(s);
    s = open_store();
    CHECK(was_read(open_journal(s, "t")));
    store_close(s);
}

TEST(test_a_file_that_was_put_there_is_seen)
{
    close_store_with(open_store_with((struct store_options){.files_max = 64, .own_dirs = true}), 3);
    put_file("data/topics/t/spare", SLICE("left over"));
    struct store *s = open_store();
    CHECK(was_read(open_journal(s, "t")));
    CHECK(!exists("data/topics/t/spare"));
    store_close(s);
}

/* A topic that was deleted and made again is another one. */
TEST(test_the_entry_of_another_topic_of_the_name_does_not_count)
{
    close_with(3);
    CHECK_EQ(unlink(FILE_0), 0);
    struct store *s = open_store();
    struct journal *j;
    struct journal_options o = small_files;
    o.id.offset++;
    CHECK_EQ(journal_open(s, SLICE("t"), &o, &j), 0);
    CHECK_EQ(j->marks.tail, 0);
    CHECK_EQ(j->damage.count, 0);
    store_close(s);
}

static void check_after_crash(struct store *s, uint64_t first, uint64_t tail)
{
    settle_store(s);
    abandon_store(s);
    s = open_store();
    struct journal *j = open_journal(s, "t");
    CHECK_EQ(journal_first(j), first);
    CHECK_EQ(j->marks.tail, tail);
    CHECK_EQ(j->damage.count, 0);
    store_close(s);
}

/* A truncated topic is not damaged by what the entry claims, at whatever point it ends. */
TEST(test_a_truncation_makes_the_entry_void)
{
    for (int save = 0; save < 2; save++) {
        uint64_t messages;
        close_with(5);
        struct store *s = open_store();
        CHECK_EQ(truncate_now(open_journal(s, "t"), 2, &messages), 0);
        if (save) {                    /* the checkpoint that follows a truncation may be lost with the power */
            static char zeros[128];
            struct checkpoint c;
            CHECK_EQ(checkpoint_load("data/topics/t/checkpoint", &c), 0);
            change_file("data/topics/t/checkpoint", (c.sequence & 1) * sizeof zeros, slice_of(zeros, sizeof zeros));
        }
        check_after_crash(s, 0, 2);
        CHECK_EQ(run("rm -r data"), 0);
    }
}

TEST(test_a_journal_that_begins_again_makes_the_entry_void)
{
    for (int keep = 0; keep < 2; keep++) {
        close_with(5);
        struct store *s = open_store();
        CHECK_EQ(restart_now(open_journal(s, "t"), 3, keep), 0);
        check_after_crash(s, 3, 3);
        CHECK_EQ(run("rm -r data"), 0);
    }
}

/* At the start trash/ is emptied while topics may begin again, whose new directories are made there. */
TEST(test_what_empties_trash_leaves_a_directory_that_is_being_made)
{
    struct store *s = open_store();
    settle_store(s);
    CHECK_EQ(run("mkdir data/trash/t-3-17.new data/trash/t-3-16 && touch data/trash/t-3-17.new/checkpoint"), 0);
    delete_later_trash(&s->disk);
    worker_wait(s->disk.worker);
    CHECK(exists("data/trash/t-3-17.new/checkpoint"));
    CHECK(!exists("data/trash/t-3-16"));
    abandon_store(s);
    s = open_store();
    CHECK(!exists("data/trash/t-3-17.new"));
    store_close(s);
}

/* A file that is damaged, or was not written to its end, is as none. */
TEST(test_a_damaged_file_of_ends_is_not_used)
{
    close_with(3);
    struct id cluster;
    struct store *s = open_store();
    cluster = s->disk.state.cluster;
    abandon_store(s);
    uint64_t size = file_size(ENDS);
    CHECK(ends_find(NULL, SLICE("t")) == NULL);
    for (uint64_t at = 0; at < size; at++) {
        CHECK_EQ(run("cp " ENDS " copy"), 0);
        CHECK_EQ(truncate("copy", (off_t)at), 0);
        CHECK(ends_open("copy", &cluster) == NULL);
    }
    for (uint64_t at = 0; at < size; at++) {
        unsigned char byte;
        CHECK_EQ(run("cp " ENDS " copy"), 0);
        int fd = open("copy", O_RDWR);
        CHECK_EQ(pread(fd, &byte, 1, (off_t)at), 1);
        byte ^= 0x10;
        CHECK_EQ(pwrite(fd, &byte, 1, (off_t)at), 1);
        close(fd);
        struct ends *e = ends_open("copy", &cluster);
        CHECK(e == NULL || at == 10 || at == 11);      /* two bytes that mean nothing */
        ends_close(e);
    }
    cluster.bytes[0] ^= 1;
    CHECK(ends_open(ENDS, &cluster) == NULL);
}

TEST(test_ends_are_found_by_name)
{
    struct ends_writer w = {0};
    struct id cluster = id_mint();
    char name[TOPIC_NAME_MAX + 1];
    for (unsigned i = 0; i < 3000; i++) {
        int n = snprintf(name, sizeof name, "%0*u", (int)(1 + i % 100), i * 7919 % 3001);
        ends_add(&w, slice_of(name, (size_t)n), &(struct topic_end){.next = i});
    }
    CHECK_EQ(ends_write(&w, "ends", &cluster), 0);
    ends_writer_fini(&w);
    struct ends *e = ends_open("ends", &cluster);
    CHECK(e != NULL);
    for (unsigned i = 0; i < 3000; i++) {
        int n = snprintf(name, sizeof name, "%0*u", (int)(1 + i % 100), i * 7919 % 3001);
        const struct topic_end *end = ends_find(e, slice_of(name, (size_t)n));
        CHECK(end != NULL && end->next == i);
    }
    CHECK(ends_find(e, SLICE("x")) == NULL);
    CHECK(ends_find(e, SLICE("")) == NULL);
    ends_close(e);
}

/* Places that are no entries, in a file whose checksum is right. */
TEST(test_places_beyond_the_entries_of_a_file_of_ends_are_not_followed)
{
    struct ends_writer w = {0};
    struct id cluster = id_mint();
    ends_add(&w, SLICE("t"), &(struct topic_end){.next = 1});
    CHECK_EQ(ends_write(&w, "ends", &cluster), 0);
    ends_writer_fini(&w);
    slice whole = unit_read_file("ends");
    uint64_t places[] = {1, whole.n, whole.n - 8, UINT64_MAX - 7, 1ull << 40};
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        enum { CRC_AT = 12, COVERED_AT = 16 };
        int fd = open("ends", O_RDWR);
        char bytes[512];
        CHECK(whole.n <= sizeof bytes);
        CHECK_EQ(pwrite(fd, &places[i], 8, (off_t)whole.n - 8), 8);
        CHECK_EQ(pread(fd, bytes, whole.n, 0), (ssize_t)whole.n);
        uint32_t crc = crc32c(0, bytes + COVERED_AT, whole.n - COVERED_AT);
        CHECK_EQ(pwrite(fd, &crc, 4, CRC_AT), 4);
        close(fd);
        CHECK(ends_open("ends", &cluster) == NULL);
    }
}
