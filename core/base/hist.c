#include "base/hist.h"

#include "base/clock.h"

#define US UINT64_C(1000)
#define MS NS_PER_MS

const uint64_t hist_bound_ns[HIST_BOUNDS] = {
    50 * US, 100 * US, 250 * US, 500 * US, 1 * MS, 2500 * US, 5 * MS, 10 * MS,
    25 * MS, 50 * MS, 100 * MS, 250 * MS, 500 * MS, 1000 * MS, 2500 * MS, 10000 * MS,
};

void hist_record(struct hist *h, uint64_t ns)
{
    int i = 0;
    while (i < HIST_BOUNDS && ns > hist_bound_ns[i])
        i++;
    h->bucket[i]++;
    h->count++;
    h->sum_ns += ns;
}

double hist_quantile_ns(const struct hist *h, double share)
{
    double rank = share * (double)h->count, below = 0;
    for (int i = 0; i < HIST_BOUNDS; i++) {
        double in_bucket = (double)h->bucket[i];
        if (in_bucket > 0 && below + in_bucket >= rank) {
            double from = i == 0 ? 0 : (double)hist_bound_ns[i - 1], to = (double)hist_bound_ns[i];
            return from + (to - from) * (rank - below) / in_bucket;
        }
        below += in_bucket;
    }
    return h->count == 0 ? 0 : (double)hist_bound_ns[HIST_BOUNDS - 1];
}
