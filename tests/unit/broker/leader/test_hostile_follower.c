/* Followers that lie to their leader once they are ready, and frames gone wrong. */
#include "unit/broker/leader/hostile_follower.h"

/* ---- a follower that lies ---- */

static void send_position(struct wild *w, uint32_t slot, const struct topic *t)
{
    struct buf out = {0};
    put_u32(&out, slot);
    put_u64(&out, t->id.epoch);
    put_u64(&out, t->id.offset);
    put_u64(&out, 0);
    put_u64(&out, 0);
    put_text(&out, slice_from(t->name));
    wild_send(w, WIRE_POSITION, buf_slice(&out));
    buf_fini(&out);
}

static void send_start(struct wild *w, uint32_t slot, uint64_t tail)
{
    struct buf out = {0};
    put_u32(&out, slot);
    put_u64(&out, tail);
    put_u64(&out, tail);
    wild_send(w, WIRE_START, buf_slice(&out));
    buf_fini(&out);
}

static void send_ack(struct wild *w, uint32_t slot, uint64_t offset)
{
    struct buf out = {0};
    put_u32(&out, slot);
    put_u64(&out, offset);
    put_u64(&out, offset);
    wild_send(w, WIRE_ACK, buf_slice(&out));
    buf_fini(&out);
}

/* It claims to have everything, and so becomes a member: _topics on slot 1, t on slot 2. */
static struct wild member_of_two(struct topic *t)
{
    struct node *a = &rig.nodes[0];
    struct wild w = ready_follower(a);
    send_position(&w, 1, topics_log(a->topics));
    send_position(&w, 2, t);
    send_start(&w, 1, topics_log(a->topics)->tail.at);
    send_start(&w, 2, t->tail.at);
    struct member evil;
    CHECK_EQ(member_parse(SLICE(MEMBER), &evil), 0);
    WAIT_UNTIL((wild_turn(&w), members_have(&a->role.synced.confirmed.set, &evil)));
    return w;
}

/* b does not acknowledge: whatever else is said, peers stays. */
static void check_peers_stays(struct topic *t, struct wild *w)
{
    uint64_t until = clock_ns() + 100 * NS_PER_MS;
    while (clock_ns() < until) {
        wild_turn(w);
        turn_for(5);
        CHECK_EQ(t->peers.at, 3);
    }
}

static void check_closed_and_peers_stays(struct topic *t, struct wild *w)
{
    check_refused(w);
    CHECK_EQ(t->peers.at, 3);
    rig_down();
}

/* DATA of t as far as `next` has come on this slot. */
static bool was_sent(struct wild *w, uint32_t slot, uint64_t next)
{
    while (wild_got(w, WIRE_DATA)) {
        struct wire f = {.rest = w->payload};
        if (get_u32(&f) == slot && (get_bytes(&f, 24), get_u64(&f)) == next)
            return true;
    }
    return false;
}

/* As if it had not asked for this topic yet. */
static void forget_feed(struct topic *t, const struct node *n)
{
    LIST_EACH(node, &t->lead->feeds) {
        struct feed *f = LIST_OWNER(node, struct feed, of_topic);
        if (member_eq(&f->peer->member, &n->role.self))
            feed_free(f);
    }
}

/* Two feeds of one would make up for the one of b that is not there yet. */
TEST(test_one_follower_does_not_count_twice)
{
    struct topic *t = live_topic_of_two();
    struct wild w = member_of_two(t);
    rig.consul_away = true;
    forget_feed(t, &rig.nodes[1]);
    send_position(&w, 3, t);
    send_start(&w, 3, 3);
    publish(t, 1, 100);
    WAIT_UNTIL(was_sent(&w, 2, 4) || w.closed);
    send_ack(&w, 2, 4);
    check_peers_stays(t, &w);
    WAIT_UNTIL(was_sent(&w, 3, 4) || w.closed);
    send_ack(&w, 3, 4);
    check_peers_stays(t, &w);
    check_closed_and_peers_stays(t, &w);
}

