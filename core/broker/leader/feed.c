/* Feeds: what a ready follower asks and acknowledges, and what is sent to it. */
#include <errno.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/say.h"
#include "broker/leader/peer.h"

enum { DATA_HEAD = 4 + 5 * 8 + 1 + 4 };

/* ---- coming and going ---- */

struct feed *peer_feed(const struct peer *p, struct topic *t)
{
    LIST_EACH(node, &t->lead.feeds) {
        struct feed *f = LIST_OWNER(node, struct feed, of_topic);
        if (f->peer == p)
            return f;
    }
    return NULL;
}

static struct feed *feed_of(const struct peer *p, uint32_t slot)
{
    return slot < p->slots ? p->by_slot[slot] : NULL;
}

static void slots_grow(struct peer *p, uint32_t slot)
{
    if (slot < p->slots)
        return;
    uint32_t cap = p->slots ? p->slots * 2 : 64;
    cap = cap > slot ? cap : slot + 1;
    p->by_slot = mem_resize(p->by_slot, cap * sizeof(struct feed *));
    memset(p->by_slot + p->slots, 0, (cap - p->slots) * sizeof(struct feed *));
    p->slots = cap;
}

static struct feed *feed_new(struct peer *p, struct topic *t, uint32_t slot)
{
    struct feed *f = MEM_NEW(struct feed);
    f->peer = p;
    f->topic = t;
    f->slot = slot;
    f->caught_ns = f->goal_ns = clock_ns();
    f->goal = t->tail.at;
    list_init(&f->dirty);
    list_push(&t->lead.feeds, &f->of_topic);
    slots_grow(p, slot);
    p->by_slot[slot] = f;
    return f;
}

void feed_free(struct feed *f)
{
    f->peer->by_slot[f->slot] = NULL;
    f->peer->started -= f->started;
    list_remove(&f->of_topic);
    list_remove(&f->dirty);
    mem_free(f);
}

static void feed_dirty(struct feed *f)
{
    if (f->started) {
        list_remove(&f->dirty);      /* from those that are told later, say */
        list_push(&f->peer->dirty, &f->dirty);
    }
}

/* How long it is behind: since when it has not reached a tail that it was seen to have at some moment. */
static void feed_note_lag(struct feed *f, uint64_t now)
{
    f->reached = feed_acked(f);
    if (f->reached < f->goal)
        return;
    f->caught_ns = f->goal_ns;
    f->goal = f->topic->tail.at;
    f->goal_ns = now;
    if (f->reached >= f->goal)
        f->caught_ns = now;
}

/* A follower that had everything until now is behind from now on, however long ago it acknowledged that. So is one
 * whose acknowledgements count for less, because the topic has to be on the disk now. */
void feed_moved(struct feed *f)
{
    uint64_t acked = feed_acked(f);
    bool had_all = f->reached >= f->goal || acked < f->reached;
    f->reached = acked;
    if (f->started && had_all && acked < f->topic->tail.at) {
        f->goal = f->topic->tail.at;
        f->caught_ns = f->goal_ns = clock_ns();
    }
    feed_dirty(f);
}

/* ---- where the histories part ---- */

/* The checksum of the batch that ends where both histories of the epoch still agree. */
static void put_crc(struct buf *out, struct topic *t, uint64_t end)
{
    struct batch_head head;
    bool has = end > topic_first(t) && journal_batch_before(t->journal, end, &head) == 0;
    put_u8(out, has);
    put_u32(out, has ? head.crc : 0);
}

/* Damage is ours to mend, as the follower of another leader; until then the follower asks again. */
static unsigned point_look(struct peer *p, struct topic *t, uint64_t epoch, uint64_t *found, uint64_t *end)
{
    int rc = journal_epoch_end(t->journal, epoch, found, end);
    if (rc == -ERR_DAMAGED)
        p->leader->damaged = true;
    if (rc < 0) {
        say_error("leader", "cannot look into topic=%s: %s", t->name, err_sentence(rc));
        return POINT_UNREADABLE;
    }
    return *found == epoch ? POINT_EXACT : POINT_EARLIER;
}

