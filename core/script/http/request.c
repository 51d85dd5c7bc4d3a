#include "script/http/request.h"

#include <lauxlib.h>
#include <string.h>

#include "script/bind/object.h"

struct object {
    struct exchange *exchange;        /* of this request while the generations are equal */
    unsigned generation;
};

void request_push(lua_State *L, struct exchange *x)
{
    struct object *o = object_new(L, KIND_REQUEST, sizeof(*o), REQUEST_VALUES);
    o->exchange = x;
    o->generation = x->generation;
}

struct exchange *request_exchange(lua_State *L, int index)
{
    const struct object *o = lua_touserdata(L, index);
    return o->generation == o->exchange->generation && o->exchange->request != NULL ? o->exchange : NULL;
}

struct http_request *request_at(lua_State *L, int index)
{
    struct exchange *x = request_exchange(L, index);
    if (x == NULL)
        luaL_error(L, "this request has been answered; copy what you need from it before that");
    return x->request;
}

struct http_request *request_check(lua_State *L, int index, const char *usage)
{
    object_check(L, index, KIND_REQUEST, usage);
    return request_at(L, index);
}

slice request_path(const struct http_request *r, char *text)
{
    slice path = r->head.path;
    size_t size = 0;
    if (memchr(path.p, '%', path.n) == NULL || path.n > HTTP_TARGET_MAX)
        return path;
    while (path.n > 0) {
        size_t n = 0;              /* up to the next %2F, which is kept: decoded it would look like a separator */
        while (n < path.n && !(path.n - n >= 3 && slice_ieq(slice_of(path.p + n, 3), SLICE("%2f"))))
            n++;
        long decoded = http_unescape(slice_of(path.p, n), text + size, false);
        size += decoded < 0 ? 0 : (size_t)decoded;   /* the parser has checked the escapes */
        path = slice_skip(path, n);
        size_t kept = path.n > 0 ? 3 : 0;
        memcpy(text + size, path.p, kept);
        size += kept;
        path = slice_skip(path, kept);
    }
    return slice_of(text, size);
}

void push_params(lua_State *L, const struct params *p)
{
    lua_createtable(L, 0, (int)p->count);
    for (unsigned i = 0; i < p->count; i++) {
        lua_pushlstring(L, p->names[i].p, p->names[i].n);
        lua_pushlstring(L, p->values[i].p, p->values[i].n);
        lua_rawset(L, -3);
    }
}

slice request_param(lua_State *L, int index, slice name)
{
    request_at(L, index);             /* raises once it is answered */
    const struct params *p = &request_exchange(L, index)->params;
    slice value = {0};
    if (lua_getiuservalue(L, index, REQUEST_PARAMS) == LUA_TTABLE) {
        lua_pushlstring(L, name.p, name.n);
        if (lua_rawget(L, -2) == LUA_TSTRING)
            value.p = lua_tolstring(L, -1, &value.n);
        lua_pop(L, 1);
    } else {
        for (unsigned i = 0; i < p->count && value.p == NULL; i++)
            if (slice_eq(p->names[i], name))
                value = p->values[i];
    }
    lua_pop(L, 1);
    return value;
}

void request_set_params(lua_State *L, const struct params *found, bool copied)
{
    struct params *p = &request_exchange(L, 1)->params;
    p->count = found->count;
    p->names = found->names;
    memcpy(p->values, found->values, found->count * sizeof(found->values[0]));
    lua_pushvalue(L, 2);
    lua_setiuservalue(L, 1, REQUEST_TREE);
    if (copied)
        push_params(L, p);
    else
        lua_pushnil(L);
    lua_setiuservalue(L, 1, REQUEST_PARAMS);
}