/* It is ready and counts, and has asked for nothing. */
TEST(test_a_member_without_the_topic_keeps_peers_down)
{
    struct topic *t = live_topic_of_two();
    struct node *a = &rig.nodes[0];
    struct wild w = ready_follower(a);
    struct member evil;
    CHECK_EQ(member_parse(SLICE(MEMBER), &evil), 0);
    rig.consul_away = true;
    CHECK(members_add(&a->role.synced.confirmed.set, &evil));
    leader_set_changed(cluster_leader(a->cluster));
    publish(t, 1, 100);
    WAIT_UNTIL(acked(t, &rig.nodes[1]) == 4 && t->disk.at == 4);
    check_peers_stays(t, &w);
    wild_close(&w);
    rig_down();
}

TEST(test_an_acknowledgement_of_what_was_not_sent_is_refused)
{
    struct topic *t = live_topic_of_two();
    struct wild w = member_of_two(t);
    rig.nodes[1].syncs_not = true;
    send_ack(&w, 2, 5);
    check_closed_and_peers_stays(t, &w);
}

TEST(test_a_start_beyond_the_leaders_tail_is_refused)
{
    struct topic *t = live_topic_of_two();
    struct node *a = &rig.nodes[0];
    struct wild w = ready_follower(a);
    send_position(&w, 1, t);
    send_start(&w, 1, 4);
    check_closed_and_peers_stays(t, &w);
}

TEST(test_a_second_start_is_refused)
{
    struct topic *t = live_topic_of_two();
    struct wild w = member_of_two(t);
    send_start(&w, 2, 0);
    check_closed_and_peers_stays(t, &w);
}

TEST(test_a_slot_that_names_another_topic_is_refused)
{
    struct topic *t = live_topic_of_two();
    struct wild w = member_of_two(t);
    send_position(&w, 1, t);
    check_closed_and_peers_stays(t, &w);
}

/* One frame must not make the leader's table grow by 128 MB. */
TEST(test_slots_are_given_out_one_after_the_other)
{
    static const uint32_t bad[] = {0, 2, 100, SLOTS_MAX, SLOTS_MAX + 1, UINT32_MAX};
    struct topic *t = live_topic_of_two();
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct wild w = ready_follower(&rig.nodes[0]);
        send_position(&w, bad[i], t);
        check_refused(&w);
    }
    rig_down();
}

TEST(test_slots_that_are_not_known_are_passed_over)
{
    struct topic *t = live_topic_of_two();
    struct wild w = member_of_two(t);
    rig.nodes[1].syncs_not = true;
    publish(t, 1, 100);
    send_ack(&w, 0, 4);
    send_ack(&w, 77, 4);
    send_ack(&w, UINT32_MAX, NUMBER_MAX);
    send_start(&w, 77, 4);
    check_peers_stays(t, &w);
    CHECK(!wild_ended(&w));
    wild_close(&w);
    rig_down();
}

/* Questions whose answers are larger than they are, from one who does not read. */
TEST(test_who_does_not_read_the_answers_is_not_listened_to)
{
    skip_syncs();
    rig_up(1);
    struct node *a = &rig.nodes[0];
    struct topic_settings s = settings_of(REPLICATION_LIVE);
    s.segment_bytes = 1 * MIB;
    struct topic *t = make_topic(a, "t", &s);
    publish(t, 10, 200 * KIB);
    WAIT_UNTIL(t->peers.at == 10 && run("ls n1/topics/t/*.log > list 2>&1") == 0);
    struct wild w = ready_follower(a);
    send_position(&w, 1, t);
    struct buf want = {0};
    put_u32(&want, 1);
    put_u64(&want, 0);
    put_u64(&want, 0);
    for (int i = 0; i < 20000; i++)
        wild_send(&w, WIRE_WANT, buf_slice(&want));  /* for 5 GB */
    buf_fini(&want);
    for (int i = 0; i < 100; i++) {
        slice rest = buf_slice(&w.out);
        ssize_t n = send(w.fd, rest.p, rest.n, MSG_DONTWAIT | MSG_NOSIGNAL);
        buf_drop(&w.out, n > 0 ? (size_t)n : 0);
        turn_for(1);
        const struct peer *p = wild_peer(a);
        CHECK(p == NULL || link_unsent(p->link) < 2 * LINK_FRAME_MAX);
    }
    WAIT_UNTIL(peers_of(a) == 0);                    /* and does not stay */
    wild_close(&w);
    rig_down();
}

