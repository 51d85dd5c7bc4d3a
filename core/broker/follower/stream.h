/*
 * What the leader sends while topics are placed: DATA, MARKS and CAUGHT; and the distribution of all frames of a ready
 * connection.
 */
#ifndef BROKER_FOLLOWER_STREAM_H
#define BROKER_FOLLOWER_STREAM_H

#include "broker/follower/upstream.h"

/* A frame in UPSTREAM_READY. May wait for the disk. */
void stream_frame(struct follower *f, unsigned char type, slice payload);

/* From a timer: ends being stuck, and notes that an unclean claim is settled, when this node's history is the
 * leader's. */
void stream_settle(struct follower *f);

#endif