static void point(struct peer *p, uint32_t slot, struct topic *t, uint64_t epoch, uint64_t end)
{
    uint64_t found = 0, ours = 0;
    unsigned kind = t == NULL ? POINT_UNKNOWN : point_look(p, t, epoch, &found, &ours);
    struct buf *out = link_begin(p->link, WIRE_POINT);
    put_u32(out, slot);
    put_u8(out, kind);
    put_u64(out, found);
    put_u64(out, ours);
    put_u64(out, kind == POINT_EARLIER || kind == POINT_EXACT ? topic_first(t) : 0);
    if (kind == POINT_EXACT)
        put_crc(out, t, ours < end ? ours : end);
    else
        buf_add(out, "\0\0\0\0\0", 5);
    link_end(p->link);
}

/* A topic is found by name and known by its id, so that one deleted and made again is another. */
static struct topic *find(const struct leader *l, slice name, struct topic_id id)
{
    struct topic *t = topics_find(l->o.topics, name);
    return t != NULL && t->id.epoch == id.epoch && t->id.offset == id.offset ? t : NULL;
}

/* A follower gives out its slots one after the other, one for a topic: two would be believed twice. */
static const char *position_refusal(const struct peer *p, uint32_t slot, struct topic *t)
{
    const struct feed *f = feed_of(p, slot);
    if (slot == 0 || slot > SLOTS_MAX || slot > p->last_slot + 1)
        return "its slots are out of order";
    if (f != NULL && f->topic != t)
        return "its slot is another topic's";
    if (f == NULL && t != NULL && peer_feed(p, t) != NULL)
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
    struct topic *t = wire_done(w) ? find(p->leader, name, id) : NULL;
    const char *why = wire_done(w) ? position_refusal(p, slot, t) : "a POSITION is not well formed";
    if (why != NULL) {
        peer_refuse(p, why);
        return;
    }
    p->last_slot = slot > p->last_slot ? slot : p->last_slot;
    if (t != NULL && feed_of(p, slot) == NULL)
        feed_new(p, t, slot);
    point(p, slot, t, epoch, end);
}

/* Every member had what is below `peers`, if only written: where the topic has to be on the disk since then, one that
 * has not heard of that has forgotten nothing. One that has less is not what it was: a copy of its directory was put
 * back, or the disk does not keep what it is told to. It does not know that itself. */
static void check_memory(struct peer *p, const struct feed *f)
{
    if (p->amnesiac || f->written >= f->topic->peers.at || !role_counts(p->leader->o.role, &p->member))
        return;
    say_error("leader", "a member has less than it acknowledged, and does not count until it has caught up member=%s "
              "topic=%s has=%llu had=%llu", p->member.text, f->topic->name, (unsigned long long)f->written,
              (unsigned long long)f->topic->peers.at);
    p->amnesiac = true;
    leader_recount(p->leader);
}

static void on_start(struct peer *p, struct wire *w)
{
    uint32_t slot = get_u32(w);
    uint64_t tail = get_u64(w), disk = get_u64(w);
    struct feed *f = feed_of(p, slot);
    if (!wire_done(w) || disk > tail) {
        peer_refuse(p, "a START is not well formed");
    } else if (f != NULL && (f->started || tail > f->topic->tail.at)) {
        peer_refuse(p, f->started ? "it started a topic twice" : "it has more than there is");
    } else if (f != NULL) {
        f->sent = f->written = tail;
        f->disk = disk;
        f->started = true;
        p->started++;
        feed_note_lag(f, clock_ns());
        feed_dirty(f);
        check_memory(p, f);
        topic_settle(f->topic);
    }
}

/* ---- acknowledgements ---- */

static void acknowledge(struct feed *f, uint64_t written, uint64_t disk, uint64_t now)
{
    if (written > f->sent || disk > written) {
        peer_refuse(f->peer, "it acknowledged what it was not sent");
        return;
    }
    f->written = written > f->written ? written : f->written;
    f->disk = disk > f->disk ? disk : f->disk;
    feed_note_lag(f, now);
    topic_settle(f->topic);
}

