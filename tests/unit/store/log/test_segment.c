#include "unit/journals.h"

#include <fcntl.h>

#include "store/format/scan.h"

/* Bytes of a file with `count` batches of one message. */
static slice some_file(int count, size_t size)
{
    struct store *s = open_store();
    struct journal *j = open_journal(s, "t");
    append_each(j, count, size);
    settle_store(s);
    size_t end = j->parts.active->written;
    abandon_store(s);
    slice all = read_whole(FILE_0);
    return slice_of(all.p, end);
}

static int scan_file(const char *path, struct reader *r, struct scan *s)
{
    int fd = open(path, O_RDONLY);
    CHECK(fd >= 0);
    *r = (struct reader){0};
    CHECK_EQ(reader_init(r, fd), 0);
    CHECK_EQ(scan_begin(r, 0, s), 0);
    struct batch_head head;
    const char *bytes;
    int found;
    while ((found = scan_next(r, s, &head, &bytes)) == SCAN_BATCH)
        ;
    return found;
}

TEST(test_a_scan_goes_to_the_end_also_over_large_batches)
{
    struct store *s = open_store();
    struct journal_options o = small_files;
    o.segment_bytes = 64 * MIB;
    struct journal *j = open_journal_with(s, "t", o);
    append_some(j, 8, 900 * KIB);          /* larger than the reader's chunk */
    append_some(j, 1, 10);
    append_some(j, 3, 100 * KIB);
    store_close(s);
    struct reader r;
    struct scan scan;
    CHECK_EQ(scan_file(FILE_0, &r, &scan), SCAN_END);
    CHECK_EQ(scan.next, 12);
    reader_fini(&r);
}

TEST(test_the_search_finds_the_next_batch_wherever_it_begins)
{
    slice bytes = some_file(5, 50);
    size_t batch = (bytes.n - FILE_HEAD_SIZE) / 5;
    for (size_t shift = 0; shift < 300; shift += 7) {
        struct buf out = {0};              /* two batches, invalid bytes, the last two batches */
        buf_add(&out, bytes.p, FILE_HEAD_SIZE + 2 * batch);
        for (size_t i = 0; i < batch + shift; i++)
            buf_add_char(&out, (char)(i * 7 + 1));
        buf_add(&out, bytes.p + FILE_HEAD_SIZE + 3 * batch, 2 * batch);
        put_file("f", buf_slice(&out));
        struct reader r;
        struct scan scan;
        CHECK_EQ(scan_file("f", &r, &scan), SCAN_BAD);
        CHECK_EQ(scan.next, 2);
        CHECK_EQ(scan_resync(&r, &scan), 1);
        CHECK_EQ(scan.next, 3);
        CHECK_EQ(scan.position, FILE_HEAD_SIZE + 3 * batch + shift);
        reader_fini(&r);
        buf_fini(&out);
    }
}

TEST(test_the_search_ends_where_nothing_follows)
{
    slice bytes = some_file(3, 50);
    struct buf out = {0};
    buf_add_slice(&out, bytes);
    for (int i = 0; i < 600 * 1000; i++)
        buf_add_char(&out, (char)(i % 251));
    put_file("f", buf_slice(&out));
    struct reader r;
    struct scan scan;
    CHECK_EQ(scan_file("f", &r, &scan), SCAN_BAD);
    struct scan before = scan;
    CHECK_EQ(scan_resync(&r, &scan), 0);
    CHECK_EQ(scan.position, before.position);
    uint64_t end;
    CHECK_EQ(reader_last_byte(&r, scan.position, &end), 0);
    CHECK_EQ(end, buf_size(&out));
    reader_fini(&r);
    buf_fini(&out);
}

TEST(test_allocated_space_is_not_read)
{
    int fd = open("f", O_RDWR | O_CREAT, 0600);
    CHECK_EQ(posix_fallocate(fd, 0, 64 * MIB), 0);
    CHECK_EQ(pwrite(fd, "x", 1, 5000), 1);
    struct reader r = {0};
    CHECK_EQ(reader_init(&r, fd), 0);
    CHECK(r.size >= 5001);
    uint64_t end;
    CHECK_EQ(reader_last_byte(&r, 0, &end), 0);
    CHECK_EQ(end, 5001);
    reader_fini(&r);
    close(fd);
}

TEST(test_an_index_answers_by_offset_position_and_time)
{
    struct index ix;
    index_init(&ix);
    CHECK(index_at_offset(&ix, 5) == NULL);
    for (uint64_t i = 1; i <= 10; i++)
        index_put(&ix, (struct index_entry){i * 10, i * 1000, (int64_t)i * 100});
    CHECK(index_at_offset(&ix, 9) == NULL);
    CHECK_EQ(index_at_offset(&ix, 10)->offset, 10);
    CHECK_EQ(index_at_offset(&ix, 19)->offset, 10);
    CHECK_EQ(index_at_offset(&ix, 1000)->offset, 100);
    CHECK_EQ(index_at_position(&ix, 2999)->offset, 20);
    CHECK(index_before_time(&ix, 100) == NULL);
    CHECK_EQ(index_before_time(&ix, 101)->offset, 10);
    CHECK_EQ(index_save(&ix, "ix"), 0);
    struct index other;
    index_init(&other);
    CHECK_EQ(index_load(&other, "ix"), 0);
    CHECK_EQ(other.count, 10);
    CHECK(memcmp(other.entries, ix.entries, 10 * sizeof *ix.entries) == 0);
    index_fini(&other);
    index_fini(&ix);
}

TEST(test_an_index_file_with_any_flipped_bit_is_not_used)
{
    struct index ix, other;
    index_init(&ix);
    index_init(&other);
    for (uint64_t i = 1; i <= 3; i++)
        index_put(&ix, (struct index_entry){i, i, (int64_t)i});
    CHECK_EQ(index_save(&ix, "ix"), 0);
    slice good = read_whole("ix");
    for (size_t bit = 0; bit < good.n * 8; bit++) {
        char c = (char)(good.p[bit / 8] ^ (1 << bit % 8));
        change_file("ix", bit / 8, slice_of(&c, 1));
        CHECK(index_load(&other, "ix") < 0);
        CHECK_EQ(other.count, 0);
        change_file("ix", bit / 8, slice_of(good.p + bit / 8, 1));
    }
    index_fini(&ix);
}

static int evicted;

static void on_evict(struct file *f)
{
    CHECK_EQ(f->fd, -1);
    evicted++;
}

TEST(test_the_file_used_longest_ago_is_closed_and_a_pinned_one_is_not)
{
    struct files files;
    struct file f[4];
    files_init(&files, 3, on_evict);
    put_file("f", SLICE("x"));
    for (int i = 0; i < 3; i++) {
        file_init(&f[i]);
        CHECK_EQ(files_open(&files, &f[i], "f", O_RDONLY), 0);
    }
    file_init(&f[3]);
    f[0].pins = 1;
    files_touch(&files, &f[1]);
    f[2].dirty = true;
    CHECK_EQ(files_open(&files, &f[3], "f", O_RDONLY), 0);
    CHECK_EQ(evicted, 1);
    CHECK_EQ(f[2].fd, -1);
    CHECK(files.dirty_closed);
    CHECK(f[0].fd >= 0 && f[1].fd >= 0 && f[3].fd >= 0);
    CHECK_EQ(files.open, 3);
    f[0].pins = 0;
    for (int i = 0; i < 4; i++)
        files_close(&files, &f[i]);
    CHECK_EQ(files.open, 0);
}
