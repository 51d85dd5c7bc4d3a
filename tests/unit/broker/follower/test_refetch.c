/* Followers that cannot go on with what they have: what they may let go of, when, and who waits for whom. */
#include "broker/wire/wire.h"
#include "unit/cluster_rig.h"

static struct topic *both_have(const char *name, unsigned copies, unsigned count)
{
    struct node *a = &rig.nodes[0], *b = &rig.nodes[1];
    struct topic_settings s = settings_of(REPLICATION_LIVE);
    s.segment_messages = 10;
    s.copies = copies;
    struct topic *t = make_topic(a, name, &s);
    publish(t, count, 100);
    WAIT_UNTIL(topic_at(b, name) != NULL && topic_readable(topic_at(b, name)) == count);
    return t;
}

static bool is_amnesiac(const struct node *n)
{
    struct state s;
    return state_load(n->name, &s) == 0 && s.amnesiac;
}

/* ---- sound, and not the leader's ---- */

static void say_that_it_differs(struct topic *t, const struct node *n, uint64_t first)
{
    LIST_EACH(node, &t->lead.feeds) {
        struct feed *f = LIST_OWNER(node, struct feed, of_topic);
        if (!member_eq(&f->peer->member, &n->role.self))
            continue;
        struct buf *out = link_begin(f->peer->link, WIRE_DIFFERS);
        put_u32(out, f->slot);
        put_u64(out, first);
        link_end(f->peer->link);
    }
}

static void check_untouched(const struct node *b, unsigned count)
{
    CHECK_EQ(topic_at(b, "t")->tail.at, count);
    CHECK_EQ(topic_at(b, "t")->disk.at, count);
    CHECK_EQ(count_in("n2/diverged"), 0);
    CHECK(is_amnesiac(b));
}

TEST(test_a_sound_copy_goes_only_once_the_node_is_out_of_the_set)
{
    rig_up(2);
    struct node *a = &rig.nodes[0], *b = &rig.nodes[1];
    struct topic *t = both_have("t", 1, 15);
    rig.consul_away = true;
    say_that_it_differs(t, b, 0);
    WAIT_UNTIL(cluster_pending_write(a->cluster) != NULL);
    CHECK_EQ(cluster_pending_write(a->cluster)->set.count, 1);
    check_untouched(b, 15);
    turn_for(2500);                                  /* it looks again every two seconds */
    check_untouched(b, 15);
    CHECK(is_connected(b));
    rig_confirm(a);
    rig.consul_away = false;
    turn_for(2500);
    check_untouched(b, 15);                          /* it has not heard of that yet */
    CHECK(!in_set(a, b));
    node_see(b);
    WAIT_UNTIL(in_set(a, b) && !is_amnesiac(b));
    CHECK_EQ(run("cat n2/diverged/t-*/* | grep -qa 'message 14'"), 0);
    check_same_topic(a, b, "t");
    rig_down();
}

TEST(test_a_sound_copy_stays_where_the_set_cannot_do_without_it)
{
    rig_up(2);
    struct node *a = &rig.nodes[0], *b = &rig.nodes[1];
    struct topic *t = both_have("t", 2, 15);
    struct topic *other = make_wal(a, "other");
    say_that_it_differs(t, b, 10);
    WAIT_UNTIL(is_amnesiac(b));
    WAIT_UNTIL(is_connected(b));
    turn_for(2500);
    check_untouched(b, 15);
    CHECK(in_set(a, b));
    publish(other, 1, 100);
    WAIT_UNTIL(other->disk.at == 1);
    ship(other);
    WAIT_UNTIL(acked(other, b) == 1);                /* all else goes on */
    CHECK_EQ(t->peers.at, 15);
    rig_down();
}

