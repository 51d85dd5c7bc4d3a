#include "unit/killed.h"
#include "command/verify.h"

#include "base/clock.h"

#define LOG_10 "data/topics/t/00000000000000000010.log"
#define LOG_20 "data/topics/t/00000000000000000020.log"

/* Four files: [0,10), [10,20), [20,30), and the active one with [30,35). "peer" is a copy of it. */
static void four_files(size_t size)
{
    struct store *s = open_store();
    struct journal_options o = ten_each;
    o.segment_bytes = 64 * MIB;
    struct journal *j = open_journal_with(s, "t", o);
    for (int i = 0; i < 35; i++) {
        append_some(j, 1, size);
        if (i % 10 == 9)
            settle_store(s);
    }
    store_close(s);
    CHECK_EQ(run("cp -a data peer"), 0);
}

static struct store *open_peer(struct journal **j)
{
    struct store *s = open_store_with((struct store_options){.path = "peer", .files_max = 8});
    *j = open_journal_with(s, "t", ten_each);
    return s;
}

static int verdict;

static void on_audited(void *arg, int rc)
{
    CHECK(arg == &verdict);
    verdict = rc;
}

static int audit(struct store *s, struct journal *j, uint64_t first)
{
    verdict = 1;
    int rc = journal_audit(j, first, on_audited, &verdict);
    if (rc < 0)
        return rc;
    while (verdict == 1) {
        store_sync(s);
        worker_wait(s->disk.worker);
    }
    return verdict;
}

/* Passes the bytes of the peer's file in pieces. */
static int repair_from(struct journal *j, struct journal *peer, uint64_t first, uint64_t from)
{
    struct repair *r;
    struct buf out = {0};
    int rc = repair_begin(j, first, &r);
    uint64_t at = 0;
    for (; rc == 0; at += buf_size(&out)) {
        buf_clear(&out);
        CHECK_EQ(journal_read_file(peer, from, at, 700, &out), 0);
        if (buf_size(&out) == 0)
            break;
        CHECK_EQ(repair_add(r, buf_slice(&out)), 0);
    }
    buf_fini(&out);
    return rc < 0 ? rc : repair_end_now(j->store, r);
}

TEST(test_a_file_is_described_by_any_of_its_offsets)
{
    four_files(50);
    struct store *s = open_store();
    struct journal *j = open_journal_with(s, "t", ten_each);
    struct file_info f;
    for (uint64_t offset = 0; offset < 35; offset++) {
        CHECK_EQ(journal_file(j, offset, &f), 0);
        CHECK_EQ(f.first, offset / 10 * 10);
        CHECK_EQ(f.next, offset < 30 ? f.first + 10 : 35);
        CHECK_EQ(f.sealed, offset < 30);
        CHECK_EQ(f.has_crc, offset < 30);
        if (!f.sealed)
            continue;
        slice bytes = unit_read_file(file_path(&j->parts.dir, f.first, FILE_SEALED).s);
        CHECK_EQ(f.size, bytes.n);
        CHECK_EQ(f.crc, end_record_file_crc(bytes.p + bytes.n - END_RECORD_SIZE));
    }
    CHECK_EQ(journal_file(j, 35, &f), -ERR_BAD_RANGE);
    CHECK_EQ(journal_apply_retention(j, &(struct retain){.messages = 1}, 0, UINT64_MAX), 3);
    CHECK_EQ(journal_file(j, 29, &f), -ERR_GONE);
    CHECK_EQ(journal_audit(j, 20, on_audited, NULL), -ERR_GONE);
    CHECK_EQ(journal_audit(j, 30, on_audited, NULL), -ERR_GONE);
    store_close(s);
}

TEST(test_an_audit_of_sound_files_finds_nothing)
{
    four_files(50);
    struct store *s = open_store();
    struct journal *j = open_journal_with(s, "t", ten_each);
    for (uint64_t first = 0; first < 30; first += 10)
        CHECK_EQ(audit(s, j, first), 0);
    CHECK_EQ(j->damage.count, 0);
    CHECK_EQ(audit(s, j, 30), -ERR_GONE);
    CHECK_EQ(journal_audit(j, 0, on_audited, &verdict), 0);
    CHECK_EQ(journal_audit(j, 10, on_audited, &verdict), -ERR_BUSY);
    abandon_store(s);
    CHECK_EQ(verdict, -ERR_CANCELLED);
}

