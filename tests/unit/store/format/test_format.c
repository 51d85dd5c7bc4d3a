/*
 * The golden files of format version 1: this build writes them byte for byte, and reads them. They never change; a new
 * version adds its own. UNIT_GOLDEN=DIRECTORY has the first test write them there.
 */
#include "unit/journals.h"

static slice golden(const char *name)
{
    char path[64];
    snprintf(path, sizeof path, "golden/%s", name);
    return read_whole(unit_source(path));
}

static const struct journal_options three_each = {
    .id = {3, 14}, .segment_messages = 3, .segment_bytes = MIB, .durability = DURABILITY_COMMIT,
};

static struct store *open_fixed(struct journal **j)
{
    struct store *s = open_store();
    for (int i = 0; i < ID_SIZE; i++)
        s->disk.state.cluster.bytes[i] = (unsigned char)(i * 17);
    CHECK_EQ(journal_open(s, SLICE("t"), &three_each, j), 0);
    return s;
}

/* What the batch at this offset states. */
static struct origin origin_at(uint64_t offset)
{
    switch (offset) {
    case 0: return (struct origin){ORIGIN_PRODUCER, SLICE("producer 1"), JSON_INTEGER_MAX, 7};
    case 2: return (struct origin){ORIGIN_PRODUCER, SLICE("p"), 0, 0};
    case 7: return (struct origin){.kind = ORIGIN_KEY, .name = SLICE("a key of a request")};
    default: return (struct origin){0};
    }
}

static void add(struct store *s, struct journal *j, const struct message *m, uint32_t count)
{
    struct buf bytes = {0};
    for (uint32_t i = 0; i < count; i++)
        message_write(&bytes, &m[i]);
    struct append a = {
        .messages = buf_slice(&bytes), .count = count, .epoch = 26 + j->marks.tail / 3,
        .time_ms = 1700000000000 + (int64_t)j->marks.tail,
        .origin = origin_at(j->marks.tail),
    };
    uint64_t first;
    CHECK_EQ(journal_append(j, &a, &first), 0);
    buf_fini(&bytes);
    settle_store(s);
}

static void write_fixed(struct store *s, struct journal *j)
{
    struct buf headers = {0};
    header_write(&headers, SLICE("Content-Type"), SLICE("text/plain"));
    header_write(&headers, SLICE("empty"), SLICE(""));
    struct message m[3] = {
        {.key = SLICE("key"), .headers = buf_slice(&headers), .payload = SLICE("payload")},
        {.payload = SLICE("no key\0and a NUL")},
        {.key = SLICE("")},
    };
    add(s, j, m, 2);
    add(s, j, m + 2, 1);
    add(s, j, m, 3);
    add(s, j, m + 1, 1);
    add(s, j, m, 1);
    buf_fini(&headers);
}

static void keep(const char *folder, const char *name, slice bytes)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    put_file(path, bytes);
}

TEST(test_this_build_writes_format_1_byte_for_byte)
{
    struct journal *j;
    struct store *s = open_fixed(&j);
    write_fixed(s, j);
    size_t end = j->parts.active->written;
    store_close(s);
    slice sealed = read_whole(LOG_0), active = read_whole("data/topics/t/00000000000000000006.qwal");
    active.n = end;
    if (getenv("UNIT_GOLDEN")) {
        keep(getenv("UNIT_GOLDEN"), "v1.log", sealed);
        keep(getenv("UNIT_GOLDEN"), "v1.qwal", active);
    }
    CHECK_SLICE(sealed, golden("v1.log"));
    CHECK_SLICE(active, golden("v1.qwal"));
}

static void check_message(struct journal *j, uint64_t offset, slice key, slice payload)
{
    struct buf out = {0};
    uint64_t next;
    CHECK_EQ(journal_read(j, offset, offset + 1, MIB, &out, &next), 0);
    struct batch_head head;
    CHECK_EQ(batch_head_read(out.data, &head), 0);
    slice rest = batch_messages(out.data, &head);
    struct message m;
    struct origin origin, want = origin_at(head.first);
    for (uint64_t at = head.first; at <= offset; at++)
        CHECK_EQ(message_read(&rest, &m), 0);
    CHECK_EQ(m.key.p == NULL, key.p == NULL);
    CHECK_SLICE(m.key, key);
    CHECK_SLICE(m.payload, payload);
    CHECK_EQ(head.time_ms, 1700000000000 + (int64_t)head.first);
    CHECK_EQ(origin_read(out.data, &head, &origin), 0);
    CHECK_EQ(origin.kind, want.kind);
    CHECK_SLICE(origin.name, want.name);
    CHECK_EQ(origin.epoch, want.epoch);
    CHECK_EQ(origin.sequence, want.sequence);
    CHECK_EQ(head.epoch, 26 + head.first / 3);
    buf_fini(&out);
}

TEST(test_files_of_format_1_are_read)
{
    slice sealed = golden("v1.log"), active = golden("v1.qwal");
    struct store *s = open_store();
    abandon_store(s);
    CHECK_EQ(mkdir("data/topics/t", 0755), 0);
    put_file(LOG_0, sealed);
    put_file("data/topics/t/00000000000000000006.qwal", active);
    struct journal *j;
    s = open_fixed(&j);
    CHECK_EQ(j->marks.tail, 8);
    CHECK_EQ(journal_first(j), 0);
    check_message(j, 0, SLICE("key"), SLICE("payload"));
    check_message(j, 1, (slice){NULL, 0}, SLICE("no key\0and a NUL"));
    check_message(j, 2, SLICE(""), SLICE(""));
    check_message(j, 6, (slice){NULL, 0}, SLICE("no key\0and a NUL"));
    check_message(j, 7, SLICE("key"), SLICE("payload"));
    CHECK_EQ(j->damage.count, 1);          /* the file between the two is not there */
    CHECK_EQ(j->damage.ranges[0].from, 3);
    CHECK_EQ(j->damage.ranges[0].to, 6);
    store_close(s);
}
