#include "store/senders/senders.h"

#include "base/crc32c.h"
#include "base/ensure.h"
#include "base/err.h"
#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"

enum { KINDS = 3 };

_Static_assert(PRODUCER_ID_MAX <= IDEMPOTENCY_KEY_MAX, "a name of any kind fits");
_Static_assert((SENDER_KNOWN & (SENDER_KNOWN - 1)) == 0, "rings double");

struct sender {
    struct list order;     /* in senders.orders of its kind, in the order of last batches */
    uint64_t epoch, last;
    int64_t time_ms;       /* of its last batch */
    uint64_t *firsts;      /* of the last `known` sequences; that of n is at n % cap. `one` while cap is 1 */
    uint64_t one;
    uint8_t known, cap;
    uint8_t kind;          /* enum origin_kind, less one */
    uint8_t name_size;
    char name[];           /* id or key */
};

struct senders {
    struct map by_name[KINDS];
    struct list orders[KINDS];
    struct sender *asked;  /* the last one: what is asked about is noted next. NULL: it was forgotten since */
    size_t size;           /* of all records of a snapshot */
};

static size_t kind_of(const struct origin *o)
{
    ENSURE(o->kind != ORIGIN_NONE);
    return (size_t)o->kind - 1;
}

static const struct senders_bound *bound_of(const struct senders_bounds *bounds, size_t kind)
{
    return kind == ORIGIN_PRODUCER - 1 ? &bounds->producers : kind == ORIGIN_KEY - 1 ? &bounds->keys : &bounds->letters;
}

struct senders *senders_new(void)
{
    struct senders *s = MEM_NEW(struct senders);
    for (size_t i = 0; i < KINDS; i++) {
        map_init(&s->by_name[i]);
        list_init(&s->orders[i]);
    }
    return s;
}

/* -- one sender ------------------------------------------------------------------------------------------- */

/* A record of a snapshot: these numbers, what a batch states (enum origin_kind and the name), the offsets from the
 * oldest on. */
struct record {
    uint64_t epoch, last;
    int64_t time_ms;
    uint8_t known, stated_size, unused[6];
};

static size_t record_size(const struct sender *p)
{
    return sizeof(struct record) + 1 + p->name_size + p->known * sizeof *p->firsts;
}

static slice name_of(const struct sender *p)
{
    return slice_of(p->name, p->name_size);
}

static void sender_free(struct sender *p)
{
    if (p->firsts != &p->one)
        mem_free(p->firsts);
    mem_free(p);
}

static struct sender *sender_add(struct senders *s, size_t kind, slice name)
{
    struct sender *p = mem_new(sizeof *p + name.n);
    p->kind = (uint8_t)kind;
    p->name_size = (uint8_t)name.n;
    memcpy(p->name, name.p, name.n);
    p->firsts = &p->one;
    p->cap = 1;
    map_put(&s->by_name[kind], name_of(p), p);
    list_push(&s->orders[kind], &p->order);
    s->size += record_size(p);
    return p;
}

static void sender_forget(struct senders *s, struct sender *p)
{
    map_remove(&s->by_name[p->kind], name_of(p));
    list_remove(&p->order);
    s->size -= record_size(p);
    if (s->asked == p)
        s->asked = NULL;
    sender_free(p);
}

/* Makes room for one more offset, up to SENDER_KNOWN. */
static void sender_grow(struct sender *p)
{
    uint64_t *grown = mem_new(2 * p->cap * sizeof *grown);
    for (uint64_t i = 0; i < p->known; i++)
        grown[(p->last - i) % (2 * p->cap)] = p->firsts[(p->last - i) % p->cap];
    if (p->firsts != &p->one)
        mem_free(p->firsts);
    p->firsts = grown;
    p->cap = (uint8_t)(2 * p->cap);
}

/* Sequence `last` of this epoch is at `first`; the ones before stay known if it follows them. */
static void sender_sent(struct sender *p, uint64_t epoch, uint64_t sequence, uint64_t first)
{
    bool follows = p->known > 0 && epoch == p->epoch && sequence == p->last + 1;
    if (!follows)
        p->known = 0;
    else if (p->known == p->cap && p->cap < SENDER_KNOWN)
        sender_grow(p);
    p->epoch = epoch;
    p->last = sequence;
    p->firsts[sequence % p->cap] = first;
    if (p->known < p->cap)
        p->known++;
}

