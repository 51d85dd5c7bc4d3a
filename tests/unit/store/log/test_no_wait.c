/* Calls on the loop thread neither wait for the disk thread nor read large files. */
#include "unit/journals.h"

#include "base/clock.h"
#include "command/verify.h"

enum { STUCK_MS = 5000, SIZE = 1000 * KIB, COUNT = 20 };

static bool on_loop(void)
{
    return gettid() == getpid();
}

static _Atomic bool held, syncing, stuck;

/* Lasts until the test lets it go on, or for too long if the call under test waits for it. */
static int sync_until_let_go(int fd)
{
    if (!on_loop()) {
        syncing = true;
        for (int ms = 0; held && !stuck; ms++) {
            usleep(1000);
            stuck = ms >= STUCK_MS;
        }
    }
    return fdatasync(fd);
}

static void begin_slow_commit(struct store *s)
{
    syncing = stuck = false;
    held = true;
    io.sync_data = sync_until_let_go;
    store_sync(s);
    while (!syncing)
        usleep(1000);
}

/* A store with a group commit that lasts until CHECK_NO_WAIT has made its call. */
static struct store *store_with_slow_commit(struct journal **j, struct journal_options o)
{
    struct store *s = open_store();
    *j = open_journal_with(s, "t", o);
    append_some(*j, 1, 100);
    settle_store(s);
    append_some(*j, 1, 100);
    store_flush(s);
    begin_slow_commit(s);
    return s;
}

#define CHECK_NO_WAIT(call) \
    ({ \
        call; \
        CHECK(syncing && !stuck);     /* the commit lasts */ \
        held = false; \
    })

TEST(test_a_topic_is_deleted_without_waiting_for_a_group_commit)
{
    struct journal *j;
    struct store *s = store_with_slow_commit(&j, small_files);
    CHECK_NO_WAIT(journal_delete(j));
    CHECK(exists("data/small/t"));         /* a job uses it */
    worker_wait(s->disk.worker);
    store_collect(s);
    CHECK(!exists("data/small/t"));
    worker_wait(s->disk.worker);
    CHECK_EQ(run("test -z \"$(ls data/trash)\""), 0);
    store_close(s);
}

TEST(test_a_journal_is_truncated_and_begun_again_without_waiting_for_a_group_commit)
{
    struct journal *j;
    uint64_t messages;
    struct store *s = store_with_slow_commit(&j, small_files);
    CHECK_NO_WAIT(CHECK_EQ(journal_truncate(j, 1, &messages), -ERR_BUSY));
    CHECK_EQ(truncate_now(j, 1, &messages), 0);
    append_some(j, 1, 100);
    store_flush(s);
    begin_slow_commit(s);
    CHECK_NO_WAIT(CHECK_EQ(journal_restart(j, 500, true), -ERR_BUSY));
    CHECK_EQ(restart_now(j, 500, true), 0);
    store_close(s);
}

/* Producers wait for the mark of the old durability. */
TEST(test_a_change_of_durability_syncs_what_was_appended_without_waiting)
{
    static const enum durability weak[] = {DURABILITY_INTERVAL, DURABILITY_OS};
    for (int i = 0; i < 2; i++) {
        struct journal *j;
        struct store *s = store_with_slow_commit(&j, small_files);
        append_some(j, 1, 100);            /* in memory */
        struct journal_options o = *j->options;
        o.id = j->parts.dir.id;
        o.durability = weak[i];
        CHECK_NO_WAIT(journal_set_options(j, &o));
        append_some(j, 1, 100);
        settle_store(s);
        settle_store(s);
        CHECK(j->marks.disk >= 3);
        append_some(j, 1, 100);            /* after the change */
        store_flush(s);
        CHECK(list_empty(&s->queue.unsynced));
        store_close(s);
        CHECK_EQ(run("rm -r data"), 0);
    }
}

/* -- large files --------------------------------------------------------------------------------------------------- */

/* What this thread has read from files so far. */
static uint64_t bytes_read(void)
{
    unsigned long long n = 0;
    FILE *f = fopen("/proc/thread-self/io", "r");
    CHECK(f && fscanf(f, "rchar: %llu", &n) == 1);
    fclose(f);
    return n;
}

static unsigned syncs_by_loop;

static int count_sync(int fd)
{
    syncs_by_loop += on_loop();
    return fsync(fd);
}

/* A sealed file of COUNT batches, and the active one. */
static struct journal *large_file(struct store *s)
{
    struct journal_options o = small_files;
    o.segment_bytes = 1024 * MIB;
    o.segment_messages = COUNT;
    struct journal *j = open_journal_with(s, "t", o);
    for (int i = 0; i < COUNT; i++) {
        append_some(j, 1, SIZE);
        store_flush(s);
    }
    append_some(j, 1, 10);
    settle_store(s);
    settle_store(s);
    return j;
}

TEST(test_a_large_file_is_truncated_without_reading_it_on_the_loop)
{
    skip_syncs();
    struct store *s = open_store();
    struct journal *j = large_file(s);
    uint64_t messages, before = bytes_read();
    CHECK_EQ(truncate_now(j, COUNT / 2, &messages), 0);
    CHECK(bytes_read() - before < 1 * MIB);
    check_reads_all(j);
    store_close(s);
}

static off_t most_freed, freed_by_loop;

static int count_freed(int fd, off_t size)
{
    struct stat st;
    CHECK_EQ(fstat(fd, &st), 0);
    off_t *most = on_loop() ? &freed_by_loop : &most_freed;
    if (st.st_size - size > *most)
        *most = st.st_size - size;
    return ftruncate(fd, size);
}

