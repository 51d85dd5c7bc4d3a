/*
 * core.route, core.tree, core.walk and core.serve, and req:find: finding the route of a request.
 *
 * The routes of a draft (scripts/lignum/route.lua) are made into a tree by segment, once, in C: finding a route is
 * comparing the path where it lies, and Lua is asked for nothing but the route's table.
 *
 * A tree is one piece of memory. Its user values are the list that it was made from, and the list of core.serve: what
 * belongs to route number i is at i.
 */
#include <lauxlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/ensure.h"
#include "base/err.h"
#include "base/mem.h"
#include "script/bind/arg.h"
#include "script/bind/object.h"
#include "script/http/judge.h"
#include "script/http/request.h"
#include "script/http/routes.h"
#include "script/http/tables.h"
#include "script/vm/task.h"

#define TREE "core.tree(routes)"
#define ROUTE "req:route(tree)"
#define SERVE "core.serve([tree [, handlers]])"
#define WALK "core.walk(tree, method, path)"

enum { ROUTES = 1, HANDLERS, METHODS_MAX = 16 };

/* Index 0 means none: node 0 is the root, which is no child, and routes are numbered from 1 on. */
struct node {
    slice segment;
    uint32_t parent;
    uint32_t named, rest;             /* the {name} and the {name...} below it */
    uint32_t route;                   /* the first route whose path ends here */
};

struct leaf {
    slice method, names[ROUTE_NAMES_MAX];
    unsigned name_count;
    bool open;                        /* the route judges by credentials of its own */
    lua_Integer id;                   /* its number in routes.h, or 0 */
    uint32_t next;                    /* the next route of the same path, with another method */
};

struct tree {
    struct node *nodes;
    struct leaf *leaves;
    uint32_t *literals;               /* nodes of literal segments by parent and segment: open addressing, half empty */
    size_t literals_mask;             /* their number less 1, a power of 2 */
    char *text;                       /* where the next method or path is copied to */
    size_t text_left;
    uint32_t node_count;
    size_t nodes_max;
};

/* Takes a slash and the segment after it off the front of a path. False at the end. */
static bool segment_next(slice *path, slice *segment)
{
    if (path->n == 0)
        return false;
    slice rest = slice_skip(*path, 1);
    const char *slash = memchr(rest.p, '/', rest.n);
    *segment = slice_of(rest.p, slash == NULL ? rest.n : (size_t)(slash - rest.p));
    *path = slice_skip(rest, segment->n);
    return true;
}

/* ---- making a tree ---- */

/* A field of the route on top; it stays in the route. */
static slice text_field(lua_State *L, const char *name)
{
    lua_getfield(L, -1, name);
    slice text = arg_text(L, -1, name, TREE);
    lua_pop(L, 1);
    return text;
}

static slice tree_keep(struct tree *t, slice text)
{
    ENSURE(text.n <= t->text_left);
    slice kept = slice_of(memcpy(t->text, text.p, text.n), text.n);
    t->text += text.n;
    t->text_left -= text.n;
    return kept;
}

enum segment { LITERAL, NAMED, REST };

static enum segment kind_of(slice segment)
{
    if (segment.n <= 2 || segment.p[0] != '{')
        return LITERAL;
    return segment.n > 5 && memcmp(segment.p + segment.n - 4, "...}", 4) == 0 ? REST : NAMED;
}

/* Where the node of a literal segment below `parent` is, or belongs: then it is 0. */
static uint32_t *literal_below(const struct tree *t, uint32_t parent, slice segment)
{
    size_t hash = parent * (size_t)0x9E3779B1 + segment.n, i = 0;
    for (; i + 8 <= segment.n; i += 8)
        hash = (hash ^ word_load(segment.p + i)) * (size_t)0x9E3779B97F4A7C15;
    for (; i < segment.n; i++)
        hash = (hash ^ (unsigned char)segment.p[i]) * (size_t)0x100000001B3;
    for (i = hash ^ hash >> 32;; i++) {
        uint32_t *at = &t->literals[i & t->literals_mask];
        if (*at == 0 || (t->nodes[*at].parent == parent && slice_eq(t->nodes[*at].segment, segment)))
            return at;
    }
}

/* Finds the node of a segment below `parent`, or makes it. */
static uint32_t node_below(struct tree *t, uint32_t parent, slice segment, enum segment kind)
{
    struct node *above = &t->nodes[parent];
    uint32_t *at = kind == NAMED ? &above->named : kind == REST ? &above->rest : literal_below(t, parent, segment);
    if (*at == 0) {
        ENSURE(t->node_count < t->nodes_max);
        *at = t->node_count++;
        t->nodes[*at].segment = segment;
        t->nodes[*at].parent = parent;
    }
    return *at;
}

