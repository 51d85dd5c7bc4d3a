#include "broker/leader/handshake.h"

#include "base/say.h"
#include "broker/leader/membership.h"
#include "broker/wire/wire.h"

static const char *hello_refusal(struct peer *p, const struct id *cluster, slice member)
{
    const struct leader *l = p->leader;
    if (!l->leading)
        return "this node does not lead";
    if (!id_eq(cluster, &store_state(l->role->store)->cluster))
        return "it belongs to another cluster";
    if (member_parse(member, &p->member) < 0)
        return "its name is not valid";
    if (slice_eq(member_name(&p->member), member_name(&l->role->self)))
        return "it has the same name as this node";
    return NULL;
}

/* Does this leader's register go on from the newest one that the follower knows of? If not, this epoch is over, Consul
 * was rolled back, or the follower is wrong. A proposed register may be in Consul already, and the follower may have
 * seen it there. */
static bool is_outdated(const struct leader *l, const struct register_stamp *known)
{
    const struct synced_set *s = &l->role->synced;
    struct register_stamp ours = synced_register_stamp(s->proposing ? &s->proposed : &s->confirmed);
    return !stamp_follows(&ours, known);
}

static void on_hello(struct peer *p, slice payload)
{
    struct leader *l = p->leader;
    const struct role *role = l->role;
    struct wire w = {.rest = payload};
    unsigned version = get_u16(&w);
    struct id cluster = get_id(&w);
    slice member = get_text(&w), http = get_text(&w);
    unsigned flags = get_u8(&w);
    struct register_stamp known = {.epoch = get_u64(&w)};
    known.version = get_u64(&w);
    known.leader = get_id(&w);
    const char *why = version != WIRE_VERSION               ? "it speaks another version of the protocol"
                      : !wire_done(&w) || !wire_is_address(http) ? "its HELLO is not well formed"
                                                            : hello_refusal(p, &cluster, member);
    if (why == NULL && is_outdated(l, &known)) {
        why = "it knows of a newer register or of another leader of this epoch; Consul is asked which is true";
        role_told(l->role);
    }
    if (why != NULL) {
        peer_refuse(p, why);
        return;
    }
    memcpy(p->http, http.p, http.n);
    p->amnesiac = flags & HELLO_AMNESIAC;
    struct buf *out = link_begin(p->link, WIRE_WELCOME);
    put_u64(out, role->epoch);
    put_u64(out, role->synced.confirmed.version);
    put_text(out, slice_from(role->self.text));
    put_text(out, slice_from(l->http));
    link_end(p->link);
    link_allow(p->link, LINK_FRAME_MAX);
    p->phase = PEER_PROMISE;
}

static void on_promise(struct peer *p, slice payload)
{
    struct wire w = {.rest = payload};
    uint64_t epoch = get_u64(&w);
    if (!wire_done(&w) || epoch != p->leader->role->epoch) {
        peer_refuse(p, "it promised another epoch");
        return;
    }
    p->phase = PEER_READY;
    say_limited(&p->leader->moves, SAY_INFO, "leader", "follower connected member=%s address=%s%s", p->member.text,
                p->address, p->amnesiac ? " amnesiac" : "");
    membership_arrived(p);
}

void handshake_frame(struct peer *p, unsigned char type, slice payload)
{
    if (type == WIRE_HELLO && p->phase == PEER_HELLO)
        on_hello(p, payload);
    else if (type == WIRE_PROMISE && p->phase == PEER_PROMISE)
        on_promise(p, payload);
    else if (type == WIRE_REFUSE)
        p->closing = true;
    else if (type != WIRE_PING)
        peer_refuse(p, "its handshake is out of order");
}
