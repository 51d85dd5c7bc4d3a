/*
 * A hostile or broken peer: the test's own end of a connection to a node of the cluster rig. Whatever it sends, a node
 * must not crash, move a mark that others rely on, or use memory without bound.
 */
#ifndef UNIT_WILD_H
#define UNIT_WILD_H

#include <stdlib.h>

#include "base/mem.h"
#include "broker/wire/wire.h"
#include "unit/cluster_rig.h"

#define MEMBER "evil:000102030405060708090a0b0c0d0e0f"

/* The test's own end of a connection. */
struct wild {
    int fd;
    struct tls *tls;              /* NULL: it speaks without */
    struct tls_context *tls_context;
    bool tls_open;
    struct buf tls_in, tls_out;   /* encrypted */
    struct buf in, out;
    bool closed;
    unsigned char type;           /* of the frame that wild_take found */
    slice payload;                /* until the next one */
    size_t taken;
};

static void wild_send(struct wild *w, unsigned char type, slice payload)
{
    put_u32(&w->out, (uint32_t)payload.n);
    put_u8(&w->out, type);
    buf_add_slice(&w->out, payload);
}

/* It speaks TLS with this key from now on. */
static void wild_secure(struct wild *w, const char *key, enum tls_side side, const struct id *cluster)
{
    struct secret s;
    struct buf name = {0};
    CHECK_EQ(secret_parse(slice_from(key), &s), 0);
    CHECK_EQ(tls_context_new(&s, &w->tls_context), 0);
    buf_add_slice(&name, SLICE("lignum "));
    id_format(&name, cluster);
    w->tls = tls_new(w->tls_context, side, buf_slice(&name));
    buf_fini(&name);
}

static void wild_tls_turn(struct wild *w)
{
    int rc = w->tls_open ? 1 : tls_handshake(w->tls, &w->tls_in, &w->tls_out);
    if (rc > 0) {
        w->tls_open = true;
        rc = tls_decrypt(w->tls, &w->tls_in, &w->in, &w->tls_out);
        if (rc == 0)
            rc = tls_encrypt(w->tls, buf_slice(&w->out), &w->tls_out);
        buf_clear(&w->out);
    }
    w->closed = w->closed || rc < 0;
}

/* Sends and reads what the socket takes and has. */
static void wild_turn(struct wild *w)
{
    struct buf *in = w->tls != NULL ? &w->tls_in : &w->in, *out = w->tls != NULL ? &w->tls_out : &w->out;
    if (w->tls != NULL && !w->closed)
        wild_tls_turn(w);
    while (!w->closed && buf_size(out) > 0) {
        slice rest = buf_slice(out);
        ssize_t n = send(w->fd, rest.p, rest.n, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0)
            break;
        buf_drop(out, (size_t)n);
    }
    ssize_t n = recv(w->fd, buf_reserve(in, MIB), MIB, MSG_DONTWAIT);
    if (n > 0)
        in->end += (size_t)n;
    if (n > 0 && w->tls != NULL && !w->closed)
        wild_tls_turn(w);
    if (n == 0 || (n < 0 && errno != EAGAIN))
        w->closed = true;
}

static bool wild_take(struct wild *w)
{
    wild_turn(w);
    buf_drop(&w->in, w->taken);
    w->taken = 0;
    struct wire head = {.rest = buf_slice(&w->in)};
    uint32_t size = get_u32(&head);
    w->type = get_u8(&head);
    w->payload = get_bytes(&head, size);
    if (head.bad)
        return false;
    w->taken = 5 + size;
    return true;
}

static bool wild_ended(struct wild *w)
{
    while (wild_take(w))
        ;
    return w->closed;
}

static bool wild_got(struct wild *w, unsigned char type)
{
    while (wild_take(w))
        if (w->type == type)
            return true;
    return false;
}

static void wild_close(struct wild *w)
{
    close(w->fd);
    tls_free(w->tls);
    tls_context_free(w->tls_context);
    buf_fini(&w->tls_in);
    buf_fini(&w->tls_out);
    buf_fini(&w->in);
    buf_fini(&w->out);
}

static struct wild dial_to(const struct node *n)
{
    struct leader_address at = address_of_node(n);
    struct wild w = {.fd = address_dial(slice_from(at.replication))};
    CHECK(w.fd >= 0);
    if (rig.secret[0] != '\0')
        wild_secure(&w, rig.secret, TLS_CLIENT, &store_state(n->store)->cluster);
    return w;
}

/* Changes a frame at random: flips bits, truncates it, or adds bytes. */
static void mangle(struct buf *frame)
{
    size_t n = buf_size(frame);
    for (int flips = rand() % 4; flips > 0 && n > 0; flips--)
        frame->data[(size_t)rand() % n] ^= (char)(1 << rand() % 8);
    if (rand() % 4 == 0)
        frame->end = frame->at + (size_t)rand() % (n + 1);
    if (rand() % 8 == 0)
        put_u64(frame, (uint64_t)rand());
}

static struct topic *live_topic_of_two(void)
{
    rig_up(2);
    struct topic *t = make_live(&rig.nodes[0], "t");
    publish(t, 3, 100);
    WAIT_UNTIL(t->peers.at == 3 && topic_at(&rig.nodes[1], "t") != NULL);
    return t;
}

#endif
