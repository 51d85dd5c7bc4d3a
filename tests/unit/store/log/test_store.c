#include "unit/journals.h"
#include "command/dump.h"
#include "command/verify.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/wait.h>

static int try_open(const char *path, struct buf *why)
{
    struct store *s;
    struct store_options o = {.path = path, .node_name = "n1", .files_max = 8};
    int rc = store_open(&o, &s, why);
    if (rc == 0)
        store_close(s);
    else
        CHECK(buf_size(why) > 0);
    return rc;
}

static bool says(const struct buf *why, const char *part)
{
    return memmem(why->data + why->at, buf_size(why), part, strlen(part)) != NULL;
}

static void check_refused(const char *path, int code, const char *part)
{
    struct buf why = {0};
    int rc = try_open(path, &why);
    if (rc != code || !says(&why, part))
        unit_failed(__FILE__, __LINE__, "%s: %d %.*s", path, rc, SLICE_ARGS(buf_slice(&why)));
    buf_fini(&why);
}

TEST(test_a_new_directory_gets_an_identity_that_stays)
{
    struct store *s = open_store();
    struct id cluster = store_state(s)->cluster, incarnation = store_state(s)->incarnation;
    CHECK(!id_is_zero(&cluster));
    CHECK(!id_eq(&cluster, &incarnation));
    CHECK_EQ(strcmp(store_state(s)->name, "n1"), 0);
    store_state(s)->epoch = 7;
    CHECK_EQ(store_save_state(s), 0);
    store_close(s);
    s = open_store();
    CHECK(s->last_run.clean);
    CHECK(id_eq(&store_state(s)->cluster, &cluster));
    CHECK(id_eq(&store_state(s)->incarnation, &incarnation));
    CHECK_EQ(store_state(s)->epoch, 7);
    abandon_store(s);
    s = open_store();
    CHECK(!s->last_run.clean);
    store_close(s);
}

TEST(test_a_directory_in_use_is_refused_and_says_by_whom)
{
    int ready[2];
    CHECK_EQ(pipe(ready), 0);
    pid_t child = fork();
    if (child == 0) {
        open_store();
        CHECK_EQ(write(ready[1], "x", 1), 1);
        pause();
    }
    char c, pid[32];
    CHECK_EQ(read(ready[0], &c, 1), 1);
    snprintf(pid, sizeof pid, "pid %ld", (long)child);
    check_refused("data", -EBUSY, pid);
    CHECK_EQ(data_verify("data"), EXIT_DATA);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    store_close(open_store());             /* the lock went with it */
}

TEST(test_a_foreign_directory_is_refused_and_left_alone)
{
    CHECK_EQ(mkdir("data", 0755), 0);
    put_file("data/letter.txt", SLICE("dear"));
    check_refused("data", -ERR_FORMAT, "letter.txt");
    CHECK(!exists("data/lock"));
    CHECK(!exists("data/state"));
    put_file("file", SLICE(""));
    check_refused("file", -ENOTDIR, "file");
    check_refused("no/such/parent", -ENOENT, "no/such/parent");
    char lengthy[900];
    memset(lengthy, 'x', sizeof lengthy);
    lengthy[sizeof lengthy - 1] = 0;
    check_refused(lengthy, -ENAMETOOLONG, "longer than");
}

TEST(test_an_empty_directory_and_one_with_lost_and_found_are_taken)
{
    CHECK_EQ(mkdir("data", 0755), 0);
    CHECK_EQ(mkdir("data/lost+found", 0755), 0);
    store_close(open_store());
}

TEST(test_a_directory_that_cannot_be_written_is_refused)
{
    CHECK_EQ(mkdir("data", 0555), 0);
    if (access("data", W_OK) == 0)
        return;                            /* root may write anywhere */
    check_refused("data", -EACCES, "data");
}

TEST(test_state_of_another_version_is_refused)
{
    store_close(open_store());
    put_file("data/state", SLICE("lignum-state=2\nwhatever that has\n"));
    check_refused("data", -ERR_FORMAT, "version");
    put_file("data/state", SLICE("something else\n"));
    check_refused("data", -ERR_FORMAT, "version");
}

