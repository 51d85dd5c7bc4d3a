/*
 * The broker's process: what is set up in which order, the turn, and the way down. The only file that knows all layers.
 */
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/say.h"
#include "broker/cluster/audit.h"
#include "command/cli.h"
#include "command/client.h"
#include "command/offline.h"
#include "config.h"
#include "console/console.h"
#include "net/address.h"
#include "script/script.h"

enum { DRAIN_MS = 10 * 1000 };

struct server {
    const struct cli *cli;
    struct loop loop;
    struct vm *vm;
    struct store *store;
    struct role role;
    struct topics *topics;
    struct http_server *http;
    struct fetcher *fetcher;
    struct console *console;
    struct cluster *cluster;               /* NULL: this node is alone */
    struct auditor *auditor;
    struct buf data, advertise;            /* NUL-terminated */
    struct watch synced, due, trim, drain, hup, term, interrupt;
    uint64_t due_at;                       /* what `due` is armed for, or 0 */
    bool trim_armed, reload, stopping;
};

/* ---- configuration that may change at a reload ---- */

static void config_apply(struct server *s)
{
    struct http_limits limits = config_http_limits(s->vm);
    config_log_level(s->vm);
    http_set_limits(s->http, &limits);
    unsigned tasks = (unsigned)vm_config_number(s->vm, "limits.tasks", TASKS_MAX);
    unsigned least = tasks < limits.connections ? tasks : limits.connections;
    tasks_set_limits(vm_tasks(s->vm), tasks, config_ms(s->vm, "limits.script_time", TASK_BUDGET_MS));
    tasks_set_lingering(vm_tasks(s->vm), least - least / TASKS_RESERVED);
    if (s->cluster != NULL)
        cluster_set_limits(s->cluster, config_ns(s->vm, "cluster.lease", LEASE_MS),
                           config_ns(s->vm, "cluster.lag_max", LAG_MS));
    auditor_set_pause(s->auditor, config_ns(s->vm, "store.audit", AUDIT_PAUSE_MS));
    timers_start(s->vm);
}

static void reload_now(struct server *s)
{
    struct buf why = {0};
    s->reload = false;
    if (vm_load(s->vm, &why) == 0) {
        config_apply(s);
        say_info("main", "reloaded config=%s", s->cli->config == NULL ? "none" : s->cli->config);
    } else {
        slice rest = buf_slice(&why);
        slice line;
        while (slice_split(&rest, '\n', &line))
            say_error("main", "reload refused: %.*s", SLICE_ARGS(line));
    }
    buf_fini(&why);
}

/* ---- the turn ---- */

static void due_arm(struct server *s)
{
    uint64_t at = store_deadline_ns(s->store);
    if (at == s->due_at)
        return;
    uint64_t now = clock_ns();
    s->due_at = at;
    if (at == 0)
        watch_disarm(&s->due);
    else
        watch_arm(&s->due, at > now ? at - now : 0);
}

/* Not again while it is armed: changes that never stop must not put it off for ever. */
static void trim_arm(struct server *s)
{
    if (!s->trim_armed)
        watch_arm(&s->trim, TRIM_MS * NS_PER_MS);
    s->trim_armed = true;
}

/* A node of a cluster hands over first: what followers have yet to be sent, and then a word to Consul. */
static bool said_farewell(const struct server *s)
{
    bool draining = s->cluster != NULL && cluster_draining(s->cluster);
    return !draining && !tasks_ready(vm_tasks(s->vm)) && fetcher_busy(s->fetcher) == 0;
}

static void turn(void *arg)
{
    struct server *s = arg;
    bool changed = topics_apply(s->topics);   /* before others ask for what they were told of in the last turn */
    if (s->cluster != NULL) {
        cluster_awake(s->cluster);
        cluster_receive(s->cluster);       /* 1. frames of other nodes -> journals, marks */
    }
    if (topics_apply(s->topics) || changed)
        trim_arm(s);
    serve_accept(s->vm);                   /* 1. bytes -> requests */
    if (s->console != NULL)
        console_receive(s->console);       /* 1. the console's lines -> tasks */
    tasks_run(vm_tasks(s->vm));            /* 2. requests -> tasks -> appends */
    store_flush(s->store);                 /* 3. tails -> files */
    if (s->cluster != NULL)
        cluster_send(s->cluster);          /* 4. ranges -> followers, acknowledgements -> leader */
    store_sync(s->store);                  /* 5. dirty -> the disk thread */
    http_flush(s->http);                   /* 6. answers -> sockets, finished connections -> closed */
    if (s->console != NULL)
        console_send(s->console);          /* 6. output -> the console's clients */
    if (tasks_ready(vm_tasks(s->vm)))
        loop_again(&s->loop);              /* steps 3 and 6 woke one, and no event will say so */
    due_arm(s);
    if (s->reload)
        reload_now(s);
    if (s->stopping && http_drained(s->http) && said_farewell(s))
        loop_stop(&s->loop);
}

