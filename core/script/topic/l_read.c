/*
 * topic:read; and req:read, which serves the usual form of a read in one call, without a Lua table of its range.
 */
#include <lauxlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/least.h"
#include "broker/group/filter.h"
#include "script/bind/arg.h"
#include "script/bind/object.h"
#include "script/bind/result.h"
#include "script/http/read_query.h"
#include "script/http/request.h"
#include "script/message/records.h"
#include "script/message/render.h"
#include "script/topic/tables.h"
#include "script/topic/topic_handle.h"

#define USAGE "topic:read({from=, to=, limit=, bytes=, epoch=, format=\"records\", whole=, filter={key=, headers=}})"
#define READ "req:read([topic], \"json\" | \"ndjson\" | \"records\")"

struct read_options {
    struct batch_range range;
    uint64_t epoch;                   /* of the message before `from` in the reader's copy, or EPOCH_UNKNOWN */
    bool records;
    bool whole;                       /* `bytes` divides no stored batch */
    enum batch_format format;         /* of a batch, when !records */
    slice filter;                     /* as broker/group/filter.h has it; empty: none */
};

static void add_condition(lua_State *L, struct buf *out, slice name, slice value)
{
    if (name.n + value.n > GROUP_FILTER_MAX)
        arg_fail(L, USAGE, "filter must have at most %d bytes", GROUP_FILTER_MAX);
    header_write(out, name, value);
}

/* The table at `index` as a filter, in a scratch buffer. */
static slice check_filter(lua_State *L, int index)
{
    struct buf *out = vm_scratch(vm_of(L)), *name = vm_scratch_keys(vm_of(L));
    slice key = {0};
    int headers = 0;
    const struct arg_field fields[] = {
        {"key", ARG_TEXT, &key}, {"headers", ARG_TABLE, &headers}, {NULL, ARG_END, NULL}};
    arg_fields(L, index, fields, USAGE);
    if (key.p != NULL)
        add_condition(L, out, SLICE("k"), key);
    for (lua_pushnil(L); headers != 0 && lua_next(L, headers); lua_pop(L, 1)) {
        buf_clear(name);
        buf_add_char(name, 'h');
        buf_add_slice(name, arg_text(L, -2, "a name in filter.headers", USAGE));
        add_condition(L, out, buf_slice(name), arg_text(L, -1, "a value in filter.headers", USAGE));
    }
    const char *problem = filter_check(buf_slice(out));
    if (problem != NULL)
        arg_fail(L, USAGE, "filter %s", problem);
    return buf_slice(out);
}