TEST(test_another_leader_may_have_the_very_same)
{
    rig_up(2);
    struct node *a = &rig.nodes[0], *b = &rig.nodes[1];
    struct topic *t = both_have("t", 2, 15);
    say_that_it_differs(t, b, 0);
    WAIT_UNTIL(is_amnesiac(b));
    WAIT_UNTIL(is_connected(b));
    cluster_resign(a->cluster, "the test says so");
    lead(a);
    follow(b, a);
    WAIT_UNTIL(!is_amnesiac(b));
    CHECK_EQ(count_in("n2/diverged"), 0);
    publish(t, 1, 100);
    WAIT_UNTIL(t->peers.at == 16);
    rig_down();
}

/* ---- without a batch ---- */

/* b's journal goes on at an offset, as retention leaves it, without a batch. */
static struct topic *nothing_is_left_at(struct node *b, uint64_t first, uint64_t committed)
{
    struct topic *u = topic_at(b, "t");
    CHECK_EQ(topic_restart(u, first, false), 0);
    CHECK_EQ(u->tail.at, first);
    if (committed > u->peers.at)
        mark_advance(&u->peers, committed);
    return u;
}

TEST(test_a_node_that_begins_below_what_it_acknowledged_does_not_count_meanwhile)
{
    rig_up(2);
    struct node *a = &rig.nodes[0], *b = &rig.nodes[1];
    struct topic *t = both_have("t", 1, 15);
    cluster_follow(b->cluster, NULL);
    nothing_is_left_at(b, 10, 10);
    b->syncs_not = true;
    follow(b, a);
    WAIT_UNTIL(topic_at(b, "t")->written.at == 15);
    CHECK_EQ(topic_first(topic_at(b, "t")), 0);
    CHECK(is_amnesiac(b));
    b->syncs_not = false;
    WAIT_UNTIL(!is_amnesiac(b) && in_set(a, b));
    check_same_topic(a, b, "t");
    publish(t, 1, 100);
    WAIT_UNTIL(t->peers.at == 16);
    rig_down();
}

TEST(test_a_leader_that_ends_before_what_was_committed_is_not_followed)
{
    rig_up(2);
    struct node *a = &rig.nodes[0], *b = &rig.nodes[1];
    both_have("t", 1, 15);
    cluster_follow(b->cluster, NULL);
    nothing_is_left_at(b, 40, 40);
    follow(b, a);
    for (int i = 0; i < 3; i++) {
        WAIT_UNTIL(is_connected(b));
        WAIT_UNTIL(!is_connected(b));
    }
    CHECK_EQ(topic_at(b, "t")->tail.at, 40);
    CHECK_EQ(topic_at(b, "t")->peers.at, 40);
    rig_down();
}

/* Retention of a leader that is gone has removed what it alone had. */
TEST(test_where_retention_was_is_not_what_everybody_had)
{
    rig_up(2);
    struct node *a = &rig.nodes[0], *b = &rig.nodes[1];
    struct topic *t = make_wal(a, "t");
    publish(t, 5, 100);
    ship(t);
    WAIT_UNTIL(topic_at(b, "t") != NULL && topic_readable(topic_at(b, "t")) == 5);
    cluster_follow(b->cluster, NULL);
    nothing_is_left_at(b, 40, 5);
    CHECK_EQ(topic_at(b, "t")->peers.at, 5);
    b = node_restart(b);
    CHECK_EQ(topic_at(b, "t")->tail.at, 40);
    CHECK(topic_at(b, "t")->peers.at <= 5);
    follow(b, a);
    WAIT_UNTIL(in_set(a, b) && topic_readable(topic_at(b, "t")) == 5);
    check_same_topic(a, b, "t");
    rig_down();
}

/* ---- damage where histories are compared ---- */

static void damage(const struct node *n, const char *text, const char *by)
{
    char command[512];
    const struct journal *j = topic_at(n, "t")->journal;
    WAIT_UNTIL(j->parts.dir.jobs == 0);                        /* a file that is being sealed changes its name */
    snprintf(command, sizeof command, "f=$(grep -la '%s' %s/topics/t/*) && LC_ALL=C sed 's/%s/%s/' $f > copy && "
             "dd if=copy of=$f conv=notrunc 2>/dev/null", text, n->name, text, by);
    CHECK_EQ(run(command), 0);
}

