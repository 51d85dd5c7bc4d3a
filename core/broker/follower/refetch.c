/*
 * A follower mends what is damaged on its disk: a sealed file is fetched anew from the leader and checked whole. Where
 * that cannot be (the files' boundaries differ since the damage), what comes from the damaged file on is cut off,
 * kept in diverged/, and replicated again; from before that until then this node's copies count nowhere.
 */
#include "base/clock.h"
#include "base/err.h"
#include "base/say.h"
#include "broker/follower/upstream.h"
#include "store/recovery/repair.h"

#define LOOK_NS (2 * NS_PER_S)       /* between two looks for damage */
#define AGAIN_NS (30 * NS_PER_S)     /* after a repair that failed */

void refetch_cancel(struct follower *f)
{
    if (f->refetch.repair != NULL)
        repair_abort(f->refetch.repair);
    f->refetch.repair = NULL;
    f->refetch.topic = NULL;
    f->refetch.at_ns = clock_ns() + LOOK_NS;
}

void refetch_soon(struct follower *f)
{
    if (f->refetch.at_ns < clock_ns() + LOOK_NS)
        f->refetch.at_ns = 0;        /* not after a repair that failed */
}

void refetch_topic_dropped(struct follower *f, struct topic *t)
{
    if (f->refetch.topic == t)
        refetch_cancel(f);
}

static void want(struct follower *f)
{
    struct buf *out = link_begin(f->link, WIRE_WANT);
    put_u32(out, f->refetch.topic->follow.slot);
    put_u64(out, f->refetch.first);
    put_u64(out, f->refetch.position);
    link_end(f->link);
    f->refetch.asked_ns = clock_ns();
}

/* ---- replicating again ---- */

/* Before anything goes, this node is one that may have forgotten: that is on its disk, and the leader is told so when
 * it connects anew. */
void refetch_by_replicating(struct follower *f, struct topic *t, uint64_t first)
{
    struct state *state = store_state(f->o.role->store);
    refetch_cancel(f);
    state->amnesiac = true;
    int rc = store_save_state(f->o.role->store);
    if (rc < 0)
        say_fatal(EXIT_IO, "mend", "the state cannot be written: %s", err_sentence(rc));
    say_warn("mend", "topic=%s has to be replicated again from offset=%llu on", t->name, (unsigned long long)first);
    t->follow.refetch_from = t->follow.refetch && t->follow.refetch_from < first ? t->follow.refetch_from : first;
    t->follow.refetch = true;
    upstream_fail(f, "damage here is mended by replicating again");
}

static bool is_damaged_from(const struct topic *t, uint64_t offset)
{
    uint64_t from, to;
    for (uint32_t i = 0; journal_damage(t->journal, i, &from, &to); i++)
        if (from >= offset || to > offset)
            return true;
    return false;
}

static bool is_member(const struct role *r)
{
    bool knows = r->has_seen && r->seen.version >= store_state(r->store)->seen_version;
    return !knows || members_have(&r->seen.set, &r->self);
}

/* May what is here from an offset on go before it has come again? If the leader is lost meanwhile, this node's copy
 * would be missed: it is a sound one of what this node acknowledged, on whose account it is in the set. The leader
 * asks it out of that, as it has become amnesiac and does not catch up without this topic, and from then on all of it
 * is on every member without this node. Where `copies` forbids that the leader goes on with fewer, nothing is cut,
 * and nothing is acknowledged either: two nodes differ, and which one is right is the operator's to say.
 * A copy that is damaged is no such: this node could not lead with it, and diverged/ keeps what is good of it. */
static bool may_forget(const struct follower *f, struct topic *t)
{
    struct journal_info info;
    uint64_t from = t->follow.refetch_from;
    journal_info(t->journal, &info);
    return from >= topic_own_mark(t)->at || info.epoch == 0 || is_damaged_from(t, from) || !is_member(f->o.role);
}

static int cut_from_refetch(struct topic *t)
{
    struct journal_info info;
    journal_info(t->journal, &info);
    int rc = topic_truncate(t, t->follow.refetch_from);
    if (rc == -ERR_DAMAGED || rc == -ERR_BAD_RANGE)
        rc = topic_restart(t, t->follow.refetch_from, info.epoch > 0 || info.damaged > 0);
    return rc;
}

bool refetch_cut(struct follower *f, struct topic *t)
{
    uint64_t messages = t->tail.at > t->follow.refetch_from ? t->tail.at - t->follow.refetch_from : 0;
    t->follow.refetch = messages > 0;
    if (!t->follow.refetch)
        return true;
    if (!may_forget(f, t)) {
        say_warn("mend", "topic=%s waits until this node is out of the synced set: its copy may be needed", t->name);
        return false;
    }
    int rc = cut_from_refetch(t);
    if (rc == -ERR_BUSY)
        return false;
    if (rc < 0) {
        say_error("mend", "topic=%s cannot be cut: %s", t->name, err_sentence(rc));
        return false;
    }
    say_warn("mend", "topic=%s is replicated again from offset=%llu on; what was there is kept in diverged/", t->name,
             (unsigned long long)t->follow.refetch_from);
    t->follow.refetch = false;
    f->diverged_messages += messages;
    return true;
}

