#include "broker/follower/reconcile.h"

#include <stdio.h>

#include "base/err.h"
#include "base/least.h"
#include "base/mem.h"
#include "base/say.h"
#include "broker/follower/refetch.h"
#include "store/replication/epochs.h"
#include "store/replication/truncate.h"

/* ---- asking ---- */

static void send_position(struct follower *f, struct topic *t, uint64_t epoch, uint64_t end)
{
    struct buf *out = link_begin(f->link, WIRE_POSITION);
    put_u32(out, t->follow->slot);
    put_u64(out, t->id.epoch);
    put_u64(out, t->id.offset);
    put_u64(out, epoch);
    put_u64(out, end);
    put_text(out, slice_from(t->name));
    link_end(f->link);
}

static uint32_t slot_new(struct follower *f, struct topic *t)
{
    if (f->slots == 0)
        f->slots = 1;                /* 0 is none */
    if (f->slots >= f->slots_cap) {
        f->slots_cap = f->slots_cap ? f->slots_cap * 2 : 64;
        f->by_slot = mem_resize(f->by_slot, f->slots_cap * sizeof(struct topic *));
        f->by_slot[0] = NULL;
    }
    f->by_slot[f->slots] = t;
    return f->slots++;
}

/* If _topics was cut below a record that has taken effect, or begins again above all of them, only a start, which reads
 * all records, makes that right. */
static void check_topics(const struct follower *f, const struct topic *t)
{
    if (t == topics_log(f->topics) && topics_undone(f->topics))
        say_fatal(EXIT_RESTART, "follower",
                  "changes of topics that had taken effect here are undone, or too old to go on from (topic=%s): "
                  "start again",
                  t->name);
}

void reconcile_ask(struct follower *f, struct topic *t)
{
    struct journal_info info;
    list_remove(&t->follow->placing);
    int rc = t->follow->refetch ? refetch_cut(f, t) : 0;
    check_topics(f, t);
    if (is_no_room(rc))
        upstream_hold_without_room(f, t);
    else if (rc < 0)
        upstream_hold(f, t, rc == -ERR_BUSY ? BUSY_NS : HELD_NS);
    if (rc < 0)
        return;
    if (t->follow->slot == 0 && f->slots == SLOTS_MAX) {
        upstream_fail(f, "all slots of the connection are used up");
        return;
    }
    if (t->follow->slot == 0)
        t->follow->slot = slot_new(f, t);
    journal_info(t->journal, &info);
    /* Without a batch, but with an end, the question is whether the leader's history goes as far, in any epoch. */
    send_position(f, t, info.epoch == 0 && info.tail > 0 ? f->role->epoch : info.epoch, info.tail);
}

struct point {
    unsigned kind;                   /* POINT_... */
    uint64_t found, end, first, readable;
    bool has_crc;
    uint32_t crc;
};

static void start(struct follower *f, struct topic *t, const struct point *p)
{
    journal_flush(t->journal);       /* START says that everything up to the tail is written */
    struct buf *out = link_begin(f->link, WIRE_START);
    t->follow->acked_written = t->tail.at;
    t->follow->acked_disk = t->disk.at;
    put_u32(out, t->follow->slot);
    put_u64(out, t->follow->acked_written);
    put_u64(out, t->follow->acked_disk);
    link_end(f->link);
    t->follow->placed = true;
    f->placed++;
    t->follow->no_room = false;
    t->follow->unsettled = t->tail.at;
    if (t != topics_log(f->topics))
        return;
    f->log_placed = true;
    topics_note_leader(f->topics, p->readable);
}

/* ---- cutting ---- */

/* Has an operator made another history than this topic's the cluster's, by an unclean claim? Such a claim undoes what
 * was committed before it. That ends when a leader of the new history has said that everything here is committed in it,
 * too [m], even where the last batch of a quiet topic is of an older epoch. */
static bool may_undo(const struct follower *f, struct topic *t)
{
    struct journal_info info;
    struct batch_head head = {0};    /* a topic without batches is older than any claim */
    journal_info(t->journal, &info);
    int rc = info.epoch > 0 ? journal_batch_before(t->journal, t->tail.at, &head) : 0;
    return f->unclean > store_state(f->role->store)->unclean && rc == 0 && head.epoch < f->unclean;
}

