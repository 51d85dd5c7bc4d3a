/* Deliveries: their heaps, and the chains of keys. */
#include <stdlib.h>

#include "broker/group/deliveries.h"
#include "unit/unit.h"

TEST(test_of_a_key_only_the_first_is_ready_and_none_while_one_is_leased)
{
    struct deliveries d;
    deliveries_init(&d, true);
    struct delivery *nine = deliveries_add(&d, 9, 77);
    CHECK_EQ(nine->state, DELIVERY_READY);
    deliveries_lease(&d, nine, 1, 100);
    CHECK_EQ(deliveries_add(&d, 5, 77)->state, DELIVERY_HELD);    /* the first, but another one is leased */
    CHECK_EQ(deliveries_add(&d, 12, 77)->state, DELIVERY_HELD);
    CHECK_EQ(deliveries_add(&d, 7, 0)->state, DELIVERY_READY);    /* it has no key */
    CHECK_EQ(deliveries_first(&d)->offset, 7);
    deliveries_remove(&d, deliveries_find(&d, 9));
    CHECK_EQ(deliveries_first(&d)->offset, 5);
    CHECK_EQ(deliveries_find(&d, 12)->state, DELIVERY_HELD);
    deliveries_delay(&d, deliveries_find(&d, 5), 50);
    CHECK_EQ(deliveries_find(&d, 12)->state, DELIVERY_HELD);      /* a delay holds the key back */
    deliveries_remove(&d, deliveries_find(&d, 5));
    CHECK_EQ(deliveries_find(&d, 12)->state, DELIVERY_READY);
    CHECK_EQ(deliveries_add(&d, 11, 77)->state, DELIVERY_READY);
    CHECK_EQ(deliveries_find(&d, 12)->state, DELIVERY_HELD);      /* it was ready before a lower one came */
    deliveries_fini(&d);
}

TEST(test_the_foremost_is_of_the_key_that_most_have_or_the_lowest)
{
    struct deliveries d;
    uint32_t held;
    deliveries_init(&d, true);
    CHECK(deliveries_foremost(&d, 0, &held) == NULL);
    deliveries_add(&d, 3, 0);
    deliveries_add(&d, 5, 77);
    deliveries_add(&d, 4, 66);
    CHECK_EQ(deliveries_foremost(&d, 3, &held)->offset, 3);
    CHECK_EQ(held, 0);
    CHECK_EQ(deliveries_foremost(&d, 4, &held)->offset, 4);
    CHECK_EQ(deliveries_foremost(&d, 2, &held)->offset, 3);         /* 2 is not out: the first that is ready */
    deliveries_add(&d, 7, 77);
    deliveries_add(&d, 9, 77);
    CHECK_EQ(deliveries_foremost(&d, 1, &held)->offset, 5);
    CHECK_EQ(held, 2);
    deliveries_lease(&d, deliveries_find(&d, 5), 1, 100);
    deliveries_add(&d, 1, 77);
    CHECK_EQ(deliveries_foremost(&d, 1, &held)->offset, 5);           /* the first, 1, waits for it */
    CHECK_EQ(held, 3);
    deliveries_set_keyed(&d, false);
    CHECK_EQ(deliveries_foremost(&d, 1, &held)->offset, 1);
    CHECK_EQ(held, 0);
    deliveries_fini(&d);
}

/* Of ten thousand, every other one has one of two keys, and none has a place that it shares with all of its key. */
TEST(test_the_key_of_just_more_than_half_is_found_among_many)
{
    struct deliveries d;
    uint32_t held;
    deliveries_init(&d, true);
    for (uint64_t i = 0; i < 10000; i++)
        deliveries_add(&d, i, i % 2 == 0 ? 66 : 77);
    CHECK_EQ(deliveries_foremost(&d, 0, &held)->offset, 0);
    CHECK_EQ(held, 4999);
    for (uint64_t i = 0; i < 100; i += 2)
        deliveries_remove(&d, deliveries_find(&d, i));              /* their places are free */
    CHECK_EQ(deliveries_foremost(&d, 100, &held)->offset, 1);
    CHECK_EQ(held, 4999);
    for (uint64_t i = 1; i < 300; i += 2)
        deliveries_remove(&d, deliveries_find(&d, i));
    CHECK_EQ(deliveries_foremost(&d, 100, &held)->offset, 100);
    CHECK_EQ(held, 4949);
    deliveries_fini(&d);
}

TEST(test_what_is_over_first_comes_first_and_the_lowest_offset_is_ready_first)
{
    struct deliveries d;
    uint64_t last = 0;
    srandom(1);
    deliveries_init(&d, false);
    for (uint64_t i = 0; i < 2000; i++)
        deliveries_delay(&d, deliveries_add(&d, (i * 7919) % 2000, 0), random() % 100000);
    for (uint64_t i = 0; i < 2000; i += 3)           /* some get another time, as one that is extended or let go */
        deliveries_lease(&d, deliveries_find(&d, i), 1, random() % 100000);
    CHECK_EQ(d.leased, 667);
    for (uint64_t i = 0; i < 2000; i += 3)
        deliveries_delay(&d, deliveries_find(&d, i), random() % 100000);
    CHECK_EQ(d.delayed, 2000);
    for (int64_t before = 0; d.delayed > 0;) {
        struct delivery *e = deliveries_next_due(&d);
        CHECK(e->at_ms >= before);
        before = e->at_ms;
        deliveries_free(&d, e);
    }
    for (uint64_t i = 0; i < 2000; i++) {
        struct delivery *e = deliveries_first(&d);
        CHECK(i == 0 || e->offset > last);
        last = e->offset;
        deliveries_remove(&d, e);
        CHECK(deliveries_find(&d, last) == NULL);
    }
    CHECK_EQ(d.count, 0);
    deliveries_fini(&d);
}

TEST(test_a_lease_costs_at_most_64_bytes)
{
    struct deliveries d;
    deliveries_init(&d, false);
    for (uint32_t i = 0; i < 100 * 1000; i++) {
        deliveries_lease(&d, deliveries_add(&d, i, 0), 1, 1000);
        size_t bytes = d.cap * sizeof(d.all[0]) + (d.timers.cap + d.ready.cap + d.bucket_count) * sizeof(uint32_t);
        if (i >= 4096)
            CHECK(bytes <= 64 * (size_t)i);
    }
    deliveries_fini(&d);
}

TEST(test_keys_can_be_switched_on_and_off)
{
    struct deliveries d;
    deliveries_init(&d, false);
    for (uint64_t i = 0; i < 6; i++)
        deliveries_add(&d, i, i % 2 + 1);
    CHECK_EQ(d.ready.count, 6);
    deliveries_set_keyed(&d, true);
    CHECK_EQ(d.ready.count, 2);
    CHECK_EQ(deliveries_first(&d)->offset, 0);
    deliveries_remove(&d, deliveries_find(&d, 0));
    CHECK_EQ(deliveries_find(&d, 2)->state, DELIVERY_READY);
    deliveries_set_keyed(&d, false);
    CHECK_EQ(d.ready.count, 5);
    deliveries_fini(&d);
}
