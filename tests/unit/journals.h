/*
 * What the tests of the store share: opening one in the test's own directory, appending messages whose payload states
 * their offset, and checking that exactly that is read.
 */
#ifndef UNIT_JOURNALS_H
#define UNIT_JOURNALS_H

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/say.h"
#include "command/verify.h"
#include "store/disk/io.h"
#include "store/log/append.h"
#include "store/log/segment_find.h"
#include "store/log/store_struct.h"
#include "store/log/write.h"
#include "store/recovery/audit.h"
#include "store/recovery/open.h"
#include "store/recovery/repair.h"
#include "store/replication/batches.h"
#include "store/replication/epochs.h"
#include "store/replication/truncate.h"
#include "unit/unit.h"

#pragma GCC diagnostic ignored "-Wunused-function"

static const struct journal_options small_files = {
    .id = {1, 5}, .segment_messages = 1000 * 1000, .segment_bytes = 1 * MIB, .durability = DURABILITY_COMMIT,
};

static const struct journal_options ten_each = {
    .id = {1, 5}, .segment_messages = 10, .segment_bytes = 1 * MIB, .durability = DURABILITY_COMMIT,
};

/* small_files, but with at most that many messages in each. */
static struct journal_options files_of(uint64_t messages)
{
    struct journal_options o = small_files;
    o.segment_messages = messages;
    return o;
}

static struct store *open_store_with(struct store_options o)
{
    struct buf why = {0};
    struct store *s;
    o.path = o.path ? o.path : "data";
    o.node_name = "n1";
    int rc = store_open(&o, &s, &why);
    if (rc < 0)
        unit_failed(__FILE__, __LINE__, "store_open: %d %.*s", rc, SLICE_ARGS(buf_slice(&why)));
    s->disk.state.led[0] = (struct led){0, UINT64_MAX};   /* a node alone, whatever epochs a test uses */
    s->disk.state.led_count = 1;
    CHECK_EQ(store_save_state(s), 0);
    return s;
}

static struct store *open_store(void)
{
    return open_store_with((struct store_options){.files_max = 64, .sync_interval_ms = 10});
}

static struct journal *open_journal(struct store *s, const char *name)
{
    struct journal *j;
    CHECK_EQ(journal_open(s, slice_from(name), &small_files, &j), 0);
    return j;
}

static struct journal *open_journal_with(struct store *s, const char *name, struct journal_options o)
{
    struct journal *j;
    o.id = small_files.id;
    CHECK_EQ(journal_open(s, slice_from(name), &o, &j), 0);
    return j;
}

/* The payload of the message at an offset. */
static slice payload_at(uint64_t offset, size_t size)
{
    static char text[PAYLOAD_SIZE_MAX];
    int n = snprintf(text, sizeof text, "message %" PRIu64 " ", offset);
    for (size_t i = (size_t)n; i < size; i++)
        text[i] = (char)('a' + (offset + i) % 26);
    return slice_of(text, size > (size_t)n ? size : (size_t)n);
}

static int try_append(struct journal *j, uint32_t count, size_t size, int64_t time_ms)
{
    struct buf messages = {0};
    for (uint32_t i = 0; i < count; i++) {
        struct message m = {.key = SLICE("k"), .payload = payload_at(j->marks.tail + i, size)};
        message_write(&messages, &m);
    }
    struct append a = {.messages = buf_slice(&messages), .count = count, .epoch = j->marks.epoch ? j->marks.epoch : 1,
                       .time_ms = time_ms};
    uint64_t first, before = j->marks.tail;
    int rc = journal_append(j, &a, &first);
    if (rc == 0)
        CHECK_EQ(first, before);
    buf_fini(&messages);
    return rc;
}

static void append_some(struct journal *j, uint32_t count, size_t size)
{
    CHECK_EQ(try_append(j, count, size, 1000), 0);
}

