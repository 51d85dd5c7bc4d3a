#include "store/format/commit_record.h"

#include "base/err.h"
#include "base/little_endian.h"
#include "unit/unit.h"

static const struct commit_head head = {
    .in_use = true, .cluster = {{1, 2}}, .incarnation = {{3, 4}}, .use = 7, .seed = 0x1122334455667788,
};

static struct commit_record record(const char *topic, slice bytes)
{
    return (struct commit_record){.topic = slice_from(topic), .id = {2, 9}, .first = 100, .position = 640,
                                  .bytes = bytes};
}

static void add(struct buf *out, const char *topic, slice bytes)
{
    struct commit_record r = record(topic, bytes);
    memcpy(commit_frame_add(out, &r), bytes.p, bytes.n);
}

static struct buf frame_of_two(uint64_t place)
{
    struct buf out = {0};
    commit_frame_begin(&out);
    add(&out, "orders", SLICE("abc"));
    add(&out, "t", SLICE(""));
    commit_frame_finish(&out, 2, head.seed, place);
    return out;
}

TEST(test_a_frame_is_read_as_it_was_written)
{
    struct buf out = frame_of_two(4096);
    struct commit_frame f;
    struct commit_record r;
    CHECK(commit_frame_read(buf_slice(&out), head.seed, 4096, &f));
    CHECK_EQ(f.count, 2);
    CHECK_EQ(f.size, buf_size(&out));
    CHECK(commit_frame_next(&f, &r));
    CHECK_SLICE(r.topic, SLICE("orders"));
    CHECK_SLICE(r.bytes, SLICE("abc"));
    CHECK_EQ(r.id.epoch, 2);
    CHECK_EQ(r.id.offset, 9);
    CHECK_EQ(r.first, 100);
    CHECK_EQ(r.position, 640);
    CHECK(commit_frame_next(&f, &r));
    CHECK_SLICE(r.topic, SLICE("t"));
    CHECK_EQ(r.bytes.n, 0);
    CHECK(!commit_frame_next(&f, &r));
    buf_fini(&out);
}

/* The same bytes as doc/format.md says, so that a change of the format is seen here. */
TEST(test_the_bytes_of_a_frame_are_those_of_the_page)
{
    struct buf out = frame_of_two(4096);
    const char *p = out.data;
    CHECK_SLICE(slice_of(p, 4), SLICE("FRAM"));
    CHECK_EQ(get32(p + 4), buf_size(&out));
    CHECK_EQ(get32(p + 12), 2);
    CHECK_EQ(get32(p + 16), 64);           /* 48, 3 bytes, 6 of the name, up to a multiple of 8 */
    CHECK_EQ(get32(p + 20), 3);
    CHECK_EQ(get16(p + 24), 6);
    CHECK_EQ(get64(p + 32), 2);
    CHECK_EQ(get64(p + 40), 9);
    CHECK_EQ(get64(p + 48), 100);
    CHECK_EQ(get64(p + 56), 640);
    CHECK_SLICE(slice_of(p + 64, 9), SLICE("abcorders"));
    buf_fini(&out);
}

TEST(test_a_frame_of_another_use_or_place_or_with_any_bit_changed_is_none)
{
    struct buf out = frame_of_two(4096);
    struct commit_frame f;
    slice in = buf_slice(&out);
    CHECK(!commit_frame_read(in, head.seed + 1, 4096, &f));
    CHECK(!commit_frame_read(in, head.seed, 4160, &f));
    for (size_t n = 0; n < in.n; n++)
        CHECK(!commit_frame_read(slice_of(in.p, n), head.seed, 4096, &f));
    for (size_t bit = 0; bit < in.n * 8; bit++) {
        out.data[bit / 8] ^= (char)(1 << bit % 8);
        CHECK(!commit_frame_read(in, head.seed, 4096, &f));
        out.data[bit / 8] ^= (char)(1 << bit % 8);
    }
    CHECK(commit_frame_read(in, head.seed, 4096, &f));
    buf_fini(&out);
}

TEST(test_a_record_that_claims_more_than_its_frame_has_ends_it)
{
    struct buf out = {0};
    struct commit_frame f;
    struct commit_record r;
    commit_frame_begin(&out);
    add(&out, "orders", SLICE("abc"));
    static const struct { size_t at; uint32_t value; } lies[] = {{0, 65}, {0, 47}, {0, 0}, {4, 11}, {4, UINT32_MAX}};
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        char *p = out.data + FRAME_HEAD_SIZE + lies[i].at;
        uint32_t before = get32(p);
        put32(p, lies[i].value);
        commit_frame_finish(&out, 1, 1, 4096);
        CHECK(commit_frame_read(buf_slice(&out), 1, 4096, &f));
        CHECK(!commit_frame_next(&f, &r));
        put32(p, before);
    }
    buf_fini(&out);
}

TEST(test_a_head_is_read_though_one_copy_of_it_is_damaged)
{
    char block[COMMIT_HEAD_SIZE];
    struct commit_head got;
    for (size_t i = 0; i < 2; i++) {
        commit_head_write(block, &head);
        block[i * 2048 + 50] ^= 1;
        CHECK_EQ(commit_head_read(block, &got), 0);
        CHECK(got.in_use);
        CHECK_EQ(got.use, 7);
        CHECK_EQ(got.seed, head.seed);
        CHECK(id_eq(&got.incarnation, &head.incarnation));
    }
    block[50] ^= 1;
    CHECK_EQ(commit_head_read(block, &got), -ERR_DAMAGED);
}

TEST(test_a_head_of_zeros_is_free_and_one_of_a_newer_version_is_refused)
{
    char block[COMMIT_HEAD_SIZE] = {0};
    struct commit_head got;
    CHECK_EQ(commit_head_read(block, &got), 0);
    CHECK(!got.in_use);
    commit_head_write(block, &head);
    block[8] = COMMIT_VERSION + 1;
    CHECK_EQ(commit_head_read(block, &got), -ERR_FORMAT);
}
