/*
 * The files of one journal, in order of their offsets. Each is a part; those in use have a segment.
 *
 * What holds between calls:
 *   - at[i].first rises with i.
 *   - `active` is the segment of the last part, or NULL: before the first append, and after damage at the end.
 *   - bytes_sealed is the sum of the sizes of all parts; the active one's is 0.
 *   - a part whose segment is NULL is sealed. One with a segment may lose it whenever a descriptor is needed: pointers
 *   to
 *     sealed segments are good until the next file is opened.
 */
#ifndef STORE_LOG_PARTS_H
#define STORE_LOG_PARTS_H

#include "store/log/segment.h"

struct part {
    uint64_t first;
    uint64_t size;                /* of the file, in bytes; 0 while it is active */
    struct segment *segment;      /* owned; NULL unless in use */
};

struct parts {
    struct topic_dir dir;
    struct part *at;              /* owned */
    uint32_t count, cap;
    struct segment *active;
    uint64_t bytes_sealed;
};

void parts_init(struct parts *p, struct disk *disk, struct index_cache *indexes, const char *name, struct topic_id id);
void parts_fini(struct parts *p);

/* Appends a part. The pointer is good until parts are added or removed. */
struct part *parts_add(struct parts *p, uint64_t first, uint64_t size, struct segment *seg);

/* Adds a sealed part, of size 0, between others or before them. */
struct part *parts_insert(struct parts *p, uint64_t first);

/* Removes a part and frees its segment. Its files stay. */
void parts_remove(struct parts *p, uint32_t index);
void parts_remove_all(struct parts *p);

/* The file has this size now; 0: it is the active one. */
void part_resize(struct parts *p, struct part *part, uint64_t size);

/* The last part with first <= offset, or NULL. */
struct part *part_of(const struct parts *p, uint64_t offset);

/* The sealed part that begins with this offset, or NULL. */
struct part *part_sealed(const struct parts *p, uint64_t first);

/* The descriptor of a segment was closed: frees the segment, unless it is still needed. (files.on_evict) */
void segment_evicted(struct file *f);

#endif
