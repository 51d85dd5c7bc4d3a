/* Greetings of strangers, and of followers that claim too much, at a leader. */
#include "unit/broker/leader/hostile_follower.h"

TEST(test_a_greeting_that_does_not_fit_is_refused)
{
    static const struct id other = {{9}};
    struct hello bad[] = {usual, usual, usual, usual, usual, usual, usual, usual};
    char too_long[NODE_ADDRESS_MAX + 2] = {0};
    memset(too_long, 'h', NODE_ADDRESS_MAX + 1);
    bad[0].version++;
    bad[1].cluster = &other;
    bad[2].member = "n1:000102030405060708090a0b0c0d0e0f";   /* the leader's own name */
    bad[3].member = "nobody";
    bad[4].member = "a b:000102030405060708090a0b0c0d0e0f";
    bad[5].http = too_long;
    bad[6].http = "127.0.0.1:2\"";
    bad[7].http = "127.0.0.1:2\n";
    rig_up(1);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct wild w = dial_to(&rig.nodes[0]);
        send_hello(&w, &rig.nodes[0], bad[i]);
        uint64_t begun = clock_ns();
        WAIT_UNTIL(wild_got(&w, WIRE_REFUSE));
        CHECK(clock_ns() - begun < SILENCE_MS / 2 * NS_PER_MS);
        check_refused(&w);
    }
    struct wild w = ready_follower(&rig.nodes[0]);
    wild_close(&w);
    rig_down();
}

TEST(test_a_greeting_cut_anywhere_or_too_long_is_refused)
{
    struct buf out = {0};
    rig_up(1);
    put_hello(&out, &rig.nodes[0], usual);
    buf_add_char(&out, 'x');
    for (size_t n = 0; n <= buf_size(&out); n++) {
        struct wild w = dial_to(&rig.nodes[0]);
        wild_send(&w, WIRE_HELLO, slice_of(out.data, n));
        WAIT_UNTIL(wild_take(&w));
        CHECK_EQ(w.type, n == buf_size(&out) - 1 ? WIRE_WELCOME : WIRE_REFUSE);
        wild_close(&w);
    }
    buf_fini(&out);
    rig_down();
}

TEST(test_a_greeting_out_of_order_is_refused)
{
    static const unsigned char types[] = {WIRE_HELLO, WIRE_PROMISE, WIRE_POSITION, WIRE_START, WIRE_ACK, WIRE_WANT,
                                          WIRE_AUDIT, WIRE_WELCOME, WIRE_DATA, WIRE_REFUSE, 0, 255};
    static const char zeros[64];
    rig_up(1);
    for (size_t i = 0; i < sizeof(types); i++) {
        struct wild w = dial_to(&rig.nodes[0]);
        wild_send(&w, types[i], slice_of(zeros, sizeof zeros));
        check_refused(&w);
        w = dial_to(&rig.nodes[0]);
        send_hello(&w, &rig.nodes[0], usual);
        WAIT_UNTIL(wild_got(&w, WIRE_WELCOME));
        if (types[i] == WIRE_HELLO)
            send_hello(&w, &rig.nodes[0], usual);
        else
            wild_send(&w, types[i], slice_of(zeros, sizeof zeros));
        check_refused(&w);
    }
    CHECK(wild_peer(&rig.nodes[0]) == NULL);
    rig_down();
}

TEST(test_a_promise_of_another_epoch_is_refused)
{
    rig_up(1);
    struct wild w = dial_to(&rig.nodes[0]);
    send_hello(&w, &rig.nodes[0], usual);
    WAIT_UNTIL(wild_got(&w, WIRE_WELCOME));
    send_promise(&w, 2);
    check_refused(&w);
    rig_down();
}

/* A follower that knows more than the leader is refused, and the leader asks Consul. */
static void check_consul_is_asked(struct register_stamp known)
{
    struct topic *t = live_topic_of_two();
    struct node *a = &rig.nodes[0];
    struct state before = *store_state(a->store);
    struct wild w = dial_to(a);
    send_hello_knowing(&w, a, known);
    check_refused(&w);
    CHECK(a->role.behind);
    CHECK_EQ(a->role.kind, ROLE_LEADER);
    CHECK_EQ(node_see(a), VERDICT_OURS);                    /* Consul knows nothing of that */
    CHECK(!a->role.behind);
    CHECK_EQ(store_state(a->store)->seen_epoch, before.seen_epoch);
    CHECK_EQ(store_state(a->store)->seen_version, before.seen_version);
    publish(t, 1, 100);
    WAIT_UNTIL(t->peers.at == 4);
    rig_down();
}

TEST(test_a_follower_that_speaks_of_a_higher_epoch_stops_no_leader)
{
    check_consul_is_asked((struct register_stamp){2, 99, {{9}}});
}

TEST(test_a_follower_that_speaks_of_the_highest_epoch_stops_no_leader)
{
    check_consul_is_asked((struct register_stamp){NUMBER_MAX, NUMBER_MAX, {{9}}});
}

TEST(test_a_follower_that_speaks_of_another_leader_of_this_epoch_stops_no_leader)
{
    check_consul_is_asked((struct register_stamp){1, 1, {{9}}});
}

