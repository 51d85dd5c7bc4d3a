/*
 * Several nodes of one cluster in one process: each has a store in a directory of its own, and they are connected by
 * sockets over loopback and share a loop. The test plays Consul: it holds the register and decides what nodes read.
 *
 * Nodes run only in rig_turn; WAIT_UNTIL(condition) calls it until the condition holds (the runner ends a test that
 * takes too long). A node that is `paused` does not run; one that `syncs_not` writes, and never syncs.
 */
#ifndef UNIT_CLUSTER_RIG_H
#define UNIT_CLUSTER_RIG_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "broker/cluster/cluster.h"
#include "broker/leader/feed.h"
#include "store/disk/io.h"
#include "store/log/journal_struct.h"
#include "store/log/store_struct.h"
#include "store/recovery/open.h"
#include "unit/topic_sums.h"
#include "unit/unit.h"

#pragma GCC diagnostic ignored "-Wunused-function"

enum { NODES_MAX = 3 };

struct node {
    char name[16];
    struct store *store;
    struct role role;
    struct topics *topics;
    struct cluster *cluster;
    struct watch synced;
    bool up, paused, syncs_not;
};

static struct rig {
    struct loop loop;
    struct watch alarm;           /* ends the sleep of turn_for */
    struct watch due;             /* ends the sleep when a store wants to sync */
    struct node nodes[NODES_MAX];
    bool has_register;
    struct synced_register reg;
    uint64_t index;
    bool consul_away;             /* changes of the set are not confirmed */
    uint64_t lag_max_ns;
    const char *secret;           /* of nodes that are started from now on; "": none */
} rig = {.lag_max_ns = 60 * NS_PER_S, .secret = ""};

/* ---- nodes ---- */

static void node_collect(void *arg)
{
    store_collect(((struct node *)arg)->store);
}

static void on_alarm(void *arg)
{
    (void)arg;
}

static void rig_init(void)
{
    if (rig.loop.base != NULL)
        return;
    CHECK_EQ(loop_init(&rig.loop), 0);
    watch_timer(&rig.loop, &rig.alarm, on_alarm, NULL);
    watch_precise_timer(&rig.loop, &rig.due, on_alarm, NULL);
}

static struct node *node_up(int i)
{
    struct node *n = &rig.nodes[i];
    struct buf why = {0};
    rig_init();
    *n = (struct node){.up = true};
    snprintf(n->name, sizeof n->name, "n%d", i + 1);
    struct store_options so = {.path = n->name, .node_name = n->name, .files_max = 64,
                               .sync_interval_ms = 100, .moved = topic_moved};
    CHECK_EQ(store_open(&so, &n->store, &why), 0);
    role_init_follower(&n->role, n->store);
    CHECK_EQ(topics_open(n->store, &n->role, &n->topics, &why), 0);
    struct cluster_options co = {
        .loop = &rig.loop, .role = &n->role, .topics = n->topics, .http = "127.0.0.1:1", .listen = "127.0.0.1:0",
        .advertise = "", .secret = slice_from(rig.secret), .insecure = rig.secret[0] == '\0',
        .lease_ns = 60 * NS_PER_S, .lag_max_ns = rig.lag_max_ns};
    if (cluster_new(&co, &n->cluster, &why) < 0)
        unit_failed(__FILE__, __LINE__, "%.*s", SLICE_ARGS(buf_slice(&why)));
    watch_readable(&rig.loop, &n->synced, store_event_fd(n->store), node_collect, n);
    return n;
}

static void node_down(struct node *n)
{
    check_sums(n->topics);
    cluster_free(n->cluster);
    watch_fini(&n->synced);
    topics_close(n->topics);
    store_close(n->store);
    n->up = false;
}

static struct node *node_restart(struct node *n)
{
    node_down(n);
    return node_up((int)(n - rig.nodes));
}

static void rig_down(void)
{
    for (int i = 0; i < NODES_MAX; i++)
        if (rig.nodes[i].up)
            node_down(&rig.nodes[i]);
    watch_fini(&rig.alarm);
    loop_fini(&rig.loop);
}

/* ---- Consul ---- */

static enum verdict node_see(struct node *n)
{
    bool stale;
    return cluster_see(n->cluster, rig.has_register ? &rig.reg : NULL, rig.index, clock_ns(), &stale);
}

static void rig_confirm(struct node *n)
{
    const struct synced_register *v = cluster_pending_write(n->cluster);
    if (v == NULL)
        return;
    rig.reg = *v;
    rig.index++;
    CHECK_EQ(node_see(n), VERDICT_OURS);
}

