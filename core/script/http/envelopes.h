/*
 * Reading a request's body of JSON (message/json_body.h) in a task, which others interrupt: slices of a few
 * milliseconds, between which the loop turns.
 */
#ifndef SCRIPT_HTTP_ENVELOPES_H
#define SCRIPT_HTTP_ENVELOPES_H

#include "script/message/encode.h"

/* Called with the draft, which lives until it returns or waits; rc: 0, or -ERR... and the draft says why. */
typedef int envelopes_done(lua_State *L, struct draft *d, int rc);

/* Reads the body of the request at index 1 and goes on with `done`: call as `return envelopes_decode(...)`. Raises
 * where the request has been answered meanwhile. */
MAY_RAISE int envelopes_decode(lua_State *L, envelopes_done *done, const char *usage);

#endif
