/* What goes over a follower's connection: the greeting, where the histories part, and what the leader sends. */
#include "broker/follower/upstream.h"

#include <errno.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "base/err.h"
#include "base/least.h"
#include "base/mem.h"
#include "base/say.h"
#include "store/replication/batches.h"
#include "store/replication/epochs.h"

enum { HUNG_UP = 1 };

/* ---- the greeting ---- */

void upstream_hello(struct follower *f)
{
    const struct state *state = store_state(f->o.role->store);
    struct register_stamp known = role_known(f->o.role);
    struct buf *out = link_begin(f->link, WIRE_HELLO);
    put_u16(out, WIRE_VERSION);
    put_id(out, &state->cluster);
    put_text(out, slice_from(f->o.role->self.text));
    put_text(out, slice_from(f->o.http));
    put_u8(out, state->amnesiac ? HELLO_AMNESIAC : 0);
    put_u64(out, known.epoch);
    put_u64(out, known.version);
    put_id(out, &known.leader);
    link_end(f->link);
}

static void on_welcome(struct follower *f, slice payload)
{
    struct wire w = {.rest = payload};
    struct member member;
    uint64_t epoch = get_u64(&w), version = get_u64(&w), unclean = get_u64(&w);
    slice name = get_text(&w);
    if (!wire_done(&w) || member_parse(name, &member) < 0 || !member_eq(&member, &f->leader.member)) {
        upstream_fail(f, "somebody else answers at its address");
        return;
    }
    struct id id = member_incarnation(&member);
    if (role_promise(f->o.role, &(struct register_stamp){epoch, version, id}) < 0) {
        put_text(link_begin(f->link, WIRE_REFUSE), SLICE("a newer epoch has been promised"));
        link_end(f->link);
        link_shut(f->link);
        upstream_fail(f, "it leads an epoch that is over");
        return;
    }
    f->unclean = unclean;
    put_u64(link_begin(f->link, WIRE_PROMISE), epoch);
    link_end(f->link);
    link_allow(f->link, LINK_FRAME_MAX);
    f->phase = UPSTREAM_READY;
    f->told_ns = clock_ns();
    f->said = f->refused = false;
    if (f->stuck)
        return;
    say_info("follower", "following member=%s epoch=%llu address=%s", member.text, (unsigned long long)epoch,
             f->leader.replication);
}

static void refused(struct follower *f, struct wire *w)
{
    char why[128];
    slice text = get_text(w);
    snprintf(why, sizeof(why), "%.*s", SLICE_ARGS(text));
    for (char *c = why; *c != '\0'; c++)    /* it stands between quotes in a line of the log */
        if (*c < ' ' || *c > '~' || *c == '"' || *c == '\\')
            *c = '?';
    upstream_fail(f, why);
}

void upstream_greet(struct follower *f, unsigned char type, slice payload)
{
    struct wire w = {.rest = payload};
    if (type == WIRE_WELCOME) {
        on_welcome(f, payload);
    } else if (type == WIRE_REFUSE) {
        refused(f, &w);
    } else if (type != WIRE_PING) {
        upstream_fail(f, "its greeting is out of order");
    }
}

/* ---- where the histories part ---- */

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

static struct topic *topic_of(const struct follower *f, uint32_t slot)
{
    return slot < f->slots ? f->by_slot[slot] : NULL;
}

static void put_position(struct follower *f, struct topic *t, uint64_t epoch, uint64_t end)
{
    struct buf *out = link_begin(f->link, WIRE_POSITION);
    put_u32(out, t->follow.slot);
    put_u64(out, t->id.epoch);
    put_u64(out, t->id.offset);
    put_u64(out, epoch);
    put_u64(out, end);
    put_text(out, slice_from(t->name));
    link_end(f->link);
}

void upstream_hold(struct follower *f, struct topic *t)
{
    if (list_empty(&f->held))
        f->held_ns = clock_ns() + HELD_NS;
    t->follow.held = true;
    list_remove(&t->follow.placing);
    list_push(&f->held, &t->follow.placing);
}

/* Where there is no batch, and yet an end, all that the leader has is asked about: does it go as far as that? */
void upstream_ask(struct follower *f, struct topic *t)
{
    struct journal_info info;
    list_remove(&t->follow.placing);
    if (t->follow.refetch && !refetch_cut(f, t)) {
        upstream_hold(f, t);
        return;
    }
    if (t->follow.slot == 0 && f->slots == SLOTS_MAX) {
        upstream_fail(f, "all slots of the connection are used up");
        return;
    }
    if (t->follow.slot == 0)
        t->follow.slot = slot_new(f, t);
    journal_info(t->journal, &info);
    put_position(f, t, info.epoch == 0 && info.tail > 0 ? f->o.role->epoch : info.epoch, info.tail);
}

