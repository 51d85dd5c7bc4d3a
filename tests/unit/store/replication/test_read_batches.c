#include "unit/journals.h"
#include "command/verify.h"

#include <dirent.h>

#include "base/crc32c.h"

static const struct journal_options ten_each = {
    .id = {1, 5}, .segment_messages = 10, .segment_bytes = 1 * MIB, .durability = DURABILITY_COMMIT,
};

/* Two nodes of one cluster with a topic "t" each. */
struct node {
    const char *path;
    struct store *store;
    struct journal *journal;
    struct journal_options options;
};

static void node_open(struct node *n, const char *path, const struct id *cluster)
{
    n->path = path;
    n->store = open_store_with((struct store_options){.path = path, .files_max = 4});
    if (cluster && !id_eq(cluster, &n->store->disk.state.cluster))
        CHECK_EQ(store_set_cluster(n->store, cluster), 0);
    n->journal = open_journal_with(n->store, "t", n->options);
    CHECK_EQ(n->journal->damage.count, 0);
}

static void node_stop(struct node *n, bool kill)
{
    if (kill)
        abandon_store(n->store);
    else
        store_close(n->store);
}

static void two_nodes(struct node *a, struct node *b, struct journal_options o)
{
    *a = *b = (struct node){.options = o};
    node_open(a, "data", NULL);
    node_open(b, "other", &a->store->disk.state.cluster);
}

static void stop_both(struct node *a, struct node *b, struct buf *out)
{
    node_stop(a, false);
    node_stop(b, false);
    buf_fini(out);
}

static int replicate_once(struct node *a, struct node *b, size_t bytes_max)
{
    struct buf out = {0};
    struct batch_run s;
    store_flush(a->store);
    CHECK_EQ(journal_read_batches(a->journal, b->journal->marks.tail, UINT64_MAX, bytes_max, &out, &s), 0);
    int rc = s.next > s.first ? journal_receive(b->journal, &s, buf_slice(&out)) : 0;
    buf_fini(&out);
    return rc;
}

static void replicate_all(struct node *a, struct node *b, size_t bytes_max)
{
    while (b->journal->marks.tail < a->journal->marks.tail)
        CHECK_EQ(replicate_once(a, b, bytes_max), 0);
    settle_store(a->store);
    settle_store(b->store);
}

static unsigned count_files(const char *path)
{
    unsigned n = 0;
    DIR *dir = opendir(path_of("%s/topics/t", path).s);
    for (struct dirent *e; (e = readdir(dir));)
        n += strstr(e->d_name, ".log") || strstr(e->d_name, ".qwal");
    closedir(dir);
    return n;
}

/* All files of both, byte for byte; of the active ones what was written. */
static void check_same(struct node *a, struct node *b)
{
    CHECK_EQ(a->journal->marks.tail, b->journal->marks.tail);
    CHECK_EQ(a->journal->parts.count, b->journal->parts.count);
    CHECK_EQ(count_files(a->path), a->journal->parts.count);
    CHECK_EQ(count_files(b->path), a->journal->parts.count);
    for (uint32_t i = 0; i < a->journal->parts.count; i++) {
        bool last = i + 1 == a->journal->parts.count;
        const char *suffix = file_suffix[last ? FILE_ACTIVE : FILE_SEALED];
        uint64_t first = a->journal->parts.at[i].first;
        slice mine = read_whole(path_of("%s/topics/t/%020" PRIu64 "%s", a->path, first, suffix).s);
        slice theirs = read_whole(path_of("%s/topics/t/%020" PRIu64 "%s", b->path, first, suffix).s);
        if (last)
            mine.n = theirs.n = a->journal->parts.active->written;
        CHECK_SLICE(mine, theirs);
    }
    CHECK_EQ(a->journal->marks.epoch, b->journal->marks.epoch);
    CHECK_EQ(a->journal->marks.time_ms, b->journal->marks.time_ms);
    CHECK_EQ(a->journal->parts.bytes_sealed, b->journal->parts.bytes_sealed);
}

