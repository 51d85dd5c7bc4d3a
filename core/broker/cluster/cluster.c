#include "broker/cluster/cluster.h"

#include <errno.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/say.h"
#include "broker/cluster/cluster_struct.h"
#include "broker/follower/barrier.h"
#include "broker/follower/call.h"

#define TICK_SOON_NS (50 * NS_PER_MS)
#define REDIAL_NS (20 * NS_PER_MS)   /* before a leader that is gone is dialled, to find whether it runs */

/* ---- hooks of topics ---- */

static uint64_t on_peers(void *arg, struct topic *t)
{
    return leader_peers(((struct cluster *)arg)->leader, t);
}

static void on_moved(void *arg, struct topic *t)
{
    struct cluster *c = arg;
    leader_moved(c->leader, t);
    follower_moved(c->follower, t);
}

static void on_opened(void *arg, struct topic *t)
{
    follower_opened(((struct cluster *)arg)->follower, t);
}

static void on_dropped(void *arg, struct topic *t)
{
    struct cluster *c = arg;
    leader_dropped(c->leader, t);
    follower_dropped(c->follower, t);
}

/* ---- making and freeing ---- */

static void on_accept(void *arg, int fd, const union address *from)
{
    leader_accept(((struct cluster *)arg)->leader, fd, from);
}

static void on_tick(void *arg)
{
    ((struct cluster *)arg)->due = true;
}

/* Other nodes are told a numeric address, so that they need not resolve a name while they run. */
static int advertise_set(struct cluster *c, const char *advertise, const char *listen, uint16_t port)
{
    union address a = {0};
    socklen_t size;
    char text[ADDRESS_TEXT_MAX];
    int rc = address_resolve(slice_from(advertise[0] ? advertise : listen), &a, &size);
    if (rc < 0)
        return rc;
    if (a.any.sa_family == AF_INET6 && a.v6.sin6_port == 0)
        a.v6.sin6_port = htons(port);
    else if (a.any.sa_family == AF_INET && a.v4.sin_port == 0)
        a.v4.sin_port = htons(port);
    address_format(&a, text);
    snprintf(c->replication, sizeof(c->replication), "%s", text);
    return 0;
}

static int secret_set(struct cluster *c, const struct cluster_options *o, struct buf *why)
{
    struct secret s = {0};
    int rc = secret_parse(o->secret, &s);
    if (rc < 0)
        buf_addf(why, "cluster.replication.secret must be %d to %d hexadecimal digits", 2 * SECRET_SIZE_MIN,
                 2 * SECRET_SIZE_MAX);
    else if (s.size > 0 && tls_context_new(&s, &c->tls) < 0)
        buf_addf(why, "cluster.replication.secret cannot be used: OpenSSL is not usable");
    else if (s.size == 0 && !o->insecure)
        buf_addf(why, "cluster.replication.secret is missing");
    secret_clear(&s);
    return buf_size(why) > 0 ? -ERR_BAD_VALUE : 0;
}

static int acceptor_start(struct cluster *c, const struct cluster_options *o, struct buf *why)
{
    uint16_t port = 0;
    int fd = address_listen(slice_from(o->listen), &port);
    if (fd < 0) {
        buf_addf(why, "cluster.replication.listen \"%s\": %s", o->listen, err_sentence(fd));
        return fd;
    }
    c->acceptor = (struct acceptor){.on_accept = on_accept, .arg = c, .area = "link"};
    acceptor_open(&c->acceptor, o->loop, fd);
    int rc = advertise_set(c, o->advertise, o->listen, port);
    if (rc < 0)
        buf_addf(why, "cluster.replication.advertise \"%s\" is not an address: %s", o->advertise, err_sentence(rc));
    return rc;
}

