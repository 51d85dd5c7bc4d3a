#include "script/message/encode.h"

#include <lauxlib.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/json.h"
#include "base/limits.h"
#include "broker/topic/topics.h"
#include "script/bind/arg.h"
#include "script/bind/result.h"
#include "script/message/token.h"

void draft_init(struct draft *d, struct vm *vm)
{
    memset(d, 0, offsetof(struct draft, why));
    d->why[0] = '\0';
    d->vm = vm;
    d->out = vm_scratch(vm);
    d->headers = vm_scratch_headers(vm);
}

int draft_fail(struct draft *d, int rc, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(d->why, sizeof(d->why), fmt, args);
    va_end(args);
    return rc;
}

static int check_size(struct draft *d, const char *what, size_t n, size_t max)
{
    if (n <= max)
        return 0;
    d->limit = max;
    return draft_fail(d, -ERR_TOO_LARGE, "%s of %zu bytes is over the limit of %zu", what, n, max);
}

int push_draft_fail(lua_State *L, const struct draft *d, int rc)
{
    int results = d->why[0] == '\0' ? push_fail(L, rc) : push_fail_because(L, rc, "%s", d->why);
    if (d->limit == 0)
        return results;
    lua_createtable(L, 0, 1);
    lua_pushinteger(L, (lua_Integer)d->limit);
    lua_setfield(L, -2, "limit");
    return results + 1;
}

int64_t draft_date(const struct draft *d)
{
    return topics_date(vm_services(vm_state(d->vm))->topics);
}

int draft_expect(struct draft *d, const char *what, slice token)
{
    if (!token_read(token, &d->expect))
        return draft_fail(d, -ERR_BAD_VALUE, "%s must be a token epoch:offset:topic, as next_token", what);
    d->has_expect = d->asks = true;
    return 0;
}

bool draft_expects_messages(const struct draft *d)
{
    return d->has_expect && (d->expect.offset > 0 || d->expect.names_topic);
}

int draft_header(struct draft *d, slice name, slice value)
{
    if (name.n == 0 || memchr(name.p, '\0', name.n) != NULL)
        return draft_fail(d, -ERR_BAD_VALUE, "the name of a header must have a byte, and no NUL");
    if (!utf8_valid(name))
        return draft_fail(d, -ERR_BAD_VALUE, "the name of a header must be UTF-8");
    if (!utf8_valid(value))
        return draft_fail(d, -ERR_BAD_VALUE, "the header %.*s must be UTF-8", (int)(name.n < 64 ? name.n : 64), name.p);
    header_write(d->headers, name, value);
    return 0;
}

int draft_add(struct draft *d, const struct message *m)
{
    int rc = check_size(d, "a payload", m->payload.n, PAYLOAD_SIZE_MAX);
    if (rc == 0)
        rc = check_size(d, "a key", m->key.n, KEY_SIZE_MAX);
    if (rc == 0)
        rc = check_size(d, "a message's headers", m->headers.n, HEADERS_SIZE_MAX);
    if (rc < 0)
        return rc;
    if (d->append.count == BATCH_COUNT_MAX) {
        d->limit = BATCH_COUNT_MAX;
        return draft_fail(d, -ERR_TOO_LARGE, "a batch of more messages than the limit of %d", BATCH_COUNT_MAX);
    }
    message_write(d->out, m);
    d->append.count++;
    return check_size(d, "a batch", buf_size(d->out), BATCH_SIZE_MAX);
}

int draft_finish(struct draft *d)
{
    d->append.messages = buf_slice(d->out);
    if (d->append.count == 0)
        return draft_fail(d, -ERR_BAD_VALUE, "there is no message to append");
    return 0;
}

void draft_done(struct draft *d)
{
    if (!d->own) {
        vm_scratch_done(d->out);
        return;
    }
    buf_fini(d->out);
    buf_fini(d->headers);
}

/* ---- from Lua values ---- */

/* A field of the table; p == NULL when it is nil. The string stays in the table. */
static slice field_text(lua_State *L, int table, const char *name, const char *usage)
{
    slice text = {0};
    lua_pushstring(L, name);
    if (lua_rawget(L, table) != LUA_TNIL)
        text = arg_text(L, -1, name, usage);
    lua_pop(L, 1);
    return text;
}

