/*
 * The follower's side of the handshake, inside TLS: HELLO, then WELCOME and the promise of the leader's epoch.
 */
#ifndef BROKER_FOLLOWER_HANDSHAKE_H
#define BROKER_FOLLOWER_HANDSHAKE_H

#include "broker/follower/upstream.h"

/* Sends HELLO over a new link. */
void handshake_hello(struct follower *f);

/* A frame in UPSTREAM_HELLO. May wait for the disk. */
void handshake_answer(struct follower *f, unsigned char type, slice payload);

#endif
