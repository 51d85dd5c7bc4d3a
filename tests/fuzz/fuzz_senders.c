/*
 * Arbitrary bytes as a snapshot of producers (store/senders), then requests of some of them. Neither may crash.
 * What was loaded is saved as the same bytes, a request that was noted is a duplicate from then on, and the bounds
 * hold.
 *
 * The first byte chooses whether the head of the snapshot and its checksum are corrected first. Two bytes of size
 * and the snapshot follow, then requests of 4 bytes: kind and name, epoch, sequence, time.
 */
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "base/ensure.h"
#include "store/senders/senders.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { REPAIR = 1, HEAD_SIZE = 56, CRC_AT = 52, PRODUCERS = 8, KEYS = 4, AGE_MS = 1000 };

static const struct senders_place place = {{1, 5}, 100, 3};
static const struct senders_bounds bounds = {{PRODUCERS, AGE_MS}, {KEYS, AGE_MS / 10}, {PRODUCERS, AGE_MS}};

static void repair(char *bytes, size_t n)
{
    static const uint64_t magic = UINT64_C(0x3130534445444e53);
    if (n < HEAD_SIZE)
        return;
    uint64_t size = n - HEAD_SIZE;
    memcpy(bytes, &magic, 8);
    memcpy(bytes + 8, &place, sizeof(place));
    memcpy(bytes + 40, &size, 8);
    uint32_t crc = crc32c(crc32c(0, bytes, CRC_AT), bytes + HEAD_SIZE, size);
    memcpy(bytes + CRC_AT, &crc, 4);
}

/* The snapshot, loaded; or none, where it is not whole. */
static struct senders *load(slice bytes)
{
    struct senders *s, *again;
    struct buf saved = {0}, twice = {0};
    uint64_t epoch;
    if (senders_load(bytes, &place, &epoch, &s) < 0)
        return senders_new();
    senders_save(s, &place, &saved);
    ENSURE(buf_size(&saved) == senders_size(s));
    ENSURE(senders_load(buf_slice(&saved), &place, &epoch, &again) == 0);
    ENSURE(epoch == place.epoch);
    senders_save(again, &place, &twice);
    ENSURE(slice_eq(buf_slice(&saved), buf_slice(&twice)));
    senders_free(again);
    buf_fini(&saved);
    buf_fini(&twice);
    return s;
}

static void request(struct senders *s, const unsigned char *u, uint64_t first)
{
    char name[2] = {'p', (char)('a' + (u[0] >> 1 & 15))};
    struct origin o = {u[0] & 1 ? ORIGIN_KEY : ORIGIN_PRODUCER, slice_of(name, 1 + (u[0] >> 5 & 1)), 0, 0};
    int64_t time_ms = (int64_t)first + u[3];
    if (o.kind == ORIGIN_PRODUCER) {
        o.epoch = u[1] >> 4;
        o.sequence = u[2];
    }
    struct batch_head head = {.first = first, .count = 1, .time_ms = time_ms, .epoch = place.epoch};
    struct sent sent = senders_ask(s, &bounds, &o, time_ms);
    ENSURE(sent.is == SENT_NEW || o.kind == ORIGIN_PRODUCER || sent.is == SENT_BEFORE);
    if (sent.is != SENT_NEW && !(u[1] & 1))
        return;                      /* else it is noted anyhow, as damage in the log would have it */
    senders_note(s, &bounds, &head, &o);
    sent = senders_ask(s, &bounds, &o, time_ms);
    ENSURE(sent.is == SENT_BEFORE);
    ENSURE(sent.has_first);
    ENSURE(sent.first == first);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 3)
        return 0;
    size_t n = data[1] | (size_t)data[2] << 8;
    if (n > size - 3)
        n = size - 3;
    char *bytes = malloc(n + 1);
    memcpy(bytes, data + 3, n);
    if (data[0] & REPAIR)
        repair(bytes, n);
    struct senders *s = load(slice_of(bytes, n));
    free(bytes);
    uint64_t first = place.offset;
    for (const uint8_t *u = data + 3 + n; (size_t)(u - data) + 4 <= size; u += 4)
        request(s, u, first++);
    senders_free(s);
    return 0;
}
