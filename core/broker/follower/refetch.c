#include "broker/follower/refetch.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/least.h"
#include "base/say.h"
#include "store/recovery/repair.h"

#define LOOK_NS (2 * NS_PER_S)       /* between two looks for damage */
#define STEP_NS (250 * NS_PER_MS)    /* the same where one look does not see all topics */
#define AGAIN_NS (30 * NS_PER_S)     /* after a repair that failed */

void refetch_cancel(struct follower *f)
{
    struct refetch *r = &f->refetch;
    if (r->repair != NULL)
        repair_abort(r->repair);
    r->repair = NULL;
    r->topic = NULL;
    r->ending = false;
    r->at_ns = clock_ns() + LOOK_NS;
}

void refetch_soon(struct follower *f, const struct topic *t)
{
    if (f->refetch.at_ns >= clock_ns() + LOOK_NS)
        return;                      /* a repair has failed */
    f->refetch.at_ns = 0;
    f->refetch.from = topics_below(f->topics, slice_from(t->name), false);
}

/* ---- replicating again ---- */

/* Before anything is cut, this node is marked as one that may have forgotten messages: on its disk, and at the leader
 * when it connects again. */
void refetch_by_replicating(struct follower *f, struct topic *t, uint64_t first)
{
    struct topic_follow *tf = t->follow;
    struct state *state = store_state(f->role->store);
    refetch_cancel(f);
    state->amnesiac = true;
    int rc = store_save_state(f->role->store);
    if (rc < 0)
        say_fatal(EXIT_IO, "refetch", "the state cannot be written: %s", err_sentence(rc));
    say_limited(&f->faults, SAY_WARN, "refetch", "topic=%s has to be replicated again from offset=%llu on", t->name,
                (unsigned long long)first);
    tf->refetch_from = tf->refetch ? least(tf->refetch_from, first) : first;
    tf->refetch = true;
    upstream_fail(f, "damage here is repaired by replicating again");
}

/* May what is here from an offset on be cut before it has come again? If the leader is lost meanwhile, this node's copy
 * would be missed: it is a sound copy of what this node acknowledged as a member of the set. So a member keeps it. The
 * leader proposes to remove an amnesiac member, and when that is confirmed, everything is on every member without this
 * node. Where `copies` does not allow a smaller set, nothing is cut and nothing is acknowledged: two nodes differ in
 * where a file ends, and an operator has to decide which one is right. A damaged copy need not be kept: this node could
 * not lead with it, and diverged/ keeps what is good of it. */
static bool may_cut(const struct follower *f, struct topic *t)
{
    const struct role *r = f->role;
    uint64_t from = t->follow->refetch_from, damaged, to;
    struct journal_info info;
    journal_info(t->journal, &info);
    if (from >= topic_own_mark(t)->at || info.epoch == 0)
        return true;                 /* nothing was acknowledged of it */
    for (uint32_t i = 0; journal_damage(t->journal, i, &damaged, &to); i++)
        if ((damaged >= from || to > from) && !journal_refuses(t->journal, damaged))
            return true;
    bool knows = r->has_seen && r->seen.version >= f->version;   /* no older than what the leader has */
    return knows && !members_have(&r->seen.set, &r->self);
}

int refetch_cut(struct follower *f, struct topic *t)
{
    uint64_t from = t->follow->refetch_from;
    uint64_t messages = t->tail.at > from ? t->tail.at - from : 0;
    t->follow->refetch = messages > 0;
    if (!t->follow->refetch)
        return 0;
    if (!may_cut(f, t)) {
        say_limited(&f->faults, SAY_WARN, "refetch",
                    "topic=%s waits until this node is out of the synced set: its copy may be needed", t->name);
        return -ERR_UNAVAILABLE;
    }
    struct journal_info info;
    journal_info(t->journal, &info);
    int rc = topic_truncate(t, from);
    if (rc == -ERR_DAMAGED || rc == -ERR_BAD_RANGE)   /* no batch boundary is there */
        rc = topic_restart(t, from, info.epoch > 0 || info.damaged > 0);
    if (rc < 0 && rc != -ERR_BUSY && !is_no_room(rc))
        say_limited(&f->faults, SAY_ERROR, "refetch", "topic=%s cannot be cut: %s", t->name, err_sentence(rc));
    if (rc < 0)
        return rc;
    say_limited(&f->faults, SAY_WARN, "refetch",
                "topic=%s is replicated again from offset=%llu on; what was there is kept in diverged/", t->name,
                (unsigned long long)from);
    t->follow->refetch = false;
    f->diverged_messages += messages;
    return 0;
}

/* ---- fetching a file ---- */

static void ask_piece(struct follower *f)
{
    struct refetch *r = &f->refetch;
    struct buf *out = link_begin(f->link, WIRE_WANT);
    put_u32(out, r->topic->follow->slot);
    put_u64(out, r->first);
    put_u64(out, r->position);
    link_end(f->link);
    r->asked_ns = clock_ns();
}

static void fetch_file(struct follower *f, struct topic *t, uint64_t first)
{
    struct refetch *r = &f->refetch;
    r->first = first;
    r->position = 0;
    int rc = repair_begin(t->journal, first, &r->repair);
    if (rc < 0) {
        say_limited(&f->faults, SAY_ERROR, "refetch", "cannot begin topic=%s file=%020llu: %s", t->name,
                    (unsigned long long)first, err_sentence(rc));
        return;
    }
    say_limited(&f->moves, SAY_INFO, "refetch", "fetching a file topic=%s file=%020llu", t->name,
                (unsigned long long)first);
    r->topic = t;
    ask_piece(f);
}

