/*
 * The barriers of a follower: BARRIER asks the leader how far it has come with a topic, REACHED is the answer, and
 * CONFIRM is the leader's question whether this node follows it (broker/leader/confirm.h).
 *
 * Barriers are numbered and answered in order. `answered` is a mark: it reaches a barrier's number with its answer, and
 * fails with -ERR_UNAVAILABLE when the connection ends before.
 */
#ifndef BROKER_FOLLOWER_BARRIER_H
#define BROKER_FOLLOWER_BARRIER_H

#include "broker/follower/upstream.h"

void barrier_reached(struct follower *f, struct wire *w);
void barrier_confirm(struct follower *f, struct wire *w);
void barrier_hang_up(struct follower *f);     /* the connection has ended */

#endif
