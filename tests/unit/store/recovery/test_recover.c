#include "unit/journals.h"
#include "command/verify.h"

#include <dirent.h>

#include "store/format/scan.h"

/* A topic of `count` batches, killed; each batch is synced before the next if `synced`. The bytes of its file, without
 * the zeros at the end. */
static slice killed_topic(int count, bool synced)
{
    struct store *s = open_store();
    struct journal *j = open_journal(s, "t");
    for (int i = 0; i < count; i++) {
        append_some(j, 1 + (uint32_t)i % 3, 20);
        if (synced)
            settle_store(s);
    }
    store_flush(s);
    size_t end = j->parts.active->written;
    abandon_store(s);
    slice bytes = read_whole(FILE_0);
    return slice_of(bytes.p, end);
}

/* Where each batch in a file's bytes begins, and its offset; the last entry is the end. */
static int boundaries(slice bytes, struct place *out)
{
    int n = 0;
    struct batch_head head;
    struct place at = {0, FILE_HEAD_SIZE};
    for (; at.position < bytes.n; at.position += head.size, at.offset += head.count) {
        out[n++] = at;
        CHECK_EQ(batch_head_read(bytes.p + at.position, &head), 0);
    }
    out[n++] = at;
    return n;
}

/* Writes the file again, with zeros after n bytes, as allocated space reads. */
static void lay_file(const char *path, slice bytes, size_t n)
{
    char *padded = mem_new(bytes.n + 4096);
    memcpy(padded, bytes.p, n);
    put_file(path, slice_of(padded, bytes.n + 4096));
    mem_free(padded);
}

static void empty_folder(const char *path)
{
    DIR *dir = opendir(path);
    for (struct dirent *e; (e = readdir(dir));)
        unlinkat(dirfd(dir), e->d_name, 0);
    closedir(dir);
}

static void reset_topic(void)
{
    empty_folder("data/topics/t");
    empty_folder("data/torn");
}

static uint64_t whole_batches(const struct place *at, int count, size_t n)
{
    uint64_t offset = 0;
    for (int i = 0; i < count; i++)
        if (at[i].position <= n)
            offset = at[i].offset;
    return offset;
}

TEST(test_every_prefix_of_a_file_recovers_to_its_whole_batches)
{
    skip_syncs();
    struct place at[32];
    slice bytes = killed_topic(10, false);
    int count = boundaries(bytes, at);
    struct store *s = open_store();
    for (size_t n = 0; n <= bytes.n; n++) {
        reset_topic();
        lay_file(FILE_0, bytes, n);
        struct journal *j = open_journal(s, "t");
        CHECK_EQ(j->marks.tail, whole_batches(at, count, n));
        CHECK_EQ(j->marks.disk, j->marks.tail);
        CHECK_EQ(j->damage.count, 0);
        check_reads_all(j);
        append_some(j, 2, 50);             /* and appends continue there */
        settle_store(s);
        check_reads_all(j);
        abandon_journal(j);
    }
    abandon_store(s);
}

TEST(test_a_file_that_just_ends_is_like_one_with_zeros)
{
    skip_syncs();
    struct place at[32];
    slice bytes = killed_topic(5, false);
    int count = boundaries(bytes, at);
    struct store *s = open_store();
    for (size_t n = 0; n <= bytes.n; n++) {
        reset_topic();
        put_file(FILE_0, slice_of(bytes.p, n));
        struct journal *j = open_journal(s, "t");
        CHECK_EQ(j->marks.tail, whole_batches(at, count, n));
        check_reads_all(j);
        abandon_journal(j);
    }
    abandon_store(s);
}

