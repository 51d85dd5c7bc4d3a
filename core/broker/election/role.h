/*
 * Whether this node is alone, follows or leads, in which epoch, and what may be written to the register.
 *
 * This is the state machine of doc/architecture.md, "Leadership", and nothing else: it knows no sockets and no topics.
 * Scripts carry values between it and Consul; it alone makes them, so no edit of a script can make two leaders of one
 * epoch. The rules marked [m] are those of the checked model (tests/model/lignum.pml).
 *
 *   alone     no Consul is configured: it leads from the start, its epoch counted in data/state
 *   follower  promised an epoch to a leader (which may be gone), or to nobody yet
 *   leader    its claim of the register was confirmed in this process [m]
 *
 * An epoch is on disk before it is used or promised [m], so calls that take one wait for the disk (about a
 * millisecond).
 */
#ifndef BROKER_ELECTION_ROLE_H
#define BROKER_ELECTION_ROLE_H

#include "broker/election/synced_register.h"
#include "store/log/store.h"

enum role_kind { ROLE_ALONE, ROLE_FOLLOWER, ROLE_LEADER };

/*
 * The synced set of a leader. It changes one step at a time [m]:
 *
 *   idle        `confirmed` counts                        role_propose -> proposing
 *   proposing   both sets count, from before the request  role_see of exactly `proposed` -> idle; role_resign -> idle
 *               is sent until Consul has confirmed it [m]
 */
struct synced_set {
    struct synced_register confirmed;
    struct synced_register proposed;   /* while proposing */
    bool proposing;
};

struct role {
    enum role_kind kind;
    uint64_t epoch;                /* led, or promised */
    struct member self;
    struct store *store;           /* outlives us */
    struct synced_set synced;          /* of a leader */
    bool claiming;                 /* `claim` was given out and is not yet confirmed */
    struct synced_register claim;
    bool has_seen;
    struct synced_register seen;    /* the register as it was last seen, whosever it is */
    uint64_t seen_index;           /* its ModifyIndex in Consul */
    bool regressed;                /* it does not go on from what is known: Consul was rolled back */
    struct synced_register flagged;  /* the same register, saying so */
    bool foreign;                  /* it is another cluster's */
    uint64_t news_ns;              /* when the newest was learned of it, here or from a leader */
    uint64_t lease_ns;             /* how long a confirmation lasts */
    uint64_t claimed_ns;           /* when `claim` was given out */
    uint64_t confirmed_ns;         /* when Consul was asked that last confirmed the claim */
    uint64_t expired_ns;           /* what was asked before confirms nothing */
};

/* Takes a new epoch. Waits for the disk. 0 or -errno. */
int role_init_alone(struct role *r, struct store *s);

/* Has Consul decide: a follower of nobody. */
void role_init_follower(struct role *r, struct store *s);

/* "alone", "follower", "leader" */
const char *role_name(const struct role *r);

static inline bool role_leads(const struct role *r)
{
    return r->kind != ROLE_FOLLOWER;
}

/* May a leader acknowledge now? Not when its claim was last confirmed longer ago than the lease. */
bool role_lease_valid(const struct role *r, uint64_t now_ns);

/* It does not know any more that it leads, until it has asked again: an answer may have waited here for long. */
void role_expire_lease(struct role *r);

/* What this node can do depends on what it holds. */
struct holdings {
    bool empty;                    /* no message: it may take another cluster's id */
    bool damaged;
    bool unopened;                 /* a topic's directory cannot be opened: others may hold messages of it */
    unsigned copies_min;           /* the smallest `copies` of any live topic of clients; at least 1 */
};

enum verdict { VERDICT_EMPTY, VERDICT_OURS, VERDICT_OTHER, VERDICT_FOREIGN, VERDICT_REGRESSED };

/* Tells what the register held (v NULL: nothing) at that index some time after asked_ns, when Consul was asked. Steps
 * down (kind becomes ROLE_FOLLOWER) where that says that this node does not lead any more. Waits for the disk when it
 * is news. */
enum verdict role_see(struct role *r, const struct synced_register *v, uint64_t index, const struct holdings *h,
                      uint64_t asked_ns);

/* Has something newer been learned since that was asked? Then it is not for role_see. */
bool role_read_is_stale(const struct role *r, const struct synced_register *v, uint64_t asked_ns);

enum claim_kind { CLAIM_CLEAN, CLAIM_UNCLEAN };

/* The value with which this node would claim what was last seen: epoch + 1, itself as leader, and the members, but for
 * the leader before, whose lock is gone (unless that leaves fewer than copies_min). It is to be written by cas at
 * seen_index (0: nothing was there).
 * CLAIM_UNCLEAN: whatever the register holds, and without membership. The cluster id is this node's, the set is this
 * node alone, and what others hold beyond its history is lost to the cluster (they keep it in diverged/).
 * 0; -ERR_NOT_ELIGIBLE with a sentence in *why. */
int role_claim(struct role *r, enum claim_kind kind, const struct holdings *h, struct synced_register *out,
               const char **why);

/* Could it claim? Else why not. */
bool role_eligible(const struct role *r, const struct holdings *h, const char **why);

/* Consul has confirmed the claim: leads from now on. Waits for the disk. 0; -ERR_CONFLICT: this is not what was
 * claimed. */
int role_lead(struct role *r, const struct synced_register *v, uint64_t index);

/* Stops leading; the epoch is over for this process [m]. */
void role_resign(struct role *r);

/* The node has taken another cluster's id: no epoch of that one has been seen or promised. Waits for the disk. */
void role_reset_epochs(struct role *r);

/* Promises the epoch of a leader, which leads it by that register. On disk before it returns 0 [m]; -ERR_OLD_EPOCH: a
 * higher one, or an equal one to somebody else, is promised, or a register is known that this one does not go on from
 * [m]. */
int role_promise(struct role *r, const struct register_stamp *by);

/* The newest register that this node knows of: seen, told, or promised by. */
struct register_stamp role_known(const struct role *r);

/* Another node knows of this register: what does not go on from it is the past, whatever Consul says. Waits for the
 * disk when that is news. */
void role_learn(struct role *r, const struct register_stamp *known);

/* Is the register that was last seen older than what another node has told of since? It may just not have been read. */
bool role_behind(const struct role *r);

/* What is to be written to the register by cas at seen_index; NULL: nothing. A leader's new set that is asked for; or
 * the register as it was seen, when Consul was rolled back, marked with what this node knows of: then every node that
 * reads it knows, and nobody leads or claims by it [m]. */
const struct synced_register *role_pending_write(struct role *r);

/* Asks for a new synced set. Not while one is asked for, and never without the leader [m]. */
void role_propose(struct role *r, const struct members *set);

/* Do these copies count? Those of both sets while a change is asked for [m]. */
bool role_counts(const struct role *r, const struct member *m);

/* The size of the smaller of the sets that count. */
unsigned role_copies(const struct role *r);

#endif
