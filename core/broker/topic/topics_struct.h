/*
 * The inside of the set of topics, for the files of this room that make it up. Others see topics.h.
 */
#ifndef BROKER_TOPIC_TOPICS_STRUCT_H
#define BROKER_TOPIC_TOPICS_STRUCT_H

#include "base/map.h"
#include "broker/topic/expiry.h"
#include "broker/topic/registry.h"
#include "broker/topic/topic_log.h"

struct topics {
    struct topic_shared shared;
    struct wall_clock clock;
    struct store *store;          /* outlives us */
    struct registry all;          /* with an open journal, once `opening` is over */
    struct registry unopened;     /* they exist, and their directory could not be made */
    struct topic_log log;
    size_t most;                  /* limits.topics */
    struct expiry expiry;
    struct map deleted;           /* while opening: topics whose directory should be gone */
    size_t trim_at;               /* the next topic of which topics_trim looks at the retention */
    bool trim_some;               /* one before has retention */
    bool opening, stopping, held;
};

/* A topic by its name, also one whose directory could not be made; or NULL. */
struct topic *topics_find_any(struct topics *ts, slice name);

#endif