/* What was acknowledged is either there or refused; its offsets are not given out again. */
TEST(test_a_prefix_shorter_than_what_was_promised_is_damage)
{
    skip_syncs();
    struct place at[32];
    slice bytes = killed_topic(10, true);
    int count = boundaries(bytes, at);
    uint64_t promised = at[count - 1].offset;
    struct store *s = open_store();
    for (size_t n = 0; n < bytes.n; n += 3) {
        reset_topic();
        lay_file(FILE_0, bytes, n);
        struct checkpoint c = {.sequence = 1, .first = 77, .position = 64, .next = 77, .disk = promised};
        CHECK_EQ(checkpoint_save("data/topics/t/checkpoint", &c), 0);
        struct journal *j = open_journal(s, "t");
        CHECK_EQ(j->marks.tail, promised);
        CHECK(j->damage.count > 0);
        uint64_t whole = whole_batches(at, count, n);
        CHECK_EQ(check_reads_right_or_refused(j), promised - whole);
        append_some(j, 1, 10);
        settle_store(s);
        CHECK_EQ(read_all_of(j, promised, promised + 1), promised + 1);
        abandon_journal(j);
        CHECK_SLICE(slice_of(unit_read_file(LOG_0).p, n), slice_of(bytes.p, n));    /* nothing was touched */
        j = open_journal(s, "t");          /* and it is the same after the next start */
        CHECK_EQ(j->marks.tail, promised + 1);
        CHECK_EQ(check_reads_right_or_refused(j), promised - whole);
        abandon_journal(j);
    }
    abandon_store(s);
}

TEST(test_every_flipped_bit_of_an_active_file_is_detected_or_harmless)
{
    skip_syncs();
    struct place at[32];
    slice bytes = killed_topic(3, true);
    int count = boundaries(bytes, at);
    uint64_t promised = at[count - 2].offset;     /* the disk mark that the last batch states */
    char flipped[1024];
    CHECK(bytes.n <= sizeof flipped);
    memcpy(flipped, bytes.p, bytes.n);
    struct store *s = open_store();
    for (size_t bit = 0; bit < bytes.n * 8; bit++) {
        flipped[bit / 8] = (char)(bytes.p[bit / 8] ^ (1 << bit % 8));
        reset_topic();
        lay_file(FILE_0, slice_of(flipped, bytes.n), bytes.n);
        struct journal *j;
        int rc = journal_open(s, SLICE("t"), &small_files, &j);
        if (rc < 0) {
            CHECK_EQ(rc, -ERR_FORMAT);     /* a flip in the magic: refused, untouched */
            CHECK(bit < 64);
        } else {
            CHECK(j->marks.tail >= promised);
            check_reads_right_or_refused(j);
            abandon_journal(j);
        }
        flipped[bit / 8] = bytes.p[bit / 8];
    }
    abandon_store(s);
}

TEST(test_every_flipped_bit_of_a_sealed_file_is_detected)
{
    skip_syncs();
    struct journal_options o = small_files;
    o.segment_messages = 3;
    struct store *s = open_store();
    struct journal *j = open_journal_with(s, "t", o);
    for (int i = 0; i < 5; i++)
        append_some(j, 1, 20);
    store_close(s);
    slice bytes = read_whole(LOG_0);
    s = open_store();
    for (size_t bit = 0; bit < bytes.n * 8; bit++) {
        char flipped = (char)(bytes.p[bit / 8] ^ (1 << bit % 8));
        change_file(LOG_0, bit / 8, slice_of(&flipped, 1));
        int rc = journal_open(s, SLICE("t"), &small_files, &j);
        if (rc < 0)
            CHECK_EQ(rc, -ERR_FORMAT);
        else {
            CHECK_EQ(j->marks.tail, 5);
            uint64_t refused = check_reads_right_or_refused(j);
            CHECK(refused <= 1);           /* a flip costs its own batch and no other */
            CHECK(j->damage.count >= 1 || bit / 8 >= bytes.n - 4 - 4);
        }
        if (rc == 0)
            abandon_journal(j);
        change_file(LOG_0, bit / 8, slice_of(bytes.p + bit / 8, 1));
    }
    abandon_store(s);
}

static void spoil(const char *path, uint64_t at)
{
    change_file(path, at, SLICE("\xff\xfe\xfd\xfc"));
}

