#include "store/format/origin.h"

#include "base/crc32c.h"
#include "base/err.h"
#include "base/mem.h"
#include "unit/unit.h"

static struct file_head a_head(void)
{
    struct file_head h = {.topic = {3, 14}, .first = 159, .epoch = 26};
    for (int i = 0; i < ID_SIZE; i++)
        h.cluster.bytes[i] = (unsigned char)(i + 1);
    return h;
}

TEST(test_a_file_header_reads_back)
{
    unsigned char bytes[FILE_HEAD_SIZE];
    struct file_head in = a_head(), out;
    unsigned version;
    file_head_write(bytes, &in);
    CHECK_EQ(file_head_read(bytes, &out, &version), 0);
    CHECK_EQ(version, FORMAT_VERSION);
    CHECK(memcmp(&in, &out, sizeof in) == 0);
}

TEST(test_every_flipped_bit_of_a_file_header_is_noticed)
{
    unsigned char bytes[FILE_HEAD_SIZE];
    struct file_head in = a_head(), out;
    unsigned version;
    file_head_write(bytes, &in);
    for (int bit = 0; bit < FILE_HEAD_SIZE * 8; bit++) {
        bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
        CHECK(file_head_read(bytes, &out, &version) < 0);
        bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
    }
}

TEST(test_a_newer_version_is_refused_by_number_and_not_called_damaged)
{
    unsigned char bytes[FILE_HEAD_SIZE];
    struct file_head in = a_head(), out;
    unsigned version;
    file_head_write(bytes, &in);
    bytes[8] = 7;
    uint32_t crc = crc32c(crc32c(0, bytes, 12), bytes + 16, FILE_HEAD_SIZE - 16);
    memcpy(bytes + 12, &crc, sizeof crc);
    CHECK_EQ(file_head_read(bytes, &out, &version), -ERR_FORMAT);
    CHECK_EQ(version, 7);
}

static struct batch_head a_batch(struct buf *out)
{
    struct message m = {.key = SLICE("key"), .payload = SLICE("payload")};
    buf_reserve(out, BATCH_HEAD_SIZE);
    out->end += BATCH_HEAD_SIZE;
    message_write(out, &m);
    struct batch_head head = {
        .size = (uint32_t)buf_size(out), .first = 7, .count = 1, .epoch = 2, .time_ms = 3, .disk = 5,
        .sequence = 9, .producer_epoch = 10,
    };
    batch_head_write(out->data, &head);
    return head;
}

TEST(test_a_batch_is_valid_only_at_its_own_offset)
{
    struct buf b = {0};
    struct batch_head in = a_batch(&b), out;
    CHECK_EQ(batch_head_read(b.data, &out), 0);
    CHECK(memcmp(&in, &out, sizeof in) == 0);
    CHECK(batch_valid(b.data, &out, 7));
    CHECK(!batch_valid(b.data, &out, 8));
    out.first = 8;                     /* a header that states the wrong offset */
    CHECK(!batch_valid(b.data, &out, 8));
    buf_fini(&b);
}

TEST(test_the_checksum_of_a_file_follows_from_those_of_its_batches)
{
    struct buf out = {0};
    uint32_t crc = 5, want = 5;
    for (size_t size = 1; size < 100 * KIB; size += 1 + size / 3) {
        char *payload = mem_new(size);
        memset(payload, (int)size, size);
        struct message m = {.payload = slice_of(payload, size)};
        buf_clear(&out);
        buf_reserve(&out, BATCH_HEAD_SIZE);
        out.end += BATCH_HEAD_SIZE;
        message_write(&out, &m);
        struct batch_head head = {.size = (uint32_t)buf_size(&out), .first = size, .count = 1, .epoch = 2};
        batch_head_write(out.data, &head);
        crc = batch_crc_after(crc, out.data, &head);
        want = crc32c(want, out.data, head.size);
        CHECK_EQ(crc, want);
        mem_free(payload);
    }
    buf_fini(&out);
}

