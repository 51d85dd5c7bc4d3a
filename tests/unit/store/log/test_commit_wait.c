/* When a group commit waits for more batches: with times that the test sets, then with a store on a slow disk. */
#include "store/log/commit_wait.h"

#include <poll.h>

#include "base/clock.h"
#include "unit/journals.h"

#define US (NS_PER_MS / 1000)

static struct commit_wait g;
static uint64_t now = NS_PER_S;

static void come(unsigned count, uint64_t every_ns)
{
    for (unsigned i = 0; i < count; i++) {
        now += every_ns;
        commit_wait_add(&g);
        commit_wait_note_time(&g, now);
    }
}

/* A group commit that takes took_ns, while `count` batches arrive, one every `every_ns`. */
static void commit_of(uint64_t took_ns, unsigned count, uint64_t every_ns)
{
    uint64_t end = now + took_ns;
    commit_wait_begin(&g, now);
    come(count, every_ns);
    CHECK(now <= end);
    now = end;
    commit_wait_end(&g, now, took_ns);
}

static void halves_of(unsigned count, uint64_t took_ns, uint64_t every_ns)
{
    g = (struct commit_wait){0};
    come(count, every_ns);
    for (int i = 0; i < 3; i++)
        commit_of(took_ns, count, every_ns);
}

TEST(test_answered_clients_are_waited_for)
{
    halves_of(8, NS_PER_MS, 10 * US);
    for (unsigned i = 0; i < 8; i++) {
        CHECK(commit_wait_more(&g, now));
        come(1, 10 * US);
    }
    CHECK(!commit_wait_more(&g, now));
    commit_of(NS_PER_MS, 0, 0);                       /* it covers all 16: there are no other clients */
    come(1, 10 * US);
    CHECK(commit_wait_more(&g, now));
    come(15, 10 * US);
    CHECK(!commit_wait_more(&g, now));
}

TEST(test_nothing_waits_longer_than_twice_as_long_as_expected)
{
    halves_of(8, NS_PER_MS, 10 * US);                 /* 8 are to come: 160 us, and a quarter of the sync */
    come(5, 10 * US);
    now += 359 * US;
    CHECK(commit_wait_more(&g, now));
    now += 2 * US;
    CHECK(!commit_wait_more(&g, now));
}

TEST(test_nothing_waits_longer_than_a_sync_costs)
{
    halves_of(16, NS_PER_MS, 30 * US);
    now += 1099 * US;                                 /* its time, and 0.1 ms */
    CHECK(commit_wait_more(&g, now));
    now += 2 * US;
    CHECK(!commit_wait_more(&g, now));
}

TEST(test_clients_that_do_not_return_are_not_waited_for_again)
{
    halves_of(8, NS_PER_MS, 10 * US);
    CHECK(commit_wait_more(&g, now));
    now += NS_PER_MS;
    CHECK(!commit_wait_more(&g, now));
    commit_of(NS_PER_MS, 1, 10 * US);
    CHECK(!commit_wait_more(&g, now));
}

TEST(test_idle_time_does_not_change_the_estimated_rate)
{
    halves_of(8, NS_PER_MS, 10 * US);
    CHECK(commit_wait_more(&g, now));
    come(8, 10 * US);
    commit_of(NS_PER_MS, 0, 0);
    now += NS_PER_S;
    come(16, 1 * US);
    CHECK(!commit_wait_more(&g, now));
    commit_of(NS_PER_MS, 0, 0);
    come(1, 10 * US);
    CHECK(commit_wait_more(&g, now));
}

TEST(test_clients_that_publish_at_their_own_times_are_not_waited_for)
{
    halves_of(8, NS_PER_MS, 100 * US);
    CHECK(!commit_wait_more(&g, now));
    halves_of(1, NS_PER_MS, 900 * US);
    CHECK(!commit_wait_more(&g, now));
}

TEST(test_more_clients_than_can_be_served_in_time_are_not_waited_for)
{
    halves_of(56, NS_PER_MS, 10 * US);
    CHECK(!commit_wait_more(&g, now));
    halves_of(54, NS_PER_MS, 10 * US);
    CHECK(commit_wait_more(&g, now));
}

TEST(test_a_single_client_does_not_wait)
{
    g = (struct commit_wait){0};
    for (int i = 0; i < 10; i++) {
        come(1, 10 * US);
        CHECK(!commit_wait_more(&g, now));
        commit_of(NS_PER_MS, 0, 0);
        CHECK(!commit_wait_more(&g, now));
    }
}

/* A group commit of 8, during which 4 arrive. */
static void half_of_eight(uint64_t took_ns, uint64_t every_ns)
{
    halves_of(8, 10 * NS_PER_MS, US);
    commit_of(took_ns, 4, every_ns);
    come(4, 0);
    commit_of(took_ns, 4, every_ns);
}

