#include "broker/group/group_settings.h"

#include "base/err.h"
#include "broker/topic/topic.h"

struct setting {
    const char *name;
    size_t offset;
    uint64_t min, max;
    slice words[2];                  /* of a setting that is one of two words: their places are its values */
};

static const struct setting table[] = {
    {"lease_time", offsetof(struct group_settings, lease_ms), GROUP_LEASE_MS_MIN, GROUP_LEASE_MS_MAX, {{0}}},
    {"deliveries", offsetof(struct group_settings, deliveries), 0, GROUP_DELIVERIES_MAX, {{0}}},
    {"lease_max", offsetof(struct group_settings, lease_max), 1, GROUP_AHEAD_MAX, {{0}}},
    {"order", offsetof(struct group_settings, order), 0, 1, {SLICE("none"), SLICE("key")}},
    {"expired", offsetof(struct group_settings, outdated), 0, 1, {SLICE("drop"), SLICE("dead")}},
    {"retry.min", offsetof(struct group_settings, retry_min_ms), 0, GROUP_DELAY_MS_MAX, {{0}}},
    {"retry.max", offsetof(struct group_settings, retry_max_ms), 0, GROUP_DELAY_MS_MAX, {{0}}},
    {"retry.factor", offsetof(struct group_settings, retry_factor), 1000, GROUP_RETRY_FACTOR_MAX * 1000, {{0}}},
    {"expire", offsetof(struct group_settings, expire_ms), 0, GROUP_DELAY_MS_MAX, {{0}}},
};
enum { SETTINGS = sizeof(table) / sizeof(table[0]) };

const struct group_settings group_settings_default = {
    .lease_ms = 30 * 1000, .deliveries = 20, .lease_max = 1000, .order = ORDER_NONE,
    .retry_min_ms = 0, .retry_max_ms = 300 * 1000, .retry_factor = 2000,
};

static uint64_t *field(struct group_settings *s, const struct setting *f)
{
    return (uint64_t *)(void *)((char *)s + f->offset);
}

static uint64_t value_of(const struct group_settings *s, const struct setting *f)
{
    uint64_t v;
    memcpy(&v, (const char *)s + f->offset, sizeof(v));
    return v;
}

static bool is_time(const struct setting *f)
{
    return f->offset == offsetof(struct group_settings, lease_ms) ||
           f->offset == offsetof(struct group_settings, expire_ms) ||
           f->offset == offsetof(struct group_settings, retry_min_ms) ||
           f->offset == offsetof(struct group_settings, retry_max_ms);
}

/* Clients give times in seconds and the factor as it is, so that is how the bounds are named. */
static int fail_bounds(const struct setting *f, struct buf *why)
{
    bool factor = f->offset == offsetof(struct group_settings, retry_factor);
    double unit = factor || is_time(f) ? 1000.0 : 1.0;
    const char *what = is_time(f) ? "seconds from" : factor ? "a number from" : "a whole number from";
    buf_addf(why, "%s must be %s %.10g to %.10g", f->name, what, (double)f->min / unit, (double)f->max / unit);
    return -ERR_BAD_VALUE;
}

static int word_set(struct group_settings *s, const struct setting *f, slice value, struct buf *why)
{
    for (uint64_t i = 0; i < 2; i++) {
        if (slice_eq(value, f->words[i])) {
            *field(s, f) = i;
            return 0;
        }
    }
    buf_addf(why, "%s must be \"%s\" or \"%s\"", f->name, f->words[0].p, f->words[1].p);
    return -ERR_BAD_VALUE;
}

static int dead_letter_set(struct group_settings *s, slice value, struct buf *why)
{
    if (value.n > 0 && !topic_name_ok(value)) {
        buf_addf(why, "dead_letter must be the name of a topic: %s", err_sentence(-ERR_BAD_TOPIC));
        return -ERR_BAD_VALUE;
    }
    memset(s->dead_letter, 0, sizeof(s->dead_letter));
    memcpy(s->dead_letter, value.p, value.n);
    return 0;
}

static int filter_set(struct group_settings *s, slice value, struct buf *why)
{
    const char *problem = filter_check(value);
    if (problem != NULL) {
        buf_addf(why, "filter %s", problem);
        return -ERR_BAD_VALUE;
    }
    memset(s->filter, 0, sizeof(s->filter));
    memcpy(s->filter, value.p, value.n);
    s->filter_size = value.n;
    return 0;
}

int group_settings_set(struct group_settings *s, slice name, slice value, struct buf *why)
{
    size_t i = 0;
    if (slice_eq(name, SLICE("dead_letter")))
        return dead_letter_set(s, value, why);
    if (slice_eq(name, SLICE("filter")))
        return filter_set(s, value, why);
    while (i < SETTINGS && !slice_eq(name, slice_from(table[i].name)))
        i++;
    if (i == SETTINGS) {
        buf_addf(why, "there is no setting \"%.*s\" of a group", SLICE_ARGS(name));
        return -ERR_BAD_VALUE;
    }
    uint64_t v = 0;
    if (table[i].words[0].n > 0)
        return word_set(s, &table[i], value, why);
    if (slice_u64(value, &v) < 0 || v < table[i].min || v > table[i].max)
        return fail_bounds(&table[i], why);
    *field(s, &table[i]) = v;
    return 0;
}

void group_settings_each(const struct group_settings *s, void (*visit)(void *arg, const char *name, slice text),
                         void *arg)
{
    for (size_t i = 0; i < SETTINGS; i++) {
        if (table[i].words[0].n > 0) {
            visit(arg, table[i].name, table[i].words[value_of(s, &table[i])]);
            continue;
        }
        struct buf text = {0};
        buf_add_u64(&text, value_of(s, &table[i]));
        visit(arg, table[i].name, buf_slice(&text));
        buf_fini(&text);
    }
    visit(arg, "dead_letter", slice_from(s->dead_letter));
    visit(arg, "filter", group_filter(s));
}

bool group_settings_equal(const struct group_settings *a, const struct group_settings *b)
{
    for (size_t i = 0; i < SETTINGS; i++)
        if (value_of(a, &table[i]) != value_of(b, &table[i]))
            return false;
    return strcmp(a->dead_letter, b->dead_letter) == 0 && slice_eq(group_filter(a), group_filter(b));
}

uint64_t group_retry_delay_ms(const struct group_settings *s, uint64_t deliveries)
{
    double delay = (double)s->retry_min_ms;
    for (uint64_t i = 1; i < deliveries && delay > 0 && delay < (double)s->retry_max_ms; i++) {
        if (s->retry_factor <= 1000)
            break;
        delay = delay * (double)s->retry_factor / 1000.0;
    }
    return delay < (double)s->retry_max_ms ? (uint64_t)delay : s->retry_max_ms;
}