TEST(test_every_flipped_bit_of_the_state_is_refused)
{
    store_close(open_store());
    slice good = read_whole("data/state");
    for (size_t bit = 0; bit < good.n * 8; bit++) {
        char flipped = (char)(good.p[bit / 8] ^ (1 << bit % 8));
        change_file("data/state", bit / 8, slice_of(&flipped, 1));
        struct state st;
        CHECK(state_load("data", &st) < 0);
        change_file("data/state", bit / 8, slice_of(good.p + bit / 8, 1));
    }
    change_file("data/state", 20, SLICE("~"));
    check_refused("data", -ERR_DAMAGED, "damaged");
}

TEST(test_keys_of_a_state_that_are_not_known_are_kept)
{
    CHECK_EQ(mkdir("data", 0755), 0);
    struct state st = {.name = "n1", .epoch = 3}, got;
    buf_addf(&st.unknown, "colour=green=blue\n");
    CHECK_EQ(state_save("data", &st), 0);
    CHECK_EQ(state_load("data", &got), 0);
    CHECK_SLICE(buf_slice(&got.unknown), SLICE("colour=green=blue\n"));
    CHECK_EQ(got.epoch, 3);
    buf_fini(&st.unknown);
    buf_fini(&got.unknown);
}

/* A disk without space for another file, or for the bytes of a file that was truncated. */
static int open_no_new(const char *path, int flags, mode_t mode)
{
    if ((flags & O_TRUNC) || ((flags & O_CREAT) && access(path, F_OK) < 0))
        return errno = ENOSPC, -1;
    return open(path, flags, mode);
}

TEST(test_a_state_is_saved_when_the_disk_is_full)
{
    struct io real = io;
    struct store *s = open_store();
    CHECK_EQ(store_save_state(s), 0);
    io.open = open_no_new;
    for (uint64_t epoch = 1; epoch < 4; epoch++) {
        struct state got;
        store_state(s)->epoch = epoch;
        CHECK_EQ(store_save_state(s), 0);
        CHECK_EQ(state_load("data", &got), 0);
        CHECK_EQ(got.epoch, epoch);
        buf_fini(&got.unknown);
    }
    io = real;
    store_close(s);
}

static int no_exchange(const char *a, const char *b)
{
    (void)a;
    (void)b;
    return errno = EINVAL, -1;
}

TEST(test_a_state_is_saved_where_names_cannot_be_exchanged)
{
    struct io real = io;
    io.exchange = no_exchange;
    struct store *s = open_store();
    store_state(s)->epoch = 7;
    CHECK_EQ(store_save_state(s), 0);
    store_close(s);
    s = open_store();
    CHECK_EQ(store_state(s)->epoch, 7);
    io = real;
    store_close(s);
}

TEST(test_a_lost_state_keeps_the_cluster_and_the_messages_but_not_the_incarnation)
{
    struct store *s = open_store();
    struct id cluster = s->disk.state.cluster, incarnation = s->disk.state.incarnation;
    struct journal *j = open_journal(s, "t");
    j->marks.epoch = 9;
    append_some(j, 5, 100);
    store_close(s);
    CHECK_EQ(unlink("data/state"), 0);
    s = open_store();
    CHECK(id_eq(&s->disk.state.cluster, &cluster));
    CHECK(!id_eq(&s->disk.state.incarnation, &incarnation));
    CHECK_EQ(s->disk.state.epoch, 9);
    j = open_journal(s, "t");
    CHECK_EQ(j->marks.tail, 5);
    check_reads_all(j);
    store_close(s);
}

