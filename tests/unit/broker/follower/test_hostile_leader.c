/* Leaders that are none, or lie, at a follower. */
#include "broker/topic/topic_log.h"
#include "store/log/journal_struct.h"
#include "store/replication/batches.h"
#include "unit/wild.h"

/* ---- a leader that is none ---- */

struct wild_leader {
    struct wild w;
    int door;
    uint64_t epoch, version;      /* of the register, as it says in WELCOME */
    const char *http;             /* the same; NULL: any */
    struct leader_address at;
};

static struct wild_leader wild_leader_of(uint64_t epoch)
{
    struct wild_leader l = {.epoch = epoch, .version = 100};
    uint16_t port = 0;
    l.door = address_listen(SLICE("127.0.0.1:0"), &port);
    CHECK(l.door >= 0);
    CHECK_EQ(member_parse(SLICE(MEMBER), &l.at.member), 0);
    l.at.epoch = epoch;
    snprintf(l.at.http, sizeof l.at.http, "127.0.0.1:1");
    snprintf(l.at.replication, sizeof l.at.replication, "127.0.0.1:%u", port);
    return l;
}

static void wild_leader_accept(struct wild_leader *l)
{
    union address from;
    l->w = (struct wild){.fd = -1};
    WAIT_UNTIL((l->w.fd = address_accept(l->door, &from)) >= 0);
}

/* Consul names it as the leader. */
static void follow_wild(struct node *n, struct wild_leader *l)
{
    if (!rig.has_register)
        rig.reg = (struct synced_register){.cluster = store_state(n->store)->cluster, .set = {{l->at.member}, 1}};
    rig.reg.leader = l->at.member;
    rig.reg.epoch = l->epoch;
    rig.reg.version = rig.reg.version < 100 ? 100 : rig.reg.version;
    rig.has_register = true;
    rig.index++;
    node_see(n);
    cluster_follow(n->cluster, NULL);
    cluster_follow(n->cluster, &l->at);
}

static void send_welcome(struct wild_leader *l, const char *member, uint64_t epoch)
{
    struct buf out = {0};
    put_u64(&out, epoch);
    put_u64(&out, l->version);
    put_text(&out, slice_from(member));
    put_text(&out, slice_from(l->http == NULL ? "127.0.0.1:1" : l->http));
    wild_send(&l->w, WIRE_WELCOME, buf_slice(&out));
    buf_fini(&out);
}

static void wild_leader_greet(struct wild_leader *l)
{
    wild_leader_accept(l);
    WAIT_UNTIL(wild_got(&l->w, WIRE_HELLO));
    send_welcome(l, MEMBER, l->epoch);
    WAIT_UNTIL(wild_got(&l->w, WIRE_PROMISE));
}

struct point {
    unsigned kind;
    uint64_t found, end, first, readable;
};

static void send_point(struct wild_leader *l, uint32_t slot, struct point p)
{
    struct buf out = {0};
    put_u32(&out, slot);
    put_u8(&out, p.kind);
    put_u64(&out, p.found);
    put_u64(&out, p.end);
    put_u64(&out, p.first);
    put_u64(&out, p.readable);
    buf_add(&out, "\0\0\0\0\0", 5);
    wild_send(&l->w, WIRE_POINT, buf_slice(&out));
    buf_fini(&out);
}

/* What the follower asks next, as the answer "we have the very same"; its slot. */
static uint32_t take_position(struct wild_leader *l, struct point *same)
{
    WAIT_UNTIL(wild_got(&l->w, WIRE_POSITION));
    struct wire w = {.rest = l->w.payload};
    uint32_t slot = get_u32(&w);
    get_bytes(&w, 16);
    *same = (struct point){.kind = POINT_EXACT, .found = get_u64(&w)};
    same->end = same->readable = get_u64(&w);
    return slot;
}

static uint32_t agree(struct wild_leader *l)
{
    struct point same;
    uint32_t slot = take_position(l, &same);
    send_point(l, slot, same);
    return slot;
}

/* At once, and not for its silence. */
static void wait_for_the_end(struct wild_leader *l)
{
    uint64_t begun = clock_ns();
    WAIT_UNTIL(wild_ended(&l->w));
    CHECK(clock_ns() - begun < SILENCE_MS / 2 * NS_PER_MS);
}

static void wild_leader_close(struct wild_leader *l)
{
    wild_close(&l->w);
    close(l->door);
}