static void start(struct follower *f, struct topic *t)
{
    store_flush(f->o.role->store);     /* `tail` is told as what is written */
    struct buf *out = link_begin(f->link, WIRE_START);
    t->follow.acked_written = t->tail.at;
    t->follow.acked_disk = t->disk.at;
    put_u32(out, t->follow.slot);
    put_u64(out, t->follow.acked_written);
    put_u64(out, t->follow.acked_disk);
    link_end(f->link);
    t->follow.placed = true;
    t->follow.unsettled = t->tail.at;
    if (t == topics_log(f->o.topics))
        f->log_placed = true;
}

/* Has the operator made another history the cluster's than that of this topic, by an unclean claim? That is about what
 * was committed before it: once a leader of the new history has said that all that is here is committed in that, too,
 * it is over [m], of however old an epoch the last batch of a quiet topic is. */
static bool may_undo(const struct follower *f, struct topic *t)
{
    struct journal_info info;
    struct batch_head head = {0};        /* of a topic without batches, which is no newer than any */
    journal_info(t->journal, &info);
    int rc = info.epoch > 0 ? journal_batch_before(t->journal, t->tail.at, &head) : 0;
    return f->unclean > store_state(f->o.role->store)->unclean && rc == 0 && head.epoch < f->unclean;
}

/* Neither side can know whose history counts. */
static int stuck(struct follower *f, const struct topic *t, const char *why)
{
    if (!f->stuck)
        say_error("follower",
                  "topic=%s: %s. This node keeps what it has and follows nobody. When the leader's history shall be "
                  "the cluster's: cluster.claim_unclean() there; when this node's: stop the leader, cluster.adopt() "
                  "here",
                  t->name, why);
    f->stuck = true;
    return -ERR_DIVERGED;
}

/* What counted as everybody's, and so all that readers of a live topic were promised, is never cut [m], unless the
 * operator has made the shorter history the cluster's by an unclean claim. (Readers of a `wal` topic have seen what its
 * leader alone had, and it may have become live since.) 0 or -ERR_DIVERGED. */
static int cut_check(struct follower *f, struct topic *t, uint64_t to)
{
    char why[128];
    if (to >= t->peers.at || may_undo(f, t))
        return 0;
    snprintf(why, sizeof(why), "REFUSED to cut to offset=%llu: offsets below %llu are committed",
             (unsigned long long)to, (unsigned long long)t->peers.at);
    return stuck(f, t, why);
}

/* _topics was cut below what has taken effect: only a start from the records makes that right. */
static void begin_anew(const struct topic *t)
{
    say_fatal(EXIT_RESTART, "follower",
              "an unclean claim has undone changes of topics that had taken effect here (topic=%s): start again",
              t->name);
}

static int cut(struct follower *f, struct topic *t, uint64_t to)
{
    uint64_t beyond = t->tail.at - to;
    int rc = cut_check(f, t, to);
    if (rc == 0)
        rc = topic_truncate(t, to);
    if (rc < 0)
        return rc;
    f->diverged_messages += beyond;
    say_warn("follower", "diverged topic=%s offset=%llu messages=%llu: moved to diverged/", t->name,
             (unsigned long long)to, (unsigned long long)beyond);
    if (t == topics_log(f->o.topics) && topics_undone(f->o.topics))
        begin_anew(t);
    return 0;
}

struct point {
    unsigned kind;                   /* POINT_... */
    uint64_t found, end, first;
    bool has_crc;
    uint32_t crc;
};

/* Nothing is in common with what the leader still has. What is here from `common` on is not the leader's. `keep`: it is
 * more than retention's leavings. */
static int restart(struct follower *f, struct topic *t, const struct point *p, uint64_t common, bool keep)
{
    uint64_t messages = t->tail.at - topic_first(t);
    int rc = cut_check(f, t, common);
    if (rc < 0)
        return rc;
    say_info("follower", "begins anew topic=%s offset=%llu%s", t->name, (unsigned long long)p->first,
             keep ? ": what was here is moved to diverged/" : "");
    rc = topic_restart(t, p->first, keep);
    if (rc < 0)
        return rc;
    f->diverged_messages += keep ? messages : 0;
    if (t == topics_log(f->o.topics) && topics_undone(f->o.topics))
        begin_anew(t);
    return 0;
}

