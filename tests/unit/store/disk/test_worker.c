#include "store/disk/worker.h"

#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <string.h>

#include "base/mem.h"
#include "unit/journals.h"

struct probe {
    struct job job;
    int number, ran_as, *clock;
    bool done;
    sem_t *gate;           /* run waits for it */
    struct worker *again;    /* done submits it once more */
};

static void probe_run(struct job *job)
{
    struct probe *p = LIST_OWNER(job, struct probe, job);
    if (p->gate)
        while (sem_wait(p->gate) < 0)
            ;
    p->ran_as = (*p->clock)++;
}

static void probe_done(struct job *job)
{
    struct probe *p = LIST_OWNER(job, struct probe, job);
    p->done = true;
    if (p->again) {
        struct worker *s = p->again;
        p->again = NULL;
        worker_submit(s, &p->job);
    }
}

static struct probe probe(int *clock, bool urgent)
{
    return (struct probe){.job = {.run = probe_run, .done = probe_done, .urgent = urgent}, .clock = clock};
}

TEST(test_urgent_jobs_overtake_and_others_keep_their_order)
{
    struct worker *s;
    CHECK_EQ(worker_new(&s), 0);
    sem_t gate;
    sem_init(&gate, 0, 0);
    int clock = 0;
    struct probe first = probe(&clock, false), a = first, b = first, u = probe(&clock, true);
    first.gate = &gate;
    worker_submit(s, &first.job);
    worker_submit(s, &a.job);
    worker_submit(s, &b.job);
    worker_submit(s, &u.job);
    sem_post(&gate);
    worker_wait(s);
    CHECK(first.ran_as < a.ran_as);
    CHECK(a.ran_as < b.ran_as);
    CHECK(u.ran_as < b.ran_as);
    CHECK(first.done && a.done && b.done && u.done);
    worker_free(s);
    sem_destroy(&gate);
}

TEST(test_waiting_covers_what_completions_submit)
{
    struct worker *s;
    CHECK_EQ(worker_new(&s), 0);
    int clock = 0;
    struct probe p = probe(&clock, false);
    p.again = s;
    worker_submit(s, &p.job);
    worker_wait(s);
    CHECK_EQ(clock, 2);
    worker_free(s);
}

TEST(test_a_completion_makes_the_descriptor_readable_until_it_is_collected)
{
    struct worker *s;
    CHECK_EQ(worker_new(&s), 0);
    int clock = 0;
    struct probe p = probe(&clock, true);
    struct pollfd fd = {.fd = worker_event_fd(s), .events = POLLIN};
    CHECK_EQ(poll(&fd, 1, 0), 0);
    worker_submit(s, &p.job);
    CHECK_EQ(poll(&fd, 1, 10 * 1000), 1);
    CHECK(!p.done);
    worker_collect(s);
    CHECK(p.done);
    CHECK_EQ(poll(&fd, 1, 0), 0);
    worker_free(s);
}

static sigset_t thread_mask;

static void mask_run(struct job *job)
{
    (void)job;
    pthread_sigmask(SIG_SETMASK, NULL, &thread_mask);
}

static void mask_done(struct job *job)
{
    (void)job;
}

TEST(test_the_disk_thread_takes_no_signals)
{
    struct worker *s;
    CHECK_EQ(worker_new(&s), 0);
    struct job job = {.run = mask_run, .done = mask_done};
    worker_submit(s, &job);
    worker_wait(s);
    CHECK(sigismember(&thread_mask, SIGTERM));
    CHECK(sigismember(&thread_mask, SIGHUP));
    sigset_t ours;
    pthread_sigmask(SIG_SETMASK, NULL, &ours);
    CHECK(!sigismember(&ours, SIGTERM));
    worker_free(s);
}

/* -- group commits ------------------------------------------------------------------------------------------------- */

static int data_syncs, fs_syncs, all_syncs;

static int count_data(int fd)
{
    __atomic_fetch_add(&data_syncs, 1, __ATOMIC_RELAXED);
    return fdatasync(fd);
}

static int count_fs(int fd)
{
    __atomic_fetch_add(&fs_syncs, 1, __ATOMIC_RELAXED);
    (void)fd;
    return 0;
}

static int count_all(int fd)
{
    __atomic_fetch_add(&all_syncs, 1, __ATOMIC_RELAXED);
    return fsync(fd);
}

static void count_syncs(void)
{
    io.sync_data = count_data;
    io.sync_fs = count_fs;
    io.sync_all = count_all;
    data_syncs = fs_syncs = all_syncs = 0;
}

static struct journal *journals[32];