TEST(test_a_torn_tail_is_cut_and_kept_aside_even_with_valid_batches_after_it)
{
    struct place at[32];
    slice bytes = killed_topic(10, false);
    int count = boundaries(bytes, at);
    spoil(FILE_0, at[5].position + 70);
    slice spoiled = read_whole(FILE_0);
    struct store *s = open_store();
    struct journal *j = open_journal(s, "t");
    CHECK_EQ(j->marks.tail, at[5].offset);
    CHECK_EQ(s->stats.torn_bytes, bytes.n - at[5].position);
    char name[64];
    snprintf(name, sizeof name, "data/torn/t-%" PRIu64 "-0.bin", at[5].offset);
    CHECK_SLICE(unit_read_file(name), slice_of(spoiled.p + at[5].position, bytes.n - at[5].position));
    append_some(j, 1, 5);                  /* shorter than the bytes that were there */
    settle_store(s);
    abandon_store(s);
    s = open_store();
    j = open_journal(s, "t");
    CHECK_EQ(j->marks.tail, at[5].offset + 1);   /* nothing of the old tail comes back */
    check_reads_all(j);
    store_close(s);
    (void)count;
}

TEST(test_damage_below_the_disk_mark_is_refused_and_what_follows_stays_readable)
{
    struct place at[32];
    slice bytes = killed_topic(10, true);
    int count = boundaries(bytes, at);
    spoil(FILE_0, at[5].position + 70);
    slice spoiled = read_whole(FILE_0);
    struct store *s = open_store();
    struct journal *j = open_journal(s, "t");
    CHECK_EQ(j->marks.tail, at[count - 1].offset);
    CHECK_EQ(j->damage.count, 1);
    CHECK_EQ(j->damage.ranges[0].from, at[5].offset);
    CHECK_EQ(j->damage.ranges[0].to, at[6].offset);
    CHECK_EQ(check_reads_right_or_refused(j), at[6].offset - at[5].offset);
    CHECK_EQ(s->stats.torn_bytes, 0);
    CHECK_SLICE(unit_read_file(LOG_0), spoiled);
    store_close(s);
}

TEST(test_a_bad_batch_after_a_clean_stop_is_damage_when_it_is_read)
{
    struct store *s = open_store();
    struct journal *j = open_journal(s, "t");
    for (int i = 0; i < 10; i++)
        append_some(j, 1, 100);
    store_close(s);
    struct place at[32];
    slice bytes = read_whole(FILE_0);
    bytes.n = 64 + 10 * (BATCH_HEAD_SIZE + MESSAGE_HEAD_SIZE + 1 + 100);
    CHECK_EQ(boundaries(bytes, at), 11);
    spoil(FILE_0, at[4].position + 80);
    s = open_store();
    j = open_journal(s, "t");
    CHECK_EQ(j->marks.tail, 10);
    CHECK_EQ(read_all_of(j, 0, 4), 4);
    CHECK_EQ(read_all_of(j, 4, 5), -ERR_DAMAGED);
    CHECK_EQ(read_all_of(j, 5, 10), 10);
    CHECK_EQ(j->damage.count, 1);
    append_some(j, 1, 10);                 /* the topic can be appended to */
    settle_store(s);
    CHECK_EQ(read_all_of(j, 5, 11), 11);
    store_close(s);
}

/* Three files: two that were sealed, [0,10) and [10,20), and the active one with five messages. */
static struct journal_options ten_each(void)
{
    struct journal_options o = small_files;
    o.segment_messages = 10;
    return o;
}

#define FILE_10 "data/topics/t/00000000000000000010.qwal"
#define LOG_10 "data/topics/t/00000000000000000010.log"
#define FILE_20 "data/topics/t/00000000000000000020.qwal"

static void three_files(bool synced)
{
    struct store *s = open_store();
    struct journal *j = open_journal_with(s, "t", ten_each());
    for (int i = 0; i < 25; i++) {
        append_some(j, 1, 30);
        if (synced)
            settle_store(s);
    }
    settle_store(s);
    abandon_store(s);
}

