/*
 * Batches and ranges of records as scripts see them: #batch, batch[i], ipairs(batch), next, epoch, as, render, known.
 */
#include <lauxlib.h>
#include <string.h>

#include "script/bind/arg.h"
#include "script/bind/object.h"
#include "script/http/request.h"
#include "script/message/encode.h"
#include "script/message/records.h"
#include "script/message/render.h"
#include "script/topic/tables.h"

#define FORMATS "\"json\" | \"api\" | \"ndjson\" | \"raw\" | \"events\" | \"raw_events\" | \"array\" | \"bytes\" | " \
                "\"json_values\" | \"ndjson_values\" | \"events_values\""
#define AS "batch:as(" FORMATS ")"
#define KNOWN "batch:known(request)"
#define RENDER "batch:render([" FORMATS "])"

/* ---- single messages ---- */

static void index_make(struct batch *b)
{
    struct cursor c = batch_walk(b);
    struct message m;
    const char *base = c.rest.p;
    while (cursor_next(&c, &m) && c.offset < b->to) {
        struct batch_place place = {(uint32_t)(c.batch - base), (uint32_t)(c.message - base), c.offset};
        if (c.offset >= b->from)
            buf_add(&b->index, &place, sizeof(place));
    }
}

/* Pushes message i, from 1 on; nil past the end. */
static int push_at(lua_State *L, struct batch *b, lua_Integer i)
{
    struct batch_place place;
    struct batch_head head;
    struct message m;
    if (i < 1 || (uint64_t)i > b->count)
        return 0;
    if (b->sent)
        return luaL_error(L, "this batch has been sent as an answer; its messages are gone");
    if (b->index.data == NULL)
        index_make(b);
    memcpy(&place, b->index.data + (size_t)(i - 1) * sizeof(place), sizeof(place));
    slice raw = buf_slice(&b->raw);
    slice rest = slice_skip(raw, place.message);
    if (batch_head_read(raw.p + place.head, &head) < 0 || message_read(&rest, &m) < 0)
        return luaL_error(L, "a stored message cannot be read");
    push_message(L, &m);
    lua_pushinteger(L, (lua_Integer)place.offset);
    lua_setfield(L, -2, "offset");
    lua_pushinteger(L, (lua_Integer)head.epoch);
    lua_setfield(L, -2, "epoch");
    lua_pushnumber(L, (double)head.time_ms / 1000.0);
    lua_setfield(L, -2, "time");
    return 1;
}

static int index_batch(lua_State *L)
{
    struct batch *b = lua_touserdata(L, 1);
    if (lua_isinteger(L, 2))
        return push_at(L, b, lua_tointeger(L, 2));
    lua_pushvalue(L, 2);
    if (lua_rawget(L, lua_upvalueindex(1)) != LUA_TNIL)
        return 1;
    slice key = lua_type(L, 2) == LUA_TSTRING ? slice_from(lua_tostring(L, 2)) : SLICE("");
    if (slice_eq(key, SLICE("next")))
        lua_pushinteger(L, (lua_Integer)b->to);
    else if (slice_eq(key, SLICE("epoch")))
        lua_pushinteger(L, (lua_Integer)b->epoch);
    else
        return 0;
    return 1;
}

static int count_batch(lua_State *L)
{
    const struct batch *b = lua_touserdata(L, 1);
    lua_pushinteger(L, (lua_Integer)b->count);
    return 1;
}

static int collect_batch(lua_State *L)
{
    batch_release(vm_memory(vm_of(L)), lua_touserdata(L, 1));
    return 0;
}

/* ---- as text ---- */

static enum batch_format check_format(lua_State *L, int index, const char *usage)
{
    enum batch_format format = FORMAT_JSON;
    slice name = arg_text(L, index, "the format", usage);
    if (!batch_format_named(name, &format))
        arg_fail(L, usage, "there is no format %s", name.p);
    return format;
}

/* batch:as(format) -> batch */
static int l_as(lua_State *L)
{
    struct batch *b = object_check(L, 1, KIND_BATCH, AS);
    b->format = check_format(L, 2, AS);
    lua_settop(L, 1);
    return 1;
}

/* batch:render([format]) -> string */
static int l_render(lua_State *L)
{
    struct batch *b = object_check(L, 1, KIND_BATCH, RENDER);
    enum batch_format before = b->format;
    struct buf *out = vm_scratch(vm_of(L));
    if (b->sent)
        return luaL_error(L, "this batch has been sent as an answer; its messages are gone");
    b->format = lua_isnoneornil(L, 2) ? FORMAT_JSON : check_format(L, 2, RENDER);
    batch_render(out, b);
    b->format = before;
    lua_pushlstring(L, out->data, buf_size(out));
    vm_scratch_done(out);
    return 1;
}

/* ---- known ---- */

/* batch:known(request) -> whether the client has it already, by If-None-Match.  From then on the headers of a batch
 * that cannot change have an ETag. */
static int l_known(lua_State *L)
{
    struct batch *b = object_check(L, 1, KIND_BATCH, KNOWN);
    const struct http_request *r = request_check(L, 2, KNOWN);
    lua_pushboolean(L, read_headers_match(&b->headers, r, batch_format_name(b), vm_scratch(vm_of(L))));
    return 1;
}

/* records:known(request), the same */
static int l_records_known(lua_State *L)
{
    struct records *records = object_check(L, 1, KIND_RECORDS, KNOWN);
    const struct http_request *r = request_check(L, 2, KNOWN);
    lua_pushboolean(L, read_headers_match(&records->headers, r, SLICE("records"), vm_scratch(vm_of(L))));
    return 1;
}

/* ---- ranges of records ---- */

static int index_records(lua_State *L)
{
    const struct records *r = lua_touserdata(L, 1);
    lua_pushvalue(L, 2);
    if (lua_rawget(L, lua_upvalueindex(1)) != LUA_TNIL)
        return 1;
    slice key = lua_type(L, 2) == LUA_TSTRING ? slice_from(lua_tostring(L, 2)) : SLICE("");
    if (slice_eq(key, SLICE("first")))
        lua_pushinteger(L, (lua_Integer)r->first);
    else if (slice_eq(key, SLICE("next")))
        lua_pushinteger(L, (lua_Integer)r->next);
    else
        return 0;
    return 1;
}

static int collect_records(lua_State *L)
{
    records_release(vm_memory(vm_of(L)), lua_touserdata(L, 1));
    return 0;
}

void batch_open(lua_State *L)
{
    static const luaL_Reg methods[] = {{"as", l_as}, {"render", l_render}, {"known", l_known}, {NULL, NULL}};
    static const luaL_Reg records_methods[] = {{"known", l_records_known}, {NULL, NULL}};
    static const luaL_Reg meta[] = {{"__len", count_batch}, {"__gc", collect_batch}, {NULL, NULL}};
    static const luaL_Reg records_meta[] = {{"__gc", collect_records}, {NULL, NULL}};
    kind_open(L, &(struct kind_options){KIND_BATCH, meta, methods, index_batch, NULL});
    lua_setfield(L, -2, "Batch");
    kind_open(L, &(struct kind_options){KIND_RECORDS, records_meta, records_methods, index_records, NULL});
    lua_setfield(L, -2, "Range");
}