static struct store *store_of(int count, unsigned files_max)
{
    struct store *s = open_store_with((struct store_options){.files_max = files_max});
    for (int i = 0; i < count; i++) {
        char name[16];
        snprintf(name, sizeof name, "t%d", i);
        journals[i] = open_journal(s, name);
    }
    return s;
}

/* Messages that are too large for the commit log. */
static void append_to(int count)
{
    for (int i = 0; i < count; i++)
        append_some(journals[i], 1, COMMIT_LOGGED_MAX);
}

TEST(test_a_few_files_are_synced_one_by_one_and_many_at_once)
{
    struct store *s = store_of(20, 64);
    append_to(20);
    settle_store(s);
    count_syncs();
    append_to(SYNC_ONE_BY_ONE_MAX);
    settle_store(s);
    CHECK_EQ(data_syncs, SYNC_ONE_BY_ONE_MAX);
    CHECK_EQ(fs_syncs, 0);
    append_to(SYNC_ONE_BY_ONE_MAX + 1);
    settle_store(s);
    CHECK_EQ(data_syncs, SYNC_ONE_BY_ONE_MAX);
    CHECK_EQ(fs_syncs, 1);
    store_close(s);
}

TEST(test_the_directory_is_synced_with_the_first_write_of_a_new_file_only)
{
    struct store *s = store_of(1, 64);
    count_syncs();
    append_to(1);
    settle_store(s);
    CHECK_EQ(all_syncs, 1);                /* small/ */
    append_to(1);
    settle_store(s);
    CHECK_EQ(all_syncs, 1);
    store_close(s);
}

TEST(test_a_dirty_file_that_was_closed_is_reached_by_syncing_the_whole_filesystem)
{
    struct store *s = store_of(4, 2);
    append_to(4);
    settle_store(s);
    count_syncs();
    append_to(4);                          /* four dirty files, two descriptors */
    store_flush(s);
    store_sync(s);
    worker_wait(s->disk.worker);
    CHECK_EQ(fs_syncs, 1);
    for (int i = 0; i < 4; i++)
        CHECK_EQ(journals[i]->marks.disk, 2);
    store_close(s);
}

TEST(test_what_the_commit_log_has_needs_no_descriptor_of_its_own)
{
    struct store *s = store_of(6, 2);
    for (int i = 0; i < 2; i++) {
        count_syncs();
        for (int k = 0; k < 6; k++)
            append_some(journals[k], 1, 100);
        settle_store(s);
    }
    CHECK_EQ(fs_syncs, 0);
    CHECK_EQ(data_syncs, 1);
    append_some(journals[0], 1, 100);      /* alone, by its own file */
    settle_store(s);
    CHECK_EQ(fs_syncs, 0);
    CHECK_EQ(data_syncs, 2);
    store_close(s);
}

TEST(test_what_is_written_during_a_group_commit_is_the_next_one)
{
    struct store *s = store_of(1, 64);
    append_to(1);
    settle_store(s);
    uint64_t before = s->stats.syncs;
    append_to(1);
    store_flush(s);
    store_sync(s);
    for (int i = 0; i < 100; i++) {
        append_to(1);
        store_flush(s);
        store_sync(s);
    }
    worker_wait(s->disk.worker);
    settle_store(s);
    CHECK_EQ(s->stats.syncs, before + 2);
    CHECK_EQ(journals[0]->marks.disk, 102);
    store_close(s);
}

/* Runs all kinds of jobs at once, so that the thread sanitizer can find unguarded data. */
TEST(test_the_loop_and_the_disk_thread_share_nothing_unguarded)
{
    struct store *s = open_store_with((struct store_options){.files_max = 4, .sync_interval_ms = 1});
    struct journal_options o = small_files;
    for (int i = 0; i < 12; i++) {
        char name[16];
        snprintf(name, sizeof name, "t%d", i);
        o.segment_messages = 5 + (uint64_t)i * 7;
        o.segment_bytes = 256 * KIB;
        o.durability = (enum durability)(i % 3);
        journals[i] = open_journal_with(s, name, o);
    }
    struct retain keep = {.messages = 30};
    for (int turn = 0; turn < 300; turn++) {
        for (int i = 0; i < 12; i++)
            append_some(journals[i], 1, (size_t)(turn * 37 % 5000));
        store_flush(s);
        store_sync(s);
        store_collect(s);
        if (turn % 50 == 49)
            for (int i = 0; i < 12; i++) {
                journal_apply_retention(journals[i], &keep, 0, UINT64_MAX);
                check_reads_all(journals[i]);
            }
    }
    journal_delete(journals[3]);
    store_close(s);
}