static void claim(struct node *n, enum claim_kind kind)
{
    struct synced_register v;
    const char *why = "";
    node_see(n);
    if (cluster_claim(n->cluster, kind, &v, &why) < 0)
        unit_failed(__FILE__, __LINE__, "%s cannot claim: %s", n->name, why);
    rig.reg = v;
    rig.has_register = true;
    CHECK_EQ(cluster_lead(n->cluster, &v, ++rig.index), 0);
}

static void lead(struct node *n)
{
    claim(n, CLAIM_CLEAN);
}

/* ---- turns ---- */

static void node_turn(struct node *n)
{
    topics_apply(n->topics);
    cluster_awake(n->cluster);
    cluster_receive(n->cluster);
    topics_apply(n->topics);
    store_flush(n->store);
    cluster_send(n->cluster);
    if (!n->syncs_not)
        store_sync(n->store);
    if (!rig.consul_away)
        rig_confirm(n);
}

static void wake_when_due(void)
{
    uint64_t first = UINT64_MAX, now = clock_ns();
    for (int i = 0; i < NODES_MAX; i++)
        if (rig.nodes[i].up && !rig.nodes[i].paused && !rig.nodes[i].syncs_not) {
            uint64_t at = store_deadline_ns(rig.nodes[i].store);
            first = at != 0 && at < first ? at : first;
        }
    if (first != UINT64_MAX)
        watch_arm(&rig.due, first > now ? first - now : 0);
}

static void turn_once(void *arg)
{
    (void)arg;
    for (int i = 0; i < NODES_MAX; i++)
        if (rig.nodes[i].up && !rig.nodes[i].paused)
            node_turn(&rig.nodes[i]);
    wake_when_due();
    loop_stop(&rig.loop);
}

static void rig_turn(void)
{
    loop_run(&rig.loop, turn_once, NULL);
}

#define WAIT_UNTIL(condition)                                              \
    do {                                                                   \
        for (loop_again(&rig.loop); !(condition);)                         \
            rig_turn();                                                    \
    } while (0)

/* Runs all nodes for that long, to show that something does not happen. */
static void turn_for(unsigned ms)
{
    uint64_t until = clock_ns() + ms * NS_PER_MS;
    watch_arm(&rig.alarm, ms * NS_PER_MS);
    WAIT_UNTIL(clock_ns() >= until);
}

/* ---- following ---- */

static struct leader_address address_of_node(const struct node *n)
{
    struct cluster_info info;
    cluster_info(n->cluster, &info);
    struct leader_address a = {.member = n->role.self, .epoch = n->role.epoch};
    snprintf(a.http, sizeof a.http, "%s", info.http);
    snprintf(a.replication, sizeof a.replication, "%s", info.replication);
    return a;
}

static void follow(struct node *n, const struct node *leader)
{
    struct leader_address a = address_of_node(leader);
    node_see(n);
    cluster_follow(n->cluster, &a);
}

static bool is_connected(const struct node *n)
{
    struct cluster_info info;
    cluster_info(n->cluster, &info);
    return info.following.connected;
}

static bool in_set(const struct node *leader, const struct node *n)
{
    return members_have(&leader->role.synced.confirmed.set, &n->role.self);
}

static void join(struct node *n, const struct node *leader)
{
    follow(n, leader);
    WAIT_UNTIL(in_set(leader, n));
}

/* The i-th node leads; up to `count` others are in its set. */
static void rig_up(int count)
{
    for (int i = 0; i < count; i++)
        node_up(i);
    lead(&rig.nodes[0]);
    for (int i = 1; i < count; i++)
        join(&rig.nodes[i], &rig.nodes[0]);
}

/* ---- topics ---- */

static struct topic *topic_at(const struct node *n, const char *name)
{
    return topics_find(n->topics, slice_from(name));
}

static struct topic_settings settings_of(enum replication replication)
{
    struct topic_settings s = settings_default;
    s.replication = replication;
    return s;
}

static struct topic *make_topic(struct node *leader, const char *name, const struct topic_settings *s)
{
    uint64_t want;
    CHECK_EQ(topics_create(leader->topics, slice_from(name), s, &want), 0);
    WAIT_UNTIL(topic_at(leader, name) != NULL);
    return topic_at(leader, name);
}

