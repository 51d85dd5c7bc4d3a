/*
 * Arbitrary frames to a leader from a follower, and to a follower from its leader. They must not crash either.
 * `peers` of a leader must not move while a member of the set is missing. What a follower was told is committed must
 * stay readable and unchanged, unless the node has marked itself amnesiac or refuses a file that differs
 * (broker/follower/refetch.c), the leader's retention has removed it, or the leader claimed without membership.
 *
 * The bits of the first byte choose: the side; whether the handshake is over; whether slots and the checksums of
 * batches are corrected first, so that the fuzzer gets past them. Frames follow: type, two bytes of size, payload.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/say.h"
#include "broker/follower/follower.h"
#include "broker/follower/handshake.h"
#include "broker/follower/reconcile.h"
#include "broker/follower/stream.h"
#include "broker/leader/handshake.h"
#include "broker/leader/leader.h"
#include "broker/leader/membership.h"
#include "broker/leader/requests.h"
#include "store/disk/io.h"
#include "store/log/journal_struct.h"
#include "store/log/store_struct.h"
#include "store/recovery/open.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FOLLOWER = 1, GREETING = 2, REPAIR = 4, PLACED = 8 };
enum { MESSAGES = 4, DATA_HEAD = 49, POSITION_SIZE = 39, FRAMES_MAX = 32 };

struct node {
    struct store *store;
    struct role role;
    struct topics *topics;
    struct topic *t;
    struct leader *leader;
    struct follower *follower;
    struct topic_hooks hooks;
    struct buf committed;         /* the readable batches of t at the beginning */
};

static struct loop loop;
static struct node leading, following;

static int sync_nothing(int fd)
{
    (void)fd;
    return 0;
}

static struct member other(const char *name)
{
    struct id id = {{7}};
    return member_of(name, &id);
}

/* ---- a node with a live topic of a few messages, in two files ---- */

static uint64_t on_peers(void *arg, struct topic *t)
{
    return leader_peers(((struct node *)arg)->leader, t);
}

static void on_moved(void *arg, struct topic *t)
{
    struct node *n = arg;
    leader_moved(n->leader, t);
    follower_moved(n->follower, t);
}

static void on_opened(void *arg, struct topic *t)
{
    follower_opened(((struct node *)arg)->follower, t);
}

static void on_dropped(void *arg, struct topic *t)
{
    struct node *n = arg;
    leader_dropped(n->leader, t);
    follower_dropped(n->follower, t);
}

static void settle(struct node *n, struct topic *t)
{
    while (t->disk.at < t->tail.at) {
        store_flush(n->store);
        store_sync(n->store);
        store_collect(n->store);
    }
    topics_apply(n->topics);
}

static void publish(struct node *n)
{
    for (int i = 0; i < MESSAGES; i++) {
        struct buf messages = {0};
        uint64_t first;
        message_write(&messages, &(struct message){.payload = SLICE("what was committed")});
        struct append a = {.messages = buf_slice(&messages), .count = 1, .time_ms = 1, .epoch = n->role.epoch};
        ENSURE(journal_append(n->t->journal, &a, &first) == 0);
        mark_advance(&n->t->tail, first + 1);
        buf_fini(&messages);
    }
    settle(n, n->t);
}

static void read_topic(struct node *n, struct buf *out)
{
    uint64_t next;
    buf_clear(out);
    for (uint64_t from = 0; from < MESSAGES; from = next)
        ENSURE(topic_read(n->t, from, MESSAGES, MIB, out, &next) == 0 && next > from);
}

static void lead(struct node *n)
{
    struct holdings empty = {.empty = true, .copies_min = 1};
    struct synced_register v;
    const char *why;
    role_see(&n->role, NULL, 0, &empty, clock_ns());
    ENSURE(role_claim(&n->role, CLAIM_CLEAN, &empty, &v, &why) == 0);
    ENSURE(role_lead(&n->role, &v, 1) == 0);
    leader_begin(n->leader);
}

