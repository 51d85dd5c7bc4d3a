/*
 * Somebody on the way between a follower and its leader: reads, changes, repeats and holds back what they send. With a
 * secret nothing comes of that but a connection that ends; without one it is what a test shows here that they could do.
 */
#include <fcntl.h>

#include "unit/wild.h"

#define SECRET "00112233445566778899aabbccddeeff"

/* ---- the relay ---- */

struct way {
    int from, to;
    struct buf all, rest;         /* everything that was read; what has yet to be written */
};

static struct relay {
    int door;
    struct leader_address at;     /* of the leader, but here */
    char leader[sizeof(((struct leader_address *)0)->replication)];
    struct way up, down;          /* to the leader, and to the follower; -1: not connected */
    unsigned connections;
    void (*tamper)(struct buf *down, size_t at);   /* with what has just arrived from the leader; may be NULL */
} relay;

static void relay_open(const struct node *leader)
{
    uint16_t port = 0;
    relay.at = address_of_node(leader);
    snprintf(relay.leader, sizeof relay.leader, "%s", relay.at.replication);
    relay.door = address_listen(SLICE("127.0.0.1:0"), &port);
    CHECK(relay.door >= 0);
    snprintf(relay.at.replication, sizeof relay.at.replication, "127.0.0.1:%u", port);
    relay.up.from = relay.down.from = -1;
}

static void relay_hang_up(void)
{
    close(relay.up.from);
    close(relay.down.from);
    buf_clear(&relay.up.rest);
    buf_clear(&relay.down.rest);
    relay.up.from = relay.down.from = -1;
}

/* False at the end. */
static bool way_turn(struct way *w, bool tampers)
{
    ssize_t n = recv(w->from, buf_reserve(&w->rest, MIB), MIB, MSG_DONTWAIT);
    if (n > 0) {
        size_t at = buf_size(&w->rest);
        w->rest.end += (size_t)n;
        if (tampers && relay.tamper != NULL)
            relay.tamper(&w->rest, at);
        buf_add(&w->all, buf_slice(&w->rest).p + at, (size_t)n);
    }
    while (buf_size(&w->rest) > 0) {
        slice rest = buf_slice(&w->rest);
        ssize_t sent = send(w->to, rest.p, rest.n, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent < 0)
            break;
        buf_drop(&w->rest, (size_t)sent);
    }
    return n > 0 || (n < 0 && errno == EAGAIN);
}

static void relay_turn(void)
{
    union address from;
    int fd = relay.up.from < 0 ? address_accept(relay.door, &from) : -1;
    if (fd >= 0) {
        int leader = address_dial(slice_from(relay.leader));
        CHECK(leader >= 0);
        CHECK_EQ(fcntl(leader, F_SETFL, 0), 0);    /* so that nothing is lost while it connects */
        relay.up.from = relay.down.to = fd;
        relay.up.to = relay.down.from = leader;
        relay.connections++;
    }
    if (relay.up.from >= 0 && (!way_turn(&relay.up, false) || !way_turn(&relay.down, true)))
        relay_hang_up();
    loop_again(&rig.loop);
}

#define RELAY_UNTIL(condition) WAIT_UNTIL((relay_turn(), condition))

static void relay_close(void)
{
    if (relay.up.from >= 0)
        relay_hang_up();
    close(relay.door);
    buf_fini(&relay.up.all);
    buf_fini(&relay.down.all);
    buf_fini(&relay.up.rest);
    buf_fini(&relay.down.rest);
}

/* ---- the log ---- */

static void log_to_file(void)
{
    CHECK(dup2(open("stderr", O_CREAT | O_RDWR | O_APPEND, 0600), STDERR_FILENO) >= 0);
}

static unsigned log_count(const char *what)
{
    static char text[1 << 20];
    int fd = open("stderr", O_RDONLY);
    ssize_t n = read(fd, text, sizeof text - 1);
    unsigned count = 0;
    CHECK(n >= 0);
    close(fd);
    text[n] = '\0';
    for (const char *p = text; (p = strstr(p, what)) != NULL; p++)
        count++;
    return count;
}

/* ---- cases ---- */

static bool saw(const char *text)
{
    slice up = buf_slice(&relay.up.all), down = buf_slice(&relay.down.all);
    return memmem(up.p, up.n, text, strlen(text)) != NULL || memmem(down.p, down.n, text, strlen(text)) != NULL;
}

