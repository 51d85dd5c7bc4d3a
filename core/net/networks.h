/*
 * A set of networks, for what may be reached only where it stands: "public" for the addresses of the Internet, or an
 * address with the length of its prefix, "10.0.0.0/8", "fd00::/8"; without a length it is one host.
 *
 * An IPv6 address that carries one of IPv4 (::ffff:a.b.c.d) is judged as that one.
 */
#ifndef NET_NETWORKS_H
#define NET_NETWORKS_H

#include <stdbool.h>
#include <sys/socket.h>

#include "base/slice.h"

enum { NETWORKS_MAX = 16 };

struct network {
    unsigned char bytes[16];         /* an IPv6 address, or one of IPv4 as ::ffff:a.b.c.d */
    unsigned length;                 /* bits of it that count */
};

/* Zeroed: it is empty. */
struct networks {
    struct network list[NETWORKS_MAX];
    unsigned count;
    bool has_public;
};

/* 0; -EINVAL: the text is no network; -ENOSPC: there are NETWORKS_MAX. */
int networks_add(struct networks *n, slice text);

bool networks_have(const struct networks *n, const struct sockaddr *address);

#endif