static void node_open(struct node *n, const char *path)
{
    struct buf why = {0};
    struct store_options o = {.path = path, .node_name = "fuzz", .files_max = 16, .moved = topic_moved};
    struct topic_settings live = settings_default;
    uint64_t want;
    live.replication = REPLICATION_LIVE;
    live.segment_messages = 3;
    ENSURE(store_open(&o, &n->store, &why) == 0);
    role_init_follower(&n->role, n->store);
    n->role.lease_ns = UINT64_MAX / 2;
    ENSURE(topics_open(n->store, &n->role, &n->topics, &why) == 0);
    n->leader = leader_new(&(struct leader_options){.loop = &loop, .role = &n->role, .topics = n->topics,
                                                    .lag_max_ns = NS_PER_S});
    n->follower = follower_new(&(struct follower_options){.loop = &loop, .role = &n->role, .topics = n->topics,
                                                          .http = "h"});
    n->hooks = (struct topic_hooks){on_peers, on_moved, on_opened, on_dropped, n};
    topics_set_hooks(n->topics, &n->hooks);
    follower_opened(n->follower, topics_log(n->topics));
    lead(n);
    ENSURE(topics_create(n->topics, SLICE("t"), &live, &want) == 0);
    settle(n, topics_log(n->topics));
    n->t = topics_find(n->topics, SLICE("t"));
    publish(n);
    ENSURE(n->t->readable.at == MESSAGES);
    read_topic(n, &n->committed);
}

static void open_once(void)
{
    static char root[] = "/dev/shm/fuzz_wire.XXXXXX";
    char path[64];
    if (leading.store != NULL)
        return;
    say_set_level(SAY_ERROR + 1);
    io.sync_data = io.sync_all = io.sync_fs = sync_nothing;
    ENSURE(mkdtemp(root) != NULL);
    ENSURE(loop_init(&loop) == 0);
    snprintf(path, sizeof(path), "%s/leader", root);
    node_open(&leading, path);
    struct members *set = &leading.role.synced.confirmed.set;
    struct member wild = other("wild"), missing = other("missing");
    members_add(set, &wild);
    members_add(set, &missing);
    leader_set_changed(leading.leader);
    publish(&leading);            /* never acknowledged: a member is missing */
    snprintf(path, sizeof(path), "%s/follower", root);
    node_open(&following, path);
    role_resign(&following.role);
    leader_end(following.leader);
}

/* ---- frames ---- */

struct script {
    unsigned flags;
    slice rest;
};

/* Makes batches follow the tail, and corrects their checksums as far as their sizes are valid. */
static void repair_data(char *p, size_t n, const struct topic *t)
{
    struct batch_head head;
    uint64_t next = t->tail.at, file_first = journal_active_first(t->journal);
    memcpy(p + 20, &next, 8);
    memcpy(p + 36, &file_first, 8);
    p[44] = 0;
    for (size_t at = DATA_HEAD; at + BATCH_HEAD_SIZE <= n; at += head.size) {
        if (batch_head_read(p + at, &head) < 0 || head.size > n - at)
            break;
        head.first = next;
        batch_head_write(p + at, &head);
        next += head.count;
    }
    memcpy(p + 28, &next, 8);
}

/* Corrects the slot of a frame, and what else must be right. Returns the size of its payload. */
static size_t repair(unsigned char type, char *p, size_t n, const struct topic *t)
{
    static const uint32_t slot = 1;
    if (n < 4 || type == WIRE_CAUGHT || type == WIRE_REFUSE || type == WIRE_PING)
        return n;
    memcpy(p, &slot, 4);
    if (type == WIRE_DATA && n >= DATA_HEAD)
        repair_data(p, n, t);
    if (type != WIRE_POSITION || n < POSITION_SIZE)
        return n;
    memcpy(p + 4, &t->id.epoch, 8);
    memcpy(p + 12, &t->id.offset, 8);
    memcpy(p + 36, "\1\0t", 3);
    return POSITION_SIZE;
}

/* The next frame, in memory of its own, so that sanitizers see reads beyond it; false at the end. */
static bool next_frame(struct script *s, const struct topic *t, unsigned char *type, slice *payload)
{
    if (s->rest.n < 3)
        return false;
    const unsigned char *u = (const unsigned char *)s->rest.p;
    size_t n = u[1] | (size_t)u[2] << 8;
    *type = u[0];
    s->rest = slice_skip(s->rest, 3);
    if (n > s->rest.n)
        n = s->rest.n;
    char *copy = malloc(n ? n : 1);
    memcpy(copy, s->rest.p, n);
    s->rest = slice_skip(s->rest, n);
    if (s->flags & REPAIR)
        n = repair(*type, copy, n, t);
    *payload = slice_of(copy, n);
    return true;
}

