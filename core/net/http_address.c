/*
 * Who holds what: connections and memory, of all clients together and by the address that they come from. When a bound
 * is reached, clients of an address that holds at least its share give way first: as much as there is, divided by the
 * number of addresses. So one host that holds much does not take what the others have, and a host that is alone, or a
 * proxy, may use all there is.
 *
 * IPv6 hosts usually have a whole network of 64 bits, which counts as one address.
 */
#include <string.h>

#include "base/mem.h"
#include "net/http_server.h"

static slice key_of(const union address *a)
{
    if (a->any.sa_family == AF_INET)
        return slice_of((const char *)&a->v4.sin_addr, sizeof a->v4.sin_addr);
    const char *v6 = (const char *)&a->v6.sin6_addr;
    return IN6_IS_ADDR_V4MAPPED(&a->v6.sin6_addr) ? slice_of(v6 + 12, 4) : slice_of(v6, 8);
}

uint64_t client_address_connections(struct http_server *s, const union address *from)
{
    const struct client_address *o = map_get(&s->addresses, key_of(from));
    return o == NULL ? 0 : o->held[HELD_CLIENTS];
}

slice http_address(const struct http_request *r)
{
    const struct client_address *o = ((const struct exchange *)(const void *)r)->client->address;
    return slice_of(o->key, o->key_size);
}

void client_address_join(struct client *c, const union address *from)
{
    struct http_server *s = c->server;
    slice key = key_of(from);
    struct client_address *o = map_get(&s->addresses, key);
    if (o == NULL) {
        o = MEM_NEW(struct client_address);
        memcpy(o->key, key.p, key.n);
        o->key_size = (unsigned char)key.n;
        map_put(&s->addresses, slice_of(o->key, key.n), o);
    }
    c->address = o;
    client_hold(c, HELD_CLIENTS, 1);
}

void client_address_leave(struct client *c)
{
    struct client_address *o = c->address;
    client_hold(c, HELD_CLIENTS, -1);
    c->address = NULL;
    if (o->held[HELD_CLIENTS] > 0)
        return;
    map_remove(&c->server->addresses, slice_of(o->key, o->key_size));
    mem_free(o);
}

void client_hold(struct client *c, enum held what, int64_t more)
{
    c->server->held[what] += (uint64_t)more;
    c->address->held[what] += (uint64_t)more;
}

bool client_has_share(const struct client *c, enum held what)
{
    return c->address->held[what] * c->server->addresses.count >= c->server->held[what];
}
