/*
 * The turn: all that a node does, once per iteration of the loop, in the order in which a message travels. Callbacks of
 * the loop only record what happened, with one exception: on_synced raises marks, so that what waits for them is
 * resumed in the turn that follows.
 */
#include <signal.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/say.h"
#include "config.h"
#include "server.h"

enum { DRAIN_MS = 10 * 1000 };
#define DAY_NS (24 * 3600 * NS_PER_S)

/* ---- configuration that may change at a reload ---- */

void server_configure(struct server *s)
{
    struct http_limits limits = config_http_limits(s->vm);
    config_log(s->vm);
    config_core_dumps(s->vm);
    http_set_limits(s->http, &limits);
    config_browsers(s->vm, s->http);
    config_log_requests(s->vm, s->http);
    config_access(s->vm, s->access);
    config_quotas(s->vm, s->quotas);
    topics_set_most(s->topics, (size_t)vm_config_number(s->vm, "limits.topics", TOPICS_MAX));
    unsigned tasks = (unsigned)vm_config_number(s->vm, "limits.tasks", TASKS_MAX);
    unsigned least = tasks < limits.connections ? tasks : limits.connections;
    tasks_set_limits(vm_tasks(s->vm), tasks, config_ms(s->vm, "limits.script_time", TASK_BUDGET_MS));
    vm_set_stall(s->vm, config_ms(s->vm, "limits.stall", STALL_MS));
    tasks_set_lingering(vm_tasks(s->vm), least - least / TASKS_RESERVED);
    if (s->cluster != NULL)
        cluster_set_limits(s->cluster, config_ns(s->vm, "cluster.lease", LEASE_MS),
                           config_ns(s->vm, "cluster.lag_max", LAG_MS));
    auditor_set_pause(s->auditor, config_ns(s->vm, "store.audit", AUDIT_PAUSE_MS));
    timers_start(worlds_core(s->worlds));
    timers_start(s->vm);
}

/* A reload must not open by omission what a start would refuse to serve (check_listener in main.c). */
static void keep_closed(struct server *s)
{
    bool said = access_guarded(s->access) || access_is_open(s->access) || vm_config_flag(s->vm, "authorize", false);
    if (said || !s->exposed)
        return;
    access_configure(s->access, ACCESS_CLOSED, config_ms(s->vm, "access.stale", ACCESS_STALE_MS));
    say_error("main", "lignum.lua no longer says who may use this node, which is reached from beyond loopback: every "
                      "request needs a token until it does (authorize, access { open = ... } or a token)");
}

void server_reloaded(void *arg, int rc, slice why)
{
    struct server *s = arg;
    slice line;
    if (rc == 0) {
        s->vm = worlds_live(s->worlds);
        server_configure(s);
        keep_closed(s);
        config_secure_again(s->vm, s->http);
        config_warn_of_certificates(s->http);
        say_info("main", "reloaded config=%s", s->cli->config == NULL ? "none" : s->cli->config);
        if (s->cli->config == NULL && access("lignum.lua", R_OK) == 0)
            say_warn("main", "lignum.lua is not read, because it was not there at the start: a restart reads it");
        config_say_fixed(s->vm, &s->fixed);
    }
    buf_clear(&s->refused);
    if (rc < 0)
        buf_add_slice(&s->refused, why);
    while (rc < 0 && slice_split(&why, '\n', &line))
        say_error("main", "reload refused: %.*s", SLICE_ARGS(line));
    mark_advance(&s->reloads, s->reloads.at + 1);
    if (!s->stopping)
        notify_ready(&s->notify);
}

/* ---- the turn ---- */

/* The `due` timer follows the store: it fires when a delayed sync has to begin. */
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

/* The same for groups: it fires when a lease or a delay is over. */
static void group_due_arm(struct server *s)
{
    uint64_t at = groups_deadline_ns(s->groups);
    if (at == s->group_due_at)
        return;
    uint64_t now = clock_ns();
    s->group_due_at = at;
    if (at == 0)
        watch_disarm(&s->group_due);
    else
        watch_arm(&s->group_due, at > now ? at - now : 0);
}

/* The same for topics with `expire`, with a pause between two looks. */
static void expire_arm(struct server *s)
{
    uint64_t at = expiry_due_ns(topics_expiry(s->topics));
    if (at == 0)
        return;
    uint64_t now = clock_ns();
    uint64_t next = at > now + EXPIRE_MS * NS_PER_MS ? at : now + EXPIRE_MS * NS_PER_MS;
    if (s->expire_at != 0 && s->expire_at <= next)
        return;
    s->expire_at = next;
    watch_arm(&s->expire, s->expire_at - now);
}