/* n1 leads, n2 follows it through the relay, and both have a message in the live topic t. */
static struct topic *two_with_a_relay(const char *secret)
{
    rig.secret = secret;
    log_to_file();
    rig_up(1);
    node_up(1);
    relay_open(&rig.nodes[0]);
    struct topic *t = make_live(&rig.nodes[0], "t");
    node_see(&rig.nodes[1]);
    cluster_follow(rig.nodes[1].cluster, &relay.at);
    RELAY_UNTIL(in_set(&rig.nodes[0], &rig.nodes[1]));
    CHECK_EQ(try_publish(t, 0, "hello"), 0);
    RELAY_UNTIL(t->peers.at == 1);
    return t;
}

static void over(void)
{
    relay_close();
    rig_down();
}

static void pay_99(struct buf *down, size_t at)
{
    char *p = memmem(down->data + down->at + at, buf_size(down) - at, "pay 10", 6);
    if (p != NULL)
        memcpy(p, "pay 99", 6);
}

static bool flipped;

static void flip_last_of_data(struct buf *down, size_t at)
{
    if (flipped || buf_size(down) - at < 100)      /* a PING is smaller */
        return;
    flipped = true;
    down->data[down->end - 1] ^= 1;
}

TEST(test_without_a_secret_a_relay_reads_everything)
{
    struct topic *t = two_with_a_relay("");
    CHECK_EQ(try_publish(t, 0, "pay 10"), 0);
    RELAY_UNTIL(t->peers.at == 2);
    CHECK(saw("pay 10"));
    over();
}

TEST(test_with_a_secret_a_relay_reads_and_replaces_nothing)
{
    struct topic *t = two_with_a_relay(SECRET);
    relay.tamper = pay_99;
    CHECK_EQ(try_publish(t, 0, "pay 10"), 0);
    RELAY_UNTIL(t->peers.at == 2);
    CHECK(!saw("pay 10"));
    CHECK(!saw("hello"));
    CHECK(!saw("n2:"));
    RELAY_UNTIL(topic_readable(topic_at(&rig.nodes[1], "t")) == 2);
    check_same_topic(&rig.nodes[0], &rig.nodes[1], "t");
    over();
}

TEST(test_a_byte_changed_in_data_drops_the_link_is_said_once_and_changes_nothing)
{
    struct topic *t = two_with_a_relay(SECRET);
    struct node *a = &rig.nodes[0], *b = &rig.nodes[1];
    unsigned before = relay.connections;
    b->syncs_not = true;
    relay.tamper = flip_last_of_data;
    CHECK_EQ(try_publish(t, 200, "pay 10"), 0);
    RELAY_UNTIL(flipped && !is_connected(b));
    CHECK_EQ(topic_at(b, "t")->tail.at, 1);        /* nothing of that record is there */
    b->syncs_not = false;
    RELAY_UNTIL(is_connected(b) && topic_readable(topic_at(b, "t")) == 2);
    CHECK_EQ(relay.connections, before + 1);
    check_same_topic(a, b, "t");
    CHECK_EQ(log_count("reason=\"what it sent was changed on the way\""), 1);            /* by the follower */
    CHECK_EQ(log_count("reason=\"what was sent to it was changed on the way\""), 1);     /* and its leader */
    over();
}

/* All that a follower ever said is said again, by somebody who has no secret. */
TEST(test_a_connection_that_was_recorded_cannot_be_repeated)
{
    struct topic *t = two_with_a_relay(SECRET);
    struct node *a = &rig.nodes[0];
    CHECK_EQ(try_publish(t, 0, "pay 10"), 0);
    RELAY_UNTIL(t->peers.at == 2);
    struct wild w = {.fd = address_dial(slice_from(relay.leader))};
    buf_add_slice(&w.out, buf_slice(&relay.up.all));
    RELAY_UNTIL(wild_ended(&w));
    wild_close(&w);
    CHECK(is_connected(&rig.nodes[1]));            /* it has not been superseded */
    CHECK_EQ(a->role.kind, ROLE_LEADER);
    CHECK_EQ(log_count("refused a connection"), 1);
    over();
}

/* ---- nodes that do not have the secret ---- */

static void check_strangers(const char *leaders, const char *followers, const char *leader_says,
                            const char *follower_says)
{
    rig.secret = leaders;
    log_to_file();
    rig_up(1);
    rig.secret = followers;
    node_up(1);
    follow(&rig.nodes[1], &rig.nodes[0]);
    WAIT_UNTIL(log_count("no connection to the leader") > 0 && log_count("refused a connection") > 0);
    if (log_count(leader_says) == 0)
        unit_failed(__FILE__, __LINE__, "the leader does not say: %s", leader_says);
    if (log_count(follower_says) == 0)
        unit_failed(__FILE__, __LINE__, "the follower does not say: %s", follower_says);
    CHECK(!is_connected(&rig.nodes[1]));
    rig_down();
}

