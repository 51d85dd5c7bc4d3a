#include "broker/wire/wire.h"

#include <stdlib.h>

#include "unit/unit.h"

TEST(test_fields_are_little_endian_and_come_back)
{
    struct buf out = {0};
    put_u8(&out, 0xfe);
    put_u16(&out, 0x0102);
    put_u32(&out, 0x01020304);
    put_u64(&out, UINT64_C(0x0012030405060708));
    put_text(&out, SLICE("abc"));
    CHECK_SLICE(buf_slice(&out), SLICE("\xfe\x02\x01\x04\x03\x02\x01\x08\x07\x06\x05\x04\x03\x12\x00\x03\0abc"));
    struct wire w = {.rest = buf_slice(&out)};
    CHECK_EQ(get_u8(&w), 0xfe);
    CHECK_EQ(get_u16(&w), 0x0102);
    CHECK_EQ(get_u32(&w), 0x01020304);
    CHECK(get_u64(&w) == UINT64_C(0x0012030405060708));
    CHECK(!wire_done(&w));
    CHECK_SLICE(get_text(&w), SLICE("abc"));
    CHECK(wire_done(&w));
    buf_fini(&out);
}

TEST(test_an_id_is_its_bytes)
{
    struct buf out = {0};
    struct id id = id_mint(), back;
    put_id(&out, &id);
    CHECK_EQ(buf_size(&out), ID_SIZE);
    struct wire w = {.rest = buf_slice(&out)};
    back = get_id(&w);
    CHECK(id_eq(&id, &back));
    CHECK(wire_done(&w));
    buf_fini(&out);
}

/* All kinds of fields in a row; whatever is cut off the end is noticed, and nothing past it is read. */
static void read_all(struct wire *w)
{
    get_u8(w);
    get_u16(w);
    get_u32(w);
    get_u64(w);
    get_id(w);
    get_bytes(w, 3);
    get_text(w);
}

TEST(test_every_truncation_is_noticed)
{
    struct buf out = {0};
    struct id id = {{1}};
    put_u8(&out, 1);
    put_u16(&out, 2);
    put_u32(&out, 3);
    put_u64(&out, 4);
    put_id(&out, &id);
    buf_add(&out, "xyz", 3);
    put_text(&out, SLICE("text"));
    for (size_t n = 0; n <= buf_size(&out); n++) {
        char *copy = malloc(n + 1);   /* a sanitizer sees a read past its end */
        memcpy(copy, out.data, n);
        struct wire w = {.rest = slice_of(n ? copy : NULL, n)};
        read_all(&w);
        CHECK_EQ(w.bad, n < buf_size(&out));
        CHECK_EQ(wire_done(&w), n == buf_size(&out));
        free(copy);
    }
    buf_fini(&out);
}

TEST(test_past_the_end_there_are_zeros_for_good)
{
    struct wire w = {.rest = SLICE("\xff\xff\xff")};
    CHECK_EQ(get_u32(&w), 0);
    CHECK(w.bad);
    CHECK_EQ(get_u8(&w), 0);          /* not one of the three bytes that were there */
    CHECK_EQ(get_text(&w).n, 0);
    CHECK(!wire_done(&w));
}

TEST(test_text_that_claims_more_than_there_is_is_bad)
{
    struct wire w = {.rest = SLICE("\xff\xff" "abc")};
    CHECK_EQ(get_text(&w).n, 0);
    CHECK(w.bad);
}

TEST(test_a_number_above_the_bound_is_bad)
{
    struct buf out = {0};
    put_u64(&out, NUMBER_MAX);
    put_u64(&out, NUMBER_MAX + 1);
    put_u64(&out, UINT64_MAX);
    struct wire w = {.rest = buf_slice(&out)};
    CHECK(get_u64(&w) == NUMBER_MAX);
    CHECK(!w.bad);
    for (int i = 0; i < 2; i++) {
        w.bad = false;
        CHECK_EQ(get_u64(&w), 0);
        CHECK(w.bad);
    }
    CHECK(!wire_done(&w));
    buf_fini(&out);
}

TEST(test_bytes_left_over_are_not_done)
{
    struct wire w = {.rest = SLICE("\1\2")};
    get_u8(&w);
    CHECK(!w.bad);
    CHECK(!wire_done(&w));
}

/* ---- doc/wire.md, "Examples" ---- */

#define A1 "a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1"
#define B2 "b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2"

static int nibble(char c)
{
    return c <= '9' ? c - '0' : c - 'a' + 10;
}

/* Is this payload the one of that frame, whose bytes are given in hex? */
static void check_example(unsigned char type, struct buf *payload, const char *hex)
{
    struct buf want = {0}, frame = {0};
    for (const char *p = hex; *p != '\0'; p += 2 + (p[2] == ' '))
        put_u8(&want, (unsigned)(nibble(p[0]) << 4 | nibble(p[1])));
    put_u32(&frame, (uint32_t)buf_size(payload));
    put_u8(&frame, type);
    buf_add_slice(&frame, buf_slice(payload));
    CHECK_SLICE(buf_slice(&frame), buf_slice(&want));
    buf_fini(&want);
    buf_fini(&frame);
    buf_fini(payload);
}

