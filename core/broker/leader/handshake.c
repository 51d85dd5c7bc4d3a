/* The leader's part of the handshake, inside TLS: which node is there, and does it promise this epoch. */
#include "base/clock.h"
#include "base/err.h"
#include "base/say.h"
#include "broker/leader/peer.h"

void peer_refuse(struct peer *p, const char *why)
{
    say_limited(&p->leader->refusals, SAY_INFO, "leader", "refused a follower address=%s member=%s reason=\"%s\"",
                p->address, p->member.text, why);
    put_text(link_begin(p->link, WIRE_REFUSE), slice_from(why));
    link_end(p->link);
    link_shut(p->link);
    p->doomed = true;
}

/* It is shown to clients and to operators. */
static bool is_address(slice text)
{
    for (size_t i = 0; i < text.n; i++)
        if (text.p[i] <= ' ' || text.p[i] > '~' || text.p[i] == '"' || text.p[i] == '\\')
            return false;
    return text.n <= NODE_ADDRESS_MAX;
}

static const char *hello_refusal(struct peer *p, const struct id *cluster, slice member)
{
    const struct leader *l = p->leader;
    if (!l->leading)
        return "this node does not lead";
    if (!id_eq(cluster, &store_state(l->o.role->store)->cluster))
        return "it belongs to another cluster";
    if (member_parse(member, &p->member) < 0)
        return "it has no proper name";
    if (slice_eq(member_name(&p->member), member_name(&l->o.role->self)))
        return "it has this node's own name";
    return NULL;
}

/* A follower that knows of a register from which this leader's does not go on: the epoch is over, or Consul was rolled
 * back. What is asked for may be in Consul already, and seen there. */
static const char *outdated(const struct leader *l, const struct register_stamp *known)
{
    const struct synced_set *s = &l->o.role->synced;
    struct register_stamp ours = synced_register_stamp(s->proposing ? &s->proposed : &s->confirmed);
    if (known->epoch > ours.epoch)
        return "a follower knows of a higher epoch";
    if (!stamp_follows(&ours, known))
        return "a follower knows of a newer register, or of another leader of this epoch: Consul was rolled back "
               "(set_regressed)";
    return NULL;
}

static void welcome(struct peer *p)
{
    const struct role *role = p->leader->o.role;
    struct buf *out = link_begin(p->link, WIRE_WELCOME);
    put_u64(out, role->epoch);
    put_u64(out, role->synced.confirmed.version);
    put_u64(out, role->synced.confirmed.unclean);
    put_text(out, slice_from(role->self.text));
    link_end(p->link);
    link_allow(p->link, LINK_FRAME_MAX);
    p->phase = PEER_PROMISE;
}

static void on_hello(struct peer *p, slice payload)
{
    struct leader *l = p->leader;
    struct wire w = {.rest = payload};
    unsigned version = get_u16(&w);
    struct id cluster = get_id(&w);
    slice member = get_text(&w), http = get_text(&w);
    unsigned flags = get_u8(&w);
    struct register_stamp known = {.epoch = get_u64(&w)};
    known.version = get_u64(&w);
    known.leader = get_id(&w);
    const char *why = version != WIRE_VERSION              ? "it speaks another version of the protocol"
                      : !wire_done(&w) || !is_address(http) ? "its greeting is not well formed"
                                                          : hello_refusal(p, &cluster, member);
    if (why == NULL && (why = outdated(l, &known)) != NULL) {
        l->outdated = why;
        role_learn(l->o.role, &known);
    }
    if (why != NULL) {
        peer_refuse(p, why);
        return;
    }
    memcpy(p->http, http.p, http.n);
    p->amnesiac = flags & HELLO_AMNESIAC;
    welcome(p);
}

/* A node that connects anew knows that its older connection is dead, also where we have not noticed. */
static void supersede(struct peer *p)
{
    LIST_EACH(node, &p->leader->peers) {
        struct peer *other = LIST_OWNER(node, struct peer, all);
        if (other != p && other->phase == PEER_READY &&
            slice_eq(member_name(&other->member), member_name(&p->member)))
            other->doomed = true;
    }
}

static void on_promise(struct peer *p, slice payload)
{
    struct wire w = {.rest = payload};
    uint64_t epoch = get_u64(&w);
    if (!wire_done(&w) || epoch != p->leader->o.role->epoch) {
        peer_refuse(p, "it promised another epoch");
        return;
    }
    supersede(p);
    p->phase = PEER_READY;
    say_info("leader", "follower connected member=%s address=%s%s", p->member.text, p->address,
             p->amnesiac ? " amnesiac" : "");
    leader_arrived(p->leader, p);
}

void handshake_frame(struct peer *p, unsigned char type, slice payload)
{
    if (type == WIRE_HELLO && p->phase == PEER_HELLO)
        on_hello(p, payload);
    else if (type == WIRE_PROMISE && p->phase == PEER_PROMISE)
        on_promise(p, payload);
    else if (type == WIRE_REFUSE)
        p->doomed = true;
    else if (type != WIRE_PING)
        peer_refuse(p, "its greeting is out of order");
}
