/*
 * string.find, match, gmatch and gsub: as Lua's, over our own matcher (pattern.h), which stops now and then. Where the
 * slice of the operator's code is used up they yield, and go on later; where the budget is, the run ends. So a script
 * may match what it likes for as long as it may compute, and holds up nobody. Where Lua cannot yield, they go on to the
 * budget's end.
 */
#include <ctype.h>
#include <lauxlib.h>
#include <string.h>

#include "base/mem.h"
#include "script/bind/pattern.h"
#include "script/bind/tables.h"
#include "script/vm/task.h"

enum { STEPS = 20 * 1000 };           /* until the next look at the slice: a fraction of a millisecond */

/* The state of one call: for find and match on the C stack, and once it has to wait, as for gmatch and gsub, in a Lua
 * object. Pointers into subject and pattern stay valid, because the call's arguments, or upvalues, keep both. */
struct search {
    const char *at, *last;            /* where the attempt begins; the end of the last match, NULL: none yet */
    bool anchored, is_find;
    bool running;                     /* of gmatch: a call of its iterator waits */
    lua_Integer count, most;          /* of gsub: replacements */
    const char *copied;               /* of gsub: what is before it is in `out`, or was replaced */
    char *out;                        /* of gsub: the object at OUT; NULL: nothing has been replaced */
    size_t size, cap;                 /* of `out` */
    struct match m;                   /* last: its size depends on the pattern */
};

/* Room for any state on the C stack. */
union search_room {
    struct search search;
    char bytes[sizeof(struct search) + MATCH_ROOM_MAX];
};

/* What is on the stack of gsub. */
enum { SUBJECT = 1, PATTERN, REPLACEMENT, MOST, STATE, OUT };

static slice check_text(lua_State *L, int i)
{
    size_t n;
    const char *p = luaL_checklstring(L, i, &n);
    return slice_of(p, n);
}

static void search_init(struct search *s, slice subject, slice pattern, size_t from)
{
    s->anchored = pattern.n > 0 && pattern.p[0] == '^';
    s->last = NULL;
    match_init(&s->m, subject, s->anchored ? slice_skip(pattern, 1) : pattern);
    s->at = subject.p + from;
    match_at(&s->m, s->at);
}

/* Moves the state from the C stack to an object, which it pushes. */
static void search_keep(lua_State *L, const struct search *s)
{
    size_t size = sizeof(*s) - sizeof(s->m) + match_size(s->m.pattern);
    memcpy(lua_newuserdatauv(L, size, 0), s, size);
}

/* Goes on until a match, which is not empty at the end of the last one. MATCH_NONE: there is none; MATCH_RUNS: the call
 * has to yield. Raises an error in the pattern. */
static enum match_phase search_next(lua_State *L, struct search *s)
{
    const char *end = s->m.subject.p + s->m.subject.n;
    for (;;) {
        enum match_phase phase = match_run(&s->m);
        if (phase == MATCH_WRONG)
            luaL_error(L, s->m.why, (int)s->m.which);
        if (phase == MATCH_FOUND && s->m.s != s->last)
            return phase;
        if (phase == MATCH_FOUND || phase == MATCH_NONE) {
            if (s->anchored || s->at == end)
                return MATCH_NONE;
            match_at(&s->m, ++s->at);
            continue;
        }
        s->m.left = STEPS;
        if (task_interrupts(L, s->m.pattern))
            return MATCH_RUNS;
    }
}

/* After a match: the next attempt begins where it ended. */
static void search_after(struct search *s)
{
    s->at = s->last = s->m.s;
    match_at(&s->m, s->at);
}

static void push_capture(lua_State *L, const struct search *s, unsigned i)
{
    const struct match *m = &s->m;
    if (i >= m->captures) {
        if (i > 0)
            luaL_error(L, "invalid capture index %%%d", (int)i + 1);
        lua_pushlstring(L, s->at, (size_t)(m->s - s->at));
        return;
    }
    const struct capture *c = match_capture(m, i);
    if (c->size == CAPTURE_OPEN)
        luaL_error(L, "unfinished capture");
    if (c->size == CAPTURE_POSITION)
        lua_pushinteger(L, c->from - m->subject.p + 1);
    else
        lua_pushlstring(L, c->from, (size_t)c->size);
}

/* Pushes all captures; without any, the whole match if `whole`. */
static int push_captures(lua_State *L, const struct search *s, bool whole)
{
    unsigned n = s->m.captures == 0 && whole ? 1 : s->m.captures;
    luaL_checkstack(L, (int)n, "too many captures");
    for (unsigned i = 0; i < n; i++)
        push_capture(L, s, i);
    return (int)n;
}