TEST(test_batches_are_received_as_the_same_files)
{
    struct node a, b;
    two_nodes(&a, &b, ten_each);
    for (int i = 0; i < 40; i++)
        append_some(a.journal, 1 + (uint32_t)i % 3, 50 + (size_t)i);
    replicate_all(&a, &b, 500);
    check_same(&a, &b);
    CHECK_EQ(b.journal->marks.disk, a.journal->marks.tail);
    CHECK(b.journal->parts.count > 5);
    check_reads_all(b.journal);
    node_stop(&a, false);
    node_stop(&b, false);
}

TEST(test_batches_with_origins_are_received_as_the_same_files)
{
    struct node a, b;
    two_nodes(&a, &b, ten_each);
    for (uint64_t i = 0; i < 42; i++)
        append_from(a.journal, i % 15 == 4 ? "p" : NULL, i, 100);      /* the file from 20 on has none */
    replicate_all(&a, &b, 500);
    check_same(&a, &b);
    struct batch_head head;
    CHECK_EQ(journal_batch_of(b.journal, 34, &head), 0);
    CHECK_EQ(head.sequence, 34);
    node_stop(&a, false);
    node_stop(&b, false);
}

static void check_end_record(const struct node *n, uint64_t first)
{
    slice file = read_whole(path_of("%s/topics/t/%020" PRIu64 ".log", n->path, first).s);
    const char *end = file.p + file.n - END_RECORD_SIZE;
    CHECK_EQ(end_record_file_crc(end), crc32c(0, file.p, file.n - END_RECORD_SIZE));
}

/* Small runs are collected before they are written, large ones are written at once. */
TEST(test_runs_of_batches_of_all_sizes_make_the_same_files)
{
    static const size_t sizes[] = {100, 90 * KIB, 10, 30 * KIB, 200 * KIB, 64 * KIB, 15 * KIB, 17 * KIB, 300 * KIB};
    struct node a, b;
    two_nodes(&a, &b, ten_each);
    unsigned count = sizeof sizes / sizeof *sizes;
    for (unsigned i = 0; i < 5 * count; i++)
        append_some(a.journal, 1 + i % 2, sizes[i % count]);
    for (unsigned i = 0; b.journal->marks.tail < a.journal->marks.tail; i++) {
        CHECK_EQ(replicate_once(&a, &b, i % 3 ? 1 * MIB : 1), 0);
        if (i % 4 == 3)
            store_flush(b.store);
    }
    replicate_all(&a, &b, 1);
    check_same(&a, &b);
    for (uint32_t i = 0; i + 1 < a.journal->parts.count; i++)
        check_end_record(&b, b.journal->parts.at[i].first);
    check_reads_all(b.journal);
    struct buf out = {0};
    stop_both(&a, &b, &out);
}

TEST(test_a_run_of_batches_begins_at_its_offset_and_ends_with_the_file)
{
    struct node a, b;
    two_nodes(&a, &b, ten_each);
    for (int i = 0; i < 12; i++)
        append_some(a.journal, 2, 20);
    settle_store(a.store);
    struct buf out = {0};
    struct batch_run s;
    for (uint64_t from = 0; from < 24; from += 2) {
        buf_clear(&out);
        CHECK_EQ(journal_read_batches(a.journal, from, UINT64_MAX, MIB, &out, &s), 0);
        CHECK_EQ(s.first, from);
        CHECK_EQ(s.file_first, from / 10 * 10);
        CHECK_EQ(s.next, from < 20 ? s.file_first + 10 : 24);
        CHECK_EQ(s.has_file_crc, from == 10 || from == 20);
        CHECK_EQ(journal_read_batches(a.journal, from, from + 1, MIB, &out, &s), 0);
        CHECK_EQ(s.next, from + 2);
    }
    buf_clear(&out);
    CHECK_EQ(journal_read_batches(a.journal, 5, UINT64_MAX, MIB, &out, &s), -ERR_BAD_RANGE);
    CHECK_EQ(journal_read_batches(a.journal, 25, UINT64_MAX, MIB, &out, &s), -ERR_BAD_RANGE);
    CHECK_EQ(buf_size(&out), 0);
    CHECK_EQ(journal_read_batches(a.journal, 24, UINT64_MAX, MIB, &out, &s), 0);
    CHECK_EQ(s.next, 24);
    CHECK_EQ(journal_apply_retention(a.journal, &(struct retain){.messages = 1}, 0, UINT64_MAX), 2);
    CHECK_EQ(journal_read_batches(a.journal, 2, UINT64_MAX, MIB, &out, &s), -ERR_GONE);
    CHECK_EQ(journal_read_batches(a.journal, 20, UINT64_MAX, MIB, &out, &s), 0);
    CHECK(!s.has_file_crc);
    buf_fini(&out);
    node_stop(&a, false);
    node_stop(&b, false);
}

