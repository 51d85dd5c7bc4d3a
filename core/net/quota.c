#include "net/quota.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"

enum { NAME_MAX_SIZE = TOPIC_NAME_MAX + 1 };     /* of a token, after a byte for the class */

struct quota {
    char name[NAME_MAX_SIZE];
    unsigned char name_size;
    uint32_t generation, waiting;
    enum quota_class class;
    double requests, bytes;          /* in the buckets, at at_ns */
    uint64_t at_ns;
    struct list used;                /* in quotas.used, the last one used at the end */
};

struct quotas {
    struct quota_limits limits;
    struct quota *at;                /* owned; QUOTA_CLIENTS_MAX + 1, of which number 0 is not used; NULL at first */
    uint32_t count;
    struct map by_name;
    struct list used;
    struct quota_stats stats;
};

struct quotas *quotas_new(void)
{
    struct quotas *q = MEM_NEW(struct quotas);
    map_init(&q->by_name);
    list_init(&q->used);
    return q;
}

void quotas_free(struct quotas *q)
{
    map_fini(&q->by_name);
    mem_free(q->at);
    mem_free(q);
}

void quotas_set_limits(struct quotas *q, const struct quota_limits *limits)
{
    q->limits = *limits;
}

bool quotas_limit(const struct quotas *q)
{
    return q->limits.requests > 0 || q->limits.bytes > 0 || q->limits.waiting > 0;
}

/* ---- clients ---- */

static struct quota *quota_of(struct quotas *q, struct quota_ref ref)
{
    struct quota *c = ref.index == 0 ? NULL : &q->at[ref.index];
    return c != NULL && c->generation == ref.generation ? c : NULL;
}

/* A place that is free, or that of the client that has been quiet for the longest and does not wait; NULL: none. */
static struct quota *place_take(struct quotas *q)
{
    if (q->at == NULL)
        q->at = mem_new((QUOTA_CLIENTS_MAX + 1) * sizeof(*q->at));
    if (q->count < QUOTA_CLIENTS_MAX)
        return &q->at[++q->count];
    LIST_EACH(link, &q->used) {
        struct quota *c = LIST_OWNER(link, struct quota, used);
        if (c->waiting > 0)
            continue;
        list_remove(&c->used);
        map_remove(&q->by_name, slice_of(c->name, c->name_size));
        return c;
    }
    return NULL;
}

static double least_of(double a, double b)
{
    return a < b ? a : b;
}

/* A bucket may hold more than it can now, where a reload has made its limit lower. */
static void fill(const struct quotas *q, struct quota *c, uint64_t now_ns)
{
    double seconds = now_ns > c->at_ns ? (double)(now_ns - c->at_ns) / (double)NS_PER_S : 0;
    double requests = (double)q->limits.requests, bytes = (double)q->limits.bytes;
    c->requests = least_of(requests, c->requests + seconds * requests);
    c->bytes = least_of(bytes, c->bytes + seconds * bytes);
    if (now_ns > c->at_ns)
        c->at_ns = now_ns;
}

struct quota_ref quota_client(struct quotas *q, enum quota_class class, slice name, uint64_t now_ns)
{
    char key[NAME_MAX_SIZE];
    size_t n = name.n < NAME_MAX_SIZE - 1 ? name.n : NAME_MAX_SIZE - 1;
    key[0] = (char)class;
    memcpy(key + 1, name.p, n);
    struct quota *c = map_get(&q->by_name, slice_of(key, n + 1));
    if (c == NULL) {
        c = place_take(q);
        if (c == NULL)
            return (struct quota_ref){0, 0};
        uint32_t generation = c->generation + 1;
        *c = (struct quota){.name_size = (unsigned char)(n + 1), .generation = generation, .class = class,
                            .requests = (double)q->limits.requests, .bytes = (double)q->limits.bytes, .at_ns = now_ns};
        memcpy(c->name, key, n + 1);
        map_put(&q->by_name, slice_of(c->name, c->name_size), c);
    } else {
        list_remove(&c->used);
    }
    list_push(&q->used, &c->used);
    return (struct quota_ref){(uint32_t)(c - q->at), c->generation};
}

/* ---- using ---- */

static int over(struct quotas *q, const struct quota *c, enum quota_limit limit, double seconds, uint64_t *after_ns)
{
    quota_refused(q, c->class, limit);
    *after_ns = (uint64_t)(seconds * (double)NS_PER_S) + 1;
    return -ERR_TOO_MANY;
}

int quota_request(struct quotas *q, struct quota_ref ref, uint64_t bytes, uint64_t now_ns, enum quota_limit *limit,
                  uint64_t *after_ns)
{
    struct quota *c = quota_of(q, ref);
    if (c == NULL)
        return 0;
    fill(q, c, now_ns);
    q->stats.requests[c->class]++;
    *limit = q->limits.requests > 0 && c->requests < 1 ? QUOTA_REQUESTS : QUOTA_BYTES;
    if (*limit == QUOTA_REQUESTS)
        return over(q, c, *limit, (1 - c->requests) / (double)q->limits.requests, after_ns);
    if (q->limits.bytes > 0 && c->bytes <= 0)
        return over(q, c, *limit, (1 - c->bytes) / (double)q->limits.bytes, after_ns);
    c->requests -= 1;
    c->bytes -= (double)bytes;
    return 0;
}

void quota_sent(struct quotas *q, struct quota_ref ref, uint64_t bytes)
{
    struct quota *c = quota_of(q, ref);
    if (c != NULL)
        c->bytes -= (double)bytes;
}

uint64_t quota_overdrawn_ns(struct quotas *q, struct quota_ref ref, uint64_t now_ns)
{
    struct quota *c = quota_of(q, ref);
    if (c == NULL || q->limits.bytes == 0)
        return 0;
    fill(q, c, now_ns);
    return c->bytes >= 0 ? 0 : (uint64_t)(-c->bytes / (double)q->limits.bytes * (double)NS_PER_S) + 1;
}

bool quota_wait(struct quotas *q, struct quota_ref ref)
{
    struct quota *c = quota_of(q, ref);
    if (c == NULL)
        return true;
    if (q->limits.waiting > 0 && c->waiting >= q->limits.waiting) {
        quota_refused(q, c->class, QUOTA_WAITING);
        return false;
    }
    c->waiting++;
    return true;
}

void quota_waited(struct quotas *q, struct quota_ref ref)
{
    struct quota *c = quota_of(q, ref);
    if (c != NULL)
        c->waiting--;
}

/* ---- counting ---- */

void quota_refused(struct quotas *q, enum quota_class class, enum quota_limit limit)
{
    q->stats.refused[class][limit]++;
}

void quotas_stats(const struct quotas *q, struct quota_stats *out)
{
    *out = q->stats;
    out->clients = (uint32_t)q->by_name.count;
}
