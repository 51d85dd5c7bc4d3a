/*
 * Who has sent batches to a topic: of each producer its epoch, its last sequence and where its last requests are in the
 * log; and the idempotency keys and dead letters of late. All of it follows from the log: nodes that have noted the
 * origins of the same batches, in order, know the same. store/log/origins.h keeps it in step with a journal.
 *
 * A sender is
 *
 *   unknown    no batch of it was noted; or it is forgotten: since its last batch more time has passed than the bound
 *              of its kind allows, by the times of batches, or as many others of its kind have sent as are remembered.
 *   known      by senders_note. Of a producer: epoch, last, and the offsets of the batches last - known + 1 ... last,
 *              where known <= SENDER_KNOWN. A key or a letter is a producer that has sent one request.
 *
 * The rule for the next request of a producer, senders_ask: a new producer, or a new epoch of a known one, begins at
 * sequence 0; after `last` comes last + 1. All else is a duplicate, a gap, or from an epoch that is over.
 */
#ifndef STORE_SENDERS_SENDERS_H
#define STORE_SENDERS_SENDERS_H

#include "store/format/origin.h"

enum { SENDER_KNOWN = 16 };

struct senders;

/* What is remembered of one kind: the `most` that sent last, each for age_ms after it last sent. */
struct senders_bound {
    uint64_t most;
    int64_t age_ms;
};

struct senders_bounds {
    struct senders_bound producers, keys, letters;   /* letters: by the times of batches alone, not by the clock */
};

struct senders *senders_new(void);
void senders_free(struct senders *s);

/* A batch of that origin begins at `first`; what came before it has been noted. */
void senders_note(struct senders *s, const struct senders_bounds *bounds, const struct batch_head *head,
                  const struct origin *o);

enum sent_is {
    SENT_NEW,              /* append it */
    SENT_BEFORE,           /* it is in the log: at `first`, if has_first; else before it */
    SENT_GAP,              /* `number` is the sequence that comes next */
    SENT_FENCED,           /* `number` is the epoch that has followed */
};

struct sent {
    enum sent_is is;
    bool has_first;
    uint64_t first;
    uint64_t number;
};

/* What a request with this origin is to the topic now. */
struct sent senders_ask(struct senders *s, const struct senders_bounds *bounds, const struct origin *o,
                        int64_t now_ms);

/* Sets epoch and sequence of *o to the last ones of its sender. False: it is unknown. */
bool senders_last(const struct senders *s, const struct senders_bounds *bounds, struct origin *o, int64_t now_ms);

size_t senders_count(const struct senders *s);

/* -- snapshots -- */

/* What a snapshot is of: all batches of the topic below `offset`, of which the last one is of that epoch. An epoch has
 * one history, so it fits every log in which the batch before `offset` is of that epoch. Of a log that begins at
 * `offset`, it is what the batches said that are not in it any more. */
struct senders_place {
    struct topic_id topic;
    uint64_t offset, epoch;
};

/* The bytes that a snapshot takes at most. */
size_t senders_size(const struct senders *s);

/* Appends a snapshot, in the byte order of the machine, of what the log said when it ended at that offset. False: there
 * is no sender in it. */
bool senders_save(const struct senders *s, const struct senders_place *at, struct buf *out);

/* 0; -ERR_DAMAGED: not a whole snapshot of that topic and offset. */
int senders_load(slice bytes, const struct senders_place *of, uint64_t *epoch, struct senders **out);

#endif
