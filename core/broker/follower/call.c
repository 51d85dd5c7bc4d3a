#include "broker/follower/call.h"

#include "base/err.h"
#include "base/mem.h"

struct sent_call {
    struct list link;                /* in follower.calls, in the order of their numbers */
    struct follower *follower;
    struct node_call *caller;        /* NULL: left */
    uint64_t number;
    size_t size;
};

int follower_call(struct follower *f, slice what, struct node_call *c)
{
    if (f->phase != UPSTREAM_READY || f->failed)
        return -ERR_NO_LEADER;
    if (what.n > CALL_SIZE_MAX)
        return -ERR_TOO_LARGE;
    if (f->calls_open == CALLS_MAX || f->calls_bytes + what.n > CALLS_BYTES_MAX)
        return -ERR_TOO_MANY;
    struct sent_call *s = MEM_NEW(struct sent_call);
    *s = (struct sent_call){.follower = f, .caller = c, .number = ++f->calls_sent, .size = what.n};
    list_init(&s->link);
    list_push(&f->calls, &s->link);
    f->calls_open++;
    f->calls_bytes += what.n;
    c->sent = s;
    struct buf *out = link_begin(f->link, WIRE_CALL);
    put_u64(out, s->number);
    buf_add_slice(out, what);
    link_end(f->link);
    return 0;
}

void follower_call_leave(struct node_call *c)
{
    struct sent_call *s = c->sent;
    if (s == NULL)
        return;
    c->sent = NULL;
    s->caller = NULL;
    put_u64(link_begin(s->follower->link, WIRE_FORGET), s->number);
    link_end(s->follower->link);
}

static void end(struct sent_call *s, int rc, unsigned how, slice answer)
{
    struct node_call *c = s->caller;
    s->follower->calls_open--;
    s->follower->calls_bytes -= s->size;
    list_remove(&s->link);
    mem_free(s);
    if (c == NULL)
        return;
    c->sent = NULL;
    c->ended(c, rc, how, answer);
}

void call_return(struct follower *f, struct wire *w)
{
    uint64_t number = get_u64(w);
    unsigned how = get_u8(w);
    struct sent_call *found = NULL;
    LIST_EACH(node, &f->calls) {
        struct sent_call *s = LIST_OWNER(node, struct sent_call, link);
        if (s->number == number)
            found = s;
    }
    if (w->bad || how > RETURN_LOST || found == NULL)
        upstream_fail(f, "a RETURN is not well formed");
    else
        end(found, 0, how, w->rest);
}

void call_hang_up(struct follower *f)
{
    while (!list_empty(&f->calls))
        end(list_first(&f->calls, struct sent_call, link), -ERR_UNAVAILABLE, 0, SLICE(""));
}
