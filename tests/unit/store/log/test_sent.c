/*
 * What a journal remembers of its senders. After appends, restarts, kills, truncations and replication it answers like
 * one that was never closed. Five producers and a few keys have sent the log; the sender of a batch and its sequence
 * follow from its offset.
 */
#include <dirent.h>
#include <fcntl.h>

#include "base/err.h"
#include "store/log/origins.h"
#include "store/replication/truncate.h"
#include "unit/truncations.h"

enum { PRODUCERS = 5 };

static const struct journal_options files_of_ten = {
    .id = {1, 5}, .segment_messages = 10, .segment_bytes = 1 * MIB, .durability = DURABILITY_COMMIT,
    .dedupe_age_ms = 1000 * 1000, .dedupe_keys = 1000,
};

static enum origin_kind kind_at(uint64_t offset)
{
    if (offset % 7 == 3 || (offset >= 60 && offset < 70))        /* a file of ten has none */
        return ORIGIN_NONE;
    return offset % 11 == 5 ? ORIGIN_KEY : ORIGIN_PRODUCER;
}

static uint64_t sequence_at(uint64_t offset)
{
    uint64_t n = 0;
    for (uint64_t i = offset % PRODUCERS; i < offset; i += PRODUCERS)
        n += kind_at(i) == ORIGIN_PRODUCER;
    return n;
}

/* The origin of the batch at an offset: none, a key, or the next request of one of the producers. */
static struct origin origin_at(uint64_t offset)
{
    static char name[32];
    struct origin o = {.kind = kind_at(offset)};
    if (o.kind == ORIGIN_PRODUCER)
        o.sequence = sequence_at(offset);
    const char *word = o.kind == ORIGIN_PRODUCER ? "producer" : "key";
    uint64_t number = o.kind == ORIGIN_PRODUCER ? offset % PRODUCERS : offset;
    o.name = slice_of(name, (size_t)snprintf(name, sizeof name, "%s %" PRIu64, word, number));
    return o;
}

static void append_next(struct journal *j, uint64_t epoch)
{
    struct buf messages = {0};
    struct message m = {.key = SLICE("k"), .payload = payload_at(j->marks.tail, 500)};
    struct append a = {.count = 1, .epoch = epoch, .time_ms = 1000, .origin = origin_at(j->marks.tail)};
    uint64_t first;
    message_write(&messages, &m);
    a.messages = buf_slice(&messages);
    CHECK_EQ(journal_append(j, &a, &first), 0);
    buf_fini(&messages);
}

static void append_to(struct journal *j, uint64_t tail)
{
    while (j->marks.tail < tail)
        append_next(j, 1);
    settle_store(j->store);
}

/* Checks that each request that was sent is a duplicate, with its place if it is one of the last sixteen; that the next
 * one is new, and the one after it a gap. The journal need not know requests below `from`. */
static void check_answers_from(struct journal *j, uint64_t from)
{
    uint64_t next[PRODUCERS] = {0};
    struct sent sent;
    for (uint64_t i = j->marks.tail; i-- > from;) {
        struct origin o = origin_at(i);
        if (o.kind == ORIGIN_NONE)
            continue;
        CHECK_EQ(journal_sent(j, &o, 1000, &sent), 0);
        CHECK_EQ(sent.is, SENT_BEFORE);
        if (o.kind == ORIGIN_PRODUCER && next[i % PRODUCERS] == 0)
            next[i % PRODUCERS] = o.sequence + 1;
        bool known = o.kind == ORIGIN_KEY || next[i % PRODUCERS] - o.sequence <= SENDER_KNOWN;
        CHECK_EQ(sent.has_first, known);
        if (known)
            CHECK_EQ(sent.first, i);
        else
            CHECK(sent.first > i);
    }
    for (uint64_t p = 0; p < PRODUCERS; p++) {
        struct origin o = origin_at(p == 3 ? 8 : p);
        if (from > 0 && next[p] == 0)
            continue;
        o.sequence = next[p];
        CHECK_EQ(journal_sent(j, &o, 1000, &sent), 0);
        CHECK_EQ(sent.is, SENT_NEW);
        o.sequence = next[p] + 1;
        CHECK_EQ(journal_sent(j, &o, 1000, &sent), 0);
        CHECK_EQ(sent.is, SENT_GAP);
        CHECK_EQ(sent.number, next[p]);
    }
    struct origin later = {.kind = ORIGIN_KEY, .name = SLICE("key 1000005")};
    CHECK_EQ(journal_sent(j, &later, 1000, &sent), 0);
    CHECK_EQ(sent.is, SENT_NEW);
}

