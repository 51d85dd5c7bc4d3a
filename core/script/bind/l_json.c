/*
 * json.encode, our own: integers exact, keys sorted, lists by json.array; and json.decode, which is lua-cjson.
 */
#include <math.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/json.h"
#include "script/bind/arg.h"
#include "script/bind/bind.h"

#define ENCODE "json.encode(value)"
#define DECODE "json.decode(text)"
#define ARRAY "json.array(list)"

int luaopen_cjson_safe(lua_State *L);   /* Debian's header does not declare it */

enum { DEPTH_MAX = 64 };
static const double exact_max = 9007199254740992.0;   /* 2^53 */

/* ---- encoding; it recurses at most DEPTH_MAX deep ---- */

struct encoder {
    lua_State *L;
    struct buf *out;
    struct buf *keys;                 /* slices: the keys of the objects that are open */
    slice field;                      /* the last key, for errors */
    int depth;
};

static void encode_value(struct encoder *e);

static void fail(struct encoder *e, const char *what)
{
    if (e->field.p == NULL)
        luaL_error(e->L, "json: %s", what);
    luaL_error(e->L, "json: %s (at or below field \"%s\")", what, e->field.p);
}

static void encode_number(struct encoder *e)
{
    if (!lua_isinteger(e->L, -1)) {
        double v = lua_tonumber(e->L, -1);
        if (!isfinite(v))
            fail(e, "a number that is not finite");
        json_number(e->out, v);
        return;
    }
    lua_Integer v = lua_tointeger(e->L, -1);
    if (v < 0)
        buf_add_char(e->out, '-');
    buf_add_u64(e->out, v < 0 ? 0 - (uint64_t)v : (uint64_t)v);
}

static void encode_string(struct encoder *e)
{
    slice s;
    s.p = lua_tolstring(e->L, -1, &s.n);
    if (!utf8_valid(s))
        fail(e, "a string that is not UTF-8");
    json_string(e->out, s);
}

static void encode_list(struct encoder *e)
{
    lua_Unsigned n = lua_rawlen(e->L, -1);
    buf_add_char(e->out, '[');
    for (lua_Unsigned i = 1; i <= n; i++) {
        if (i > 1)
            buf_add_char(e->out, ',');
        lua_rawgeti(e->L, -1, (lua_Integer)i);
        encode_value(e);
        lua_pop(e->L, 1);
    }
    buf_add_char(e->out, ']');
}

static int compare_keys(const void *a, const void *b)
{
    const slice *x = a;
    const slice *y = b;
    int order = memcmp(x->p, y->p, x->n < y->n ? x->n : y->n);
    return order != 0 ? order : (x->n > y->n) - (x->n < y->n);
}

/* Puts the keys of the table on top, in order, behind those of the tables around it. Their number. */
static size_t take_keys(struct encoder *e)
{
    size_t begin = buf_size(e->keys);
    size_t n = 0;
    for (lua_pushnil(e->L); lua_next(e->L, -2); lua_pop(e->L, 1), n++) {
        slice key;
        if (lua_type(e->L, -2) != LUA_TSTRING)
            fail(e, "a table that is neither a list nor has only names as keys");
        key.p = lua_tolstring(e->L, -2, &key.n);
        if (!utf8_valid(key))
            fail(e, "a key that is not UTF-8");
        buf_add(e->keys, &key, sizeof(key));
    }
    if (n > 1)
        qsort(e->keys->data + begin, n, sizeof(slice), compare_keys);
    return n;
}

static void encode_object(struct encoder *e)
{
    size_t begin = buf_size(e->keys);
    size_t n = take_keys(e);
    buf_add_char(e->out, '{');
    for (size_t i = 0; i < n; i++) {
        slice key;
        memcpy(&key, e->keys->data + begin + i * sizeof(key), sizeof(key));
        json_key(e->out, key);
        lua_pushlstring(e->L, key.p, key.n);
        lua_rawget(e->L, -2);
        e->field = key;
        encode_value(e);
        lua_pop(e->L, 1);
    }
    buf_add_char(e->out, '}');
    e->keys->end = e->keys->at + begin;
}

static bool is_marked(lua_State *L)
{
    if (!lua_getmetatable(L, -1))
        return false;
    bool marked = lua_topointer(L, -1) == vm_of_thread(L)->kind[KIND_LIST];
    lua_pop(L, 1);
    return marked;
}

/* A table with something at 1 and nothing but a list's places. */
static bool is_list(struct encoder *e)
{
    lua_Unsigned n = lua_rawlen(e->L, -1);
    lua_Unsigned places = 0;
    lua_Unsigned others = 0;
    if (is_marked(e->L))
        return true;
    if (n == 0)
        return false;
    for (lua_pushnil(e->L); lua_next(e->L, -2); lua_pop(e->L, 1))
        lua_isinteger(e->L, -2) ? places++ : others++;
    return places == n && others == 0;
}

static void encode_table(struct encoder *e)
{
    if (++e->depth > DEPTH_MAX)
        fail(e, "a table deeper than 64 levels, or one that contains itself");
    luaL_checkstack(e->L, 8, "json");
    message_make_whole(e->L, lua_gettop(e->L));
    if (is_list(e))
        encode_list(e);
    else
        encode_object(e);
    e->depth--;
}

/* json.null is the light userdata NULL; nothing else is left that JSON has. */
static void encode_null(struct encoder *e)
{
    if (!lua_islightuserdata(e->L, -1) || lua_touserdata(e->L, -1) != NULL)
        fail(e, lua_isfunction(e->L, -1) ? "a function" : "a userdata or thread");
    buf_add_slice(e->out, SLICE("null"));
}

