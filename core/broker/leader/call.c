#include "broker/leader/call.h"

#include "base/mem.h"
#include "broker/leader/leader.h"

static void call_free(struct called *c)
{
    struct peer *p = c->peer;
    if (p != NULL) {
        p->call_count--;
        p->call_bytes -= c->size;
    }
    list_remove(&c->link);
    list_remove(&c->of_peer);
    buf_fini(&c->what);
    mem_free(c);
}

void call_arrived(struct peer *p, struct wire *w)
{
    uint64_t number = get_u64(w);
    size_t size = w->rest.n;
    if (w->bad || size > CALL_SIZE_MAX || p->call_count == CALLS_MAX || p->call_bytes + size > CALLS_BYTES_MAX) {
        peer_refuse(p, "a CALL is not well formed, or one too many");
        return;
    }
    struct called *c = MEM_NEW(struct called);
    c->peer = p;
    c->number = number;
    c->size = size;
    buf_add_slice(&c->what, w->rest);
    list_init(&c->link);
    list_init(&c->of_peer);
    list_push(&p->leader->arrived, &c->link);
    list_push(&p->calls, &c->of_peer);
    p->call_count++;
    p->call_bytes += size;
}

void call_forget(struct peer *p, struct wire *w)
{
    uint64_t number = get_u64(w);
    if (!wire_done(w)) {
        peer_refuse(p, "a FORGET is not well formed");
        return;
    }
    LIST_EACH(node, &p->calls) {
        struct called *c = LIST_OWNER(node, struct called, of_peer);
        if (c->number == number && c->on_left != NULL)
            c->on_left(c->arg);
    }
}

void call_forget_peer(struct peer *p)
{
    LIST_EACH(node, &p->calls) {
        struct called *c = LIST_OWNER(node, struct called, of_peer);
        if (!list_alone(&c->link)) {
            call_free(c);
            continue;
        }
        c->peer = NULL;
        list_remove(&c->of_peer);
        if (c->on_left != NULL)
            c->on_left(c->arg);
    }
}

struct called *leader_take_call(struct leader *l)
{
    if (list_empty(&l->arrived))
        return NULL;
    struct called *c = list_first(&l->arrived, struct called, link);
    list_remove(&c->link);
    return c;
}

void leader_answer_call(struct called *c, unsigned how, slice answer)
{
    struct peer *p = c->peer;
    if (p != NULL && !p->closing && p->phase == PEER_READY) {
        if (link_unsent(p->link) + answer.n > CALLS_BYTES_MAX) {
            how = RETURN_LOST;
            answer = SLICE("the answer is lost, because this node has not read the ones before it");
        }
        struct buf *out = link_begin(p->link, WIRE_RETURN);
        put_u64(out, c->number);
        put_u8(out, how);
        buf_add_slice(out, answer);
        link_end(p->link);
    }
    call_free(c);
}