/* Appends batches of one message of this size. */
static void append_each(struct journal *j, int batches, size_t size)
{
    for (int i = 0; i < batches; i++)
        append_some(j, 1, size);
}

/* Appends one message, without an origin if producer is NULL. */
static void append_from(struct journal *j, const char *producer, uint64_t sequence, size_t size)
{
    struct buf messages = {0};
    struct message m = {.key = SLICE("k"), .payload = payload_at(j->marks.tail, size)};
    message_write(&messages, &m);
    struct append a = {.messages = buf_slice(&messages), .count = 1, .epoch = j->marks.epoch ? j->marks.epoch : 1,
                       .time_ms = 1000};
    if (producer)
        a.origin = (struct origin){ORIGIN_PRODUCER, slice_from(producer), 3, sequence};
    uint64_t first;
    CHECK_EQ(journal_append(j, &a, &first), 0);
    buf_fini(&messages);
}

/* Waits until everything appended is on disk. */
static void settle_store(struct store *s)
{
    store_flush(s);
    do {
        store_sync(s);
        worker_wait(s->disk.worker);
    } while (!list_empty(&s->queue.unsynced));
}

/* Repeats `call` in turns of the loop, until it no longer answers that the disk thread is busy. */
#define IN_TURNS(of, call) \
    ({ \
        struct store *store_ = (of); \
        int rc_ = -ERR_BUSY; \
        for (int turns_ = 0; turns_ < 1000 && (rc_ = (call)) == -ERR_BUSY; turns_++) { \
            store_flush(store_); \
            store_sync(store_); \
            worker_wait(store_->disk.worker); \
        } \
        rc_; \
    })

static int truncate_now(struct journal *j, uint64_t to, uint64_t *messages)
{
    int rc = IN_TURNS(j->store, journal_truncate(j, to, messages));
    worker_wait(j->store->disk.worker);        /* it may be shortening the file */
    return rc;
}

static int restart_now(struct journal *j, uint64_t first, bool keep)
{
    return IN_TURNS(j->store, journal_restart(j, first, keep));
}

static int repair_end_now(struct store *s, struct repair *r)
{
    return IN_TURNS(s, repair_end(r));
}

/* Checks that the batches in `bytes` are valid, consecutive, and hold what was appended. Returns the next offset. */
static uint64_t check_batches(slice bytes, uint64_t *first)
{
    uint64_t next = UINT64_MAX;
    while (bytes.n > 0) {
        struct batch_head head;
        CHECK(bytes.n >= BATCH_HEAD_SIZE);
        CHECK_EQ(batch_head_read(bytes.p, &head), 0);
        CHECK(head.size <= bytes.n);
        CHECK(batch_valid(bytes.p, &head, next == UINT64_MAX ? head.first : next));
        if (next == UINT64_MAX)
            *first = head.first;
        slice rest = batch_messages(bytes.p, &head);
        struct message m;
        for (uint32_t i = 0; i < head.count; i++) {
            CHECK_EQ(message_read(&rest, &m), 0);
            CHECK_SLICE(m.payload, payload_at(head.first + i, m.payload.n));
        }
        CHECK_EQ(rest.n, 0);
        next = head.first + head.count;
        bytes = slice_skip(bytes, head.size);
    }
    return next;
}

/* Reads all of [from, to) and checks it; returns the next offset, or the error. */
static int64_t read_all_of(struct journal *j, uint64_t from, uint64_t to)
{
    struct buf out = {0};
    uint64_t next = from, first = 0;
    while (next < to) {
        uint64_t before = next;
        int rc = journal_read(j, next, to, 64 * KIB, &out, &next);
        if (rc < 0) {
            buf_fini(&out);
            return rc;
        }
        if (next == before)
            break;
        CHECK_EQ(check_batches(buf_slice(&out), &first), next);
        CHECK(first <= before);
        buf_clear(&out);
    }
    buf_fini(&out);
    return (int64_t)next;
}

