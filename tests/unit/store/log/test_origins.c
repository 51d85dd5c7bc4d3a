/* Batches with an origin: stored, read, recovered and truncated. */
#include <fcntl.h>

#include "unit/truncations.h"

/* The range of stored batches that a reader gets from an offset on, of at most `bytes_max` bytes. */
static struct file_range range_from(struct journal *j, uint64_t from, size_t bytes_max)
{
    struct file_range r;
    CHECK_EQ(journal_range(j, from, UINT64_MAX, bytes_max, &r), 0);
    return r;
}

static void check_no_origins(slice bytes, uint64_t next)
{
    uint64_t first;
    CHECK_EQ(check_batches(bytes, &first), next);
    for (struct batch_head head; bytes.n > 0; bytes = slice_skip(bytes, head.size)) {
        struct origin o;
        CHECK_EQ(batch_head_read(bytes.p, &head), 0);
        CHECK_EQ(origin_read(bytes.p, &head, &o), 0);
        CHECK_EQ(o.kind, ORIGIN_NONE);
    }
}

TEST(test_stored_batches_are_given_to_readers_without_origins)
{
    struct journal *j, *plain;
    struct store *s = open_store();
    j = open_journal_with(s, "t", ten_each);
    plain = open_journal_with(s, "plain", ten_each);
    for (uint64_t i = 0; i < 15; i++) {
        append_from(j, i % 3 == 1 ? "producer" : NULL, i, 100);
        append_from(plain, NULL, 0, 100);
    }
    append_from(j, "producer", 15, 100 * KIB);
    append_from(plain, NULL, 0, 100 * KIB);
    settle_store(s);
    for (uint64_t from = 0; from < 16; from++) {           /* sealed and active, small ranges and large ones */
        for (size_t bytes = 1; bytes <= MIB; bytes *= 32) {
            struct file_range got = range_from(j, from, bytes), want = range_from(plain, from, bytes);
            CHECK_EQ(got.fd, -1);
            CHECK_EQ(got.size, buf_size(&got.bytes));
            CHECK(got.next > from);
            CHECK(got.next <= want.next);                   /* bytes_max is of stored bytes */
            check_no_origins(buf_slice(&got.bytes), got.next);
            CHECK_EQ(got.epoch, 1);
            buf_fini(&got.bytes);
            buf_fini(&want.bytes);
            if (want.fd >= 0)
                close(want.fd);
        }
    }
    store_close(s);
}

TEST(test_damage_is_not_hidden_by_the_checksum_of_a_batch_without_its_origin)
{
    struct journal *j;
    struct store *s = open_store();
    j = open_journal_with(s, "t", ten_each);
    for (uint64_t i = 0; i < 3; i++)
        append_from(j, "p", i, 100);
    settle_store(s);
    struct batch_head head;
    CHECK_EQ(journal_batch_of(j, 1, &head), 0);
    change_file(FILE_0, FILE_HEAD_SIZE + head.size + BATCH_HEAD_SIZE + 20, SLICE("?"));
    struct file_range r = range_from(j, 0, MIB);
    CHECK_EQ(r.next, 1);
    check_no_origins(buf_slice(&r.bytes), 1);
    buf_fini(&r.bytes);
    CHECK_EQ(journal_range(j, 1, UINT64_MAX, MIB, &r), -ERR_DAMAGED);
    store_close(s);
}

static bool end_says_origins(uint64_t first)
{
    struct path path = path_of("data/topics/t/%020" PRIu64 ".log", first);
    char end[END_RECORD_SIZE];
    struct batch_head head;
    int fd = open(path.s, O_RDONLY);
    CHECK_EQ(pread(fd, end, sizeof end, (off_t)(file_size(path.s) - sizeof end)), sizeof end);
    close(fd);
    CHECK_EQ(batch_head_read(end, &head), 0);
    CHECK(batch_is_end(&head));
    return head.flags & BATCH_FLAG_ORIGINS;
}

