/* Batches that a follower refuses; nothing changes then. */
#include "unit/two_nodes.h"

#include "base/crc32c.h"

/* The state that a refused run of batches leaves as it is. */
struct still {
    uint64_t tail, epoch, size;
    int64_t time_ms;
    size_t pending;
    uint32_t parts;
    unsigned files;
};

static struct still still_of(const struct node *n)
{
    const struct journal *j = n->journal;
    return (struct still){.tail = j->marks.tail, .epoch = j->marks.epoch,
                          .size = j->parts.active ? j->parts.active->size : 0,
                          .time_ms = j->marks.time_ms, .pending = buf_size(&j->pending), .parts = j->parts.count,
                          .files = count_files(n->path)};
}

static void check_still(const struct node *n, struct still was)
{
    struct still is = still_of(n);
    CHECK_EQ(is.tail, was.tail);
    CHECK_EQ(is.epoch, was.epoch);
    CHECK_EQ(is.size, was.size);
    CHECK_EQ(is.time_ms, was.time_ms);
    CHECK_EQ(is.pending, was.pending);
    CHECK_EQ(is.parts, was.parts);
    CHECK_EQ(is.files, was.files);
}

static void check_refused(struct node *n, struct batch_run s, slice bytes, int code)
{
    struct still was = still_of(n);
    CHECK_EQ(journal_receive(n->journal, &s, bytes), code);
    check_still(n, was);
}

TEST(test_every_flipped_bit_of_a_run_of_batches_is_refused)
{
    struct node a, b;
    struct buf out = {0};
    struct batch_run s = next_run(&a, &b, 12, &out);
    CHECK_EQ(s.next, 14);
    for (size_t bit = 0; bit < buf_size(&out) * 8; bit++) {
        out.data[bit / 8] = (char)(out.data[bit / 8] ^ (1 << bit % 8));
        check_refused(&b, s, buf_slice(&out), -ERR_DAMAGED);
        out.data[bit / 8] = (char)(out.data[bit / 8] ^ (1 << bit % 8));
    }
    for (size_t n = 0; n < buf_size(&out); n++)
        check_refused(&b, s, slice_of(out.data, n), -ERR_DAMAGED);
    CHECK_EQ(journal_receive(b.journal, &s, buf_slice(&out)), 0);
    settle_store(b.store);
    check_same(&a, &b);
    check_refused(&b, s, buf_slice(&out), -ERR_DAMAGED);   /* once more */
    stop_both(&a, &b, &out);
}

TEST(test_a_run_of_batches_that_does_not_fit_the_files_is_refused)
{
    struct node a, b;
    struct buf out = {0};
    struct batch_run good = next_run(&a, &b, 10, &out), s = good;
    slice bytes = buf_slice(&out);
    CHECK(good.has_file_crc);
    s.file_crc ^= 1;
    check_refused(&b, s, bytes, -ERR_DIVERGED);
    s = good;
    s.file_first = 5;
    s.has_file_crc = false;
    check_refused(&b, s, bytes, -ERR_DIVERGED);
    s.file_first = 11;
    check_refused(&b, s, bytes, -ERR_DAMAGED);
    s = good;
    s.first++;
    check_refused(&b, s, bytes, -ERR_DAMAGED);
    s = good;
    s.next++;
    check_refused(&b, s, bytes, -ERR_DAMAGED);
    s = good;
    s.next = s.first;
    check_refused(&b, s, slice_of(bytes.p, 0), -ERR_DAMAGED);
    s = good;
    s.file_first = 0;                      /* our active file; but then no checksum is stated */
    check_refused(&b, s, bytes, -ERR_DAMAGED);
    char *large = mem_new(BATCH_RUN_SIZE_MAX + 1);
    check_refused(&b, good, slice_of(large, BATCH_RUN_SIZE_MAX + 1), -ERR_TOO_LARGE);
    mem_free(large);
    CHECK_EQ(journal_receive(b.journal, &good, bytes), 0);
    settle_store(b.store);
    check_same(&a, &b);
    stop_both(&a, &b, &out);
}

