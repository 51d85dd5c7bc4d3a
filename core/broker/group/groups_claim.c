/* Claiming: which messages, their leases, and who waits. */
#include <sys/random.h>

#include "base/ensure.h"
#include "base/err.h"
#include "base/least.h"
#include "base/mem.h"
#include "base/say.h"
#include "broker/group/due.h"
#include "broker/group/groups_reader.h"
#include "broker/group/groups_struct.h"

/* ---- who waits ---- */

static bool has_some(struct held_group *g, struct topic *t)
{
    struct group *s = &g->state;
    if (group_room(s) == 0)
        return false;
    return deliveries_first(&s->out) != NULL || (!group_is_blocked(s) && group_fresh(s) < topic_readable(t));
}

/* While claims wait, the first message that they could have wakes one of them. */
static void await_fresh(struct held_group *g, struct topic *t)
{
    uint64_t fresh = group_fresh(&g->state);
    if (g->fresh.mark == NULL && fresh >= topic_readable(t))
        mark_wait(&t->readable, &g->fresh, fresh + 1);
}

uint64_t groups_wait(struct held_group *g, struct topic *t)
{
    await_fresh(g, t);
    return ++g->tickets;
}

void groups_wake(struct held_group *g, struct topic *t)
{
    if (g->wakes.first == NULL)
        return;
    if (has_some(g, t))
        mark_advance(&g->wakes, g->wakes.first->want);
    else
        await_fresh(g, t);
}

/* ---- claiming ---- */

struct claiming {
    struct group *g;
    const struct claim_options *o;
    struct claim *c;
    struct buf *out;
    struct buf all;                  /* of struct claimed */
    struct buf runs;                 /* of struct settle_run: what was met, and is not delivered */
    struct reader *reader;
    struct claim_record record;
    unsigned consumer;
    size_t bytes;                    /* of the messages so far */
};

/* FNV-1a. Two keys of one hash only wait for each other. */
static uint64_t key_hash(slice key)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    if (key.p == NULL)
        return 0;
    for (size_t i = 0; i < key.n; i++)
        hash = (hash ^ (unsigned char)key.p[i]) * UINT64_C(0x100000001b3);
    return hash == 0 ? 1 : hash;
}

static void take(struct claiming *k, struct delivery *e, const struct message *m)
{
    struct claimed claimed = {e->offset, e->key, e->count};
    struct claimed_message head = {
        .offset = e->offset, .epoch = k->reader->head.epoch, .time_ms = k->reader->head.time_ms,
        .delivery = e->count + 1};
    group_hold(k->g, e, k->record.claim, k->record.until_ms, k->consumer);
    buf_add(&k->all, &claimed, sizeof(claimed));
    size_t before = buf_size(k->out);
    buf_reserve(k->out, sizeof(head));
    k->out->end += sizeof(head);
    message_write(k->out, m);
    head.size = (uint32_t)(buf_size(k->out) - before - sizeof(head));
    memcpy(k->out->data + k->out->at + before, &head, sizeof(head));
    k->c->count++;
}

/* Is the message never to be delivered? Then *what says so. */
static bool is_passed_over(const struct claiming *k, const struct message *m, const struct due *due,
                           enum settle_what *what)
{
    const struct group_settings *s = &k->g->settings;
    if (!filter_takes(group_filter(s), m))
        *what = SETTLE_LEAVE_OUT;
    else if (due->until_ms > k->record.now_ms)
        return false;
    else if (s->outdated == OUTDATED_DROP || s->dead_letter[0] == '\0')
        *what = SETTLE_OUTDATED;
    else
        *what = SETTLE_DYING;
    return true;
}

/* It is settled, or dying, with the record of this claim; until then it is out of the way. */
static void pass_over(struct claiming *k, uint64_t offset, struct delivery *e, enum settle_what what)
{
    struct settle_run run = {.what = what, .offset = offset, .n = 1, .count = e != NULL ? e->count : 0};
    if (what == SETTLE_DYING) {
        run.claim = DYING_OUTDATED;
        run.at_ms = DYING_MS;
    }
    if (e != NULL)
        group_let_go(k->g, e);
    else
        k->g->next = offset + 1;
    run_add(&k->runs, &run);
}

