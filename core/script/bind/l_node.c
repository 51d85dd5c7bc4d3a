/*
 * node: the identity of this node, and the counters of all layers.
 */
#include <dirent.h>
#include <lauxlib.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/say.h"
#include "broker/topic/mark.h"
#include "net/tls_server.h"
#include "script/bind/arg.h"
#include "script/bind/field.h"
#include "script/bind/result.h"
#include "script/bind/tables.h"
#include "script/vm/task.h"
#include "script/vm/vm.h"
#include "store/replication/set_aside.h"

#define STATS "node.stats([topics_max])"
#define WRITE_FILES "node.write_files([left])"

enum { TOPICS_DEFAULT = 100 };

static double seconds_of(uint64_t ns)
{
    return (double)ns / (double)NS_PER_S;
}

/* ---- identity ---- */

/* node.hostname() -> string */
static int l_hostname(lua_State *L)
{
    char name[256] = "localhost";
    gethostname(name, sizeof(name) - 1);
    lua_pushstring(L, name);
    return 1;
}

/* Seconds from boot to the start of this process, by /proc/self/stat; 0 when that cannot be read. */
static double started_after_boot(void)
{
    char text[1024];
    unsigned long long ticks = 0;
    FILE *file = fopen("/proc/self/stat", "re");
    if (file == NULL)
        return 0;
    size_t n = fread(text, 1, sizeof(text) - 1, file);
    fclose(file);
    text[n] = '\0';
    const char *p = strrchr(text, ')');   /* the name, field 2, may contain blanks and parentheses */
    for (int field = 2; p != NULL && field < 22; field++)
        p = strchr(p + 1, ' ');
    if (p == NULL || sscanf(p, " %llu", &ticks) != 1)
        return 0;
    return (double)ticks / (double)sysconf(_SC_CLK_TCK);
}

static double uptime(void)
{
    struct timespec boot;
    clock_gettime(CLOCK_BOOTTIME, &boot);
    return (double)boot.tv_sec + (double)boot.tv_nsec / 1e9 - started_after_boot();
}

/* node.info() -> table */
static int l_info(lua_State *L)
{
    const struct services *s = vm_services(L);
    const struct state *state = store_state(s->store);
    lua_createtable(L, 0, 9);
    set_text(L, "name", state->name);
    set_text(L, "version", LIGNUM_VERSION);
    set_text(L, "role", role_name(s->role));
    set_whole(L, "epoch", s->role->epoch);
    set_id(L, "cluster", &state->cluster);
    set_id(L, "incarnation", &state->incarnation);
    set_whole(L, "pid", (uint64_t)getpid());
    set_number(L, "uptime", uptime());
    set_text(L, "advertise", s->advertise);
    set_flag(L, "full", store_is_full(s->store));
    return 1;
}

/* node.epoch() -> integer */
static int l_epoch(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)vm_services(L)->role->epoch);
    return 1;
}

/* node.ready() -> true | false, why */
static int l_ready(lua_State *L)
{
    const struct services *s = vm_services(L);
    const char *why = "";
    bool ready = s->ready == NULL || s->ready(s->arg, &why);
    lua_pushboolean(L, ready);
    if (ready)
        return 1;
    lua_pushstring(L, why);
    return 2;
}

static int reloaded(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    (void)context;
    int rc = (int)lua_tointeger(L, -1);
    slice why = buf_slice(vm_services(L)->refused);
    if (rc < 0)
        return push_fail(L, rc);
    lua_pushboolean(L, why.n == 0);
    if (why.n == 0)
        return 1;
    lua_pushnil(L);
    lua_pushlstring(L, why.p, why.n);
    lua_pushstring(L, err_name(-ERR_BAD_VALUE));
    return 3;
}

/* node.reload() -> true | nil, errors, code.  Waits until it has ended. */
static int l_reload(lua_State *L)
{
    const struct services *s = vm_services(L);
    struct task *self = task_self(L);
    if (s->reload == NULL)
        return push_fail(L, -ERR_UNAVAILABLE);
    task_may_stop(self);
    return task_park_on(L, self, s->reloads, s->reload(s->arg), 0, 0, reloaded);
}

/* ---- counters ---- */

/* {buckets = {{le=, count=}, ...}, sum =, count =}; the counts are cumulative, as Prometheus wants them. */
static void set_hist(lua_State *L, const char *name, const struct hist *h)
{
    uint64_t count = 0;
    lua_createtable(L, 0, 3);
    lua_createtable(L, HIST_BOUNDS, 0);
    for (int i = 0; i < HIST_BOUNDS; i++) {
        count += h->bucket[i];
        lua_createtable(L, 0, 2);
        set_number(L, "le", seconds_of(hist_bound_ns[i]));
        set_whole(L, "count", count);
        lua_rawseti(L, -2, i + 1);
    }
    lua_setfield(L, -2, "buckets");
    set_number(L, "sum", seconds_of(h->sum_ns));
    set_whole(L, "count", h->count);
    lua_setfield(L, -2, name);
}