static void check_answers(struct journal *j)
{
    check_answers_from(j, 0);
}

static unsigned snapshots(const char *topic)
{
    unsigned n = 0;
    DIR *dir = opendir(topic);
    for (struct dirent *e; (e = readdir(dir));)
        n += strstr(e->d_name, ".senders") != NULL;
    closedir(dir);
    return n;
}

static struct journal *reopen_after(struct store **s, bool kill)
{
    if (kill)
        abandon_store(*s);
    else
        store_close(*s);
    *s = open_store();
    return open_journal_with(*s, "t", files_of_ten);
}

TEST(test_the_answers_are_the_same_while_it_is_open_after_a_kill_and_after_a_close)
{
    struct store *s = open_store();
    struct journal *j = open_journal_with(s, "t", files_of_ten);
    struct sent sent;
    struct origin o = {ORIGIN_PRODUCER, SLICE("p"), 0, 0};
    CHECK_EQ(journal_sent(j, &o, 0, &sent), 0);            /* read before there is anything */
    CHECK_EQ(sent.is, SENT_NEW);
    for (uint64_t tail = 1; tail <= 173; tail += 1 + tail % 7) {
        append_to(j, tail);
        check_answers(j);
        j = reopen_after(&s, tail % 3 != 0);
        CHECK_EQ(j->marks.tail, tail);
        if (tail % 2)
            check_answers(j);                               /* else the first that follows is an append */
    }
    CHECK(snapshots("data/topics/t") > 3);
    store_close(s);
}

TEST(test_what_is_not_written_yet_counts)
{
    struct store *s = open_store();
    struct journal *j = open_journal_with(s, "t", files_of_ten);
    append_to(j, 20);
    j = reopen_after(&s, true);
    append_next(j, 1);
    append_next(j, 1);
    CHECK(j->marks.written < j->marks.tail);
    CHECK(j->origins == NULL);
    check_answers(j);
    store_close(s);
}

TEST(test_snapshots_may_be_missing_or_damaged)
{
    struct store *s = open_store();
    struct journal *j = open_journal_with(s, "t", files_of_ten);
    append_to(j, 173);
    check_answers(j);
    j = reopen_after(&s, false);
    CHECK_EQ(run("for f in data/topics/t/*.senders; do printf x | dd of=$f bs=1 seek=70 conv=notrunc 2>&1; done"
                 " >/dev/null"), 0);
    check_answers(j);
    j = reopen_after(&s, false);
    CHECK_EQ(run("rm -f data/topics/t/0000000000000000[0-9]*.senders"), 0);
    check_answers(j);
    store_close(s);
}

TEST(test_a_start_reads_only_what_follows_the_last_snapshot)
{
    struct store *s = open_store();
    struct journal *j = open_journal_with(s, "t", files_of_ten);
    CHECK_EQ(origins_read(j), 0);
    append_to(j, 173);
    uint64_t last = j->origins->snapshot;
    CHECK(j->origins->has_snapshot);
    CHECK(last > 100 && last % 10 == 0);
    j = reopen_after(&s, true);
    change_file(LOG_0, 200, SLICE("damage, which nobody sees"));
    CHECK_EQ(origins_read(j), 0);
    CHECK_EQ(j->origins->snapshot, last);
    CHECK_EQ(j->damage.count, 0);
    check_answers(j);
    store_close(s);
    s = open_store();
    j = open_journal_with(s, "t", files_of_ten);
    CHECK_EQ(origins_read(j), 0);
    CHECK_EQ(j->origins->snapshot, 173);                    /* of the close */
    append_to(j, 220);
    CHECK(access("data/topics/t/00000000000000000173.senders", F_OK) < 0);
    check_answers(j);
    store_close(s);
}

