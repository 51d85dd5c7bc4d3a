/*
 * The synced register: the one value in Consul that says which node leads which epoch, and whose copies count. It is
 * changed only by compare-and-set. A member of the cluster is "name:incarnation"; the incarnation is minted with the
 * data directory, so a wiped disk under an old name is another member.
 *
 * These are plain values; broker/election/role.h has the rules.
 */
#ifndef BROKER_ELECTION_SYNCED_REGISTER_H
#define BROKER_ELECTION_SYNCED_REGISTER_H

#include "base/id.h"
#include "base/limits.h"

enum { MEMBER_TEXT_MAX = NODE_NAME_MAX + 1 + ID_TEXT_SIZE };

struct member {
    char text[MEMBER_TEXT_MAX + 1];
};

struct members {
    struct member at[MEMBERS_MAX];
    unsigned count;
};

/* What is remembered of a register: enough to tell whether another one goes on from it. */
struct register_stamp {
    uint64_t epoch, version;
    struct id leader;             /* the incarnation of that epoch's leader; zero: not known */
};

struct synced_register {
    struct id cluster;
    uint64_t epoch, version;      /* version grows with each write: Consul lets a compare-and-set that writes the
                                     identical value succeed without moving its index */
    struct member leader;
    struct members set;           /* the synced set */
    uint64_t unclean;             /* the highest epoch that was claimed without membership; 0: none */
    struct register_stamp lost;   /* the flag: a newer register that Consul has lost, as a node knows. No node leads or
                                     claims by a register with it. Epoch 0: there is no flag */
};

/* A leader, as the register and its lock name it. */
struct leader_address {
    struct member member;
    char http[NODE_ADDRESS_MAX + 1], replication[NODE_ADDRESS_MAX + 1];
    uint64_t epoch;
};

struct member member_of(const char *name, const struct id *incarnation);

/* 0 or -ERR_BAD_VALUE. */
int member_parse(slice text, struct member *out);
slice member_name(const struct member *m);
struct id member_incarnation(const struct member *m);
bool member_eq(const struct member *a, const struct member *b);

bool members_have(const struct members *set, const struct member *m);
bool members_add(struct members *set, const struct member *m);       /* false: it was there, or there is no room */
bool members_remove(struct members *set, const struct member *m);    /* false: it was not there */
bool members_eq(const struct members *a, const struct members *b);   /* in any order */

bool synced_register_eq(const struct synced_register *a, const struct synced_register *b);

struct register_stamp synced_register_stamp(const struct synced_register *v);
bool stamp_eq(const struct register_stamp *a, const struct register_stamp *b);

/* Does `later` go on from `seen`: can it be the same register, or one that was written after it? Each write raises the
 * version, a claim raises the epoch as well, and an epoch has one leader. If not, Consul was put back to an older
 * state, and other registers may have been written since. */
bool stamp_follows(const struct register_stamp *later, const struct register_stamp *seen);

#endif