TEST(test_a_leader_without_the_secret_is_not_followed)
{
    rig.secret = "00112233445566778899aabbccddeeff";
    struct node *n = node_up(0);
    struct wild_leader l = wild_leader_of(5);
    follow_wild(n, &l);
    for (int i = 0; i < 2; i++) {
        wild_leader_accept(&l);
        if (i == 1)              /* at first it speaks without TLS */
            wild_secure(&l.w, "00112233445566778899aabbccddee00", TLS_SERVER, &store_state(n->store)->cluster);
        send_welcome(&l, MEMBER, 5);
        wait_for_the_end(&l);
        wild_close(&l.w);
    }
    CHECK_EQ(n->role.epoch, 0);
    close(l.door);
    rig_down();
}

TEST(test_somebody_else_at_the_leaders_address_is_not_followed)
{
    node_up(0);
    struct wild_leader l = wild_leader_of(5);
    follow_wild(&rig.nodes[0], &l);
    wild_leader_accept(&l);
    WAIT_UNTIL(wild_got(&l.w, WIRE_HELLO));
    send_welcome(&l, "good:000102030405060708090a0b0c0d0e0f", 5);
    wait_for_the_end(&l);
    CHECK_EQ(rig.nodes[0].role.epoch, 0);            /* nothing was promised */
    wild_leader_close(&l);
    rig_down();
}

/* The follower would refuse every other leader, and its own cluster's registers, if it believed that. */
TEST(test_a_leader_of_another_epoch_than_consul_says_is_not_followed)
{
    static const uint64_t lies[] = {4, 6, UINT64_C(1) << 52, UINT64_C(1) << 62, UINT64_MAX};
    struct node *n = node_up(0);
    struct wild_leader l = wild_leader_of(5);
    l.version = UINT64_C(1) << 50;
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        follow_wild(n, &l);
        wild_leader_accept(&l);
        WAIT_UNTIL(wild_got(&l.w, WIRE_HELLO));
        send_welcome(&l, MEMBER, lies[i]);
        wait_for_the_end(&l);
        wild_close(&l.w);
        CHECK_EQ(n->role.epoch, 0);
    }
    close(l.door);
    rig_down();
}

TEST(test_a_leader_of_an_epoch_that_is_over_is_refused)
{
    rig_up(2);
    struct node *b = &rig.nodes[1];
    struct register_stamp higher = {.epoch = 7, .version = 99, .leader = {{1}}};
    CHECK_EQ(role_promise(&b->role, &higher), 0);
    rig.consul_away = true;
    for (uint64_t epoch = 6; epoch <= 7; epoch++) {  /* and so is another leader of the same one */
        struct wild_leader l = wild_leader_of(epoch);
        follow_wild(b, &l);
        wild_leader_accept(&l);
        WAIT_UNTIL(wild_got(&l.w, WIRE_HELLO));
        send_welcome(&l, MEMBER, epoch);
        WAIT_UNTIL(wild_got(&l.w, WIRE_REFUSE));
        wait_for_the_end(&l);
        cluster_follow(b->cluster, NULL);
        wild_leader_close(&l);
    }
    CHECK_EQ(b->role.epoch, 7);
    rig_down();
}

enum { FILE_FIRST = 36, BATCHES = 49 };   /* places in a DATA frame */

/* b follows the wild leader and has placed _topics and t, where it is 3 messages of 4. */
struct lied_to {
    struct wild_leader l;
    struct node *b;
    struct topic *t;
    uint32_t log_slot, slot;
    struct buf data;              /* a DATA frame of the fourth message that is right in every bit */
};

static void lied_to_again(struct lied_to *x)
{
    wild_leader_greet(&x->l);
    x->log_slot = agree(&x->l);
    x->slot = agree(&x->l);
    WAIT_UNTIL((wild_turn(&x->l.w), x->t->follow->placed));
    memcpy(x->data.data, &x->slot, 4);
}

static void put_data(struct buf *out, struct topic *t, uint64_t from)
{
    struct buf batches = {0};
    struct batch_run s;
    CHECK_EQ(journal_read_batches(t->journal, from, UINT64_MAX, MIB, &batches, &s), 0);
    put_u32(out, 0);
    put_u64(out, s.next);
    put_u64(out, s.next);
    put_u64(out, s.first);
    put_u64(out, s.next);
    put_u64(out, s.file_first);
    put_u8(out, s.has_file_crc);
    put_u32(out, s.file_crc);
    buf_add_slice(out, buf_slice(&batches));
    buf_fini(&batches);
}