/* The checksum of the batch before `common` is another. One that is damaged here, or gone, cannot tell. */
static bool crc_differs(struct topic *t, const struct point *p, uint64_t common)
{
    struct batch_head head;
    int rc = p->has_crc ? journal_batch_before(t->journal, common, &head) : -ERR_GONE;
    if (rc == -ERR_GONE || rc == -ERR_DAMAGED)
        return false;
    return rc < 0 || head.crc != p->crc;
}

/* Both have batches of the same epoch; the history is the same as far as both go in it. */
static int settle_on(struct follower *f, struct topic *t, const struct point *p, uint64_t common)
{
    char why[128];
    if (crc_differs(t, p, common)) {
        snprintf(why, sizeof(why), "differs from the leader's before offset=%llu although the epochs agree",
                 (unsigned long long)common);
        return stuck(f, t, why);
    }
    if (common < p->first)
        return restart(f, t, p, common, t->tail.at > common);
    return t->tail.at > common ? cut(f, t, common) : 0;
}

/* There is no batch here: what was before the end has been removed by retention, or all of it is damaged. The leader
 * has to have gone as far as is known to be committed; and a node that has less than it acknowledged must not count. */
static int settle_without_batch(struct follower *f, struct topic *t, const struct point *p)
{
    struct journal_info info;
    journal_info(t->journal, &info);
    if (info.tail == p->first)
        return 0;
    int rc = cut_check(f, t, p->end);
    if (rc == 0 && p->first > info.tail)
        return topic_restart(t, p->first, info.damaged > 0);
    if (rc < 0)
        return rc;
    refetch_by_replicating(f, t, p->first);
    return HUNG_UP;
}

/* All that the leader has is of later epochs than what is here. Below its first offset it may have had the same. */
static int settle_on_nothing(struct follower *f, struct topic *t, const struct point *p)
{
    struct journal_info info;
    journal_info(t->journal, &info);
    if (info.epoch == 0)
        return settle_without_batch(f, t, p);
    return restart(f, t, p, p->first, info.tail > p->first || info.tail > t->peers.at);
}

/* Asks again about an earlier epoch, until it is one that both know. 0, HUNG_UP or an error. */
static int compare(struct follower *f, struct topic *t, const struct point *p)
{
    uint64_t found, end;
    int rc = journal_epoch_end(t->journal, p->found, &found, &end);
    if (rc < 0)
        return rc;
    if (found > 0 && (found < p->found || p->kind == POINT_EARLIER)) {
        put_position(f, t, found, end);
        return 0;
    }
    uint64_t common = least(end, p->end);
    if (found > 0 && crc_differs(t, p, common) && may_undo(f, t)) {
        rc = journal_epoch_end(t->journal, found - 1, &found, &end);   /* one epoch of two leaders: the one before */
        if (rc == 0 && found > 0)
            put_position(f, t, found, end);
        if (rc < 0 || found > 0)
            return rc;
    }
    rc = found == 0 ? settle_on_nothing(f, t, p) : settle_on(f, t, p, common);
    if (rc == 0)
        start(f, t);
    return rc;
}

static void on_point(struct follower *f, struct wire *w)
{
    struct topic *t = topic_of(f, get_u32(w));
    struct point p = {.kind = get_u8(w)};
    p.found = get_u64(w);
    p.end = get_u64(w);
    p.first = get_u64(w);
    p.has_crc = get_u8(w);
    p.crc = get_u32(w);
    if (!wire_done(w) || p.kind > POINT_UNREADABLE || p.first > p.end) {
        upstream_fail(f, "a POINT is not well formed");
        return;
    }
    if (t == NULL || t->follow.placed)
        return;                      /* dropped here */
    if (p.kind == POINT_UNKNOWN) {
        upstream_hold(f, t);         /* dropped there, and its record comes; or the leader cannot open it yet */
        return;
    }
    t->follow.known = true;
    if (p.kind == POINT_UNREADABLE)
        say_warn("follower", "the leader cannot read its topic=%s: asks again", t->name);
    if (p.kind == POINT_UNREADABLE || t == f->refetch.topic) {
        upstream_hold(f, t);
        return;
    }
    int rc = compare(f, t, &p);
    if (rc == -ERR_BUSY) {
        upstream_hold(f, t);         /* what is to be cut is being copied */
        return;
    }
    if (rc == -ERR_DAMAGED) {
        say_error("follower", "topic=%s cannot be compared: it is damaged here, and mended first", t->name);
        upstream_hold(f, t);
        refetch_soon(f);
        return;
    }
    if (rc < 0 && !f->stuck)
        say_error("follower", "cannot go on with topic=%s: %s", t->name, err_sentence(rc));
    if (rc < 0)
        upstream_fail(f, err_sentence(rc));
}