/* The state is older than the messages, as when an old copy of it was restored. */
TEST(test_of_an_epoch_that_only_messages_tell_of_no_leader_is_known)
{
    struct store *s = open_store();
    struct id leader = id_mint();
    s->disk.state.epoch = 3;
    s->disk.state.leader = leader;
    CHECK_EQ(store_save_state(s), 0);
    struct journal *j = open_journal(s, "t");
    j->marks.epoch = 3;
    append_some(j, 1, 20);
    store_close(s);
    s = open_store();
    j = open_journal(s, "t");
    CHECK(id_eq(&s->disk.state.leader, &leader));
    j->marks.epoch = 4;
    append_some(j, 1, 20);
    store_close(s);
    s = open_store();
    open_journal(s, "t");
    CHECK_EQ(s->disk.state.epoch, 4);
    CHECK(id_is_zero(&s->disk.state.leader));
    store_close(s);
}

TEST(test_a_node_without_messages_takes_another_cluster_and_one_with_messages_does_not)
{
    struct id other = id_mint(), third = id_mint();
    struct store *s = open_store();
    struct journal *j = open_journal(s, "t");
    CHECK_EQ(store_set_cluster(s, &other), 0);
    append_some(j, 1, 20);
    CHECK_EQ(store_set_cluster(s, &third), -ERR_FORBIDDEN);
    CHECK(id_eq(&s->disk.state.cluster, &other));
    settle_store(s);
    abandon_store(s);
    s = open_store();
    CHECK(id_eq(&s->disk.state.cluster, &other));
    check_reads_all(open_journal(s, "t"));
    store_close(s);
}

static struct journal *open_weak(struct store *s)
{
    struct journal_options o = small_files;
    o.durability = DURABILITY_OS;
    return open_journal_with(s, "weak", o);
}

static void check_amnesiac(bool weak, bool kill, bool power, bool amnesiac)
{
    struct store *s = open_store();
    append_some(open_journal(s, "t"), 1, 20);
    struct journal *j = open_weak(s);
    if (weak)
        append_some(j, 1, 20);
    CHECK_EQ(s->disk.state.weak, weak);
    if (kill)
        abandon_store(s);
    else
        store_close(s);
    struct state st;
    CHECK_EQ(state_load("data", &st), 0);
    CHECK_EQ(st.weak, weak && kill);
    if (power) {
        st.boot[0] = st.boot[0] == 'a' ? 'b' : 'a';
        CHECK_EQ(state_save("data", &st), 0);
    }
    for (int again = 0; again < 2; again++) {
        s = open_store();
        CHECK_EQ(s->disk.state.amnesiac, amnesiac);
        CHECK(!s->disk.state.weak);             /* what is there now is on the disk */
        CHECK_EQ(state_load("data", &st), 0);
        CHECK(!st.weak);
        if (again)
            store_close(s);
        else
            abandon_store(s);
    }
    CHECK_EQ(run("rm -r data"), 0);
}

TEST(test_a_node_is_amnesiac_after_a_power_loss_under_a_weak_durability_and_only_then)
{
    for (int i = 0; i < 8; i++)
        check_amnesiac(i & 1, i & 2, i & 4, i == 7);
}

static ssize_t pwrite_is_full(int fd, const void *p, size_t n, off_t at)
{
    (void)fd, (void)p, (void)n, (void)at;
    return errno = ENOSPC, -1;
}

TEST(test_an_append_whose_weakness_cannot_be_noted_is_refused)
{
    struct store *s = open_store();
    struct journal *j = open_weak(s);
    ssize_t (*was)(int, const void *, size_t, off_t) = io.pwrite;
    io.pwrite = pwrite_is_full;
    CHECK_EQ(try_append(j, 1, 20, 0), -ENOSPC);
    CHECK_EQ(j->marks.tail, 0);
    CHECK(!s->disk.state.weak);
    io.pwrite = was;
    append_some(j, 1, 20);
    store_close(s);
}

TEST(test_names_of_topics_are_listed)
{
    struct store *s = open_store();
    append_some(open_journal(s, "a"), 1, 20);
    append_some(open_journal(s, "b.c"), 25, 20);         /* it has a directory of its own */
    open_journal(s, "nothing is on the disk of it");
    size_t at = 0, count = 0;
    slice name;
    while (store_next_name(s, &at, &name)) {
        CHECK(slice_eq(name, SLICE("a")) || slice_eq(name, SLICE("b.c")));
        count++;
    }
    CHECK_EQ(count, 2);
    store_close(s);
}