static void encode_value(struct encoder *e)
{
    switch (lua_type(e->L, -1)) {
    case LUA_TNIL:
        buf_add_slice(e->out, SLICE("null"));
        break;
    case LUA_TBOOLEAN:
        buf_add_slice(e->out, lua_toboolean(e->L, -1) ? SLICE("true") : SLICE("false"));
        break;
    case LUA_TNUMBER:
        encode_number(e);
        break;
    case LUA_TSTRING:
        encode_string(e);
        break;
    case LUA_TTABLE:
        encode_table(e);
        break;
    default:
        encode_null(e);
    }
}

void json_encode(lua_State *L, int index, struct buf *out)
{
    struct encoder e = {.L = L, .out = out, .keys = &vm_of(L)->keys};
    buf_clear(e.keys);
    lua_pushvalue(L, index);
    encode_value(&e);
    lua_pop(L, 1);
}

/* json.encode(value) -> string */
static int l_encode(lua_State *L)
{
    struct buf *out = vm_scratch(vm_of(L));
    luaL_checkany(L, 1);
    json_encode(L, 1, out);
    lua_pushlstring(L, out->data, buf_size(out));
    vm_scratch_done(out);
    return 1;
}

/* ---- decoding ---- */

/* Of a number, which cjson has made a float. */
static bool is_whole(double v)
{
    return fabs(v) <= exact_max && v == floor(v);
}

/* The number on top is the value of the key below it, in the table below both. */
static void make_integer(lua_State *L, double v)
{
    if (!is_whole(v))
        return;
    lua_pushvalue(L, -2);
    lua_pushinteger(L, (lua_Integer)v);
    lua_rawset(L, -5);
}

/* In the table on top whole numbers become integers; cjson has bounded the depth. */
static void make_integers(lua_State *L)
{
    luaL_checkstack(L, 8, "json");
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
        int type = lua_type(L, -1);
        if (type == LUA_TNUMBER)
            make_integer(L, lua_tonumber(L, -1));
        else if (type == LUA_TTABLE)
            make_integers(L);
    }
}

static int fail_decode(lua_State *L, const char *why)
{
    lua_pushnil(L);
    lua_pushstring(L, why);
    lua_pushstring(L, err_name(-ERR_BAD_JSON));
    return 3;
}

/* Is one of the eight bytes below 0x20? (Each that is sets its own highest bit; a borrow needs a true one below it.) */
static bool word_has_control(const char *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return ((v - UINT64_C(0x2020202020202020)) & ~v & UINT64_C(0x8080808080808080)) != 0;
}

static bool has_control(slice text)
{
    const char *p = text.p;
    size_t left = text.n;
    for (; left >= 8; left -= 8, p += 8)
        if (word_has_control(p))
            return true;
    for (; left > 0; left--, p++)
        if ((unsigned char)*p < 0x20)
            return true;
    return false;
}

/* RFC 8259 wants control characters in strings escaped; lua-cjson lets them pass. Texts on one line have none. */
static bool has_bare_control(slice text)
{
    bool quoted = false;
    if (!has_control(text))
        return false;
    for (size_t i = 0; i < text.n; i++) {
        if (quoted && (unsigned char)text.p[i] < 0x20)
            return true;
        if (quoted && text.p[i] == '\\')
            i++;
        else if (text.p[i] == '"')
            quoted = !quoted;
    }
    return false;
}

/* json.decode(text) -> value | nil, message, code */
static int l_decode(lua_State *L)
{
    slice text = arg_text(L, 1, "text", DECODE);
    if (!utf8_valid(text))
        return fail_decode(L, "the text is not UTF-8");
    if (has_bare_control(text))
        return fail_decode(L, "a string holds a control character that is not escaped");
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_pushvalue(L, 1);
    lua_call(L, 1, 2);
    if (lua_isnil(L, -2))
        return fail_decode(L, lua_tostring(L, -1));
    lua_pop(L, 1);
    if (lua_istable(L, -1))
        make_integers(L);
    else if (lua_type(L, -1) == LUA_TNUMBER && is_whole(lua_tonumber(L, -1)))
        lua_pushinteger(L, (lua_Integer)lua_tonumber(L, -1));
    return 1;
}

/* json.array(list) -> list, marked */
static int l_array(lua_State *L)
{
    if (!lua_istable(L, 1))
        return arg_fail(L, ARRAY, "list must be a table, not %s", luaL_typename(L, 1));
    lua_settop(L, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, vm_of(L)->kind_ref[KIND_LIST]);
    lua_setmetatable(L, 1);
    return 1;
}

/* Strict: no nan, inf, hexadecimal; bounded depth. */
static void push_decoder(lua_State *L)
{
    lua_pushcfunction(L, luaopen_cjson_safe);
    lua_call(L, 0, 1);
    lua_getfield(L, -1, "decode_invalid_numbers");
    lua_pushboolean(L, 0);
    lua_call(L, 1, 0);
    lua_getfield(L, -1, "decode_max_depth");
    lua_pushinteger(L, DEPTH_MAX);
    lua_call(L, 1, 0);
    lua_getfield(L, -1, "decode");
    lua_remove(L, -2);
}

void json_open(lua_State *L)
{
    static const luaL_Reg functions[] = {{"encode", l_encode}, {"array", l_array}, {NULL, NULL}};
    kind_open(L, &(struct kind_options){KIND_LIST, NULL, NULL, NULL, NULL});
    lua_pop(L, 1);
    luaL_newlib(L, functions);
    push_decoder(L);
    lua_pushcclosure(L, l_decode, 1);
    lua_setfield(L, -2, "decode");
    lua_pushlightuserdata(L, NULL);
    lua_setfield(L, -2, "null");
    lua_setfield(L, -2, "json");
}
