/*
 * The barriers of a follower: BARRIER asks the leader how far it has come with a topic, REACHED is the answer, and
 * CONFIRM is the leader's question whether this node follows it (broker/leader/barrier.h).
 *
 * Barriers are numbered and answered in order. `answered` is a mark: it reaches a barrier's number with its answer, and
 * fails with -ERR_UNAVAILABLE when the connection ends before.
 */
#ifndef BROKER_FOLLOWER_BARRIER_H
#define BROKER_FOLLOWER_BARRIER_H

#include "broker/follower/upstream.h"

/* Asks the leader how far it is with a topic. 0: the mark reaches *number with the answer, and follower_reached gives
 * it (false: the connection has ended, or it was long ago); -ERR_NO_LEADER; -ERR_BUSY: too many are under way. */
int follower_barrier(struct follower *f, slice name, uint64_t *number);
struct mark *follower_answered(struct follower *f);
bool follower_reached(const struct follower *f, uint64_t number, struct reached *out);

/* For the other files of this room. */
void barrier_reached(struct follower *f, struct wire *w);
void barrier_confirm(struct follower *f, struct wire *w);
void barrier_hang_up(struct follower *f);     /* the connection has ended */

#endif
