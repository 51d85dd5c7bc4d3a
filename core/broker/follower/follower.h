/*
 * The following side of replication: the connection to the leader, the promise of its epoch, where the histories part,
 * and what arrives.
 *
 *   follower.c     the connection's life, the turn, acknowledgements
 *   handshake.c    HELLO, WELCOME, and the promise
 *   reconcile.c    where the histories part, and cutting what is beyond
 *   stream.c       what the leader sends
 *   barrier.c      how far the leader is, for readers that must not read what is out of date
 *   call.c         what this node's scripts ask the leader to do
 *   refetch.c      repairing damage, and replicating again
 *   upstream.h     the state that they share
 *
 * What arrives is checked, stored byte for byte, and acknowledged when it is on this node's disk.
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

struct follower *follower_new(const struct follower_options *o);
void follower_free(struct follower *f);

/* The leader to follow from now on; NULL: none. The same one again changes nothing. */
void follower_follow(struct follower *f, const struct leader_address *leader);
const struct leader_address *follower_leader(const struct follower *f);   /* or NULL */

/* Where the leader that is followed serves clients, by its own word on the connection that the secret protects; "": it
 * has not said it yet. Requests with clients' credentials go to no other address: Consul's keys prove nothing. Without
 * a secret nothing is proved anyway, and until the leader has said it the address is Consul's. */
const char *follower_leader_http(const struct follower *f);

/* For topic_hooks. */
void follower_moved(struct follower *f, struct topic *t);
void follower_opened(struct follower *f, struct topic *t);
void follower_dropped(struct follower *f, struct topic *t);

/* Step 1 of the turn: frames that have arrived. Step 4: acknowledgements and questions. */
void follower_receive(struct follower *f);
void follower_send(struct follower *f);

/* Called by a timer: deadlines, pings, connecting again. True when the next tick should come soon. */
bool follower_tick(struct follower *f);

/* An audit has found a sealed file to be sound: asks the leader whether its own is the same. */
void follower_audited(struct follower *f, struct topic *t, const struct file_info *file);

/* Tells the leader when topics with `expire` were used here, those whose look is due; a step at a time. */
void follower_tell_uses(struct follower *f, uint64_t now_ns);

uint64_t follower_heard_ns(const struct follower *f);   /* when a leader was last heard; 0: never */

/* A number that changes whenever the connection comes, goes, or is refused, or the leader falls silent. */
unsigned follower_connection(const struct follower *f);

/* How often this node has lost its leader: it follows another one or none, or the leader was silent for too long. A
 * request that was sent to the leader before need not be waited for. */
unsigned follower_leader_losses(const struct follower *f);

struct follower_info {
    bool connected;                  /* has promised this leader its epoch, and hears it */
    bool refused;                    /* nobody listened at its address when it was last dialled */
    bool silent;                     /* nothing was heard of it for SILENT_MS, or that it is suspended */
    const char *why;                 /* the last connection to it failed; NULL: none has */
    uint64_t received_bytes, diverged_messages, refetched_files;
    size_t unplaced;                 /* topics that are not being sent yet */
};
void follower_info(const struct follower *f, struct follower_info *out);

#endif
