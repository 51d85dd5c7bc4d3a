#include "net/networks.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

enum { V4_AT = 96 };                 /* bits before an IPv4 address in ::ffff:a.b.c.d */

static const unsigned char mapped[V4_AT / 8] = {[10] = 0xff, [11] = 0xff};

/* Not of the Internet, by the registries of special addresses of IANA: RFC 6890 and what came after. Of IPv6 only
 * 2000::/3 is in use; 2001::/23 and 2002::/16 are tunnels and protocols, whose addresses carry others. */
static const char *const special[] = {
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
    "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24",
    "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3", "2001::/23", "2001:db8::/32", "2002::/16",
    "2620:4f:8000::/48", "3fff::/20",
};

static bool read_address(const char *text, unsigned char bytes[16], bool *v4)
{
    memcpy(bytes, mapped, sizeof(mapped));
    *v4 = inet_pton(AF_INET, text, bytes + 12) == 1;
    return *v4 || inet_pton(AF_INET6, text, bytes) == 1;
}

static bool read_network(slice text, struct network *out)
{
    slice host = text;
    char copy[INET6_ADDRSTRLEN];
    bool v4;
    const char *slash = text.n == 0 ? NULL : memchr(text.p, '/', text.n);
    if (slash != NULL)
        host.n = (size_t)(slash - text.p);
    if (host.n >= sizeof(copy))
        return false;
    memcpy(copy, host.p, host.n);
    copy[host.n] = '\0';
    if (!read_address(copy, out->bytes, &v4))
        return false;
    uint64_t whole = v4 ? 32 : 128, length = whole;
    if (slash != NULL && (slice_u64(slice_skip(text, host.n + 1), &length) < 0 || length > whole))
        return false;
    out->length = (unsigned)length + (v4 ? V4_AT : 0);
    return true;
}

static bool is_in(const struct network *n, const unsigned char bytes[16])
{
    unsigned whole = n->length / 8, rest = n->length % 8;
    if (memcmp(n->bytes, bytes, whole) != 0)
        return false;
    return rest == 0 || ((n->bytes[whole] ^ bytes[whole]) >> (8 - rest)) == 0;
}

static bool is_public(const unsigned char bytes[16])
{
    struct network n;
    if (memcmp(bytes, mapped, sizeof(mapped)) != 0 && bytes[0] >> 5 != 1)      /* 2000::/3 */
        return false;
    for (size_t i = 0; i < sizeof(special) / sizeof(special[0]); i++)
        if (read_network(slice_from(special[i]), &n) && is_in(&n, bytes))
            return false;
    return true;
}

int networks_add(struct networks *n, slice text)
{
    if (slice_eq(text, SLICE("public"))) {
        n->has_public = true;
        return 0;
    }
    if (n->count == NETWORKS_MAX)
        return -ENOSPC;
    if (!read_network(text, &n->list[n->count]))
        return -EINVAL;
    n->count++;
    return 0;
}

bool networks_have(const struct networks *n, const struct sockaddr *address)
{
    unsigned char bytes[16];
    memcpy(bytes, mapped, sizeof(mapped));
    if (address->sa_family == AF_INET)
        memcpy(bytes + 12, &((const struct sockaddr_in *)(const void *)address)->sin_addr, 4);
    else if (address->sa_family == AF_INET6)
        memcpy(bytes, &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr, 16);
    else
        return false;
    for (unsigned i = 0; i < n->count; i++)
        if (is_in(&n->list[i], bytes))
            return true;
    return n->has_public && is_public(bytes);
}