/* The route on top, number i. */
static void tree_add(lua_State *L, struct tree *t, uint32_t i)
{
    struct leaf *leaf = &t->leaves[i];
    uint32_t at = 0;
    slice path = tree_keep(t, text_field(L, "path"));
    slice segment;
    leaf->method = tree_keep(t, text_field(L, "method"));
    while (segment_next(&path, &segment)) {
        enum segment kind = kind_of(segment);
        at = node_below(t, at, segment, kind);
        if (kind == LITERAL)
            continue;
        if (leaf->name_count == ROUTE_NAMES_MAX)
            arg_fail(L, TREE, "a path has too many names");
        leaf->names[leaf->name_count++] = slice_of(segment.p + 1, segment.n - (kind == REST ? 5 : 2));
    }
    lua_getfield(L, -1, "id");
    leaf->id = lua_tointeger(L, -1);
    lua_getfield(L, -2, "open");
    leaf->open = lua_toboolean(L, -1);
    lua_pop(L, 2);
    leaf->next = t->nodes[at].route;
    t->nodes[at].route = i;
}

static struct tree *tree_new(lua_State *L, size_t routes, size_t nodes, size_t text)
{
    size_t of_nodes = nodes * sizeof(struct node), of_leaves = (routes + 1) * sizeof(struct leaf), slots = 4;
    while (slots < 2 * nodes)
        slots *= 2;
    struct tree *t = object_new(L, KIND_TREE, sizeof(*t) + of_nodes + of_leaves + slots * sizeof(uint32_t) + text,
                                HANDLERS);
    t->nodes = (struct node *)(void *)(t + 1);
    t->leaves = (struct leaf *)(void *)(t->nodes + nodes);
    t->literals = (uint32_t *)(void *)(t->leaves + routes + 1);
    t->literals_mask = slots - 1;
    t->text = (char *)(t->literals + slots);
    t->node_count = 1;
    t->nodes_max = nodes;
    t->text_left = text;
    return t;
}

/* core.tree(routes) -> tree */
static int l_tree(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    size_t count = lua_rawlen(L, 1), nodes = 1, text = 0;
    for (size_t i = 1; i <= count; i++) {
        lua_rawgeti(L, 1, (lua_Integer)i);
        slice path = text_field(L, "path");
        if (!slice_starts(path, SLICE("/")))
            arg_fail(L, TREE, "path must begin with /");
        for (size_t k = 0; k < path.n; k++)
            nodes += path.p[k] == '/';
        text += path.n + text_field(L, "method").n;
        lua_pop(L, 1);
    }
    struct tree *t = tree_new(L, count, nodes, text);
    for (size_t i = 1; i <= count; i++) {
        lua_rawgeti(L, 1, (lua_Integer)i);
        tree_add(L, t, (uint32_t)i);
        lua_pop(L, 1);
    }
    lua_pushvalue(L, 1);
    lua_setiuservalue(L, 2, ROUTES);
    return 1;
}

/* ---- finding ---- */

/* The first route of a path below a node, or 0. A literal segment is tried before a {name}, that before a {name...},
 * and a dead end returns to the last choice. The recursion is as deep as the tree, in which no path has more names than
 * ROUTE_NAMES_MAX. */
static uint32_t descend(const struct tree *t, uint32_t at, slice path, struct params *found)
{
    slice segment;
    if (!segment_next(&path, &segment))
        return t->nodes[at].route;
    uint32_t child = *literal_below(t, at, segment);
    uint32_t route = child == 0 ? 0 : descend(t, child, path, found);
    if (route != 0 || segment.n == 0 || (t->nodes[at].named == 0 && t->nodes[at].rest == 0))
        return route;
    found->values[found->count++] = segment;     /* there is room: the tree has no path with more names */
    route = t->nodes[at].named == 0 ? 0 : descend(t, t->nodes[at].named, path, found);
    if (route == 0 && t->nodes[at].rest != 0) {
        found->values[found->count - 1].n += path.n;
        route = t->nodes[t->nodes[at].rest].route;
    }
    found->count -= route == 0;
    return route;
}

static uint32_t of_method(const struct tree *t, uint32_t route, slice method)
{
    while (route != 0 && !slice_eq(t->leaves[route].method, method))
        route = t->leaves[route].next;
    return route;
}