static struct lied_to lied_to(void)
{
    struct topic *t = live_topic_of_two();
    struct lied_to x = {.b = &rig.nodes[1], .t = topic_at(&rig.nodes[1], "t"), .l = wild_leader_of(5)};
    WAIT_UNTIL(topic_readable(x.t) == 3);
    cluster_follow(x.b->cluster, NULL);
    publish(t, 1, 100);
    WAIT_UNTIL(t->written.at == 4);
    put_data(&x.data, t, 3);
    follow_wild(x.b, &x.l);
    lied_to_again(&x);
    return x;
}

static void lied_to_end(struct lied_to *x)
{
    wild_leader_close(&x->l);
    buf_fini(&x->data);
    rig_down();
}

TEST(test_a_frame_that_is_right_is_taken)
{
    struct lied_to x = lied_to();
    wild_send(&x.l.w, WIRE_DATA, buf_slice(&x.data));
    WAIT_UNTIL(wild_got(&x.l.w, WIRE_ACK));
    struct wire w = {.rest = x.l.w.payload};
    CHECK_EQ(get_u32(&w), x.slot);
    CHECK_EQ(get_u64(&w), 4);
    CHECK_EQ(topic_readable(x.t), 4);
    lied_to_end(&x);
}

/* The disk thread still shortens its file, after a truncation. */
TEST(test_a_frame_that_cannot_be_stored_yet_waits_and_is_taken)
{
    struct lied_to x = lied_to();
    x.t->journal->shortening = true;
    wild_send(&x.l.w, WIRE_DATA, buf_slice(&x.data));
    uint64_t until = clock_ns() + 50 * NS_PER_MS;
    WAIT_UNTIL((wild_turn(&x.l.w), clock_ns() > until));
    CHECK(!x.l.w.closed);
    CHECK_EQ(x.t->tail.at, 3);
    x.t->journal->shortening = false;
    WAIT_UNTIL(wild_got(&x.l.w, WIRE_ACK));
    CHECK_EQ(topic_readable(x.t), 4);
    lied_to_end(&x);
}

static void send_and_see_it_close(struct lied_to *x, slice payload)
{
    wild_send(&x->l.w, WIRE_DATA, payload);
    wait_for_the_end(&x->l);
    CHECK_EQ(x->t->tail.at, 3);
    wild_close(&x->l.w);
    cluster_follow(x->b->cluster, NULL);             /* dials at once, instead of later */
    cluster_follow(x->b->cluster, &x->l.at);
    lied_to_again(x);
}

/* The topic has batches, so that nothing may come of what was before; nor is it a snapshot. */
TEST(test_senders_that_do_not_belong_there_are_refused)
{
    struct lied_to x = lied_to();
    for (int i = 0; i < 3; i++) {
        struct buf out = {0};
        put_u32(&out, x.slot);
        if (i > 0)
            put_u8(&out, i == 1);
        buf_add_slice(&out, SLICE("no snapshot"));
        out.end -= i == 0 ? buf_size(&out) - 4 : 0;
        wild_send(&x.l.w, WIRE_SENDERS, buf_slice(&out));
        buf_fini(&out);
        wait_for_the_end(&x.l);
        CHECK_EQ(buf_size(&x.t->follow->senders), 0);
        wild_close(&x.l.w);
        cluster_follow(x.b->cluster, NULL);
        cluster_follow(x.b->cluster, &x.l.at);
        lied_to_again(&x);
    }
    CHECK_EQ(x.t->tail.at, 3);
    lied_to_end(&x);
}

TEST(test_data_cut_anywhere_is_refused_whole)
{
    struct lied_to x = lied_to();
    for (size_t n = 0; n < buf_size(&x.data); n += n < 60 ? 1 : 13)
        send_and_see_it_close(&x, slice_of(x.data.data, n));
    lied_to_end(&x);
}

/* Every bit of the batches, and of what says where they belong. */
TEST(test_data_with_a_bit_flipped_is_refused_whole)
{
    struct lied_to x = lied_to();
    for (size_t bit = (4 + 16) * 8; bit < buf_size(&x.data) * 8; bit += 11) {
        size_t at = bit / 8;
        if (at >= FILE_FIRST && at < BATCHES)
            continue;                                /* where files end is the leader's to say */
        char *copy = mem_copy(x.data.data, buf_size(&x.data));
        memcpy(copy, &x.slot, 4);
        copy[at] ^= (char)(1 << bit % 8);
        send_and_see_it_close(&x, slice_of(copy, buf_size(&x.data)));
        mem_free(copy);
    }
    lied_to_end(&x);
}

