#include "broker/follower/stream.h"

#include "base/err.h"
#include "base/least.h"
#include "base/say.h"
#include "broker/follower/barrier.h"
#include "broker/follower/call.h"
#include "broker/follower/reconcile.h"
#include "broker/follower/refetch.h"
#include "store/replication/batches.h"

static void save_state(struct follower *f)
{
    int rc = store_save_state(f->role->store);
    if (rc < 0)
        say_fatal(EXIT_IO, "follower", "the state cannot be written: %s", err_sentence(rc));
}

static void take_marks(struct topic *t, uint64_t readable, uint64_t peers)
{
    struct topic_follow *tf = t->follow;
    tf->told = true;
    if (readable > tf->told_readable)
        tf->told_readable = readable;
    if (peers > tf->told_peers)
        tf->told_peers = peers;
    if (peers >= tf->unsettled)
        tf->unsettled = 0;
}

static void on_data(struct follower *f, struct wire *w)
{
    struct topic *t = upstream_topic(f, get_u32(w));
    uint64_t readable = get_u64(w), peers = get_u64(w);
    struct batch_run run = {.first = get_u64(w)};
    run.next = get_u64(w);
    run.file_first = get_u64(w);
    run.has_file_crc = get_u8(w);
    run.file_crc = get_u32(w);
    if (w->bad) {
        upstream_fail(f, "a DATA is not well formed");
        return;
    }
    if (t == NULL || !t->follow->placed)
        return;
    int rc = journal_receive(t->journal, &run, w->rest);
    if (rc == -ERR_BUSY) {           /* a file that has ended here goes on, and is not on the disk yet */
        f->waits = true;
        return;
    }
    f->received_bytes += w->rest.n;
    if (rc < 0)
        say_limited(&f->faults, SAY_ERROR, "follower", "cannot store what the leader sent topic=%s offset=%llu: %s",
                    t->name, (unsigned long long)t->tail.at, err_sentence(rc));
    if (rc == -ERR_DIVERGED) {       /* the files' boundaries differ, as after damage: replicates the last file again */
        uint64_t from = least(journal_active_first(t->journal), run.file_first), first = topic_first(t);
        refetch_by_replicating(f, t, from > first ? from : first);
        return;
    }
    if (rc < 0) {
        upstream_fail(f, err_sentence(rc));
        return;
    }
    topic_received(t, run.next);
    take_marks(t, readable, peers);
    journal_defer_sync(t->journal, t->tail.at < t->follow->told_peers);   /* no member while it lacks what they have */
    topic_settle(t);
}

/* Pieces of a snapshot, before the first batch of a topic that begins above 0. */
static void on_senders(struct follower *f, struct wire *w)
{
    struct topic *t = upstream_topic(f, get_u32(w));
    bool last = get_u8(w);
    if (w->bad) {
        upstream_fail(f, "a SENDERS is not well formed");
        return;
    }
    if (t == NULL || !t->follow->placed)
        return;
    struct buf *all = &t->follow->senders;
    if (buf_size(all) + w->rest.n > SENDERS_SIZE_MAX || t->tail.at != topic_first(t)) {
        upstream_fail(f, "a SENDERS does not belong there");
        return;
    }
    buf_add_slice(all, w->rest);
    int rc = last ? journal_take_senders(t->journal, buf_slice(all)) : 0;
    if (last)
        buf_fini(all);
    if (rc < 0)
        upstream_fail(f, rc == -ERR_DAMAGED ? "a SENDERS is not well formed" : err_sentence(rc));
}

static void on_marks(struct follower *f, struct wire *w)
{
    while (!w->bad && w->rest.n > 0) {
        struct topic *t = upstream_topic(f, get_u32(w));
        uint64_t readable = get_u64(w), peers = get_u64(w);
        if (w->bad || t == NULL || !t->follow->placed)
            continue;
        take_marks(t, readable, peers);
        topic_settle(t);
    }
    if (w->bad)
        upstream_fail(f, "a MARKS is not well formed");
}

/* This node has everything that is acknowledged, and so what it may have forgotten. */
static void on_caught(struct follower *f)
{
    struct state *state = store_state(f->role->store);
    if (!state->amnesiac)
        return;
    state->amnesiac = false;
    save_state(f);
    say_info("follower", "caught up: this node counts again");
}

void stream_settle(struct follower *f)
{
    struct state *state = store_state(f->role->store);
    struct topic *t;
    bool settled = true;
    if (!f->stuck && f->unclean <= state->unclean)
        return;
    for (size_t i = 0; (t = topics_at(f->topics, i)) != NULL; i++) {
        if (!t->follow->placed)
            return;
        settled = settled && t->follow->unsettled == 0;
    }
    f->stuck = false;
    if (!settled || f->unclean <= state->unclean)
        return;
    state->unclean = f->unclean;
    save_state(f);
}

void stream_frame(struct follower *f, unsigned char type, slice payload)
{
    struct wire w = {.rest = payload};
    switch (type) {
    case WIRE_POINT:
        reconcile_point(f, &w);
        break;
    case WIRE_DATA:
        on_data(f, &w);
        break;
    case WIRE_SENDERS:
        on_senders(f, &w);
        break;
    case WIRE_MARKS:
        on_marks(f, &w);
        break;
    case WIRE_CAUGHT:
        on_caught(f);
        break;
    case WIRE_FILE:
        refetch_file(f, &w);
        break;
    case WIRE_DIFFERS:
        refetch_differs(f, &w);
        break;
    case WIRE_CONFIRM:
        barrier_confirm(f, &w);
        break;
    case WIRE_REACHED:
        barrier_reached(f, &w);
        break;
    case WIRE_RETURN:
        call_return(f, &w);
        break;
    case WIRE_PING:
        f->suspended = get_u8(&w);
        if (!wire_done(&w))
            upstream_fail(f, "a PING is not well formed");
        break;
    case WIRE_REFUSE:
        upstream_refused(f, payload);
        break;
    default:
        upstream_fail(f, "it sent a frame of an unknown type");
    }
}
