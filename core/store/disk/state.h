/*
 * data/state: who this node is, in lines of key=value closed by a checksum line.
 *
 * It is small and replaced as a whole (temporary file, fsync, exchange of the names, fsync of the directory), so it is
 * either the old one or the new one. The old one stays as state.new, the room in which the next is written: a full disk
 * keeps no node from starting. An unknown key is kept and written back: an older Lignum loses nothing.
 */
#ifndef STORE_DISK_STATE_H
#define STORE_DISK_STATE_H

#include "base/id.h"
#include "base/limits.h"

enum { STATE_VERSION = 1 };

/* Epochs from .first to .last. */
struct led {
    uint64_t first, last;
};

struct state {
    char name[NODE_NAME_MAX + 1];
    struct id cluster;       /* minted with the directory */
    struct id incarnation;   /* minted with it, and again when the state was lost */
    uint64_t epoch;          /* highest promised or led */
    struct id leader;        /* the incarnation to which it was promised, or that led it; zero: not known */
    uint64_t seen_epoch;     /* of the newest register that is known of, */
    uint64_t seen_version;   /* its version, */
    struct id seen_leader;   /* and the incarnation of its leader; zero: not known */
    uint64_t unclean;        /* the highest unclean epoch that is done with: all that was here from before it is
                                committed in its history, too, so it is no reason to cut any more */
    struct led led[LED_RANGES_MAX];   /* epochs that this node led, rising */
    unsigned led_count;
    char boot[40];           /* /proc/sys/kernel/random/boot_id of the last run */
    bool clean;              /* that run ended by store_close */
    bool weak;               /* something was acknowledged before it was on the disk, since everything last was */
    bool counts;             /* in the synced set, when this node last heard */
    bool amnesiac;           /* weak when the machine went down: may have forgotten what it acknowledged */
    struct buf unknown;      /* lines of keys that this version does not know */
};

/* Reads dir/state. 0; -ENOENT; -ERR_FORMAT for another version; -ERR_DAMAGED; -errno. */
int state_load(const char *dir, struct state *out);
int state_save(const char *dir, const struct state *s);

/* This node leads the epoch from now on: to be saved before it does. Epochs are added in rising order. */
void state_led_add(struct state *s, uint64_t epoch);
bool state_led(const struct state *s, uint64_t epoch);

#endif
