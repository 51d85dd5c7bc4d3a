/* The registry, compared with a list that is kept in order the simple way. */
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "broker/topic/registry.h"
#include "unit/unit.h"

enum { MOST = 3000, NAME_SIZE = 16 };

static struct topic *all[MOST];          /* in the order of names */
static size_t count;
static struct order by_id;

static uint32_t random_below(uint32_t n)
{
    static uint64_t x = 88172645463325252u;
    x ^= x << 13, x ^= x >> 7, x ^= x << 17;
    return (uint32_t)(x >> 32) % n;
}

static struct topic *topic_named(unsigned number)
{
    struct topic *t = mem_new(sizeof *t + NAME_SIZE);
    snprintf(t->name, NAME_SIZE, "t%u", number);
    t->id = (struct topic_id){number % 7, number};
    return t;
}

static int by_name(const void *a, const void *b)
{
    return strcmp((*(struct topic *const *)a)->name, (*(struct topic *const *)b)->name);
}

static void check(struct registry *r)
{
    struct order_cursor c = {0};
    qsort(all, count, sizeof all[0], by_name);
    CHECK_EQ(r->count, count);
    for (size_t i = 0; i < count; i++) {
        CHECK(registry_next(r, &c) == all[i]);
        CHECK(registry_at(r, i) == all[i]);
        CHECK(registry_deref(r, topic_ref(all[i])) == all[i]);
        CHECK_EQ(registry_below(r, slice_from(all[i]->name), false), i);
        CHECK_EQ(registry_below(r, slice_from(all[i]->name), true), i + 1);
    }
    CHECK(registry_next(r, &c) == NULL);
    CHECK(registry_at(r, count) == NULL);
    for (size_t i = count; i > 0; i -= i > 37 ? 37 : i)
        CHECK(registry_at(r, i - 1) == all[i - 1]);
    for (size_t i = 0; i < count; i++)
        CHECK(order_find(&by_id, &(struct order_key){.id = all[i]->id}) == all[i]);
    CHECK(order_find(&by_id, &(struct order_key){.id = {8, 1}}) == NULL);
    CHECK(order_find(&by_id, &(struct order_key){.id = {1, 2000000}}) == NULL);
    CHECK_EQ(registry_below(r, SLICE(""), true), 0);
    CHECK_EQ(registry_below(r, SLICE("u"), false), count);
}

static void fill(struct registry *r, bool in_order)
{
    for (unsigned i = 0; i < MOST; i++)
        all[count++] = topic_named(in_order ? 1000000 + i : i * 7919 % 100003);
    for (unsigned i = 0; i < MOST; i++) {
        registry_add(r, all[i]);
        order_add(&by_id, all[i]);
    }
    check(r);
}

static void drop(struct registry *r, size_t i)
{
    struct topic_ref ref = topic_ref(all[i]);
    registry_remove(r, all[i]);
    order_remove(&by_id, all[i]);
    CHECK(registry_deref(r, ref) == NULL);
    mem_free(all[i]);
    all[i] = all[--count];
}

TEST(test_topics_are_found_by_name_place_and_reference_while_others_come_and_go)
{
    for (int in_order = 0; in_order < 2; in_order++) {
        struct registry r;
        registry_init(&r);
        order_init(&by_id, order_by_id);
        fill(&r, in_order);
        for (int round = 0; round < 20; round++) {
            for (size_t n = random_below((uint32_t)count + 1); n > 0; n--)
                drop(&r, random_below((uint32_t)count));
            check(&r);
            for (unsigned n = random_below(MOST - (unsigned)count + 1); n > 0; n--) {
                struct topic *t = topic_named(2000000 + (unsigned)round * MOST + n);
                registry_add(&r, t);
                order_add(&by_id, t);
                all[count++] = t;
            }
            check(&r);
        }
        CHECK(r.slot_count <= MOST);     /* slots are used again */
        while (count > 0)
            drop(&r, count - 1);
        check(&r);
        CHECK_EQ(r.order.page_count, 0);
        registry_fini(&r);
        order_fini(&by_id);
    }
}