/* ---- what is sent ---- */

static void take_marks(struct topic *t, uint64_t readable, uint64_t peers)
{
    if (readable > t->follow.told_readable)
        t->follow.told_readable = readable;
    if (peers > t->follow.told_peers)
        t->follow.told_peers = peers;
    if (peers >= t->follow.unsettled)
        t->follow.unsettled = 0;
}

/* Where the files' boundaries differ (damage can do that), the file that is being written is fetched again. */
static void data_failed(struct follower *f, struct topic *t, const struct batch_run *s, int rc)
{
    uint64_t from = least(journal_active_first(t->journal), s->file_first);
    say_error("follower", "cannot store what the leader sent topic=%s offset=%llu: %s", t->name,
              (unsigned long long)t->tail.at, err_sentence(rc));
    if (rc == -ERR_DIVERGED)
        refetch_by_replicating(f, t, from > topic_first(t) ? from : topic_first(t));
    else
        upstream_fail(f, err_sentence(rc));
}

static void on_data(struct follower *f, struct wire *w)
{
    struct topic *t = topic_of(f, get_u32(w));
    uint64_t readable = get_u64(w), peers = get_u64(w);
    struct batch_run s = {.first = get_u64(w)};
    s.next = get_u64(w);
    s.file_first = get_u64(w);
    s.has_file_crc = get_u8(w);
    s.file_crc = get_u32(w);
    if (w->bad) {
        upstream_fail(f, "a DATA is not well formed");
        return;
    }
    if (t == NULL || !t->follow.placed)
        return;
    f->received_bytes += w->rest.n;
    int rc = journal_receive(t->journal, &s, w->rest);
    if (rc < 0) {
        data_failed(f, t, &s, rc);
        return;
    }
    mark_advance(&t->tail, s.next);
    take_marks(t, readable, peers);
    journal_defer_sync(t->journal, t->tail.at < t->follow.told_peers);   /* no publish waits for it yet */
    topic_settle(t);
}

static void on_marks(struct follower *f, struct wire *w)
{
    while (!w->bad && w->rest.n > 0) {
        struct topic *t = topic_of(f, get_u32(w));
        uint64_t readable = get_u64(w), peers = get_u64(w);
        if (w->bad || t == NULL || !t->follow.placed)
            continue;
        take_marks(t, readable, peers);
        topic_settle(t);
    }
    if (w->bad)
        upstream_fail(f, "a MARKS is not well formed");
}

static void state_written(struct follower *f)
{
    int rc = store_save_state(f->o.role->store);
    if (rc < 0)
        say_fatal(EXIT_IO, "follower", "the state cannot be written: %s", err_sentence(rc));
}

/* This node has all that is acknowledged: what it may have forgotten, it has again. */
static void on_caught(struct follower *f)
{
    struct state *state = store_state(f->o.role->store);
    if (!state->amnesiac)
        return;
    state->amnesiac = false;
    state_written(f);
    say_info("follower", "caught up: this node counts again");
}

void upstream_settle(struct follower *f)
{
    struct state *state = store_state(f->o.role->store);
    struct topic *t;
    bool settled = true;
    if (!f->stuck && f->unclean <= state->unclean)
        return;
    for (size_t i = 0; (t = topics_at(f->o.topics, i)) != NULL; i++) {
        if (!t->follow.placed)
            return;
        settled = settled && t->follow.unsettled == 0;
    }
    f->stuck = false;
    if (!settled || f->unclean <= state->unclean)
        return;
    state->unclean = f->unclean;
    state_written(f);
}

void upstream_frame(struct follower *f, unsigned char type, slice payload)
{
    struct wire w = {.rest = payload};
    switch (type) {
    case WIRE_POINT:
        on_point(f, &w);
        break;
    case WIRE_DATA:
        on_data(f, &w);
        break;
    case WIRE_MARKS:
        on_marks(f, &w);
        break;
    case WIRE_CAUGHT:
        on_caught(f);
        break;
    case WIRE_FILE:
        refetch_on_file(f, &w);
        break;
    case WIRE_DIFFERS:
        refetch_on_differs(f, &w);
        break;
    case WIRE_PING:
        break;
    case WIRE_REFUSE:
        refused(f, &w);
        break;
    default:
        upstream_fail(f, "it sent a frame of an unknown type");
    }
}
