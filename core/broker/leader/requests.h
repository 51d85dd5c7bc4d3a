/*
 * What a ready follower asks and acknowledges: the frames POSITION, START, ACK, WANT, AUDIT, BARRIER, CONFIRMED,
 * CALL and FORGET (broker/wire/wire.h). leader_receive calls this.
 */
#ifndef BROKER_LEADER_REQUESTS_H
#define BROKER_LEADER_REQUESTS_H

#include "broker/leader/peer.h"

void requests_frame(struct peer *p, unsigned char type, slice payload);

#endif
