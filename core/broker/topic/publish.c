#include "broker/topic/publish.h"

#include "base/err.h"
#include "base/least.h"
#include "store/replication/epochs.h"

/* It is in the log: the batch itself says where its messages end, if it can still be read. */
static void found(struct topic *t, struct publish *p, const struct sent *sent)
{
    struct batch_head head;
    t->count.duplicates++;
    p->duplicate = true;
    p->placed = sent->has_first && journal_batch_of(t->journal, sent->first, &head) == 0;
    p->want = least(sent->first + 1, t->tail.at);
    if (!p->placed)
        return;
    p->first = head.first;
    p->count = head.count;
    p->epoch = head.epoch;
    p->want = head.first + head.count;
}

/* 0: it may be appended, or is a duplicate. */
static int ask_senders(struct topic *t, struct publish *p)
{
    struct sent sent;
    int rc = journal_sent(t->journal, &p->append->origin, p->append->time_ms, &sent);
    if (rc < 0)
        return rc;
    p->number = sent.number;
    switch (sent.is) {
    case SENT_GAP:
        t->count.gaps++;
        return -ERR_SEQUENCE_GAP;
    case SENT_FENCED:
        return -ERR_FENCED;
    case SENT_BEFORE:
        found(t, p, &sent);
        return 0;
    default:
        return 0;
    }
}

int topics_publish(struct topic *t, struct publish *p)
{
    int rc = topics_may_append(t);
    if (rc == 0 && p->append->origin.kind != ORIGIN_NONE) {
        p->append->time_ms = wall_clock_now(t->shared->clock);
        rc = ask_senders(t, p);
    }
    if (rc < 0 || p->duplicate)
        return rc;
    if (p->expect != NULL && !topic_is_next(t, p->expect))
        return -ERR_PRECONDITION;
    rc = topic_append(t, p->append, &p->first);
    p->placed = true;
    p->count = p->append->count;
    p->epoch = p->append->epoch;
    p->want = p->first + p->count;
    return rc;
}
