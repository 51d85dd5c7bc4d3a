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
