#include "broker/leader/barrier.h"

#include "base/err.h"
#include "base/least.h"
#include "base/mem.h"

/* A follower's barrier, from BARRIER to REACHED. */
struct barrier {
    struct list link;                /* in peer.barriers */
    uint64_t number, want;
    size_t name_size;
    char name[TOPIC_NAME_MAX];
};

struct mark *confirm_begin(struct leader *l, uint64_t *want)
{
    l->confirm_wanted = true;
    *want = l->confirms + 1;
    return &l->confirmed;
}

/* A new leader's readers may see less than the leader before had acknowledged, until the set has what its epoch began
 * with. So that much is waited for, too. */
static uint64_t reached_at(uint64_t at, const struct topic *t)
{
    return at > t->lead->begun ? at : t->lead->begun;
}

bool confirm_reached(struct leader *l, slice name, struct reached *out)
{
    struct topic *log = topics_log(l->topics), *t = topics_find(l->topics, name);
    *out = (struct reached){.applied = topics_applied(l->topics)->at};
    if (out->applied < log->lead->begun)
        return false;
    if (t == NULL)
        return true;
    out->known = true;
    out->id = t->id;
    out->readable = reached_at(topic_readable(t), t);
    topic_ship(t, out->readable);      /* a `wal` topic ships later, and readers of followers wait for this */
    return true;
}

/* ---- frames ---- */

void confirm_barrier(struct peer *p, struct wire *w)
{
    uint64_t number = get_u64(w);
    slice name = get_text(w);
    if (!wire_done(w) || name.n > TOPIC_NAME_MAX || p->barrier_count == BARRIERS_MAX) {
        peer_refuse(p, "a BARRIER is not well formed, or one too many");
        return;
    }
    struct barrier *b = MEM_NEW(struct barrier);
    b->number = number;
    b->name_size = name.n;
    memcpy(b->name, name.p, name.n);
    confirm_begin(p->leader, &b->want);
    list_push(&p->barriers, &b->link);
    p->barrier_count++;
}

void confirm_confirmed(struct peer *p, struct wire *w)
{
    uint64_t number = get_u64(w);
    if (!wire_done(w) || number > p->confirm_sent || number < p->confirmed)
        peer_refuse(p, "a CONFIRMED is not well formed");
    else
        p->confirmed = number;
}

static void send_question(struct peer *p)
{
    p->confirm_sent = p->leader->confirms;
    put_u64(link_begin(p->link, WIRE_CONFIRM), p->confirm_sent);
    link_end(p->link);
}

static void send_reached(struct peer *p, uint64_t number, const struct reached *r)
{
    struct buf *out = link_begin(p->link, WIRE_REACHED);
    put_u64(out, number);
    put_u64(out, r->applied);
    put_u8(out, r->known);
    put_u64(out, r->id.epoch);
    put_u64(out, r->id.offset);
    put_u64(out, r->readable);
    link_end(p->link);
}

static void barrier_free(struct peer *p, struct barrier *b)
{
    list_remove(&b->link);
    mem_free(b);
    p->barrier_count--;
}

static void answer(struct peer *p)
{
    struct reached r;
    while (!list_empty(&p->barriers)) {
        struct barrier *b = list_first(&p->barriers, struct barrier, link);
        if (b->want > p->leader->confirmed.at || !confirm_reached(p->leader, slice_of(b->name, b->name_size), &r))
            return;
        send_reached(p, b->number, &r);
        barrier_free(p, b);
    }
}

/* ---- the turn ---- */

static void settle(struct leader *l)
{
    uint64_t lowest = l->confirms;
    if (!l->leading || l->recount || l->missing > 0)
        return;
    LIST_EACH(node, &l->peers) {
        const struct peer *p = LIST_OWNER(node, struct peer, all);
        if (p->counted)
            lowest = least(lowest, p->confirmed);
    }
    if (lowest > l->confirmed.at)
        mark_advance(&l->confirmed, lowest);
}

void confirm_turn(struct leader *l)
{
    if (!l->leading)
        return;
    l->confirms += l->confirm_wanted;
    l->confirm_wanted = false;
    bool open = l->confirmed.at < l->confirms;
    LIST_EACH(node, &l->peers) {
        struct peer *p = LIST_OWNER(node, struct peer, all);
        if (open && p->phase == PEER_READY && !p->closing && p->confirm_sent < l->confirms)
            send_question(p);
    }
    settle(l);
    LIST_EACH(node, &l->peers) {
        struct peer *p = LIST_OWNER(node, struct peer, all);
        if (p->phase == PEER_READY && !p->closing)
            answer(p);
    }
}

void confirm_end(struct leader *l)
{
    mark_fail(&l->confirmed, -ERR_NOT_LEADER);
}

void confirm_forget(struct peer *p)
{
    while (!list_empty(&p->barriers))
        barrier_free(p, list_first(&p->barriers, struct barrier, link));
}