/* Neither side can know whose history counts. */
static int stuck(struct follower *f, const struct topic *t, const char *why)
{
    if (!f->stuck)
        say_limited(&f->faults, SAY_ERROR, "follower",
                  "topic=%s: %s. This node keeps what it has and follows no leader. If the leader's history shall be "
                  "the cluster's: cluster.claim_unclean() there; if this node's: stop the leader, then "
                  "cluster.adopt() here",
                  t->name, why);
    f->stuck = true;
    return -ERR_DIVERGED;
}

/* What is below `peers` is never cut [m], since readers of a live topic were promised that it stays; unless an operator
 * has made the shorter history the cluster's by an unclean claim. (Readers of a `wal` topic have seen what only its
 * leader had, and it may have become live since.) 0 or -ERR_DIVERGED. */
static int check_cut(struct follower *f, struct topic *t, uint64_t to)
{
    char why[128];
    if (to >= t->peers.at || may_undo(f, t))
        return 0;
    snprintf(why, sizeof(why), "REFUSED to cut to offset=%llu: offsets below %llu are committed",
             (unsigned long long)to, (unsigned long long)t->peers.at);
    return stuck(f, t, why);
}

static int cut(struct follower *f, struct topic *t, uint64_t to)
{
    uint64_t beyond = t->tail.at - to;
    int rc = check_cut(f, t, to);
    if (rc == 0)
        rc = topic_truncate(t, to);
    if (rc < 0)
        return rc;
    f->diverged_messages += beyond;
    say_limited(&f->moves, SAY_WARN, "follower", "diverged topic=%s offset=%llu messages=%llu: moved to diverged/",
                t->name, (unsigned long long)to, (unsigned long long)beyond);
    check_topics(f, t);
    return 0;
}

/* Nothing is in common with what the leader still has; what is here from `common` on is not the leader's. All that is
 * here goes to diverged/, also what only the leader's retention has removed: its word alone deletes nothing. */
static int restart(struct follower *f, struct topic *t, const struct point *p, uint64_t common)
{
    struct journal_info info;
    int rc = check_cut(f, t, common);
    if (rc < 0)
        return rc;
    journal_info(t->journal, &info);
    bool keep = info.epoch > 0 || info.damaged > 0;
    rc = topic_restart(t, p->first, keep);
    if (rc < 0)
        return rc;
    say_limited(&f->moves, SAY_INFO, "follower", "starts over topic=%s offset=%llu%s", t->name,
                (unsigned long long)p->first, keep ? ": what was here is moved to diverged/" : "");
    f->diverged_messages += keep ? info.tail - info.first : 0;
    check_topics(f, t);
    return 0;
}

/* ---- comparing ---- */

/* Is the checksum of the batch before `common` another one? A batch that is damaged here, or gone, cannot tell. */
static bool crc_differs(struct topic *t, const struct point *p, uint64_t common)
{
    struct batch_head head;
    int rc = p->has_crc ? journal_batch_before(t->journal, common, &head) : -ERR_GONE;
    if (rc == -ERR_GONE || rc == -ERR_DAMAGED)
        return false;
    return rc < 0 || head.crc != p->crc;
}

/* Both have batches of the same epoch: the histories agree up to `common`, where the shorter one ends in it. */
static int settle_on(struct follower *f, struct topic *t, const struct point *p, uint64_t common)
{
    char why[128];
    if (crc_differs(t, p, common)) {
        snprintf(why, sizeof(why), "differs from the leader's before offset=%llu although the epochs agree",
                 (unsigned long long)common);
        return stuck(f, t, why);
    }
    if (common < p->first)
        return restart(f, t, p, common);
    return t->tail.at > common ? cut(f, t, common) : 0;
}

/* No epoch is in common. Either all that the leader has is of later epochs, and below its first offset it may have had
 * the same as this node; or there is no batch here, because retention has removed what was before the end, or all of it
 * is damaged. */
static int settle_on_nothing(struct follower *f, struct topic *t, const struct point *p)
{
    struct journal_info info;
    journal_info(t->journal, &info);
    if (info.epoch > 0)
        return restart(f, t, p, p->first);
    if (info.tail == p->first)
        return 0;
    /* The leader must have gone at least as far as is known to be committed here. */
    if (p->first > info.tail)
        return restart(f, t, p, p->end);
    int rc = check_cut(f, t, p->end);
    if (rc == 0)                     /* this node has less than it acknowledged, so it must not count */
        refetch_by_replicating(f, t, p->first);
    return rc;
}

