/*
 * TCP addresses as text, "host:port", "[v6]:port" or ":port", and sockets bound or connected to them.
 *
 * Sockets are non-blocking, close-on-exec and without Nagle's delay. The system's resolver may wait for a name server,
 * which is acceptable only while the node starts; so address_dial, which is called later, takes numeric addresses only.
 */
#ifndef NET_ADDRESS_H
#define NET_ADDRESS_H

#include <netinet/in.h>
#include <sys/socket.h>

#include "base/slice.h"

enum { ADDRESS_TEXT_MAX = 56 };   /* "[", an IPv6 address, "]:65535" and a NUL */

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct sockaddr_storage storage;
};

void address_format(const union address *a, char out[ADDRESS_TEXT_MAX]);

/* A name or a number as a numeric address. May wait. 0; -EINVAL: not host:port; -ENXIO: no such host;
 * -errno. */
int address_resolve(slice text, union address *out, socklen_t *size);

/* A listening socket and its port. May wait for a name. The descriptor, or an error as above. */
int address_listen(slice text, uint16_t *port);

/* A socket that is connecting, or connected, to a numeric address. Never waits. The descriptor, or -EINVAL, -errno. */
int address_dial(slice text);

/* Accepts a waiting connection of a listening socket. The descriptor, or -errno; -EAGAIN: there is none. */
int address_accept(int listening, union address *from);

/* "127.0.0.1:8080", "localhost:8080", "[::1]:8080" */
bool address_is_loopback(slice text);

#endif