/* The topic has another mode on this node only. */
static void set_mode(struct topic *t, enum replication replication, unsigned copies)
{
    topics_count_copies(t->topics, t, false);
    struct topic_settings s = *t->settings;
    s.replication = replication;
    s.copies = copies;
    topic_set_settings(t, &s);
    topics_count_copies(t->topics, t, true);
}

static struct topic *make_live(struct node *leader, const char *name)
{
    struct topic_settings s = settings_of(REPLICATION_LIVE);
    return make_topic(leader, name, &s);
}

static struct topic *make_wal(struct node *leader, const char *name)
{
    struct topic_settings s = settings_of(REPLICATION_WAL);
    return make_topic(leader, name, &s);
}

/* So many empty topics whose names come before others, which the follower has, too. */
static void make_many(struct node *leader, const struct node *follower, unsigned count)
{
    char name[16];
    uint64_t want;
    for (unsigned i = 0; i < count; i++) {
        snprintf(name, sizeof(name), "a-%05u", i);
        CHECK_EQ(topics_create(leader->topics, slice_from(name), &settings_default, &want), 0);
    }
    WAIT_UNTIL(topic_at(follower, name) != NULL && topic_at(follower, name)->follow->placed);
}

/* Appends a batch of one message of this size, whose payload states its offset. */
static int try_publish(struct topic *t, size_t size, const char *text)
{
    static char payload[PAYLOAD_SIZE_MAX];
    struct buf messages = {0};
    memset(payload, '.', size);
    int n = snprintf(payload, sizeof payload, "%s %llu", text, (unsigned long long)t->tail.at);
    struct message m = {.payload = slice_of(payload, size > (size_t)n ? size : (size_t)n)};
    message_write(&messages, &m);
    struct append a = {.messages = buf_slice(&messages), .count = 1, .time_ms = clock_wall_ms()};
    uint64_t first;
    int rc = topics_append(t, &a, &first);
    buf_fini(&messages);
    return rc;
}

static void publish(struct topic *t, unsigned count, size_t size)
{
    for (unsigned i = 0; i < count; i++)
        CHECK_EQ(try_publish(t, size, "message"), 0);
}

/* Lets followers have the topic up to its tail, as topic:ship does. */
static void ship(struct topic *t)
{
    t->lead->ship = t->tail.at;
    topic_settle(t);
}

/* The follower's position in a topic as its leader knows it; UINT64_MAX: the topic is not being sent to it. */
static uint64_t acked(const struct topic *t, const struct node *n)
{
    struct feed_info f;
    for (unsigned i = 0; leader_feed(t, i, &f); i++)
        if (member_eq(&f.member, &n->role.self))
            return f.acked;
    return UINT64_MAX;
}

/* Whether readers of this node get that many messages of the topic. */
static bool can_read(const struct node *n, const char *name, uint64_t count)
{
    struct topic *t = topic_at(n, name);
    return t != NULL && topic_readable(t) == count;
}

/* All that can be read of a topic, as bytes. */
static void read_topic(struct topic *t, struct buf *out)
{
    uint64_t next = topic_first(t);
    while (next < topic_readable(t)) {
        uint64_t from = next;
        CHECK_EQ(topic_read(t, from, UINT64_MAX, MIB, out, &next), 0);
        CHECK(next > from);
    }
}

static void check_same_topic(const struct node *a, const struct node *b, const char *name)
{
    struct buf x = {0}, y = {0};
    struct topic *t = topic_at(a, name), *u = topic_at(b, name);
    CHECK(t != NULL);
    CHECK(u != NULL);
    CHECK_EQ(topic_readable(t), topic_readable(u));
    CHECK_EQ(topic_first(t), topic_first(u));
    read_topic(t, &x);
    read_topic(u, &y);
    CHECK_SLICE(buf_slice(&x), buf_slice(&y));
    buf_fini(&x);
    buf_fini(&y);
}

/* ---- files ---- */

static unsigned count_in(const char *dir)
{
    char command[256];
    unsigned n = 0;
    snprintf(command, sizeof command, "ls %s | wc -l", dir);
    FILE *p = popen(command, "r");
    CHECK_EQ(fscanf(p, "%u", &n), 1);
    pclose(p);
    return n;
}

static int run(const char *command)
{
    return system(command);
}

static int sync_nothing(int fd)
{
    (void)fd;
    return 0;
}

/* For tests that write much and simulate no power loss. */
static void skip_syncs(void)
{
    io.sync_data = io.sync_all = io.sync_fs = sync_nothing;
}

#endif
