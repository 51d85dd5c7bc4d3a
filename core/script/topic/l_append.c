/*
 * topic:append: encodes into the VM's scratch buffer, moves the tail, and waits for the mark.
 */
#include <lauxlib.h>

#include "base/err.h"
#include "base/json_read.h"
#include "script/bind/arg.h"
#include "script/bind/object.h"
#include "script/bind/result.h"
#include "script/http/request.h"
#include "script/message/request_body.h"
#include "script/topic/append.h"
#include "script/topic/tables.h"
#include "script/topic/topic_handle.h"
#include "script/vm/task.h"

#define USAGE "topic:append(payload | message | {messages...} | request [, {ack=, timeout=, request=, " \
              "expect=, once=, producer=, epoch=, sequence=}])"

#define BODY_USAGE "req:append(topic, form, epoch, offset, id)"

enum { PARSED_MAX = 16 * KIB };           /* a longer text takes too long for one go */

struct append_call {
    bool peers;
    uint32_t timeout_ms;
    slice expect, once, letter;           /* a token; an idempotency key; a letter's; p == NULL: none */
    slice producer;                       /* its id, with: */
    uint64_t epoch, sequence;
    const struct http_request *request;   /* whose headers of an append apply; NULL: none */
};

static void check_options(lua_State *L, int index, struct append_call *call)
{
    slice ack = {0};
    double timeout = ACK_MS / 1000.0;
    int request = 0;
    const struct arg_field fields[] = {
        {"ack", ARG_TEXT, &ack},
        {"timeout", ARG_SECONDS, &timeout},
        {"request", ARG_ANY, &request},
        {"expect", ARG_TEXT, &call->expect},
        {"once", ARG_TEXT, &call->once},
        {"producer", ARG_TEXT, &call->producer},
        {"epoch", ARG_WHOLE, &call->epoch},
        {"sequence", ARG_WHOLE, &call->sequence},
        {"letter", ARG_TEXT, &call->letter},         /* of scripts/lignum/letters.lua */
        {NULL, ARG_END, NULL}};
    arg_fields(L, index, fields, USAGE);
    if (ack.p != NULL && !slice_eq(ack, SLICE("peers")))
        arg_fail(L, USAGE, "ack must be \"peers\"");
    const slice *keys[] = {&call->once, &call->letter};
    for (size_t i = 0; i < 2; i++)
        if (keys[i]->p != NULL && (keys[i]->n == 0 || keys[i]->n > IDEMPOTENCY_KEY_MAX))
            arg_fail(L, USAGE, "once must have 1 to %d bytes", IDEMPOTENCY_KEY_MAX);
    if (call->producer.p != NULL && (call->producer.n == 0 || call->producer.n > PRODUCER_ID_MAX))
        arg_fail(L, USAGE, "producer must have 1 to %d bytes", PRODUCER_ID_MAX);
    if ((call->producer.p != NULL) + (call->once.p != NULL) + (call->letter.p != NULL) > 1)
        arg_fail(L, USAGE, "once and producer exclude each other");
    if (call->epoch > NUMBER_MAX || call->sequence > NUMBER_MAX)
        arg_fail(L, USAGE, "epoch and sequence must be at most %lld", (long long)NUMBER_MAX);
    call->peers = ack.p != NULL;
    call->timeout_ms = timeout > 0 ? seconds_to_ms(timeout) : 1;
    if (request != 0)
        call->request = request_check(L, request, USAGE);
}

/* What the options and headers say of the append. `r`: the argument at 2, when that is a request. */
static int take_conditions(struct draft *d, const struct append_call *call, const struct http_request *r)
{
    int rc = call->request == NULL ? 0 : draft_take_headers(d, call->request);
    if (rc == 0 && r != NULL)
        rc = draft_take_headers(d, r);
    if (rc == 0 && call->expect.p != NULL)
        rc = draft_expect(d, "expect", call->expect);
    bool letter = call->letter.p != NULL;
    if (rc == 0 && (letter || call->once.p != NULL)) {
        d->append.origin = (struct origin){.kind = letter ? ORIGIN_LETTER : ORIGIN_KEY,
                                           .name = letter ? call->letter : call->once};
        d->asks = true;
    }
    if (rc == 0 && call->producer.p != NULL) {
        d->append.origin = (struct origin){.kind = ORIGIN_PRODUCER, .name = call->producer, .epoch = call->epoch,
                                           .sequence = call->sequence};
        d->asks = true;
    }
    return rc;
}

