/* Groups on a real store, beside a model that is a table of messages. */
#include "unit/groups_rig.h"

enum { FRESH, OUT, LATER, DONE };
enum { MOST = 40, LEASE_TIME = 600 * 1000, DELAY_TIME = 300 * 1000, DELIVERIES = 3 };

struct model {
    bool keyed;
    unsigned count;
    struct {
        int state, key;
        unsigned deliveries;
        uint64_t claim, last;        /* last: the claim that acked it */
        int64_t at;
    } m[MOST];
};

static void model_end(struct model *md, unsigned i, int64_t later, bool counted)
{
    md->m[i].claim = 0;
    md->m[i].deliveries += counted;
    md->m[i].state = md->m[i].deliveries >= DELIVERIES ? DONE : later > 0 ? LATER : FRESH;
    md->m[i].at = later;
}

static void model_tick(struct model *md, int64_t now)
{
    for (unsigned i = 0; i < md->count; i++) {
        if (md->m[i].state == OUT && md->m[i].at <= now)
            model_end(md, i, 0, true);
        else if (md->m[i].state == LATER && md->m[i].at <= now)
            md->m[i].state = FRESH;
    }
}

static bool model_may(const struct model *md, unsigned i)
{
    if (md->m[i].state != FRESH)
        return false;
    for (unsigned k = 0; md->keyed && md->m[i].key != 0 && k < i; k++)
        if (md->m[k].key == md->m[i].key && md->m[k].state != DONE)
            return false;
    return true;
}

static void check_claim(struct node *n, struct model *md, uint32_t limit)
{
    uint64_t got[MOST];
    struct claim c = claim(n, limit, got);
    uint32_t k = 0;
    model_tick(md, groups_now_ms(n->groups));
    for (unsigned i = 0; i < md->count && k < limit; i++) {
        if (!model_may(md, i))
            continue;
        CHECK(k < c.count);
        CHECK_EQ(got[k++], i);
        md->m[i].state = OUT;
        md->m[i].claim = c.number;
        md->m[i].at = groups_now_ms(n->groups) + LEASE_TIME;
    }
    CHECK_EQ(k, c.count);
}

static void check_settle(struct node *n, struct model *md, unsigned i, enum settle_what what, uint64_t number)
{
    struct settle s = {.what = what, .offset = i, .claim = number, .ms = LEASE_TIME};
    int64_t now = groups_now_ms(n->groups);
    model_tick(md, now);
    bool holds = md->m[i].state == OUT && md->m[i].claim == number;
    bool again = what == SETTLE_ACK && number != 0 && md->m[i].state == DONE && md->m[i].last == number;
    if (what == SETTLE_RELEASE && random() % 2) {
        s.has_delay = true;
        s.ms = DELAY_TIME;
    }
    CHECK_EQ(settle(n, s), holds || again);
    if (!holds)
        return;
    if (what == SETTLE_ACK || what == SETTLE_DEAD)
        md->m[i].state = DONE;
    else if (what == SETTLE_RELEASE)
        model_end(md, i, s.has_delay ? now + DELAY_TIME : 0, true);
    else if (what == SETTLE_RETURN)
        model_end(md, i, 0, false);
    else
        md->m[i].at = now + LEASE_TIME;
    md->m[i].last = what == SETTLE_ACK ? number : 0;
}

static void check_state(struct node *n, struct model *md)
{
    const struct group *g = &n->group->state;
    model_tick(md, groups_now_ms(n->groups));
    CHECK_EQ(groups_use(n->groups, n->group, n->topic), 0);
    for (unsigned i = 0; i < md->count; i++) {
        const struct delivery *e = deliveries_find(&g->out, i);
        CHECK_EQ(settled_has(&g->settled, i), md->m[i].state == DONE);
        CHECK_EQ(e != NULL && e->state == DELIVERY_LEASED, md->m[i].state == OUT);
        CHECK_EQ(e != NULL && e->state == DELIVERY_DELAYED, md->m[i].state == LATER);
        if (e != NULL && md->m[i].state != DONE)
            CHECK_EQ(e->count, md->m[i].deliveries);
    }
}

static void random_step(struct node *n, struct model *md)
{
    static const char *const names[] = {NULL, "a", "b", "c"};
    static const enum settle_what kinds[] = {
        SETTLE_ACK, SETTLE_ACK, SETTLE_RELEASE, SETTLE_DEAD, SETTLE_EXTEND, SETTLE_RETURN};
    unsigned i = (unsigned)random() % (md->count + 1);
    switch (random() % 8) {
    case 0:
    case 1:
        if (md->count < MOST) {
            md->m[md->count].key = (int)(random() % 4);
            publish(n, &names[md->m[md->count].key], 1);
            md->count++;
        }
        break;
    case 2:
    case 3:
        check_claim(n, md, 1 + (uint32_t)random() % 4);
        break;
    case 4:
    case 5:
    case 6:
        if (i < md->count)
            check_settle(n, md, i, kinds[random() % 6], random() % 8 ? md->m[i].claim | md->m[i].last : 7);
        break;
    case 7:
        pass(n, random() % 3 * 61 * 1000);
        break;
    }
}

static void random_life(bool keyed, unsigned seed)
{
    struct node n = {0};
    struct model md = {.keyed = keyed};
    struct group_settings s = group_settings_default;
    s.lease_ms = LEASE_TIME;
    s.deliveries = DELIVERIES;
    s.order = keyed ? ORDER_KEY : ORDER_NONE;
    srandom(seed);
    begin(&n, &s);
    for (int i = 0; i < 400; i++) {
        random_step(&n, &md);
        check_state(&n, &md);
        if (i % 40 == 20)
            check_snapshot(&n);
        if (i % 60 == 59)
            restart(&n);
    }
    node_close(&n);
}

TEST(test_a_group_behaves_as_its_model_also_over_restarts)
{
    random_life(false, 1);
}

TEST(test_a_group_in_the_order_of_keys_behaves_as_its_model)
{
    random_life(true, 2);
}
