/*
 * The judgement of requests by access tokens (broker/access/access.h).
 *
 * A request shows a secret in Authorization, as `Bearer SECRET` or as Basic with the token's name as user. A browser's
 * EventSource cannot set headers, so an event stream may show it as ?access_token= instead.
 */
#ifndef SCRIPT_HTTP_JUDGE_H
#define SCRIPT_HTTP_JUDGE_H

#include <lua.h>

#include "broker/access/access.h"
#include "net/http.h"
#include "script/vm/raise.h"
#include "script/vm/services.h"

/* What a request shows. */
struct shown {
    const struct access_token *token;    /* NULL: none that is valid here */
    bool any;                            /* it shows credentials, of whatever kind */
    bool ours;                           /* they have the form of a token's secret */
};
void judge_shown(const struct services *s, const struct http_request *r, struct shown *out);

/* Whether this node has heard no leader for so long that it does not know which tokens have been revoked. */
bool judge_is_stale(const struct services *s);

/* For a head whose body has not arrived yet: refuses it where the node is guarded and it shows no valid token. `asks`:
 * authorize decides on what is no token of ours; it may look at the body. */
void judge_head(const struct services *s, const struct http_request *r, bool asks, struct http_refusal *out);

/* Pushes whether a request is judged, and whether clients have limits; returns 2. It is judged where a token is needed,
 * and where `access.open` lets everybody in, by the token that it may show. judge_asks: whether one of the two is. */
MAY_RAISE int judge_guards(lua_State *L, const struct http_request *r);
bool judge_asks(const struct services *s, const struct http_request *r);

#define ASK_FOR_BEARER "WWW-Authenticate: Bearer realm=\"lignum\"\r\n"

MAY_RAISE int l_access_judge(lua_State *L);
MAY_RAISE int l_access_sees(lua_State *L);
MAY_RAISE int l_access_admit(lua_State *L);
MAY_RAISE int l_access_owes(lua_State *L);
MAY_RAISE int l_access_log(lua_State *L);

#endif
