#include "script/vm/chunks.h"
#include "script/vm/vm.h"

#include <lauxlib.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/say.h"
#include "script/vm/coverage.h"
#include "script/vm/profile.h"
#include "script/vm/run.h"
#include "script/vm/task.h"

enum {
    LOAD_MS = 5 * 1000,               /* for lignum.lua as a whole, at start and at reload */
    CONFIG_MS = 100,
    SCRATCH_KEPT = 1 * MIB,
};

/* ---- scratch buffers ---- */

struct buf *vm_scratch(struct vm *vm)
{
    buf_clear(&vm->scratch);
    return &vm->scratch;
}

struct buf *vm_scratch_headers(struct vm *vm)
{
    buf_clear(&vm->scratch_headers);
    return &vm->scratch_headers;
}

struct buf *vm_scratch_keys(struct vm *vm)
{
    buf_clear(&vm->scratch_keys);
    return &vm->scratch_keys;
}

void vm_scratch_done(struct buf *b)
{
    if (b->cap > SCRATCH_KEPT)
        buf_fini(b);
}

/* ---- calls from C ---- */

int vm_call(struct vm *vm, int nargs, int nresults, uint32_t budget_ms)
{
    struct run run;
    lua_State *L = vm->L;
    run_begin(&run, vm, L, budget_ms, "loading the scripts");
    int status = lua_pcall(L, nargs, nresults, 0);
    bool over = run_end(&run, vm);
    if (status == LUA_OK)
        return 0;
    struct failure failure = {.status = status, .over = over, .budget_ms = budget_ms};
    struct buf *message = vm_scratch_headers(vm);
    failure_describe(message, L, vm, failure);
    lua_pop(L, 1);
    lua_pushlstring(L, message->data, buf_size(message));
    return failure_code(failure);
}

void vm_push_entry(struct vm *vm, lua_State *L, const char *name)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, vm->entries_ref);
    lua_getfield(L, -1, name);
    lua_remove(L, -2);
}

void vm_push_handle(lua_State *L)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, vm_of(L)->handle_ref);
}

/* ---- start and end ---- */

static int on_panic(lua_State *L)
{
    say_fatal(EXIT_SOFTWARE, "script", "Lua failed outside of any task: %s", lua_tostring(L, -1));
}

static void on_hook(lua_State *L, lua_Debug *ar)
{
    struct vm *vm = vm_of(L);
    if (ar->event == LUA_HOOKLINE) {
        coverage_note(vm->coverage, vm->scripts, L, ar);
        return;
    }
    bool only = false;
    if (budget_takes_sample(vm->budget, L, &only) && vm->budget->profile != NULL)
        profile_note(vm->budget->profile, vm->budget->top);
    if (!only && budget_on_hook(vm->budget, L) && task_gives_way(vm->tasks, L))
        lua_yield(L, 0);
}

static void add_rocks(struct buf *path, struct buf *cpath, const char *root)
{
    buf_addf(path, ";%s/share/lua/5.4/?.lua;%s/share/lua/5.4/?/init.lua", root, root);
    buf_addf(cpath, ";%s/lib/lua/5.4/?.so", root);
}