/* Encodes the table's field `headers` into d->headers, which is left empty when there is none. */
static int add_headers(struct draft *d, lua_State *L, int table, const char *usage)
{
    size_t size = 0;
    buf_clear(d->headers);
    lua_pushliteral(L, "headers");
    if (lua_rawget(L, table) != LUA_TNIL) {
        if (!lua_istable(L, -1))
            arg_fail(L, usage, "headers must be a table, not %s", luaL_typename(L, -1));
        for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
            slice name = arg_text(L, -2, "the name of a header", usage);
            slice value = arg_text(L, -1, "the value of a header", usage);
            size += name.n + value.n + HEADER_SIZES;
            if (size > HEADERS_SIZE_MAX) {      /* not counted to the end, for there may be very many */
                d->limit = HEADERS_SIZE_MAX;
                return draft_fail(d, -ERR_TOO_LARGE, "a message's headers are over the limit of %d bytes",
                                  HEADERS_SIZE_MAX);
            }
            int rc = draft_header(d, name, value);
            if (rc < 0)
                return rc;
        }
    }
    lua_pop(L, 1);
    return 0;
}

static int add_table(struct draft *d, lua_State *L, int table, const char *usage)
{
    struct message m = {
        .payload = field_text(L, table, "payload", usage),
        .key = field_text(L, table, "key", usage),
    };
    if (m.payload.p == NULL)
        arg_fail(L, usage, "a message needs a payload");
    int rc = add_headers(d, L, table, usage);
    m.headers = buf_slice(d->headers);
    return rc < 0 ? rc : draft_add(d, &m);
}

/* The value on top: a string, or a table with a payload. */
static int add_value(struct draft *d, lua_State *L, const char *usage)
{
    int index = lua_gettop(L);
    if (lua_istable(L, index))
        return add_table(d, L, index, usage);
    struct message m = {.payload = arg_text(L, index, "a message (or its payload)", usage)};
    return draft_add(d, &m);
}

/* A table is one message if it has a payload, or nothing at 1 that could be the first of a list. */
static bool is_message(lua_State *L, int table)
{
    lua_pushliteral(L, "payload");
    bool is = lua_rawget(L, table) != LUA_TNIL || lua_rawlen(L, table) == 0;
    lua_pop(L, 1);
    return is;
}

static bool is_empty(lua_State *L, int table)
{
    lua_pushnil(L);
    if (!lua_next(L, table))
        return true;
    lua_pop(L, 2);
    return false;
}

int draft_encode(struct draft *d, lua_State *L, int index, const char *usage)
{
    int rc = 0;
    if (!lua_istable(L, index)) {
        struct message m = {.payload = arg_text(L, index, "the value to append", usage)};
        rc = draft_add(d, &m);
    } else if (is_message(L, index)) {
        rc = is_empty(L, index) ? 0 : add_table(d, L, index, usage);
    } else {
        lua_Unsigned n = lua_rawlen(L, index);
        for (lua_Unsigned i = 1; i <= n && rc == 0; i++) {
            lua_rawgeti(L, index, (lua_Integer)i);
            rc = add_value(d, L, usage);
            lua_pop(L, 1);
        }
    }
    return rc < 0 ? rc : draft_finish(d);
}

/* ---- back to Lua ---- */

void push_message(lua_State *L, const struct message *m)
{
    lua_createtable(L, 0, 6);
    lua_pushlstring(L, m->payload.p, m->payload.n);
    lua_setfield(L, -2, "payload");
    if (m->key.p != NULL) {
        lua_pushlstring(L, m->key.p, m->key.n);
        lua_setfield(L, -2, "key");
    }
    if (m->headers.n > 0) {
        slice name, value, rest = m->headers;
        lua_newtable(L);
        while (header_read(&rest, &name, &value)) {
            lua_pushlstring(L, name.p, name.n);
            lua_pushlstring(L, value.p, value.n);
            lua_rawset(L, -3);
        }
        lua_setfield(L, -2, "headers");
    }
}
