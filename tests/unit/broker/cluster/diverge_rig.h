/*
 * Two nodes of the cluster rig whose histories part.
 */
#ifndef CLUSTER_DIVERGE_RIG_H
#define CLUSTER_DIVERGE_RIG_H

#include "unit/cluster_rig.h"

static struct topic_settings small_files(enum replication replication)
{
    struct topic_settings s = settings_of(replication);
    s.segment_messages = 10;
    return s;
}

/* Starts two nodes, of which a leads. Both have these messages of the live topic "t", in files of ten. */
static struct topic *rig_up_with(unsigned count)
{
    rig_up(2);
    struct topic_settings s = small_files(REPLICATION_LIVE);
    struct topic *t = make_topic(&rig.nodes[0], "t", &s);
    publish(t, count, 100);
    WAIT_UNTIL(can_read(&rig.nodes[1], "t", count));
    return t;
}

/* b leads after a, which has messages that b never saw. */
static void change_leaders(unsigned beyond)
{
    struct node *a = &rig.nodes[0], *b = &rig.nodes[1];
    struct topic *t = topic_at(a, "t");
    b->paused = true;
    publish(t, beyond, 100);
    WAIT_UNTIL(t->disk.at == t->tail.at);
    cluster_resign(a->cluster, "the test says so");
    cluster_follow(b->cluster, NULL);
    b->paused = false;
    lead(b);
}

/* Five messages of epoch 1, which a led; `beyond` more that only a has; three of epoch 2 that only b has, which
 * leads. */
static struct topic *lost_epoch(struct topic *t, unsigned beyond)
{
    struct node *a = &rig.nodes[0], *b = &rig.nodes[1];
    publish(t, 5, 100);
    WAIT_UNTIL(can_read(b, "t", 5));
    change_leaders(beyond);
    struct topic *u = topic_at(b, "t");
    rig.reg.set = (struct members){{a->role.self, b->role.self}, 2};
    b->role.synced.confirmed.set = rig.reg.set;            /* as if a had been asked in: nothing commits without it */
    leader_set_changed(cluster_leader(b->cluster));
    for (unsigned i = 0; i < 3; i++)
        CHECK_EQ(try_publish(u, 100, "lost"), 0);
    WAIT_UNTIL(u->disk.at == 8);
    return u;
}

#endif