static void check_recovers_to(uint64_t tail)
{
    for (int again = 0; again < 2; again++) {
        struct store *s = open_store();
        struct journal *j = open_journal_with(s, "t", ten_each());
        CHECK_EQ(j->marks.tail, tail);
        CHECK_EQ(j->damage.count, 0);
        check_reads_all(j);
        settle_store(s);
        abandon_store(s);
    }
}

TEST(test_a_sealed_file_whose_rename_was_lost_is_renamed)
{
    three_files(true);
    CHECK_EQ(rename(LOG_10, FILE_10), 0);
    CHECK_EQ(rename(LOG_0, FILE_0), 0);
    CHECK_EQ(truncate(FILE_0, 65536), 0);  /* and so was its truncation */
    check_recovers_to(25);
    CHECK(exists(LOG_0));
    CHECK(exists(LOG_10));
    CHECK(file_size(LOG_0) < 4096);
}

TEST(test_renames_may_reach_the_disk_in_any_order)
{
    three_files(true);
    CHECK_EQ(rename(LOG_0, FILE_0), 0);
    check_recovers_to(25);
}

TEST(test_a_lost_end_record_is_written_again)
{
    three_files(true);
    uint64_t size = file_size(LOG_10);
    slice before = read_whole(LOG_10);
    CHECK_EQ(rename(LOG_10, FILE_10), 0);
    for (uint64_t n = size - END_RECORD_SIZE; n < size; n += 11) {
        if (exists(LOG_10))
            CHECK_EQ(rename(LOG_10, FILE_10), 0);
        CHECK_EQ(truncate(FILE_10, (off_t)n), 0);
        CHECK_EQ(truncate(FILE_10, 65536), 0);
        check_recovers_to(25);
        CHECK_SLICE(unit_read_file(LOG_10), before);
    }
}

TEST(test_files_after_a_torn_tail_are_set_aside_with_it)
{
    three_files(false);
    uint64_t size = file_size(LOG_10);
    CHECK_EQ(rename(LOG_10, FILE_10), 0);
    CHECK_EQ(truncate(FILE_10, (off_t)(size - END_RECORD_SIZE - 50)), 0);   /* its last batch and end record */
    check_recovers_to(19);
    CHECK(!exists(FILE_20));
    CHECK(exists("data/torn/t-20-0.qwal"));
    CHECK(exists("data/torn/t-19-0.bin"));
}

TEST(test_a_file_whose_header_never_came_is_dropped)
{
    three_files(true);
    char zeros[4096] = {0};
    put_file(FILE_20, slice_of(zeros, sizeof zeros));
    check_recovers_to(20);
    CHECK(!exists(FILE_20));
    put_file(FILE_20, SLICE(""));
    check_recovers_to(20);
}

TEST(test_more_unsealed_files_than_may_be_open_recover_all_the_same)
{
    three_files(true);
    char zeros[4096] = {0};
    CHECK_EQ(rename(LOG_10, FILE_10), 0);
    CHECK_EQ(rename(LOG_0, FILE_0), 0);
    put_file(FILE_20, slice_of(zeros, sizeof zeros));
    struct store *s = open_store_with((struct store_options){.files_max = 1});
    struct journal *j = open_journal_with(s, "t", ten_each());
    CHECK_EQ(j->marks.tail, 20);
    check_reads_all(j);
    store_close(s);
}

TEST(test_a_missing_file_is_refused_and_not_skipped)
{
    three_files(true);
    CHECK_EQ(unlink(LOG_10), 0);
    struct store *s = open_store();
    struct journal *j = open_journal_with(s, "t", ten_each());
    CHECK_EQ(j->marks.tail, 25);
    CHECK_EQ(j->damage.count, 1);
    CHECK_EQ(check_reads_right_or_refused(j), 10);
    CHECK_EQ(read_all_of(j, 5, 25), -ERR_DAMAGED);
    CHECK_EQ(read_all_of(j, 20, 25), 25);
    store_close(s);
}