static void on_synced(void *arg)
{
    struct server *s = arg;
    if (s->cluster != NULL)
        cluster_awake(s->cluster);         /* before a mark that has risen is taken for this epoch's */
    store_collect(s->store);
}

/* The timer only ends the sleep: store_sync finds that its time has come. */
static void on_due(void *arg)
{
    ((struct server *)arg)->due_at = 0;
}

static void on_trim(void *arg)
{
    struct server *s = arg;
    s->trim_armed = false;
    if (topics_trim(s->topics))
        trim_arm(s);
}

static void on_reload(void *arg)
{
    ((struct server *)arg)->reload = true;
}

static void on_drained_too_long(void *arg)
{
    struct server *s = arg;
    say_warn("main", "connections did not finish in time and are closed");
    loop_stop(&s->loop);
}

static void on_stop(void *arg)
{
    struct server *s = arg;
    if (s->stopping) {
        loop_stop(&s->loop);
        return;
    }
    say_info("main", "stopping");
    s->stopping = true;
    http_drain(s->http);
    tasks_stop(vm_tasks(s->vm));
    watch_arm(&s->drain, DRAIN_MS * NS_PER_MS);
}

static bool is_ready(void *arg, const char **why)
{
    struct server *s = arg;
    *why = "shutting down";
    return !s->stopping;
}

/* ---- stages: up in this order, down in reverse ---- */

static int fail(int code, const char *what, slice why)
{
    slice line;
    while (slice_split(&why, '\n', &line))
        say_error("main", "%s: %.*s", what, SLICE_ARGS(line));
    return code;
}

static int loop_up(struct server *s)
{
    return loop_init(&s->loop) < 0 ? fail(EXIT_SOFTWARE, "event loop", SLICE("cannot be made")) : 0;
}

static void loop_down(struct server *s)
{
    loop_fini(&s->loop);
}

/* CHECKOUT/build/MODE/lignum finds CHECKOUT/scripts, PREFIX/bin/lignum finds PREFIX/share/lignum/scripts. */
static const char *scripts_dir(const struct cli *cli)
{
    static const char *const places[] = {"../../scripts", "../share/lignum/scripts"};
    static char path[PATH_MAX];
    char place[PATH_MAX + 64];
    if (cli->scripts != NULL)
        return cli->scripts;
    ssize_t n = readlink("/proc/self/exe", place, PATH_MAX);
    while (n > 0 && place[n - 1] != '/')
        n--;
    for (size_t i = 0; n > 0 && i < sizeof(places) / sizeof(places[0]); i++) {
        snprintf(place + n, 64, "%s", places[i]);
        if (realpath(place, path) != NULL)
            return path;
    }
    return LIGNUM_SCRIPTS;
}

static int scripts_up(struct server *s)
{
    struct vm_options o = {.scripts = scripts_dir(s->cli), .config = s->cli->config, .set = s->cli->set};
    struct buf why = {0};
    int code = 0;
    if (script_new(o, &s->vm) < 0)
        code = fail(EXIT_USAGE, "scripts", slice_from(o.scripts));
    else if (vm_load(s->vm, &why) < 0)
        code = fail(EXIT_USAGE, "configuration", buf_slice(&why));
    buf_fini(&why);
    return code;
}

static void scripts_down(struct server *s)
{
    vm_free(s->vm);
}

static int store_up(struct server *s)
{
    struct buf why = {0};
    struct buf name = {0};
    if (config_text(s->vm, "store.path", &s->data) == NULL)
        return fail(EXIT_USAGE, "configuration", SLICE("store.path is not set"));
    struct store_options o = {
        .path = s->data.data,
        .node_name = config_text(s->vm, "node.name", &name),
        .files_max = config_files_max(s->vm),
        .sync_interval_ms = config_ms(s->vm, "store.sync_interval", SYNC_INTERVAL_MS),
        .moved = topics_moved,
    };
    int rc = store_open(&o, &s->store, &why);
    buf_fini(&name);
    int code = rc < 0 ? fail(EXIT_DATA, "data directory", buf_slice(&why)) : 0;
    buf_fini(&why);
    if (code != 0)
        buf_fini(&s->data);
    return code;
}

static void store_down(struct server *s)
{
    store_close(s->store);
    buf_fini(&s->data);
}

/* What it led alone would be the very epochs that its cluster goes on with: two leaders of one. */
static int check_stray(const struct server *s, struct buf *why)
{
    if (config_is_clustered(s->vm) || store_state(s->store)->seen_epoch == 0)
        return 0;
    buf_addf(why, "this node has taken part in a cluster and is not started as one: name its Consul "
                  "(cluster.consul.address, --consul). To make it a node of its own for good, move %s/state away",
             s->data.data);
    return -ERR_CONFLICT;
}