/* The offset at which a search from position `i` begins; more than the size: there is no such place. */
static size_t start_of(lua_State *L, int i, size_t size)
{
    lua_Integer from = luaL_optinteger(L, i, 1);
    if (from > 0)
        return (lua_Unsigned)from - 1 > size ? size + 1 : (size_t)from - 1;
    if (from == 0 || from < -(lua_Integer)size)
        return 0;
    return size - (size_t)-from;
}

/* ---- find and match ---- */

static int find_results(lua_State *L, const struct search *s)
{
    if (!s->is_find)
        return push_captures(L, s, true);
    lua_pushinteger(L, s->at - s->m.subject.p + 1);
    lua_pushinteger(L, s->m.s - s->m.subject.p);
    return 2 + push_captures(L, s, false);
}

/* The state is on top. */
static int find_again(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    (void)context;
    struct search *s = lua_touserdata(L, -1);
    enum match_phase phase = search_next(L, s);
    if (phase == MATCH_RUNS)
        return lua_yieldk(L, 0, 0, find_again);
    if (phase == MATCH_FOUND)
        return find_results(L, s);
    lua_pushnil(L);
    return 1;
}

static int find_plain(lua_State *L, slice subject, slice text, size_t from)
{
    const char *at = memmem(subject.p + from, subject.n - from, text.p, text.n);
    if (at == NULL) {
        lua_pushnil(L);
        return 1;
    }
    lua_pushinteger(L, at - subject.p + 1);
    lua_pushinteger(L, at - subject.p + (lua_Integer)text.n);
    return 2;
}

static int find(lua_State *L, bool is_find)
{
    union search_room room UNINIT;
    struct search *s = &room.search;
    slice subject = check_text(L, 1), pattern = check_text(L, 2);
    size_t from = start_of(L, 3, subject.n);
    if (from > subject.n) {
        lua_pushnil(L);
        return 1;
    }
    if (is_find && (lua_toboolean(L, 4) || pattern_is_plain(pattern)))
        return find_plain(L, subject, pattern, from);
    search_init(s, subject, pattern, from);
    s->is_find = is_find;
    enum match_phase phase = search_next(L, s);
    if (phase == MATCH_FOUND)
        return find_results(L, s);
    if (phase == MATCH_NONE) {
        lua_pushnil(L);
        return 1;
    }
    search_keep(L, s);
    return lua_yieldk(L, 0, 0, find_again);
}

static int l_find(lua_State *L)
{
    return find(L, true);
}

static int l_match(lua_State *L)
{
    return find(L, false);
}

/* ---- gmatch ---- */

/* The upvalues: subject, pattern, state. */
static int gmatch_again(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    (void)context;
    struct search *s = lua_touserdata(L, lua_upvalueindex(3));
    s->running = false;
    enum match_phase phase = search_next(L, s);
    if (phase == MATCH_RUNS) {
        s->running = true;
        return lua_yieldk(L, 0, 0, gmatch_again);
    }
    if (phase == MATCH_NONE)
        return 0;
    int n = push_captures(L, s, true);
    search_after(s);
    return n;
}

static int gmatch_next(lua_State *L)
{
    const struct search *s = lua_touserdata(L, lua_upvalueindex(3));
    if (s->running)
        return luaL_error(L, "this iterator of string.gmatch is in use by another task");
    return gmatch_again(L, LUA_OK, 0);
}

static int l_gmatch(lua_State *L)
{
    union search_room room UNINIT;
    struct search *s = &room.search;
    slice subject = check_text(L, 1), pattern = check_text(L, 2);
    size_t from = start_of(L, 3, subject.n);
    lua_settop(L, 2);
    search_init(s, subject, pattern, from > subject.n ? subject.n : from);
    s->running = false;
    s->anchored = from > subject.n;   /* then there is nothing to find; ^ has no meaning here: it is a character */
    match_init(&s->m, subject, pattern);
    match_at(&s->m, s->at);
    if (s->anchored)
        s->m.phase = MATCH_NONE;
    search_keep(L, s);
    lua_pushcclosure(L, gmatch_next, 3);
    return 1;
}

/* ---- gsub ---- */

static void out_add(lua_State *L, struct search *s, const char *p, size_t n)
{
    if (s->size + n > s->cap || s->out == NULL) {
        size_t cap = (s->cap > s->m.subject.n ? s->cap : s->m.subject.n) / 2 * 3 + n + 32;
        char *grown = lua_newuserdatauv(L, cap, 0);
        if (s->size > 0)
            memcpy(grown, s->out, s->size);
        s->out = grown;
        s->cap = cap;
        lua_replace(L, OUT);
    }
    if (n > 0)
        memcpy(s->out + s->size, p, n);
    s->size += n;
}