TEST(test_on_a_fast_disk_a_sync_costs_twice_its_time)
{
    half_of_eight(50 * US, 8300);
    CHECK(commit_wait_more(&g, now));
    half_of_eight(50 * US, 8400);
    CHECK(!commit_wait_more(&g, now));
}

TEST(test_a_stall_of_the_disk_does_not_lengthen_the_next_wait)
{
    halves_of(4, NS_PER_MS, 1 * US);
    commit_of(NS_PER_S, 4, 1 * US);
    now += 259 * US;
    CHECK(!commit_wait_more(&g, now));
}

TEST(test_a_disk_that_takes_seconds_adds_milliseconds_only)
{
    halves_of(4, NS_PER_S, 1 * US);
    CHECK(commit_wait_more(&g, now));
    now += 5 * NS_PER_MS;
    CHECK(!commit_wait_more(&g, now));
}

/* ---- with clients that pause before they publish again ---- */

enum { THINKERS_MAX = 16 };

static unsigned round_us;

struct thinker {
    uint64_t comes_ns;
    enum { THINKS, WANTS_A_ROUND, HAS_A_ROUND } at;
};

static struct thinker thinkers[THINKERS_MAX];

static void thinkers_come(unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        if (thinkers[i].at == THINKS && thinkers[i].comes_ns <= now) {
            thinkers[i].at = WANTS_A_ROUND;
            commit_wait_add(&g);
        }
    commit_wait_note_time(&g, now);
}

static void thinkers_go(unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        if (thinkers[i].at == WANTS_A_ROUND)
            thinkers[i].at = HAS_A_ROUND;
    commit_wait_begin(&g, now);
}

static unsigned thinkers_are_answered(unsigned count, const unsigned think_us[])
{
    unsigned answers = 0;
    commit_wait_end(&g, now, round_us * US);
    for (unsigned i = 0; i < count; i++)
        if (thinkers[i].at == HAS_A_ROUND) {
            thinkers[i] = (struct thinker){now + think_us[i] * US, THINKS};
            answers++;
        }
    return answers;
}

/* How many answers the clients get in the time of 500 group commits. They begin one after the other. */
static unsigned answers_to(unsigned count, const unsigned think_us[], bool may_wait)
{
    unsigned answers = 0, left_us = 0;
    g = (struct commit_wait){0};
    for (unsigned i = 0; i < count; i++)
        thinkers[i] = (struct thinker){now + (i + 1) * round_us * US / 4, THINKS};
    for (unsigned us = 0; us < 500 * round_us; us++) {
        now += US;
        if (left_us > 0 && --left_us == 0)
            answers += thinkers_are_answered(count, think_us);
        thinkers_come(count);
        if (left_us == 0 && g.waiting > 0 && !(may_wait && commit_wait_more(&g, now))) {
            thinkers_go(count);
            left_us = round_us;
        }
    }
    return answers;
}

TEST(test_a_slow_client_delays_the_others_only_now_and_then)
{
    for (round_us = 60; round_us <= 1000; round_us *= 2)
        for (unsigned think_us = round_us / 5; think_us <= 5 * round_us; think_us += round_us / 12)
            for (unsigned count = 2; count <= 4; count++) {
                const unsigned each[] = {think_us, round_us / 20, round_us / 18, round_us / 16};
                CHECK(answers_to(count, each, true) >= answers_to(count, each, false) * 8 / 10);
            }
}

TEST(test_clients_that_returned_in_time_are_waited_for_again)
{
    unsigned each[12];
    round_us = 1000;
    for (unsigned i = 0; i < 12; i++)
        each[i] = 240 + i;                           /* a round trip */
    CHECK(answers_to(12, each, true) >= answers_to(12, each, false) * 3 / 2);
}

/* ---- with a store ---- */

static volatile int syncs;                           /* begun; the disk thread counts */

static int sync_slowly(int fd)
{
    (void)fd;
    syncs++;
    usleep(3000);
    return 0;
}

enum { CLIENTS = 8, EACH = 50 };

/* Clients that publish when they are answered; one begins before the others. */
TEST(test_on_a_slow_disk_a_group_commit_covers_all_clients)
{
    struct store *s = open_store();
    struct journal *j = open_journal(s, "t");
    settle_store(s);
    io.sync_data = sync_slowly;
    for (append_some(j, 1, 10); j->marks.disk < CLIENTS * EACH;) {
        while (j->marks.tail < j->marks.disk + CLIENTS && j->marks.tail < CLIENTS * EACH && syncs > 0)
            append_some(j, 1, 10);
        store_flush(s);
        store_sync(s);
        uint64_t at = store_deadline_ns(s), time = clock_ns();
        struct pollfd p = {.fd = store_event_fd(s), .events = POLLIN};
        poll(&p, 1, at == 0 ? 5 : at > time ? (int)((at - time) / NS_PER_MS) + 1 : 0);
        store_collect(s);
    }
    CHECK(syncs >= EACH);
    CHECK(syncs < EACH * 3 / 2);                     /* twice, if they took turns */
    store_close(s);
}
