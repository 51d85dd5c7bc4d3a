#include "broker/wire.h"

#include <stdlib.h>

#include "unit.h"

TEST(test_fields_are_little_endian_and_come_back)
{
    struct buf out = {0};
    put_u8(&out, 0xfe);
    put_u16(&out, 0x0102);
    put_u32(&out, 0x01020304);
    put_u64(&out, UINT64_C(0x0102030405060708));
    put_text(&out, SLICE("abc"));
    CHECK_SLICE(buf_slice(&out), SLICE("\xfe\x02\x01\x04\x03\x02\x01\x08\x07\x06\x05\x04\x03\x02\x01\x03\0abc"));
    struct wire w = {.rest = buf_slice(&out)};
    CHECK_EQ(get_u8(&w), 0xfe);
    CHECK_EQ(get_u16(&w), 0x0102);
    CHECK_EQ(get_u32(&w), 0x01020304);
    CHECK(get_u64(&w) == UINT64_C(0x0102030405060708));
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

TEST(test_bytes_left_over_are_not_done)
{
    struct wire w = {.rest = SLICE("\1\2")};
    get_u8(&w);
    CHECK(!w.bad);
    CHECK(!wire_done(&w));
}