static void on_ack(struct peer *p, struct wire *w)
{
    uint64_t now = clock_ns();
    while (!w->bad && w->rest.n > 0 && !p->doomed) {
        struct feed *f = feed_of(p, get_u32(w));
        uint64_t written = get_u64(w), disk = get_u64(w);
        if (!w->bad && f != NULL)    /* its topic may have been dropped */
            acknowledge(f, written, disk, now);
    }
    if (w->bad)
        peer_refuse(p, "an ACK is not well formed");
}

/* ---- repair ---- */

/* A piece of a sealed file, for a follower whose own is damaged. Size 0: there is no such file here. */
static void on_want(struct peer *p, struct wire *w)
{
    uint32_t slot = get_u32(w);
    uint64_t first = get_u64(w), position = get_u64(w);
    struct feed *f = feed_of(p, slot);
    struct file_info info = {0};
    if (!wire_done(w)) {
        peer_refuse(p, "a WANT is not well formed");
        return;
    }
    bool ours = f != NULL && journal_file(f->topic->journal, first, &info) == 0 && info.first == first && info.sealed;
    bool has = ours && info.has_crc;
    if (ours && !has) {              /* it lost its end, or all of it */
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

/* Two sound files of the same offsets that are not the same: this one is the cluster's. */
static void on_audit(struct peer *p, struct wire *w)
{
    uint32_t slot = get_u32(w);
    uint64_t first = get_u64(w), next = get_u64(w);
    uint32_t crc = get_u32(w);
    struct feed *f = feed_of(p, slot);
    struct file_info info;
    if (!wire_done(w)) {
        peer_refuse(p, "an AUDIT is not well formed");
        return;
    }
    if (f == NULL || journal_file(f->topic->journal, first, &info) < 0 || !info.has_crc || info.first != first)
        return;                      /* retention differs, or it is not sealed here yet */
    if (info.next == next && info.crc == crc)
        return;
    say_error("leader", "a follower's sealed file differs topic=%s file=%020llu member=%s", f->topic->name,
              (unsigned long long)first, p->member.text);
    struct buf *out = link_begin(p->link, WIRE_DIFFERS);
    put_u32(out, slot);
    put_u64(out, first);
    link_end(p->link);
}

void peer_frame(struct peer *p, unsigned char type, slice payload)
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
    case WIRE_PING:
        break;
    case WIRE_REFUSE:
        say_warn("leader", "a follower left member=%s", p->member.text);
        p->doomed = true;
        break;
    default:
        peer_refuse(p, "it sent a frame of an unknown type");
    }
}

/* ---- sending ---- */

static void put_marks(struct buf *out, struct feed *f)
{
    f->told_readable = topic_readable(f->topic);
    f->told_peers = f->topic->peers.at;
    put_u64(out, f->told_readable);
    put_u64(out, f->told_peers);
}

/* The fields in front of the batches, whose place was left free. */
static void data_head(struct buf *out, size_t at, struct feed *f, const struct batch_run *s)
{
    struct buf head = {0};
    put_u32(&head, f->slot);
    put_marks(&head, f);
    put_u64(&head, s->first);
    put_u64(&head, s->next);
    put_u64(&head, s->file_first);
    put_u8(&head, s->has_file_crc);
    put_u32(&head, s->file_crc);
    memcpy(out->data + out->at + at, head.data, DATA_HEAD);
    buf_fini(&head);
}

/* 0, or why it cannot be sent. */
static int feed_send_data(struct feed *f, uint64_t to)
{
    struct link *k = f->peer->link;
    struct batch_run s = {0};
    struct buf *out = link_begin(k, WIRE_DATA);
    size_t at = buf_size(out);
    memset(buf_reserve(out, DATA_HEAD), 0, DATA_HEAD);
    out->end += DATA_HEAD;
    int rc = journal_read_batches(f->topic->journal, f->sent, to, SHIP_SIZE, out, &s);
    if (rc < 0 || s.next == s.first) {
        link_cancel(k);
        return rc;
    }
    data_head(out, at, f, &s);
    f->peer->shipped_bytes += buf_size(out) - at - DATA_HEAD;
    f->peer->leader->shipped_bytes += buf_size(out) - at - DATA_HEAD;
    link_end(k);
    f->sent = s.next;
    return 0;
}