static void push_route(lua_State *L, const struct http_route_stats *r)
{
    lua_createtable(L, 0, 3);
    lua_pushlstring(L, r->pattern.p, r->pattern.n);
    lua_setfield(L, -2, "pattern");
    lua_createtable(L, 5, 0);
    for (int i = 1; i <= 5; i++) {
        lua_pushinteger(L, (lua_Integer)r->by_class[i]);
        lua_rawseti(L, -2, i);
    }
    lua_setfield(L, -2, "by_class");
    set_hist(L, "latency", &r->latency);
}

static void set_http(lua_State *L, const struct http_server *server)
{
    struct http_stats s;
    http_stats(server, &s);
    lua_createtable(L, 0, 13);
    set_whole(L, "connections", s.connections);
    set_whole(L, "in_flight", s.requests_in_flight);
    set_whole(L, "accepted", s.accepted);
    set_whole(L, "refused", s.refused);
    set_whole(L, "requests", s.requests);
    set_whole(L, "bytes_in", s.bytes_in);
    set_whole(L, "bytes_out", s.bytes_out);
    set_whole(L, "bad_requests", s.bad_requests);
    set_whole(L, "timeouts", s.timeouts);
    set_whole(L, "slow", s.slow);
    set_whole(L, "handshakes", s.handshakes);
    set_whole(L, "handshakes_failed", s.handshakes_failed);
    lua_createtable(L, (int)s.route_count, 0);
    for (unsigned i = 0; i < s.route_count; i++) {
        push_route(L, &s.routes[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    lua_setfield(L, -2, "routes");
    lua_setfield(L, -2, "http");
}

static void set_slice(lua_State *L, const char *name, slice text)
{
    lua_pushlstring(L, text.p, text.n);
    lua_setfield(L, -2, name);
}

/* The certificates of all listeners. */
static void set_tls(lua_State *L, const struct http_server *http)
{
    struct tls_validity v;
    lua_Integer count = 0;
    lua_newtable(L);
    for (unsigned i = 0; i < http_listeners(http); i++)
        for (unsigned k = 0; http_tls(http, i) != NULL && tls_server_validity(http_tls(http, i), k, &v); k++) {
            lua_createtable(L, 0, 5);
            set_slice(L, "address", http_listener_address(http, i));
            set_slice(L, "host", v.host);
            set_slice(L, "path", v.path);
            set_whole(L, "from", (uint64_t)v.from);
            set_whole(L, "until", (uint64_t)v.until);
            lua_rawseti(L, -2, ++count);
        }
    lua_setfield(L, -2, "tls");
}

static void set_store(lua_State *L, struct store *store)
{
    struct store_stats s;
    store_stats(store, &s);
    lua_createtable(L, 0, 9);
    set_hist(L, "sync", &s.sync);
    set_whole(L, "syncs", s.syncs);
    set_whole(L, "synced_files", s.synced_files);
    set_whole(L, "written_bytes", s.written_bytes);
    set_whole(L, "files_open", s.files_open);
    set_whole(L, "torn_bytes", s.torn_bytes);
    set_whole(L, "damaged", s.damaged);
    set_whole(L, "disk_free", s.disk_free);
    set_whole(L, "disk_size", s.disk_size);
    lua_setfield(L, -2, "store");
}

/* Of the world that runs lignum.lua, also where the core's world asks. */
static void set_vm(lua_State *L, const struct vm *vm)
{
    struct vm_stats s;
    const struct vm *live = strcmp(vm_world(vm), "core") == 0 ? vm_peer(vm) : NULL;
    vm_stats(live != NULL ? live : vm, &s);
    lua_createtable(L, 0, 7);
    set_whole(L, "memory", s.memory);
    set_whole(L, "memory_max", s.memory_max);
    set_number(L, "cpu", seconds_of(s.cpu_ns));
    set_whole(L, "tasks_started", s.tasks_started);
    set_whole(L, "tasks_live", s.tasks_live);
    set_whole(L, "tasks_failed", s.tasks_failed);
    set_whole(L, "budget_exceeded", s.budget_exceeded);
    lua_setfield(L, -2, "vm");
}

static uint64_t resident_bytes(void)
{
    unsigned long long size, resident = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (file == NULL)
        return 0;
    if (fscanf(file, "%llu %llu", &size, &resident) != 2)
        resident = 0;
    fclose(file);
    return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* Since Linux 6.2 the directory's size says it; to list thousands of them takes milliseconds. */
static uint64_t open_descriptors(void)
{
    uint64_t n = 0;
    struct stat info;
    if (stat("/proc/self/fd", &info) == 0 && info.st_size > 0)
        return (uint64_t)info.st_size;
    DIR *dir = opendir("/proc/self/fd");
    if (dir == NULL)
        return 0;
    while (readdir(dir) != NULL)
        n++;
    closedir(dir);
    return n > 3 ? n - 3 : 0;   /* without ., .. and the descriptor of `dir` */
}

static void set_process(lua_State *L)
{
    struct rlimit limit = {0};
    getrlimit(RLIMIT_NOFILE, &limit);
    lua_createtable(L, 0, 6);
    set_whole(L, "log_lost", say_lost());
    set_number(L, "cpu", seconds_of(clock_cpu_ns()));
    set_whole(L, "rss", resident_bytes());
    set_whole(L, "fds", open_descriptors());
    set_whole(L, "fds_max", limit.rlim_cur);
    set_number(L, "start_time", (double)clock_wall_ms() / 1000.0 - uptime());
    lua_setfield(L, -2, "process");
}

static void push_topic(lua_State *L, struct topic *t)
{
    struct journal_info info;
    journal_info(t->journal, &info);
    lua_createtable(L, 0, 11);
    set_text(L, "name", t->name);
    set_whole(L, "first", info.first);
    set_whole(L, "next", topic_readable(t));
    set_whole(L, "bytes", info.bytes);
    set_whole(L, "segments", info.segments);
    set_whole(L, "appended_messages", t->count.appended_messages);
    set_whole(L, "appended_bytes", t->count.appended_bytes);
    set_whole(L, "read_messages", t->count.read_messages);
    set_whole(L, "read_bytes", t->count.read_bytes);
    set_whole(L, "duplicates", t->count.duplicates);
    set_whole(L, "gaps", t->count.gaps);
}

static void set_topics(lua_State *L, struct topics *ts, uint64_t max)
{
    struct topic *t;
    lua_newtable(L);
    for (size_t i = 0; i < max && (t = topics_at(ts, i)) != NULL; i++) {
        push_topic(L, t);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    lua_setfield(L, -2, "topics");
    set_whole(L, "topics_count", topics_count(ts));
    set_whole(L, "topics_expired", topics_expiry(ts)->deleted);
}

static void set_totals(lua_State *L, struct topics *ts)
{
    const struct topic_sums *sums = topics_sums(ts);
    lua_createtable(L, 0, 4);
    set_whole(L, "appended_messages", sums->appended_messages);
    set_whole(L, "appended_bytes", sums->appended_bytes);
    set_whole(L, "read_messages", sums->read_messages);
    set_whole(L, "read_bytes", sums->read_bytes);
    lua_setfield(L, -2, "totals");
}

/* node.stats([topics_max]) -> table of tables */
static int l_stats(lua_State *L)
{
    uint64_t max = lua_isnoneornil(L, 1) ? TOPICS_DEFAULT : arg_whole(L, 1, "topics_max", STATS);
    const struct services *s = vm_services(L);
    lua_createtable(L, 0, 8);
    set_http(L, s->http);
    set_tls(L, s->http);
    set_store(L, s->store);
    set_vm(L, vm_of(L));
    set_process(L);
    set_topics(L, s->topics, max);
    set_totals(L, s->topics);
    return 1;
}

enum { DIVERGED_LISTED = 1000 };

static void add_name(void *arg, const char *name)
{
    lua_State *L = arg;
    lua_pushstring(L, name);
    lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
}

/* core.diverged() -> list of names in data/diverged/ */
static int l_diverged(lua_State *L)
{
    lua_newtable(L);
    set_aside_list(vm_services(L)->store, DIVERGED_LISTED, add_name, L);
    return 1;
}

/* node.write_files([left]) -> left */
static int l_write_files(lua_State *L)
{
    size_t left = lua_isnoneornil(L, 1) ? SIZE_MAX : (size_t)arg_whole(L, 1, "left", WRITE_FILES);
    store_write_files(vm_services(L)->store, &left);
    lua_pushinteger(L, (lua_Integer)left);
    return 1;
}

void node_open(lua_State *L)
{
    static const luaL_Reg functions[] = {{"hostname", l_hostname}, {"info", l_info}, {"epoch", l_epoch},
                                         {"ready", l_ready}, {"stats", l_stats}, {"reload", l_reload},
                                         {"write_files", l_write_files}, {NULL, NULL}};
    luaL_newlib(L, functions);
    lua_setfield(L, -2, "node");
    lua_pushcfunction(L, l_diverged);
    lua_setfield(L, -2, "diverged");
}
