/*
 * Reading the messages that claims take.
 */
#ifndef BROKER_GROUP_GROUPS_READER_H
#define BROKER_GROUP_GROUPS_READER_H

#include "broker/group/groups_struct.h"

/* Messages of the topic, read in runs. It is kept for the next claim, which mostly goes on where the last one ended:
 * a batch is read, and its checksum computed, once and not for each message. */
struct reader {
    struct topic *topic;
    unsigned cuts;                   /* of the topic, when `raw` was read */
    size_t counted;                  /* bytes of `raw` in groups.cached */
    bool used;                       /* since the last look */
    struct buf raw;
    slice rest, messages;            /* batches not yet entered; messages of the present one */
    struct batch_head head;
    uint64_t next;                   /* of the next message in `messages` */
    uint64_t end;                    /* of what was read */
};

/* The reader of a group's topic, made where there is none. */
struct reader *reader_of(struct held_group *g, struct topic *t);

/* The message at `offset`; what follows it, up to `to`, may be read with it. 0 or an error of topic_read. */
int reader_message(struct reader *r, uint64_t offset, uint64_t to, size_t bytes, struct message *m);

/* After a claim. Where readers hold too much together, or nothing is left in a large one, it is not kept. */
void reader_keep(struct groups *gs, struct held_group *g);

/* Frees what was not used since the last call. */
void readers_trim(struct groups *gs);

/* Frees the batches that are kept for the next claim. */
void reader_free(struct groups *gs, struct held_group *g);

#endif