TEST(test_marks_that_promise_too_much_show_no_more_than_there_is)
{
    struct lied_to x = lied_to();
    struct buf out = {0};
    put_u32(&out, x.slot);
    put_u64(&out, NUMBER_MAX);
    put_u64(&out, NUMBER_MAX);
    put_u32(&out, 12345);                            /* nobody's slot */
    put_u64(&out, 0);
    put_u64(&out, 0);
    wild_send(&x.l.w, WIRE_MARKS, buf_slice(&out));
    WAIT_UNTIL((wild_turn(&x.l.w), x.t->follow->told_readable == NUMBER_MAX));
    CHECK_EQ(topic_readable(x.t), 3);
    CHECK_EQ(x.t->peers.at, 3);
    out.end -= 1;
    wild_send(&x.l.w, WIRE_MARKS, buf_slice(&out));
    wait_for_the_end(&x.l);
    buf_fini(&out);
    lied_to_end(&x);
}

/* ---- POINT: a leader that says that its history is elsewhere ---- */

static struct lied_to asked_for(const char *name)
{
    struct topic *t = live_topic_of_two();
    struct lied_to x = {.b = &rig.nodes[1], .t = topic_at(&rig.nodes[1], name), .l = wild_leader_of(5)};
    WAIT_UNTIL(topic_readable(topic_at(&rig.nodes[1], "t")) == 3 && t->peers.at == 3);
    follow_wild(x.b, &x.l);
    return x;
}

/* The answer to the follower's question about x.t; everything before is agreed with. */
static void answer(struct lied_to *x, struct point p)
{
    struct point same;
    wild_leader_greet(&x->l);
    if (x->t != topics_log(x->b->topics))
        agree(&x->l);
    uint32_t slot = take_position(&x->l, &same);
    send_point(&x->l, slot, p);
}

static void check_a_point_is_refused(const char *name, struct point p)
{
    struct lied_to x = asked_for(name);
    uint64_t tail = x.t->tail.at;
    answer(&x, p);
    wait_for_the_end(&x.l);
    CHECK_EQ(x.t->tail.at, tail);
    CHECK_EQ(topic_first(x.t), 0);
    CHECK_EQ(topic_readable(x.t), tail);
    CHECK_EQ(count_in("n2/diverged"), 0);
    lied_to_end(&x);
}

TEST(test_a_point_beyond_all_numbers_is_refused)
{
    check_a_point_is_refused("t", (struct point){POINT_EXACT, 1, UINT64_C(1) << 62, UINT64_C(1) << 62, 0});
}

TEST(test_a_history_that_begins_above_what_its_readers_have_seen_is_refused)
{
    check_a_point_is_refused("t", (struct point){POINT_EARLIER, 0, 1000, 1000, 999});
}

TEST(test_a_history_that_ends_below_what_was_committed_is_refused)
{
    check_a_point_is_refused("t", (struct point){POINT_EXACT, 1, 2, 0, 2});
}

TEST(test_a_history_that_begins_below_what_was_committed_is_refused)
{
    check_a_point_is_refused("t", (struct point){POINT_EARLIER, 0, 2, 2, 2});
}

/* It cannot be told from a list that was compacted while the node was away. So the node starts again, keeps what it
 * had, and leads by nobody's word until it has a list. */
static void tell_of_a_later_list(struct point p)
{
    struct lied_to x = asked_for(TOPIC_LOG_NAME);
    answer(&x, p);
    WAIT_UNTIL((wild_turn(&x.l.w), false));
}

static void check_a_later_list_removes_nothing(struct point p)
{
    struct synced_register v;
    const char *why = "";
    CHECK_DIES(tell_of_a_later_list(p), EXIT_RESTART);
    CHECK_EQ(run("cat n2/diverged/_topics-*/* | grep -qa create"), 0);
    struct node *b = node_up(1);
    CHECK_EQ(cluster_claim(b->cluster, CLAIM_UNCLEAN, &v, &why), -ERR_NOT_ELIGIBLE);
    CHECK_EQ(run("cat n2/small/t | grep -qa 'message 2'"), 0);
    rig_down();
}

