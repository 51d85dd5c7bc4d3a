#include "net/networks.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>

#include "unit/unit.h"

static bool have(const struct networks *n, const char *address)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    if (inet_pton(AF_INET, address, &v4.sin_addr) == 1)
        return networks_have(n, (struct sockaddr *)(void *)&v4);
    CHECK_EQ(inet_pton(AF_INET6, address, &v6.sin6_addr), 1);
    return networks_have(n, (struct sockaddr *)(void *)&v6);
}

TEST(test_public_is_what_the_internet_routes)
{
    static const char *const out[] = {
        "0.0.0.0", "10.0.0.1", "100.64.0.1", "100.127.255.255", "127.0.0.1", "127.255.255.255", "169.254.169.254",
        "172.16.0.1", "172.31.255.255", "192.0.0.8", "192.168.1.1", "198.18.0.1", "198.19.255.255", "203.0.113.9",
        "224.0.0.1", "240.0.0.1", "255.255.255.255", "::", "::1", "fe80::1", "fc00::1", "fd12::1", "ff02::1",
        "::ffff:127.0.0.1", "::ffff:10.1.2.3", "::127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "2001:0:1::",
        "2001:db8::1",
    };
    static const char *const in[] = {
        "1.1.1.1", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "172.15.255.255", "172.32.0.0",
        "192.167.255.255", "192.169.0.0", "223.255.255.255", "2606:4700::1111", "2a00::1", "::ffff:1.1.1.1",
    };
    struct networks n = {0};
    for (size_t i = 0; i < sizeof(in) / sizeof(in[0]); i++)
        CHECK(!have(&n, in[i]));
    CHECK_EQ(networks_add(&n, SLICE("public")), 0);
    for (size_t i = 0; i < sizeof(out) / sizeof(out[0]); i++)
        if (have(&n, out[i]))
            unit_failed(__FILE__, __LINE__, "%s", out[i]);
    for (size_t i = 0; i < sizeof(in) / sizeof(in[0]); i++)
        CHECK(have(&n, in[i]));
}

TEST(test_a_network_has_the_addresses_of_its_prefix)
{
    struct networks n = {0};
    CHECK_EQ(networks_add(&n, SLICE("10.1.2.0/23")), 0);
    CHECK_EQ(networks_add(&n, SLICE("127.0.0.1")), 0);
    CHECK_EQ(networks_add(&n, SLICE("fd00:1::/33")), 0);
    CHECK(have(&n, "10.1.2.0") && have(&n, "10.1.3.255") && have(&n, "::ffff:10.1.3.1"));
    CHECK(!have(&n, "10.1.1.255") && !have(&n, "10.1.4.0"));
    CHECK(have(&n, "127.0.0.1") && !have(&n, "127.0.0.2") && !have(&n, "1.1.1.1"));
    CHECK(have(&n, "fd00:1:7fff::") && !have(&n, "fd00:1:8000::"));
    struct networks all = {0};
    CHECK_EQ(networks_add(&all, SLICE("0.0.0.0/0")), 0);
    CHECK(have(&all, "255.1.1.1") && !have(&all, "::1"));
}

TEST(test_other_texts_are_no_networks)
{
    static const char *const texts[] = {"", "/", "/8", "10", "10.0.0/8", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1",
                                        "::/129", "10.0.0.0/8/8", "localhost", "Public", "10.0.0.0 /8", "fe80::1%lo",
                                        "0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0:0"};
    struct networks n = {0};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        CHECK_EQ(networks_add(&n, slice_from(texts[i])), -EINVAL);
    for (int i = 0; i < NETWORKS_MAX; i++)
        CHECK_EQ(networks_add(&n, SLICE("::1")), 0);
    CHECK_EQ(networks_add(&n, SLICE("::2")), -ENOSPC);
}
