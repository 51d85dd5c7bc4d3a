/*
 * The figures of a load run: a log-linear histogram of latencies, counts, and how they are printed. A part of load.c
 * and consume.c, which alone include it.
 */
#ifndef BENCH_FIGURES_H
#define BENCH_FIGURES_H

#include <stdint.h>
#include <stdio.h>

#include "base/slice.h"

enum {
    STEPS = 64,               /* for each power of two: within 1.6 % */
    BUCKETS = 40 * STEPS,     /* up to two hours */
    STATUS_END = 600,
};

struct figures {
    uint64_t latency[BUCKETS], latency_max;
    uint64_t status[STATUS_END];
    uint64_t answers, bytes, failures, unsent;
};

struct results {
    struct figures figures;
    double seconds, cpu_seconds;
    size_t body_size;
    unsigned messages_each;
};

static inline unsigned bucket_of(uint64_t ns)
{
    if (ns < STEPS)
        return (unsigned)ns;
    unsigned shift = 57 - (unsigned)__builtin_clzll(ns);
    unsigned bucket = shift * STEPS + (unsigned)(ns >> shift);
    return bucket < BUCKETS ? bucket : BUCKETS - 1;
}

static inline uint64_t bucket_top(unsigned bucket)
{
    unsigned shift = bucket < 2 * STEPS ? 0 : bucket / STEPS - 1;
    return ((uint64_t)(bucket - shift * STEPS) + 1) << shift;
}

static inline void figures_record(struct figures *f, int status, uint64_t ns)
{
    f->latency[bucket_of(ns)]++;
    if (ns > f->latency_max)
        f->latency_max = ns;
    f->answers++;
    f->status[status]++;
}

static inline void figures_add(struct figures *to, const struct figures *from)
{
    for (unsigned i = 0; i < BUCKETS; i++)
        to->latency[i] += from->latency[i];
    for (unsigned i = 0; i < STATUS_END; i++)
        to->status[i] += from->status[i];
    to->answers += from->answers;
    to->bytes += from->bytes;
    to->failures += from->failures;
    to->unsent += from->unsent;
    if (from->latency_max > to->latency_max)
        to->latency_max = from->latency_max;
}

static inline double percentile_us(const struct figures *f, double part)
{
    uint64_t want = (uint64_t)(part * (double)f->answers), seen = 0;
    for (unsigned i = 0; i < BUCKETS; i++)
        if ((seen += f->latency[i]) > want)
            return (double)(bucket_top(i) < f->latency_max ? bucket_top(i) : f->latency_max) / 1e3;
    return (double)f->latency_max / 1e3;
}

static inline uint64_t figures_good(const struct figures *f)
{
    uint64_t good = 0;
    for (unsigned i = 200; i < 300; i++)
        good += f->status[i];
    return good;
}

static inline bool results_good(const struct results *r)
{
    const struct figures *f = &r->figures;
    return f->answers > 0 && figures_good(f) == f->answers && f->failures == 0;
}

static inline double messages_per_s(const struct results *r)
{
    return (double)figures_good(&r->figures) * r->messages_each / r->seconds;
}

static inline double sent_mb_per_s(const struct results *r)
{
    return (double)r->figures.answers * (double)r->body_size / 1e6 / r->seconds;
}

static inline double cpu_us(const struct results *r)
{
    return r->cpu_seconds * 1e6 / (double)(r->figures.answers ? r->figures.answers : 1);
}

static inline void results_print_json(const struct results *r)
{
    const struct figures *f = &r->figures;
    printf("{\"seconds\": %.3f, \"requests\": %ju, \"requests_per_s\": %.0f, \"messages_per_s\": %.0f, ",
           r->seconds, (uintmax_t)f->answers, (double)f->answers / r->seconds, messages_per_s(r));
    printf("\"sent_mb_per_s\": %.2f, \"received_mb_per_s\": %.2f, ", sent_mb_per_s(r),
           (double)f->bytes / 1e6 / r->seconds);
    printf("\"p50_us\": %.1f, \"p90_us\": %.1f, \"p99_us\": %.1f, \"p999_us\": %.1f, \"max_us\": %.1f, ",
           percentile_us(f, .5), percentile_us(f, .9), percentile_us(f, .99), percentile_us(f, .999),
           (double)f->latency_max / 1e3);
    printf("\"failures\": %ju, \"unsent\": %ju, \"cpu_us_per_request\": %.2f, \"status\": {",
           (uintmax_t)f->failures, (uintmax_t)f->unsent, cpu_us(r));
    const char *comma = "";
    for (int status = 0; status < STATUS_END; status++)
        if (f->status[status] > 0) {
            printf("%s\"%d\": %ju", comma, status, (uintmax_t)f->status[status]);
            comma = ", ";
        }
    printf("}}\n");
}

static inline void results_print(const struct results *r)
{
    const struct figures *f = &r->figures;
    printf("requests   %ju in %.2f s, %.0f/s\n", (uintmax_t)f->answers, r->seconds,
           (double)f->answers / r->seconds);
    printf("messages   %.0f/s\n", messages_per_s(r));
    printf("bytes      %.2f MB/s of bodies sent, %.2f MB/s received\n", sent_mb_per_s(r),
           (double)f->bytes / 1e6 / r->seconds);
    printf("latency    p50 %.0f  p90 %.0f  p99 %.0f  p99.9 %.0f  max %.0f us\n", percentile_us(f, .5),
           percentile_us(f, .9), percentile_us(f, .99), percentile_us(f, .999), (double)f->latency_max / 1e3);
    printf("status    ");
    for (int status = 0; status < STATUS_END; status++)
        if (f->status[status] > 0)
            printf(" %d: %ju", status, (uintmax_t)f->status[status]);
    printf("\ntrouble    %ju failed, %ju not sent in time\n", (uintmax_t)f->failures, (uintmax_t)f->unsent);
    printf("load       %.2f s CPU, %.2f us a request\n", r->cpu_seconds, cpu_us(r));
}

#endif
