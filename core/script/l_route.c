/*
 * Finding a route. The tree is Lua's (scripts/lignum/route.lua): a node is a table of nodes by segment, with the node
 * of a {name} at NAMED and at METHODS a table of routes by method; a route has `id` and `names`. Walking it is done
 * here, where the path lies as it came: it is not made a text of its own, and nothing is remembered by path.
 */
#include "script/arg.h"
#include "script/bind.h"
#include "script/request.h"

#define ROUTE "req:route(tree)"
#define WALK "core.walk(tree, method, path)"

enum { NAMED = 1, METHODS };

struct walk {
    lua_State *L;
    slice names[ROUTE_NAMES_MAX];     /* the segments that {names} stand for */
    int count;
};

static bool descend(struct walk *w, slice path);

/* The node on top is that of a segment. True when a route ends in it or below: its methods lie there instead; if not,
 * nothing does. */
static bool enter(struct walk *w, slice rest, bool last)
{
    if (!last)
        return descend(w, rest);
    bool there = lua_rawgeti(w->L, -1, METHODS) == LUA_TTABLE;
    lua_remove(w->L, -2);
    if (!there)
        lua_pop(w->L, 1);
    return there;
}

static bool enter_literal(struct walk *w, int node, slice segment, slice rest, bool last)
{
    lua_pushlstring(w->L, segment.p, segment.n);
    return lua_rawget(w->L, node) == LUA_TTABLE && enter(w, rest, last);
}

static bool enter_named(struct walk *w, int node, slice segment, slice rest, bool last)
{
    if (segment.n == 0 || w->count == ROUTE_NAMES_MAX || lua_rawgeti(w->L, node, NAMED) != LUA_TTABLE)
        return false;
    w->names[w->count++] = segment;
    if (enter(w, rest, last))
        return true;
    w->count--;
    return false;
}

/* As enter does, for the path below the node on top. It goes no deeper than the tree does. */
static bool descend(struct walk *w, slice path)
{
    lua_State *L = w->L;
    int node = lua_gettop(L);
    const char *slash = memchr(path.p, '/', path.n);
    slice segment = slice_of(path.p, slash == NULL ? path.n : (size_t)(slash - path.p));
    slice rest = slice_of(path.p + segment.n + (slash != NULL), path.n - segment.n - (slash != NULL));
    luaL_checkstack(L, 8, ROUTE);
    bool found = enter_literal(w, node, segment, rest, slash == NULL);
    if (!found) {
        lua_settop(L, node);
        found = enter_named(w, node, segment, rest, slash == NULL);
    }
    if (found)
        lua_replace(L, node);
    lua_settop(L, found ? node : node - 1);
    return found;
}

/* Pushes the route, or nil, of the table of methods on top. */
static void push_route(lua_State *L, slice method)
{
    lua_pushlstring(L, method.p, method.n);
    if (lua_rawget(L, -2) != LUA_TNIL || !slice_eq(method, SLICE("HEAD")))
        return;
    lua_pop(L, 1);
    lua_pushliteral(L, "GET");
    lua_rawget(L, -2);
}

/* Of the route on top: a table of this request's own, for hooks and handlers may write into it. */
static void push_params(const struct walk *w)
{
    lua_State *L = w->L;
    lua_getfield(L, -1, "names");
    lua_createtable(L, 0, w->count);
    for (int i = 0; i < w->count; i++) {
        lua_rawgeti(L, -2, i + 1);
        lua_pushlstring(L, w->names[i].p, w->names[i].n);
        lua_rawset(L, -3);
    }
    lua_remove(L, -2);
}

/* Pushes methods, route and params of a path in the tree at `tree`; or nil, nil, nil; without the method: methods, nil,
 * nil. */
static void push_found(lua_State *L, int tree, slice method, slice path)
{
    struct walk w = {.L = L};
    lua_pushvalue(L, tree);
    if (path.n == 0 || path.p[0] != '/' || !descend(&w, slice_of(path.p + 1, path.n - 1))) {
        lua_settop(L, tree);
        lua_settop(L, tree + 3);
        return;
    }
    push_route(L, method);
    if (lua_isnil(L, -1))
        lua_pushnil(L);
    else
        push_params(&w);
}

/* req:route(tree) -> route | nil, methods | nil.  The request has its params from then on, and is counted under the
 * route, which errors name. */
int l_request_route(lua_State *L)
{
    char text[HTTP_TARGET_MAX];
    struct http_request *r = request_check(L, 1, ROUTE);
    luaL_checktype(L, 2, LUA_TTABLE);
    lua_settop(L, 2);
    push_found(L, 2, r->head.method, request_path(r, text));
    if (lua_isnil(L, -1)) {
        lua_pushnil(L);
        lua_pushvalue(L, 3);
        return 2;
    }
    request_set_params(L, 1);
    lua_getfield(L, -1, "id");
    lua_Integer id = lua_tointeger(L, -1);
    lua_pop(L, 1);
    const struct vm *vm = vm_of(L);
    if (id > 0 && id <= (lua_Integer)vm->route_count) {
        r->route = vm->routes[id].counter;
        task_where(task_self(L), vm->routes[id].pattern);
    }
    return 1;
}

/* core.walk(tree, method, path) -> route | nil, methods | nil, params | nil */
int l_walk(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    slice method = arg_text(L, 2, "method", WALK);
    slice path = arg_text(L, 3, "path", WALK);
    lua_settop(L, 3);
    lua_pushvalue(L, 1);
    push_found(L, 4, method, path);
    lua_pushvalue(L, 6);
    lua_pushvalue(L, 5);
    lua_pushvalue(L, 7);
    return 3;
}