/* After a time in which this process did not run, what has come meanwhile is read first: it may be a use. */
static void expire_now(struct server *s)
{
    uint64_t now = clock_ns();
    bool late = now - s->expire_at > NS_PER_S;
    s->expire_due = false;
    s->expire_at = 0;
    if (late)
        return;
    if (s->role.kind == ROLE_FOLLOWER)
        cluster_tell_uses(s->cluster, now);
    else
        groups_expire_topics(s->groups, now);
}

/* An armed timer is left alone: otherwise topics that keep changing would put the look at retention off without end. */
static void trim_arm(struct server *s)
{
    if (!s->trim_armed)
        watch_arm(&s->trim, TRIM_MS * NS_PER_MS);
    s->trim_armed = true;
}

/* Of some topics in each turn, until all have been looked at. */
static void trim_topics(struct server *s)
{
    enum trimmed found = topics_trim(s->topics);
    s->trimming = found == TRIMMED_SOME;
    if (found == TRIMMED_ALL)
        trim_arm(s);
}

static void trim_now(struct server *s)
{
    s->trim_due = s->trim_armed = false;
    store_check_files(s->store);
    bool unopened = topics_open_late(s->topics);
    groups_trim(s->groups);
    access_trim(s->access);
    bool logs = groups_log(s->groups) != NULL || access_log(s->access) != NULL;
    if (unopened || logs)
        trim_arm(s);
    s->trimming = true;
}

/* Whether files of the data directory were removed while this node runs. Who waits for them will wait in vain. */
static bool is_lost(struct server *s)
{
    bool lost = store_is_lost(s->store);
    if (lost && !s->lost)
        topics_fail(s->topics, -ERR_UNKNOWN_OUTCOME);
    return s->lost = lost;
}

/* A member of a cluster hands over before it stops: followers get what they lack, Consul gets a word. */
static bool handed_over(const struct server *s)
{
    bool draining = s->cluster != NULL && cluster_draining(s->cluster);
    return !draining && !worlds_unloading(s->worlds) && !worlds_ready(s->worlds) && fetcher_busy(s->fetcher) == 0;
}

/* Until a leader has handed over, its port answers health checks: Consul would end its session otherwise, and another
 * node would lead without the messages that are still on their way. */
static bool stopped(struct server *s)
{
    if (!handed_over(s))
        return false;
    http_stop_listening(s->http);
    return http_drained(s->http);
}

void turn(void *arg)
{
    struct server *s = arg;
    bool changed = topics_apply(s->topics);   /* first, so that the other steps see the topics of the last turn */
    if (s->trim_due)
        trim_now(s);
    if (s->trimming)
        trim_topics(s);
    is_lost(s);
    if (s->cluster != NULL) {
        cluster_awake(s->cluster);
        cluster_receive(s->cluster);       /* 1. frames of other nodes -> journals, marks */
    }
    if (topics_apply(s->topics) || changed)
        trim_arm(s);
    bool more = groups_turn(s->groups);    /* 1. committed records of groups take effect, leases end */
    access_turn(s->access);                /* 1. and those of access tokens */
    serve_accept(s->vm);                   /* 1. bytes -> requests */
    serve_calls(s->vm);                    /* 1. and calls of followers */
    if (s->console != NULL)
        console_receive(s->console);       /* 1. the console's lines -> tasks */
    worlds_run(s->worlds);                 /* 2. requests -> tasks -> appends */
    if (s->expire_due)
        expire_now(s);                     /* 2. what this turn has used stays */
    trail_turn(s->trail);                  /* 2. what tasks have noted -> _audit */
    store_flush(s->store);                 /* 3. tails -> files */
    if (s->cluster != NULL)
        cluster_send(s->cluster);          /* 4. ranges -> followers, acknowledgements -> leader */
    store_sync(s->store);                  /* 5. dirty -> the disk thread */
    http_flush(s->http);                   /* 6. answers -> sockets, finished connections -> closed */
    if (s->console != NULL)
        console_send(s->console);          /* 6. output -> the console's clients */
    if (s->reload)
        worlds_reload(s->worlds);          /* begins it, as a task */
    s->reload = false;
    if (more || s->trimming || worlds_ready(s->worlds) || topics_have_unapplied(s->topics))
        loop_again(&s->loop);              /* steps 2 to 6 made one ready or due, and no event announces that */
    due_arm(s);
    group_due_arm(s);
    expire_arm(s);
    if (s->stopping && stopped(s))
        loop_stop(&s->loop);
}