TEST(test_a_follower_that_speaks_of_a_newer_set_of_this_epoch_stops_no_leader)
{
    check_consul_is_asked((struct register_stamp){.epoch = 1, .version = 9});
}

/* The leader has not heard yet that it was replaced. */
TEST(test_a_follower_that_has_promised_more_makes_an_old_leader_ask_consul)
{
    rig_up(1);
    struct node *a = &rig.nodes[0];
    rig.reg.epoch = 2;
    rig.reg.version++;
    CHECK_EQ(member_parse(SLICE(MEMBER), &rig.reg.leader), 0);
    struct wild w = dial_to(a);
    send_hello_knowing(&w, a, synced_register_stamp(&rig.reg));
    check_refused(&w);
    CHECK(a->role.behind);
    CHECK_EQ(node_see(a), VERDICT_OTHER);
    CHECK_EQ(a->role.kind, ROLE_FOLLOWER);
    rig_down();
}

TEST(test_numbers_beyond_the_bound_are_not_well_formed)
{
    static const uint64_t bad[] = {NUMBER_MAX + 1, UINT64_C(1) << 62, UINT64_MAX};
    rig_up(1);
    struct node *a = &rig.nodes[0];
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct wild w = dial_to(a);
        send_hello_knowing(&w, a, (struct register_stamp){.epoch = bad[i]});
        check_refused(&w);
        CHECK(!a->role.behind);
        CHECK_EQ(a->role.kind, ROLE_LEADER);
    }
    rig_down();
}

TEST(test_a_follower_that_knows_of_this_very_leader_is_welcome)
{
    rig_up(1);
    struct node *a = &rig.nodes[0];
    struct register_stamp known = role_known(&a->role);
    struct wild w = dial_to(a);
    send_hello_knowing(&w, a, known);
    WAIT_UNTIL(wild_got(&w, WIRE_WELCOME));
    wild_close(&w);
    rig_down();
}

TEST(test_without_the_secret_nobody_follows)
{
    static const struct id other_cluster = {{9}};
    rig.secret = "00112233445566778899aabbccddeeff";
    rig_up(2);
    struct node *a = &rig.nodes[0];
    struct leader_address at = address_of_node(a);
    const struct id *ours = &store_state(a->store)->cluster;
    for (int i = 0; i < 3; i++) {
        struct wild w = {.fd = address_dial(slice_from(at.replication))};
        if (i > 0)               /* another secret; the right one, for another cluster; at first no TLS at all */
            wild_secure(&w, i == 1 ? "00112233445566778899aabbccddee00" : rig.secret, TLS_CLIENT,
                        i == 1 ? ours : &other_cluster);
        send_hello_knowing(&w, a, (struct register_stamp){.epoch = 99});
        check_refused(&w);
    }
    CHECK_EQ(a->role.kind, ROLE_LEADER);             /* nor is its word about epochs believed */
    struct wild w = ready_follower(a);
    wild_close(&w);
    rig_down();
}

static uint64_t connected_since(const struct node *leader, const struct node *n)
{
    LIST_EACH(node, &cluster_leader(leader->cluster)->peers) {
        const struct peer *p = LIST_OWNER(node, struct peer, all);
        if (member_eq(&p->member, &n->role.self))
            return p->since_ns;
    }
    return 0;
}

TEST(test_greetings_are_bounded_in_number_and_time)
{
    struct wild w[LINKS_MAX + 10];
    rig_up(2);
    struct node *a = &rig.nodes[0], *b = &rig.nodes[1];
    uint64_t since = connected_since(a, b);
    for (int i = 0; i < LINKS_MAX + 10; i++)
        w[i] = dial_to(a);
    WAIT_UNTIL(peers_of(a) == LINKS_MAX);
    turn_for(50);
    CHECK_EQ(peers_of(a), LINKS_MAX);
    CHECK_EQ(connected_since(a, b), since);          /* those who are there are not pushed out, */
    struct wild late = ready_follower(a);            /* nor is one of ours kept out */
    CHECK_EQ(peers_of(a), LINKS_MAX);
    wild_close(&late);
    WAIT_UNTIL(peers_of(a) < LINKS_MAX);
    LIST_EACH(node, &cluster_leader(a->cluster)->peers)
        LIST_OWNER(node, struct peer, all)->since_ns -= HANDSHAKE_MS * NS_PER_MS;
    uint64_t begun = clock_ns();
    WAIT_UNTIL(peers_of(a) == 1);
    CHECK(clock_ns() - begun < SILENCE_MS / 2 * NS_PER_MS);
    CHECK(is_connected(b));
    for (int i = 0; i < LINKS_MAX + 10; i++)
        wild_close(&w[i]);
    rig_down();
}

TEST(test_a_node_that_does_not_lead_refuses)
{
    node_up(0);
    struct wild w = dial_to(&rig.nodes[0]);
    send_hello(&w, &rig.nodes[0], usual);
    WAIT_UNTIL(wild_got(&w, WIRE_REFUSE));
    check_refused(&w);
    rig_down();
}
