/*
 * The leader's side of the handshake, inside TLS: which node connects, and whether it promises this epoch.
 * leader_receive calls this until the peer is ready.
 */
#ifndef BROKER_LEADER_HANDSHAKE_H
#define BROKER_LEADER_HANDSHAKE_H

#include "broker/leader/peer.h"

void handshake_frame(struct peer *p, unsigned char type, slice payload);

#endif
