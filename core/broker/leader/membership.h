/*
 * Which followers count, which members are not connected, and which changes of the synced set the leader proposes.
 *
 * A set changes through role_propose: a member is proposed for removal when it is absent, amnesiac or too far behind,
 * and a node for addition when it has caught up.
 */
#ifndef BROKER_LEADER_MEMBERSHIP_H
#define BROKER_LEADER_MEMBERSHIP_H

#include "broker/leader/peer.h"

/* An epoch begins: every member of the set is absent, and expected. */
void membership_begin(struct leader *l);

/* A peer is ready; its node's older connections are superseded. */
void membership_arrived(struct peer *p);

/* A peer is about to be freed. */
void membership_left(struct peer *p);

/* If leader.recount is set: sets counted of each peer, and counted and missing of the leader, then settles all
 * topics. */
void membership_recount(struct leader *l);

/* Deadlines, pings and proposals; see leader_tick. */
bool membership_tick(struct leader *l);

#endif
