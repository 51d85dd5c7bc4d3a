/* Followers that cannot go on with what they have: what they may let go of, when, and who waits for whom. */
#include <fcntl.h>

#include "base/crc32c.h"
#include "broker/wire/wire.h"
#include "store/format/record.h"
#include "unit/cluster_rig.h"

static struct topic *both_have(const char *name, unsigned copies, unsigned count)
{
    struct node *a = &rig.nodes[0], *b = &rig.nodes[1];
    struct topic_settings s = settings_of(REPLICATION_LIVE);
    s.segment_messages = 10;
    s.copies = copies;
    struct topic *t = make_topic(a, name, &s);
    publish(t, count, 100);
    WAIT_UNTIL(can_read(b, name, count));
    return t;
}

static bool is_amnesiac(const struct node *n)
{
    struct state s;
    return state_load(n->name, &s) == 0 && s.amnesiac;
}

/* ---- sealed, sound, and another file than the leader's ---- */

/* Replaces a text in a sealed file and makes all checksums right again. */
static void forge(const char *path, const char *text, const char *by)
{
    static char file[MIB];
    int fd = open(path, O_RDWR);
    ssize_t size = read(fd, file, sizeof file);
    struct batch_head head;
    CHECK(size > FILE_HEAD_SIZE);
    char *p = memmem(file, (size_t)size, text, strlen(text));
    CHECK(p != NULL);
    memcpy(p, by, strlen(by));
    for (p = file + FILE_HEAD_SIZE; batch_head_read(p, &head) == 0 && !(head.flags & BATCH_FLAG_END); p += head.size)
        batch_head_write(p, &head);
    CHECK_EQ(p - file, size - END_RECORD_SIZE);
    end_record_write(p, &head, crc32c(0, file, (size_t)(p - file)));
    CHECK_EQ(pwrite(fd, file, (size_t)size, 0), size);
    close(fd);
}

/* b has 15 messages, and another message 3 than a. */
static struct topic *forged(unsigned copies)
{
    rig_up(2);
    struct node *a = &rig.nodes[0], *b = &rig.nodes[1];
    struct topic *t = both_have("t", copies, 15);
    WAIT_UNTIL(run("test -e n2/topics/t/00000000000000000000.log") == 0);
    node_down(b);
    forge("n2/topics/t/00000000000000000000.log", "message 3", "massage 3");
    b = node_up(1);
    follow(b, a);
    WAIT_UNTIL(topic_at(b, "t")->follow->placed && topic_readable(topic_at(b, "t")) == 15);
    struct buf read = {0};
    read_topic(topic_at(b, "t"), &read);
    CHECK(memmem(read.data, buf_size(&read), "massage 3", 9) != NULL);
    buf_fini(&read);
    return t;
}

static void audit(const struct node *n, uint64_t first)
{
    struct file_info file;
    struct topic *t = topic_at(n, "t");
    CHECK_EQ(journal_file(t->journal, first, &file), 0);
    cluster_audited(n->cluster, t, &file, 0);
}

static void check_it_is_mended(unsigned copies)
{
    struct topic *t = forged(copies);
    struct node *a = &rig.nodes[0], *b = &rig.nodes[1];
    uint64_t next;
    struct buf out = {0};
    audit(b, 0);
    WAIT_UNTIL(journal_refuses(topic_at(b, "t")->journal, 3));
    CHECK_EQ(topic_read(topic_at(b, "t"), 3, 15, MIB, &out, &next), -ERR_DAMAGED);
    CHECK_EQ(topic_read(topic_at(b, "t"), 10, 15, MIB, &out, &next), 0);
    buf_fini(&out);
    publish(t, 1, 100);                              /* it counts all the while */
    WAIT_UNTIL(t->peers.at == 16);
    WAIT_UNTIL(!journal_refuses(topic_at(b, "t")->journal, 3) && topic_readable(topic_at(b, "t")) == 16);
    CHECK(in_set(a, b));
    CHECK(!is_amnesiac(b));
    CHECK_EQ(a->role.epoch, 1);
    check_same_topic(a, b, "t");
    CHECK_EQ(run("cmp n1/topics/t/00000000000000000000.log n2/topics/t/00000000000000000000.log"), 0);
    CHECK_EQ(run("cat n2/torn/* | grep -qa 'massage 3'"), 0);
    audit(b, 0);
    turn_for(100);
    CHECK(!journal_refuses(topic_at(b, "t")->journal, 3));
    rig_down();
}

TEST(test_a_sealed_file_that_differs_is_refused_and_mended)
{
    check_it_is_mended(1);
}

