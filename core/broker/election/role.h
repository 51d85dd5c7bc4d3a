/*
 * The role of this node: whether it is alone, follows or leads, in which epoch, and what may be written to the synced
 * register.
 *
 * This is the state machine of doc/architecture.md, "Roles", and nothing else: it knows no sockets and no topics.
 * Scripts carry values between it and Consul, but only it makes them, so no edit of a script can make two leaders of
 * one epoch. The rules marked [m] are those of the checked model (tests/model/lignum.pml).
 *
 *   ROLE_ALONE      no Consul is configured. It leads from the start and until the end, its epoch counted in data/state
 *   ROLE_FOLLOWER   it has promised an epoch to a leader, which may be gone, or to none yet
 *                     role_claim                 a claim is under way (`claiming`); the kind stays
 *                     role_lead                  Consul has confirmed that claim        -> ROLE_LEADER
 *   ROLE_LEADER     its claim of the register was confirmed in this process [m]
 *                     role_see                   the register is gone, foreign, older than what is known, or written by
 *                                                another node                           -> ROLE_FOLLOWER
 *                     role_promise               of a higher epoch                      -> ROLE_FOLLOWER
 *                     role_resign                                                       -> ROLE_FOLLOWER
 *
 * An epoch is on the disk before it is led or promised [m], so calls that take one wait for the disk (about a
 * millisecond). The epoch never falls, except by role_reset_epochs.
 */
#ifndef BROKER_ELECTION_ROLE_H
#define BROKER_ELECTION_ROLE_H

#include "broker/election/synced_register.h"
#include "store/log/store.h"

enum role_kind { ROLE_ALONE, ROLE_FOLLOWER, ROLE_LEADER };

/*
 * The synced set of a leader. It changes one step at a time [m]:
 *
 *   idle        `confirmed` counts                              role_propose -> proposing
 *   proposing   both sets count, from before the request is     role_see of exactly `proposed` -> idle
 *               sent until Consul has confirmed it [m]          role_resign -> idle
 */
struct synced_set {
    struct synced_register confirmed;
    struct synced_register proposed;   /* while proposing */
    bool proposing;
};

/*
 * Consul's register was put back to an older state when what was last seen there does not go on from what is known
 * (stamp_follows). Then `regressed` is set, and this node neither leads nor claims. It writes the same register back
 * with a flag, `lost`, which names the newest register that it knows of: a node that reads the flag knows as much.
 *
 * What a node knows comes from Consul alone. A leader whose follower speaks of a newer register is `behind` until it
 * has asked Consul: if that register exists, or a flag, Consul says so, and otherwise the follower is not believed.
 */
struct role {
    enum role_kind kind;
    uint64_t epoch;                    /* led, or promised */
    struct member self;
    struct store *store;               /* outlives us */
    struct synced_set synced;          /* of a leader */
    bool claiming;                     /* `claim` was given out and is not yet confirmed */
    struct synced_register claim;
    bool has_seen;
    struct synced_register seen;       /* the register as it was last seen, whichever node wrote it */
    uint64_t seen_index;               /* its ModifyIndex in Consul */
    bool regressed;                    /* `seen` does not go on from what is known */
    struct synced_register flagged;    /* `seen`, with the flag */
    bool foreign;                      /* `seen` is another cluster's */
    bool out_of_range;                 /* what Consul says has numbers that no cluster reaches; it is not in `seen` */
    bool behind;                       /* another node spoke of a newer register, and Consul is to be asked */
    uint64_t told_ns;                  /* when `behind` was last set */
    uint64_t news_ns;                  /* when the newest register was learned of */
    uint64_t lease_ns;                 /* how long a confirmation is valid */
    uint64_t claimed_ns;               /* when `claim` was given out */
    uint64_t confirmed_ns;             /* when the request began by which Consul last confirmed the claim */
    uint64_t expired_ns;               /* requests that began before this confirm nothing */
};

/* Takes a new epoch. Waits for the disk. 0 or -errno. */
int role_init_alone(struct role *r, struct store *s);

/* Consul decides from now on; until then it follows no leader. */
void role_init_follower(struct role *r, struct store *s);

/* "alone", "follower", "leader" */
const char *role_name(const struct role *r);