/* The route of a method and path. 0 when there is none; *others then is the first route of that path, or 0. */
static uint32_t find(const struct tree *t, slice method, slice path, struct params *found, uint32_t *others)
{
    found->count = 0;
    *others = path.n == 0 || path.p[0] != '/' ? 0 : descend(t, 0, path, found);
    uint32_t route = of_method(t, *others, method);
    if (route == 0 && slice_eq(method, SLICE("HEAD")))
        route = of_method(t, *others, SLICE("GET"));
    found->names = t->leaves[route].names;
    return route;
}

static void push_leaf(lua_State *L, int tree, uint32_t route)
{
    lua_getiuservalue(L, tree, ROUTES);
    lua_rawgeti(L, -1, route);
    lua_remove(L, -2);
}

/* Writes what the path with these routes supports, as the header Allow has it: sorted, with OPTIONS, and HEAD where GET
 * is. */
static void allow_write(const struct tree *t, uint32_t route, struct buf *out)
{
    slice names[METHODS_MAX] = {SLICE("OPTIONS")};
    size_t count = 1;
    for (; route != 0 && count + 2 <= METHODS_MAX; route = t->leaves[route].next) {
        if (slice_eq(t->leaves[route].method, SLICE("OPTIONS")))
            continue;
        names[count++] = t->leaves[route].method;
        if (slice_eq(t->leaves[route].method, SLICE("GET")))
            names[count++] = SLICE("HEAD");
    }
    for (size_t i = 1; i < count; i++)
        for (size_t k = i; k > 0 && slice_compare(names[k], names[k - 1]) < 0; k--) {
            slice other = names[k];
            names[k] = names[k - 1];
            names[k - 1] = other;
        }
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            buf_add_slice(out, SLICE(", "));
        buf_add_slice(out, names[i]);
    }
}

/* Pushes the methods of the path whose first route is `route`; nil when it is 0. */
static void push_allow(lua_State *L, const struct tree *t, uint32_t route)
{
    struct buf *out = vm_scratch(vm_of(L));
    if (route == 0) {
        lua_pushnil(L);
        return;
    }
    allow_write(t, route, out);
    lua_pushlstring(L, out->data, buf_size(out));
}

static const struct tree *tree_check(lua_State *L, int index, const char *usage)
{
    const struct tree *t = object_test(L, index, KIND_TREE);
    if (t == NULL)
        arg_fail(L, usage, "the tree must be one of core.tree, not a %s", luaL_typename(L, index));
    return t;
}

/* The request object at 1 has found a route in the tree at 2: from now on it has its params, is counted under the
 * route, and errors name it by that. */
static void take_route(lua_State *L, const struct leaf *leaf, const struct params *found, bool copied)
{
    struct exchange *x = request_exchange(L, 1);
    const struct route *registered = route_get(x->vm, (uint64_t)leaf->id);
    request_set_params(L, found, copied);
    if (registered == NULL)
        return;
    x->request->route = registered->counter;
    x->pattern = registered->pattern;
    task_where(task_self(L), registered->pattern);
}

/* req:find(tree) -> route | nil, allow | nil, asks, limited (judge_guards).  See take_route. */
static int l_request_find(lua_State *L)
{
    char text[HTTP_TARGET_MAX] UNINIT;
    struct http_request *r = request_check(L, 1, ROUTE);
    const struct tree *t = tree_check(L, 2, ROUTE);
    struct params found;
    uint32_t others;
    slice path = request_path(r, text);
    uint32_t route = find(t, r->head.method, path, &found, &others);
    lua_settop(L, 2);
    if (route == 0) {
        lua_pushnil(L);
        push_allow(L, t, others);
        return 2 + judge_guards(L, r);
    }
    take_route(L, &t->leaves[route], &found, path.p == text);
    push_leaf(L, 2, route);
    lua_pushnil(L);
    return 2 + judge_guards(L, r);
}

/* core.walk(tree, method, path) -> route | nil, allow | nil, params | nil */
static int l_walk(lua_State *L)
{
    const struct tree *t = tree_check(L, 1, WALK);
    slice method = arg_text(L, 2, "method", WALK);
    slice path = arg_text(L, 3, "path", WALK);
    struct params found;
    uint32_t others;
    uint32_t route = find(t, method, path, &found, &others);
    lua_settop(L, 3);
    if (route == 0)
        lua_pushnil(L);
    else
        push_leaf(L, 1, route);
    push_allow(L, t, others);
    if (route == 0)
        lua_pushnil(L);
    else
        push_params(L, &found);
    return 3;
}

