/*
 * Metrics of scripts: those that they declare, and the calls of their hooks and timers.
 *
 * main owns the `struct meters`, so that counters go on over reloads; a meter lives as long as it does. Everything is
 * bounded: above METERS_MAX meters, METER_SERIES_MAX series of one, or METERS_SERIES_MAX of all, further ones are
 * counted in `lignum_metrics_dropped_total` and left out. No function takes a lua_State, and none raises.
 */
#ifndef SCRIPT_STD_METERS_H
#define SCRIPT_STD_METERS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/hist.h"
#include "base/limits.h"
#include "base/slice.h"

struct meters;
struct meter;

enum meter_kind { METER_COUNTER, METER_GAUGE, METER_HISTOGRAM };

/* What a script declares. Two declarations are the same when all of this but the help is. */
struct meter_options {
    enum meter_kind kind;
    char name[METER_NAME_MAX + 1], help[METER_HELP_MAX + 1];
    int labels, bounds;
    char label[METER_LABELS_MAX][METER_LABEL_NAME_MAX + 1];
    double bound[METER_BOUNDS_MAX];   /* of a histogram, rising */
};

struct meters *meters_new(void);
void meters_free(struct meters *ms);

/* The meter of that declaration, made if there is none. One of that name that was declared differently is shown no
 * more: the newest declaration counts. NULL: there are METERS_MAX others. */
struct meter *meters_declare(struct meters *ms, const struct meter_options *o);

/* Counters and gauges: adds `value` to, or replaces, the value of a series; histograms: counts `value`. The values of
 * the labels are in `labels`, each with its length as a byte before it (meter_label). */
enum meter_change { METER_ADD, METER_SET, METER_OBSERVE };
void meter_change(struct meters *ms, struct meter *m, slice labels, enum meter_change change, double value);

/* Appends the value of a label, cut to METER_LABEL_MAX bytes. */
void meter_label(struct buf *labels, slice value);

/* A call of a hook or a timer has ended; problem: why it failed, NULL: it did not. */
void meters_called(struct meters *ms, const char *kind, const char *name, uint64_t ns, const char *problem);

/* What is known of the calls of one hook or timer. */
struct calls_info {
    const char *kind;                 /* a literal */
    slice name;
    struct hist took;                 /* of all calls */
    uint64_t errors;
    const char *problem;              /* of the last call that failed; NULL: none has */
    uint64_t problem_ms;              /* when that was, in milliseconds since 1970 */
};

/* The i-th of them, the one that was called last at the end. False: there are not as many. */
bool meters_calls_at(const struct meters *ms, size_t i, struct calls_info *out);

/* Appends everything in Prometheus' text format. */
void meters_render(const struct meters *ms, struct buf *out);

#endif
