/*
 * metrics.counter, metrics.gauge, metrics.histogram: the meters of meters.h.
 */
#include <lauxlib.h>
#include <math.h>

#include "base/clock.h"
#include "script/bind/arg.h"
#include "script/bind/field.h"
#include "script/bind/object.h"
#include "script/std/meters.h"
#include "script/std/tables.h"
#include "script/vm/vm.h"

/* A meter as a script holds it. The first change finds it, so that it can be declared while lignum.lua is loaded. */
struct meter_handle {
    struct meter *meter;              /* outlives us; NULL before the first change */
    bool refused;                     /* there are too many */
    struct meter_options is;
};

static const double bounds_default[] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10};

/* ---- declaring ---- */

static bool is_name(slice text, bool colons)
{
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i], low = (char)(c | 0x20);
        if (!((low >= 'a' && low <= 'z') || c == '_' || (c == ':' && colons) || (i > 0 && c >= '0' && c <= '9')))
            return false;
    }
    return text.n > 0;
}

static void take_labels(lua_State *L, struct meter_options *o, const char *usage)
{
    if (lua_isnoneornil(L, 3))
        return;
    if (!lua_istable(L, 3))
        arg_fail(L, usage, "labels must be a list of names, not %s", luaL_typename(L, 3));
    for (lua_Integer i = 1; lua_rawgeti(L, 3, i) != LUA_TNIL; i++) {
        slice name = arg_text(L, -1, "a label", usage);
        if (o->labels == METER_LABELS_MAX)
            arg_fail(L, usage, "more than %d labels", METER_LABELS_MAX);
        if (!is_name(name, false) || name.n > METER_LABEL_NAME_MAX || slice_starts(name, SLICE("__")) ||
            slice_eq(name, SLICE("le")))
            arg_fail(L, usage, "%s cannot be the name of a label", name.p);
        memcpy(o->label[o->labels++], name.p, name.n);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

static void take_bounds(lua_State *L, struct meter_options *o, const char *usage)
{
    if (lua_isnoneornil(L, 4)) {
        o->bounds = sizeof(bounds_default) / sizeof(bounds_default[0]);
        memcpy(o->bound, bounds_default, sizeof(bounds_default));
        return;
    }
    if (!lua_istable(L, 4))
        arg_fail(L, usage, "buckets must be a list of numbers, not %s", luaL_typename(L, 4));
    for (lua_Integer i = 1; lua_rawgeti(L, 4, i) != LUA_TNIL; i++) {
        double bound = lua_type(L, -1) == LUA_TNUMBER ? lua_tonumber(L, -1) : NAN;
        if (o->bounds == METER_BOUNDS_MAX)
            arg_fail(L, usage, "more than %d buckets", METER_BOUNDS_MAX);
        if (!isfinite(bound) || (o->bounds > 0 && bound <= o->bound[o->bounds - 1]))
            arg_fail(L, usage, "buckets must be numbers that rise");
        o->bound[o->bounds++] = bound;
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

static int declare(lua_State *L, enum meter_kind kind, const char *usage)
{
    slice name = arg_text(L, 1, "name", usage), help = arg_text(L, 2, "help", usage);
    if (!is_name(name, true) || name.n > METER_NAME_MAX || slice_starts(name, SLICE("lignum_")))
        return arg_fail(L, usage, "name must be up to %d letters, digits, _ and :, and not begin with lignum_",
                        METER_NAME_MAX);
    if (help.n > METER_HELP_MAX)
        return arg_fail(L, usage, "help has more than %d bytes", METER_HELP_MAX);
    struct meter_handle *h = object_new(L, KIND_METER, sizeof(*h), 0);
    h->is.kind = kind;
    memcpy(h->is.name, name.p, name.n);
    memcpy(h->is.help, help.p, help.n);
    int object = lua_gettop(L);
    take_labels(L, &h->is, usage);
    if (kind == METER_HISTOGRAM)
        take_bounds(L, &h->is, usage);
    lua_settop(L, object);
    return 1;
}

/* metrics.counter(name, help [, labels]) -> meter */
static int l_counter(lua_State *L)
{
    lua_settop(L, 3);
    return declare(L, METER_COUNTER, "metrics.counter(name, help [, labels])");
}

/* metrics.gauge(name, help [, labels]) -> meter */
static int l_gauge(lua_State *L)
{
    lua_settop(L, 3);
    return declare(L, METER_GAUGE, "metrics.gauge(name, help [, labels])");
}

/* metrics.histogram(name, help [, labels [, buckets]]) -> meter */
static int l_histogram(lua_State *L)
{
    lua_settop(L, 4);
    return declare(L, METER_HISTOGRAM, "metrics.histogram(name, help [, labels [, buckets]])");
}

/* ---- changing ---- */

static void change(lua_State *L, enum meter_change change, unsigned kinds, const char *usage)
{
    struct meter_handle *h = object_check(L, 1, KIND_METER, usage);
    struct meters *ms = vm_services(L)->meters;
    double value = lua_type(L, 2) == LUA_TNUMBER ? lua_tonumber(L, 2) : NAN;
    if ((1u << h->is.kind & kinds) == 0)
        arg_fail(L, usage, "%s is of another kind", h->is.name);
    if (lua_type(L, 2) != LUA_TNUMBER || (change != METER_SET && !isfinite(value)))
        arg_fail(L, usage, "value must be a number, not %s", luaL_tolstring(L, 2, NULL));
    if (h->is.kind == METER_COUNTER && value < 0)
        arg_fail(L, usage, "a counter only rises");
    if (lua_gettop(L) - 2 != h->is.labels)
        arg_fail(L, usage, "%s has %d labels, not %d", h->is.name, h->is.labels, lua_gettop(L) - 2);
    struct buf *labels = vm_scratch(vm_of(L));
    for (int i = 3; i <= lua_gettop(L); i++) {
        if (lua_type(L, i) != LUA_TSTRING && lua_type(L, i) != LUA_TNUMBER)
            arg_fail(L, usage, "label %s must be a string, not %s", h->is.label[i - 3], luaL_typename(L, i));
        slice text;
        text.p = lua_tolstring(L, i, &text.n);
        meter_label(labels, text);
    }
    if (h->meter == NULL && !h->refused) {
        h->meter = meters_declare(ms, &h->is);
        h->refused = h->meter == NULL;
    }
    if (h->meter != NULL)
        meter_change(ms, h->meter, buf_slice(labels), change, value);
}

/* meter:add([value, ...]) */
static int l_add(lua_State *L)
{
    if (lua_gettop(L) == 1)
        lua_pushinteger(L, 1);
    change(L, METER_ADD, 1u << METER_COUNTER | 1u << METER_GAUGE, "meter:add([value, labels...])");
    return 0;
}

/* meter:set(value, ...) */
static int l_set(lua_State *L)
{
    change(L, METER_SET, 1u << METER_GAUGE, "meter:set(value, labels...)");
    return 0;
}

/* meter:observe(value, ...) */
static int l_observe(lua_State *L)
{
    change(L, METER_OBSERVE, 1u << METER_HISTOGRAM, "meter:observe(value, labels...)");
    return 0;
}

/* core.metrics_text() -> Prometheus' text format */
static int l_text(lua_State *L)
{
    struct buf *out = vm_scratch(vm_of(L));
    meters_render(vm_services(L)->meters, out);
    lua_pushlstring(L, out->data, buf_size(out));
    vm_scratch_done(out);
    return 1;
}

#define CALLED "core.called(kind, name, seconds [, problem])"

/* core.called(kind, name, seconds [, problem]) */
static int l_called(lua_State *L)
{
    static const char *const kinds[] = {"hook", "timer", NULL};
    const char *kind = kinds[luaL_checkoption(L, 1, NULL, kinds)];
    const char *name = luaL_checkstring(L, 2);
    double seconds = arg_seconds(L, 3, "seconds", CALLED);
    const char *problem = lua_isnoneornil(L, 4) ? NULL : luaL_tolstring(L, 4, NULL);
    meters_called(vm_services(L)->meters, kind, name, (uint64_t)(seconds * (double)NS_PER_S), problem);
    return 0;
}

/* core.calls() -> list of tables */
static int l_calls(lua_State *L)
{
    struct calls_info c;
    lua_newtable(L);
    for (size_t i = 0; meters_calls_at(vm_services(L)->meters, i, &c); i++) {
        lua_createtable(L, 0, 8);
        set_text(L, "kind", c.kind);
        lua_pushlstring(L, c.name.p, c.name.n);
        lua_setfield(L, -2, "name");
        set_whole(L, "calls", c.took.count);
        set_whole(L, "errors", c.errors);
        set_number(L, "seconds", (double)c.took.sum_ns / (double)NS_PER_S);
        set_number(L, "p50", hist_quantile_ns(&c.took, 0.5) / (double)NS_PER_S);
        set_number(L, "p99", hist_quantile_ns(&c.took, 0.99) / (double)NS_PER_S);
        if (c.problem != NULL) {
            set_text(L, "problem", c.problem);
            set_number(L, "problem_time", (double)c.problem_ms / 1000.0);
        }
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

void metrics_open(lua_State *L)
{
    static const luaL_Reg methods[] = {{"add", l_add}, {"set", l_set}, {"observe", l_observe}, {NULL, NULL}};
    static const luaL_Reg functions[] = {
        {"counter", l_counter}, {"gauge", l_gauge}, {"histogram", l_histogram}, {NULL, NULL}};
    kind_open(L, &(struct kind_options){KIND_METER, NULL, methods, NULL, NULL});
    lua_setfield(L, -2, "Meter");
    luaL_newlib(L, functions);
    lua_setfield(L, -2, "metrics");
    lua_pushcfunction(L, l_text);
    lua_setfield(L, -2, "metrics_text");
    lua_pushcfunction(L, l_called);
    lua_setfield(L, -2, "called");
    lua_pushcfunction(L, l_calls);
    lua_setfield(L, -2, "calls");
}
