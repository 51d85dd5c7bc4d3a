/*
 * The node's process: its parts are set up in stages, turn.c drives them, and the stages are taken down in reverse.
 * This file and turn.c are the only ones that know all layers.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/say.h"
#include "command/confine.h"
#include "config.h"
#include "net/address.h"
#include "net/tls_server.h"
#include "script/client.h"
#include "server.h"
#include "store/recovery/open.h"
#include "test.h"

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

int server_load(struct server *s, bool check)
{
    const struct cli *cli = s->cli;
    struct worlds_options o = {
        .vm = {.scripts = config_scripts_dir(cli->scripts), .config = cli->config, .set = cli->set, .check = check,
               .tests = s->tests, .coverage = s->coverage},
        .reloaded = server_reloaded,
        .arg = s,
    };
    struct buf why = {0};
    int rc = worlds_new(&o, &s->worlds, &why), code = 0;
    if (s->tests != NULL)
        buf_add_slice(&s->refused, buf_slice(&why));
    if (rc == -ERR_BAD_VALUE && s->tests != NULL)
        code = EXIT_USAGE;
    else if (rc == -ERR_BAD_VALUE)
        code = fail(EXIT_USAGE, "configuration", buf_slice(&why));
    else if (rc < 0)
        code = fail(EXIT_USAGE, "scripts", slice_from(o.vm.scripts));
    buf_fini(&why);
    if (code != 0)
        return code;
    s->vm = worlds_live(s->worlds);
    if (s->tests == NULL)
        config_warn_of_secrets(s->vm, cli->config, cli->set);
    return 0;
}

static int scripts_up(struct server *s)
{
    int code = s->worlds == NULL ? server_load(s, false) : 0;
    if (code != 0)
        return code;
    config_log(s->vm);
    config_core_dumps(s->vm);
    return 0;
}

static void scripts_down(struct server *s)
{
    worlds_free(s->worlds);
    if (s->sync != NULL)
        sync_free(s->sync);       /* after the Lua objects that hold locks */
}