static void check_reads_all(struct journal *j)
{
    struct journal_info info;
    journal_info(j, &info);
    CHECK_EQ(read_all_of(j, info.first, info.written), info.written);
}

/* Ends a store as kill -9 would: nothing more is written. */
static void abandon_store(struct store *s)
{
    worker_wait(s->disk.worker);
    while (!list_empty(&s->journals))
        journal_free(list_first(&s->journals, struct journal, all));
    store_free(s);
}

/* The same for one journal, while the store stays open: for tests that try thousands of states. */
static void abandon_journal(struct journal *j)
{
    worker_wait(j->store->disk.worker);
    journal_free(j);
}

static int sync_nothing(int fd)
{
    (void)fd;
    return 0;
}

/* For tests that open a store thousands of times, and do not simulate a power loss. */
static void skip_syncs(void)
{
    io.sync_data = io.sync_all = io.sync_fs = sync_nothing;
}

/* Reads from every offset, and checks that each read is right or refused as damaged. Returns how many were refused. */
static uint64_t check_reads_right_or_refused(struct journal *j)
{
    uint64_t refused = 0;
    for (uint64_t from = journal_first(j); from < j->marks.written; from++) {
        int64_t rc = read_all_of(j, from, from + 1);
        if (rc >= 0)
            CHECK(rc > (int64_t)from);
        else
            CHECK_EQ(rc, -ERR_DAMAGED);
        refused += rc < 0;
    }
    return refused;
}

/* A copy of a file's bytes, good until 16 more files have been read. */
static slice read_whole(const char *path)
{
    static char *kept[16];
    static size_t count;
    slice s = unit_read_file(path);
    char **slot = &kept[count++ % 16];
    mem_free(*slot);
    return slice_of(*slot = mem_copy(s.p, s.n), s.n);
}

static uint64_t file_size(const char *path)
{
    struct stat st;
    CHECK_EQ(stat(path, &st), 0);
    return (uint64_t)st.st_size;
}

static bool exists(const char *path)
{
    return access(path, F_OK) == 0;
}

static int run(const char *command)
{
    return system(command);
}

/* Writes all of a file. */
static void put_file(const char *path, slice bytes)
{
    FILE *f = fopen(path, "wb");
    CHECK(f != NULL);
    CHECK_EQ(fwrite(bytes.p, 1, bytes.n, f), bytes.n);
    CHECK_EQ(fclose(f), 0);
}

static void change_file(const char *path, uint64_t at, slice bytes)
{
    FILE *f = fopen(path, "r+b");
    CHECK(f != NULL);
    CHECK_EQ(fseek(f, (long)at, SEEK_SET), 0);
    CHECK_EQ(fwrite(bytes.p, 1, bytes.n, f), bytes.n);
    CHECK_EQ(fclose(f), 0);
}

static void spoil(const char *path, uint64_t at)
{
    change_file(path, at, SLICE("\xff\xfe\xfd\xfc"));
}

/* The file of topic t that begins at 0 and is written, also while the topic is small. */
static const char *file_0(void)
{
    return access("data/small/t", F_OK) == 0 ? "data/small/t" : "data/topics/t/00000000000000000000.qwal";
}

/* Topic t is whole after a crash, and again after a stop. Removes the data. */
static void check_whole_after(struct store *s, struct journal_options o, uint64_t tail)
{
    for (int crash = 1; crash >= 0; crash--) {
        if (crash)
            abandon_store(s);
        else
            store_close(s);
        s = open_store();
        struct journal *j = open_journal_with(s, "t", o);
        CHECK_EQ(j->marks.tail, tail);
        CHECK_EQ(j->damage.count, 0);
        check_reads_all(j);
    }
    store_close(s);
    CHECK_EQ(data_verify("data"), 0);
    CHECK_EQ(run("rm -r data"), 0);
}

#define FILE_0 file_0()
#define LOG_0 "data/topics/t/00000000000000000000.log"

#endif