static void fetch_damaged(struct follower *f, struct topic *t, uint64_t damaged)
{
    struct file_info info;
    if (journal_file(t->journal, damaged, &info) < 0)
        return;
    if (info.sealed)
        fetch_file(f, t, info.first);
    else                             /* the leader's file would grow while it is fetched */
        refetch_by_replicating(f, t, info.first);
}

static void forget_beginning(struct follower *f, struct topic *t)
{
    say_limited(&f->moves, SAY_INFO, "refetch", "the leader does not have the beginning either topic=%s first=%llu",
                t->name, (unsigned long long)topic_first(t));
    journal_forget_lacking(t->journal);
}

/* Files are missing from this offset up to the first one. The oldest that the leader has comes first: then the next one
 * is missing between two files. */
static void fetch_beginning(struct follower *f, struct topic *t, uint64_t from)
{
    uint64_t leaders = t->follow->leader_first;
    if (leaders >= topic_first(t))
        forget_beginning(f, t);
    else
        fetch_file(f, t, leaders > from ? leaders : from);
}

/* The leader's file is whole. If it is sound and another one than ours, it is the cluster's. If it is damaged, or the
 * disk is full, ours stays. */
static void finish(struct follower *f)
{
    struct refetch *r = &f->refetch;
    struct topic *t = r->topic;
    uint64_t first = r->first;
    int rc = repair_end(r->repair);
    if (rc == -ERR_BUSY)
        return;
    r->repair = NULL;
    refetch_cancel(f);
    if (rc == 0) {
        r->at_ns = f->held_ns = 0;
        f->refetched_files++;
        say_limited(&f->moves, SAY_INFO, "refetch", "repaired topic=%s file=%020llu", t->name,
                    (unsigned long long)first);
        return;
    }
    say_limited(&f->faults, SAY_WARN, "refetch",
                "the leader's file cannot take the place of ours topic=%s file=%020llu: %s", t->name,
                (unsigned long long)first, err_sentence(rc));
    if (rc == -ERR_DIVERGED && first < topic_first(t))
        forget_beginning(f, t);      /* what is here is sound */
    else if (rc == -ERR_DIVERGED)
        refetch_by_replicating(f, t, first);
    else
        r->at_ns = clock_ns() + AGAIN_NS;
}

void refetch_continue(struct follower *f)
{
    struct refetch *r = &f->refetch;
    uint64_t from, to, now = clock_ns();
    if (r->ending) {
        finish(f);
        return;
    }
    if (r->topic != NULL && now - r->asked_ns > AGAIN_NS)
        refetch_cancel(f);           /* the leader's file is damaged too, and no other node can lead */
    if (r->topic != NULL || now < r->at_ns)
        return;
    size_t count = topics_count(f->topics);
    size_t step = least(count, LOOK_STEP);
    r->at_ns = now + (step < count ? STEP_NS : LOOK_NS);
    for (size_t i = 0; i < step; i++) {
        size_t at = (r->from + i) % count;
        struct topic *t = topics_at(f->topics, at);
        bool damaged = t->follow->known && journal_damage(t->journal, 0, &from, &to);
        if (!damaged && !(t->follow->placed && journal_lacks(t->journal, &from)))
            continue;
        r->from = at + 1;
        if (damaged)
            fetch_damaged(f, t, from);
        else
            fetch_beginning(f, t, from);
        return;
    }
    r->from = (r->from + step) % count;
}

void refetch_file(struct follower *f, struct wire *w)
{
    struct refetch *r = &f->refetch;
    uint32_t slot = get_u32(w);
    uint64_t first = get_u64(w), position = get_u64(w), size = get_u64(w);
    struct topic *t = r->topic;
    if (w->bad || t == NULL || slot != t->follow->slot || first != r->first || position != r->position)
        return;                      /* of a fetch that was cancelled */
    if (size == 0 || w->rest.n == 0) {   /* the leader has no such file */
        if (first >= topic_first(t)) {   /* the boundaries differ */
            refetch_by_replicating(f, t, first);
            return;
        }
        refetch_cancel(f);
        forget_beginning(f, t);
        return;
    }
    int rc = repair_add(r->repair, w->rest);
    if (rc < 0) {
        say_limited(&f->faults, SAY_ERROR, "refetch", "cannot write topic=%s: %s", t->name, err_sentence(rc));
        refetch_cancel(f);
        return;
    }
    r->position += w->rest.n;
    r->ending = r->position >= size;
    if (!r->ending)
        ask_piece(f);
}

void refetch_differs(struct follower *f, struct wire *w)
{
    struct topic *t = upstream_topic(f, get_u32(w));
    uint64_t first = get_u64(w);
    if (!wire_done(w) || t == NULL || !t->follow->placed || first < topic_first(t) || first >= t->tail.at)
        return;
    say_limited(&f->faults, SAY_ERROR, "refetch",
                "a sealed file is sound and differs from the leader's topic=%s file=%020llu", t->name,
                (unsigned long long)first);
    if (journal_refuse_file(t->journal, first) < 0) {
        refetch_by_replicating(f, t, first);
        return;
    }
    refetch_soon(f, t);
}