static int store_up(struct server *s)
{
    struct buf why = {0};
    struct buf name = {0};
    if (s->data.data == NULL && config_text(s->vm, "store.path", &s->data) == NULL)
        return fail(EXIT_USAGE, "configuration", SLICE("store.path is not set"));
    struct store_options o = {
        .path = s->data.data,
        .node_name = config_text(s->vm, "node.name", &name),
        .files_max = config_files_max(s->vm),
        .sync_interval_ms = config_ms(s->vm, "store.sync_interval", SYNC_INTERVAL_MS),
        .commit_log_age_ms = config_ms(s->vm, "store.commit_log_age", COMMIT_LOG_AGE_MS),
        .moved = topic_moved,
    };
    int rc = store_open(&o, &s->store, &why);
    int code = rc < 0 ? fail(EXIT_DATA, "data directory", buf_slice(&why)) : 0;
    if (rc == 0 && strcmp(store_state(s->store)->name, o.node_name) != 0)
        say_warn("main", "the data directory is node %s's, which is this node's name; node.name \"%s\" has no effect. "
                         "A copy must not run beside its original: to make it a node of its own, move %s/state away",
                 store_state(s->store)->name, o.node_name, o.path);
    buf_fini(&name);
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

/* A member of a cluster that starts alone would lead epochs that its cluster uses as well: two leaders of one epoch. */
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
    if (alone && (rc = role_init_alone(&s->role, s->store)) < 0) {   /* needs the epochs of all topics */
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

static int groups_up(struct server *s)
{
    struct buf why = {0};
    int code = groups_open(s->topics, &s->groups, &why) < 0 ? fail(EXIT_DATA, "data directory", buf_slice(&why)) : 0;
    buf_fini(&why);
    return code;
}

static void groups_down(struct server *s)
{
    groups_close(s->groups);
}

static int access_up(struct server *s)
{
    struct buf why = {0};
    int code = access_open(s->topics, &s->access, &why) < 0 ? fail(EXIT_DATA, "data directory", buf_slice(&why)) : 0;
    buf_fini(&why);
    if (code == 0)
        config_access(s->vm, s->access);       /* before the listeners */
    if (code == 0)
        s->trail = trail_new(s->topics);
    return code;
}

static void access_down(struct server *s)
{
    trail_free(s->trail);
    access_close(s->access);
}

/* Beyond loopback, lignum.lua has to say who may use this node; `demands`: whoever has a certificate of client_ca. 0 or
 * the exit code, after a sentence. */
static int check_listener(struct server *s, slice address, bool demands)
{
    bool said = access_guarded(s->access) || access_is_open(s->access) || vm_config_flag(s->vm, "authorize", false);
    if (said || demands || address_is_loopback(address))
        return 0;
    say_error("main", "does not listen on %.*s: whoever reaches it could publish, read and delete. Say in lignum.lua "
                      "who may: access { open = false } asks everybody for a token (`lignum token add` on this node "
                      "makes the first one), `lignum token new` makes one for lignum.lua, authorize decides in Lua, "
                      "tls.client_ca lets in who has a certificate, and access { open = true } lets everybody in",
              SLICE_ARGS(address));
    return EXIT_USAGE;
}

/* On number i, from 1 on, of `listen`. */
static int listen_on(struct server *s, unsigned i, slice address)
{
    uint16_t port;
    int rc = http_listen(s->http, address, &port);
    if (rc < 0) {
        say_error("main", "cannot listen address=%.*s error=\"%s\"", SLICE_ARGS(address), err_sentence(rc));
        return EXIT_USAGE;
    }
    if (config_secure(s->vm, s->http, i - 1, i) < 0)
        return EXIT_USAGE;
    const struct tls_server *tls = http_tls(s->http, i - 1);
    bool plain = tls == NULL, demands = !plain && tls_server_demands(tls);
    int code = check_listener(s, address, demands);     /* nothing is accepted before the loop runs */
    if (code != 0)
        return code;
    s->exposed = s->exposed || (!demands && !address_is_loopback(address));
    slice host = address;
    while (host.n > 0 && host.p[host.n - 1] != ':')
        host.n--;
    say_info("main", "listening address=%.*s%u%s", SLICE_ARGS(host), port, plain ? "" : " tls");
    if (!address_is_loopback(address) && !demands && !access_guarded(s->access) &&
        !vm_config_flag(s->vm, "authorize", false))
        say_warn("main", "anyone who reaches this address can publish, read and delete, as access.open says: there is "
                         "no authorize hook, and nobody needs a token address=%.*s%u", SLICE_ARGS(host), port);
    if (buf_size(&s->advertise) == 0)
        buf_addf(&s->advertise, "%s%.*s%u", plain ? "" : "https://", SLICE_ARGS(host), port);
    return 0;
}

static int listeners_up(struct server *s)
{
    int code = 0;
    vm_config_text(s->vm, "node.advertise", &s->advertise);
    if (s->tests != NULL)
        code = listen_on(s, 1, SLICE("127.0.0.1:0"));
    for (unsigned i = 1; code == 0; i++) {
        char key[32];
        struct buf address = {0};
        snprintf(key, sizeof(key), "listen.%u.address", i);
        bool there = vm_config_text(s->vm, key, &address);
        if (there)
            code = listen_on(s, i, buf_slice(&address));
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
    quotas_free(s->quotas);
    fetcher_free(s->fetcher);
    buf_fini(&s->advertise);
}

static int http_up(struct server *s)
{
    struct http_limits limits = config_http_limits(s->vm);
    config_say_descriptors(s->vm, &limits);
    s->http = http_server_new(&s->loop, &limits);
    http_on_error(s->http, script_render_error);
    s->quotas = quotas_new();
    http_count(s->http, s->quotas);
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
    struct secret parsed = {0};
    if (rc == 0 && secret_parse(o.secret, &parsed) == 0 && parsed.size > 0)
        voucher_set(&s->voucher, &parsed);
    secret_clear(&parsed);
    int code = rc < 0 ? fail(EXIT_USAGE, "cluster", buf_slice(&why)) : 0;
    if (rc == 0 && o.insecure)
        say_warn("main", "replication is insecure: whoever reaches its port can read and replace all messages "
                         "address=%s", o.listen);
    buf_fini(&why);
    buf_fini(&listen);
    buf_fini(&advertise);
    if (secret.data != NULL)
        explicit_bzero(secret.data, secret.cap);
    buf_fini(&secret);
    return code;
}

static void cluster_down(struct server *s)
{
    if (s->cluster != NULL)
        cluster_free(s->cluster);
    s->cluster = NULL;
    voucher_clear(&s->voucher);
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
    mark_init(&s->reloads, 0);
    config_fixed(s->vm, &s->fixed);
    s->shared = shared_new();
    s->meters = meters_new();
    s->sync = sync_new();
    struct services services = {
        .loop = &s->loop,
        .http = s->http,
        .topics = s->topics,
        .groups = s->groups,
        .access = s->access,
        .trail = s->trail,
        .quotas = s->quotas,
        .store = s->store,
        .role = &s->role,
        .cluster = s->cluster,
        .fetcher = s->fetcher,
        .shared = s->shared,
        .sync = s->sync,
        .meters = s->meters,
        .called = meters_called,
        .voucher = &s->voucher,
        .advertise = s->advertise.data,
        .reload = server_reload,
        .reloads = &s->reloads,
        .refused = &s->refused,
        .ready = server_is_ready,
        .arg = s,
    };
    worlds_attach(s->worlds, &services);
    return 0;
}

static void services_down(struct server *s)
{
    topics_stop(s->topics);
    worlds_end_tasks(s->worlds);
    shared_free(s->shared);
    meters_free(s->meters);
    buf_fini(&s->fixed);
    buf_fini(&s->refused);
}

static int console_up(struct server *s)
{
    struct buf path = {0};
    if (!vm_config_text(s->vm, "console.path", &path))
        buf_addf(&path, "%s/console.sock", s->data.data);
    buf_add_char(&path, '\0');
    int rc = path.data[0] == '\0' ? 0 : console_listen(worlds_core(s->worlds), &s->loop, path.data, &s->console);
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

static int watches_up(struct server *s)
{
    server_watch(s);
    server_configure(s);
    return 0;
}

struct stage {
    int (*up)(struct server *s);           /* 0 or the exit code, after a sentence */
    void (*down)(struct server *s);
};

static const struct stage stages[] = {
    {loop_up, loop_down},         {scripts_up, scripts_down}, {store_up, store_down},
    {topics_up, topics_down},     {groups_up, groups_down},   {access_up, access_down},
    {http_up, http_down},         {cluster_up, cluster_down}, {auditor_up, auditor_down},
    {services_up, services_down}, {console_up, console_down}, {watches_up, server_unwatch},
};
enum { STAGES = sizeof(stages) / sizeof(stages[0]) };

int server_up(struct server *s)
{
    int code = 0;
    while (s->up < STAGES && (code = stages[s->up].up(s)) == 0)
        s->up++;
    return code;
}

static int serve(const struct cli *cli)
{
    say_nonblocking();
    struct server *s = MEM_NEW(struct server);
    s->cli = cli;
    mem_settle();
    signal(SIGXFSZ, SIG_IGN);      /* a file at the limit of its size (ulimit -f) is as good as a full disk */
    config_raise_descriptors();
    int code = server_up(s);
    if (code == 0) {
        char epoch[32] = "";           /* a node of a cluster has none before there is a leader */
        if (s->role.epoch > 0)
            snprintf(epoch, sizeof(epoch), " epoch=%llu", (unsigned long long)s->role.epoch);
        say_info("main", "ready version=%s name=%s%s topics=%zu", LIGNUM_VERSION, store_state(s->store)->name, epoch,
                 topics_count(s->topics));
        notify_ready(&s->notify);
        loop_run(&s->loop, turn, s);
    }
    while (s->up > 0)
        stages[--s->up].down(s);
    if (code == 0)
        say_info("main", "stopped");
    mem_free(s);
    return code;
}

static int check(const struct cli *cli)
{
    struct server s = {.cli = cli};
    confine();
    int code = server_load(&s, true);
    if (s.worlds != NULL)
        worlds_free(s.worlds);
    if (code == 0)
        puts("the configuration is valid");
    return code;
}

static int scripted(const struct cli *cli)
{
    return client_run(config_scripts_dir(cli->scripts), cli->word_count, cli->words);
}

int main(int argc, char **argv)
{
    static struct cli cli;                 /* struct server and the VM keep pointers to it */
    config_forbid_core_dumps();
    if (cli_parse(argc, argv, &(struct cli_node){serve, check, test_run, scripted}, &cli) < 0)
        return EXIT_USAGE;
    return cli.run(&cli);
}