static int topics_up(struct server *s)
{
    struct buf why = {0};
    if (config_is_clustered(s->vm))
        role_init_follower(&s->role, s->store);
    int rc = check_stray(s, &why);
    if (rc == 0)
        rc = topics_open(s->store, &s->role, &s->topics, &why);
    bool alone = rc == 0 && s->role.kind == ROLE_ALONE;
    if (alone && (rc = role_init_alone(&s->role, s->store)) < 0) {   /* not before all epochs in use are known */
        buf_addf(&why, "the state cannot be written: %s", err_sentence(rc));
        topics_close(s->topics);
    }
    int code = rc < 0 ? fail(EXIT_DATA, "data directory", buf_slice(&why)) : 0;
    buf_fini(&why);
    return code;
}

static void topics_down(struct server *s)
{
    topics_close(s->topics);
}

static int listen_on(struct server *s, slice address)
{
    uint16_t port;
    int rc = http_listen(s->http, address, &port);
    if (rc < 0) {
        say_error("main", "cannot listen address=%.*s error=\"%s\"", SLICE_ARGS(address), err_sentence(rc));
        return EXIT_USAGE;
    }
    slice host = address;
    while (host.n > 0 && host.p[host.n - 1] != ':')
        host.n--;
    say_info("main", "listening address=%.*s%u", SLICE_ARGS(host), port);
    if (!address_is_loopback(address) && !vm_config_flag(s->vm, "authorize", false))
        say_warn("main", "anyone who reaches this address can publish, read and delete: there is neither an authorize "
                         "hook nor TLS address=%.*s%u", SLICE_ARGS(host), port);
    if (buf_size(&s->advertise) == 0)
        buf_addf(&s->advertise, "%.*s%u", SLICE_ARGS(host), port);
    return 0;
}

static int listeners_up(struct server *s)
{
    int code = 0;
    vm_config_text(s->vm, "node.advertise", &s->advertise);
    for (int i = 1; code == 0; i++) {
        char key[32];
        struct buf address = {0};
        snprintf(key, sizeof(key), "listen.%d", i);
        bool there = vm_config_text(s->vm, key, &address);
        if (there)
            code = listen_on(s, buf_slice(&address));
        buf_fini(&address);
        if (!there)
            break;
    }
    buf_add_char(&s->advertise, '\0');
    return code;
}

static void http_down(struct server *s)
{
    http_server_free(s->http);
    fetcher_free(s->fetcher);
    buf_fini(&s->advertise);
}

static int http_up(struct server *s)
{
    struct http_limits limits = config_http_limits(s->vm);
    s->http = http_server_new(&s->loop, &limits);
    http_on_error(s->http, script_render_error);
    s->fetcher = fetcher_new(&s->loop);
    int code = listeners_up(s);
    if (code != 0)
        http_down(s);
    return code;
}

static int cluster_up(struct server *s)
{
    struct buf why = {0}, listen = {0}, advertise = {0}, secret = {0};
    if (!config_is_clustered(s->vm))
        return 0;
    const char *told = config_text(s->vm, "cluster.replication.advertise", &advertise);
    vm_config_text(s->vm, "cluster.replication.secret", &secret);
    struct cluster_options o = {
        .loop = &s->loop,
        .role = &s->role,
        .topics = s->topics,
        .http = s->advertise.data,
        .listen = config_text(s->vm, "cluster.replication.listen", &listen),
        .advertise = told == NULL ? "" : told,
        .secret = buf_slice(&secret),
        .insecure = vm_config_flag(s->vm, "cluster.replication.insecure", false),
        .lease_ns = config_ns(s->vm, "cluster.lease", LEASE_MS),
        .lag_max_ns = config_ns(s->vm, "cluster.lag_max", LAG_MS),
    };
    int rc = cluster_new(&o, &s->cluster, &why);
    int code = rc < 0 ? fail(EXIT_USAGE, "cluster", buf_slice(&why)) : 0;
    buf_fini(&why);
    buf_fini(&listen);
    buf_fini(&advertise);
    buf_fini(&secret);
    return code;
}

static void cluster_down(struct server *s)
{
    if (s->cluster != NULL)
        cluster_free(s->cluster);
    s->cluster = NULL;
}

static int auditor_up(struct server *s)
{
    s->auditor = auditor_new(&(struct auditor_options){
        .loop = &s->loop, .topics = s->topics, .audited = s->cluster == NULL ? NULL : cluster_audited,
        .arg = s->cluster});
    return 0;
}

static void auditor_down(struct server *s)
{
    auditor_free(s->auditor);
}

