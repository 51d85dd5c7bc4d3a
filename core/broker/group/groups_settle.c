/* How leases end: by a settle, by time, and by being given back. */
#include "base/err.h"
#include "base/least.h"
#include "broker/group/groups_struct.h"

enum { EXPIRE_STEP = 1000, AGAIN_MS = 250 };

/* What a lease was, to restore it when its record cannot be appended. */
struct undo {
    uint64_t offset, claim;
    int64_t until_ms;
    unsigned consumer;
};

void run_die(const struct group *g, struct settle_run *run, enum dying_why why)
{
    run->what = SETTLE_DEAD;
    if (g->settings.dead_letter[0] == '\0')
        return;
    run->what = SETTLE_DYING;
    run->claim = why;
    run->at_ms = DYING_MS;
}

/* Ends a lease in memory, and says in *run what its record says. */
static void lease_end(struct groups *gs, struct group *g, struct delivery *e, const struct settle *s,
                      struct settle_run *run)
{
    uint32_t counted = s->what != SETTLE_RETURN;
    uint32_t count = (uint32_t)least(e->count + counted, DELIVERY_COUNT_MAX);
    *run = (struct settle_run){.what = s->what, .offset = e->offset, .n = 1, .claim = e->claim, .count = count};
    group_let_go(g, e);
    if (s->what == SETTLE_ACK || s->what == SETTLE_LEAVE_OUT)
        return;
    if (s->what == SETTLE_DEAD || (counted && g->settings.deliveries > 0 && count >= g->settings.deliveries)) {
        run->reason = s->reason;
        run_die(g, run, s->what == SETTLE_DEAD ? DYING_REJECTED : DYING_DELIVERIES);
        return;
    }
    uint64_t delay = s->has_delay ? s->ms : counted ? group_retry_delay_ms(&g->settings, count) : 0;
    run->decided = counted && !s->has_delay && gs->decides_retries;
    if (run->decided && delay < GROUP_DECIDE_MS)
        delay = GROUP_DECIDE_MS;
    run->at_ms = delay == 0 ? 0 : groups_now_ms(gs) + (int64_t)delay;
}

void run_add(struct buf *runs, const struct settle_run *r)
{
    struct settle_run *all = (struct settle_run *)(void *)runs->data, *last;
    if (settle_is_range(r->what) && buf_size(runs) > 0) {
        last = &all[buf_size(runs) / sizeof(*r) - 1];
        bool same = last->what == r->what && (r->what != SETTLE_ACK || last->claim == r->claim);
        if (same && last->offset + last->n == r->offset) {
            last->n += r->n;
            return;
        }
    }
    buf_add(runs, r, sizeof(*r));
}

static void note_undo(struct buf *undos, const struct delivery *e)
{
    struct undo u = {e->offset, e->claim, e->at_ms, e->consumer};
    buf_add(undos, &u, sizeof(u));
}

/* Appends the record of these runs, or restores the leases. */
static int runs_append(struct groups *gs, struct held_group *g, const struct buf *runs, const struct buf *undos,
                       uint64_t *want)
{
    struct buf payload = {0};
    const struct settle_run *all = (const struct settle_run *)(const void *)runs->data;
    record_settle(&payload, all, (uint32_t)(buf_size(runs) / sizeof(all[0])));
    int rc = record_append(gs, g, SLICE(""), buf_slice(&payload), want);
    buf_fini(&payload);
    const struct undo *u = (const struct undo *)(const void *)undos->data;
    for (size_t n = rc < 0 ? buf_size(undos) / sizeof(*u) : 0; n > 0; n--, u++)
        group_hold(&g->state, deliveries_find(&g->state.out, u->offset), u->claim, u->until_ms, u->consumer);
    if (rc == 0)
        retries_note(gs, g, runs);
    return rc;
}

int group_tick(struct groups *gs, struct held_group *g)
{
    static const struct settle expired = {.what = SETTLE_EXPIRE};
    int64_t now = groups_now_ms(gs);
    struct buf runs = {0}, undos = {0};
    struct settle_run run;
    uint64_t want;
    int rc = 0;
    do {
        struct delivery *e;
        buf_clear(&runs);
        buf_clear(&undos);
        for (int n = 0; n < EXPIRE_STEP && (e = group_expired(&g->state, now)) != NULL; n++) {
            note_undo(&undos, e);
            lease_end(gs, &g->state, e, &expired, &run);
            run_add(&runs, &run);
        }
        if (buf_size(&runs) > 0)
            rc = runs_append(gs, g, &runs, &undos, &want);
    } while (rc == 0 && buf_size(&runs) > 0);
    buf_fini(&runs);
    buf_fini(&undos);
    int64_t next = group_wake_delayed(&g->state, now);
    group_due(gs, g, rc == 0 || next > now + AGAIN_MS ? next : now + AGAIN_MS);
    return rc;
}