static void sides_new(struct cluster *c, const struct cluster_options *o)
{
    c->leader = leader_new(&(struct leader_options){
        .loop = c->loop, .role = c->role, .topics = c->topics, .tls = c->tls, .http = c->http,
        .lag_max_ns = o->lag_max_ns});
    c->follower = follower_new(&(struct follower_options){
        .loop = c->loop, .role = c->role, .topics = c->topics, .tls = c->tls, .http = c->http});
    c->hooks = (struct topic_hooks){on_peers, on_moved, on_opened, on_dropped, c};
    topics_set_hooks(c->topics, &c->hooks);
    struct topic *t;
    for (size_t i = 0; (t = topics_at(c->topics, i)) != NULL; i++)
        follower_opened(c->follower, t);
}

int cluster_new(const struct cluster_options *o, struct cluster **out, struct buf *why)
{
    struct cluster *c = MEM_NEW(struct cluster);
    c->loop = o->loop;
    c->role = o->role;
    c->topics = o->topics;
    snprintf(c->http, sizeof(c->http), "%s", o->http);
    int rc = secret_set(c, o, why);
    if (rc == 0)
        rc = acceptor_start(c, o, why);
    if (rc < 0) {
        acceptor_close(&c->acceptor);
        tls_context_free(c->tls);
        mem_free(c);
        return rc;
    }
    c->role->lease_ns = o->lease_ns;
    mark_init(&c->changes, 1);
    mark_init(&c->ship_news, 1);
    mark_init(&c->drains, 0);
    sides_new(c, o);
    c->turned_ns = clock_ns();
    watch_timer(c->loop, &c->tick, on_tick, c);
    watch_arm(&c->tick, TICK_SOON_NS);
    *out = c;
    return 0;
}

void cluster_free(struct cluster *c)
{
    topics_set_hooks(c->topics, NULL);
    acceptor_close(&c->acceptor);
    watch_fini(&c->tick);
    leader_free(c->leader);
    follower_free(c->follower);
    tls_context_free(c->tls);
    mark_fail(&c->changes, -ERR_CANCELLED);
    mark_fail(&c->ship_news, -ERR_CANCELLED);
    mark_fail(&c->drains, -ERR_CANCELLED);
    mem_free(c);
}

void cluster_set_limits(struct cluster *c, uint64_t lease_ns, uint64_t lag_max_ns)
{
    c->role->lease_ns = lease_ns;
    leader_set_lag_max(c->leader, lag_max_ns);
}

/* ---- acting on the role ---- */

static void changed(struct cluster *c)
{
    mark_advance(&c->changes, c->changes.at + 1);
}

/* When leading ends, for any reason, this node cannot acknowledge what waits for acknowledgements. */
static void act_on_role(struct cluster *c)
{
    bool leads = c->role->kind == ROLE_LEADER;
    if (c->leading == leads)
        return;
    c->leading = leads;
    topics_hold(c->topics, false);
    if (leads) {
        follower_follow(c->follower, NULL);
        leader_begin(c->leader);
        say_info("cluster", "leads epoch=%llu members=%u", (unsigned long long)c->role->epoch,
                 c->role->synced.confirmed.set.count);
    } else {
        leader_end(c->leader);
        topics_fail(c->topics, -ERR_UNKNOWN_OUTCOME);
    }
    changed(c);
}

/* A leader without a valid lease acknowledges nothing; waiting requests end with an unknown outcome. */
static void act_on_lease(struct cluster *c)
{
    bool suspended = c->leading && !role_lease_valid(c->role, clock_ns());
    if (c->role->confirmed_ns > c->led_ns)
        c->led_ns = c->role->confirmed_ns;
    if (suspended == c->suspended)
        return;
    c->suspended = suspended;
    if (suspended) {
        say_warn("cluster", "suspended: Consul has not confirmed for too long that this node leads");
        topics_fail(c->topics, -ERR_UNKNOWN_OUTCOME);
    } else if (c->leading) {
        say_info("cluster", "confirmed again epoch=%llu", (unsigned long long)c->role->epoch);
    }
    changed(c);
}

