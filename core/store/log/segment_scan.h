/*
 * Reading a segment's file as a whole: to learn its bounds when it is opened, and to find what is damaged in it.
 */
#ifndef STORE_LOG_SEGMENT_SCAN_H
#define STORE_LOG_SEGMENT_SCAN_H

#include "store/log/damage.h"
#include "store/log/segment.h"

/* Opens a sealed file and learns its bounds from its two ends; by a scan if one of them is damaged. 0; -ERR_FORMAT or
 * -ERR_TOPIC_EXISTS when it is not this topic's; -errno. What was found is added to *found also after an error. */
int segment_load(struct topic_dir *dir, uint64_t first, struct damage *found, struct segment **out);

/* Checks every batch of the file, makes the index again from the sound ones, and adds the ranges that are lost to
 * *found. Bounds of a sealed file are corrected. 0 or -errno. */
int segment_scan(struct segment *seg, struct damage *found);

#endif
