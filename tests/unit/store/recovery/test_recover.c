/* Recovery of an active file: its end, torn tails and damage. */
#include "unit/journals.h"
#include "command/verify.h"

#include <dirent.h>

#include "store/format/scan.h"

/* Appends `count` batches to a topic and kills the store; with `synced` each batch is synced before the next. Returns
 * the bytes of its file, without the zeros at the end. */
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
    mkdir("data/topics/t", 0755);
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

/* A message that was acknowledged is read or refused; its offset is not assigned again. */
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
    struct store *s = open_store();
    struct journal *j = open_journal_with(s, "t", files_of(3));
    append_each(j, 5, 20);
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
    append_each(j, 10, 100);
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

/* After kills at random moments, the acknowledged messages are there once and in order. */
TEST(test_a_store_killed_at_random_keeps_what_it_acknowledged)
{
    skip_syncs();
    srand(7);
    uint64_t acknowledged = 0;
    struct journal_options o = files_of(40);
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