TEST(test_a_missing_active_file_does_not_begin_again_below_what_was_promised)
{
    struct store *s = open_store();
    struct journal *j = open_journal_with(s, "t", ten_each());
    for (int i = 0; i < 25; i++)
        append_some(j, 1, 30);
    store_close(s);
    CHECK_EQ(unlink(FILE_20), 0);
    for (int again = 0; again < 2; again++) {
        s = open_store();
        j = open_journal_with(s, "t", ten_each());
        CHECK_EQ(j->marks.tail, 25);
        CHECK_EQ(check_reads_right_or_refused(j), 5);
        store_close(s);
    }
    CHECK_EQ(run("rm data/topics/t/*.log data/topics/t/*.qwal"), 0);
    s = open_store();
    j = open_journal_with(s, "t", ten_each());
    CHECK_EQ(j->marks.tail, 25);
    store_close(s);
}

TEST(test_a_sealed_file_without_its_end_is_damage)
{
    three_files(true);
    CHECK_EQ(truncate(LOG_0, (off_t)file_size(LOG_0) - END_RECORD_SIZE - 20), 0);
    struct store *s = open_store();
    struct journal *j = open_journal_with(s, "t", ten_each());
    CHECK_EQ(j->marks.tail, 25);
    CHECK_EQ(check_reads_right_or_refused(j), 1);
    CHECK(j->damage.count > 0);
    store_close(s);
}

TEST(test_a_reader_who_stands_before_a_lost_end_is_refused_each_time)
{
    three_files(true);
    uint64_t batch = BATCH_HEAD_SIZE + MESSAGE_HEAD_SIZE + 1 + 30;
    slice all = read_whole(LOG_0);         /* without its last batch, so that the end record follows the one before */
    struct buf cut = {0};
    buf_add(&cut, all.p, FILE_HEAD_SIZE + 9 * batch);
    buf_add(&cut, all.p + all.n - END_RECORD_SIZE, END_RECORD_SIZE);
    put_file(LOG_0, buf_slice(&cut));
    buf_fini(&cut);
    struct store *s = open_store();
    struct journal *j = open_journal_with(s, "t", ten_each());
    for (int again = 0; again < 3; again++) {
        struct buf out = {0};
        uint64_t next;
        CHECK_EQ(journal_read(j, 0, 25, MIB, &out, &next), 0);
        CHECK_EQ(next, 9);
        CHECK_EQ(journal_read(j, 9, 25, MIB, &out, &next), -ERR_DAMAGED);
        CHECK_EQ(read_all_of(j, 10, 25), 25);
        buf_fini(&out);
    }
    store_close(s);
}

TEST(test_a_foreign_or_newer_file_is_refused_and_not_touched)
{
    three_files(true);
    slice good = read_whole(FILE_20);
    struct file_head head;
    unsigned version;
    CHECK_EQ(file_head_read((const unsigned char *)good.p, &head, &version), 0);
    for (int kind = 0; kind < 3; kind++) {
        struct file_head other = head;
        other.cluster.bytes[0] ^= kind == 0;
        other.topic.offset += kind == 1;
        unsigned char bytes[FILE_HEAD_SIZE];
        file_head_write(bytes, &other);
        bytes[0] ^= kind == 2;
        change_file(FILE_20, 0, slice_of((char *)bytes, sizeof bytes));
        slice before = read_whole(FILE_20);
        struct store *s = open_store();
        struct journal *j;
        struct journal_options o = ten_each();
        CHECK_EQ(journal_open(s, SLICE("t"), &o, &j), kind == 1 ? -ERR_TOPIC_EXISTS : -ERR_FORMAT);
        store_close(s);
        CHECK_SLICE(unit_read_file(FILE_20), before);
    }
}