TEST(test_every_flipped_bit_of_a_batch_is_noticed)
{
    struct buf b = {0};
    struct batch_head head = a_batch(&b);
    for (size_t bit = 0; bit < head.size * 8; bit++) {
        b.data[bit / 8] = (char)(b.data[bit / 8] ^ (1 << bit % 8));
        struct batch_head out;
        bool ok = batch_head_read(b.data, &out) == 0 && out.size <= head.size && batch_valid(b.data, &out, 7);
        CHECK(!ok);
        b.data[bit / 8] = (char)(b.data[bit / 8] ^ (1 << bit % 8));
    }
    buf_fini(&b);
}

TEST(test_a_message_without_a_key_differs_from_one_with_an_empty_key)
{
    struct buf b = {0};
    struct message none = {.payload = SLICE("x")}, empty = {.key = SLICE(""), .payload = SLICE("y")}, m;
    message_write(&b, &none);
    message_write(&b, &empty);
    slice rest = buf_slice(&b);
    CHECK_EQ(message_read(&rest, &m), 0);
    CHECK(m.key.p == NULL);
    CHECK_SLICE(m.payload, SLICE("x"));
    CHECK_EQ(message_read(&rest, &m), 0);
    CHECK(m.key.p != NULL);
    CHECK_EQ(m.key.n, 0);
    CHECK_SLICE(m.payload, SLICE("y"));
    CHECK_EQ(rest.n, 0);
    buf_fini(&b);
}

TEST(test_a_message_cut_anywhere_is_refused)
{
    struct buf b = {0}, headers = {0};
    header_write(&headers, SLICE("name"), SLICE("value"));
    struct message in = {.key = SLICE("k"), .headers = buf_slice(&headers), .payload = SLICE("payload")}, m;
    message_write(&b, &in);
    for (size_t n = 0; n < buf_size(&b); n++) {
        slice cut = slice_of(b.data, n);
        CHECK_EQ(message_read(&cut, &m), -ERR_DAMAGED);
    }
    slice all = buf_slice(&b), name, value;
    CHECK_EQ(message_read(&all, &m), 0);
    CHECK(header_read(&m.headers, &name, &value));
    CHECK_SLICE(name, SLICE("name"));
    CHECK_SLICE(value, SLICE("value"));
    CHECK(!header_read(&m.headers, &name, &value));
    buf_fini(&b);
    buf_fini(&headers);
}

TEST(test_an_end_record_says_where_the_file_ends_and_what_it_sums_to)
{
    char end[END_RECORD_SIZE];
    struct batch_head like = {.first = 42, .epoch = 3, .time_ms = 4, .disk = 17, .sequence = 6,
                              .flags = BATCH_FLAG_PEERS}, head;
    end_record_write(end, &like, 0xdeadbeef);
    CHECK_EQ(batch_head_read(end, &head), 0);
    CHECK_EQ(head.flags, BATCH_FLAG_END);
    CHECK_EQ(head.count, 0);
    CHECK_EQ(head.disk, 0);
    CHECK(batch_valid(end, &head, 42));
    CHECK_EQ(end_record_file_crc(end), 0xdeadbeef);
    like.flags |= BATCH_FLAG_ORIGINS;
    end_record_write(end, &like, 0xdeadbeef);
    CHECK_EQ(batch_head_read(end, &head), 0);
    CHECK_EQ(head.flags, BATCH_FLAG_END | BATCH_FLAG_ORIGINS);
}

TEST(test_a_head_with_impossible_numbers_is_refused)
{
    struct buf b = {0};
    struct batch_head good = a_batch(&b), out;
    struct batch_head bad[] = {good, good, good, good, good, good, good, good};
    bad[0].count = 0;
    bad[1].count = BATCH_COUNT_MAX + 1;
    bad[2].flags = 4;
    bad[3].disk = good.first + 1;
    bad[4].count = 100;                /* more messages than fit the bytes */
    bad[5].origin = 11;                /* of 18 bytes, which a message with nothing in it leaves 10 */
    bad[6].origin = 0xffff;
    bad[7] = (struct batch_head){.size = END_RECORD_SIZE, .flags = BATCH_FLAG_END, .origin = 1};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        batch_head_write(b.data, &bad[i]);
        CHECK_EQ(batch_head_read(b.data, &out), -ERR_DAMAGED);
    }
    buf_fini(&b);
}