TEST(test_trash_left_by_a_crash_is_emptied)
{
    struct store *s = open_store();
    worker_wait(s->disk.worker);                /* otherwise its own start may remove this from the trash */
    CHECK_EQ(mkdir("data/trash/old-1-5", 0755), 0);
    put_file("data/trash/old-1-5/x.log", SLICE("x"));
    abandon_store(s);
    store_close(open_store());
    CHECK(!exists("data/trash/old-1-5"));
}

/* -- offline ------------------------------------------------------------------------------------------------------- */

static void a_topic_with_three_files(bool clean)
{
    struct store *s = open_store();
    struct journal *j = open_journal_with(s, "t", ten_each);
    for (int i = 0; i < 25; i++) {
        append_some(j, 1, 40);
        settle_store(s);
    }
    if (clean)
        store_close(s);
    else
        abandon_store(s);
}

static slice output_of(int (*call)(void), int code)
{
    fflush(stdout);
    int saved = dup(1), fd = open("out", O_CREAT | O_TRUNC | O_RDWR, 0600);
    dup2(fd, 1);
    int got = call();
    fflush(stdout);
    dup2(saved, 1);
    close(fd);
    close(saved);
    CHECK_EQ(got, code);
    return unit_read_file("out");
}

static int verify(void)
{
    return data_verify("data");
}

static int dump(void)
{
    return data_dump("data", SLICE("t"), 9, 11);
}

static bool contains(slice all, const char *part)
{
    return memmem(all.p, all.n, part, strlen(part)) != NULL;
}

TEST(test_verify_counts_and_finds_nothing_wrong)
{
    a_topic_with_three_files(true);
    slice out = output_of(verify, 0);
    CHECK(contains(out, "topic t: files 3, messages 25,"));
    CHECK(contains(out, "topics 1, messages 25, damages 0\n"));
}

TEST(test_verify_tells_a_torn_tail_from_damage)
{
    a_topic_with_three_files(false);
    const char *active = "data/topics/t/00000000000000000020.qwal";
    slice bytes = read_whole(active);
    change_file(active, 64 + 4 * 120 + 100, SLICE("\xff"));
    size_t batch = BATCH_HEAD_SIZE + MESSAGE_HEAD_SIZE + 1 + 40;
    put_file(active, bytes);
    change_file(active, 64 + 5 * batch, SLICE("half a batch"));
    slice out = output_of(verify, 0);
    CHECK(contains(out, "torn tail"));
    put_file(active, bytes);
    change_file(active, 64 + 2 * batch + 90, SLICE("\xff\xfe"));
    out = output_of(verify, 1);
    CHECK(contains(out, "DAMAGE: bad bytes, file 00000000000000000020, offsets 22 to 23"));
    put_file(active, bytes);
    CHECK_EQ(unlink("data/topics/t/00000000000000000010.log"), 0);
    out = output_of(verify, 1);
    CHECK(contains(out, "missing before this file"));
    CHECK_EQ(data_verify("nowhere"), EXIT_DATA);
}

TEST(test_dump_prints_a_line_a_message_and_changes_nothing)
{
    a_topic_with_three_files(true);
    struct store *s = open_store();
    struct journal *j = open_journal(s, "t");
    CHECK_EQ(j->marks.tail, 25);
    store_close(s);
    slice out = output_of(dump, 0);
    CHECK(contains(out, "{\"topic\":\"t\",\"offset\":9,\"epoch\":1,\"time\":\"1970-01-01T00:00:01.000Z\","
                        "\"key\":\"k\",\"data\":\"message 9 "));
    CHECK(contains(out, "\"offset\":10,"));
    CHECK(!contains(out, "\"offset\":11,"));
    CHECK_EQ(data_dump("data", SLICE("none"), 0, 1), 1);
    CHECK_EQ(data_dump("data", SLICE("../t"), 0, 1), EXIT_DATA);
}