/* Two sound batches at offset 12, one of which is then changed. */
static int receive_made(struct node *b, struct batch_head first, struct batch_head second, const char *message)
{
    struct buf out = {0}, messages = {0};
    message_write(&messages, &(struct message){.payload = SLICE("sound")});
    struct batch_head *heads[] = {&first, &second};
    slice bodies[] = {buf_slice(&messages), message ? slice_of(message, buf_size(&messages)) : buf_slice(&messages)};
    for (int i = 0; i < 2; i++) {
        heads[i]->size = (uint32_t)(BATCH_HEAD_SIZE + bodies[i].n);
        char *p = buf_reserve(&out, heads[i]->size);
        memcpy(p + BATCH_HEAD_SIZE, bodies[i].p, bodies[i].n);
        batch_head_write(p, heads[i]);
        out.end += heads[i]->size;
    }
    struct batch_run s = {.first = 12, .next = 14, .file_first = 10};
    struct still was = still_of(b);
    int rc = journal_receive(b->journal, &s, buf_slice(&out));
    if (rc < 0)
        check_still(b, was);
    buf_fini(&out);
    buf_fini(&messages);
    return rc;
}

TEST(test_sound_batches_of_a_wrong_history_are_refused)
{
    struct node a, b;
    struct buf out = {0};
    next_run(&a, &b, 12, &out);
    struct batch_head one = {.first = 12, .count = 1, .epoch = 4, .time_ms = 6000}, two = one, bad;
    two.first = 13;
    bad = two, bad.epoch = 3;
    CHECK_EQ(receive_made(&b, one, bad, NULL), -ERR_DAMAGED);
    bad = two, bad.time_ms = 5999;
    CHECK_EQ(receive_made(&b, one, bad, NULL), -ERR_DAMAGED);
    bad = two, bad.first = 14;
    CHECK_EQ(receive_made(&b, one, bad, NULL), -ERR_DAMAGED);
    bad = one, bad.epoch = 2;
    CHECK_EQ(receive_made(&b, bad, two, NULL), -ERR_DAMAGED);
    bad = one, bad.time_ms = 5000;
    CHECK_EQ(receive_made(&b, bad, two, NULL), -ERR_DAMAGED);
    bad = one, bad.sequence = 1;       /* of no producer */
    CHECK_EQ(receive_made(&b, bad, two, NULL), -ERR_DAMAGED);
    bad = two, bad.origin = 2;         /* which takes its bytes from the message */
    CHECK_EQ(receive_made(&b, one, bad, NULL), -ERR_DAMAGED);
    CHECK_EQ(receive_made(&b, one, two, "\6\0\0\0\xff\xff\0\0sound"), -ERR_DAMAGED);   /* payload past the batch */
    CHECK_EQ(receive_made(&b, one, two, "\4\0\0\0\xff\xff\0\0sound"), -ERR_DAMAGED);   /* and less */
    CHECK_EQ(receive_made(&b, one, two, NULL), 0);
    CHECK_EQ(b.journal->marks.tail, 14);
    stop_both(&a, &b, &out);
}

static int no_space(int fd, off_t from, off_t n)
{
    (void)fd, (void)from, (void)n;
    return ENOSPC;
}

TEST(test_what_does_not_fit_on_the_disk_is_refused_and_received_later)
{
    for (uint64_t have = 10; have <= 12; have += 2) {
        struct node a, b;
        struct buf out = {0};
        next_run(&a, &b, have, &out);
        buf_clear(&out);
        append_some(a.journal, 1, 100 * KIB);
        settle_store(a.store);
        struct batch_run s;
        CHECK_EQ(journal_read_batches(a.journal, have, UINT64_MAX, MIB, &out, &s), 0);
        int (*allocate)(int, off_t, off_t) = io.allocate;
        io.allocate = no_space;
        check_refused(&b, s, buf_slice(&out), -ENOSPC);
        io.allocate = allocate;
        CHECK_EQ(journal_receive(b.journal, &s, buf_slice(&out)), 0);
        settle_store(a.store);
        settle_store(b.store);
        check_same(&a, &b);
        stop_both(&a, &b, &out);
        CHECK_EQ(run("rm -r data other"), 0);
    }
}
