/*
 * The following side of replication: the connection to the leader, the promise of its epoch, where the histories part,
 * and what arrives.
 *
 * For each topic, _topics before all others: POSITION says where our history of its last epoch ends, POINT where the
 * leader's does, until both speak of the same epoch; what we have beyond the smaller end is moved to diverged/ and cut
 * [m: never to a commit mark]; START then says from where on to send. What arrives is checked, stored byte for byte,
 * and acknowledged once it is on this node's disk.
 */
#ifndef BROKER_FOLLOWER_FOLLOWER_H
#define BROKER_FOLLOWER_FOLLOWER_H

#include "broker/election/synced_register.h"
#include "broker/topic/topics.h"
#include "net/link.h"
#include "net/tls.h"

struct follower;

struct follower_options {
    struct loop *loop;               /* outlives us, as do the others */
    struct role *role;
    struct topics *topics;
    const struct tls_context *tls;   /* NULL: there is no secret */
    const char *http;                /* our own address, for the leader to tell */
};

/* A leader, as the register and its lock name it. */
struct leader_address {
    struct member member;
    char http[NODE_ADDRESS_MAX + 1], replication[NODE_ADDRESS_MAX + 1];
    uint64_t epoch;
};

struct follower *follower_new(const struct follower_options *o);
void follower_free(struct follower *f);

/* Whom to follow from now on; NULL: nobody. The same one again changes nothing. */
void follower_follow(struct follower *f, const struct leader_address *leader);
const struct leader_address *follower_leader(const struct follower *f);   /* or NULL */

/* For topic_hooks. */
void follower_moved(struct follower *f, struct topic *t);
void follower_opened(struct follower *f, struct topic *t);
void follower_dropped(struct follower *f, struct topic *t);

/* Step 1: frames that have come. Step 4: acknowledgements and questions. */
void follower_receive(struct follower *f);
void follower_send(struct follower *f);

/* From a timer: deadlines, connecting again. True when the next look should come soon. */
bool follower_tick(struct follower *f);

/* A sealed file has been read and is sound: the leader is asked whether its own is the same. */
void follower_audited(struct follower *f, struct topic *t, const struct file_info *file);

int64_t follower_staleness_ms(const struct follower *f);   /* since a leader was last heard; negative: never */

/* A number that changes whenever the connection comes, goes, or is refused. */
unsigned follower_connection(const struct follower *f);

/* A number that grows when nothing that was asked of the leader until then need be waited for: this node follows
 * another one or nobody from then on, or the leader has been silent for too long. */
unsigned follower_leader_losses(const struct follower *f);

struct follower_info {
    bool connected;                  /* has promised this leader its epoch, and hears it */
    bool refused;                    /* nobody listened at its address when last tried */
    double staleness;                /* seconds since it was last heard; negative: never */
    uint64_t received_bytes, diverged_messages, refetched_files;
    unsigned unplaced;               /* topics that are not being sent yet */
};
void follower_info(const struct follower *f, struct follower_info *out);

#endif