/* The text to replace by, with its captures. */
static void add_text(lua_State *L, struct search *s)
{
    size_t n;
    const char *p = lua_tolstring(L, REPLACEMENT, &n), *end = p + n, *sign;
    while ((sign = memchr(p, '%', (size_t)(end - p))) != NULL) {
        char what = sign[1];
        out_add(L, s, p, (size_t)(sign - p));
        p = sign + 2;
        if (what == '%') {
            out_add(L, s, "%", 1);
        } else if (what == '0') {
            out_add(L, s, s->at, (size_t)(s->m.s - s->at));
        } else if (isdigit((unsigned char)what)) {
            size_t size;
            push_capture(L, s, (unsigned)(what - '1'));
            const char *text = lua_tolstring(L, -1, &size);
            out_add(L, s, text, size);
            lua_pop(L, 1);
        } else {
            luaL_error(L, "invalid use of '%%' in replacement string");
        }
    }
    out_add(L, s, p, (size_t)(end - p));
}

/* Takes the value on top, by which the match is replaced. False and nil: it stays. */
static void add_value(lua_State *L, struct search *s)
{
    if (!lua_toboolean(L, -1)) {
        lua_pop(L, 1);
        return;
    }
    if (!lua_isstring(L, -1))
        luaL_error(L, "invalid replacement value (a %s)", luaL_typename(L, -1));
    size_t n;
    const char *text = lua_tolstring(L, -1, &n);
    out_add(L, s, s->copied, (size_t)(s->at - s->copied));
    out_add(L, s, text, n);
    s->copied = s->m.s;
    lua_pop(L, 1);
}

static int gsub_results(lua_State *L, struct search *s)
{
    if (s->out == NULL) {
        lua_pushvalue(L, SUBJECT);
    } else {
        out_add(L, s, s->copied, (size_t)(s->m.subject.p + s->m.subject.n - s->copied));
        lua_pushlstring(L, s->out, s->size);
    }
    lua_pushinteger(L, s->count);
    return 2;
}

static int gsub_called(lua_State *L, int status, lua_KContext context);

/* Replaces the match that was found. */
static void gsub_replace(lua_State *L, struct search *s)
{
    switch (lua_type(L, REPLACEMENT)) {
    case LUA_TFUNCTION:
        lua_pushvalue(L, REPLACEMENT);
        lua_callk(L, push_captures(L, s, true), 1, 0, gsub_called);
        add_value(L, s);
        break;
    case LUA_TTABLE:
        push_capture(L, s, 0);
        lua_gettable(L, REPLACEMENT);
        add_value(L, s);
        break;
    default:
        out_add(L, s, s->copied, (size_t)(s->at - s->copied));
        add_text(L, s);
        s->copied = s->m.s;
    }
}

static int gsub_again(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    (void)context;
    struct search *s = lua_touserdata(L, STATE);
    while (s->count < s->most) {
        enum match_phase phase = search_next(L, s);
        if (phase == MATCH_RUNS)
            return lua_yieldk(L, 0, 0, gsub_again);
        if (phase == MATCH_NONE)
            break;
        s->count++;
        gsub_replace(L, s);
        search_after(s);
        if (s->anchored)
            break;
    }
    return gsub_results(L, s);
}

/* The function that replaces has waited, or given way; its result is on top. */
static int gsub_called(lua_State *L, int status, lua_KContext context)
{
    struct search *s = lua_touserdata(L, STATE);
    add_value(L, s);
    search_after(s);
    if (s->anchored)
        return gsub_results(L, s);
    return gsub_again(L, status, context);
}

/* string.gsub(s, pattern, replacement [, most]) */
static int l_gsub(lua_State *L)
{
    union search_room room UNINIT;
    struct search *s = &room.search;
    slice subject = check_text(L, SUBJECT), pattern = check_text(L, PATTERN);
    int type = lua_type(L, REPLACEMENT);
    luaL_argexpected(L, type == LUA_TNUMBER || type == LUA_TSTRING || type == LUA_TFUNCTION || type == LUA_TTABLE,
                     REPLACEMENT, "string/function/table");
    lua_Integer most = luaL_optinteger(L, MOST, (lua_Integer)subject.n + 1);
    lua_settop(L, MOST);
    search_init(s, subject, pattern, 0);
    s->count = 0;
    s->most = most;
    s->copied = subject.p;
    s->out = NULL;
    s->size = s->cap = 0;
    enum match_phase phase = most > 0 ? search_next(L, s) : MATCH_NONE;
    if (phase == MATCH_NONE)
        return gsub_results(L, s);
    search_keep(L, s);
    lua_pushnil(L);                   /* OUT */
    if (phase == MATCH_RUNS)
        return lua_yieldk(L, 0, 0, gsub_again);
    return gsub_again(L, LUA_OK, 0);  /* which finds the same match again, at once */
}

/* Replaces those of Lua's table `string`. */
void string_open(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"find", l_find}, {"match", l_match}, {"gmatch", l_gmatch}, {"gsub", l_gsub}, {NULL, NULL}};
    lua_getglobal(L, "string");
    luaL_setfuncs(L, functions, 0);
    lua_pop(L, 1);
}
