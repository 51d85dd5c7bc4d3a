#include "broker/leader/requests.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/say.h"
#include "broker/leader/barrier.h"
#include "broker/leader/call.h"
#include "broker/leader/feed.h"
#include "broker/wire/wire.h"
#include "store/replication/epochs.h"

/* ---- where the histories part ---- */

/* The answer to POSITION: where the leader's history of the last epoch up to the follower's ends. A topic that is
 * damaged here is repaired as the follower of another leader; until then the follower asks again. */
static void send_point(struct peer *p, uint32_t slot, struct topic *t, uint64_t epoch, uint64_t end)
{
    uint64_t found = 0, ours = 0;
    unsigned kind = POINT_UNKNOWN;
    if (t != NULL) {
        int rc = journal_epoch_end(t->journal, epoch, &found, &ours);
        if (rc == -ERR_DAMAGED)
            p->leader->damaged = true;
        if (rc < 0)
            say_limited(&p->leader->faults, SAY_ERROR, "leader", "cannot read topic=%s: %s", t->name, err_sentence(rc));
        kind = rc < 0 ? POINT_UNREADABLE : found == epoch ? POINT_EXACT : POINT_EARLIER;
    }
    struct buf *out = link_begin(p->link, WIRE_POINT);
    put_u32(out, slot);
    put_u8(out, kind);
    put_u64(out, found);
    put_u64(out, ours);
    bool known = kind == POINT_EARLIER || kind == POINT_EXACT;
    put_u64(out, known ? topic_first(t) : 0);
    put_u64(out, known ? topic_readable(t) : 0);
    struct batch_head head = {0};
    bool has_crc = false;
    if (kind == POINT_EXACT) {       /* of the batch that ends where both histories of the epoch still agree */
        uint64_t common = ours < end ? ours : end;
        has_crc = common > topic_first(t) && journal_batch_before(t->journal, common, &head) == 0;
    }
    put_u8(out, has_crc);
    put_u32(out, has_crc ? head.crc : 0);
    link_end(p->link);
}

/* A follower gives out slots one after the other, one for a topic: with two for one topic its copy would count
 * twice. */
static const char *position_refusal(const struct peer *p, uint32_t slot, struct topic *t)
{
    const struct feed *f = feed_at(p, slot);
    if (slot == 0 || slot > SLOTS_MAX || slot > p->last_slot + 1)
        return "its slots are out of order";
    if (f != NULL && f->topic != t)
        return "its slot belongs to another topic";
    if (f == NULL && t != NULL && feed_find(p, t) != NULL)
        return "it asked for a topic twice";
    return NULL;
}

static void on_position(struct peer *p, struct wire *w)
{
    uint32_t slot = get_u32(w);
    struct topic_id id = {.epoch = get_u64(w)};
    id.offset = get_u64(w);
    uint64_t epoch = get_u64(w), end = get_u64(w);
    slice name = get_text(w);
    if (!wire_done(w)) {
        peer_refuse(p, "a POSITION is not well formed");
        return;
    }
    /* A topic is found by name and identified by its id: one that was deleted and created again is another topic. */
    struct topic *t = topics_find(p->leader->topics, name);
    if (t != NULL && (t->id.epoch != id.epoch || t->id.offset != id.offset))
        t = NULL;
    const char *why = position_refusal(p, slot, t);
    if (why != NULL) {
        peer_refuse(p, why);
        return;
    }
    p->last_slot = slot > p->last_slot ? slot : p->last_slot;
    if (t != NULL && feed_at(p, slot) == NULL)
        feed_new(p, t, slot);
    send_point(p, slot, t, epoch, end);
}

/* ---- acknowledgements ---- */

/* Every member had what is below `peers`, at least written: a topic may have to be on the disk only since a change of
 * its settings that this member has not received, and then it has forgotten nothing. A member that has less does not
 * hold what it acknowledged: an older copy of its directory was put back, or its disk does not keep what it was told
 * to. The member itself does not know. */
static void check_memory(struct peer *p, const struct feed *f)
{
    if (p->amnesiac || f->written >= f->topic->peers.at || !role_counts(p->leader->role, &p->member))
        return;
    say_limited(&p->leader->faults, SAY_ERROR, "leader",
                "a member has less than it acknowledged, and does not count until it has caught up member=%s topic=%s "
                "has=%llu had=%llu",
                p->member.text, f->topic->name, (unsigned long long)f->written, (unsigned long long)f->topic->peers.at);
    p->amnesiac = true;
    p->leader->recount = true;
}

static void on_start(struct peer *p, struct wire *w)
{
    uint32_t slot = get_u32(w);
    uint64_t tail = get_u64(w), disk = get_u64(w);
    struct feed *f = feed_at(p, slot);
    if (!wire_done(w) || disk > tail) {
        peer_refuse(p, "a START is not well formed");
    } else if (f != NULL && (f->started || tail > f->topic->tail.at)) {
        peer_refuse(p, f->started ? "it started a topic twice" : "it has messages that this leader does not have");
    } else if (f != NULL) {          /* else its topic has been dropped */
        feed_start(f, tail, disk);
        check_memory(p, f);
        topic_settle(f->topic);
    }
}