TEST(test_of_a_large_file_only_the_end_is_read)
{
    struct journal_options o = files_of_ten;
    struct store *s = open_store();
    o.segment_messages = 1000;
    o.segment_bytes = 256 * MIB;
    struct journal *j = open_journal_with(s, "t", o);
    CHECK_EQ(origins_read(j), 0);
    for (uint64_t sequence = 0; sequence < 90; sequence++) {
        append_from(j, "p", sequence, 600 * KIB);
        settle_store(s);
    }
    CHECK_EQ(j->parts.count, 1);
    CHECK(j->origins->snapshot >= 60);                       /* 90 take 53 MiB */
    CHECK_EQ(snapshots("data/topics/t"), 1);                /* no truncation will come to the others: they are gone */
    uint64_t last = j->origins->snapshot;
    j = reopen_after(&s, true);
    change_file(FILE_0, 200, SLICE("damage, which nobody sees"));
    CHECK_EQ(origins_read(j), 0);
    CHECK_EQ(j->origins->snapshot, last);
    CHECK_EQ(j->damage.count, 0);
    struct origin p = {ORIGIN_PRODUCER, SLICE("p"), 3, 89};
    struct sent sent;
    CHECK_EQ(journal_sent(j, &p, 1000, &sent), 0);
    CHECK_EQ(sent.is, SENT_BEFORE);
    CHECK_EQ(sent.first, 89);
    store_close(s);
}

TEST(test_files_without_origins_are_not_read)
{
    struct store *s = open_store();
    struct journal *j = open_journal_with(s, "t", files_of_ten);
    append_to(j, 95);
    j = reopen_after(&s, true);
    change_file("data/topics/t/00000000000000000060.log", 200, SLICE("damage, which nobody sees"));
    check_answers(j);
    CHECK_EQ(j->damage.count, 0);
    store_close(s);
}

TEST(test_damage_costs_what_is_in_it_and_no_more)
{
    struct store *s = open_store();
    struct journal *j = open_journal_with(s, "t", files_of_ten);
    append_to(j, 35);
    j = reopen_after(&s, true);
    change_file("data/topics/t/00000000000000000010.log", 200, SLICE("?"));
    struct origin o = origin_at(34);
    struct sent sent;
    CHECK_EQ(journal_sent(j, &o, 1000, &sent), 0);
    CHECK_EQ(sent.is, SENT_BEFORE);
    CHECK_EQ(sent.first, 34);
    CHECK_EQ(j->damage.count, 1);
    store_close(s);
}

TEST(test_a_truncation_takes_back_what_was_sent)
{
    for (uint64_t to = 2; to <= 63; to += 3) {
        struct store *s = open_store();
        struct journal *j = open_journal_with(s, "t", files_of_ten);
        uint64_t gone;
        CHECK_EQ(origins_read(j), 0);
        append_to(j, 63);
        if (to % 2)
            j = reopen_after(&s, false);
        CHECK_EQ(journal_truncate(j, to, &gone), 0);
        check_answers(j);
        append_to(j, to + 15);
        check_answers(j);
        store_close(s);
        CHECK_EQ(run("rm -rf data"), 0);
    }
}

/* The files of the first messages go; those of the others are kept. */
static void remove_below(struct journal *j, uint64_t kept)
{
    struct retain keep = {.messages = j->marks.tail - kept};
    CHECK(journal_apply_retention(j, &keep, 1000, j->marks.tail) > 0);
    settle_store(j->store);
    CHECK_EQ(journal_first(j), kept);
}

TEST(test_what_was_sent_in_files_that_retention_removes_is_still_known)
{
    struct store *s = open_store();
    struct journal *j = open_journal_with(s, "t", files_of_ten);
    append_to(j, 33);
    remove_below(j, 20);                                    /* they were unread */
    check_answers(j);
    j = reopen_after(&s, true);
    check_answers(j);
    append_to(j, 75);
    remove_below(j, 40);
    j = reopen_after(&s, true);
    remove_below(j, 50);                                    /* unread again */
    check_answers(j);
    j = reopen_after(&s, false);
    check_answers(j);
    CHECK(access("data/topics/t/00000000000000000040.senders", F_OK) < 0);
    store_close(s);
}

