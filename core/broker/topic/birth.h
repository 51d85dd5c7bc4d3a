/*
 * What a topic is created with and keeps as long as it exists, besides its settings: labels, and a source.
 *
 * Labels are names and values that whoever creates the topic chooses (at most LABELS_SIZE_MAX bytes). The broker only
 * keeps them.
 *
 * The source is another topic, whose messages scripts read as the beginning of this one: a fork of it. A topic that is
 * deleted while it is a source is not removed; it becomes `gone`: nothing is appended to it, and its messages can be
 * read. It is removed with the last topic that has it as its source.
 *
 * Both are headers of the create record in _topics: "source" EPOCH:OFFSET, the id of the source; "label.NAME" VALUE.
 */
#ifndef BROKER_TOPIC_BIRTH_H
#define BROKER_TOPIC_BIRTH_H

#include "broker/topic/topic.h"

struct topic_birth {
    slice labels;                    /* names and values, as headers of a message (header_read) */
    struct topic_id source;          /* 0:0, the id of _topics: none */
};

static inline bool topic_id_eq(struct topic_id a, struct topic_id b)
{
    return a.epoch == b.epoch && a.offset == b.offset;
}

/* What a topic keeps of it. */
struct kept_birth {
    struct buf labels;               /* owned; as above */
    struct topic_id source;
};

static inline struct topic_birth topic_birth(const struct topic *t)
{
    const struct kept_birth *b = t->birth;
    return b == NULL ? (struct topic_birth){0} : (struct topic_birth){buf_slice(&b->labels), b->source};
}

static inline bool topic_has_source(const struct topic *t)
{
    return t->birth != NULL && !topic_id_eq(t->birth->source, (struct topic_id){0, 0});
}

/* Is this header of a create record one of these, and no setting? */
bool birth_has(slice name);

/* EPOCH:OFFSET. False: the text is no id. */
bool topic_id_read(slice text, struct topic_id *out);

/* Appends the headers. */
void birth_write(struct buf *headers, const struct topic_birth *b);

/* Takes them from a create record; t has none yet. */
void birth_read(struct topic *t, const struct message *m);
void birth_free(struct topic *t);

#endif
