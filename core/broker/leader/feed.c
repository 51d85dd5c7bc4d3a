#include "broker/leader/feed.h"

#include <errno.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/say.h"
#include "broker/wire/wire.h"
#include "store/replication/batches.h"

enum { DATA_HEAD = 4 + 5 * 8 + 1 + 4 };   /* the fields of DATA in front of the batches */

struct feed *feed_find(const struct peer *p, struct topic *t)
{
    LIST_EACH(node, &t->lead->feeds) {
        struct feed *f = LIST_OWNER(node, struct feed, of_topic);
        if (f->peer == p)
            return f;
    }
    return NULL;
}

struct feed *feed_at(const struct peer *p, uint32_t slot)
{
    return slot < p->slots ? p->by_slot[slot] : NULL;
}

/* Whether the follower has all of the topic now. */
static void behind_note(struct feed *f)
{
    bool lacks = feed_acked(f) < f->topic->tail.at, listed = !list_alone(&f->behind);
    if (listed && !lacks)
        list_remove(&f->behind);
    if (lacks && !listed)
        list_push(&f->peer->behind, &f->behind);
}

struct feed *feed_new(struct peer *p, struct topic *t, uint32_t slot)
{
    struct feed *f = MEM_NEW(struct feed);
    f->peer = p;
    f->topic = t;
    f->slot = slot;
    f->caught_ns = f->goal_ns = clock_ns();
    f->goal = t->tail.at;
    list_init(&f->dirty);
    list_init(&f->behind);
    list_push(&t->lead->feeds, &f->of_topic);
    if (slot >= p->slots) {
        uint32_t cap = p->slots ? p->slots * 2 : 64;
        cap = cap > slot ? cap : slot + 1;
        p->by_slot = mem_resize(p->by_slot, cap * sizeof(struct feed *));
        memset(p->by_slot + p->slots, 0, (cap - p->slots) * sizeof(struct feed *));
        p->slots = cap;
    }
    p->by_slot[slot] = f;
    behind_note(f);
    return f;
}

void feed_free(struct feed *f)
{
    f->peer->by_slot[f->slot] = NULL;
    f->peer->started -= f->started;
    list_remove(&f->of_topic);
    list_remove(&f->dirty);
    list_remove(&f->behind);
    buf_fini(&f->senders);
    mem_free(f);
}

static void feed_dirty(struct feed *f)
{
    if (f->started) {
        list_remove(&f->dirty);      /* it may be in told_later */
        list_push(&f->peer->dirty, &f->dirty);
    }
}

/* The follower begins where this log does. What cannot be read of the senders is not sent: then their next requests are
 * judged by the log that is here. */
static void senders_begin(struct feed *f)
{
    int rc = journal_senders_at(f->topic->journal, f->sent, &f->senders);
    if (rc < 0)
        say_limited(&f->peer->leader->faults, SAY_ERROR, "leader", "cannot read the producers of topic=%s: %s",
                    f->topic->name, err_sentence(rc));
}

void feed_start(struct feed *f, uint64_t tail, uint64_t disk)
{
    f->told_readable = f->told_peers = UINT64_MAX;   /* they are stated at once, also where they are 0 */
    f->sent = f->written = tail;
    f->disk = disk;
    f->started = true;
    f->peer->started++;
    if (tail > 0 && tail == topic_first(f->topic))
        senders_begin(f);
    feed_note_lag(f, clock_ns());
    feed_dirty(f);
}

/* ---- lag ---- */

/* The lag in time is measured by goals: a goal is the tail at some moment, and the feed had everything of that moment
 * when it reaches it. */
void feed_note_lag(struct feed *f, uint64_t now)
{
    f->reached = feed_acked(f);
    behind_note(f);
    if (f->reached < f->goal)
        return;
    f->caught_ns = f->goal_ns;
    f->goal = f->topic->tail.at;
    f->goal_ns = now;
    if (f->reached >= f->goal)
        f->caught_ns = now;
}

/* A follower that had everything is behind from now on, however long ago it acknowledged that. The same holds for one
 * whose acknowledgements count for less, because the topic has to be on the disk since a change of its settings. */
void feed_moved(struct feed *f)
{
    uint64_t acked = feed_acked(f);
    bool had_all = f->reached >= f->goal || acked < f->reached;
    behind_note(f);
    f->reached = acked;
    if (f->started && had_all && acked < f->topic->tail.at) {
        f->goal = f->topic->tail.at;
        f->caught_ns = f->goal_ns = clock_ns();
    }
    feed_dirty(f);
}

/* Of a live topic a member needs all that is acknowledged, of a `wal` topic all that was shipped [m]. A feed that is
 * not behind has more: `peers` rises only where topic_settle then tells the feeds. */
