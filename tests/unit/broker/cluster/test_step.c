/* What a connection between nodes has of one turn, while many topics are placed and sent: others are served, too. */
#include "broker/cluster/cluster_struct.h"
#include "broker/follower/upstream.h"
#include "broker/leader/peer.h"
#include "unit/cluster_rig.h"

enum { TOPICS = 3 * LINK_STEP };

/* The topics that have taken each step: the follower has asked for them, the leader has heard that, the follower has
 * its answer, the leader has heard so and begins to send, has sent a message, and the follower has received it. */
enum step { ASKED, HEARD, PLACED, BEGUN, SENT, RECEIVED, STEPS };
struct progress {
    size_t of[STEPS];
};

static struct progress progress_of(const struct node *a, const struct node *b)
{
    struct progress p = {0};
    const struct leader *l = cluster_leader(a->cluster);
    const struct peer *peer = LIST_OWNER(l->peers.next, const struct peer, all);
    const struct topic *t;
    CHECK_EQ(l->peer_count, 1);
    p.of[ASKED] = b->cluster->follower->slots;
    p.of[PLACED] = b->cluster->follower->placed;
    p.of[BEGUN] = peer->started;
    for (uint32_t i = 0; i < peer->slots; i++) {
        p.of[HEARD] += peer->by_slot[i] != NULL;
        p.of[SENT] += peer->by_slot[i] != NULL && peer->by_slot[i]->sent > 0;
    }
    for (size_t i = 0; (t = topics_at(b->topics, i)) != NULL; i++)
        p.of[RECEIVED] += t->tail.at > 0;
    return p;
}

/* Runs only one of the two until it has nothing to do any more. In no turn does a step take more than it may. */
static struct progress run_alone(struct node *n, const struct node *a, const struct node *b)
{
    struct progress now = progress_of(a, b);
    for (int i = 0; i < 2; i++)
        rig.nodes[i].paused = &rig.nodes[i] != n;
    for (unsigned idle = 0; idle < 50; idle++) {
        struct progress before = now;
        loop_again(&rig.loop);
        rig_turn();
        now = progress_of(a, b);
        for (int i = 0; i < STEPS; i++) {
            CHECK(now.of[i] <= before.of[i] + LINK_STEP);
            idle = now.of[i] == before.of[i] ? idle : 0;
        }
    }
    return now;
}

TEST(test_a_turn_has_a_bounded_part_of_what_nodes_tell_each_other)
{
    skip_syncs();
    rig_up(2);
    struct node *a = &rig.nodes[0], *b = &rig.nodes[1];
    struct topic_settings s = settings_of(REPLICATION_LIVE);
    char name[16];
    uint64_t want;
    for (unsigned i = 0; i < TOPICS; i++) {
        snprintf(name, sizeof(name), "t-%05u", i);
        CHECK_EQ(topics_create(a->topics, slice_from(name), &s, &want), 0);
    }
    WAIT_UNTIL(topic_at(a, name) != NULL && topic_at(b, name) != NULL);
    b = node_restart(b);
    WAIT_UNTIL(cluster_leader(a->cluster)->peer_count == 0);
    follow(b, a);
    WAIT_UNTIL(b->cluster->follower->log_placed);
    CHECK(progress_of(a, b).of[ASKED] <= 2 + LINK_STEP);   /* in this turn; 0 is no slot, and 1 that of the log */
    CHECK(run_alone(b, a, b).of[ASKED] > TOPICS);
    CHECK(run_alone(a, a, b).of[HEARD] > TOPICS);
    CHECK(run_alone(b, a, b).of[PLACED] > TOPICS);
    CHECK(run_alone(a, a, b).of[BEGUN] > TOPICS);
    for (unsigned i = 0; i < TOPICS; i++) {
        snprintf(name, sizeof(name), "t-%05u", i);
        publish(topic_at(a, name), 1, 100);
    }
    CHECK(run_alone(a, a, b).of[SENT] > TOPICS);
    CHECK(run_alone(b, a, b).of[RECEIVED] > TOPICS);
    a->paused = false;
    WAIT_UNTIL(can_read(b, name, 1));
    rig_down();
}
