/* Settled ranges, beside an array of flags. */
#include <stdlib.h>

#include "broker/group/settled.h"
#include "unit/unit.h"

enum { N = 64 };

static void check_same(const struct settled *s, const bool *is, uint64_t cursor)
{
    uint64_t above = 0, ranges = 0;
    CHECK_EQ(s->cursor, cursor);
    for (uint64_t i = cursor; i < N; i++) {
        CHECK_EQ(settled_has(s, i), is[i]);
        above += is[i];
        ranges += is[i] && !is[i - 1];
        uint64_t next = i;
        while (next < N && is[next])
            next++;
        CHECK_EQ(settled_next(s, i), next);
    }
    CHECK_EQ(s->above, above);
    CHECK_EQ(s->count, ranges);          /* none touches another, or the cursor */
}

TEST(test_settled_ranges_are_what_was_added_in_any_order)
{
    srandom(1);
    for (int round = 0; round < 300; round++) {
        struct settled s = {0};
        bool is[N] = {0};
        uint64_t cursor = 1;
        is[0] = true;
        settled_reset(&s, 1);
        for (int step = 0; step < 60; step++) {
            uint64_t from = (uint64_t)random() % (N - 1), to = from + (uint64_t)random() % 6;
            if (random() % 8 == 0) {
                if (from == 0)
                    continue;
                settled_cut(&s, from);
                cursor = from < cursor ? from : cursor;
                for (uint64_t i = from; i < N; i++)
                    is[i] = false;
            } else {
                to = to < N - 1 ? to : N - 1;
                settled_add(&s, from, to);
                for (uint64_t i = from; i < to; i++)
                    is[i] = true;
            }
            while (is[cursor])
                cursor++;
            check_same(&s, is, cursor);
        }
        settled_fini(&s);
    }
}

TEST(test_a_settled_range_costs_16_bytes)
{
    CHECK_EQ(sizeof(struct range), 16);
}
