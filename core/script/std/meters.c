#include "script/std/meters.h"

#include <math.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"

struct series {
    struct list link;                 /* in the order of their beginning */
    double value;                     /* of a histogram: the sum */
    uint64_t count;                   /* of a histogram */
    uint64_t *bucket;                 /* owned; how many were in each, not cumulative; NULL unless a histogram */
    size_t labels_size;
    char labels[];                    /* as meter_label has made them */
};

struct meter {
    struct list link;
    struct meter_options is;
    struct map by_labels;             /* the series, which are owned */
    struct list series;
};

/* The calls of one hook or timer. */
struct calls {
    struct list link;
    const char *kind;                 /* a literal */
    struct hist took;
    uint64_t errors, problem_ms;
    char *problem;                    /* owned; NULL: none has failed */
    size_t name_size;
    char name[];
};

struct meters {
    struct map by_name;               /* the meters that are shown */
    struct list meters, retired;      /* owned */
    size_t count, series;             /* of all, retired ones included */
    struct map calls_by_name;
    struct list calls;                /* owned; the one that was called last is the last */
    uint64_t dropped;
};

struct meters *meters_new(void)
{
    struct meters *ms = MEM_NEW(struct meters);
    map_init(&ms->by_name);
    map_init(&ms->calls_by_name);
    list_init(&ms->meters);
    list_init(&ms->retired);
    list_init(&ms->calls);
    return ms;
}

static void series_free_all(struct meters *ms, struct meter *m)
{
    LIST_EACH(link, &m->series) {
        struct series *s = LIST_OWNER(link, struct series, link);
        list_remove(link);
        mem_free(s->bucket);
        mem_free(s);
        ms->series--;
    }
    map_fini(&m->by_labels);
}

static void free_meters(struct meters *ms, struct list *all)
{
    LIST_EACH(link, all) {
        struct meter *m = LIST_OWNER(link, struct meter, link);
        series_free_all(ms, m);
        mem_free(m);
    }
}

static void calls_free(struct calls *c)
{
    list_remove(&c->link);
    mem_free(c->problem);
    mem_free(c);
}

void meters_free(struct meters *ms)
{
    free_meters(ms, &ms->meters);
    free_meters(ms, &ms->retired);
    LIST_EACH(link, &ms->calls)
        calls_free(LIST_OWNER(link, struct calls, link));
    map_fini(&ms->by_name);
    map_fini(&ms->calls_by_name);
    mem_free(ms);
}

/* ---- meters ---- */

static bool same(const struct meter_options *a, const struct meter_options *b)
{
    return a->kind == b->kind && a->labels == b->labels && a->bounds == b->bounds &&
           memcmp(a->label, b->label, sizeof(a->label)) == 0 && memcmp(a->bound, b->bound, sizeof(a->bound)) == 0;
}

struct meter *meters_declare(struct meters *ms, const struct meter_options *o)
{
    slice name = slice_from(o->name);
    struct meter *m = map_get(&ms->by_name, name);
    if (m != NULL && same(&m->is, o)) {
        memcpy(m->is.help, o->help, sizeof(o->help));
        return m;
    }
    if (ms->count == METERS_MAX) {
        ms->dropped++;
        return NULL;
    }
    if (m != NULL) {                  /* scripts of an earlier configuration may still hold it */
        map_remove(&ms->by_name, name);
        list_remove(&m->link);
        list_push(&ms->retired, &m->link);
        series_free_all(ms, m);
        map_init(&m->by_labels);
    }
    m = MEM_NEW(struct meter);
    m->is = *o;
    map_init(&m->by_labels);
    list_init(&m->series);
    map_put(&ms->by_name, slice_from(m->is.name), m);
    list_push(&ms->meters, &m->link);
    ms->count++;
    return m;
}

void meter_label(struct buf *labels, slice value)
{
    size_t n = value.n < METER_LABEL_MAX ? value.n : METER_LABEL_MAX;
    while (n < value.n && n > 0 && ((unsigned char)value.p[n] & 0xc0) == 0x80)
        n--;                          /* not within a character */
    buf_add_char(labels, (char)n);
    buf_add(labels, value.p, n);
}