/* -- all -------------------------------------------------------------------------------------------------- */

void senders_free(struct senders *s)
{
    if (s == NULL)
        return;
    for (size_t kind = 0; kind < KINDS; kind++) {
        LIST_EACH(node, &s->orders[kind])
            sender_free(LIST_OWNER(node, struct sender, order));
        map_fini(&s->by_name[kind]);
    }
    mem_free(s);
}

size_t senders_count(const struct senders *s)
{
    size_t n = 0;
    for (size_t kind = 0; kind < KINDS; kind++)
        n += s->by_name[kind].count;
    return n;
}

static struct sender *find(const struct senders *s, const struct origin *o)
{
    size_t kind = kind_of(o);
    struct sender *p = s->asked;
    bool same = p != NULL && p->kind == kind && slice_eq(name_of(p), o->name);
    return same ? p : map_get(&s->by_name[kind], o->name);
}

void senders_note(struct senders *s, const struct senders_bounds *bounds, const struct batch_head *head,
                  const struct origin *o)
{
    size_t kind = kind_of(o);
    const struct senders_bound *b = bound_of(bounds, kind);
    struct sender *p = find(s, o);
    if (p == NULL)
        p = sender_add(s, kind, o->name);
    s->size -= record_size(p);
    sender_sent(p, o->epoch, o->sequence, head->first);
    s->size += record_size(p);
    p->time_ms = head->time_ms;
    list_remove(&p->order);
    list_push(&s->orders[kind], &p->order);
    for (;;) {
        struct sender *oldest = list_first(&s->orders[kind], struct sender, order);
        if (oldest == p || (s->by_name[kind].count <= b->most && head->time_ms - oldest->time_ms <= b->age_ms))
            break;
        sender_forget(s, oldest);
    }
}

struct sent senders_ask(struct senders *s, const struct senders_bounds *bounds, const struct origin *o,
                        int64_t now_ms)
{
    const struct sender *p = s->asked = find(s, o);
    if (p != NULL && o->kind != ORIGIN_LETTER && now_ms - p->time_ms > bound_of(bounds, kind_of(o))->age_ms)
        p = NULL;
    if (o->kind != ORIGIN_PRODUCER && p != NULL)
        return (struct sent){.is = SENT_BEFORE, .has_first = true, .first = p->one};
    if (p != NULL && o->epoch < p->epoch)
        return (struct sent){.is = SENT_FENCED, .number = p->epoch};
    uint64_t next = p != NULL && o->epoch == p->epoch ? p->last + 1 : 0;
    if (o->sequence >= next)
        return (struct sent){.is = o->sequence == next ? SENT_NEW : SENT_GAP, .number = next};
    bool known = p->last - o->sequence < p->known;
    uint64_t of = known ? o->sequence : p->last - p->known + 1u;
    return (struct sent){.is = SENT_BEFORE, .has_first = known, .first = p->firsts[of % p->cap]};
}

bool senders_last(const struct senders *s, const struct senders_bounds *bounds, struct origin *o, int64_t now_ms)
{
    const struct sender *p = find(s, o);
    if (p == NULL || now_ms - p->time_ms > bound_of(bounds, kind_of(o))->age_ms)
        return false;
    o->epoch = p->epoch;
    o->sequence = p->last;
    return true;
}

/* -- snapshots -------------------------------------------------------------------------------------------- */

#define SENDERS_MAGIC UINT64_C(0x3130534445444e53)      /* "SNDEDS01" on a little-endian machine */

struct snapshot_head {
    uint64_t magic;
    struct senders_place at;
    uint64_t size;         /* of the records */
    uint32_t unused, crc;  /* of all before it and the records */
};

static uint32_t snapshot_crc(const struct snapshot_head *h, const char *records)
{
    return crc32c(crc32c(0, h, offsetof(struct snapshot_head, crc)), records, h->size);
}

size_t senders_size(const struct senders *s)
{
    return sizeof(struct snapshot_head) + s->size;
}

