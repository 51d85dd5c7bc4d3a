/*
 * Calls of a follower: what its scripts ask the leader to do. The core does not know what they say
 * (scripts/lignum/leader.lua does).
 *
 * A call is sent on the connection to the leader, and so belongs to one epoch:
 *
 *   sent       follower_call has returned 0. The leader counts it as open
 *   left       its caller waits no more (FORGET); the leader still counts it, until RETURN
 *   over       RETURN has come: `ended` is called with the answer; or the connection has ended: with -ERR_UNAVAILABLE,
 *              and whether the leader has done anything is not known
 */
#ifndef BROKER_FOLLOWER_CALL_H
#define BROKER_FOLLOWER_CALL_H

#include "broker/follower/upstream.h"

/* One that waits for the answer; in its owner, which is zeroed at first. */
struct node_call {
    struct sent_call *sent;          /* NULL: nothing is under way */
    /* `how`: RETURN_... of the wire; only with rc == 0. The answer is valid during the call. */
    void (*ended)(struct node_call *c, int rc, unsigned how, slice answer);
};

/* 0; -ERR_NO_LEADER, -ERR_TOO_MANY, -ERR_TOO_LARGE: nothing was sent. */
int follower_call(struct follower *f, slice what, struct node_call *c);

/* The caller waits no more. */
void follower_call_leave(struct node_call *c);

/* For the other files of this room. */
void call_return(struct follower *f, struct wire *w);
void call_hang_up(struct follower *f);        /* the connection has ended */

#endif