TEST(test_a_log_that_begins_above_0_knows_what_its_leader_knows)
{
    uint64_t gone;
    struct buf snapshot = {0};
    struct store *s = open_store();
    struct journal *leader = open_journal_with(s, "leader", files_of_ten);
    append_to(leader, 75);
    CHECK_EQ(journal_senders_at(leader, 0, &snapshot), 0);
    CHECK_EQ(buf_size(&snapshot), 0);
    CHECK_EQ(journal_senders_at(leader, 40, &snapshot), 0);
    struct journal *j = open_journal_with(s, "t", files_of_ten);
    CHECK_EQ(journal_restart(j, 40, false), 0);
    CHECK_EQ(journal_take_senders(j, slice_of(snapshot.data, buf_size(&snapshot) - 1)), -ERR_DAMAGED);
    snapshot.data[buf_size(&snapshot) - 1] ^= 1;
    CHECK_EQ(journal_take_senders(j, buf_slice(&snapshot)), -ERR_DAMAGED);
    snapshot.data[buf_size(&snapshot) - 1] ^= 1;
    CHECK_EQ(journal_take_senders(j, buf_slice(&snapshot)), 0);
    check_answers(j);
    append_to(j, 41);
    CHECK_EQ(journal_take_senders(j, buf_slice(&snapshot)), -ERR_DIVERGED);
    check_answers(j);
    j = reopen_after(&s, true);
    append_to(j, 75);
    check_answers(j);
    CHECK_EQ(journal_truncate(j, 41, &gone), 0);
    check_answers(j);
    j = reopen_after(&s, true);
    check_answers(j);
    buf_fini(&snapshot);
    store_close(s);
}

TEST(test_a_snapshot_of_another_history_is_not_used)
{
    struct store *s = open_store();
    struct journal *j = open_journal_with(s, "t", files_of_ten);
    append_to(j, 4);
    CHECK_EQ(run("mkdir kept; cp data/small/t kept/00000000000000000000.qwal"), 0);
    append_to(j, 9);
    check_answers(j);
    store_close(s);                                         /* its snapshot is of 9 */
    CHECK_EQ(run("cp data/topics/t/*.senders kept && rm -r data/topics/t data/ends && mv kept data/topics/t"), 0);
    s = open_store();                                       /* as after a power loss that the file's name survived */
    j = open_journal_with(s, "t", files_of_ten);
    CHECK_EQ(j->marks.tail, 4);
    for (int i = 0; i < 5; i++) {                           /* of nobody, up to 9 and beyond */
        struct buf messages = {0};
        uint64_t first;
        message_write(&messages, &(struct message){.payload = SLICE("x")});
        struct append a = {.messages = buf_slice(&messages), .count = 1, .epoch = 2, .time_ms = 1000};
        CHECK_EQ(journal_append(j, &a, &first), 0);
        buf_fini(&messages);
    }
    settle_store(s);
    struct origin o = origin_at(4);
    struct sent sent;
    CHECK_EQ(journal_sent(j, &o, 1000, &sent), 0);
    CHECK_EQ(sent.is, SENT_NEW);
    store_close(s);
}

static void copy_to(struct journal *from, struct journal *to)
{
    while (to->marks.tail < from->marks.tail) {
        struct buf out = {0};
        struct batch_run run;
        CHECK_EQ(journal_read_batches(from, to->marks.tail, UINT64_MAX, 300, &out, &run), 0);
        CHECK_EQ(journal_receive(to, &run, buf_slice(&out)), 0);
        buf_fini(&out);
        settle_store(to->store);
    }
}

TEST(test_a_follower_knows_what_the_log_that_it_has_says)
{
    struct store *s = open_store(), *other = open_store_with((struct store_options){.path = "other", .files_max = 64});
    CHECK_EQ(store_set_cluster(other, &s->disk.state.cluster), 0);
    struct journal *j = open_journal_with(s, "t", files_of_ten), *whole, *late;
    append_to(j, 95);
    whole = open_journal_with(other, "t", files_of_ten);
    copy_to(j, whole);
    CHECK(whole->origins != NULL);                 /* before it is asked: it will lead without a pause */
    check_answers(whole);
    late = open_journal_with(other, "late", files_of_ten);
    CHECK_EQ(journal_restart(late, 40, false), 0);          /* retention of the leader has removed what is below */
    copy_to(j, late);
    check_answers_from(late, 40);
    append_to(j, 120);
    copy_to(j, late);
    check_answers_from(late, 40);
    store_close(other);
    store_close(s);
}

TEST(test_retention_removes_snapshots_with_their_files)
{
    struct store *s = open_store();
    struct journal *j = open_journal_with(s, "t", files_of_ten);
    CHECK_EQ(origins_read(j), 0);
    append_to(j, 173);
    unsigned before = snapshots("data/topics/t");
    CHECK(journal_apply_retention(j, &(struct retain){.messages = 20}, 0, UINT64_MAX) > 10);
    worker_wait(s->disk.worker);
    CHECK(snapshots("data/topics/t") < before);
    CHECK(snapshots("data/topics/t") <= j->parts.count);
    check_answers(j);                                       /* what is gone is remembered */
    store_close(s);
}