static char *put(char *to, const void *p, size_t n)
{
    memcpy(to, p, n);
    return to + n;
}

/* A sender as it was when the log ended at `offset`, as far as the offsets of its last requests tell: a sender none of
 * whose known requests is older has sent SENDER_KNOWN since, or has sent nothing before. */
static char *record_write(char *to, const struct sender *p, uint64_t offset)
{
    struct record r = {.epoch = p->epoch, .last = p->last, .time_ms = p->time_ms, .known = p->known,
                       .stated_size = (uint8_t)(1 + p->name_size)};
    uint8_t kind = p->kind + 1;
    for (; r.known > 0 && p->firsts[r.last % p->cap] >= offset; r.known--)
        r.last -= r.known > 1;
    if (r.known == 0)
        return to;
    to = put(to, &r, sizeof r);
    to = put(to, &kind, sizeof kind);
    to = put(to, p->name, p->name_size);
    for (uint64_t i = r.known; i > 0; i--)
        to = put(to, &p->firsts[(r.last - i + 1) % p->cap], sizeof *p->firsts);
    return to;
}

bool senders_save(const struct senders *s, const struct senders_place *at, struct buf *out)
{
    char *begin = buf_reserve(out, senders_size(s)), *to = begin + sizeof(struct snapshot_head);
    for (size_t kind = 0; kind < KINDS; kind++)
        LIST_EACH(node, &s->orders[kind])
            to = record_write(to, LIST_OWNER(node, struct sender, order), at->offset);
    ENSURE((size_t)(to - begin) <= senders_size(s));
    struct snapshot_head head = {.magic = SENDERS_MAGIC, .at = *at};
    head.size = (uint64_t)(to - begin) - sizeof head;
    head.crc = snapshot_crc(&head, begin + sizeof head);
    memcpy(begin, &head, sizeof head);
    out->end += (size_t)(to - begin);
    return head.size > 0;
}

static bool take(slice *rest, void *to, size_t n)
{
    if (rest->n < n)
        return false;
    memcpy(to, rest->p, n);
    *rest = slice_skip(*rest, n);
    return true;
}

/* All of a snapshot is below the offset at which it was made. */
static bool record_read(struct senders *s, slice *rest, uint64_t offset)
{
    struct record r;
    if (!take(rest, &r, sizeof r) || r.known < 1 || r.known > SENDER_KNOWN || r.known > r.last + 1)
        return false;
    if (r.time_ms < 0 || r.time_ms > JSON_INTEGER_MAX)
        return false;
    if (r.stated_size < 2 || r.stated_size > 1 + IDEMPOTENCY_KEY_MAX || rest->n < r.stated_size)
        return false;
    size_t kind = (unsigned char)rest->p[0] - 1u;
    slice name = slice_of(rest->p + 1, r.stated_size - 1u);
    if (kind >= KINDS || map_get(&s->by_name[kind], name) != NULL)
        return false;
    *rest = slice_skip(*rest, r.stated_size);
    struct sender *p = sender_add(s, kind, name);
    s->size -= record_size(p);
    for (uint64_t i = r.known; i > 0; i--) {
        uint64_t first;
        if (!take(rest, &first, sizeof first) || first >= offset)
            break;
        sender_sent(p, r.epoch, r.last - i + 1, first);
    }
    s->size += record_size(p);
    p->time_ms = r.time_ms;
    return p->known == r.known;
}

int senders_load(slice bytes, const struct senders_place *of, uint64_t *epoch, struct senders **out)
{
    struct snapshot_head h;
    if (!take(&bytes, &h, sizeof h) || h.magic != SENDERS_MAGIC || h.size != bytes.n
        || h.at.topic.epoch != of->topic.epoch || h.at.topic.offset != of->topic.offset || h.at.offset != of->offset
        || h.crc != snapshot_crc(&h, bytes.p))
        return -ERR_DAMAGED;
    struct senders *s = senders_new();
    bool good = true;
    while (good && bytes.n > 0)
        good = record_read(s, &bytes, of->offset);
    if (!good) {
        senders_free(s);
        return -ERR_DAMAGED;
    }
    *epoch = h.at.epoch;
    *out = s;
    return 0;
}
