/*
 * What a publish is answered with: the receipt, as JSON.
 */
#ifndef SCRIPT_TOPIC_RECEIPT_H
#define SCRIPT_TOPIC_RECEIPT_H

#include <lua.h>

#include "broker/topic/topic.h"
#include "script/vm/raise.h"

struct receipt {
    uint64_t first, count, epoch;
    bool duplicate;                   /* of a request that was sent before, */
    bool unplaced;                    /* of which first, count and epoch are not known any more */
    bool peers;                       /* the append waited for the peers, whatever the topic acknowledges at */
    slice data;                       /* the message, in UTF-8: the receipt is that of /api; p == NULL: of /v1 */
};
MAY_RAISE int push_receipt(lua_State *L, struct topic *t, const struct receipt *r);

/* Pushes the same in general, or for messages up to `next`: durability, the name of the mark, the number of copies. */
MAY_RAISE int push_acknowledgement(lua_State *L, struct topic *t, uint64_t next, bool peers);

#endif
