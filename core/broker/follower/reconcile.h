/*
 * Where this node's history of a topic and the leader's part, and cutting what this node has beyond that.
 *
 * POSITION says where our history of its last epoch ends, POINT where the leader's history of the last epoch up to that
 * one does. Both go back, epoch by epoch, until they speak of the same one. The histories agree up to the smaller of
 * the two ends, because an epoch has one leader; a checksum there confirms it. What we have beyond is moved to
 * diverged/ and cut. A log is never cut to a mark, only to where the histories part [m]. START then asks for what
 * follows.
 */
#ifndef BROKER_FOLLOWER_RECONCILE_H
#define BROKER_FOLLOWER_RECONCILE_H

#include "broker/follower/upstream.h"

/* Sends POSITION of an unplaced topic, or holds the topic. */
void reconcile_ask(struct follower *f, struct topic *t);

/* POINT: asks again, cuts and starts, or holds the topic. May wait for the disk. */
void reconcile_point(struct follower *f, struct wire *w);

#endif