bool feeds_caught_up(struct peer *p)
{
    p->caught_up = p->started >= topics_count(p->leader->topics);
    for (const struct list *node = p->behind.next; p->caught_up && node != &p->behind; node = node->next) {
        const struct feed *f = LIST_OWNER(node, const struct feed, behind);
        uint64_t acked = feed_acked(f);
        p->caught_up = f->started && acked >= f->topic->lead->begun && acked >= f->topic->peers.at;
    }
    return p->caught_up;
}

/* ---- sending ---- */

static void put_marks(struct buf *out, struct feed *f)
{
    f->told_readable = topic_readable(f->topic);
    f->told_peers = f->topic->peers.at;
    put_u64(out, f->told_readable);
    put_u64(out, f->told_peers);
}

/* One DATA frame: room for its fields is left in front of the batches, and filled in when it is known which were read.
 * 0, or why the batches cannot be read. */
static int send_data(struct feed *f, uint64_t to)
{
    struct link *k = f->peer->link;
    struct batch_run run = {0};
    struct buf *out = link_begin(k, WIRE_DATA);
    size_t at = buf_size(out);
    memset(buf_reserve(out, DATA_HEAD), 0, DATA_HEAD);
    out->end += DATA_HEAD;
    int rc = journal_read_batches(f->topic->journal, f->sent, to, SHIP_SIZE, out, &run);
    if (rc < 0 || run.next == run.first) {
        link_cancel(k);
        return rc;
    }
    struct buf head = {0};
    put_u32(&head, f->slot);
    put_marks(&head, f);
    put_u64(&head, run.first);
    put_u64(&head, run.next);
    put_u64(&head, run.file_first);
    put_u8(&head, run.has_file_crc);
    put_u32(&head, run.file_crc);
    memcpy(out->data + out->at + at, head.data, DATA_HEAD);
    buf_fini(&head);
    size_t batches = buf_size(out) - at - DATA_HEAD;
    f->peer->shipped_bytes += batches;
    f->peer->leader->shipped_bytes += batches;
    link_end(k);
    f->sent = run.next;
    return 0;
}

/* Where retention was faster than the follower, it has to ask again where our history begins. Damage is repaired here
 * as the follower of another leader. */
static void feed_cannot(struct feed *f, int rc)
{
    f->stuck = true;
    if (rc == -ERR_DAMAGED)
        f->peer->leader->damaged = true;
    if (rc != -ERR_GONE)
        say_limited(&f->peer->leader->faults, SAY_ERROR, "leader", "cannot send topic=%s offset=%llu to member=%s: %s",
                    f->topic->name, (unsigned long long)f->sent, f->peer->member.text, err_sentence(rc));
    else
        peer_refuse(f->peer, "retention has removed the next batch: start over");
}

static bool has_news(const struct feed *f)
{
    return f->told_readable != f->topic->readable.at || f->told_peers != f->topic->peers.at;
}

static void send_senders(struct feed *f)
{
    struct buf *out = link_begin(f->peer->link, WIRE_SENDERS);
    slice piece = buf_slice(&f->senders);
    bool last = piece.n <= SHIP_SIZE;
    piece.n = last ? piece.n : SHIP_SIZE;
    put_u32(out, f->slot);
    put_u8(out, last);
    buf_add_slice(out, piece);
    link_end(f->peer->link);
    f->peer->shipped_bytes += piece.n;
    buf_drop(&f->senders, piece.n);
    if (last)
        buf_fini(&f->senders);
}

static void feed_send(struct feed *f)
{
    struct peer *p = f->peer;
    if (buf_size(&f->senders) > 0) {
        send_senders(f);
        feed_dirty(f);
        return;
    }
    uint64_t to = topic_shippable(f->topic);
    int rc = f->sent < to && !f->stuck ? send_data(f, to) : 0;
    if (rc < 0) {
        feed_cannot(f, rc);
    } else if (f->sent < to && !f->stuck) {
        feed_dirty(f);               /* after the other topics */
    } else if (has_news(f)) {
        /* Marks wait a moment for a batch to travel with: a frame of their own for each message would wake the follower
         * twice as often. */
        if (p->tell_ns == 0)
            p->tell_ns = clock_ns() + MARKS_MS * NS_PER_MS;
        list_push(&p->told_later, &f->dirty);
    }
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

/* A node that catches up shares disks and processors with publishers, so its rate is limited by a token bucket. A
 * member is not limited, since publishers wait for its acknowledgements. */
static bool has_credit(struct peer *p)
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

void feeds_send(struct peer *p)
{
    unsigned left = LINK_STEP;
    while (!list_empty(&p->dirty) && !p->closing && link_unsent(p->link) < LINK_UNSENT_MAX && has_credit(p)) {
        if (left-- == 0) {
            loop_again(p->leader->loop);
            break;
        }
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