/* Every bit of a sealed file. */
TEST(test_an_audit_finds_every_flipped_bit)
{
    skip_syncs();
    four_files(20);
    slice good = read_whole(LOG_10);
    struct store *s = open_store();
    struct journal *j = open_journal_with(s, "t", ten_each);
    for (size_t bit = 0; bit < good.n * 8; bit += 3) {
        char flipped = (char)(good.p[bit / 8] ^ (1 << bit % 8));
        change_file(LOG_10, bit / 8, slice_of(&flipped, 1));
        CHECK_EQ(audit(s, j, 10), -ERR_DAMAGED);
        CHECK(j->damage.count > 0);
        CHECK(j->damage.ranges[0].from >= 10);
        CHECK(j->damage.ranges[0].to <= 20);
        change_file(LOG_10, bit / 8, slice_of(good.p + bit / 8, 1));
        damage_keep(&j->damage, 0, 0);
    }
    CHECK_EQ(audit(s, j, 10), 0);
    store_close(s);
}

/* The same messages as a file of another topic of the peer. */
static slice file_of_another_topic(void)
{
    struct journal *u;
    struct store *peer = open_store_with((struct store_options){.path = "peer", .files_max = 8});
    struct journal_options o = ten_each;
    o.id.offset++;
    CHECK_EQ(journal_open(peer, SLICE("u"), &o, &u), 0);
    append_each(u, 35, 50);
    store_close(peer);
    return read_whole("peer/topics/u/00000000000000000010.log");
}

TEST(test_an_audit_finds_what_is_sound_in_itself_but_wrong_here)
{
    four_files(50);
    slice good = read_whole(LOG_10);
    struct store *s = open_store();
    struct journal *j = open_journal_with(s, "t", ten_each);
    put_file(LOG_10, file_of_another_topic());
    CHECK_EQ(audit(s, j, 10), -ERR_DAMAGED);
    put_file(LOG_10, good);
    CHECK_EQ(audit(s, j, 10), 0);
    FILE *f = fopen(LOG_10, "ab");             /* bytes after the end */
    fputc('x', f);
    fclose(f);
    CHECK_EQ(audit(s, j, 10), -ERR_DAMAGED);
    put_file(LOG_10, good);
    damage_keep(&j->damage, 0, 0);
    store_close(s);
    CHECK_EQ(unlink(LOG_20), 0);               /* a whole file */
    s = open_store();
    j = open_journal_with(s, "t", ten_each);
    damage_keep(&j->damage, 0, 0);
    CHECK_EQ(audit(s, j, 10), -ERR_DAMAGED);
    CHECK_EQ(j->damage.ranges[0].from, 20);
    CHECK_EQ(j->damage.ranges[0].to, 30);
    store_close(s);
}

TEST(test_an_audit_takes_its_time_and_lets_group_commits_go_first)
{
    four_files(700 * KIB);
    struct store *s = open_store();
    struct journal *j = open_journal_with(s, "t", ten_each);
    uint64_t begun = clock_ns();
    verdict = 1;
    CHECK_EQ(journal_audit(j, 10, on_audited, &verdict), 0);
    uint64_t disk = j->marks.disk;
    while (verdict == 1) {
        append_some(j, 1, 10);
        store_flush(s);
        store_sync(s);
        CHECK(store_deadline_ns(s) > 0 || list_empty(&s->background) || j->parts.dir.jobs > 0);
        worker_wait(s->disk.worker);
        CHECK(j->marks.disk > disk);
        disk = j->marks.disk;
    }
    CHECK_EQ(verdict, 0);
    uint64_t took_ms = (clock_ns() - begun) / NS_PER_MS;
    CHECK(took_ms >= 7000 * 1000 / (AUDIT_RATE / KIB) / 2);
    store_close(s);
}