/* a leads epoch 2, and 5 is its first message in that; b has those of epoch 1. */
static struct topic *two_epochs(void)
{
    struct node *a = &rig.nodes[0], *b = &rig.nodes[1];
    struct topic *t = both_have("t", 1, 5);
    cluster_follow(b->cluster, NULL);
    WAIT_UNTIL(!in_set(a, b));
    cluster_resign(a->cluster, "the test says so");
    lead(a);
    publish(t, 5, 100);
    WAIT_UNTIL(t->peers.at == 10);
    damage(a, "message 5", "massage 5");
    return t;
}

TEST(test_a_leader_that_cannot_tell_where_histories_part_makes_room_and_does_not_claim)
{
    rig_up(2);
    struct node *a = &rig.nodes[0], *b = &rig.nodes[1];
    const char *why;
    two_epochs();
    CHECK(members_add(&a->role.synced.confirmed.set, &b->role.self));   /* it is needed */
    follow(b, a);
    WAIT_UNTIL(a->role.kind == ROLE_FOLLOWER);
    WAIT_UNTIL(!cluster_eligible(a->cluster, &why));
    CHECK_EQ(topic_at(b, "t")->tail.at, 5);
    rig_down();
}

TEST(test_a_follower_whose_leader_cannot_tell_asks_again_and_goes_on_with_the_rest)
{
    rig_up(2);
    struct node *a = &rig.nodes[0], *b = &rig.nodes[1];
    struct topic *t = two_epochs(), *other = make_live(a, "other");
    follow(b, a);
    WAIT_UNTIL(acked(other, b) == 0);
    publish(other, 1, 100);
    WAIT_UNTIL(acked(other, b) == 1);
    turn_for(2500);
    CHECK_EQ(a->role.kind, ROLE_LEADER);             /* there is nobody to lead instead */
    CHECK(is_connected(b));
    CHECK(!topic_at(b, "t")->follow.placed);
    damage(a, "massage 5", "message 5");
    WAIT_UNTIL(in_set(a, b) && topic_readable(topic_at(b, "t")) == 10);
    CHECK_EQ(acked(t, b), 10);
    check_same_topic(a, b, "t");
    rig_down();
}

/* Epochs 1 (a), 2 (b, with messages that only b has), 3 (a): b looks for the end of epoch 1, and finds damage. */
static void damaged_where_epoch_1_ends(unsigned lost)
{
    struct node *a = &rig.nodes[0], *b = &rig.nodes[1];
    struct topic *t = both_have("t", 1, 5), *u = topic_at(b, "t");
    cluster_resign(a->cluster, "the test says so");
    cluster_follow(b->cluster, NULL);
    lead(b);
    rig.reg.set = (struct members){{a->role.self, b->role.self}, 2};
    b->role.synced.confirmed.set = rig.reg.set;            /* nothing commits without a */
    leader_set_changed(cluster_leader(b->cluster));
    for (unsigned i = 0; i < lost; i++)
        CHECK_EQ(try_publish(u, 100, "lost"), 0);
    WAIT_UNTIL(u->disk.at == 5 + lost);
    cluster_resign(b->cluster, "the test says so");
    lead(a);
    publish(t, 1, 100);
    damage(b, "lost 5", "list 5");
}

static void check_it_comes_back(unsigned lost)
{
    struct node *a = &rig.nodes[0], *b = &rig.nodes[1];
    rig_up(2);
    damaged_where_epoch_1_ends(lost);
    follow(b, a);
    WAIT_UNTIL(in_set(a, b) && topic_readable(topic_at(b, "t")) == 6);
    CHECK_EQ(run("cat n2/diverged/t-*/* | grep -qa 'lost 7'"), 0);
    WAIT_UNTIL(!is_amnesiac(b));
    check_same_topic(a, b, "t");
    rig_down();
}

TEST(test_damage_where_an_epoch_ends_is_mended_in_the_open_file)
{
    check_it_comes_back(3);
}

TEST(test_damage_where_an_epoch_ends_is_mended_in_a_sealed_file)
{
    check_it_comes_back(8);
}
