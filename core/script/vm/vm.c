#include "script/vm/state.h"

#include <lualib.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/say.h"
#include "script/bind/bind.h"
#include "script/vm/task.h"

enum {
    LOAD_MS = 5 * 1000,               /* for lignum.lua as a whole, at start and at reload */
    CONFIG_MS = 100,
    SCRATCH_KEPT = 1 * MIB,
    FOREIGN_MIN = 32 * MIB,           /* of objects' own memory before a collection is forced */
    VM_ROUTES_MAX = 1024,
};

/* ---- memory ---- */

/* Where p is NULL, `old` is a type and no size. */
static void *allocate(void *ud, void *p, size_t old, size_t size)
{
    struct vm *vm = ud;
    if (size == 0) {
        if (p == NULL)
            return NULL;
        vm->used -= old;
        pool_give(&vm->pool, p, old);
        return NULL;
    }
    if (p == NULL)
        old = 0;
    if (vm->capped && size > old && vm->used + vm->foreign + (size - old) > vm->used_max)
        return NULL;
    void *q = p == NULL ? pool_take(&vm->pool, size) : pool_resize(&vm->pool, p, old, size);
    if (q != NULL)
        vm->used += size - old;
    return q;
}

void vm_claim(lua_State *L, size_t n)
{
    struct vm *vm = vm_of(L);
    if (vm->foreign + n > vm->foreign_next || vm->used + vm->foreign + n > vm->used_max) {
        lua_gc(L, LUA_GCCOLLECT);
        vm->foreign_next = 2 * vm->foreign + n < FOREIGN_MIN ? FOREIGN_MIN : 2 * vm->foreign + n;
    }
    if (vm->used + vm->foreign + n > vm->used_max) {
        lua_pushliteral(L, "not enough memory");   /* lua_error makes Lua's own memory error of it */
        lua_error(L);
    }
    vm->foreign += n;
}

void vm_release(struct vm *vm, size_t n)
{
    vm->foreign -= n;
}

void vm_relieve(struct vm *vm)
{
    size_t used = vm->used + vm->foreign;
    if (used < vm->relieve_at)
        return;
    lua_gc(vm->L, LUA_GCCOLLECT);
    pool_trim(&vm->pool);
    malloc_trim(0);
    used = vm->used + vm->foreign;
    size_t usual = vm->used_max / 4 * 3;
    size_t half_way = used < vm->used_max ? used + (vm->used_max - used) / 2 : used;
    vm->relieve_at = half_way > usual ? half_way : usual;
}

struct buf *vm_scratch(struct vm *vm)
{
    buf_clear(&vm->scratch);
    return &vm->scratch;
}

void vm_scratch_done(struct buf *b)
{
    if (b->cap > SCRATCH_KEPT)
        buf_fini(b);
}

/* ---- calls from C ---- */

static void add_place(struct buf *out, lua_State *L)
{
    lua_Debug ar;
    for (int level = 0; lua_getstack(L, level, &ar); level++) {
        lua_getinfo(L, "Sl", &ar);
        if (ar.currentline > 0) {
            buf_addf(out, "%s:%d: ", ar.short_src, ar.currentline);
            return;
        }
    }
}

void error_describe(struct buf *out, lua_State *L, const struct vm *vm, struct error_cause cause)
{
    if (cause.over) {
        buf_addf(out, "%sover its budget of %u ms", vm->budget.place, cause.budget_ms);
    } else if (cause.status == LUA_ERRMEM) {
        add_place(out, L);
        buf_addf(out, "over the limit of %zu MiB for the memory of all scripts", vm->used_max / MIB);
    } else if (lua_type(L, -1) == LUA_TSTRING) {
        buf_addf(out, "%s", lua_tostring(L, -1));
    } else {
        buf_addf(out, "an error value of type %s", luaL_typename(L, -1));
    }
}