TEST(test_a_damaged_file_is_repaired_from_a_peer)
{
    skip_syncs();
    four_files(50);
    slice good = read_whole(LOG_10);
    for (size_t at = 0; at < good.n; at += 37) {
        change_file(LOG_10, at, SLICE("\xde\xad"));
        struct journal *j, *theirs;
        struct store *s = open_store(), *peer = open_peer(&theirs);
        int rc = journal_open(s, SLICE("t"), &ten_each, &j);
        CHECK_EQ(rc, 0);
        CHECK_EQ(audit(s, j, 10), -ERR_DAMAGED);
        CHECK(s->stats.damaged > 0);
        uint64_t from, to;
        CHECK(journal_damage(j, 0, &from, &to));
        CHECK(!journal_damage(j, s->stats.damaged, &from, &to));
        CHECK_EQ(repair_from(j, theirs, 10, 10), 0);
        CHECK_EQ(s->stats.damaged, 0);
        CHECK_EQ(j->damage.count, 0);
        check_reads_all(j);
        CHECK_EQ(audit(s, j, 10), 0);
        CHECK_SLICE(unit_read_file(LOG_10), good);
        struct journal_info info, like;
        journal_info(j, &info);
        journal_info(theirs, &like);
        CHECK_EQ(info.bytes, like.bytes);
        CHECK_EQ(info.segments, like.segments);
        store_close(s);
        store_close(peer);
    }
    CHECK(exists("data/torn/t-10-0.log"));
    CHECK(exists("data/torn/t-10-1.log"));
    CHECK_EQ(data_verify("data"), 0);
}

/* Files that lost their end, and files that are missing. */
TEST(test_a_shortened_and_a_missing_file_are_repaired)
{
    skip_syncs();
    four_files(50);
    slice good = read_whole(LOG_10);
    for (size_t n = 0; n < good.n; n += 91) {
        CHECK_EQ(truncate(LOG_10, (off_t)n), 0);
        if (n % 2)
            CHECK_EQ(unlink(LOG_10), 0);
        if (n % 4 == 3)
            CHECK_EQ(unlink(LOG_20), 0);
        struct journal *theirs;
        struct store *s = open_store(), *peer = open_peer(&theirs);
        struct journal *j = open_journal_with(s, "t", ten_each);
        struct file_info f;
        CHECK_EQ(check_reads_right_or_refused(j) > 0, true);
        for (uint32_t tries = 0; j->damage.count && tries < 3; tries++) {
            CHECK_EQ(journal_file(j, j->damage.ranges[0].from, &f), 0);
            CHECK(f.first == 10 || f.first == 20);
            CHECK_EQ(repair_from(j, theirs, f.first, f.first), 0);
        }
        CHECK_EQ(j->damage.count, 0);
        check_reads_all(j);
        CHECK_EQ(j->parts.count, 4);
        CHECK_SLICE(unit_read_file(LOG_10), good);
        store_close(s);
        store_close(peer);
        CHECK_EQ(data_verify("data"), 0);
    }
}

/* -- repairs that are refused -------------------------------------------------------------------------------------- */

static int repair_with(struct journal *j, slice bytes)
{
    struct repair *r;
    CHECK_EQ(repair_begin(j, 10, &r), 0);
    struct repair *second;
    CHECK_EQ(repair_begin(j, 20, &second), -ERR_BUSY);
    CHECK_EQ(repair_add(r, bytes), 0);
    return repair_end_now(j->store, r);
}