/* ---- fetching a file ---- */

static void mend(struct follower *f, struct topic *t, uint64_t from)
{
    struct file_info info;
    if (journal_file(t->journal, from, &info) < 0)
        return;
    if (!info.sealed) {              /* the leader's grows while we would fetch it */
        refetch_by_replicating(f, t, info.first);
        return;
    }
    f->refetch.first = info.first;
    f->refetch.position = 0;
    int rc = repair_begin(t->journal, info.first, &f->refetch.repair);
    if (rc < 0) {
        say_error("mend", "cannot begin topic=%s file=%020llu: %s", t->name, (unsigned long long)info.first,
                  err_sentence(rc));
        return;
    }
    say_info("mend", "fetching a damaged file topic=%s file=%020llu", t->name, (unsigned long long)info.first);
    f->refetch.topic = t;
    want(f);
}

void refetch_continue(struct follower *f)
{
    struct topic *t;
    uint64_t from, to, now = clock_ns();
    if (f->refetch.topic != NULL && now - f->refetch.asked_ns > AGAIN_NS)
        refetch_cancel(f);              /* the leader is damaged there too, and has nobody to make room for */
    if (f->refetch.topic != NULL || now < f->refetch.at_ns)
        return;
    f->refetch.at_ns = now + LOOK_NS;
    size_t count = topics_count(f->o.topics);
    for (size_t i = 0; i < count; i++) {
        size_t at = (f->refetch.from + i) % count;
        t = topics_at(f->o.topics, at);
        if (t->follow.known && journal_damage(t->journal, 0, &from, &to)) {
            f->refetch.from = at + 1;
            mend(f, t, from);
            return;
        }
    }
}

/* A sound file that is another is the cluster's. One that is damaged too must not cost us ours, nor a full disk. */
static void failed(struct follower *f, struct topic *t, uint64_t first, int rc)
{
    say_warn("mend", "the leader's file cannot take the place of ours topic=%s file=%020llu: %s", t->name,
             (unsigned long long)first, err_sentence(rc));
    if (rc == -ERR_DIVERGED)
        refetch_by_replicating(f, t, first);
    else
        f->refetch.at_ns = clock_ns() + AGAIN_NS;
}

static void finish(struct follower *f)
{
    struct topic *t = f->refetch.topic;
    uint64_t first = f->refetch.first;
    int rc = repair_end(f->refetch.repair);
    f->refetch.repair = NULL;
    refetch_cancel(f);
    if (rc < 0) {
        failed(f, t, first, rc);
        return;
    }
    f->refetch.at_ns = f->held_ns = 0;
    f->refetched_files++;
    say_info("mend", "mended topic=%s file=%020llu", t->name, (unsigned long long)first);
}

void refetch_on_file(struct follower *f, struct wire *w)
{
    uint32_t slot = get_u32(w);
    uint64_t first = get_u64(w), position = get_u64(w), size = get_u64(w);
    struct topic *t = f->refetch.topic;
    if (w->bad || t == NULL || slot != t->follow.slot || first != f->refetch.first || position != f->refetch.position)
        return;
    if (size == 0 || w->rest.n == 0) {
        refetch_by_replicating(f, t, first);
        return;
    }
    int rc = repair_add(f->refetch.repair, w->rest);
    if (rc < 0) {
        say_error("mend", "cannot write topic=%s: %s", t->name, err_sentence(rc));
        refetch_cancel(f);
        return;
    }
    f->refetch.position += w->rest.n;
    if (f->refetch.position < size)
        want(f);
    else
        finish(f);
}

/* ---- both sound, and yet not the same ---- */

void follower_audited(struct follower *f, struct topic *t, const struct file_info *ours)
{
    if (f->phase != UPSTREAM_READY || !t->follow.placed || !ours->has_crc)
        return;
    struct buf *out = link_begin(f->link, WIRE_AUDIT);
    put_u32(out, t->follow.slot);
    put_u64(out, ours->first);
    put_u64(out, ours->next);
    put_u32(out, ours->crc);
    link_end(f->link);
}

void refetch_on_differs(struct follower *f, struct wire *w)
{
    uint32_t slot = get_u32(w);
    uint64_t first = get_u64(w);
    struct topic *t = slot < f->slots ? f->by_slot[slot] : NULL;
    if (!wire_done(w) || t == NULL || !t->follow.placed || first < topic_first(t) || first >= t->tail.at)
        return;
    say_error("mend", "a sealed file is sound and differs from the leader's topic=%s file=%020llu", t->name,
              (unsigned long long)first);
    refetch_by_replicating(f, t, first);
}
