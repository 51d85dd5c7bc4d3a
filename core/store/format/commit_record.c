#include "store/format/commit_record.h"

#include "base/crc32c.h"
#include "base/ensure.h"
#include "base/err.h"
#include "base/little_endian.h"

enum { COPY_SIZE = 64, COPY_SECOND = 2048, FRAME_MAGIC = 0x4d415246, RECORD_ALIGN = 8 };

static const char commit_magic[8] = "LIGNUMCL";

/* -- the head --------------------------------------------------------------------------------------------- */

static uint32_t head_crc(const char in[COPY_SIZE])
{
    return crc32c(crc32c(0, in, 12), in + 16, COPY_SIZE - 16);
}

void commit_head_write(char out[COMMIT_HEAD_SIZE], const struct commit_head *head)
{
    memset(out, 0, COMMIT_HEAD_SIZE);
    memcpy(out, commit_magic, sizeof commit_magic);
    put16(out + 8, COMMIT_VERSION);
    put16(out + 10, head->in_use);
    memcpy(out + 16, head->cluster.bytes, ID_SIZE);
    memcpy(out + 32, head->incarnation.bytes, ID_SIZE);
    put64(out + 48, head->use);
    put64(out + 56, head->seed);
    put32(out + 12, head_crc(out));
    memcpy(out + COPY_SECOND, out, COPY_SIZE);
}

static int copy_read(const char in[COPY_SIZE], struct commit_head *out)
{
    static const char zeros[COPY_SIZE];
    *out = (struct commit_head){0};
    if (memcmp(in, zeros, COPY_SIZE) == 0)
        return 0;
    if (memcmp(in, commit_magic, sizeof commit_magic) != 0)
        return -ERR_DAMAGED;
    if (get16(in + 8) != COMMIT_VERSION)
        return -ERR_FORMAT;
    if (get32(in + 12) != head_crc(in))
        return -ERR_DAMAGED;
    out->in_use = get16(in + 10);
    memcpy(out->cluster.bytes, in + 16, ID_SIZE);
    memcpy(out->incarnation.bytes, in + 32, ID_SIZE);
    out->use = get64(in + 48);
    out->seed = get64(in + 56);
    return 0;
}

int commit_head_read(const char in[COMMIT_HEAD_SIZE], struct commit_head *out)
{
    struct commit_head second;
    int rc = copy_read(in, out), rc_second = copy_read(in + COPY_SECOND, &second);
    /* The two are written at once: where only one says anything, it is the one that was not lost. */
    if (rc == 0 && out->use == 0 && rc_second == 0)
        *out = second;
    if (rc == -ERR_DAMAGED && rc_second == 0 && second.use > 0)
        return *out = second, 0;
    return rc;
}

/* -- frames ----------------------------------------------------------------------------------------------- */

void commit_frame_begin(struct buf *out)
{
    ENSURE(buf_size(out) == 0);
    buf_reserve(out, FRAME_HEAD_SIZE);
    out->end += FRAME_HEAD_SIZE;
}

size_t commit_record_size(slice topic, size_t n)
{
    size_t size = COMMIT_RECORD_HEAD_SIZE + n + topic.n;
    return (size + RECORD_ALIGN - 1) / RECORD_ALIGN * RECORD_ALIGN;
}

char *commit_frame_add(struct buf *out, const struct commit_record *r)
{
    size_t n = r->bytes.n, size = commit_record_size(r->topic, n);
    char *p = buf_reserve(out, size);
    memset(p, 0, COMMIT_RECORD_HEAD_SIZE);
    put32(p, (uint32_t)size);
    put32(p + 4, (uint32_t)n);
    put16(p + 8, (uint16_t)r->topic.n);
    put64(p + 16, r->id.epoch);
    put64(p + 24, r->id.offset);
    put64(p + 32, r->first);
    put64(p + 40, r->position);
    char *name = p + COMMIT_RECORD_HEAD_SIZE + n;
    memcpy(name, r->topic.p, r->topic.n);
    memset(name + r->topic.n, 0, (size_t)(p + size - name) - r->topic.n);
    out->end += size;
    return p + COMMIT_RECORD_HEAD_SIZE;
}

static uint32_t frame_crc(const char *p, uint32_t size, uint64_t seed, uint64_t place)
{
    char where[16];
    put64(where, seed);
    put64(where + 8, place);
    return crc32c(crc32c(crc32c(0, where, sizeof where), p, 8), p + 12, size - 12);
}

void commit_frame_finish(struct buf *frame, uint32_t count, uint64_t seed, uint64_t place)
{
    char *p = frame->data + frame->at;
    uint32_t size = (uint32_t)buf_size(frame);
    put32(p, FRAME_MAGIC);
    put32(p + 4, size);
    put32(p + 12, count);
    put32(p + 8, frame_crc(p, size, seed, place));
}

bool commit_frame_read(slice in, uint64_t seed, uint64_t place, struct commit_frame *out)
{
    if (in.n < FRAME_HEAD_SIZE || get32(in.p) != FRAME_MAGIC)
        return false;
    uint32_t size = get32(in.p + 4);
    if (size < FRAME_HEAD_SIZE || size > in.n || get32(in.p + 8) != frame_crc(in.p, size, seed, place))
        return false;
    *out = (struct commit_frame){.size = size, .count = get32(in.p + 12)};
    out->rest = slice_of(in.p + FRAME_HEAD_SIZE, size - FRAME_HEAD_SIZE);
    return true;
}

bool commit_frame_next(struct commit_frame *f, struct commit_record *out)
{
    const char *p = f->rest.p;
    if (f->rest.n < COMMIT_RECORD_HEAD_SIZE)
        return false;
    uint32_t size = get32(p), n = get32(p + 4);
    uint16_t name = get16(p + 8);
    if (size > f->rest.n || size < COMMIT_RECORD_HEAD_SIZE || (uint64_t)n + name > size - COMMIT_RECORD_HEAD_SIZE)
        return false;
    *out = (struct commit_record){
        .id = {get64(p + 16), get64(p + 24)}, .first = get64(p + 32), .position = get64(p + 40),
        .bytes = slice_of(p + COMMIT_RECORD_HEAD_SIZE, n), .topic = slice_of(p + COMMIT_RECORD_HEAD_SIZE + n, name),
    };
    f->rest = slice_skip(f->rest, size);
    return true;
}