TEST(test_a_repair_with_wrong_bytes_changes_nothing)
{
    skip_syncs();
    four_files(50);
    slice good = read_whole(LOG_10), other = read_whole(LOG_20);
    change_file(LOG_10, 200, SLICE("\xde\xad"));
    slice damaged = read_whole(LOG_10);
    struct store *s = open_store();
    struct journal *j = open_journal_with(s, "t", ten_each);
    CHECK_EQ(audit(s, j, 10), -ERR_DAMAGED);
    struct buf wrong = {0};
    for (size_t at = 0; at < good.n; at++) {
        buf_clear(&wrong);
        buf_add(&wrong, good.p, good.n);
        wrong.data[wrong.at + at] ^= 4;
        CHECK_EQ(repair_with(j, buf_slice(&wrong)), -ERR_DAMAGED);
        CHECK_EQ(repair_with(j, slice_of(good.p, at)), -ERR_DAMAGED);
    }
    buf_clear(&wrong);
    buf_add(&wrong, good.p, good.n);
    buf_add(&wrong, "x", 1);
    CHECK_EQ(repair_with(j, buf_slice(&wrong)), -ERR_DAMAGED);
    CHECK_EQ(repair_with(j, other), -ERR_DAMAGED);
    CHECK_EQ(j->damage.count, 1);
    CHECK_SLICE(unit_read_file(LOG_10), damaged);
    CHECK(!exists("data/topics/t/repair"));
    CHECK(!exists("data/torn/t-10-0.log"));
    CHECK_EQ(read_all_of(j, 20, 35), 35);
    struct repair *r;
    CHECK_EQ(repair_begin(j, 15, &r), -ERR_GONE);
    CHECK_EQ(repair_begin(j, 30, &r), -ERR_GONE);        /* it is being written */
    CHECK_EQ(repair_begin(j, 10, &r), 0);
    repair_abort(r);
    CHECK(!exists("data/topics/t/repair"));
    CHECK_EQ(repair_with(j, good), 0);
    CHECK_EQ(j->damage.count, 0);
    buf_fini(&wrong);
    store_close(s);
}

/* A sound file with the same offsets, of another history. */
TEST(test_a_repair_with_another_history_is_refused)
{
    four_files(50);
    change_file(LOG_10, 200, SLICE("\xde\xad"));
    CHECK_EQ(run("rm -r peer/topics/t"), 0);
    struct journal *theirs;
    struct store *s = open_store(), *peer = open_peer(&theirs);
    struct journal *j = open_journal_with(s, "t", ten_each);
    append_each(theirs, 35, 60);
    settle_store(peer);
    CHECK_EQ(audit(s, j, 10), -ERR_DAMAGED);
    CHECK_EQ(repair_from(j, theirs, 10, 10), -ERR_DIVERGED);
    CHECK_EQ(j->damage.count, 1);
    store_close(s);
    store_close(peer);
}

TEST(test_a_repair_with_a_file_of_another_topic_is_refused)
{
    four_files(50);
    slice other = file_of_another_topic();
    CHECK_EQ(truncate(LOG_10, 700), 0);        /* so that no checksum of ours can tell */
    struct store *s = open_store();
    struct journal *j = open_journal_with(s, "t", ten_each);
    CHECK_EQ(repair_with(j, other), -ERR_DAMAGED);
    store_close(s);
}

static struct journal *sound;        /* a peer's */

static void repair_there(struct journal *j)
{
    CHECK_EQ(repair_from(j, sound, 10, 10), 0);
}

TEST(test_a_repair_killed_at_any_point_leaves_the_damaged_file_or_the_whole_one)
{
    four_files(50);
    slice good = read_whole(LOG_10);
    change_file(LOG_10, 200, SLICE("\xde\xad"));
    slice damaged = read_whole(LOG_10);
    CHECK_EQ(run("mv data base"), 0);
    int was_damaged = 0, was_whole = 0;
    bool killed = true;
    struct store *peer = open_peer(&sound);
    for (int calls = 0; killed; calls++) {
        killed = killed_after(calls, repair_there);
        slice now = unit_read_file(LOG_10);
        was_damaged += slice_eq(now, damaged);
        was_whole += slice_eq(now, good);
        CHECK(slice_eq(now, damaged) || slice_eq(now, good));
        struct store *s = open_store();
        struct journal *j = open_journal_with(s, "t", ten_each);
        CHECK(!exists("data/topics/t/repair"));
        CHECK(check_reads_right_or_refused(j) <= 1);
        CHECK_EQ(j->marks.tail, 35);
        store_close(s);
    }
    CHECK(was_damaged > 3);
    CHECK(was_whole > 0);
    store_close(peer);
}
