/*
 * Open addressing with linear probing. Entries behind a removed one are shifted back into the hole, so there are no
 * tombstones and a probe ends at the first empty slot. The hash is SipHash-1-3.
 */
#include "base/map.h"

#include <endian.h>
#include <sys/random.h>

#include "base/ensure.h"
#include "base/mem.h"

enum { CAP_FIRST = 16 };

/* A map may have a million slots, so a slot has 24 bytes: half of the hash and a short length instead of a slice. */
struct map_slot {
    uint32_t hash;      /* its low half */
    uint32_t n;
    const char *key;    /* borrowed; n bytes */
    void *value;        /* outlives us; NULL marks an empty slot */
};
_Static_assert(sizeof(struct map_slot) == 24, "no padding");

static inline uint64_t rotate(uint64_t x, int by)
{
    return x << by | x >> (64 - by);
}

static inline void sip_round(uint64_t v[4])
{
    v[0] += v[1], v[2] += v[3];
    v[1] = rotate(v[1], 13) ^ v[0], v[3] = rotate(v[3], 16) ^ v[2];
    v[0] = rotate(v[0], 32);
    v[2] += v[1], v[0] += v[3];
    v[1] = rotate(v[1], 17) ^ v[2], v[3] = rotate(v[3], 21) ^ v[0];
    v[2] = rotate(v[2], 32);
}

static inline void sip_word(uint64_t v[4], uint64_t word)
{
    v[3] ^= word;
    sip_round(v);
    v[0] ^= word;
}

static uint32_t hash_of(const struct map *m, slice key)
{
    uint64_t v[4] = {
        m->seed ^ UINT64_C(0x736f6d6570736575), ~m->seed ^ UINT64_C(0x646f72616e646f6d),
        m->seed ^ UINT64_C(0x6c7967656e657261), ~m->seed ^ UINT64_C(0x7465646279746573),
    };
    uint64_t last = (uint64_t)key.n << 56;
    bool whole = key.n >= 8;
    for (; key.n >= 8; key = slice_skip(key, 8)) {
        uint64_t word;
        memcpy(&word, key.p, 8);
        sip_word(v, le64toh(word));
    }
    if (whole && key.n > 0) {                    /* the rest, from a word that ends with it */
        uint64_t word;
        memcpy(&word, key.p + key.n - 8, 8);
        last |= le64toh(word) >> 8 * (8 - key.n);
    }
    for (size_t i = 0; i < key.n && !whole; i++)
        last |= (uint64_t)(unsigned char)key.p[i] << 8 * i;
    sip_word(v, last);
    v[2] ^= 0xff;
    for (int i = 0; i < 3; i++)
        sip_round(v);
    return (uint32_t)(v[0] ^ v[1] ^ v[2] ^ v[3]);
}

/* The slot that holds the key, or the empty one where it belongs. */
static struct map_slot *slot_of(const struct map *m, slice key, uint32_t hash)
{
    size_t i = hash & (m->cap - 1);
    for (;; i = (i + 1) & (m->cap - 1)) {
        struct map_slot *s = &m->slots[i];
        if (!s->value || (s->hash == hash && slice_eq(slice_of(s->key, s->n), key)))
            return s;
    }
}

static void grow(struct map *m)
{
    struct map old = *m;
    m->cap = old.cap ? old.cap * 2 : CAP_FIRST;
    m->slots = mem_new(m->cap * sizeof *m->slots);
    for (size_t i = 0; i < old.cap; i++) {
        const struct map_slot *s = &old.slots[i];
        if (s->value)
            *slot_of(m, slice_of(s->key, s->n), s->hash) = *s;
    }
    mem_free(old.slots);
}

void map_init(struct map *m)
{
    *m = (struct map){0};
    ENSURE(getrandom(&m->seed, sizeof m->seed, 0) == sizeof m->seed);
}

void map_fini(struct map *m)
{
    mem_free(m->slots);
    *m = (struct map){0};
}

void map_clear(struct map *m)
{
    if (m->cap > CAP_FIRST) {
        mem_free(m->slots);
        m->slots = NULL;
        m->cap = 0;
    }
    for (size_t i = 0; i < m->cap; i++)
        m->slots[i].value = NULL;
    m->count = 0;
}

void *map_get(const struct map *m, slice key)
{
    return m->count ? slot_of(m, key, hash_of(m, key))->value : NULL;
}

void map_put(struct map *m, slice key, void *value)
{
    ENSURE(value);
    ENSURE(key.n <= UINT32_MAX);
    ENSURE(m->count < UINT32_MAX / 2);
    if ((m->count + 1) * 4 > m->cap * 3)
        grow(m);
    uint32_t hash = hash_of(m, key);
    struct map_slot *s = slot_of(m, key, hash);
    ENSURE(!s->value);
    *s = (struct map_slot){hash, (uint32_t)key.n, key.p, value};
    m->count++;
}

/* An entry moves into the hole when the hole lies between its home slot and its own. */
static void close_hole(struct map *m, size_t hole)
{
    size_t mask = m->cap - 1;
    for (size_t i = (hole + 1) & mask; m->slots[i].value; i = (i + 1) & mask) {
        size_t home = m->slots[i].hash & mask;
        if (((i - home) & mask) >= ((i - hole) & mask)) {
            m->slots[hole] = m->slots[i];
            hole = i;
        }
    }
    m->slots[hole].value = NULL;
}

void *map_remove(struct map *m, slice key)
{
    if (m->count == 0)
        return NULL;
    struct map_slot *s = slot_of(m, key, hash_of(m, key));
    void *value = s->value;
    if (!value)
        return NULL;
    close_hole(m, (size_t)(s - m->slots));
    m->count--;
    return value;
}

void *map_next(const struct map *m, size_t *at)
{
    while (*at < m->cap) {
        void *value = m->slots[(*at)++].value;
        if (value)
            return value;
    }
    return NULL;
}
