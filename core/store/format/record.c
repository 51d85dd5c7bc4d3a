#include "store/format/record.h"

#include "base/crc32c.h"
#include "base/ensure.h"
#include "base/err.h"
#include "base/little_endian.h"

enum { BATCH_CRC_END = 8, CRC_SHIFT_MIN = 16 * KIB };

static const char file_magic[8] = "LIGNUM\r\n";

static uint32_t file_head_crc(const unsigned char in[FILE_HEAD_SIZE])
{
    return crc32c(crc32c(0, in, 12), in + 16, FILE_HEAD_SIZE - 16);
}

void file_head_write(unsigned char out[FILE_HEAD_SIZE], const struct file_head *head)
{
    memcpy(out, file_magic, sizeof file_magic);
    put16(out + 8, FORMAT_VERSION);
    put16(out + 10, FILE_HEAD_SIZE);
    memcpy(out + 16, head->cluster.bytes, ID_SIZE);
    put64(out + 32, head->topic.epoch);
    put64(out + 40, head->topic.offset);
    put64(out + 48, head->first);
    put64(out + 56, head->epoch);
    put32(out + 12, file_head_crc(out));
}

/* Whether only the beginning of a header was written: that is damage, and not a file of another kind. */
static bool is_partial_head(const unsigned char in[FILE_HEAD_SIZE])
{
    size_t n = FILE_HEAD_SIZE;
    while (n > 0 && in[n - 1] == 0)
        n--;
    return n < sizeof file_magic && memcmp(in, file_magic, n) == 0;
}

int file_head_read(const unsigned char in[FILE_HEAD_SIZE], struct file_head *head, unsigned *version)
{
    *version = get16(in + 8);
    bool magic_ok = memcmp(in, file_magic, sizeof file_magic) == 0;
    bool crc_ok = get32(in + 12) == file_head_crc(in);
    if (!magic_ok)
        return is_partial_head(in) ? -ERR_DAMAGED : -ERR_FORMAT;
    /* A newer version may have another checksum. But a flipped bit must not look like a newer version. */
    if (*version > FORMAT_VERSION)
        return crc_ok || get16(in + 10) > FILE_HEAD_SIZE ? -ERR_FORMAT : -ERR_DAMAGED;
    if (!crc_ok)
        return -ERR_DAMAGED;
    memcpy(head->cluster.bytes, in + 16, ID_SIZE);
    head->topic = (struct topic_id){get64(in + 32), get64(in + 40)};
    head->first = get64(in + 48);
    head->epoch = get64(in + 56);
    return 0;
}

/* The checksum of a batch covers its expected first offset, then everything after the checksum field. */
static uint32_t batch_crc_seed(uint64_t first)
{
    char seed[8];
    put64(seed, first);
    return crc32c(0, seed, sizeof seed);
}

static uint32_t batch_crc(const char *in, uint32_t size, uint64_t first)
{
    return crc32c(batch_crc_seed(first), in + BATCH_CRC_END, size - BATCH_CRC_END);
}

uint32_t batch_crc_after(uint32_t crc, const char *in, const struct batch_head *head)
{
    size_t n = head->size - BATCH_CRC_END;
    crc = crc32c(crc, in, BATCH_CRC_END);
    if (n < CRC_SHIFT_MIN)
        return crc32c(crc, in + BATCH_CRC_END, n);
    return crc32c_shift(crc ^ batch_crc_seed(head->first), n) ^ head->crc;
}

void batch_head_write(char *out, struct batch_head *head)
{
    ENSURE(head->size >= BATCH_HEAD_SIZE);
    put32(out, head->size);
    put64(out + 8, head->first);
    put32(out + 16, head->count);
    put16(out + 20, head->flags);
    put16(out + 22, head->origin);
    put64(out + 24, head->epoch);
    put64(out + 32, (uint64_t)head->time_ms);
    put64(out + 40, head->disk);
    put64(out + 48, head->producer_epoch);
    put64(out + 56, head->sequence);
    head->crc = batch_crc(out, head->size, head->first);
    put32(out + 4, head->crc);
}

static bool batch_head_possible(const struct batch_head *h)
{
    if (batch_is_end(h))
        return (h->flags & ~BATCH_FLAG_ORIGINS) == BATCH_FLAG_END && h->count == 0 && h->size == END_RECORD_SIZE
            && h->origin == 0;
    return (h->flags & ~BATCH_FLAG_PEERS) == 0 && h->count >= 1 && h->count <= BATCH_COUNT_MAX
        && h->size <= BATCH_BYTES_MAX && h->origin <= ORIGIN_SIZE_MAX
        && h->size >= BATCH_HEAD_SIZE + h->origin + (uint64_t)h->count * MESSAGE_HEAD_SIZE && h->disk <= h->first;
}