/* Looks at one message, the lowest that may be claimed. 1: go on; 0: that is all; or an error. */
static int look(struct claiming *k)
{
    struct group *g = k->g;
    struct message m;
    enum settle_what what;
    struct delivery *e = deliveries_first(&g->out);
    uint64_t fresh = group_fresh(g), readable = topic_readable(k->reader->topic);
    bool has_fresh = fresh < readable && !group_is_blocked(g);
    if (k->c->count == k->o->limit || group_room(g) == 0 || (e == NULL && !has_fresh))
        return 0;
    if (has_fresh && e != NULL && fresh < e->offset)
        e = NULL;
    uint64_t offset = e != NULL ? e->offset : fresh;
    uint64_t ahead = g->settings.filter_size > 0 ? GROUP_FILTER_AHEAD : k->o->limit - k->c->count;
    int rc = reader_message(k->reader, offset, offset + (e != NULL ? 1 : ahead),
                            k->o->bytes - least(k->bytes, k->o->bytes) + 1, &m);
    if (rc < 0)
        return rc;
    size_t size = m.payload.n + m.key.n + m.headers.n;
    struct due due = due_of(m.headers, k->reader->head.time_ms);
    bool passed = is_passed_over(k, &m, &due, &what);
    if (!passed && k->c->count > 0 && k->bytes + size > k->o->bytes)
        return 0;
    if (offset >= k->record.top) {
        k->record.top = offset + 1;
        k->record.epoch = k->reader->head.epoch;
    }
    if (passed) {
        pass_over(k, offset, e, what);
        return 1;
    }
    if (e == NULL) {
        e = deliveries_add(&g->out, offset, key_hash(m.key));
        g->next = offset + 1;
    }
    if (e->state == DELIVERY_HELD)
        return 1;
    if (e->count == 0 && due.from_ms > k->record.now_ms) {
        deliveries_delay(&g->out, e, due.from_ms);
        return 1;
    }
    k->bytes += size;
    take(k, e, &m);
    return 1;
}

/* What was met can be met again. */
static void claim_undo(struct claiming *k)
{
    const struct claimed *all = (const struct claimed *)(const void *)k->all.data;
    const struct settle_run *runs = (const struct settle_run *)(const void *)k->runs.data;
    struct delivery *e;
    for (uint32_t i = 0; i < k->c->count; i++) {
        e = deliveries_find(&k->g->out, all[i].offset);
        group_let_go(k->g, e);
        deliveries_free(&k->g->out, e);
    }
    for (size_t i = 0; i < buf_size(&k->runs) / sizeof(runs[0]); i++) {
        k->g->next = least(k->g->next, runs[i].offset);
        for (uint64_t at = runs[i].offset; at < runs[i].offset + runs[i].n; at++)
            if ((e = deliveries_find(&k->g->out, at)) != NULL)
                deliveries_free(&k->g->out, e);
    }
}

/* The record of the claim, also of no message: it says of which epoch those are that were passed over. */
static int claim_append(struct groups *gs, struct held_group *g, struct claiming *k)
{
    struct buf claimed = {0}, passed = {0};
    slice payloads[2];
    size_t runs = buf_size(&k->runs) / sizeof(struct settle_run);
    record_claim(&claimed, &k->record, (const struct claimed *)(const void *)k->all.data, k->c->count);
    record_settle(&passed, (const struct settle_run *)(const void *)k->runs.data, (uint32_t)runs);
    payloads[0] = buf_slice(&claimed);
    payloads[1] = buf_slice(&passed);
    int rc = records_append(gs, g, payloads, runs > 0 ? 2 : 1);
    buf_fini(&claimed);
    buf_fini(&passed);
    if (rc < 0)
        claim_undo(k);
    return rc;
}

static uint64_t claim_number(struct groups *gs)
{
    if (gs->random_left == 0) {
        ENSURE(getrandom(gs->random, sizeof(gs->random), 0) == sizeof(gs->random));
        gs->random_left = sizeof(gs->random) / sizeof(gs->random[0]);
    }
    return gs->random[--gs->random_left] | 1;    /* 0 is no claim */
}

int groups_claim(struct groups *gs, struct held_group *g, struct topic *t, const struct claim_options *o,
                 struct buf *out, struct claim *c)
{
    struct claiming k = {.g = &g->state, .o = o, .c = c, .out = out, .reader = reader_of(g, t)};
    size_t before = buf_size(out);
    int rc = 1;
    *c = (struct claim){0};
    c->number = claim_number(gs);
    k.record = (struct claim_record){.claim = c->number, .now_ms = groups_now_ms(gs), .consumer = o->consumer};
    k.record.until_ms = k.record.now_ms + (int64_t)g->state.settings.lease_ms;
    k.consumer = group_consumer(&g->state, o->consumer);
    g->state.consumers[k.consumer]->last_ms = g->used_ms = k.record.now_ms;
    for (int looked = 0; rc == 1 && looked < CLAIM_LOOK_MAX; looked++)
        rc = look(&k);
    c->unfinished = rc == 1;
    if (c->count > 0 || buf_size(&k.runs) > 0)
        rc = claim_append(gs, g, &k);   /* what could not be read is met again by the next claim */
    if (rc < 0) {
        out->end = out->at + before;
        c->count = 0;
    } else {
        int64_t next = group_wake_delayed(&g->state, k.record.now_ms);
        if (next < g->due_ms)
            group_due(gs, g, next);
    }
    buf_fini(&k.all);
    buf_fini(&k.runs);
    reader_keep(gs, g);
    blocked_say(g, t);
    return rc < 0 ? rc : 0;
}