/* topic:append(what [, options]) -> first, count, epoch [, more] | nil, message, code, more.  Waits for the
 * acknowledging mark. */
int l_topic_append(lua_State *L)
{
    struct topic_handle *h = handle_check(L, USAGE);
    struct append_call call = {0};
    struct draft d;
    struct topic *t;
    if (!lua_isnoneornil(L, 3))
        check_options(L, 3, &call);
    const struct http_request *r = lua_type(L, 2) == LUA_TUSERDATA ? request_check(L, 2, USAGE) : NULL;
    struct task *self = task_self(L);
    draft_init(&d, vm_of(L));
    int rc = take_conditions(&d, &call, r);
    int found = handle_find(L, h, &t);
    if (found == -ERR_UNKNOWN_TOPIC && rc == 0 && draft_expects_messages(&d))
        return push_expect_fail(L, NULL);
    if (found < 0)
        return handle_fail(L, h, found);
    if (topic_is_internal(t) && !h->internal)
        return push_fail_because(L, -ERR_FORBIDDEN, "%s is reserved for the broker", h->name);
    if (rc == 0)
        rc = r == NULL ? draft_encode(&d, L, 2, USAGE) : draft_encode_body(&d, r, body_of(r));
    struct append_options o = {t, &d, call.peers || d.ack_peers, call.timeout_ms, append_done, append_done_again};
    return append_and_wait(L, self, rc, &o);
}

/* ---- a body as one message ---- */

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* Is the text one value of JSON, and no array? Leaves off the blanks around it. */
static bool is_json_value(slice *text, struct buf *scratch)
{
    while (text->n > 0 && is_blank(text->p[0]))
        *text = slice_skip(*text, 1);
    if (text->n == 0 || text->n > PARSED_MAX || text->p[0] == '[')
        return false;
    struct json_reader r = {.text = *text};
    size_t end = 0;
    enum json_event event;
    while ((event = json_next(&r, scratch)) != JSON_END) {
        if (event == JSON_BAD)
            return false;
        end = r.at;
    }
    text->n = end;
    return true;
}

/* The body, if that is all there is to append. */
static bool takes_body(lua_State *L, const struct http_request *r, slice *payload)
{
    slice form = arg_text(L, 3, "form", BODY_USAGE);
    bool json = slice_eq(form, SLICE("json"));
    if (!json && !slice_eq(form, SLICE("bytes")))
        arg_fail(L, BODY_USAGE, "form must be bytes or json");
    *payload = r->body;
    if (payload->n == 0 || payload->n > PAYLOAD_SIZE_MAX || !body_is_bare(r))
        return false;
    struct buf *scratch = vm_scratch(vm_of(L));
    bool good = !json || is_json_value(payload, scratch);
    vm_scratch_done(scratch);
    return good;
}

/* req:append(topic, form, epoch, offset, id) -> first, count, epoch | false: it is no such request | nil, message,
 * code, more.  Waits for the acknowledging mark. */
static int l_request_append(lua_State *L)
{
    const struct http_request *r = request_check(L, 1, BODY_USAGE);
    struct topic_handle *h = object_test(L, 2, KIND_TOPIC);
    if (h == NULL)
        return arg_fail(L, BODY_USAGE, "topic must be one of topic(name)");
    struct topic_token place = {
        .epoch = arg_whole(L, 4, "epoch", BODY_USAGE),
        .offset = arg_whole(L, 5, "offset", BODY_USAGE),
        .names_topic = true,
        .topic = arg_whole(L, 6, "id", BODY_USAGE),
    };
    slice payload;
    struct task *self = task_self(L);
    struct topic *t;
    if (!takes_body(L, r, &payload)) {
        lua_pushboolean(L, 0);
        return 1;
    }
    int rc = handle_find(L, h, &t);
    if (rc < 0)
        return handle_fail(L, h, rc);
    if (topic_is_internal(t))
        return push_fail_because(L, -ERR_FORBIDDEN, "%s is reserved for the broker", h->name);
    struct draft d;
    draft_init(&d, vm_of(L));
    d.asks = d.has_expect = true;
    d.expect = place;
    rc = draft_add(&d, &(struct message){.payload = payload});
    if (rc == 0)
        rc = draft_finish(&d);
    struct append_options o = {t, &d, false, 0, append_done, append_done_again};
    return append_and_wait(L, self, rc, &o);
}

void append_open(lua_State *L)
{
    lua_getfield(L, -1, "Request");
    lua_pushcfunction(L, l_request_append);
    lua_setfield(L, -2, "append");
    lua_pop(L, 1);
}