void cluster_awake(struct cluster *c)
{
    uint64_t now = clock_ns();
    bool away = now - c->turned_ns > c->role->lease_ns / 2;
    if (away && c->leading)
        say_warn("cluster", "was away for %llu ms: asks Consul before it acknowledges anything",
                 (unsigned long long)((now - c->turned_ns) / NS_PER_MS));
    if (away) {
        role_expire_lease(c->role);
        act_on_lease(c);
    }
    c->turned_ns = now;
}

/* ---- the turn ---- */

/* Tells scripts when the connection to the leader is made, ends, or is refused. */
static bool connection_changed(struct cluster *c)
{
    unsigned now = follower_connection(c->follower), lost = follower_leader_losses(c->follower);
    if (c->connection == now && c->lost == lost)
        return false;
    c->connection = now;
    c->lost = lost;
    changed(c);
    return true;
}

void cluster_receive(struct cluster *c)
{
    bool behind = c->role->behind;
    leader_receive(c->leader);
    if (c->role->behind && !behind)
        changed(c);                  /* scripts ask Consul */
    follower_receive(c->follower);
    const char *unfit = c->leading ? leader_unfit(c->leader) : NULL;
    if (unfit != NULL)
        cluster_resign(c, unfit);
    act_on_role(c);                  /* a promise may have ended this node's own epoch */
    if (connection_changed(c))
        watch_arm(&c->tick, REDIAL_NS);
    if (leader_has_ship_news(c->leader))
        mark_advance(&c->ship_news, c->ship_news.at + 1);
}

static void tick(struct cluster *c)
{
    bool asking = c->role->synced.proposing;
    if (c->leading && store_stalled_ns(c->role->store) > c->role->lease_ns)
        cluster_resign(c, "its disk does not answer");
    act_on_lease(c);
    bool soon = leader_tick(c->leader);
    soon = follower_tick(c->follower) || soon;
    connection_changed(c);
    if (asking != c->role->synced.proposing)
        changed(c);
    c->due = false;
    watch_arm(&c->tick, soon ? TICK_SOON_NS : PING_MS * NS_PER_MS);
}

/* What is not on this node's disk yet may still be acknowledged before this node ends, so followers need it too. */
static void drain(struct cluster *c)
{
    if (c->leading && !leader_drained(c->leader))
        return;
    c->draining = false;
    if (c->leading)
        mark_advance(&c->drains, c->drains.at + 1);
    else
        mark_fail(&c->drains, -ERR_NOT_LEADER);
}

void cluster_send(struct cluster *c)
{
    if (c->due)
        tick(c);
    leader_send(c->leader);
    follower_send(c->follower);
    if (c->draining)
        drain(c);
}

/* A leader that is damaged hands over, and repairs the damage as a follower. */
void cluster_tell_uses(struct cluster *c, uint64_t now_ns)
{
    follower_tell_uses(c->follower, now_ns);
}

void cluster_audited(void *cluster, struct topic *t, const struct file_info *file, int rc)
{
    struct cluster *c = cluster;
    if (rc == 0)
        follower_audited(c->follower, t, file);
    else if (c->leading)
        leader_damaged(c->leader);
}

/* ---- for scripts ---- */

/* A node without messages takes the id of the cluster that Consul names, and forgets all epochs of its own. */
static void adopt_id(struct cluster *c, const struct synced_register *v, const struct holdings *h)
{
    struct state *state = store_state(c->role->store);
    if (!h->empty || id_eq(&v->cluster, &state->cluster))
        return;
    int rc = store_set_cluster(c->role->store, &v->cluster);
    if (rc < 0) {
        say_error("cluster", "cannot take the cluster's id: %s", err_sentence(rc));
        return;
    }
    role_reset_epochs(c->role);
    say_info("cluster", "joins the cluster that Consul names");
}

/* Saves whether this node is a member: after a crash, the stated marks of a set bind the recovery of its members
 * (store/recovery/inspect.c). Saving it late does no harm. */