static struct series *series_of(struct meters *ms, struct meter *m, slice labels)
{
    struct series *s = map_get(&m->by_labels, labels);
    if (s != NULL)
        return s;
    if (m->by_labels.count == METER_SERIES_MAX || ms->series == METERS_SERIES_MAX || !utf8_valid(labels)) {
        ms->dropped++;
        return NULL;
    }
    s = mem_new(sizeof(*s) + labels.n);
    s->labels_size = labels.n;
    memcpy(s->labels, labels.p == NULL ? "" : labels.p, labels.n);
    if (m->is.kind == METER_HISTOGRAM)
        s->bucket = mem_new(((size_t)m->is.bounds + 1) * sizeof(s->bucket[0]));
    map_put(&m->by_labels, slice_of(s->labels, labels.n), s);
    list_push(&m->series, &s->link);
    ms->series++;
    return s;
}

void meter_change(struct meters *ms, struct meter *m, slice labels, enum meter_change change, double value)
{
    struct series *s = series_of(ms, m, labels);
    if (s == NULL)
        return;
    if (change == METER_SET) {
        s->value = value;
        return;
    }
    s->value += value;
    if (change == METER_ADD)
        return;
    int at = 0;
    while (at < m->is.bounds && value > m->is.bound[at])
        at++;
    s->bucket[at]++;
    s->count++;
}

/* ---- calls ---- */

static void calls_keep_problem(struct calls *c, const char *problem)
{
    size_t n = strlen(problem);
    mem_free(c->problem);
    c->problem = mem_copy(problem, n < CALL_PROBLEM_MAX ? n : CALL_PROBLEM_MAX);
    c->problem_ms = (uint64_t)clock_wall_ms();
}

/* Names of earlier versions of lignum.lua go before those that are in use. */
static void calls_drop_oldest(struct meters *ms)
{
    struct calls *c = list_first(&ms->calls, struct calls, link);
    map_remove(&ms->calls_by_name, slice_of(c->name, c->name_size));
    calls_free(c);
    ms->dropped++;
}

void meters_called(struct meters *ms, const char *kind, const char *name, uint64_t ns, const char *problem)
{
    slice key = slice_from(name);
    struct calls *c = list_empty(&ms->calls) ? NULL : list_last(&ms->calls, struct calls, link);
    if (c == NULL || !slice_eq(slice_of(c->name, c->name_size), key))     /* most often it is the last one again */
        c = map_get(&ms->calls_by_name, key);
    if (c == NULL) {
        if (ms->calls_by_name.count == METER_SERIES_MAX)
            calls_drop_oldest(ms);
        c = mem_new(sizeof(*c) + key.n);
        c->kind = kind;
        c->name_size = key.n;
        memcpy(c->name, key.p, key.n);
        map_put(&ms->calls_by_name, slice_of(c->name, key.n), c);
    } else {
        list_remove(&c->link);
    }
    list_push(&ms->calls, &c->link);
    hist_record(&c->took, ns);
    c->errors += problem != NULL;
    if (problem != NULL)
        calls_keep_problem(c, problem);
}

bool meters_calls_at(const struct meters *ms, size_t i, struct calls_info *out)
{
    LIST_EACH(link, &ms->calls) {
        const struct calls *c = LIST_OWNER(link, struct calls, link);
        if (i-- > 0)
            continue;
        *out = (struct calls_info){.kind = c->kind, .name = slice_of(c->name, c->name_size), .took = c->took,
                                   .errors = c->errors, .problem = c->problem, .problem_ms = c->problem_ms};
        return true;
    }
    return false;
}

/* ---- the page ---- */

static void add_escaped(struct buf *out, slice text, bool quoted)
{
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];
        if (c == '\\' || c == '\n' || (c == '"' && quoted))
            buf_add_char(out, '\\');
        buf_add_char(out, c == '\n' ? 'n' : c);
    }
}

static void add_head(struct buf *out, const char *name, const char *kind, const char *help)
{
    buf_addf(out, "# HELP %s ", name);
    add_escaped(out, slice_from(help), false);
    buf_addf(out, "\n# TYPE %s %s\n", name, kind);
}

