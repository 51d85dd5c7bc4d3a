/*
 * A histogram of durations with fixed buckets: 16 upper bounds from 50 us to 10 s. Buckets are not cumulative here; the
 * page for Prometheus adds them up.
 */
#ifndef BASE_HIST_H
#define BASE_HIST_H

#include <stdint.h>

enum { HIST_BOUNDS = 16 };

struct hist {
    uint64_t bucket[HIST_BOUNDS + 1];  /* the last one is +Inf */
    uint64_t count;
    uint64_t sum_ns;
};

extern const uint64_t hist_bound_ns[HIST_BOUNDS];

void hist_record(struct hist *h, uint64_t ns);

/* The duration below which this share (0 to 1) of what was recorded lies, in nanoseconds; within a bucket by its
 * bounds. What lies above the last bound counts as that bound. 0: nothing was recorded. */
double hist_quantile_ns(const struct hist *h, double share);

#endif
