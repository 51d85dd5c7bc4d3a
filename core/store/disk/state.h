/*
 * data/state: the identity of this node and what it has promised, as lines of key=value and a last line with their
 * checksum.
 *
 * The file is small and replaced as a whole: the new one is written to state.new and fsynced, the two names are
 * exchanged, the directory is fsynced. After a crash the file is either the old one or the new one. The old one stays
 * as state.new, and the next save overwrites it, so that a full disk never keeps a node from starting. Lines with
 * unknown keys are kept and written back, so that an older Lignum loses nothing.
 */
#ifndef STORE_DISK_STATE_H
#define STORE_DISK_STATE_H

#include "base/id.h"
#include "base/limits.h"

enum { STATE_VERSION = 1 };

/* A range of epochs, .last included. */
struct led {
    uint64_t first, last;
};

struct state {
    char name[NODE_NAME_MAX + 1];
    struct id cluster;       /* minted with the directory */
    struct id incarnation;   /* minted with it, and again when the state was lost */
    uint64_t epoch;          /* the highest one that this node promised or led */
    struct id leader;        /* the incarnation that leads that epoch; zero: not known */
    uint64_t seen_epoch;     /* of the newest synced register that is known, */
    uint64_t seen_version;   /* its version, */
    struct id seen_leader;   /* and the incarnation of its leader; zero: not known */
    uint64_t unclean;        /* the highest unclean epoch that was dealt with: everything stored before it is committed
                                in its history too, and need not be truncated for it again */
    struct led led[LED_RANGES_MAX];   /* epochs that this node led, rising */
    unsigned led_count;
    char boot[40];           /* /proc/sys/kernel/random/boot_id of the last run */
    bool clean;              /* the last run ended by store_close */
    bool weak;               /* something was acknowledged before it was on disk, since everything last was */
    bool counts;             /* a member of the synced set, as far as this node knows */
    bool amnesiac;           /* weak when the machine went down: may have lost what it acknowledged */
    struct buf unknown;      /* lines with keys that this version does not know */
};

/* Reads dir/state. 0; -ENOENT; -ERR_FORMAT for another version; -ERR_DAMAGED; -errno. */
int state_load(const char *dir, struct state *out);

/* Replaces dir/state, and fsyncs. 0 or -errno. */
int state_save(const char *dir, const struct state *s);

/* Adds an epoch that this node is about to lead; the state is to be saved first. Epochs are added in rising order. */
void state_led_add(struct state *s, uint64_t epoch);

/* Whether this node led the epoch. */
bool state_led(const struct state *s, uint64_t epoch);

#endif