/* Modules come from scripts/, from the directory of lignum.lua, and from the trees of LuaRocks beside both. */
static void set_paths(struct vm *vm)
{
    struct buf path = {0};
    struct buf cpath = {0};
    char root[4096];
    buf_addf(&path, "%s/?.lua;%s/?/init.lua", vm->scripts, vm->scripts);
    snprintf(root, sizeof(root), "%s/../rocks", vm->scripts);
    add_rocks(&path, &cpath, root);
    if (vm->config != NULL) {
        const char *slash = strrchr(vm->config, '/');
        int n = slash == NULL ? 1 : (int)(slash - vm->config);
        const char *dir = slash == NULL ? "." : vm->config;
        buf_addf(&path, ";%.*s/?.lua", n, dir);
        snprintf(root, sizeof(root), "%.*s/rocks", n, dir);
        add_rocks(&path, &cpath, root);
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

static void keep_options(struct vm *vm, const struct vm_options *o)
{
    size_t n = 0;
    while (o->set != NULL && o->set[n] != NULL)
        n++;
    vm->scripts = copy_text(o->scripts);
    vm->config = copy_text(o->config);
    vm->tests = copy_text(o->tests);
    vm->coverage = o->first == NULL ? NULL : o->coverage;
    vm->check = o->check;
    vm->set = mem_new((n + 1) * sizeof(char *));
    for (size_t i = 0; i < n; i++)
        vm->set[i] = copy_text(o->set[i]);
    vm->memory_default = o->memory_max == 0 ? (size_t)VM_MEMORY_MAX : o->memory_max;
    vm->init = o->init == NULL ? "init" : o->init;
    vm->world = o->world == NULL ? "operator" : o->world;
}

/* Reads its script and keeps the table of entry points that it returns. */
static int load_entries(struct vm *vm)
{
    char path[4096];
    lua_State *L = vm->L;
    snprintf(path, sizeof(path), "%s/lignum/%s.lua", vm->scripts, vm->init);
    int rc = chunks_load(vm->chunks, L, path) == LUA_OK ? vm_call(vm, 0, 1, LOAD_MS) : -ERR_SCRIPT;
    if (rc < 0) {
        say_error("script", "%s", lua_tostring(L, -1));
    } else if (!lua_istable(L, -1)) {
        rc = -ERR_SCRIPT;
        say_error("script", "%s returned no table of entry points", path);
    } else {
        lua_getfield(L, -1, "handle");
        vm->handle_ref = luaL_ref(L, LUA_REGISTRYINDEX);
        vm->entries_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    }
    lua_settop(L, 0);
    return rc;
}

/* The collector stays incremental: the generational one costs the same CPU for a publish (measured), and is less
 * proven. */
int vm_new(const struct vm_options *o, struct vm **out)
{
    struct vm *vm = MEM_NEW(struct vm);
    keep_options(vm, o);
    memory_init(&vm->memory, vm->memory_default, o->memory_reserve);
    vm->is_first = o->first == NULL;
    vm->budget = vm->is_first ? MEM_NEW(struct budget) : o->first->budget;
    vm->chunks = vm->is_first ? chunks_new() : o->first->chunks;
    int rc = vm->is_first ? budget_init(vm->budget, on_hook) : 0;
    if (rc == 0) {
        vm->L = lua_newstate(memory_allocate, &vm->memory);
        rc = vm->L == NULL ? -ERR_SCRIPT_MEMORY : 0;
    }
    if (rc == 0) {
        *thread_word(vm->L) = (uintptr_t)vm;
        lua_atpanic(vm->L, on_panic);
        o->open(vm->L);
        if (vm->coverage != NULL) {            /* before there are further threads, which inherit it */
            vm->budget->lines = LUA_MASKLINE;
            lua_sethook(vm->L, on_hook, LUA_MASKLINE, 0);
        }
        set_paths(vm);
        lua_settop(vm->L, 0);
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

void vm_free(struct vm *vm)
{
    if (vm->tasks != NULL)
        tasks_free(vm->tasks);
    slots_free(&vm->slots);
    if (vm->L != NULL)
        lua_close(vm->L);
    memory_fini(&vm->memory);
    if (vm->is_first) {
        budget_fini(vm->budget);
        if (vm->budget->profile != NULL)
            profile_free(vm->budget->profile);
        mem_free(vm->budget);
        chunks_free(vm->chunks);
    }
    for (size_t i = 0; vm->set[i] != NULL; i++)
        mem_free(vm->set[i]);
    mem_free(vm->set);
    mem_free(vm->scripts);
    mem_free(vm->config);
    mem_free(vm->tests);
    buf_fini(&vm->scratch);
    buf_fini(&vm->scratch_headers);
    buf_fini(&vm->scratch_keys);
    mem_free(vm);
}

/* ---- loading ---- */

static void set_memory_max(struct vm *vm)
{
    memory_set_max(&vm->memory, (size_t)vm_config_number(vm, "limits.script_memory", (double)vm->memory_default));
}

static void push_options(struct vm *vm, lua_State *L)
{
    lua_createtable(L, 0, 5);
    lua_pushstring(L, vm->tests);
    lua_setfield(L, -2, "tests");
    lua_pushboolean(L, vm->check);
    lua_setfield(L, -2, "check");
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
    push_options(vm, L);
    vm->loading = true;
    int rc = vm_call(vm, 1, 0, LOAD_MS);
    vm->loading = false;
    if (rc < 0)
        buf_add(why, lua_tostring(L, -1), lua_rawlen(L, -1));
    else
        set_memory_max(vm);
    lua_settop(L, top);
    return rc < 0 ? -ERR_BAD_VALUE : 0;
}

static int push_load(lua_State *L, void *arg)
{
    struct vm *vm = arg;
    vm_push_entry(vm, L, "load");
    push_options(vm, L);
    return 1;
}

static void on_loaded(void *arg, const struct task_result *r)
{
    struct vm *vm = arg;
    vm->loading = false;
    if (r->rc == 0)
        set_memory_max(vm);
    vm->loaded(vm->loaded_arg, r->rc < 0 ? -ERR_BAD_VALUE : 0, r->rc < 0 ? slice_from(r->message) : (slice){0});
}

void vm_load_begin(struct vm *vm, void (*done)(void *arg, int rc, slice why), void *arg)
{
    struct task_options o = {.where = "", .push = push_load, .done = on_loaded, .arg = vm, .operator_code = true};
    vm->loading = true;
    vm->loaded = done;
    vm->loaded_arg = arg;
    tasks_set_limits(vm->tasks, TASKS_MAX, LOAD_MS);
    task_start(vm->tasks, &o, NULL);
}

void vm_set_peer(struct vm *vm, struct vm *peer)
{
    vm->peer = peer;
}

struct vm *vm_peer(const struct vm *vm)
{
    return vm->peer;
}

const char *vm_world(const struct vm *vm)
{
    return vm->world;
}

void vm_attach(struct vm *vm, const struct services *services)
{
    vm->services = *services;
    vm->attached = true;
}

void vm_attach_apart(struct vm *vm, const struct services *services)
{
    vm_attach(vm, services);
    vm->apart = true;
}

bool vm_is_attached(const struct vm *vm)
{
    return vm->attached;
}

const struct services *vm_services(lua_State *L)
{
    struct vm *vm = vm_of(L);
    if (!vm->attached || vm->loading)
        blame(L, "%s", ONLY_IN_A_TASK);
    if (vm->apart)
        blame(L, "this is not done in a canary");
    return &vm->services;
}

int vm_begin_again(struct vm *vm)
{
    return budget_begin_again(vm->budget);
}

void vm_set_stall(struct vm *vm, uint32_t ms)
{
    budget_set_stall(vm->budget, ms);
}

struct tasks *vm_tasks(const struct vm *vm)
{
    return vm->tasks;
}

lua_State *vm_state(const struct vm *vm)
{
    return vm->L;
}

struct memory *vm_memory(struct vm *vm)
{
    return &vm->memory;
}

struct chunks *vm_chunks(const struct vm *vm)
{
    return vm->chunks;
}

struct slots *vm_slots(struct vm *vm)
{
    return &vm->slots;
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

bool vm_config_flag(struct vm *vm, const char *path, bool otherwise)
{
    push_config(vm, path);
    bool value = lua_isnil(vm->L, -1) ? otherwise : lua_toboolean(vm->L, -1);
    lua_pop(vm->L, 1);
    return value;
}

void vm_stats(const struct vm *vm, struct vm_stats *out)
{
    struct tasks_stats tasks = vm->tasks == NULL ? (struct tasks_stats){0} : tasks_stats(vm->tasks);
    *out = (struct vm_stats){
        .memory = vm->memory.used + vm->memory.foreign,
        .memory_max = vm->memory.max,
        .cpu_ns = budget_lua_ns(vm->budget),
        .tasks_started = tasks.started,
        .tasks_live = tasks.live,
        .tasks_failed = tasks.failed,
        .budget_exceeded = vm->budget->exceeded,
    };
}