TEST(test_the_end_of_a_file_says_whether_batches_have_origins_also_when_recovery_begins_after_them)
{
    struct journal_options o = ten_each;
    o.segment_messages = 100;
    o.segment_bytes = 8 * MIB;
    struct store *s = open_store();
    struct journal *j = open_journal_with(s, "t", o);
    append_from(j, "p", 0, 100);
    for (int i = 0; i < 20; i++)
        append_from(j, NULL, 0, 100 * KIB);
    settle_store(s);
    CHECK(j->checkpoint.position > 500);
    abandon_store(s);                                       /* kill -9: what follows reads from the checkpoint on */
    s = open_store();
    j = open_journal_with(s, "t", ten_each);
    CHECK(j->parts.active->origins);
    append_from(j, NULL, 0, 100);                           /* of another file */
    settle_store(s);
    for (int i = 0; i < 10; i++)
        append_from(j, NULL, 0, 100);
    settle_store(s);
    CHECK(end_says_origins(0));
    CHECK(!end_says_origins(21));
    store_close(s);
    s = open_store();
    j = open_journal_with(s, "t", ten_each);
    struct file_range r = range_from(j, 0, MIB);
    check_no_origins(buf_slice(&r.bytes), r.next);
    buf_fini(&r.bytes);
    check_reads_all(j);
    store_close(s);
}

TEST(test_a_truncation_leaves_the_file_of_a_history_that_was_never_longer)
{
    for (uint64_t to = 4; to <= 8; to += 4) {              /* before the origin, and after it */
        struct store *s = open_store_with((struct store_options){.path = to == 4 ? "data" : "data2", .files_max = 64});
        struct journal *j = open_journal_with(s, "t", ten_each);
        uint64_t gone;
        for (uint64_t i = 0; i < 10; i++)
            append_from(j, i == 6 ? "p" : NULL, 0, 100);
        settle_store(s);
        CHECK_EQ(journal_truncate(j, to, &gone), 0);
        CHECK_EQ(j->parts.active->origins, to == 8);
        while (j->marks.tail < 11)
            append_from(j, NULL, 0, 100);
        settle_store(s);
        slice file = read_whole(path_of("%s/topics/t/%020d.log", to == 4 ? "data" : "data2", 0).s);
        struct batch_head head;
        CHECK_EQ(batch_head_read(file.p + file.n - END_RECORD_SIZE, &head), 0);
        CHECK_EQ(head.flags & BATCH_FLAG_ORIGINS, to == 8 ? BATCH_FLAG_ORIGINS : 0);
        store_close(s);
    }
}

TEST(test_an_end_record_that_contradicts_the_batches_is_damage)
{
    struct store *s = open_store();
    struct journal *j = open_journal_with(s, "t", ten_each);
    for (int i = 0; i < 11; i++)
        append_from(j, i == 3 ? "p" : NULL, 0, 100);
    settle_store(s);
    slice file = file_bytes(0, FILE_SEALED);
    char end[END_RECORD_SIZE];
    uint64_t at = file.n - END_RECORD_SIZE;
    struct batch_head head;
    memcpy(end, file.p + at, sizeof end);
    CHECK_EQ(batch_head_read(end, &head), 0);
    head.flags = BATCH_FLAG_END;
    batch_head_write(end, &head);
    change_file(LOG_0, at, slice_of(end, sizeof end));
    struct reader r = {0};
    struct scan scan;
    const char *bytes;
    int found, fd = open(LOG_0, O_RDONLY);
    CHECK_EQ(reader_init(&r, fd), 0);
    CHECK_EQ(scan_begin(&r, 0, &scan), 0);
    while ((found = scan_next(&r, &scan, &head, &bytes)) == SCAN_BATCH)
        continue;
    CHECK_EQ(found, SCAN_BAD);
    reader_fini(&r);
    close(fd);
    store_close(s);
}
