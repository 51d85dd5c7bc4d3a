/*
 * CRC-32C (Castagnoli, the polynomial of RFC 3720), with the CPU's instruction where there is one.
 *
 * Start with 0 and pass the result back in to continue: crc32c(crc32c(0, a), b) is the checksum of a followed by b.
 * crc32c(0, "123456789") is 0xe3069283.
 */
#ifndef BASE_CRC32C_H
#define BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

uint32_t crc32c(uint32_t crc, const void *p, size_t n);

/* The part that crc contributes to a checksum after n more bytes: crc32c(crc, p, n) is
 * crc32c_shift(crc, n) ^ crc32c(0, p, n). Takes about as long as the checksum of 8 KiB. (Multiplies by x^8n modulo the
 * polynomial, like crc32_combine of zlib.) */
uint32_t crc32c_shift(uint32_t crc, size_t n);

/* By tables, for machines without the instruction and for the test that compares the two. */
uint32_t crc32c_portable(uint32_t crc, const void *p, size_t n);

#endif