static int services_up(struct server *s)
{
    struct services services = {
        .loop = &s->loop,
        .http = s->http,
        .topics = s->topics,
        .store = s->store,
        .role = &s->role,
        .cluster = s->cluster,
        .fetcher = s->fetcher,
        .advertise = s->advertise.data,
        .reload = on_reload,
        .ready = is_ready,
        .arg = s,
    };
    script_attach(s->vm, &services);
    return 0;
}

static void services_down(struct server *s)
{
    topics_stop(s->topics);
    tasks_free(vm_tasks(s->vm));
}

static int console_up(struct server *s)
{
    struct buf path = {0};
    if (!vm_config_text(s->vm, "console.path", &path))
        buf_addf(&path, "%s/console.sock", s->data.data);
    buf_add_char(&path, '\0');
    int rc = path.data[0] == '\0' ? 0 : console_listen(s->vm, &s->loop, path.data, &s->console);
    if (rc < 0)
        say_error("main", "cannot open the console path=%s error=\"%s\"", path.data, err_sentence(rc));
    buf_fini(&path);
    return rc < 0 ? EXIT_USAGE : 0;
}

static void console_down(struct server *s)
{
    if (s->console != NULL)
        console_free(s->console);
}

/* Ignored where nobody watches them: on the way down, which ends by itself and must leave the data as it should be. */
static void watch_stops(struct server *s)
{
    signal(SIGHUP, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
    signal(SIGINT, SIG_IGN);
    watch_signal(&s->loop, &s->hup, SIGHUP, on_reload, s);
    watch_signal(&s->loop, &s->term, SIGTERM, on_stop, s);
    watch_signal(&s->loop, &s->interrupt, SIGINT, on_stop, s);
}

static int watches_up(struct server *s)
{
    watch_readable(&s->loop, &s->synced, store_event_fd(s->store), on_synced, s);
    watch_precise_timer(&s->loop, &s->due, on_due, s);
    watch_timer(&s->loop, &s->trim, on_trim, s);
    watch_timer(&s->loop, &s->drain, on_drained_too_long, s);
    watch_stops(s);
    trim_arm(s);
    config_apply(s);
    return 0;
}

static void watches_down(struct server *s)
{
    struct watch *all[] = {&s->synced, &s->due, &s->trim, &s->drain, &s->hup, &s->term, &s->interrupt};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        watch_fini(all[i]);
}

struct stage {
    int (*up)(struct server *s);           /* 0 or the exit code, after a sentence */
    void (*down)(struct server *s);
};

static const struct stage stages[] = {
    {loop_up, loop_down},         {scripts_up, scripts_down}, {store_up, store_down},
    {topics_up, topics_down},     {http_up, http_down},       {cluster_up, cluster_down},
    {auditor_up, auditor_down},   {services_up, services_down}, {console_up, console_down},
    {watches_up, watches_down},
};
enum { STAGES = sizeof(stages) / sizeof(stages[0]) };

static int serve(const struct cli *cli)
{
    struct server *s = MEM_NEW(struct server);
    int code = 0;
    size_t up = 0;
    s->cli = cli;
    mem_settle();
    config_raise_descriptors();
    while (up < STAGES && (code = stages[up].up(s)) == 0)
        up++;
    if (up == STAGES) {
        say_info("main", "ready version=%s name=%s epoch=%llu topics=%zu", LIGNUM_VERSION, store_state(s->store)->name,
                 (unsigned long long)s->role.epoch, topics_count(s->topics));
        loop_run(&s->loop, turn, s);
    }
    while (up > 0)
        stages[--up].down(s);
    if (code == 0)
        say_info("main", "stopped");
    mem_free(s);
    return code;
}

/* ---- the other commands ---- */

static int check(const struct cli *cli)
{
    struct server s = {.cli = cli};
    int code = scripts_up(&s);
    if (s.vm != NULL)
        vm_free(s.vm);
    if (code == 0)
        puts("the configuration is valid");
    return code;
}

int main(int argc, char **argv)
{
    static struct cli cli;                 /* what it points to lives as long */
    if (cli_parse(argc, argv, &cli) < 0)
        return EXIT_USAGE;
    if (cli.config == NULL && access("lignum.lua", R_OK) == 0)
        cli.config = "lignum.lua";
    switch (cli.command) {
    case CLI_SERVE:
        return serve(&cli);
    case CLI_CHECK:
        return check(&cli);
    case CLI_VERIFY:
        return store_verify(cli.args[0]);
    case CLI_DUMP:
        return store_dump(cli.args[0], slice_from(cli.args[1]), cli.from, cli.to);
    case CLI_CONSOLE:
        return console_client(cli.arg_count > 0 ? cli.args[0] : "data/console.sock", cli.eval);
    case CLI_HELP:
        cli_help();
        return 0;
    case CLI_VERSION:
        puts("lignum " LIGNUM_VERSION);
        return 0;
    }
    return EXIT_USAGE;
}