/* ---- events ---- */

static void on_synced(void *arg)
{
    struct server *s = arg;
    if (s->cluster != NULL)
        cluster_awake(s->cluster);         /* first: after a long sleep, its epoch may be over */
    store_collect(s->store);
}

/* Ends the sleep; store_sync of the turn finds that its time has come. */
static void on_due(void *arg)
{
    ((struct server *)arg)->due_at = 0;
}

/* Ends the sleep; groups_turn of the turn finds what is over. */
static void on_group_due(void *arg)
{
    ((struct server *)arg)->group_due_at = 0;
}

static void on_expire(void *arg)
{
    ((struct server *)arg)->expire_due = true;
}

/* Armed by each change of the topics, and again while there is something to do. */
static void on_trim(void *arg)
{
    ((struct server *)arg)->trim_due = true;
}

static void on_hangup(void *arg)
{
    server_reload(arg);
}

uint64_t server_reload(void *arg)
{
    struct server *s = arg;
    s->reload = true;
    if (!s->stopping)
        notify_reloading(&s->notify);
    return s->reloads.at + (worlds_reloading(s->worlds) ? 2 : 1);
}

static void on_day(void *arg)
{
    struct server *s = arg;
    config_warn_of_certificates(s->http);
    watch_arm(&s->day, DAY_NS);
}

static void on_drained_too_long(void *arg)
{
    struct server *s = arg;
    say_warn("main", "connections did not finish in time and are closed");
    loop_stop(&s->loop);
}

/* The first signal lets requests finish, the second one stops at once. */
static void on_stop(void *arg)
{
    struct server *s = arg;
    if (s->stopping) {
        loop_stop(&s->loop);
        return;
    }
    say_info("main", "stopping");
    s->stopping = true;
    notify_stopping(&s->notify);
    http_drain(s->http);
    worlds_stop(s->worlds);
    uint64_t followers_ns = s->cluster == NULL ? 0 : config_ns(s->vm, "cluster.drain", 0);
    watch_arm(&s->drain, DRAIN_MS * NS_PER_MS + followers_ns);
}

bool server_is_ready(void *arg, const char **why)
{
    struct server *s = arg;
    store_check_files(s->store);
    *why = s->stopping ? "shutting down" : "files of its data directory were removed";
    return !s->stopping && !is_lost(s);
}

/* What `systemctl status` shows. */
static void add_status(void *arg, struct buf *out)
{
    static const char *const roles[] = {"alone", "follows", "leads"};
    struct server *s = arg;
    buf_addf(out, "%s%s %s", s->stopping ? "stopping; " : "", store_state(s->store)->name, roles[s->role.kind]);
    if (s->role.epoch > 0)
        buf_addf(out, ", epoch %llu", (unsigned long long)s->role.epoch);
}

void server_watch(struct server *s)
{
    notify_init(&s->notify, &s->loop, add_status, s);
    watch_readable(&s->loop, &s->synced, store_event_fd(s->store), on_synced, s);
    watch_precise_timer(&s->loop, &s->due, on_due, s);
    watch_precise_timer(&s->loop, &s->group_due, on_group_due, s);
    watch_timer(&s->loop, &s->expire, on_expire, s);
    watch_timer(&s->loop, &s->trim, on_trim, s);
    watch_timer(&s->loop, &s->day, on_day, s);
    watch_timer(&s->loop, &s->drain, on_drained_too_long, s);
    /* Ignored wherever they are not watched: on the way down, which ends by itself and must complete. */
    signal(SIGHUP, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
    signal(SIGINT, SIG_IGN);
    watch_signal(&s->loop, &s->hup, SIGHUP, on_hangup, s);
    watch_signal(&s->loop, &s->term, SIGTERM, on_stop, s);
    watch_signal(&s->loop, &s->interrupt, SIGINT, on_stop, s);
    trim_arm(s);
    on_day(s);
}

void server_unwatch(struct server *s)
{
    struct watch *all[] = {&s->synced, &s->due, &s->group_due, &s->expire, &s->trim, &s->day, &s->drain,
                           &s->hup, &s->term, &s->interrupt};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        watch_fini(all[i]);
    notify_fini(&s->notify);
}