/* Limits above the maximum are lowered to it. */
static void check_options(lua_State *L, struct read_options *o)
{
    slice format = {0};
    int whole = 0, filter = 0;
    const struct arg_field fields[] = {
        {"from", ARG_WHOLE, &o->range.from},   {"to", ARG_WHOLE, &o->range.to},
        {"limit", ARG_WHOLE, &o->range.limit}, {"bytes", ARG_WHOLE, &o->range.bytes},
        {"epoch", ARG_WHOLE, &o->epoch},       {"format", ARG_TEXT, &format},
        {"whole", ARG_ANY, &whole},            {"filter", ARG_TABLE, &filter},
        {NULL, ARG_END, NULL}};
    arg_fields(L, 2, fields, USAGE);
    if (format.p != NULL && !slice_eq(format, SLICE("records")))
        arg_fail(L, USAGE, "there is no format %s", format.p);
    o->records = format.p != NULL;
    if (filter != 0)
        o->filter = check_filter(L, filter);
    if (o->filter.n > 0 && o->records)
        arg_fail(L, USAGE, "stored batches cannot be filtered");
    o->whole = whole != 0 && lua_toboolean(L, whole);
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

static struct read_headers headers_of(lua_State *L, struct topic *t, const struct batch_range *range, uint64_t next)
{
    uint64_t epoch = topics_role(t->topics)->epoch;
    struct cluster *cluster = vm_services(L)->cluster;
    return (struct read_headers){
        .id_epoch = t->id.epoch, .id_offset = t->id.offset, .asked = range->from, .next = next,
        .epoch = epoch, .epoch_now = epoch, .earliest = topic_first(t),
        .staleness_ms = cluster == NULL ? -1 : cluster_staleness_ms(cluster),
        .fixed = next < topic_readable(t) || next == range->to,
    };
}

/* The epoch of the message before `offset`, which a token for `offset` carries: with a later epoch, a client that has
 * read messages that are about to be truncated would not be told. EPOCH_UNKNOWN when that message cannot be read
 * (damaged, deleted, or not on this node yet), because a node that has it would refuse a guess. Before offset 0 there
 * is no message, so the present epoch, `now`, is right. */
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

/* The epoch for the token of a read that returned nothing and ends at `next`. It repeats the reader's own, if known:
 * this node's message there may belong to another history. */
static uint64_t epoch_of_empty_read(struct topic *t, const struct read_options *o, uint64_t next, uint64_t now)
{
    return next == o->range.from && o->epoch != EPOCH_UNKNOWN ? o->epoch : epoch_before(t, next, now);
}

/* Offsets have no gaps, so the limit of messages also bounds the range: nothing is read that is then left out. */
static uint64_t range_end(const struct batch_range *range)
{
    return least(range->to, range->from + range->limit);
}

/* Reads the log in pieces, and keeps those with a message that the filter takes, until one bound is reached. What was
 * found before damage is an answer. */
static int read_filtered(struct topic *t, struct batch *b, struct batch_range range)
{
    size_t looked = 0, size = 0, before;
    uint64_t next, count;
    bool more = true;
    range.to = least(range.to, topic_readable(t));
    b->from = b->to = range.from;
    while (more && b->to < range.to && looked < READ_FILTER_SIZE) {
        before = buf_size(&b->raw);
        count = b->count;
        int rc = topic_read(t, b->to, range.to, READ_FILTER_PIECE, &b->raw, &next);
        if (rc < 0)
            return b->to > b->from ? 0 : rc;
        looked += buf_size(&b->raw) - before;
        more = next > b->to && batch_sift(b, before, &range, &size);
        if (b->count == count)
            b->raw.end = b->raw.at + before;
    }
    return 0;
}

static int read_batch(lua_State *L, struct topic *t, const struct read_options *o)
{
    const struct batch_range *range = &o->range;
    uint64_t next, to = range_end(range);
    struct batch *b = object_new(L, KIND_BATCH, sizeof(*b), 0);
    memcpy(b->topic, t->name, strlen(t->name) + 1);
    b->format = o->format;
    struct batch_range cut = *range;
    int rc = 0;
    if (o->whole)
        cut.bytes = UINT64_MAX;
    buf_add_slice(&b->filter, o->filter);
    if (o->filter.n > 0)
        rc = read_filtered(t, b, cut);
    else if (range->from < to && range->from < topic_readable(t))
        rc = topic_read(t, range->from, to, (size_t)range->bytes, &b->raw, &next);
    if (rc < 0)
        return fail(L, t, rc, range->from);
    memory_claim(vm_memory(vm_of(L)), L, b->raw.cap);
    b->claimed = b->raw.cap;
    if (o->filter.n == 0)
        batch_cut(b, &cut);
    b->headers = headers_of(L, t, range, b->to);
    b->headers.epoch = b->to > b->from ? b->epoch : epoch_of_empty_read(t, o, b->to, b->headers.epoch_now);
    if (b->to == b->from)
        b->epoch = b->headers.epoch;
    topic_count_read(t, b->count, buf_size(&b->raw));
    return 1;
}

static int read_records(lua_State *L, struct topic *t, const struct read_options *o)
{
    const struct batch_range *range = &o->range;
    struct file_range file = {.fd = -1, .first = range->from, .next = range->from};
    struct records *r = object_new(L, KIND_RECORDS, sizeof(*r), 0);
    r->fd = -1;
    uint64_t to = least(range_end(range), topic_readable(t));
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
    r->headers = headers_of(L, t, range, r->next);
    r->headers.epoch = file.epoch > 0 ? file.epoch : epoch_of_empty_read(t, o, r->next, r->headers.epoch_now);
    memory_claim(vm_memory(vm_of(L)), L, r->bytes.cap);
    r->claimed = r->bytes.cap;
    topic_count_read(t, r->next - r->first, r->size);
    return 1;
}

static int read_any(lua_State *L, struct topic *t, const struct read_options *o)
{
    if (topic_is_unsure(t, o->range.from))
        return push_fail_because(L, -ERR_UNAVAILABLE, "this node has heard no leader since it started, and cannot tell "
                                 "which messages from offset %llu on are acknowledged",
                                 (unsigned long long)topic_readable(t));
    topic_used(t);
    return o->records ? read_records(L, t, o) : read_batch(L, t, o);
}

/* topic:read(range) -> batch | nil, message, code */
int l_topic_read(lua_State *L)
{
    struct topic_handle *h = handle_check(L, USAGE);
    struct read_options o = {.range = {UINT64_MAX, UINT64_MAX, READ_COUNT_DEFAULT, READ_SIZE_DEFAULT}};
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

/* ---- req:read ---- */

/* Does the client have the object on top already? */
static bool client_has(lua_State *L, const struct http_request *r, const struct read_options *o)
{
    void *object = lua_touserdata(L, -1);
    struct buf *tag = vm_scratch(vm_of(L));
    if (o->records)
        return read_headers_match(&((struct records *)object)->headers, r, SLICE("records"), tag);
    return read_headers_match(&((struct batch *)object)->headers, r, batch_format_name(object), tag);
}

static int push_false(lua_State *L)
{
    lua_pushboolean(L, 0);
    return 1;
}

static int read_waited(lua_State *L, int status, lua_KContext context);

/* `may_wait`: if there is nothing to read yet, and the query allows it, wait first. */
static int read_request(lua_State *L, bool may_wait)
{
    const struct http_request *r = request_check(L, 1, READ);
    slice name = lua_isnil(L, 2) ? request_param(L, 1, SLICE("topic")) : arg_text(L, 2, "topic", READ);
    slice form = arg_text(L, 3, "the form", READ);
    struct read_options o = {.records = slice_eq(form, SLICE("records"))};
    struct read_query q;
    struct topic *t;
    uint64_t found, end;
    if (!o.records && !batch_format_named(form, &o.format))
        arg_fail(L, READ, "there is no form %s", form.p);
    if (!read_query_parse(r->head.query, &q))
        return push_false(L);
    o.range = (struct batch_range){q.from, q.to, q.limit, q.bytes};
    o.epoch = q.token.epoch;
    int rc = name_find(L, name, &t);
    if (rc == -ERR_UNKNOWN_TOPIC && q.has_token)
        return push_false(L);
    if (rc < 0)
        return name_fail(L, name, rc);
    if (q.has_token && topic_check(t, &q.token, &found, &end) < 0)
        return push_false(L);
    if (!q.has_token && topic_is_beyond(t, q.from))
        return push_false(L);
    if (may_wait && q.wait_s > 0 && q.from >= topic_readable(t))
        return wait_readable(L, t, q.from, (uint32_t)(q.wait_s * MS_PER_S), read_waited);
    int results = read_any(L, t, &o);
    if (results > 1)
        return results;
    lua_pushboolean(L, client_has(L, r, &o));
    return 2;
}

/* Looks everything up again: messages may have been truncated, or the topic deleted, meanwhile. -ERR_CANCELLED means
 * that the client has closed its sending side; it may still read, and gets what there is. */
static int read_waited(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    (void)context;
    int rc = (int)lua_tointeger(L, -1);
    if (rc < 0 && rc != -ERR_TIMEOUT && rc != -ERR_CANCELLED)
        return push_fail(L, rc);
    lua_pop(L, 1);
    return read_request(L, false);
}

/* req:read([topic], form) -> batch, known | nil, message, code | false.  Without a topic, that of the request's path.
 * false: scripts/routes/message.lua answers, which handles every other form of query, and tokens that are refused. */
static int l_request_read(lua_State *L)
{
    lua_settop(L, 3);
    return read_request(L, true);
}

void read_open(lua_State *L)
{
    lua_getfield(L, -1, "Request");
    lua_pushcfunction(L, l_request_read);
    lua_setfield(L, -2, "read");
    lua_pop(L, 1);
}
