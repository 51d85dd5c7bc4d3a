/*
 * Batches and ranges of records as Lua sees them: #batch, batch[i], ipairs(batch), next, epoch, as and render.
 */
#include <unistd.h>

#include "script/bind/arg.h"
#include "script/bind/bind.h"
#include "script/http/request.h"
#include "script/message/batch.h"
#include "script/message/encode.h"

#define AS "batch:as(\"json\" | \"api\" | \"ndjson\" | \"raw\" | \"events\" | \"raw_events\")"
#define KNOWN "batch:known(request)"
#define RENDER "batch:render([\"json\" | \"api\" | \"ndjson\" | \"raw\" | \"events\" | \"raw_events\"])"

/* ---- single messages ---- */

static void index_make(struct batch *b)
{
    struct cursor c = {.rest = buf_slice(&b->raw)};
    struct message m;
    const char *base = c.rest.p;
    for (;;) {
        const char *head = c.rest.p;
        if (!cursor_next_batch(&c))
            return;
        while (c.left > 0) {
            struct place place = {(uint32_t)(head - base), (uint32_t)(c.messages.p - base)};
            cursor_next(&c, &m);
            if (c.offset >= b->from && c.offset < b->to)
                buf_add(&b->index, &place, sizeof(place));
        }
    }
}

/* Pushes message i, from 1 on; nil past the end. */
static int push_at(lua_State *L, struct batch *b, lua_Integer i)
{
    struct place place;
    struct batch_head head;
    struct message m;
    if (i < 1 || (uint64_t)i > b->count)
        return 0;
    if (b->sent)
        return luaL_error(L, "this batch has been answered with; its messages are gone");
    if (b->index.data == NULL)
        index_make(b);
    memcpy(&place, b->index.data + (size_t)(i - 1) * sizeof(place), sizeof(place));
    slice raw = buf_slice(&b->raw);
    slice rest = slice_skip(raw, place.message);
    if (batch_head_read(raw.p + place.head, &head) < 0 || message_read(&rest, &m) < 0)
        return luaL_error(L, "a stored message cannot be read");
    push_message(L, &m);
    lua_pushinteger(L, (lua_Integer)b->from + i - 1);
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
    batch_release(vm_of(L), lua_touserdata(L, 1));
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
    struct batch *b = arg_object(L, 1, KIND_BATCH, AS);
    b->format = check_format(L, 2, AS);
    lua_settop(L, 1);
    return 1;
}

/* batch:render([format]) -> string */
static int l_render(lua_State *L)
{
    struct batch *b = arg_object(L, 1, KIND_BATCH, RENDER);
    enum batch_format before = b->format;
    struct buf *out = vm_scratch(vm_of(L));
    if (b->sent)
        return luaL_error(L, "this batch has been answered with; its messages are gone");
    b->format = lua_isnoneornil(L, 2) ? FORMAT_JSON : check_format(L, 2, RENDER);
    batch_render(out, b);
    b->format = before;
    lua_pushlstring(L, out->data, buf_size(out));
    vm_scratch_done(out);
    return 1;
}

/* ---- what the client has ---- */

/* Is it in the list of quoted tags? None holds a quote. */
static bool tag_listed(slice list, slice tag)
{
    return slice_eq(list, SLICE("*")) || (list.n >= tag.n && memmem(list.p, list.n, tag.p, tag.n) != NULL);
}

bool facts_known(lua_State *L, struct read_facts *f, const struct http_request *r, slice form)
{
    f->tagged = f->fixed;
    if (!f->tagged)
        return false;
    slice list = http_head_find(&r->head, SLICE("if-none-match"));
    if (list.n == 0)
        return false;
    struct buf *tag = vm_scratch(vm_of(L));
    facts_add_tag(tag, f, form);
    return tag_listed(list, buf_slice(tag));
}

/* batch:known(request) -> whether the client has it already.  From then on its headers have the ETag, if it can. */
static int l_known(lua_State *L)
{
    struct batch *b = arg_object(L, 1, KIND_BATCH, KNOWN);
    lua_pushboolean(L, facts_known(L, &b->facts, request_check(L, 2, KNOWN), batch_form(b)));
    return 1;
}

/* The same of a range. */
static int l_range_known(lua_State *L)
{
    struct range *r = arg_object(L, 1, KIND_RANGE, KNOWN);
    lua_pushboolean(L, facts_known(L, &r->facts, request_check(L, 2, KNOWN), SLICE("records")));
    return 1;
}

/* ---- ranges ---- */

static int index_range(lua_State *L)
{
    const struct range *r = lua_touserdata(L, 1);
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

void range_release(struct vm *vm, struct range *r)
{
    vm_release(vm, r->claimed);
    r->claimed = 0;
    buf_fini(&r->bytes);
    if (r->fd >= 0)
        close(r->fd);
    r->fd = -1;
}

static int collect_range(lua_State *L)
{
    range_release(vm_of(L), lua_touserdata(L, 1));
    return 0;
}

void batch_open(lua_State *L)
{
    static const luaL_Reg methods[] = {{"as", l_as}, {"render", l_render}, {"known", l_known}, {NULL, NULL}};
    static const luaL_Reg range_methods[] = {{"known", l_range_known}, {NULL, NULL}};
    static const luaL_Reg meta[] = {{"__len", count_batch}, {"__gc", collect_batch}, {NULL, NULL}};
    static const luaL_Reg range_meta[] = {{"__gc", collect_range}, {NULL, NULL}};
    kind_open(L, &(struct kind_options){KIND_BATCH, meta, methods, index_batch, NULL});
    lua_setfield(L, -2, "Batch");
    kind_open(L, &(struct kind_options){KIND_RANGE, range_meta, range_methods, index_range, NULL});
    lua_setfield(L, -2, "Range");
}