#define REFUSED "refused a connection address=127.0.0.1:"
#define IT_HAS_NONE "it does not use TLS: this node has a secret (cluster.replication.secret), it has none"
#define WE_HAVE_NONE "it uses TLS: it has a secret (cluster.replication.secret), this node has none"

TEST(test_a_follower_without_a_secret_and_its_leader_say_who_has_none)
{
    check_strangers(SECRET, "", IT_HAS_NONE, WE_HAVE_NONE);
}

TEST(test_a_leader_without_a_secret_and_its_follower_say_who_has_none)
{
    check_strangers("", SECRET, WE_HAVE_NONE, IT_HAS_NONE);
}

TEST(test_a_follower_with_another_secret_and_its_leader_say_so)
{
    check_strangers(SECRET, "00112233445566778899aabbccddeeff00", "leader: " REFUSED, "its secret is not this node's");
}

/* ---- handshakes that do not end ---- */

/* A whole, valid first message, a byte a turn at first, then nothing. */
TEST(test_a_handshake_that_does_not_end_is_cut_off)
{
    rig.secret = SECRET;
    rig_up(2);
    struct node *a = &rig.nodes[0];
    struct wild hello = dial_to(a), slow = {.fd = address_dial(slice_from(address_of_node(a).replication))};
    CHECK_EQ(tls_handshake(hello.tls, &hello.tls_in, &hello.tls_out), 0);
    uint64_t begun = clock_ns();
    WAIT_UNTIL(cluster_leader(a->cluster)->peer_count == 3);
    while (!slow.closed) {
        if (buf_size(&hello.tls_out) > 1 && buf_size(&slow.out) == 0) {
            buf_add(&slow.out, buf_slice(&hello.tls_out).p, 1);
            buf_drop(&hello.tls_out, 1);
        }
        loop_again(&rig.loop);
        rig_turn();
        wild_turn(&slow);
    }
    CHECK(clock_ns() - begun < (HANDSHAKE_MS + 1000) * NS_PER_MS);
    CHECK(is_connected(&rig.nodes[1]));
    wild_close(&slow);
    wild_close(&hello);
    rig_down();
}

/* A first message of 2^24 bytes is announced; that much is not waited for. */
TEST(test_a_handshake_that_is_too_large_is_cut_off)
{
    static const char head[] = "\x16\x03\x01\x40\x00\x01\x00\xff\xff";
    static char body[16 * KIB];
    rig.secret = SECRET;
    log_to_file();
    rig_up(1);
    struct wild w = {.fd = address_dial(slice_from(address_of_node(&rig.nodes[0]).replication))};
    buf_add(&w.out, head, sizeof head - 1);
    buf_add(&w.out, body, sizeof body);
    uint64_t begun = clock_ns();
    WAIT_UNTIL(wild_ended(&w));
    CHECK(clock_ns() - begun < SILENCE_MS / 2 * NS_PER_MS);
    CHECK_EQ(log_count("refused a connection"), 1);
    wild_close(&w);
    rig_down();
}

/* A follower that is connected and leaves, again and again. */
TEST(test_lines_about_followers_that_come_and_go_are_bounded_and_counted)
{
    log_to_file();
    rig_up(2);
    struct node *a = &rig.nodes[0], *b = &rig.nodes[1];
    struct leader_address at = address_of_node(a);
    for (int i = 0; i < 30; i++) {
        cluster_follow(b->cluster, NULL);
        cluster_follow(b->cluster, &at);
        WAIT_UNTIL(is_connected(b));
    }
    CHECK_EQ(log_count("follower connected") + log_count("follower gone") + log_count(" leader: proposes"),
             SAY_LIMIT_LINES);
    CHECK_EQ(log_count("following member"), SAY_LIMIT_LINES);
    cluster_leader(a->cluster)->moves.since_ns -= SAY_LIMIT_S * NS_PER_S;
    WAIT_UNTIL(log_count("left out") == 1);
    rig_down();
}

TEST(test_lines_about_strangers_are_bounded_and_counted)
{
    rig.secret = SECRET;
    log_to_file();
    rig_up(1);
    struct node *a = &rig.nodes[0];
    struct leader_address at = address_of_node(a);
    for (int i = 0; i < 50; i++) {
        struct wild w = {.fd = address_dial(slice_from(at.replication))};
        buf_add_slice(&w.out, SLICE("GET / HTTP/1.1\r\n\r\n"));
        WAIT_UNTIL((loop_again(&rig.loop), wild_ended(&w)));
        wild_close(&w);
    }
    CHECK_EQ(log_count("refused a connection"), SAY_LIMIT_LINES);
    cluster_leader(a->cluster)->refusals.since_ns -= SAY_LIMIT_S * NS_PER_S;
    WAIT_UNTIL(log_count("left out 45 more lines") == 1);
    rig_down();
}
