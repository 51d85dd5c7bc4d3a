#include "broker/follower/handshake.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/say.h"

void handshake_hello(struct follower *f)
{
    const struct state *state = store_state(f->role->store);
    struct register_stamp known = role_known(f->role);
    struct buf *out = link_begin(f->link, WIRE_HELLO);
    put_u16(out, WIRE_VERSION);
    put_id(out, &state->cluster);
    put_text(out, slice_from(f->role->self.text));
    put_text(out, slice_from(f->http));
    put_u8(out, state->amnesiac ? HELLO_AMNESIAC : 0);
    put_u64(out, known.epoch);
    put_u64(out, known.version);
    put_id(out, &known.leader);
    link_end(f->link);
}

static void on_welcome(struct follower *f, slice payload)
{
    const struct role *r = f->role;
    struct wire w = {.rest = payload};
    struct member member;
    uint64_t epoch = get_u64(&w), version = get_u64(&w);
    slice name = get_text(&w), http = get_text(&w);
    if (!wire_done(&w) || !wire_is_address(http) || member_parse(name, &member) < 0 ||
        !member_eq(&member, &f->leader.member)) {
        upstream_fail(f, "another node answers at its address");
        return;
    }
    /* Consul says who leads which epoch. What a leader says of itself is compared with that, and never saved. */
    if (!r->has_seen || epoch != r->seen.epoch || !member_eq(&member, &r->seen.leader)) {
        upstream_fail(f, "Consul does not name it as the leader of its epoch");
        return;
    }
    /* The promise is on the disk before the leader is told of it [m]. */
    struct register_stamp by = synced_register_stamp(&r->seen);
    if (role_promise(f->role, &by) < 0) {
        put_text(link_begin(f->link, WIRE_REFUSE), SLICE("a newer epoch has been promised"));
        link_end(f->link);
        link_shut(f->link);
        upstream_fail(f, "it leads an epoch that is over");
        return;
    }
    f->unclean = r->seen.unclean;
    f->version = version;
    snprintf(f->leader_http, sizeof(f->leader_http), "%.*s", SLICE_ARGS(http));
    put_u64(link_begin(f->link, WIRE_PROMISE), epoch);
    link_end(f->link);
    link_allow(f->link, LINK_FRAME_MAX);
    f->phase = UPSTREAM_READY;
    f->suspended = false;
    f->leader_heard_ns = clock_ns();
    f->refused = false;
    if (!f->stuck)                   /* else the log names the reason why it will not do for long */
        f->said[0] = '\0';
    if (!f->stuck)
        say_limited(&f->moves, SAY_INFO, "follower", "following member=%s epoch=%llu address=%s", member.text,
                    (unsigned long long)epoch, f->leader.replication);
}

void handshake_answer(struct follower *f, unsigned char type, slice payload)
{
    if (type == WIRE_WELCOME)
        on_welcome(f, payload);
    else if (type == WIRE_REFUSE)
        upstream_refused(f, payload);
    else if (type != WIRE_PING)
        upstream_fail(f, "its handshake is out of order");
}