TEST(test_a_damaged_file_header_costs_no_message)
{
    three_files(true);
    spoil(FILE_20, 20);
    struct store *s = open_store();
    struct journal *j = open_journal_with(s, "t", ten_each());
    CHECK_EQ(j->marks.tail, 25);
    CHECK(j->damage.count > 0);
    CHECK_EQ(check_reads_right_or_refused(j), 0);
    store_close(s);
}

TEST(test_a_falling_epoch_is_damage)
{
    struct store *s = open_store();
    struct journal *j = open_journal(s, "t");
    j->marks.epoch = 7;
    append_some(j, 1, 20);
    append_some(j, 1, 20);
    settle_store(s);
    uint64_t end = j->parts.active->written;
    j->marks.epoch = 0;                          /* what no correct leader does */
    append_some(j, 1, 20);
    settle_store(s);
    abandon_store(s);
    (void)end;
    s = open_store();
    j = open_journal(s, "t");
    CHECK_EQ(j->damage.count, 1);
    CHECK_EQ(j->marks.tail, 3);
    CHECK_EQ(read_all_of(j, 0, 2), 2);
    CHECK_EQ(read_all_of(j, 2, 3), -ERR_DAMAGED);
    CHECK(exists(LOG_0));
    store_close(s);
}

static struct store *store_of_megabytes(struct journal **j)
{
    struct store *s = open_store();
    struct journal_options o = small_files;
    o.segment_bytes = 16 * MIB;
    *j = open_journal_with(s, "t", o);
    while ((*j)->marks.tail < 3000) {
        for (int i = 0; i < 100; i++)
            append_some(*j, 1, 1000);
        settle_store(s);
    }
    return s;
}

TEST(test_recovery_reads_from_the_checkpoint_on)
{
    struct journal *j;
    struct store *s = store_of_megabytes(&j);
    uint64_t position = j->checkpoint.position;
    CHECK(position >= 2 * MIB);
    abandon_store(s);
    spoil(FILE_0, 500 * KIB);              /* recovery does not read what is below it */
    s = open_store();
    j = open_journal(s, "t");
    CHECK_EQ(j->marks.tail, 3000);
    CHECK_EQ(j->damage.count, 0);
    CHECK_EQ(check_reads_right_or_refused(j), 1);    /* but a reader does */
    store_close(s);
}

TEST(test_a_checkpoint_that_lies_costs_no_message)
{
    struct journal *j;
    struct store *s = store_of_megabytes(&j);
    abandon_store(s);
    struct checkpoint c;
    CHECK_EQ(checkpoint_load("data/topics/t/checkpoint", &c), 0);
    c.sequence++;
    c.position -= 100;
    CHECK_EQ(checkpoint_save("data/topics/t/checkpoint", &c), 0);
    s = open_store();
    j = open_journal(s, "t");
    CHECK_EQ(j->marks.tail, 3000);
    CHECK_EQ(j->damage.count, 0);
    check_reads_all(j);
    store_close(s);
}

/* The header of a file without batches states the epoch in which the file was begun, until the first batch is added. */
TEST(test_a_header_that_was_written_again_after_the_checkpoint_is_in_the_checksum)
{
    struct store *s = open_store();
    struct journal *j = open_journal(s, "t");
    append_some(j, 3, 50);
    settle_store(s);
    uint64_t messages;
    CHECK_EQ(truncate_now(j, 0, &messages), 0);
    j->marks.epoch = 9;
    append_some(j, 1, 50);
    settle_store(s);
    abandon_store(s);
    s = open_store();
    j = open_journal(s, "t");
    CHECK_EQ(j->marks.tail, 1);
    struct journal_options o = small_files;
    o.segment_messages = 1;
    journal_set_options(j, &o);
    append_some(j, 1, 50);
    store_close(s);
    CHECK(exists(LOG_0));
    CHECK_EQ(data_verify("data"), 0);
}