int batch_head_read(const char *in, struct batch_head *head)
{
    struct batch_head h = {
        .size = get32(in),
        .crc = get32(in + 4),
        .first = get64(in + 8),
        .count = get32(in + 16),
        .flags = get16(in + 20),
        .origin = get16(in + 22),
        .epoch = get64(in + 24),
        .time_ms = (int64_t)get64(in + 32),
        .disk = get64(in + 40),
        .producer_epoch = get64(in + 48),
        .sequence = get64(in + 56),
    };
    if (!batch_head_possible(&h))
        return -ERR_DAMAGED;
    *head = h;
    return 0;
}

bool batch_valid(const char *in, const struct batch_head *head, uint64_t expected_first)
{
    return head->first == expected_first && head->crc == batch_crc(in, head->size, expected_first);
}

void message_write(struct buf *out, const struct message *m)
{
    uint16_t key_size = m->key.p ? (uint16_t)m->key.n : KEY_NONE;
    size_t size = MESSAGE_HEAD_SIZE + m->key.n + m->headers.n + m->payload.n;
    char *p = buf_reserve(out, size);
    put32(p, (uint32_t)m->payload.n);
    put16(p + 4, key_size);
    put16(p + 6, (uint16_t)m->headers.n);
    p += MESSAGE_HEAD_SIZE;
    if (m->key.n)
        memcpy(p, m->key.p, m->key.n);
    if (m->headers.n)
        memcpy(p + m->key.n, m->headers.p, m->headers.n);
    if (m->payload.n)
        memcpy(p + m->key.n + m->headers.n, m->payload.p, m->payload.n);
    out->end += size;
}

int message_read(slice *rest, struct message *out)
{
    if (rest->n < MESSAGE_HEAD_SIZE)
        return -ERR_DAMAGED;
    size_t payload = get32(rest->p), key = get16(rest->p + 4), headers = get16(rest->p + 6);
    bool keyed = key != KEY_NONE;
    if (!keyed)
        key = 0;
    if (rest->n - MESSAGE_HEAD_SIZE < payload + key + headers)
        return -ERR_DAMAGED;
    const char *p = rest->p + MESSAGE_HEAD_SIZE;
    out->key = slice_of(keyed ? p : NULL, key);
    out->headers = slice_of(p + key, headers);
    out->payload = slice_of(p + key + headers, payload);
    *rest = slice_skip(*rest, MESSAGE_HEAD_SIZE + payload + key + headers);
    return 0;
}

void header_write(struct buf *out, slice name, slice value)
{
    char sizes[4];
    put16(sizes, (uint16_t)name.n);
    put16(sizes + 2, (uint16_t)value.n);
    buf_add(out, sizes, sizeof sizes);
    buf_add_slice(out, name);
    buf_add_slice(out, value);
}

bool header_read(slice *rest, slice *name, slice *value)
{
    if (rest->n < HEADER_SIZES)
        return false;
    size_t name_size = get16(rest->p), value_size = get16(rest->p + 2);
    if (rest->n - HEADER_SIZES < name_size + value_size)
        return false;
    *name = slice_of(rest->p + HEADER_SIZES, name_size);
    *value = slice_of(rest->p + HEADER_SIZES + name_size, value_size);
    *rest = slice_skip(*rest, HEADER_SIZES + name_size + value_size);
    return true;
}

slice header_named(slice headers, slice wanted)
{
    slice name, value;
    while (header_read(&headers, &name, &value))
        if (slice_eq(name, wanted))
            return value;
    return (slice){0};
}

void end_record_write(char out[END_RECORD_SIZE], const struct batch_head *like, uint32_t file_crc)
{
    /* It states no mark: two nodes, or one before and after a crash, must write the same bytes. */
    struct batch_head head = {
        .size = END_RECORD_SIZE, .first = like->first,
        .flags = (uint16_t)(BATCH_FLAG_END | (like->flags & BATCH_FLAG_ORIGINS)),
        .epoch = like->epoch, .time_ms = like->time_ms,
    };
    put32(out + BATCH_HEAD_SIZE, file_crc);
    put32(out + BATCH_HEAD_SIZE + 4, 0);
    batch_head_write(out, &head);
}

uint32_t end_record_file_crc(const char in[END_RECORD_SIZE])
{
    return get32(in + BATCH_HEAD_SIZE);
}