TEST(test_a_sealed_file_that_differs_is_mended_where_the_set_cannot_do_without_the_node)
{
    check_it_is_mended(2);
}

/* What is refused is still there, for a leader that has the same, or for an operator. */
TEST(test_a_file_that_differs_goes_only_once_the_leaders_is_here_whole)
{
    forged(2);
    struct node *a = &rig.nodes[0], *b = &rig.nodes[1];
    const char *why;
    audit(b, 0);
    WAIT_UNTIL(journal_refuses(topic_at(b, "t")->journal, 3));
    node_down(a);
    turn_for(200);
    CHECK_EQ(run("grep -qa 'massage 3' n2/topics/t/00000000000000000000.log"), 0);
    CHECK(!cluster_eligible(b->cluster, &why));
    rig_down();
}

/* ---- removed at the beginning ---- */

/* b has lost the files of the first 20 messages; a has its own, from an offset on. So many other topics come first. */
static void check_the_beginning_comes_again(uint64_t leaders_first, unsigned others)
{
    rig_up(2);
    struct node *a = &rig.nodes[0], *b = &rig.nodes[1];
    if (others > 0)
        make_many(a, b, others);
    struct topic *t = both_have("t", 1, 35);
    uint64_t from, to;
    WAIT_UNTIL(run("test -e n2/topics/t/00000000000000000020.log") == 0);
    node_down(b);
    CHECK_EQ(run("rm n2/topics/t/00000000000000000000.* n2/topics/t/00000000000000000010.*"), 0);
    if (leaders_first > 0)
        WAIT_UNTIL(journal_apply_retention(t->journal, &(struct retain){.messages = 35 - leaders_first}, 1, 35) > 0);
    CHECK_EQ(topic_first(t), leaders_first);
    b = node_up(1);
    struct journal *j = topic_at(b, "t")->journal;
    CHECK(journal_lacks(j, &from) && from == 0);
    CHECK_EQ(topic_first(topic_at(b, "t")), 20);
    CHECK(!journal_damage(j, 0, &from, &to));        /* it may lead */
    follow(b, a);
    WAIT_UNTIL(!journal_lacks(j, &from) && !journal_damage(j, 0, &from, &to));
    WAIT_UNTIL(topic_readable(topic_at(b, "t")) == 35);
    CHECK_EQ(topic_first(topic_at(b, "t")), leaders_first < 20 ? leaders_first : 20);
    CHECK(in_set(a, b));
    CHECK(!is_amnesiac(b));
    if (leaders_first < 20) {
        check_same_topic(a, b, "t");
        CHECK_EQ(run("cmp n1/topics/t/00000000000000000010.log n2/topics/t/00000000000000000010.log"), 0);
    }
    node_down(b);
    b = node_up(1);
    CHECK(!journal_lacks(topic_at(b, "t")->journal, &from));
    rig_down();
}

TEST(test_files_that_were_removed_at_the_beginning_are_fetched)
{
    check_the_beginning_comes_again(0, 0);
}

TEST(test_files_that_were_removed_are_fetched_also_behind_more_topics_than_one_look_sees)
{
    check_the_beginning_comes_again(0, LOOK_STEP + 100);
}

TEST(test_of_files_that_were_removed_at_the_beginning_those_that_the_leader_has_are_fetched)
{
    check_the_beginning_comes_again(10, 0);
}

TEST(test_files_that_were_removed_at_the_beginning_are_forgotten_where_the_leader_begins_as_late)
{
    check_the_beginning_comes_again(20, 0);
}

TEST(test_files_that_were_removed_at_the_beginning_are_forgotten_where_the_leader_begins_later)
{
    check_the_beginning_comes_again(30, 0);
}

/* ---- sound, and files that end elsewhere than the leader's ---- */

static void say_that_it_differs(struct topic *t, const struct node *n, uint64_t first)
{
    LIST_EACH(node, &t->lead->feeds) {
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
    say_that_it_differs(t, b, 10);
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
    say_that_it_differs(t, b, 10);
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
    int rc;
    WAIT_UNTIL((rc = topic_restart(u, first, false)) != -ERR_BUSY);
    CHECK_EQ(rc, 0);
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
    WAIT_UNTIL(can_read(b, "t", 5));
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
    snprintf(command, sizeof command, "cd %s && f=$(grep -las '%s' topics/t/* small/t); "
             "LC_ALL=C sed 's/%s/%s/' $f > copy && dd if=copy of=$f conv=notrunc 2>/dev/null", n->name, text, text, by);
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
    CHECK(!topic_at(b, "t")->follow->placed);
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