/* What a refused run of batches must not change. */
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

/* b has the first `have` of 14 messages of a; the run is the rest of that file. */
static struct batch_run next_run(struct node *a, struct node *b, uint64_t have, struct buf *out)
{
    struct batch_run s;
    two_nodes(a, b, ten_each);
    a->journal->marks.epoch = 3;
    for (int i = 0; i < 14; i++)
        CHECK_EQ(try_append(a->journal, 1, 20, 5000 + i), 0);
    settle_store(a->store);
    while (b->journal->marks.tail < have) {
        CHECK_EQ(journal_read_batches(a->journal, b->journal->marks.tail, have, MIB, out, &s), 0);
        CHECK_EQ(journal_receive(b->journal, &s, buf_slice(out)), 0);
        buf_clear(out);
    }
    settle_store(b->store);
    CHECK_EQ(journal_read_batches(a->journal, have, UINT64_MAX, MIB, out, &s), 0);
    return s;
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

/* A journal that was killed after a file was begun, and before it had a batch, continues in the file in which its
 * leader continues. */
TEST(test_a_file_begun_for_nothing_is_given_up_when_the_leader_goes_on_in_the_one_before)
{
    struct node a, b;
    struct buf out = {0};
    next_run(&a, &b, 10, &out);
    CHECK_EQ(journal_begin_empty(b.journal), 0);
    settle_store(b.store);
    for (int again = 0; again < 2; again++) {
        node_stop(&b, true);
        node_open(&b, "other", NULL);
        CHECK_EQ(b.journal->marks.tail, 10);
    }
    CHECK_EQ(b.journal->parts.active->first, 10);
    node_stop(&a, false);
    CHECK_EQ(unlink("data/topics/t/00000000000000000010.qwal"), 0);     /* a leader that never saw more than 10 */
    CHECK_EQ(unlink("data/topics/t/checkpoint"), 0);
    CHECK_EQ(rename("data/topics/t/00000000000000000000.log", FILE_0), 0);
    CHECK_EQ(truncate(FILE_0, (off_t)file_size(FILE_0) - END_RECORD_SIZE), 0);
    a.options.segment_messages = 20;
    node_open(&a, "data", NULL);
    a.journal->marks.epoch = 9;
    for (int i = 0; i < 5; i++)
        append_some(a.journal, 3, 30);
    replicate_all(&a, &b, 200);
    check_same(&a, &b);
    CHECK_EQ(b.journal->parts.at[1].first, 19);
    check_reads_all(b.journal);
    stop_both(&a, &b, &out);
}

/* Recovery begins a file after damage, and journal_restart where the leader's begins: in an epoch that may not be that
 * of the first batch. */
TEST(test_a_file_without_batches_gets_the_header_of_its_first_one)
{
    struct node a, b;
    struct buf out = {0};
    for (int leader = 0; leader < 2; leader++) {
        next_run(&a, &b, 10, &out);
        uint64_t messages;
        if (leader) {
            CHECK_EQ(restart_now(a.journal, 50, false), 0);
            CHECK_EQ(restart_now(b.journal, 50, true), 0);
            a.journal->marks.epoch = 8;
            append_some(a.journal, 1, 20);
        } else
            CHECK_EQ(truncate_now(a.journal, 10, &messages), 0);
        CHECK_EQ(leader ? 0 : journal_begin_empty(b.journal), 0);
        append_some(a.journal, 10, 20);
        append_some(a.journal, 1, 20);
        replicate_all(&a, &b, 100);
        check_same(&a, &b);
        struct file_head head;
        unsigned version;
        slice bytes = read_whole(leader ? "other/topics/t/00000000000000000050.log"
                                        : "other/topics/t/00000000000000000010.log");
        CHECK_EQ(file_head_read((const unsigned char *)bytes.p, &head, &version), 0);
        CHECK_EQ(head.epoch, leader ? 8 : 3);
        stop_both(&a, &b, &out);
        CHECK_EQ(run("rm -r data other"), 0);
    }
}

/* -- random histories ---------------------------------------------------------------------------------------------- */

/* One of the last hundred offsets; sometimes any. */
static uint64_t random_boundary(struct journal *j)
{
    struct segment *seg;
    struct place at;
    journal_write(j);
    uint64_t first = journal_first(j);
    if (rand() % 20 && j->marks.tail > first + 100)
        first = j->marks.tail - 100;
    uint64_t offset = first + (uint64_t)rand() % (j->marks.tail - first + 1);
    if (offset == j->marks.tail)
        return offset;
    CHECK_EQ(journal_segment_of(j, offset, &seg), 0);
    CHECK_EQ(segment_find(seg, offset, &at), 0);
    return at.offset;
}

static void node_again(struct node *n)
{
    store_flush(n->store);
    node_stop(n, rand() % 2);
    node_open(n, n->path, NULL);
}

static void node_truncate(struct node *n, uint64_t to)
{
    uint64_t count, before = n->journal->marks.tail;
    CHECK_EQ(truncate_now(n->journal, to, &count), 0);
    CHECK_EQ(count, before - to);
    CHECK_EQ(n->journal->marks.tail, to);
    CHECK(count == 0 || n->journal->marks.disk == to);
    if (to > journal_first(n->journal))
        check_reads_all(n->journal);
}

static void lead_some(struct node *n)
{
    for (int i = rand() % 30; i > 0; i--) {
        if (rand() % 8 == 0)
            n->journal->marks.epoch++;
        int64_t time_ms = n->journal->marks.time_ms + rand() % 50 - (rand() % 32 == 0 ? 2 * DATES_FALL_MS : 0);
        CHECK_EQ(try_append(n->journal, 1 + (uint32_t)rand() % 5, (size_t)rand() % 3000, time_ms), 0);
        if (rand() % 4 == 0)
            store_flush(n->store);
        if (rand() % 8 == 0)
            settle_store(n->store);
    }
    store_flush(n->store);
}

/* A leader appends, and a follower receives in pieces. Either is killed or stopped, the follower is truncated, they
 * swap roles, and the new leader's history replaces what only the old one had: in the end their files are the same. */
TEST(test_files_of_leader_and_follower_are_the_same_whatever_happens)
{
    skip_syncs();
    struct node nodes[2], *leader = &nodes[0], *follower = &nodes[1];
    struct journal_options o = ten_each;
    o.segment_messages = 23;
    o.segment_bytes = 20 * KIB;
    o.segment_age_ms = 200;
    srand(11);
    two_nodes(leader, follower, o);
    int files = 0, swaps = 0;
    for (int round = 0; round < 200; round++) {
        lead_some(leader);
        for (int i = rand() % 6; i > 0 && follower->journal->marks.tail < leader->journal->marks.tail; i--)
            CHECK_EQ(replicate_once(leader, follower, (size_t)rand() % 9000), 0);
        if (rand() % 3 == 0)
            node_again(follower);
        if (rand() % 5 == 0)
            node_again(leader);
        uint64_t common = random_boundary(follower->journal);
        if (rand() % 2)
            node_truncate(follower, common);
        if (rand() % 3 == 0 && follower->journal->marks.tail > journal_first(follower->journal)) {
            struct node *was = leader;     /* the old leader has more, which will be truncated */
            leader = follower;
            follower = was;
            node_truncate(follower, leader->journal->marks.tail);
            leader->journal->marks.epoch = (follower->journal->marks.epoch > leader->journal->marks.epoch
                                          ? follower->journal->marks.epoch : leader->journal->marks.epoch) + 1;
            swaps++;
        }
        CHECK_EQ(try_append(leader->journal, 1, 10, leader->journal->marks.time_ms), 0);
        replicate_all(leader, follower, (size_t)rand() % 5000);
        check_same(leader, follower);
        files = (int)leader->journal->parts.count;
    }
    CHECK(files > 20);
    CHECK(swaps > 20);
    check_reads_all(leader->journal);
    check_reads_all(follower->journal);
    node_stop(leader, false);
    node_stop(follower, false);
    CHECK_EQ(data_verify("data"), 0);
    CHECK_EQ(data_verify("other"), 0);
}