static void on_ack(struct peer *p, struct wire *w)
{
    uint64_t now = clock_ns();
    while (!w->bad && w->rest.n > 0) {
        struct feed *f = feed_at(p, get_u32(w));
        uint64_t written = get_u64(w), disk = get_u64(w);
        if (w->bad || f == NULL)     /* its topic may have been dropped */
            continue;
        if (written > f->sent || disk > written) {
            peer_refuse(p, "it acknowledged messages that it was not sent");
            return;
        }
        f->written = written > f->written ? written : f->written;
        f->disk = disk > f->disk ? disk : f->disk;
        feed_note_lag(f, now);
        topic_settle(f->topic);
    }
    if (w->bad)
        peer_refuse(p, "an ACK is not well formed");
}

/* ---- uses ---- */

static void on_used(struct peer *p, struct wire *w)
{
    uint64_t now = clock_ns();
    while (!w->bad && w->rest.n > 0) {
        const struct feed *f = feed_at(p, get_u32(w));
        uint64_t ago_ms = get_u64(w);
        if (!w->bad && f != NULL)    /* its topic may have been dropped */
            topic_was_used(f->topic, now, ago_ms);
    }
    if (w->bad)
        peer_refuse(p, "a USED is not well formed");
}

/* ---- repair ---- */

/* A piece of a sealed file, for a follower whose own is damaged. Size 0: there is no such file here. */
static void on_want(struct peer *p, struct wire *w)
{
    uint32_t slot = get_u32(w);
    uint64_t first = get_u64(w), position = get_u64(w);
    struct feed *f = feed_at(p, slot);
    struct file_info info = {0};
    if (!wire_done(w)) {
        peer_refuse(p, "a WANT is not well formed");
        return;
    }
    bool ours = f != NULL && journal_file(f->topic->journal, first, &info) == 0 && info.first == first && info.sealed;
    bool has = ours && info.has_crc;
    if (ours && !has) {              /* the file has lost its end record, or all of it */
        p->leader->damaged = true;
        return;
    }
    struct buf *out = link_begin(p->link, WIRE_FILE);
    put_u32(out, slot);
    put_u64(out, first);
    put_u64(out, position);
    put_u64(out, has ? info.size : 0);
    if (has && position < info.size)
        journal_read_file(f->topic->journal, first, position, SHIP_SIZE, out);
    link_end(p->link);
}

/* The follower's sealed file is sound. If the same file is sound here and differs, this one is the cluster's. */
static void on_audit(struct peer *p, struct wire *w)
{
    uint32_t slot = get_u32(w);
    uint64_t first = get_u64(w), next = get_u64(w);
    uint32_t crc = get_u32(w);
    struct feed *f = feed_at(p, slot);
    struct file_info info;
    if (!wire_done(w)) {
        peer_refuse(p, "an AUDIT is not well formed");
        return;
    }
    if (f == NULL || journal_file(f->topic->journal, first, &info) < 0 || !info.has_crc || info.first != first)
        return;                      /* retention differs, or the file is not sealed here yet */
    if (info.next == next && info.crc == crc)
        return;
    say_limited(&p->leader->faults, SAY_ERROR, "leader",
                "a follower's sealed file differs topic=%s file=%020llu member=%s", f->topic->name,
                (unsigned long long)first, p->member.text);
    struct buf *out = link_begin(p->link, WIRE_DIFFERS);
    put_u32(out, slot);
    put_u64(out, first);
    link_end(p->link);
}

void requests_frame(struct peer *p, unsigned char type, slice payload)
{
    struct wire w = {.rest = payload};
    switch (type) {
    case WIRE_POSITION:
        on_position(p, &w);
        break;
    case WIRE_START:
        on_start(p, &w);
        break;
    case WIRE_ACK:
        on_ack(p, &w);
        break;
    case WIRE_WANT:
        on_want(p, &w);
        break;
    case WIRE_AUDIT:
        on_audit(p, &w);
        break;
    case WIRE_BARRIER:
        confirm_barrier(p, &w);
        break;
    case WIRE_CONFIRMED:
        confirm_confirmed(p, &w);
        break;
    case WIRE_CALL:
        call_arrived(p, &w);
        break;
    case WIRE_FORGET:
        call_forget(p, &w);
        break;
    case WIRE_USED:
        on_used(p, &w);
        break;
    case WIRE_PING:
        break;
    case WIRE_REFUSE:
        say_limited(&p->leader->moves, SAY_WARN, "leader", "a follower left member=%s", p->member.text);
        p->closing = true;
        break;
    default:
        peer_refuse(p, "it sent a frame of an unknown type");
    }
}