static void add_number(struct buf *out, double v)
{
    if (isfinite(v))
        json_number(out, v);
    else
        buf_addf(out, "%s", isnan(v) ? "NaN" : v > 0 ? "+Inf" : "-Inf");
}

/* `{a="x",b="y"}`; with `le`, that too. */
static void add_labels(struct buf *out, const struct meter *m, const struct series *s, const double *le)
{
    const char *p = s->labels;
    if (m->is.labels == 0 && le == NULL)
        return;
    buf_add_char(out, '{');
    for (int i = 0; i < m->is.labels; i++) {
        size_t n = (unsigned char)*p++;
        buf_addf(out, "%s%s=\"", i > 0 ? "," : "", m->is.label[i]);
        add_escaped(out, slice_of(p, n), true);
        buf_add_char(out, '"');
        p += n;
    }
    if (le != NULL) {
        buf_addf(out, "%sle=\"", m->is.labels > 0 ? "," : "");
        add_number(out, *le);
        buf_add_char(out, '"');
    }
    buf_add_char(out, '}');
}

static void add_histogram(struct buf *out, const struct meter *m, const struct series *s)
{
    const double infinite = INFINITY;
    uint64_t count = 0;
    for (int i = 0; i <= m->is.bounds; i++) {
        count += s->bucket[i];
        buf_addf(out, "%s_bucket", m->is.name);
        add_labels(out, m, s, i < m->is.bounds ? &m->is.bound[i] : &infinite);
        buf_addf(out, " %llu\n", (unsigned long long)count);
    }
    buf_addf(out, "%s_sum", m->is.name);
    add_labels(out, m, s, NULL);
    buf_add_char(out, ' ');
    add_number(out, s->value);
    buf_addf(out, "\n%s_count", m->is.name);
    add_labels(out, m, s, NULL);
    buf_addf(out, " %llu\n", (unsigned long long)s->count);
}

static void add_meter(struct buf *out, const struct meter *m)
{
    static const char *const kinds[] = {"counter", "gauge", "histogram"};
    add_head(out, m->is.name, kinds[m->is.kind], m->is.help);
    LIST_EACH(link, &m->series) {
        const struct series *s = LIST_OWNER(link, struct series, link);
        if (m->is.kind == METER_HISTOGRAM) {
            add_histogram(out, m, s);
            continue;
        }
        buf_addf(out, "%s", m->is.name);
        add_labels(out, m, s, NULL);
        buf_add_char(out, ' ');
        add_number(out, s->value);
        buf_add_char(out, '\n');
    }
}

enum calls_field { CALLS, ERRORS, SECONDS };

static void add_calls(struct buf *out, const struct meters *ms, const char *name, enum calls_field field)
{
    LIST_EACH(link, &ms->calls) {
        const struct calls *c = LIST_OWNER(link, struct calls, link);
        buf_addf(out, "%s{kind=\"%s\",name=\"", name, c->kind);
        add_escaped(out, slice_of(c->name, c->name_size), true);
        buf_addf(out, "\"} ");
        if (field == SECONDS)
            json_number(out, (double)c->took.sum_ns / (double)NS_PER_S);
        else
            buf_add_u64(out, field == CALLS ? c->took.count : c->errors);
        buf_add_char(out, '\n');
    }
}

void meters_render(const struct meters *ms, struct buf *out)
{
    add_head(out, "lignum_script_calls_total", "counter", "Calls of hooks and timers that have ended.");
    add_calls(out, ms, "lignum_script_calls_total", CALLS);
    add_head(out, "lignum_script_errors_total", "counter", "Calls of hooks and timers that ended in an error.");
    add_calls(out, ms, "lignum_script_errors_total", ERRORS);
    add_head(out, "lignum_script_seconds_total", "counter", "Time from the start to the end of calls, waits included.");
    add_calls(out, ms, "lignum_script_seconds_total", SECONDS);
    add_head(out, "lignum_metrics_dropped_total", "counter", "Changes of scripts' metrics that were above a limit.");
    buf_addf(out, "lignum_metrics_dropped_total %llu\n", (unsigned long long)ms->dropped);
    LIST_EACH(link, &ms->meters)
        add_meter(out, LIST_OWNER(link, struct meter, link));
}