/* ---- serving ---- */

static const char serving = 0;        /* its address is the registry's key of the tree that is served */

/* core.serve([tree [, handlers]]).  From now on requests with a body are judged by it before their body is read;
 * without one, as `authorize` is to be asked first, only by a wrong secret that they show. For `handlers` see
 * route_push_handler. */
static int l_serve(lua_State *L)
{
    lua_settop(L, 2);
    if (!lua_isnil(L, 1)) {
        tree_check(L, 1, SERVE);
        lua_setiuservalue(L, 1, HANDLERS);
    }
    lua_settop(L, 1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &serving);
    return 0;
}

bool route_push_handler(lua_State *L)
{
    enum { REQUEST = 1, TREE_SERVED, LIST, HANDLER };
    char text[HTTP_TARGET_MAX] UNINIT;
    const struct http_request *r = request_at(L, REQUEST);
    struct params found;
    uint32_t others;
    lua_rawgetp(L, LUA_REGISTRYINDEX, &serving);
    const struct tree *t = lua_touserdata(L, TREE_SERVED);
    if (t != NULL && lua_getiuservalue(L, TREE_SERVED, HANDLERS) == LUA_TTABLE && !judge_asks(vm_services(L), r)) {
        slice path = request_path(r, text);
        uint32_t route = find(t, r->head.method, path, &found, &others);
        if (route != 0 && lua_rawgeti(L, LIST, route) == LUA_TFUNCTION) {
            take_route(L, &t->leaves[route], &found, path.p == text);
            lua_replace(L, TREE_SERVED);
            lua_settop(L, TREE_SERVED);
            return true;
        }
    }
    lua_settop(L, REQUEST);
    return false;
}

/* ---- before the body ---- */

/* A small body to an unknown path is read, and the scripts say which path was meant; not one that has yet to be asked
 * for, by "Expect: 100-continue". */
enum { UNKNOWN_BODY_MAX = HTTP_HEAD_MAX };

static bool is_small(const struct http_head *head)
{
    return head->content_length <= UNKNOWN_BODY_MAX && !head->chunked && !head->expect_continue;
}

void route_judge(void *arg, const struct http_request *r, struct http_refusal *out)
{
    lua_State *L = vm_state(arg);
    char text[HTTP_TARGET_MAX] UNINIT;
    struct params found;
    uint32_t others;
    lua_rawgetp(L, LUA_REGISTRYINDEX, &serving);
    const struct tree *t = lua_touserdata(L, -1);
    lua_pop(L, 1);
    uint32_t route = t == NULL ? 0 : find(t, r->head.method, request_path(r, text), &found, &others);
    if (route == 0 || !t->leaves[route].open)
        judge_head(vm_services(L), r, t == NULL, out);
    if (t == NULL || route != 0 || out->error != 0)
        return;
    if (others == 0 && is_small(&r->head))
        return;
    out->error = others == 0 ? -ERR_NOT_FOUND : slice_eq(r->head.method, SLICE("OPTIONS")) ? 0 : -ERR_BAD_METHOD;
    if (out->error != -ERR_BAD_METHOD)
        return;
    struct buf *allow = vm_scratch(arg), *line = vm_scratch_headers(arg);
    buf_add_slice(allow, SLICE("this path supports "));
    size_t at = buf_size(allow);
    allow_write(t, others, allow);
    out->detail = buf_slice(allow);
    buf_addf(line, "Allow: %.*s\r\n", SLICE_ARGS(slice_skip(out->detail, at)));
    out->headers = buf_slice(line);
}

/* core.route("POST /v1/topics/{topic}/messages") -> its number, for counters and errors; 0: there are too many */
static int l_route(lua_State *L)
{
    slice pattern = arg_text(L, 1, "pattern", "core.route(pattern)");
    lua_pushinteger(L, route_register(vm_of(L), pattern));
    return 1;
}

/* After request_open. */
void route_open(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"route", l_route}, {"tree", l_tree}, {"walk", l_walk}, {"serve", l_serve}, {NULL, NULL}};
    kind_open(L, &(struct kind_options){KIND_TREE, NULL, NULL, NULL, NULL});
    lua_pop(L, 1);
    luaL_setfuncs(L, functions, 0);
    lua_getfield(L, -1, "Request");
    lua_pushcfunction(L, l_request_find);
    lua_setfield(L, -2, "find");
    lua_pop(L, 1);
}
