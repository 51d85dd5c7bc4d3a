/*
 * A follower repairs what is damaged on its disk, and replaces what is sound but not the leader's.
 *
 * A damaged sealed file is fetched whole from the leader, in pieces (WANT, FILE), checked, and put in the place of
 * ours:
 *
 *   idle       `refetch.topic` is NULL. refetch_continue looks for damage at refetch.at_ns -> fetching
 *   fetching   pieces are added to `repair` -> ending. An error, the end of the connection, or a leader that does not
 *              answer for AGAIN_NS -> idle, and another try later
 *   ending     `refetch.ending`: all pieces are there. The disk thread checks the file and puts it in place -> idle
 *
 * A sealed file that is sound, and another one at the leader (DIFFERS), is refused to readers from then on and fetched
 * in the same way. Nothing is given up meanwhile: the node keeps its file, counts, and has a whole history at each
 * moment.
 *
 * Where a file cannot be fetched, because it is still being written or the files' boundaries differ, the topic is
 * replicated again from the beginning of that file (refetch_by_replicating): this node becomes amnesiac on its disk, so
 * its copies count nowhere; it connects again; what it has from there on is moved to diverged/ and cut (refetch_cut);
 * and it counts again when a leader says that it has caught up.
 */
#ifndef BROKER_FOLLOWER_REFETCH_H
#define BROKER_FOLLOWER_REFETCH_H

#include "broker/follower/upstream.h"

/* Looks for damage when it is time, and begins to fetch. */
void refetch_continue(struct follower *f);

/* Ends a fetch that is under way. */
void refetch_cancel(struct follower *f);

/* Damage has been found in this topic: look soon. */
void refetch_soon(struct follower *f, const struct topic *t);

/* Frames of the leader: a piece of a file, and that a file that we hold to be sound is another there. */
void refetch_file(struct follower *f, struct wire *w);
void refetch_differs(struct follower *f, struct wire *w);

/* The topic has to be replicated again from `first` on. Fails the connection. May wait for the disk. */
void refetch_by_replicating(struct follower *f, struct topic *t, uint64_t first);

/* Of a topic that has to be replicated again: cuts what is here. 0; -ERR_BUSY: ask again soon; another error: it cannot
 * be cut yet. May wait for the disk. */
int refetch_cut(struct follower *f, struct topic *t);

#endif
