/*
 * Opening a small topic that is as it was when the store was last closed (format/ends.h).
 */
#ifndef STORE_RECOVERY_UNCHANGED_H
#define STORE_RECOVERY_UNCHANGED_H

#include "store/log/journal_struct.h"

/* Makes a journal without files what it was when the store was closed, without reading its file. False: that cannot be
 * told, and nothing is done. It can if inodes say truly when they last changed (the store was closed in order, or the
 * kernel that wrote them still runs) and neither the topic's directory nor its file has changed. */
bool journal_take_unchanged(struct journal *j);

/* What its entry says of the marks, where that is of this topic, as a checkpoint with position 0: a small file is read
 * whole. */
bool checkpoint_of_end(const struct journal *j, struct checkpoint *out);

#endif