static inline bool role_leads(const struct role *r)
{
    return r->kind != ROLE_FOLLOWER;
}

/* May a leader acknowledge now? Not if its claim was last confirmed longer ago than the lease. */
bool role_lease_valid(const struct role *r, uint64_t now_ns);

/* Ends the lease until Consul confirms the claim again, by a request that begins after this: an answer to an earlier
 * one may have waited in this process while another node took over. */
void role_expire_lease(struct role *r);

/* What this node holds, which decides what it may do. */
struct holdings {
    bool empty;                        /* no message: it may take another cluster's id */
    bool damaged;
    bool lacks_topics;                 /* it does not know yet which topics there are (broker/topic/topic_log.h) */
    bool unopened;                     /* a topic's directory cannot be opened: other nodes may hold messages of it */
    unsigned copies_min, copies_max;   /* the smallest and largest `copies` of a live topic of clients; at least 1 */
};

enum verdict { VERDICT_EMPTY, VERDICT_OURS, VERDICT_OTHER, VERDICT_FOREIGN, VERDICT_REGRESSED, VERDICT_OUT_OF_RANGE };

/* The register held v (NULL: nothing) at that index, at some time after asked_ns, when the request began. Steps down if
 * that means that this node does not lead any more. Waits for the disk when the register is newer than what is
 * known. */
enum verdict role_see(struct role *r, const struct synced_register *v, uint64_t index, const struct holdings *h,
                      uint64_t asked_ns);

/* Has something newer been learned since that request began? Then its answer must not be given to role_see. */
bool role_read_is_stale(const struct role *r, const struct synced_register *v, uint64_t asked_ns);

enum claim_kind { CLAIM_CLEAN, CLAIM_UNCLEAN };

/* The register with which this node would claim what was last seen: epoch + 1, itself as leader, and the members
 * without the leader before, whose lock is gone (unless that leaves fewer than copies_min). It is to be written by
 * compare-and-set at seen_index (0: nothing was there). CLAIM_UNCLEAN: whatever the register holds, and without
 * membership. The cluster id is this node's, the set is this node alone, and what other nodes hold beyond its history
 * is lost to the cluster (they keep it in diverged/). 0; -ERR_NOT_ELIGIBLE with a sentence in *why. */
int role_claim(struct role *r, enum claim_kind kind, const struct holdings *h, struct synced_register *out,
               const char **why);

/* Could it make a clean claim? If not, *why says why. */
bool role_eligible(const struct role *r, const struct holdings *h, const char **why);

/* Consul has confirmed the claim: this node leads from now on. Waits for the disk. 0; -ERR_CONFLICT: v is not what was
 * claimed, or a newer register is known. */
int role_lead(struct role *r, const struct synced_register *v, uint64_t index);

/* Stops leading; the epoch is over for this process [m]. */
void role_resign(struct role *r);

/* The node has taken another cluster's id: it has seen and promised no epoch of that one. Waits for the disk. */
void role_reset_epochs(struct role *r);

/* Promises the epoch of a leader, which leads it by that register. It is on the disk before this returns 0 [m].
 * -ERR_OLD_EPOCH: a higher epoch is promised, or an equal one to another leader, or this register does not go on from
 * the newest one that is known [m]. */
int role_promise(struct role *r, const struct register_stamp *by);

/* The newest register that this node knows of: seen, named by a flag, or promised by. */
struct register_stamp role_known(const struct role *r);

/* Another node speaks of a newer register than this node knows. Sets `behind`, at most once a second. */
void role_told(struct role *r);

/* What is to be written to the register by compare-and-set at seen_index; NULL: nothing. A leader's proposed set; or,
 * when Consul was rolled back, the register as it was seen, with the flag: then no node leads or claims by it [m]. */
const struct synced_register *role_pending_write(struct role *r);

/* Proposes a new synced set. Not while one is proposed, and never one without the leader [m]. */
void role_propose(struct role *r, const struct members *set);

/* Do these copies count? While a set is proposed, those of both sets do [m]. */
bool role_counts(const struct role *r, const struct member *m);

/* The size of the smaller of the sets that count. */
unsigned role_copies(const struct role *r);

#endif