/* ---- frames gone wrong, to a ready leader ---- */

static void put_valid(struct buf *out, unsigned char type, const struct topic *t)
{
    uint32_t slot = type == WIRE_POSITION ? 3 : 2;
    put_u32(out, slot);
    if (type == WIRE_POSITION) {
        put_u64(out, t->id.epoch);
        put_u64(out, t->id.offset);
        put_u64(out, 1);
        put_u64(out, 3);
        put_text(out, SLICE("t"));
    } else if (type == WIRE_ACK) {
        put_u64(out, 3);
        put_u64(out, 3);
        put_u32(out, 1);
        put_u64(out, 1);
        put_u64(out, 1);
    } else {
        put_u64(out, 0);
        put_u64(out, 0);
        if (type == WIRE_AUDIT)
            put_u32(out, 0);
    }
}

static const unsigned char from_followers[] = {WIRE_POSITION, WIRE_START, WIRE_ACK, WIRE_WANT, WIRE_AUDIT};

TEST(test_every_truncated_frame_of_a_follower_closes_the_connection)
{
    struct topic *t = live_topic_of_two();
    rig.nodes[1].syncs_not = true;
    publish(t, 1, 100);
    for (size_t k = 0; k < sizeof(from_followers); k++) {
        struct buf out = {0};
        put_valid(&out, from_followers[k], t);
        for (size_t n = 0; n < buf_size(&out); n++) {
            if (from_followers[k] == WIRE_ACK && n % WIRE_ACK_ENTRY == 0)
                continue;                            /* fewer entries are well formed */
            struct wild w = ready_follower(&rig.nodes[0]);
            wild_send(&w, from_followers[k], slice_of(out.data, n));
            check_refused(&w);
        }
        buf_fini(&out);
    }
    CHECK_EQ(t->peers.at, 3);
    rig_down();
}

TEST(test_frames_of_no_known_type_close_the_connection)
{
    rig_up(1);
    for (unsigned type = 0; type < 256; type++) {
        if (memchr(from_followers, (int)type, sizeof from_followers) != NULL || type == WIRE_PING)
            continue;
        struct wild w = ready_follower(&rig.nodes[0]);
        wild_send(&w, (unsigned char)type, SLICE("12345678"));
        check_refused(&w);
    }
    rig_down();
}

TEST(test_mangled_frames_of_a_member_move_no_mark)
{
    srand(1);
    struct topic *t = live_topic_of_two();
    struct node *a = &rig.nodes[0], *b = &rig.nodes[1];
    struct wild w = member_of_two(t);
    b->syncs_not = true;
    publish(t, 1, 100);
    unsigned closed = 0;
    for (unsigned i = 0; i < 4000; i++) {
        if (wild_peer(a) == NULL) {
            closed++;
            wild_close(&w);
            w = ready_follower(a);
            send_position(&w, 1, topics_log(a->topics));
            send_position(&w, 2, t);
            send_start(&w, 2, (uint64_t)rand() % 4);
        }
        unsigned char type = from_followers[(size_t)rand() % sizeof(from_followers)];
        struct buf out = {0};
        put_valid(&out, type, t);
        mangle(&out);
        wild_send(&w, type, buf_slice(&out));
        buf_fini(&out);
        wild_ended(&w);
        loop_again(&rig.loop);
        rig_turn();
        CHECK_EQ(t->peers.at, 3);
        CHECK(peers_of(a) < 5);
    }
    CHECK(closed > 100);
    CHECK_EQ(a->role.kind, ROLE_LEADER);
    b->syncs_not = false;
    wild_close(&w);
    WAIT_UNTIL(t->peers.at == 4);                    /* it is asked out, and all goes on */
    rig_down();
}