int error_code(struct error_cause cause)
{
    return cause.over ? -ERR_SCRIPT_TIME : cause.status == LUA_ERRMEM ? -ERR_SCRIPT_MEMORY : -ERR_SCRIPT;
}

int vm_call(struct vm *vm, int nargs, int nresults, uint32_t budget_ms)
{
    struct budget_run run;
    lua_State *L = vm->L;
    bool capped = vm->capped;
    budget_begin(&vm->budget, &run, L, budget_ms);
    vm->budget.where = "loading the scripts";
    vm->capped = true;
    int status = lua_pcall(L, nargs, nresults, 0);
    vm->capped = capped;
    bool over = budget_end(&vm->budget, &run);
    if (status == LUA_OK)
        return 0;
    struct error_cause cause = {status, over, budget_ms};
    buf_clear(&vm->extra);
    error_describe(&vm->extra, L, vm, cause);
    lua_pop(L, 1);
    lua_pushlstring(L, vm->extra.data, buf_size(&vm->extra));
    return error_code(cause);
}

void vm_push_entry(struct vm *vm, lua_State *L, const char *name)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, vm->entries_ref);
    lua_getfield(L, -1, name);
    lua_remove(L, -2);
}

/* ---- start and end ---- */

static int on_panic(lua_State *L)
{
    say_fatal(EXIT_SOFTWARE, "script", "Lua failed outside of any task: %s", lua_tostring(L, -1));
}

static void add_paths(struct buf *path, struct buf *cpath, const char *root)
{
    buf_addf(path, ";%s/share/lua/5.4/?.lua;%s/share/lua/5.4/?/init.lua", root, root);
    buf_addf(cpath, ";%s/lib/lua/5.4/?.so", root);
}

/* Modules come from scripts/, from beside lignum.lua, and from the rocks trees beside both. */
static void set_paths(struct vm *vm)
{
    struct buf path = {0};
    struct buf cpath = {0};
    char root[4096];
    buf_addf(&path, "%s/?.lua;%s/?/init.lua", vm->scripts, vm->scripts);
    snprintf(root, sizeof(root), "%s/../rocks", vm->scripts);
    add_paths(&path, &cpath, root);
    if (vm->config != NULL) {
        const char *slash = strrchr(vm->config, '/');
        int n = slash == NULL ? 1 : (int)(slash - vm->config);
        const char *dir = slash == NULL ? "." : vm->config;
        buf_addf(&path, ";%.*s/?.lua", n, dir);
        snprintf(root, sizeof(root), "%.*s/rocks", n, dir);
        add_paths(&path, &cpath, root);
    }
    lua_getglobal(vm->L, "package");
    lua_pushlstring(vm->L, path.data, buf_size(&path));
    lua_setfield(vm->L, -2, "path");
    lua_pushlstring(vm->L, cpath.data + 1, buf_size(&cpath) - 1);
    lua_setfield(vm->L, -2, "cpath");
    lua_pop(vm->L, 1);
    buf_fini(&path);
    buf_fini(&cpath);
}

static char *copy_text(const char *text)
{
    return text == NULL ? NULL : mem_copy(text, strlen(text));
}

static void set_memory_max(struct vm *vm, size_t max)
{
    vm->used_max = max;
    vm->relieve_at = max / 4 * 3;
}

static void keep_options(struct vm *vm, const struct vm_options *o)
{
    size_t n = 0;
    while (o->set != NULL && o->set[n] != NULL)
        n++;
    vm->scripts = copy_text(o->scripts);
    vm->config = copy_text(o->config);
    vm->set = mem_new((n + 1) * sizeof(char *));
    for (size_t i = 0; i < n; i++)
        vm->set[i] = copy_text(o->set[i]);
    vm->memory_default = o->memory_max == 0 ? (size_t)VM_MEMORY_MAX : o->memory_max;
    vm->foreign_next = FOREIGN_MIN;
    set_memory_max(vm, vm->memory_default);
}