/* Is this the list of topics, without the snapshot with which its files should begin, and does the leader have more of
 * its beginning? An unclean claim may have made a history the cluster's that ends before the end of the snapshot. */
static bool lacks_beginning(const struct follower *f, const struct topic *t, const struct point *p)
{
    return t == topics_log(f->topics) && topics_lack_snapshot(f->topics) && p->first < topic_first(t);
}

/* 0 or an error. It has started the topic, asked again about an earlier epoch, or failed the connection. */
static int compare(struct follower *f, struct topic *t, const struct point *p)
{
    uint64_t found, end;
    int rc = journal_epoch_end(t->journal, p->found, &found, &end);
    if (rc < 0)
        return rc;
    if (found > 0 && (found < p->found || p->kind == POINT_EARLIER)) {
        send_position(f, t, found, end);
        return 0;
    }
    uint64_t common = least(end, p->end);
    if (found > 0 && crc_differs(t, p, common) && may_undo(f, t)) {
        rc = journal_epoch_end(t->journal, found - 1, &found, &end);   /* one epoch of two leaders: the one before */
        if (rc == 0 && found > 0)
            send_position(f, t, found, end);
        if (rc < 0 || found > 0)
            return rc;
    }
    rc = found == 0 ? settle_on_nothing(f, t, p) : settle_on(f, t, p, common);
    if (rc == 0 && !f->failed && lacks_beginning(f, t, p))
        refetch_by_replicating(f, t, p->first);
    if (rc == 0 && journal_shortening(t->journal))
        return -ERR_BUSY;            /* it can take nothing yet */
    t->follow->leader_first = p->first;
    if (rc == 0 && !f->failed)
        start(f, t, p);
    return rc;
}

/* Why a leader cannot mean what it says; NULL: it can. Retention removes only what readers could see. So a topic never
 * begins above what the leader holds to be committed. */
static const char *point_refusal(const struct point *p)
{
    if (p->kind > POINT_UNREADABLE || p->first > p->end)
        return "a POINT is not well formed";
    if (p->first > p->readable)
        return "it has removed messages that its readers have not seen";
    return NULL;
}

void reconcile_point(struct follower *f, struct wire *w)
{
    struct topic *t = upstream_topic(f, get_u32(w));
    struct point p = {.kind = get_u8(w)};
    p.found = get_u64(w);
    p.end = get_u64(w);
    p.first = get_u64(w);
    p.readable = get_u64(w);
    p.has_crc = get_u8(w);
    p.crc = get_u32(w);
    const char *why = wire_done(w) ? point_refusal(&p) : "a POINT is not well formed";
    if (why != NULL) {
        upstream_fail(f, why);
        return;
    }
    if (t == NULL || t->follow->placed)
        return;                      /* dropped here */
    if (p.kind == POINT_UNKNOWN) {
        upstream_hold(f, t, HELD_NS);    /* dropped there, and its record comes; or the leader cannot open it yet */
        return;
    }
    t->follow->known = true;
    if (p.kind == POINT_UNREADABLE)
        say_limited(&f->faults, SAY_WARN, "follower", "the leader cannot read its topic=%s: asks again", t->name);
    if (p.kind == POINT_UNREADABLE || t == f->refetch.topic) {
        upstream_hold(f, t, HELD_NS);
        return;
    }
    int rc = compare(f, t, &p);
    if (rc == -ERR_BUSY) {
        upstream_hold(f, t, BUSY_NS);    /* what is to be cut is being copied, or not on the disk yet */
    } else if (is_no_room(rc)) {
        upstream_hold_without_room(f, t);
    } else if (rc == -ERR_DAMAGED) {
        say_limited(&f->faults, SAY_ERROR, "follower",
                    "topic=%s cannot be compared: it is damaged here, and repaired first", t->name);
        upstream_hold(f, t, HELD_NS);
        refetch_soon(f, t);
    } else if (rc < 0) {
        if (!f->stuck)
            say_limited(&f->faults, SAY_ERROR, "follower", "cannot go on with topic=%s: %s", t->name, err_sentence(rc));
        upstream_fail(f, err_sentence(rc));
    }
}
