/*
 * CRC-32C (Castagnoli, the polynomial of RFC 3720), with the CPU's instruction where there is one.
 *
 * Start with 0 and feed what it returns back in to go on: crc32c(crc32c(0, a), b) is the checksum
 * of a followed by b. crc32c(0, "123456789") is 0xe3069283.
 */
#ifndef BASE_CRC32C_H
#define BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

uint32_t crc32c(uint32_t crc, const void *p, size_t n);

/* The table-driven way, for machines without the instruction and for the test that compares the two. */
uint32_t crc32c_portable(uint32_t crc, const void *p, size_t n);

#endif
