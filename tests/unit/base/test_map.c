#include "base/map.h"

#include <signal.h>
#include <stdio.h>

#include "base/list.h"
#include "base/mem.h"
#include "unit/unit.h"

enum { MANY = 100 * 1000 };

struct thing {
    char name[24];
    bool in, seen;
};

static struct thing *make_things(void)
{
    struct thing *things = mem_new(MANY * sizeof *things);
    for (int i = 0; i < MANY; i++)
        snprintf(things[i].name, sizeof things[i].name, "topic.%d", i);
    return things;
}

static void check_all(const struct map *m, struct thing *things)
{
    size_t count = 0;
    for (int i = 0; i < MANY; i++) {
        CHECK(map_get(m, slice_from(things[i].name)) == (things[i].in ? &things[i] : NULL));
        things[i].seen = false;
        count += things[i].in;
    }
    CHECK_EQ(m->count, count);
    size_t at = 0;
    for (struct thing *t; (t = map_next(m, &at)); count--) {
        CHECK(t->in);
        CHECK(!t->seen);
        t->seen = true;
    }
    CHECK_EQ(count, 0);
}

static void put(struct map *m, struct thing *t)
{
    map_put(m, slice_from(t->name), t);
    t->in = true;
    CHECK(m->count < m->cap);
}

static void take_out(struct map *m, struct thing *t)
{
    CHECK(map_remove(m, slice_from(t->name)) == t);
    CHECK(!map_remove(m, slice_from(t->name)));
    t->in = false;
}

TEST(test_a_hundred_thousand_keys_come_and_go)
{
    struct thing *things = make_things();
    struct map m;
    map_init(&m);
    for (int i = 0; i < MANY; i++)
        put(&m, &things[i]);
    check_all(&m, things);
    for (int i = 0; i < MANY; i++)
        if (i % 3 != 0)
            take_out(&m, &things[i]);
    check_all(&m, things);
    for (int i = 0; i < MANY; i += 2)
        if (!things[i].in)
            put(&m, &things[i]);
    check_all(&m, things);
    for (int i = 0; i < MANY; i++)
        if (things[i].in)
            take_out(&m, &things[i]);
    check_all(&m, things);
    map_fini(&m);
    mem_free(things);
}

/* Few slots make long runs that wrap around the end, which is the hardest case for closing a hole. */
TEST(test_a_crowded_small_map_survives_removal_in_any_order)
{
    static struct thing things[12];
    for (int round = 0; round < 2000; round++) {
        struct map m;
        map_init(&m);
        for (int i = 0; i < 12; i++) {
            snprintf(things[i].name, sizeof things[i].name, "%d", i);
            map_put(&m, slice_from(things[i].name), &things[i]);
        }
        for (int gone = 0; gone < 12; gone++) {
            int victim = (gone * 5 + round) % 12;
            CHECK(map_remove(&m, slice_from(things[victim].name)) == &things[victim]);
            for (int later = gone + 1; later < 12; later++) {
                int i = (later * 5 + round) % 12;
                CHECK(map_get(&m, slice_from(things[i].name)) == &things[i]);
            }
        }
        CHECK_EQ(m.count, 0);
        map_fini(&m);
    }
}

TEST(test_an_empty_map_answers)
{
    struct map m;
    size_t at = 0;
    map_init(&m);
    CHECK(!map_get(&m, SLICE("x")));
    CHECK(!map_remove(&m, SLICE("x")));
    CHECK(!map_next(&m, &at));
    map_fini(&m);
}

TEST(test_keys_are_bytes_and_may_be_empty_or_hold_nul)
{
    struct map m;
    int values[3];
    map_init(&m);
    map_put(&m, SLICE(""), &values[0]);
    map_put(&m, SLICE("\0"), &values[1]);
    map_put(&m, SLICE("\0\0"), &values[2]);
    CHECK(map_get(&m, (slice){0}) == &values[0]);
    CHECK(map_get(&m, SLICE("\0")) == &values[1]);
    CHECK(map_get(&m, SLICE("\0\0")) == &values[2]);
    map_fini(&m);
}

TEST(test_putting_a_key_twice_is_a_bug)
{
    struct map m;
    int value;
    map_init(&m);
    map_put(&m, SLICE("x"), &value);
    CHECK_DIES(map_put(&m, SLICE("x"), &value), SIGABRT);
    map_fini(&m);
}

TEST(test_two_maps_hash_differently)
{
    struct map a, b;
    map_init(&a);
    map_init(&b);
    CHECK(a.seed != b.seed);
    map_fini(&a);
    map_fini(&b);
}

struct item {
    struct list link;
    int number;
};

TEST(test_a_list_keeps_order_and_lets_go_while_walked)
{
    struct list head, tail;
    struct item items[6];
    list_init(&head);
    list_init(&tail);
    CHECK(list_empty(&head));
    for (int i = 0; i < 6; i++) {
        items[i].number = i;
        list_push(i < 3 ? &head : &tail, &items[i].link);
    }
    list_splice(&head, &tail);
    list_splice(&head, &tail);
    CHECK(list_empty(&tail));
    CHECK_EQ(list_first(&head, struct item, link)->number, 0);
    CHECK_EQ(list_last(&head, struct item, link)->number, 5);
    int want = 0;
    LIST_EACH(node, &head) {
        CHECK_EQ(LIST_OWNER(node, struct item, link)->number, want);
        want++;
        list_remove(node);
        CHECK(list_alone(node));
        list_remove(node);
    }
    CHECK_EQ(want, 6);
    CHECK(list_empty(&head));
}