TEST(test_a_torn_checkpoint_leaves_the_one_before)
{
    struct checkpoint a = {.sequence = 4, .first = 1, .position = 64, .next = 5}, b = a, got;
    b.sequence = 5;
    b.next = 6;
    CHECK_EQ(checkpoint_save("c", &a), 0);
    CHECK_EQ(checkpoint_save("c", &b), 0);
    CHECK_EQ(checkpoint_load("c", &got), 0);
    CHECK_EQ(got.next, 6);
    for (uint64_t at = 128; at < 256; at++) {
        CHECK_EQ(checkpoint_save("c", &b), 0);
        change_file("c", at, SLICE("\xee"));
        CHECK_EQ(checkpoint_load("c", &got), 0);
        CHECK_EQ(got.next, 5);
    }
    CHECK_EQ(checkpoint_load("none", &got), -ENOENT);
}

TEST(test_a_clean_checkpoint_of_an_earlier_run_hides_nothing)
{
    struct store *s = open_store();
    struct journal *j = open_journal(s, "t");
    append_some(j, 5, 100);
    store_close(s);
    s = open_store();
    j = open_journal(s, "t");
    append_some(j, 5, 100);
    settle_store(s);
    abandon_store(s);                      /* killed; then a run that does not open the topic ends cleanly */
    store_close(open_store());
    s = open_store();
    j = open_journal(s, "t");
    CHECK_EQ(j->marks.tail, 10);
    check_reads_all(j);
    store_close(s);
}

/* A payload that contains a batch is not taken for a batch of the log when the bytes before it are torn. */
TEST(test_a_payload_that_looks_like_a_batch_of_a_far_offset_decides_nothing)
{
    struct buf inner = {0}, messages = {0};
    struct message small = {.payload = SLICE("evil")};
    buf_reserve(&inner, BATCH_HEAD_SIZE);
    inner.end += BATCH_HEAD_SIZE;
    message_write(&inner, &small);
    struct batch_head head = {.size = (uint32_t)buf_size(&inner), .first = UINT64_C(1) << 60, .count = 1, .epoch = 9,
                              .disk = UINT64_C(1) << 60};
    batch_head_write(inner.data, &head);
    struct message carrier = {.payload = buf_slice(&inner)};
    message_write(&messages, &carrier);
    struct store *s = open_store();
    struct journal *j = open_journal(s, "t");
    append_some(j, 1, 20);
    uint64_t at = j->parts.active->size, first;
    struct append a = {.messages = buf_slice(&messages), .count = 1, .epoch = 1};
    CHECK_EQ(journal_append(j, &a, &first), 0);
    settle_store(s);
    abandon_store(s);
    spoil(FILE_0, at + 8);
    s = open_store();
    j = open_journal(s, "t");
    CHECK_EQ(j->marks.tail, 1);
    CHECK_EQ(j->damage.count, 0);
    store_close(s);
    buf_fini(&inner);
    buf_fini(&messages);
}

/* After kills at random moments, what was acknowledged is there once and in order. */
TEST(test_a_store_killed_at_random_keeps_what_it_acknowledged)
{
    skip_syncs();
    srand(7);
    uint64_t acknowledged = 0;
    struct journal_options o = small_files;
    o.segment_messages = 40;
    for (int life = 0; life < 300; life++) {
        struct store *s = open_store_with((struct store_options){.files_max = 3});
        struct journal *j = open_journal_with(s, "t", o);
        CHECK(j->marks.tail >= acknowledged);
        CHECK_EQ(j->damage.count, 0);
        check_reads_all(j);
        for (int step = rand() % 40; step > 0; step--) {
            append_some(j, 1 + (uint32_t)rand() % 3, (size_t)rand() % 3000);
            if (rand() % 3 == 0)
                store_flush(s);
            if (rand() % 5 == 0)
                store_sync(s);
            if (rand() % 5 == 0)
                store_collect(s);
        }
        acknowledged = j->marks.disk;
        if (rand() % 4 == 0)
            store_close(s);
        else
            abandon_store(s);
    }
    CHECK(acknowledged > 1000);
}