/* Retention was faster than the follower: it has to ask anew where our history begins. Damage is ours to mend. */
static void feed_cannot(struct feed *f, int rc)
{
    f->stuck = true;
    if (rc == -ERR_DAMAGED)
        f->peer->leader->damaged = true;
    if (rc != -ERR_GONE)
        say_error("leader", "cannot send topic=%s offset=%llu to member=%s: %s", f->topic->name,
                  (unsigned long long)f->sent, f->peer->member.text, err_sentence(rc));
    else
        peer_refuse(f->peer, "retention has removed what comes next: begin anew");
}

static bool has_news(const struct feed *f)
{
    return f->told_readable != f->topic->readable.at || f->told_peers != f->topic->peers.at;
}

/* Marks travel with the next batch, where one follows soon: a frame of their own would wake the follower once more for
 * each message. */
static void feed_tell_later(struct feed *f)
{
    struct peer *p = f->peer;
    if (p->tell_ns == 0)
        p->tell_ns = clock_ns() + MARKS_MS * NS_PER_MS;
    list_push(&p->told_later, &f->dirty);
}

static void feed_send(struct feed *f)
{
    uint64_t to = topic_shippable(f->topic);
    int rc = f->sent < to && !f->stuck ? feed_send_data(f, to) : 0;
    if (rc < 0)
        feed_cannot(f, rc);
    else if (f->sent < to && !f->stuck)
        feed_dirty(f);               /* after the other topics */
    else if (has_news(f))
        feed_tell_later(f);
}

static void send_marks(struct peer *p)
{
    uint64_t now = p->tell_ns ? clock_ns() : 0;
    if (now < p->tell_ns)
        watch_arm(&p->leader->pace, p->tell_ns - now);
    if (p->tell_ns == 0 || now < p->tell_ns)
        return;
    struct buf *out = NULL;
    while (!list_empty(&p->told_later)) {
        struct feed *f = list_first(&p->told_later, struct feed, dirty);
        list_remove(&f->dirty);
        if (!has_news(f))
            continue;
        if (out == NULL)
            out = link_begin(p->link, WIRE_MARKS);
        put_u32(out, f->slot);
        put_marks(out, f);
    }
    if (out != NULL)
        link_end(p->link);
    p->tell_ns = 0;
}

/* A node that catches up shares disks and processors with publishers, so it gets so much a second and no more. Whoever
 * waits for its acknowledgements is not held back. */
static bool may_send(struct peer *p)
{
    if (p->counted)
        return true;
    uint64_t now = clock_ns(), passed = now - p->credit_ns;
    p->credit += (int64_t)(passed < NS_PER_S ? passed * CATCHUP_RATE / NS_PER_S : CATCHUP_BURST);
    p->credit_ns = now;
    if (p->credit > CATCHUP_BURST)
        p->credit = CATCHUP_BURST;
    if (p->credit > 0)
        return true;
    watch_arm(&p->leader->pace, NS_PER_MS);
    return false;
}

void peer_send(struct peer *p)
{
    while (!list_empty(&p->dirty) && !p->doomed && link_unsent(p->link) < LINK_UNSENT_MAX && may_send(p)) {
        struct feed *f = list_first(&p->dirty, struct feed, dirty);
        uint64_t before = p->shipped_bytes;
        list_remove(&f->dirty);
        feed_send(f);
        p->credit -= (int64_t)(p->shipped_bytes - before);
    }
    send_marks(p);
    if (link_unsent(p->link) > 0)
        p->spoken_ns = clock_ns();
    link_flush(p->link);
}

/* ---- has it all? ---- */

/* A member has all that this epoch began with and all that is everybody's [m]: of a live topic that is all that is
 * acknowledged, of a `wal` topic what was shipped. */
static bool feed_caught_up(const struct feed *f)
{
    const struct topic *t = f->topic;
    uint64_t acked = feed_acked(f);
    return f->started && acked >= t->lead.begun && acked >= t->peers.at;
}

void peer_caught_up(struct peer *p)
{
    struct topics *ts = p->leader->o.topics;
    struct topic *t;
    p->caught_up = true;
    for (size_t i = 0; p->caught_up && (t = topics_at(ts, i)) != NULL; i++) {
        const struct feed *f = peer_feed(p, t);
        p->caught_up = f != NULL && feed_caught_up(f);
    }
}
