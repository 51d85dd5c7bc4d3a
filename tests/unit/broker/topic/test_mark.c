/* Marks: the one way of waiting. */
#include "broker/topic/mark.h"
#include "unit/unit.h"

enum { WAITERS = 5 };

static struct waiter *woken[WAITERS];
static int woken_rc[WAITERS];
static size_t woken_count;

static void note(struct waiter *w, int rc)
{
    woken[woken_count] = w;
    woken_rc[woken_count++] = rc;
}

static void wait_for(struct mark *m, struct waiter *w, uint64_t want)
{
    *w = (struct waiter){.wake = note};
    mark_wait(m, w, want);
}

TEST(test_an_advance_wakes_a_prefix_in_order_of_want)
{
    struct mark m;
    struct waiter w[WAITERS];
    static const uint64_t wants[WAITERS] = {3, 9, 5, 5, 4};
    mark_init(&m, 2);
    for (int i = 0; i < WAITERS; i++)
        wait_for(&m, &w[i], wants[i]);
    mark_advance(&m, 5);
    CHECK_EQ(woken_count, 4);
    CHECK(woken[0] == &w[0]);
    CHECK(woken[1] == &w[4]);
    CHECK(woken[2] == &w[2]);
    CHECK(woken[3] == &w[3]);
    mark_advance(&m, 9);
    CHECK(woken[4] == &w[1]);
}

TEST(test_a_mark_never_falls)
{
    struct mark m;
    mark_init(&m, 7);
    CHECK_DIES(mark_advance(&m, 6), 6 /* SIGABRT */);
}

TEST(test_waiting_for_what_is_there_is_a_bug)
{
    struct mark m;
    struct waiter w = {.wake = note};
    mark_init(&m, 7);
    CHECK_DIES(mark_wait(&m, &w, 7), 6);
}

TEST(test_a_cancelled_waiter_is_not_woken)
{
    struct mark m;
    struct waiter w[2];
    mark_init(&m, 0);
    wait_for(&m, &w[0], 1);
    wait_for(&m, &w[1], 1);
    waiter_cancel(&w[0]);
    waiter_cancel(&w[0]);
    mark_advance(&m, 1);
    CHECK_EQ(woken_count, 1);
    CHECK(woken[0] == &w[1]);
    waiter_cancel(&w[1]);
}

TEST(test_a_failing_mark_tells_everybody_why)
{
    struct mark m;
    struct waiter w[2];
    mark_init(&m, 0);
    wait_for(&m, &w[0], 1);
    wait_for(&m, &w[1], 100);
    mark_fail(&m, -42);
    CHECK_EQ(woken_count, 2);
    CHECK_EQ(woken_rc[0], -42);
    CHECK_EQ(woken_rc[1], -42);
    CHECK(m.first == NULL);
}
