#include "broker/leader/peer.h"

#include "broker/wire/wire.h"

void peer_refuse(struct peer *p, const char *why)
{
    say_limited(&p->leader->refusals, SAY_INFO, "leader", "refused a follower address=%s member=%s reason=\"%s\"",
                p->address, p->member.text, why);
    put_text(link_begin(p->link, WIRE_REFUSE), slice_from(why));
    link_end(p->link);
    link_shut(p->link);
    p->closing = true;
}
