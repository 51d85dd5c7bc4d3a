/*
 * topic:read; and req:read, for what most readers ask, in one call and without a table.
 */
#include "base/clock.h"
#include "base/err.h"
#include "base/least.h"
#include "script/bind/arg.h"
#include "script/bind/bind.h"
#include "script/http/request.h"
#include "script/message/batch.h"
#include "script/topic/topic_handle.h"

#define USAGE "topic:read({from=, to=, limit=, bytes=, epoch=, format=\"records\"})"
#define READ "req:read(topic, \"json\" | \"ndjson\" | \"records\")"

struct options {
    struct batch_range range;
    uint64_t epoch;                   /* of the message before `from`, as the reader has it; or EPOCH_UNKNOWN */
    bool records;
    enum batch_format format;         /* where it is no records */
};

/* More than may be had at once is as much as may be had. */
static void check_options(lua_State *L, struct options *o)
{
    slice format = {0};
    const struct arg_field fields[] = {
        {"from", ARG_WHOLE, &o->range.from},   {"to", ARG_WHOLE, &o->range.to},
        {"limit", ARG_WHOLE, &o->range.limit}, {"bytes", ARG_WHOLE, &o->range.bytes},
        {"epoch", ARG_WHOLE, &o->epoch},       {"format", ARG_TEXT, &format},
        {NULL, ARG_END, NULL}};
    arg_fields(L, 2, fields, USAGE);
    if (format.p != NULL && !slice_eq(format, SLICE("records")))
        arg_fail(L, USAGE, "there is no format %s", format.p);
    o->records = format.p != NULL;
    o->range.limit = least(o->range.limit, READ_COUNT_MAX);
    o->range.bytes = least(o->range.bytes, READ_SIZE_MAX);
}

static int fail(lua_State *L, struct topic *t, int rc, uint64_t from)
{
    if (rc == -ERR_GONE)
        return push_fail_because(L, rc, "offset %llu is gone; the earliest is %llu", (unsigned long long)from,
                                 (unsigned long long)topic_first(t));
    return push_fail(L, rc);
}

static void count_read(struct topic *t, uint64_t messages, uint64_t bytes)
{
    t->count.read_messages += messages;
    t->count.read_bytes += bytes;
}

static struct read_facts facts_of(lua_State *L, struct topic *t, const struct batch_range *range, uint64_t next)
{
    uint64_t epoch = topics_role(t->topics)->epoch;
    const struct cluster *cluster = vm_services(L)->cluster;
    return (struct read_facts){
        .id_epoch = t->id.epoch, .id_offset = t->id.offset, .asked = range->from, .next = next,
        .epoch = epoch, .epoch_now = epoch, .earliest = topic_first(t),
        .staleness_ms = cluster == NULL ? -1 : cluster_staleness_ms(cluster),
        .fixed = next < topic_readable(t) || next == range->to,
    };
}

/* The epoch of the message before `offset`, which a token for `offset` carries: with a later one, a client that has
 * read what is about to be cut would not be told. EPOCH_UNKNOWN where that message cannot be read, be it damaged, gone
 * or not here yet: a node that has it would refuse a guess. Before offset 0 there is none, so the present epoch, `now`,
 * will do. */
static uint64_t epoch_before(struct topic *t, uint64_t offset, uint64_t now)
{
    struct buf one = {0};
    struct batch_head head;
    uint64_t next;
    if (offset == 0)
        return now;
    bool there = offset > topic_first(t) && offset <= topic_readable(t) &&
                 topic_read(t, offset - 1, offset, 1, &one, &next) == 0 &&
                 batch_head_read(one.data + one.at, &head) == 0;
    buf_fini(&one);
    return there ? head.epoch : EPOCH_UNKNOWN;
}

/* Of a read that ends at `next`. One that gave nothing says again what the reader has: what this node has there may be
 * cut already, or be another's. */
static uint64_t epoch_to_go_on(struct topic *t, const struct options *o, uint64_t next, uint64_t now)
{
    return next == o->range.from && o->epoch != EPOCH_UNKNOWN ? o->epoch : epoch_before(t, next, now);
}

/* Offsets have no holes, so a limit of messages is an end, too: nothing is read only to be left out. */
static uint64_t end_of(const struct batch_range *range)
{
    return least(range->to, range->from + range->limit);
}

static int read_batch(lua_State *L, struct topic *t, const struct options *o)
{
    const struct batch_range *range = &o->range;
    uint64_t next, to = end_of(range);
    struct batch *b = object_new(L, KIND_BATCH, sizeof(*b), 0);
    memcpy(b->topic, t->name, sizeof(b->topic));
    b->format = o->format;
    if (range->from < to && range->from < topic_readable(t)) {
        int rc = topic_read(t, range->from, to, (size_t)range->bytes, &b->raw, &next);
        if (rc < 0)
            return fail(L, t, rc, range->from);
    }
    vm_claim(L, b->raw.cap);
    b->claimed = b->raw.cap;
    batch_cut(b, range);
    b->facts = facts_of(L, t, range, b->to);
    b->facts.epoch = b->count > 0 ? b->epoch : epoch_to_go_on(t, o, b->to, b->facts.epoch_now);
    if (b->count == 0)
        b->epoch = b->facts.epoch;
    count_read(t, b->count, buf_size(&b->raw));
    return 1;
}

