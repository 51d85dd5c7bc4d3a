#include "broker/topic.h"

#include "base/err.h"
#include "broker/topics.h"

static bool is_name_byte(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
           c == '-';
}

bool topic_name_ok(slice name)
{
    if (name.n == 0 || name.n > TOPIC_NAME_MAX)
        return false;
    if (name.p[0] == '.' || name.p[0] == '-' || name.p[0] == '_')
        return false;
    for (size_t i = 0; i < name.n; i++)
        if (!is_name_byte(name.p[i]))
            return false;
    return true;
}

int topic_append(struct topic *t, struct append *a, uint64_t *first)
{
    int rc = topics_may_append(t);
    if (rc < 0)
        return rc;
    a->epoch = topics_epoch(t->topics);
    rc = journal_append(t->journal, a, first);
    if (rc < 0)
        return rc;
    mark_advance(&t->tail, *first + a->count);
    t->count.appended_messages += a->count;
    t->count.appended_bytes += a->messages.n;
    return 0;
}

/* The set of a node of its own is itself, so `peers` moves with what the durability asks of this node. */
static struct mark *own_mark(struct topic *t)
{
    return t->settings.durability == DURABILITY_COMMIT ? &t->disk : &t->written;
}

struct mark *topic_ack_mark(struct topic *t)
{
    return t->settings.replication == REPLICATION_LIVE ? &t->peers : own_mark(t);
}

uint64_t topic_readable(struct topic *t)
{
    uint64_t at = topic_ack_mark(t)->at;
    if (at > t->readable)
        t->readable = at;
    return t->readable;
}

void topic_moved(struct topic *t, uint64_t written, uint64_t disk)
{
    mark_advance(&t->written, written);
    mark_advance(&t->disk, disk);
    uint64_t own = own_mark(t)->at;
    if (own > t->peers.at)
        mark_advance(&t->peers, own);
}

uint64_t topic_first(const struct topic *t)
{
    struct journal_info info;
    journal_info(t->journal, &info);
    return info.first;
}

int topic_read(struct topic *t, uint64_t from, uint64_t to, size_t bytes_max, struct buf *out, uint64_t *next)
{
    uint64_t end = topic_readable(t);
    if (to > end)
        to = end;
    return journal_read(t->journal, from, to, bytes_max, out, next);
}