static void frame_free(slice payload)
{
    free((char *)(uintptr_t)payload.p);
}

static int one_end(int *other_end)
{
    int fds[2];
    ENSURE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0);
    *other_end = fds[1];
    return fds[0];
}

/* ---- to a leader ---- */

static void to_leader(struct script *s)
{
    struct leader *l = leading.leader;
    union address from = {.v4.sin_family = AF_INET};
    unsigned char type;
    slice payload;
    int far;
    leader_accept(l, one_end(&far), &from);
    struct peer *p = list_first(&l->peers, struct peer, all);
    if (!(s->flags & GREETING)) {
        p->member = other("wild");
        p->phase = PEER_READY;
        membership_arrived(p);
        membership_recount(l);
    }
    for (int i = 0; i < FRAMES_MAX && !p->closing && next_frame(s, leading.t, &type, &payload); i++) {
        (p->phase == PEER_READY ? requests_frame : handshake_frame)(p, type, payload);
        frame_free(payload);
        leader_send(l);
        ENSURE(leading.t->peers.at == MESSAGES);
        ENSURE(leading.t->disk.at == 2 * MESSAGES);
    }
    close(far);
    p->closing = true;
    leader_receive(l);
    ENSURE(list_empty(&l->peers));
    ENSURE(list_empty(&leading.t->lead->feeds));
}

/* ---- to a follower ---- */

static void follower_restore(void)
{
    struct state *state = store_state(following.store);
    struct topic *t = following.t;
    t->follow->told_readable = t->follow->told_peers = MESSAGES;
    bool whole = t->tail.at == MESSAGES && topic_first(t) == 0 && !journal_refuses(t->journal, 0);
    if (whole && !state->amnesiac && state->epoch == 1)
        return;
    state->amnesiac = false;
    state->epoch = following.role.epoch = 1;
    state->leader = state->incarnation;
    state->unclean = following.follower->unclean = 0;
    int rc;
    while ((rc = topic_restart(t, 0, false)) == -ERR_BUSY) {
        store_flush(following.store);
        store_sync(following.store);
        store_collect(following.store);
    }
    ENSURE(rc == 0);
    t->follow->told_readable = t->follow->told_peers = MESSAGES;
    publish(&following);
}

static void check_committed(void)
{
    static struct buf now;
    ENSURE(following.t->readable.at <= following.t->disk.at);
    if (store_state(following.store)->amnesiac || following.follower->unclean > 0)
        return;
    if (topic_first(following.t) > 0)    /* the leader said that its retention has removed them */
        return;
    if (journal_refuses(following.t->journal, 0))    /* the leader said that its file is another one */
        return;
    ENSURE(following.t->readable.at >= MESSAGES);
    read_topic(&following, &now);
    ENSURE(slice_eq(buf_slice(&now), buf_slice(&following.committed)));
}

/* Connected, and ready unless the handshake is to be fuzzed; t has slot 1. */
static void follower_connect(unsigned flags, int *far)
{
    struct follower *f = following.follower;
    f->follows = true;
    f->leader.member = following.role.seen.leader = other("wild");
    following.role.seen.epoch = following.role.seen.version = 2;
    f->link = link_new(&loop, one_end(far), false);
    f->phase = UPSTREAM_HELLO;
    f->since_ns = f->heard_ns = clock_ns();
    handshake_hello(f);
    if (flags & GREETING)
        return;
    f->phase = UPSTREAM_READY;
    reconcile_ask(f, following.t);
    following.t->follow->placed = flags & PLACED;
}

static void to_follower(struct script *s)
{
    struct follower *f = following.follower;
    unsigned char type;
    slice payload;
    int far;
    follower_connect(s->flags, &far);
    for (int i = 0; i < FRAMES_MAX && f->link != NULL && !f->failed; i++) {
        if (!next_frame(s, following.t, &type, &payload))
            break;
        (f->phase == UPSTREAM_READY ? stream_frame : handshake_answer)(f, type, payload);
        frame_free(payload);
        store_flush(following.store);
        follower_send(f);
    }
    follower_follow(f, NULL);
    settle(&following, following.t);
    check_committed();
    close(far);
    follower_restore();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    open_once();
    struct script s = {.flags = data[0], .rest = slice_of((const char *)data + 1, size - 1)};
    if (s.flags & FOLLOWER)
        to_follower(&s);
    else
        to_leader(&s);
    return 0;
}
