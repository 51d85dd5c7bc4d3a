/* Limits for one client: buckets, waiting requests, and the bounded table. */
#include <stdio.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/limits.h"
#include "net/quota.h"
#include "unit/unit.h"

static uint64_t now_ns = 1000 * NS_PER_S;

static struct quotas *quotas_with(uint64_t requests, uint64_t bytes, uint32_t waiting)
{
    struct quotas *q = quotas_new();
    quotas_set_limits(q, &(struct quota_limits){requests, bytes, waiting});
    return q;
}

static struct quota_ref client(struct quotas *q, const char *name)
{
    return quota_client(q, QUOTA_TOKEN, slice_from(name), now_ns);
}

/* How many of `tries` requests of so many bytes are let in. */
static int let_in(struct quotas *q, const char *name, int tries, uint64_t bytes)
{
    int count = 0;
    for (int i = 0; i < tries; i++) {
        enum quota_limit limit;
        uint64_t after_ns;
        count += quota_request(q, client(q, name), bytes, now_ns, &limit, &after_ns) == 0;
    }
    return count;
}

TEST(test_a_second_brings_as_many_requests_as_the_limit_and_no_more_are_kept)
{
    struct quotas *q = quotas_with(10, 0, 0);
    CHECK_EQ(let_in(q, "a", 50, 1000 * 1000), 10);
    CHECK_EQ(let_in(q, "b", 50, 0), 10);                     /* another client */
    CHECK_EQ(quota_client(q, QUOTA_ADDRESS, SLICE("a"), now_ns).index == client(q, "a").index, 0);
    now_ns += NS_PER_S / 2;
    CHECK_EQ(let_in(q, "a", 50, 0), 5);
    now_ns += 100 * NS_PER_S;
    CHECK_EQ(let_in(q, "a", 50, 0), 10);
    enum quota_limit limit;
    uint64_t after_ns;
    CHECK_EQ(quota_request(q, client(q, "a"), 0, now_ns, &limit, &after_ns), -ERR_TOO_MANY);
    CHECK_EQ(limit, QUOTA_REQUESTS);
    CHECK(after_ns > NS_PER_S / 11 && after_ns < NS_PER_S / 9);
    now_ns += after_ns;
    CHECK_EQ(let_in(q, "a", 2, 0), 1);
    quotas_free(q);
}

TEST(test_an_answer_may_overdraw_and_the_next_request_waits_for_it)
{
    struct quotas *q = quotas_with(0, 1000, 0);
    CHECK_EQ(let_in(q, "a", 1, 10), 1);
    quota_sent(q, client(q, "a"), 2990);
    CHECK_EQ(quota_overdrawn_ns(q, client(q, "a"), now_ns) / NS_PER_MS, 2000);
    CHECK_EQ(let_in(q, "a", 1, 0), 0);
    CHECK_EQ(let_in(q, "b", 1, 0), 1);
    now_ns += 2 * NS_PER_S + NS_PER_MS;
    CHECK_EQ(quota_overdrawn_ns(q, client(q, "a"), now_ns), 0);
    CHECK_EQ(let_in(q, "a", 1, 0), 1);
    quotas_free(q);
}

TEST(test_waiting_requests_are_counted_until_they_end)
{
    struct quotas *q = quotas_with(0, 0, 2);
    struct quota_ref a = client(q, "a");
    CHECK(quota_wait(q, a));
    CHECK(quota_wait(q, a));
    CHECK(!quota_wait(q, a));
    CHECK(quota_wait(q, client(q, "b")));
    quota_waited(q, a);
    CHECK(quota_wait(q, a));
    quotas_free(q);
}

/* More clients than there are places: quiet ones are forgotten, those that wait never, and all keep their limits. */
TEST(test_the_table_is_bounded_and_keeps_who_waits)
{
    struct quotas *q = quotas_with(1, 0, 1);
    struct quota_stats stats;
    struct quota_ref waits = client(q, "waits"), quiet = client(q, "quiet");
    char name[32];
    CHECK(quota_wait(q, waits));
    for (int i = 0; i < 3 * QUOTA_CLIENTS_MAX; i++) {
        snprintf(name, sizeof(name), "c%d", i);
        CHECK_EQ(let_in(q, name, 2, 0), 1);
    }
    quotas_stats(q, &stats);
    CHECK_EQ(stats.clients, QUOTA_CLIENTS_MAX);
    CHECK(!quota_wait(q, waits));                            /* it still waits */
    CHECK(quota_wait(q, quiet));                             /* forgotten: a reference to it does nothing */
    CHECK(quota_wait(q, quiet));
    quota_sent(q, quiet, 5);
    quota_waited(q, quiet);
    quotas_free(q);
}

TEST(test_a_table_of_clients_that_all_wait_takes_no_more)
{
    struct quotas *q = quotas_with(0, 0, 1);
    char name[32];
    for (int i = 0; i < QUOTA_CLIENTS_MAX; i++) {
        snprintf(name, sizeof(name), "c%d", i);
        CHECK(quota_wait(q, client(q, name)));
    }
    CHECK_EQ(client(q, "late").index, 0);
    quota_waited(q, client(q, "c7"));
    CHECK(client(q, "late").index != 0);
    quotas_free(q);
}