static void note_membership(struct cluster *c, const struct synced_register *v)
{
    struct state *state = store_state(c->role->store);
    bool counts = members_have(&v->set, &c->role->self);
    if (state->counts == counts)
        return;
    state->counts = counts;
    int rc = store_save_state(c->role->store);
    if (rc < 0)
        say_fatal(EXIT_IO, "cluster", "the state cannot be written: %s", err_sentence(rc));
}

enum verdict cluster_see(struct cluster *c, const struct synced_register *v, uint64_t index, uint64_t asked_ns,
                         bool *stale)
{
    struct holdings h = topics_holdings(c->topics);
    *stale = role_read_is_stale(c->role, v, asked_ns);
    if (*stale)
        return VERDICT_OTHER;
    if (v != NULL)
        adopt_id(c, v, &h);
    bool asking = c->role->synced.proposing, leading = c->leading;
    enum verdict verdict = role_see(c->role, v, index, &h, asked_ns);
    if (verdict == VERDICT_OURS || verdict == VERDICT_OTHER)
        note_membership(c, v);
    act_on_role(c);
    act_on_lease(c);
    if (leading && c->leading && asking != c->role->synced.proposing) {
        leader_set_changed(c->leader);
        changed(c);
    }
    return verdict;
}

int cluster_claim(struct cluster *c, enum claim_kind kind, struct synced_register *out, const char **why)
{
    struct holdings h = topics_holdings(c->topics);
    return role_claim(c->role, kind, &h, out, why);
}

int cluster_lead(struct cluster *c, const struct synced_register *v, uint64_t index)
{
    int rc = role_lead(c->role, v, index);
    c->elections += rc == 0;
    act_on_role(c);
    act_on_lease(c);
    return rc;
}

struct mark *cluster_drain(struct cluster *c, bool stopping)
{
    if (stopping)
        topics_stop(c->topics);
    if (c->leading) {
        topics_hold(c->topics, true);
        leader_ship_all(c->leader);
        c->draining = true;
        loop_again(c->loop);
    }
    return &c->drains;
}

bool cluster_draining(const struct cluster *c)
{
    return c->draining;
}

void cluster_resign(struct cluster *c, const char *why)
{
    if (!c->leading)
        return;
    say_info("cluster", "resigns epoch=%llu reason=\"%s\"", (unsigned long long)c->role->epoch, why);
    role_resign(c->role);
    act_on_role(c);
}

void cluster_follow(struct cluster *c, const struct leader_address *leader)
{
    if (c->leading)
        return;
    const struct leader_address *before = follower_leader(c->follower);
    bool was = before != NULL;
    follower_follow(c->follower, leader);
    if (was != (leader != NULL))
        changed(c);
}

unsigned cluster_leader_losses(const struct cluster *c)
{
    return follower_leader_losses(c->follower);
}

const struct synced_register *cluster_pending_write(const struct cluster *c)
{
    return role_pending_write(c->role);
}

struct mark *cluster_changes(struct cluster *c)
{
    return &c->changes;
}

struct mark *cluster_ship_news(struct cluster *c)
{
    return &c->ship_news;
}

int cluster_barrier(struct cluster *c, slice name, struct mark **mark, uint64_t *want, uint64_t *number)
{
    *number = 0;
    if (c->leading) {
        *mark = leader_barrier(c->leader, want);
        return 0;
    }
    int rc = follower_barrier(c->follower, name, number);
    *mark = follower_answered(c->follower);
    *want = *number;
    return rc;
}

bool cluster_reached(struct cluster *c, uint64_t number, struct reached *out)
{
    return follower_reached(c->follower, number, out);
}

bool cluster_reached_here(struct cluster *c, slice name, struct reached *out)
{
    return c->leading && leader_reached(c->leader, name, out);
}

int cluster_call(struct cluster *c, slice what, struct node_call *call)
{
    return c->leading ? -ERR_NO_LEADER : follower_call(c->follower, what, call);
}

struct called *cluster_take_call(struct cluster *c)
{
    return leader_take_call(c->leader);
}

struct leader *cluster_leader(struct cluster *c)
{
    return c->leader;
}