TEST(test_a_list_of_topics_that_begins_later_removes_nothing)
{
    check_a_later_list_removes_nothing((struct point){POINT_EXACT, 1, 1000, 1000, 1000});
}

TEST(test_a_list_of_topics_without_an_epoch_in_common_removes_nothing)
{
    check_a_later_list_removes_nothing((struct point){POINT_EARLIER, 0, 1000, 1000, 1000});
}

/* Such a leader cannot be told from one whose retention is ahead. */
static void check_it_starts_over_and_keeps(struct point p)
{
    struct lied_to x = asked_for("t");
    struct node *a = &rig.nodes[0];
    answer(&x, p);
    WAIT_UNTIL((wild_turn(&x.l.w), x.t->follow->placed));
    CHECK_EQ(topic_first(x.t), 1000);
    CHECK_EQ(count_in("-d n2/diverged/t-*"), 1);
    CHECK_EQ(run("cat n2/diverged/t-*/* | grep -qa 'message 2'"), 0);
    CHECK_EQ(count_in("n2/trash"), 0);
    wild_close(&x.l.w);
    cluster_resign(a->cluster, "the test says so");      /* the next leader has it all */
    cluster_follow(x.b->cluster, NULL);
    lead(a);
    publish(topic_at(a, "t"), 1, 100);
    join(x.b, a);
    WAIT_UNTIL(topic_readable(x.t) == 4);
    check_same_topic(a, x.b, "t");
    close(x.l.door);
    rig_down();
}

TEST(test_what_a_leaders_word_removes_is_kept)
{
    check_it_starts_over_and_keeps((struct point){POINT_EXACT, 1, 1000, 1000, 1000});
}

TEST(test_what_a_leader_without_an_epoch_in_common_removes_is_kept)
{
    check_it_starts_over_and_keeps((struct point){POINT_EARLIER, 0, 1000, 1000, 1000});
}

static void put_from_leader(struct buf *out, unsigned char type, const struct lied_to *x)
{
    if (type == WIRE_DATA) {
        buf_add_slice(out, buf_slice(&x->data));
        return;
    }
    put_u32(out, x->slot);
    if (type == WIRE_POINT)
        put_u8(out, (unsigned)rand() % 3);
    for (int i = 0; i < 3 + (type == WIRE_POINT); i++)
        put_u64(out, (uint64_t)rand() % 5);
    if (type == WIRE_POINT)
        buf_add(out, "\1\2\3\4\5", 5);
    if (type == WIRE_MARKS)
        out->end -= 4;
}

/* What was committed stays to be read, whatever the leader says; but for this, that retention has removed it there. */
TEST(test_mangled_frames_of_a_leader_take_nothing_away)
{
    static const unsigned char types[] = {WIRE_POINT, WIRE_DATA, WIRE_MARKS, WIRE_FILE, WIRE_PING, WIRE_CAUGHT, 'z'};
    srand(2);
    struct lied_to x = lied_to();
    struct buf before = {0}, now = {0};
    x.t->follow->told_readable = x.t->follow->told_peers = 3;
    read_topic(x.t, &before);
    unsigned closed = 0;
    for (unsigned i = 0; i < 2000; i++) {
        if (wild_ended(&x.l.w) || !is_connected(x.b)) {
            closed++;
            wild_close(&x.l.w);
            cluster_follow(x.b->cluster, NULL);
            cluster_follow(x.b->cluster, &x.l.at);
            wild_leader_greet(&x.l);
            x.log_slot = agree(&x.l);
            if (rand() % 2)
                x.slot = agree(&x.l);
        }
        struct buf out = {0};
        unsigned char type = types[(size_t)rand() % sizeof(types)];
        put_from_leader(&out, type, &x);
        mangle(&out);
        wild_send(&x.l.w, type, buf_slice(&out));
        buf_fini(&out);
        wild_turn(&x.l.w);
        loop_again(&rig.loop);
        rig_turn();
        CHECK(topic_readable(x.t) >= 3);
        CHECK(x.t->disk.at >= topic_readable(x.t));
    }
    CHECK(closed > 50);
    if (topic_first(x.t) > 0) {
        CHECK(topic_first(x.t) >= 3);
    } else {
        read_topic(x.t, &now);
        CHECK(buf_size(&now) >= buf_size(&before));
        CHECK_SLICE(slice_of(now.data, buf_size(&before)), buf_slice(&before));
    }
    buf_fini(&before);
    buf_fini(&now);
    lied_to_end(&x);
}
