/* Equal values are kept once, while somebody has them. */
#include "base/intern.h"

#include <stdint.h>

#include "unit/unit.h"

struct pair {
    uint32_t number, ignored;
};

static bool same_number(const void *a, const void *b)
{
    const struct pair *x = a, *y = b;
    return x->number == y->number;
}

static const struct pair *of(struct intern_pool *p, uint32_t number)
{
    return intern(p, &(struct pair){.number = number});
}

TEST(test_equal_values_are_one_until_all_have_released_it)
{
    struct intern_pool p;
    intern_init(&p, sizeof(struct pair), same_number);
    const struct pair *a = of(&p, 1), *b = of(&p, 2), *again = of(&p, 1);
    CHECK(a == again && a != b && a->number == 1 && b->number == 2);
    intern_release(a);
    CHECK_EQ(again->number, 1);
    CHECK(of(&p, 1) == again);
    intern_release(again);
    intern_release(again);
    intern_release(b);
    CHECK(list_empty(&p.values));
    intern_release(NULL);
}

/* One that is used again and again is found, however many others there are. */
TEST(test_the_last_used_values_are_compared)
{
    enum { MANY = 100 };
    struct intern_pool p;
    const struct pair *others[MANY];
    intern_init(&p, sizeof(struct pair), same_number);
    const struct pair *used = of(&p, 0);
    for (uint32_t i = 0; i < MANY; i++) {
        others[i] = of(&p, i + 1);
        CHECK(of(&p, 0) == used);
        intern_release(used);
    }
    for (uint32_t i = 0; i < MANY; i++)
        intern_release(others[i]);
    intern_release(used);
    CHECK(list_empty(&p.values));
}