/* ---- origins ---- */

static struct batch_head batch_from(struct buf *out, const struct origin *o)
{
    struct message m = {.key = SLICE("key"), .payload = SLICE("payload")};
    size_t origin = origin_size(o);
    char *p = buf_reserve(out, BATCH_HEAD_SIZE + origin);
    if (origin > 0)
        origin_write(p + BATCH_HEAD_SIZE, o);
    out->end += BATCH_HEAD_SIZE + origin;
    message_write(out, &m);
    struct batch_head head = {
        .size = (uint32_t)buf_size(out), .first = 7, .count = 1, .epoch = 2, .time_ms = 3, .disk = 5,
        .origin = (uint16_t)origin, .producer_epoch = o->epoch, .sequence = o->sequence,
    };
    batch_head_write(out->data, &head);
    return head;
}

TEST(test_an_origin_is_read_as_written_and_without_it_the_batch_is_the_bare_one)
{
    char text[IDEMPOTENCY_KEY_MAX];
    memset(text, 'n', sizeof text);
    struct origin origins[] = {
        {ORIGIN_PRODUCER, SLICE("p"), 0, 0},
        {ORIGIN_PRODUCER, slice_of(text, PRODUCER_ID_MAX), JSON_INTEGER_MAX, JSON_INTEGER_MAX},
        {ORIGIN_KEY, slice_of(text, IDEMPOTENCY_KEY_MAX), 0, 0},
        {ORIGIN_LETTER, slice_of(text, IDEMPOTENCY_KEY_MAX), 0, 0},
        {.kind = ORIGIN_NONE},
    };
    struct buf bare = {0};
    batch_from(&bare, &origins[sizeof origins / sizeof *origins - 1]);
    for (size_t i = 0; i < sizeof origins / sizeof *origins; i++) {
        struct buf b = {0}, stripped = {0};
        struct origin out;
        batch_from(&b, &origins[i]);
        struct batch_head head;
        CHECK_EQ(batch_head_read(b.data, &head), 0);
        CHECK(batch_valid(b.data, &head, 7));
        CHECK_EQ(origin_read(b.data, &head, &out), 0);
        CHECK_EQ(out.kind, origins[i].kind);
        CHECK_SLICE(out.name, origins[i].name);
        CHECK_EQ(out.epoch, origins[i].epoch);
        CHECK_EQ(out.sequence, origins[i].sequence);
        origin_strip(&stripped, b.data, &head);
        CHECK_SLICE(buf_slice(&stripped), buf_slice(&bare));
        buf_fini(&b);
        buf_fini(&stripped);
    }
    buf_fini(&bare);
}

TEST(test_an_origin_that_nobody_writes_is_refused)
{
    struct buf b = {0};
    struct origin p = {ORIGIN_PRODUCER, SLICE("p"), 1, 2}, out;
    struct batch_head good = batch_from(&b, &p);
    CHECK_EQ(origin_read(b.data, &good, &out), 0);
    struct batch_head bad[] = {good, good, good, good};
    bad[0].origin = 0;                 /* numbers without a producer */
    bad[1].origin = 1;                 /* no name */
    bad[2].sequence = (uint64_t)JSON_INTEGER_MAX + 1;
    bad[3].producer_epoch = (uint64_t)JSON_INTEGER_MAX + 1;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK_EQ(origin_read(b.data, &bad[i], &out), -ERR_DAMAGED);
    for (int kind = 0; kind < 256; kind++) {
        b.data[BATCH_HEAD_SIZE] = (char)kind;
        CHECK_EQ(origin_read(b.data, &good, &out), kind == ORIGIN_PRODUCER ? 0 : -ERR_DAMAGED);
    }
    buf_fini(&b);
}
