#include "net/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <unistd.h>

enum { BACKLOG = 1024, HOST_MAX = 256, PORT_MAX = 8 };

void address_format(const union address *a, char out[ADDRESS_TEXT_MAX])
{
    char host[INET6_ADDRSTRLEN] = "?";
    bool v6 = a->any.sa_family == AF_INET6;
    const void *bytes = v6 ? (const void *)&a->v6.sin6_addr : (const void *)&a->v4.sin_addr;
    inet_ntop(a->any.sa_family, bytes, host, sizeof host);
    unsigned port = ntohs(v6 ? a->v6.sin6_port : a->v4.sin_port);
    snprintf(out, ADDRESS_TEXT_MAX, v6 ? "[%s]:%u" : "%s:%u", host, port);
}

/* "host:port", "[v6]:port" or ":port" into two strings. */
static int address_split(slice text, char host[HOST_MAX], char port[PORT_MAX])
{
    const char *colon = text.n > 0 ? memrchr(text.p, ':', text.n) : NULL;
    if (!colon)
        return -EINVAL;
    slice h = slice_of(text.p, (size_t)(colon - text.p));
    slice p = slice_skip(text, h.n + 1);
    if (h.n >= 2 && h.p[0] == '[' && h.p[h.n - 1] == ']')
        h = slice_of(h.p + 1, h.n - 2);
    if (p.n == 0 || p.n >= PORT_MAX || h.n >= HOST_MAX)
        return -EINVAL;
    snprintf(host, HOST_MAX, "%.*s", SLICE_ARGS(h));
    snprintf(port, PORT_MAX, "%.*s", SLICE_ARGS(p));
    return 0;
}

static int address_find(slice text, int flags, union address *out, socklen_t *size)
{
    char host[HOST_MAX], port[PORT_MAX];
    uint64_t number;
    struct addrinfo *found;
    int rc = address_split(text, host, port);
    if (rc < 0 || slice_u64(slice_from(port), &number) < 0 || number > UINT16_MAX)
        return -EINVAL;
    struct addrinfo hints = {.ai_flags = flags | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
    rc = getaddrinfo(host[0] ? host : NULL, port, &hints, &found);
    if (rc != 0)
        return rc == EAI_SYSTEM ? -errno : -ENXIO;
    memcpy(out, found->ai_addr, found->ai_addrlen);
    *size = found->ai_addrlen;
    freeaddrinfo(found);
    return 0;
}

int address_resolve(slice text, union address *out, socklen_t *size)
{
    return address_find(text, 0, out, size);
}

static int address_socket(const union address *a)
{
    int on = 1;
    int fd = socket(a->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

/* Accepted sockets inherit TCP_NODELAY on Linux, which saves a system call for each. */
int address_listen(slice text, uint16_t *port)
{
    union address at = {0};
    socklen_t size;
    int on = 1;
    int rc = address_find(text, AI_PASSIVE, &at, &size);
    int fd = rc < 0 ? rc : address_socket(&at);
    if (fd < 0)
        return fd;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, &at.any, size) < 0 || listen(fd, BACKLOG) < 0) {
        rc = -errno;
        close(fd);
        return rc;
    }
    size = sizeof at;
    getsockname(fd, &at.any, &size);
    *port = ntohs(at.any.sa_family == AF_INET6 ? at.v6.sin6_port : at.v4.sin_port);
    return fd;
}

int address_dial(slice text)
{
    union address to = {0};
    socklen_t size;
    int rc = address_find(text, AI_NUMERICHOST, &to, &size);
    int fd = rc < 0 ? rc : address_socket(&to);
    if (fd < 0)
        return fd;
    if (connect(fd, &to.any, size) < 0 && errno != EINPROGRESS) {
        rc = -errno;
        close(fd);
        return rc;
    }
    return fd;
}

int address_accept(int listening, union address *from)
{
    socklen_t size = sizeof *from;
    int fd = accept4(listening, &from->any, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

/* True for an IPv4 address and a port; a host name may begin with digits, too. */
static bool is_number(slice text)
{
    size_t i = 0;
    while (i < text.n && ((text.p[i] >= '0' && text.p[i] <= '9') || text.p[i] == '.'))
        i++;
    return i < text.n && text.p[i] == ':';
}

bool address_is_loopback(slice text)
{
    return (slice_starts(text, SLICE("127.")) && is_number(text)) || slice_starts(text, SLICE("[::1]:")) ||
           slice_starts(text, SLICE("localhost:"));
}