/* UNIT_MIB=500 UNIT_KEEP=1 build/release/tests/unit/store/log/test_no_wait longest: prints the figures of 500 MiB,
 * on the file system of TMPDIR. */
TEST(test_the_longest_call_of_a_truncation_frees_little)
{
    const char *mib = getenv("UNIT_MIB");
    struct store *s = open_store();
    struct journal *j = open_journal_with(s, "t", (struct journal_options){.segment_messages = 1000 * 1000,
                                          .segment_bytes = 1024 * MIB, .durability = DURABILITY_COMMIT});
    uint64_t longest = 0, messages;
    for (int i = mib ? atoi(mib) : 64; i > 0; i--) {
        append_some(j, 1, SIZE);
        store_flush(s);
    }
    settle_store(s);
    io.truncate = count_freed;
    for (int rc = -ERR_BUSY; rc == -ERR_BUSY || journal_shortening(j);) {
        uint64_t begun = clock_ns();
        rc = rc == 0 ? 0 : journal_truncate(j, 1, &messages);
        store_collect(s);
        store_flush(s);
        store_sync(s);
        uint64_t took = clock_ns() - begun;
        longest = took > longest ? took : longest;
        CHECK(rc == 0 || rc == -ERR_BUSY);
        usleep(1000);
    }
    printf("the longest turn took %.1f ms, the loop freed %lld KiB at once, the disk thread %lld KiB\n",
           (double)longest / NS_PER_MS, (long long)freed_by_loop / KIB, (long long)most_freed / KIB);
    CHECK(freed_by_loop <= BACKGROUND_STEP);
    CHECK(most_freed > 0);
    CHECK(most_freed <= BACKGROUND_STEP);
    check_reads_all(j);
    store_close(s);
}

TEST(test_a_large_file_is_opened_for_appending_again_without_reading_it)
{
    skip_syncs();
    struct store *s = open_store();
    struct journal *j = large_file(s);
    uint64_t messages;
    CHECK_EQ(truncate_now(j, COUNT, &messages), 0);
    CHECK_EQ(journal_begin_empty(j), 0);                   /* as recovery does after damage */
    uint64_t before = bytes_read();
    CHECK_EQ(IN_TURNS(s, journal_reopen(j)), 0);
    CHECK(bytes_read() - before < 1 * MIB);
    CHECK_EQ(j->parts.count, 1);
    CHECK_EQ(j->parts.active->next, COUNT);
    append_some(j, 1, 10);
    settle_store(s);
    check_reads_all(j);
    store_close(s);
    CHECK_EQ(data_verify("data"), 0);                     /* the checksum goes on */
}

/* Begins a repair of the large file by a copy that is sound. */
static struct repair *feed_repair(struct journal *j)
{
    static char bytes[1 * MIB];
    struct repair *r;
    FILE *f = fopen("sound", "rb");
    CHECK(f != NULL);
    CHECK_EQ(repair_begin(j, 0, &r), 0);
    for (size_t n; (n = fread(bytes, 1, sizeof bytes, f)) > 0;)
        CHECK_EQ(repair_add(r, slice_of(bytes, n)), 0);
    fclose(f);
    return r;
}

TEST(test_a_large_file_is_repaired_without_reading_or_syncing_it_on_the_loop)
{
    struct store *s = open_store();
    struct journal *j = large_file(s);
    CHECK_EQ(run("cp " LOG_0 " sound"), 0);
    change_file(LOG_0, 5 * SIZE, SLICE("\xff\xfe\xfd"));
    CHECK_EQ(read_all_of(j, 0, COUNT), -ERR_DAMAGED);
    struct repair *r = feed_repair(j);
    uint64_t before = bytes_read();
    io.sync_all = count_sync;
    CHECK_EQ(repair_end_now(s, r), 0);
    CHECK(bytes_read() - before < 1 * MIB);
    CHECK_EQ(syncs_by_loop, 0);
    CHECK_EQ(s->stats.damaged, 0);
    check_reads_all(j);
    store_close(s);
    CHECK_EQ(run("ls data/torn/t-0-0.log >/dev/null"), 0);
}

/* A repair that is given up, or whose journal is closed or deleted, while the disk thread works on it. */
TEST(test_a_repair_can_be_ended_at_any_step)
{
    skip_syncs();
    for (int way = 0; way < 3; way++)
        for (int steps = 0; steps < 12; steps++) {
            struct store *s = open_store();
            struct journal *j = large_file(s);
            uint64_t messages;
            CHECK_EQ(run("cp " LOG_0 " sound"), 0);
            struct repair *r = feed_repair(j);
            int rc = -ERR_BUSY;
            for (int i = 0; i < steps && (rc = repair_end(r)) == -ERR_BUSY; i++) {
                store_sync(s);
                if (i + 1 < steps)
                    worker_wait(s->disk.worker);
            }
            if (way == 0 && rc == -ERR_BUSY) {
                rc = truncate_now(j, 3, &messages);
                CHECK_EQ(rc, 0);
                rc = repair_end_now(s, r);
                CHECK(rc == 0 || rc == -ERR_CANCELLED || rc == -ERR_GONE);
            } else if (rc == -ERR_BUSY) {
                repair_abort(r);
            }
            if (way == 2)
                journal_delete(j);
            else
                check_reads_all(j);
            store_close(s);
            CHECK(!exists("data/topics/t/repair"));
            CHECK_EQ(run("rm -r data"), 0);
        }
}
