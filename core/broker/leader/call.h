/*
 * Calls of followers (broker/follower/call.h), which scripts of this node answer.
 *
 *   arrived    in leader.arrived; leader_take_call takes it                   -> taken, or freed with its connection
 *   taken      its owner works on it, and ends it by leader_answer_call       -> freed
 *
 * A connection that ends while a call of it is taken is forgotten by the call, and gets no answer.
 */
#ifndef BROKER_LEADER_CALL_H
#define BROKER_LEADER_CALL_H

#include "broker/leader/peer.h"
#include "broker/wire/wire.h"

/* Frames. */
void call_arrived(struct peer *p, struct wire *w);
void call_forget(struct peer *p, struct wire *w);

void call_forget_peer(struct peer *p);        /* it is about to be freed */

#endif