TEST(test_the_documented_greeting_is_the_codes)
{
    struct buf out = {0};
    struct id cluster, leader;
    CHECK_EQ(id_parse(SLICE("00112233445566778899aabbccddeeff"), &cluster), 0);
    CHECK_EQ(id_parse(SLICE(B2), &leader), 0);
    put_u16(&out, WIRE_VERSION);
    put_id(&out, &cluster);
    put_text(&out, SLICE("n2:" A1));
    put_text(&out, SLICE("127.0.0.1:8082"));
    put_u8(&out, 0);
    put_u64(&out, 5);
    put_u64(&out, 9);
    put_id(&out, &leader);
    check_example(WIRE_HELLO, &out,
                  "68 00 00 00 68 01 00 00 11 22 33 44 55 66 77 88 99 aa bb cc dd ee ff 23 00 6e 32 3a 61 31 61 31 "
                  "61 31 61 31 61 31 61 31 61 31 61 31 61 31 61 31 61 31 61 31 61 31 61 31 61 31 61 31 0e 00 31 32 "
                  "37 2e 30 2e 30 2e 31 3a 38 30 38 32 00 05 00 00 00 00 00 00 00 09 00 00 00 00 00 00 00 b2 b2 b2 "
                  "b2 b2 b2 b2 b2 b2 b2 b2 b2 b2 b2 b2 b2");
    put_u64(&out, 6);
    put_u64(&out, 10);
    put_text(&out, SLICE("n1:" B2));
    put_text(&out, SLICE("127.0.0.1:8081"));
    check_example(WIRE_WELCOME, &out,
                  "45 00 00 00 57 06 00 00 00 00 00 00 00 0a 00 00 00 00 00 00 00 23 00 6e 31 3a 62 32 62 32 62 32 "
                  "62 32 62 32 62 32 62 32 62 32 62 32 62 32 62 32 62 32 62 32 62 32 62 32 62 32 0e 00 31 32 37 2e "
                  "30 2e 30 2e 31 3a 38 30 38 31");
}

TEST(test_the_documented_positions_are_the_codes)
{
    struct buf out = {0};
    put_u32(&out, 2);
    put_u64(&out, 5);
    put_u64(&out, 3);
    put_u64(&out, 5);
    put_u64(&out, 1000);
    put_text(&out, SLICE("orders"));
    check_example(WIRE_POSITION, &out,
                  "2c 00 00 00 71 02 00 00 00 05 00 00 00 00 00 00 00 03 00 00 00 00 00 00 00 05 00 00 00 00 00 00 "
                  "00 e8 03 00 00 00 00 00 00 06 00 6f 72 64 65 72 73");
    put_u32(&out, 2);
    put_u8(&out, POINT_EXACT);
    put_u64(&out, 5);
    put_u64(&out, 990);
    put_u64(&out, 0);
    put_u64(&out, 980);
    put_u8(&out, 1);
    put_u32(&out, 0x1a2b3c4d);
    check_example(WIRE_POINT, &out,
                  "2a 00 00 00 50 02 00 00 00 02 05 00 00 00 00 00 00 00 de 03 00 00 00 00 00 00 00 00 00 00 00 00 "
                  "00 00 d4 03 00 00 00 00 00 00 01 4d 3c 2b 1a");
    put_u32(&out, 2);
    put_u64(&out, 990);
    put_u64(&out, 990);
    check_example(WIRE_START, &out,
                  "14 00 00 00 73 02 00 00 00 de 03 00 00 00 00 00 00 de 03 00 00 00 00 00 00");
}

TEST(test_the_documented_marks_are_the_codes)
{
    struct buf out = {0};
    put_u32(&out, 2);
    put_u64(&out, 1010);
    put_u64(&out, 1000);
    put_u32(&out, 7);
    put_u64(&out, 31);
    put_u64(&out, 0);
    CHECK_EQ(buf_size(&out), 2 * WIRE_ACK_ENTRY);
    check_example(WIRE_ACK, &out,
                  "28 00 00 00 6b 02 00 00 00 f2 03 00 00 00 00 00 00 e8 03 00 00 00 00 00 00 07 00 00 00 1f 00 00 00 "
                  "00 00 00 00 00 00 00 00 00 00 00 00");
    put_u32(&out, 2);
    put_u64(&out, 1000);
    put_u64(&out, 1000);
    CHECK_EQ(buf_size(&out), WIRE_MARKS_ENTRY);
    check_example(WIRE_MARKS, &out, "14 00 00 00 4d 02 00 00 00 e8 03 00 00 00 00 00 00 e8 03 00 00 00 00 00 00");
}