/* The table on top. */
static void keep_entries(struct vm *vm)
{
    lua_State *L = vm->L;
    lua_getfield(L, -1, "handle");
    vm->handle_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    vm->entries_ref = luaL_ref(L, LUA_REGISTRYINDEX);
}

/* Reads lignum/init.lua and keeps the table of entry points that it returns. */
static int load_entries(struct vm *vm)
{
    char path[4096];
    lua_State *L = vm->L;
    snprintf(path, sizeof(path), "%s/lignum/init.lua", vm->scripts);
    int rc = luaL_loadfilex(L, path, "t") == LUA_OK ? vm_call(vm, 0, 1, LOAD_MS) : -ERR_SCRIPT;
    if (rc < 0)
        say_error("script", "%s", lua_tostring(L, -1));
    else if (!lua_istable(L, -1))
        rc = -ERR_SCRIPT, say_error("script", "%s returned no table of entry points", path);
    else
        keep_entries(vm);
    lua_settop(L, 0);
    return rc;
}

/* The collector stays incremental: generational cost the same CPU a publish (measured), and is the less tried one. */
static int open_state(struct vm *vm)
{
    lua_State *L = vm->L = lua_newstate(allocate, vm);
    if (L == NULL)
        return -ERR_SCRIPT_MEMORY;
    *vm_word(L) = (uintptr_t)vm;
    lua_atpanic(L, on_panic);
    libs_open(L, vm);
    set_paths(vm);
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
    lua_pushcfunction(L, core_open);
    lua_setfield(L, -2, "lignum.core");
    lua_settop(L, 0);
    return 0;
}

int vm_new(const struct vm_options *o, struct vm **out)
{
    struct vm *vm = MEM_NEW(struct vm);
    keep_options(vm, o);
    int rc = budget_init(&vm->budget);
    if (rc == 0)
        rc = open_state(vm);
    if (rc == 0) {
        vm->tasks = tasks_new(vm);
        rc = load_entries(vm);
    }
    if (rc < 0) {
        vm_free(vm);
        return rc;
    }
    *out = vm;
    return 0;
}

static void free_options(struct vm *vm)
{
    for (size_t i = 0; vm->set[i] != NULL; i++)
        mem_free(vm->set[i]);
    mem_free(vm->set);
    mem_free(vm->scripts);
    mem_free(vm->config);
}

static void free_routes(struct vm *vm)
{
    for (unsigned i = 1; i <= vm->route_count; i++)
        mem_free(vm->routes[i].pattern);
    mem_free(vm->routes);
}

void vm_free(struct vm *vm)
{
    if (vm->tasks != NULL)
        tasks_free(vm->tasks);
    script_close(vm);
    if (vm->L != NULL)
        lua_close(vm->L);
    pool_trim(&vm->pool);
    budget_fini(&vm->budget);
    free_options(vm);
    free_routes(vm);
    buf_fini(&vm->scratch);
    buf_fini(&vm->extra);
    buf_fini(&vm->keys);
    mem_free(vm);
}

/* ---- loading ---- */

static void push_options(struct vm *vm)
{
    lua_State *L = vm->L;
    lua_createtable(L, 0, 3);
    lua_pushstring(L, vm->config);
    lua_setfield(L, -2, "config");
    lua_pushstring(L, vm->scripts);
    lua_setfield(L, -2, "scripts");
    lua_newtable(L);
    for (int i = 0; vm->set[i] != NULL; i++) {
        lua_pushstring(L, vm->set[i]);
        lua_rawseti(L, -2, i + 1);
    }
    lua_setfield(L, -2, "set");
}

int vm_load(struct vm *vm, struct buf *why)
{
    lua_State *L = vm->L;
    int top = lua_gettop(L);
    vm_push_entry(vm, L, "load");
    push_options(vm);
    vm->loading = true;
    int rc = vm_call(vm, 1, 0, LOAD_MS);
    vm->loading = false;
    if (rc < 0)
        buf_add_slice(why, buf_slice(&vm->extra));
    else
        set_memory_max(vm, (size_t)vm_config_number(vm, "limits.script_memory", (double)vm->memory_default));
    lua_settop(L, top);
    return rc < 0 ? -ERR_BAD_VALUE : 0;
}

