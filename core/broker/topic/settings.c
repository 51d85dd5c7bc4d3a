#include "broker/topic/settings.h"

#include <stddef.h>

#include "base/err.h"
#include "base/mem.h"

/* A setting is a number, or one of a few words whose places in the list are the enum's values. */
struct setting {
    const char *name;
    size_t offset;
    size_t size;
    uint64_t min, max;
    const char *words[4];
};

#define FIELD(member) offsetof(struct topic_settings, member), sizeof(((struct topic_settings *)0)->member)

static const uint64_t age_max = AGE_S_MAX * 1000;

static const struct setting table[] = {
    {"replication", FIELD(replication), 0, 0, {"wal", "live"}},
    {"copies", FIELD(copies), 1, COPIES_MAX, {0}},
    {"durability", FIELD(durability), 0, 0, {"commit", "interval", "os"}},
    {"retain.age", FIELD(retain.age_ms), 0, age_max, {0}},
    {"retain.bytes", FIELD(retain.bytes), 0, JSON_INTEGER_MAX, {0}},
    {"retain.messages", FIELD(retain.messages), 0, JSON_INTEGER_MAX, {0}},
    {"retain.groups", FIELD(retain_groups), 0, 0, {"false", "true"}},
    {"expire", FIELD(expire_ms), 0, age_max, {0}},
    {"segment.messages", FIELD(segment_messages), 1, SEGMENT_MESSAGES_MAX, {0}},
    {"segment.bytes", FIELD(segment_bytes), SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX, {0}},
    {"segment.age", FIELD(segment_age_ms), 0, age_max, {0}},
    {"dedupe.age", FIELD(dedupe_age_ms), 1, PRODUCER_AGE_MS, {0}},
    {"dedupe.keys", FIELD(dedupe_keys), 1, DEDUPE_KEYS_MAX, {0}},
};
enum { SETTINGS = sizeof(table) / sizeof(table[0]) };

const struct topic_settings settings_default = {
    .replication = REPLICATION_WAL,
    .copies = 1,
    .durability = DURABILITY_COMMIT,
    .segment_messages = SEGMENT_MESSAGES_DEFAULT,
    .segment_bytes = SEGMENT_BYTES_DEFAULT,
    .dedupe_age_ms = DEDUPE_AGE_MS_DEFAULT,
    .dedupe_keys = DEDUPE_KEYS_DEFAULT,
};

_Static_assert(sizeof(enum replication) == 4, "read and written as 32 bits below");
_Static_assert(sizeof(enum durability) == 4, "read and written as 32 bits below");

static uint64_t field_get(const struct topic_settings *s, const struct setting *f)
{
    uint64_t wide = 0;
    uint32_t narrow = 0;
    const char *at = (const char *)s + f->offset;
    if (f->size == sizeof(narrow)) {
        memcpy(&narrow, at, sizeof(narrow));
        return narrow;
    }
    memcpy(&wide, at, sizeof(wide));
    return wide;
}

static void field_put(struct topic_settings *s, const struct setting *f, uint64_t v)
{
    uint32_t narrow = (uint32_t)v;
    char *at = (char *)s + f->offset;
    if (f->size == sizeof(narrow))
        memcpy(at, &narrow, sizeof(narrow));
    else
        memcpy(at, &v, sizeof(v));
}

static const struct setting *setting_find(slice name)
{
    for (size_t i = 0; i < SETTINGS; i++)
        if (slice_eq(name, slice_from(table[i].name)))
            return &table[i];
    return NULL;
}

static int word_set(struct topic_settings *s, const struct setting *f, slice value, struct buf *why)
{
    for (uint64_t i = 0; i < 4 && f->words[i] != NULL; i++) {
        if (slice_eq(value, slice_from(f->words[i]))) {
            field_put(s, f, i);
            return 0;
        }
    }
    buf_addf(why, "%s must be", f->name);
    for (size_t i = 0; i < 4 && f->words[i] != NULL; i++)
        buf_addf(why, "%s \"%s\"", i == 0 ? "" : " or", f->words[i]);
    return -ERR_BAD_VALUE;
}

static int number_set(struct topic_settings *s, const struct setting *f, slice value, struct buf *why)
{
    uint64_t v = 0;
    if (slice_u64(value, &v) < 0 || v < f->min || v > f->max) {
        buf_addf(why, "%s must be a whole number from %llu to %llu", f->name, (unsigned long long)f->min,
                 (unsigned long long)f->max);
        return -ERR_BAD_VALUE;
    }
    field_put(s, f, v);
    return 0;
}

int settings_set(struct topic_settings *s, slice name, slice value, struct buf *why)
{
    const struct setting *f = setting_find(name);
    if (f == NULL) {
        buf_addf(why, "there is no setting \"%.*s\"", SLICE_ARGS(name));
        return -ERR_BAD_VALUE;
    }
    return f->words[0] != NULL ? word_set(s, f, value, why) : number_set(s, f, value, why);
}

int settings_check(const struct topic_settings *s, struct buf *why)
{
    if (s->replication == REPLICATION_LIVE || s->copies == 1)
        return 0;
    buf_addf(why, "copies: %u needs replication \"live\"; with \"wal\" a message is acknowledged when the leader's "
             "disk has it, so copies must be 1", s->copies);
    return -ERR_BAD_VALUE;
}

void settings_each(const struct topic_settings *s, const struct topic_settings *known, settings_visit *visit,
                   void *arg)
{
    for (size_t i = 0; i < SETTINGS; i++) {
        uint64_t v = field_get(s, &table[i]);
        if (known != NULL && v == field_get(known, &table[i]))
            continue;
        if (table[i].words[0] != NULL) {
            visit(arg, table[i].name, slice_from(table[i].words[v]));
            continue;
        }
        struct buf text = {0};
        buf_add_u64(&text, v);
        visit(arg, table[i].name, buf_slice(&text));
        buf_fini(&text);
    }
}

bool settings_equal(const struct topic_settings *a, const struct topic_settings *b)
{
    for (size_t i = 0; i < SETTINGS; i++)
        if (field_get(a, &table[i]) != field_get(b, &table[i]))
            return false;
    return true;
}
