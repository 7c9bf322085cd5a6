/*
 * Which addresses are the internet's; see import.h. After IANA's registries of special-purpose
 * addresses for IPv4 and IPv6: of IPv6 only 2000::/3 is given out at all.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#include "serve/import.h"

typedef struct lc_block {
    uint32_t base;
    int bits;
} lc_block;

#define IPV4(a, b, c, d) \
    ((uint32_t)(a) << 24 | (uint32_t)(b) << 16 | (uint32_t)(c) << 8 | (uint32_t)(d))

static const lc_block special_ipv4[] = {
    {IPV4(0, 0, 0, 0), 8},        /* this network */
    {IPV4(10, 0, 0, 0), 8},       /* private */
    {IPV4(100, 64, 0, 0), 10},    /* shared by carriers; a cloud's metadata, too */
    {IPV4(127, 0, 0, 0), 8},      /* loopback */
    {IPV4(168, 63, 129, 16), 32}, /* Azure's own service, seen from inside only */
    {IPV4(169, 254, 0, 0), 16},   /* link-local; metadata of most clouds */
    {IPV4(172, 16, 0, 0), 12},    /* private */
    {IPV4(192, 0, 0, 0), 24},     /* protocols; metadata of one cloud */
    {IPV4(192, 0, 2, 0), 24},     /* documentation */
    {IPV4(192, 31, 196, 0), 24},  /* AS112 */
    {IPV4(192, 52, 193, 0), 24},  /* AMT */
    {IPV4(192, 88, 99, 0), 24},   /* 6to4 relays */
    {IPV4(192, 168, 0, 0), 16},   /* private */
    {IPV4(192, 175, 48, 0), 24},  /* AS112 */
    {IPV4(198, 18, 0, 0), 15},    /* benchmarks */
    {IPV4(198, 51, 100, 0), 24},  /* documentation */
    {IPV4(203, 0, 113, 0), 24},   /* documentation */
    {IPV4(224, 0, 0, 0), 4},      /* multicast */
    {IPV4(240, 0, 0, 0), 4},      /* reserved, broadcast */
};

/* By the first 32 bits, within 2000::/3. */
static const lc_block special_ipv6[] = {
    {0x20010000, 23}, /* protocols: Teredo, ORCHID */
    {0x20010db8, 32}, /* documentation */
    {0x20020000, 16}, /* 6to4: wraps an IPv4 address */
    {0x3fff0000, 20}, /* documentation */
};

static bool is_in(uint32_t address, const lc_block *blocks, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const int shift = 32 - blocks[i].bits;
        if (address >> shift == blocks[i].base >> shift) {
            return true;
        }
    }
    return false;
}

bool lc_address_is_public(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, address, sizeof in);
        return !is_in(ntohl(in.sin_addr.s_addr), special_ipv4,
                      sizeof special_ipv4 / sizeof special_ipv4[0]);
    }
    if (address->sa_family == AF_INET6) {
        struct sockaddr_in6 in;
        uint32_t first;
        memcpy(&in, address, sizeof in);
        memcpy(&first, &in.sin6_addr, sizeof first);
        first = ntohl(first);
        return first >> 29 == 1 &&
               !is_in(first, special_ipv6, sizeof special_ipv6 / sizeof special_ipv6[0]);
    }
    return false;
}