void vm_attach(struct vm *vm, const struct services *services)
{
    vm->services = *services;
    vm->attached = true;
    for (unsigned i = 1; i <= vm->route_count; i++)
        vm->routes[i].counter = http_route(services->http, slice_from(vm->routes[i].pattern));
}

const struct services *vm_services(lua_State *L)
{
    struct vm *vm = vm_of(L);
    if (!vm->attached || vm->loading)
        luaL_error(L, "this may be called in a task only (a handler, hook, timer or the console), not while loading");
    return &vm->services;
}

struct tasks *vm_tasks(struct vm *vm)
{
    return vm->tasks;
}

struct vm *vm_of(lua_State *L)
{
    return vm_of_thread(L);
}

lua_State *vm_state(struct vm *vm)
{
    return vm->L;
}

static unsigned route_find(const struct vm *vm, slice pattern)
{
    unsigned i = vm->route_count;
    while (i > 0 && !slice_eq(slice_from(vm->routes[i].pattern), pattern))
        i--;
    return i;
}

unsigned vm_route(struct vm *vm, slice pattern)
{
    unsigned i = route_find(vm, pattern);
    if (i > 0 || vm->route_count == VM_ROUTES_MAX)
        return i;
    if (vm->route_count + 1 >= vm->route_cap) {
        vm->route_cap = vm->route_cap == 0 ? 32 : vm->route_cap * 2;
        vm->routes = mem_resize(vm->routes, vm->route_cap * sizeof(vm->routes[0]));
    }
    i = ++vm->route_count;
    vm->routes[i] = (struct vm_route){.pattern = mem_copy(pattern.p, pattern.n)};
    if (vm->attached)
        vm->routes[i].counter = http_route(vm->services.http, pattern);
    return i;
}

/* ---- live configuration ---- */

/* Leaves the value, or nil, on the stack. */
static void push_config(struct vm *vm, const char *path)
{
    vm_push_entry(vm, vm->L, "config");
    lua_pushstring(vm->L, path);
    if (vm_call(vm, 1, 1, CONFIG_MS) < 0) {
        say_error("script", "config %s: %s", path, lua_tostring(vm->L, -1));
        lua_pop(vm->L, 1);
        lua_pushnil(vm->L);
    }
}

bool vm_config_text(struct vm *vm, const char *path, struct buf *out)
{
    push_config(vm, path);
    bool there = lua_isstring(vm->L, -1);
    if (there) {
        size_t n;
        const char *text = lua_tolstring(vm->L, -1, &n);
        buf_add(out, text, n);
    }
    lua_pop(vm->L, 1);
    return there;
}

double vm_config_number(struct vm *vm, const char *path, double otherwise)
{
    push_config(vm, path);
    double value = lua_type(vm->L, -1) == LUA_TNUMBER ? lua_tonumber(vm->L, -1) : otherwise;
    lua_pop(vm->L, 1);
    return value;
}

/* Anything but false and nil counts: `authorize` is a function. */
bool vm_config_flag(struct vm *vm, const char *path, bool otherwise)
{
    push_config(vm, path);
    bool value = lua_isnil(vm->L, -1) ? otherwise : lua_toboolean(vm->L, -1);
    lua_pop(vm->L, 1);
    return value;
}

void vm_stats(const struct vm *vm, struct vm_stats *out)
{
    *out = (struct vm_stats){
        .memory = vm->used + vm->foreign,
        .memory_max = vm->used_max,
        .cpu_ns = budget_lua_ns(&vm->budget),
        .budget_exceeded = vm->budget.exceeded,
    };
    if (vm->tasks != NULL)
        tasks_count(vm->tasks, out);
}