/* An extended lease goes on in memory when the record is applied, so a failure has nothing to restore. */
static void settle_one(struct groups *gs, struct group *g, struct settle *s, struct buf *runs, struct buf *undos)
{
    struct delivery *e = group_leased(g, s->offset, s->claim);
    struct settle_run run;
    s->lost = e == NULL && !(s->what == SETTLE_ACK && group_has_acked(g, s->offset, s->claim));
    if (e == NULL)
        return;
    if (s->what == SETTLE_EXTEND) {
        run = (struct settle_run){
            .what = SETTLE_EXTEND, .offset = s->offset, .n = 1, .count = e->count, .claim = s->claim,
            .at_ms = groups_now_ms(gs) + (int64_t)s->ms};
    } else {
        note_undo(undos, e);
        g->count.rejects += s->what == SETTLE_DEAD;
        lease_end(gs, g, e, s, &run);
    }
    run_add(runs, &run);
}

int groups_settle(struct groups *gs, struct held_group *g, struct settle *all, size_t n, uint64_t *want)
{
    struct buf runs = {0}, undos = {0};
    int rc = 0;
    g->used_ms = groups_now_ms(gs);
    *want = 0;
    for (size_t i = 0; i < n; i++)
        settle_one(gs, &g->state, &all[i], &runs, &undos);
    if (buf_size(&runs) > 0)
        rc = runs_append(gs, g, &runs, &undos, want);
    buf_fini(&runs);
    buf_fini(&undos);
    if (rc == 0)
        rc = group_tick(gs, g);      /* deadlines have changed */
    return rc;
}

int groups_bury(struct groups *gs, struct held_group *g, uint64_t offset, uint64_t *want)
{
    struct buf payload = {0};
    const struct delivery *e = deliveries_find(&g->state.out, offset);
    struct settle_run run = {.what = SETTLE_DEAD, .offset = offset, .n = 1};
    *want = 0;
    if (e == NULL || !is_dying(e))
        return 0;
    record_settle(&payload, &run, 1);
    int rc = record_append(gs, g, SLICE(""), buf_slice(&payload), want);
    buf_fini(&payload);
    return rc;
}

void groups_return(struct groups *gs, struct held_group *g, uint64_t claim)
{
    struct buf all = {0};
    const struct delivery *e;
    uint64_t want;
    for (uint32_t at = 0; (e = deliveries_each(&g->state.out, &at)) != NULL;) {
        struct settle s = {.what = SETTLE_RETURN, .offset = e->offset, .claim = claim};
        if (e->state == DELIVERY_LEASED && e->claim == claim)
            buf_add(&all, &s, sizeof(s));
    }
    if (buf_size(&all) > 0)
        groups_settle(gs, g, (struct settle *)(void *)all.data, buf_size(&all) / sizeof(struct settle), &want);
    buf_fini(&all);
}

int groups_retry(struct groups *gs, struct held_group *g, const struct retry *r, uint64_t *want)
{
    struct delivery *e = deliveries_find(&g->state.out, r->offset);
    struct settle_run run = {.what = SETTLE_RETURN, .offset = r->offset, .n = 1, .count = r->count};
    struct buf payload = {0};
    *want = 0;
    if (e == NULL || e->state != DELIVERY_DELAYED || is_dying(e) || e->count != r->count)
        return 0;
    uint64_t ms = r->has_delay ? r->ms : group_retry_delay_ms(&g->state.settings, r->count);
    if (r->dead)
        run_die(&g->state, &run, DYING_DECIDED);
    else
        run.at_ms = ms == 0 ? 0 : groups_now_ms(gs) + (int64_t)ms;
    record_settle(&payload, &run, 1);
    int rc = record_append(gs, g, SLICE(""), buf_slice(&payload), want);
    buf_fini(&payload);
    return rc < 0 ? rc : group_tick(gs, g);
}