static int read_range(lua_State *L, struct topic *t, const struct options *o)
{
    const struct batch_range *range = &o->range;
    struct file_range file = {.fd = -1, .first = range->from, .next = range->from};
    struct range *r = object_new(L, KIND_RANGE, sizeof(*r), 0);
    r->fd = -1;
    uint64_t to = least(end_of(range), topic_readable(t));
    if (range->from < to) {
        int rc = journal_range(t->journal, range->from, to, (size_t)range->bytes, &file);
        if (rc < 0)
            return fail(L, t, rc, range->from);
    }
    r->fd = file.fd;
    r->bytes = file.bytes;
    r->position = file.position;
    r->size = file.size;
    r->first = file.first;
    r->next = file.next;
    r->facts = facts_of(L, t, range, r->next);
    r->facts.epoch = file.epoch > 0 ? file.epoch : epoch_to_go_on(t, o, r->next, r->facts.epoch_now);
    vm_claim(L, r->bytes.cap);
    r->claimed = r->bytes.cap;
    count_read(t, r->next - r->first, r->size);
    return 1;
}

static int read_any(lua_State *L, struct topic *t, const struct options *o)
{
    return o->records ? read_range(L, t, o) : read_batch(L, t, o);
}

/* topic:read(range) -> batch | nil, message, code */
int l_topic_read(lua_State *L)
{
    struct topic_handle *h = handle_check(L, USAGE);
    struct options o = {.range = {UINT64_MAX, UINT64_MAX, READ_COUNT_DEFAULT, READ_SIZE_DEFAULT}};
    struct topic *t;
    check_options(L, &o);
    int rc = handle_find(L, h, &t);
    if (rc < 0)
        return handle_fail(L, h, rc);
    if (o.range.from == UINT64_MAX)
        o.range.from = topic_first(t);
    if (o.range.to < o.range.from)
        return push_fail_because(L, -ERR_BAD_RANGE, "the range from %llu to %llu is reversed",
                                 (unsigned long long)o.range.from, (unsigned long long)o.range.to);
    return read_any(L, t, &o);
}

/* ---- what a request asks for ---- */

static void check_form(lua_State *L, int index, struct options *o)
{
    slice form = arg_text(L, index, "the form", READ);
    o->records = slice_eq(form, SLICE("records"));
    if (!o->records && !batch_format_named(form, &o->format))
        arg_fail(L, READ, "there is no form %s", form.p);
}

/* Whether the client has what lies on top. */
static bool is_known(lua_State *L, const struct http_request *r, const struct options *o)
{
    void *object = lua_touserdata(L, -1);
    if (o->records)
        return facts_known(L, &((struct range *)object)->facts, r, SLICE("records"));
    return facts_known(L, &((struct batch *)object)->facts, r, batch_form(object));
}

static int push_not_here(lua_State *L)
{
    lua_pushboolean(L, 0);
    return 1;
}

static int read_waited(lua_State *L, int status, lua_KContext context);

/* `may_wait`: where there is nothing yet and the request would rather wait, that comes first. */
static int read_asked(lua_State *L, bool may_wait)
{
    const struct http_request *r = request_check(L, 1, READ);
    slice name = arg_text(L, 2, "topic", READ);
    struct options o = {0};
    struct question q;
    struct topic *t;
    uint64_t found, end;
    check_form(L, 3, &o);
    if (!request_question(r, &q))
        return push_not_here(L);
    o.range = (struct batch_range){q.from, q.to, q.limit, q.bytes};
    o.epoch = q.epoch;
    int rc = name_find(L, name, &t);
    if (rc < 0)
        return name_fail(L, name, rc);
    if (q.token && topic_check(t, q.epoch, q.from, &found, &end) < 0)
        return push_not_here(L);
    if (may_wait && q.wait_s > 0 && q.from >= topic_readable(t))
        return wait_readable(L, t, q.from, (uint32_t)(q.wait_s * MS_PER_S), read_waited);
    int results = read_any(L, t, &o);
    if (results > 1)
        return results;
    lua_pushboolean(L, is_known(L, r, &o));
    return 2;
}

/* What was there before may have been cut, or deleted, meanwhile. A client that sends no more may still read: it gets
 * what there is. */
static int read_waited(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    (void)context;
    int rc = (int)lua_tointeger(L, -1);
    if (rc < 0 && rc != -ERR_TIMEOUT && rc != -ERR_CANCELLED)
        return push_fail(L, rc);
    lua_pop(L, 1);
    return read_asked(L, false);
}

/* req:read(topic, form) -> batch, known | nil, message, code; false for what is not to be answered here: what a query
 * says besides, and with which words, is scripts/routes/message.lua's, and how a token is refused. */
int l_request_read(lua_State *L)
{
    lua_settop(L, 3);
    return read_asked(L, true);
}
