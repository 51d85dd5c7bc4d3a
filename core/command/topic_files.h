/*
 * Reading a data directory that no broker uses, for lignum verify and lignum dump: all files of one topic, from the
 * first offset to the last, by the same scan as recovery.
 */
#ifndef COMMAND_TOPIC_FILES_H
#define COMMAND_TOPIC_FILES_H

#include "base/buf.h"
#include "store/disk/state.h"
#include "store/format/ends.h"

/* A data directory that is read: locked shared, so that a running broker is refused and other readers are not. */
struct data_dir {
    const char *path;
    int root_fd, lock_fd;              /* owned */
    struct ends *ends;                 /* owned; NULL: there is no such file */
    struct state state;                /* if it cannot be read: one of a node that led every epoch */
};

/* aside: only what has been set aside in it is read, which no broker writes to, so it is not locked. 0, or an
 * error after a sentence; data_dir_close follows in both cases. */
int data_dir_open(struct data_dir *d, const char *path, bool aside);
void data_dir_close(struct data_dir *d);

/* Offsets [from, to) of a file that cannot be read. */
struct flaw {
    uint64_t file, from, to;
    bool at_end;                       /* of a file that was being written, or nothing valid follows */
    const char *what;
};

struct topic_files {
    const struct data_dir *dir;
    const char *folder, *name;         /* folder: topics or diverged */
    void (*on_batch)(void *arg, const struct batch_head *head, const char *bytes);   /* each valid batch; may be NULL */
    void *arg;

    /* what was read */
    size_t count;                      /* of the files */
    struct topic_id id;                /* in the header of the last one */
    uint64_t messages, bytes;
    uint64_t origins;                  /* batches that have one */
    uint64_t next;                     /* the offset after the last message */
    uint64_t disk;                     /* every offset below it was acknowledged as durable */
    uint32_t crc;                      /* over the checksums of all batches: equal for equal copies of a topic */
    struct flaw *flaws;                /* owned */
    size_t flaw_count;
};

/* 0, or -errno: -ENOENT when there is no such topic. Flaws are no error. topic_files_fini follows in both cases. */
int topic_files_read(struct topic_files *t);
void topic_files_fini(struct topic_files *t);

/* True for bytes that a crash left behind and that were never acknowledged as durable: the next start cuts them off. */
bool flaw_is_torn_tail(const struct topic_files *t, const struct flaw *f);

#endif
