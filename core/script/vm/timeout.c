#include "script/vm/timeout.h"

#include "base/clock.h"
#include "base/mem.h"

static void on_watch(void *arg)
{
    struct timeouts *ts = arg;
    ts->armed = 0;
    ts->on_due(ts->arg);
}

void timeouts_init(struct timeouts *ts, struct loop *loop, void (*on_due)(void *arg), void *arg)
{
    *ts = (struct timeouts){.loop = loop, .on_due = on_due, .arg = arg};
    watch_timer(loop, &ts->watch, on_watch, ts);
}

void timeouts_fini(struct timeouts *ts)
{
    watch_fini(&ts->watch);
    mem_free(ts->heap);
    *ts = (struct timeouts){0};
}

static void put(struct timeouts *ts, size_t place, struct timeout *t)
{
    ts->heap[place] = t;
    t->place = place;
}

static void sift_up(struct timeouts *ts, struct timeout *t)
{
    size_t i = t->place;
    for (; i > 1 && ts->heap[i / 2]->key > t->key; i /= 2)
        put(ts, i, ts->heap[i / 2]);
    put(ts, i, t);
}

static void sift_down(struct timeouts *ts, struct timeout *t)
{
    size_t i = t->place;
    for (size_t child; (child = 2 * i) <= ts->count; i = child) {
        if (child < ts->count && ts->heap[child + 1]->key < ts->heap[child]->key)
            child++;
        if (ts->heap[child]->key >= t->key)
            break;
        put(ts, i, ts->heap[child]);
    }
    put(ts, i, t);
}

/* Sets the timer for the first entry, unless it is set for an earlier time already. */
static void arm(struct timeouts *ts, uint64_t now)
{
    uint64_t key = ts->heap[1]->key;
    if (ts->armed != 0 && ts->armed <= key)
        return;
    ts->armed = key;
    watch_arm(&ts->watch, key > now ? key - now : 1);
}

void timeout_set(struct timeouts *ts, struct timeout *t, uint64_t at)
{
    t->at = at;
    if (t->place != 0 && t->key <= at)
        return;                /* timeouts_next moves it when its key is due */
    t->key = at;
    if (t->place == 0) {
        if (ts->count + 1 >= ts->cap) {
            ts->cap = ts->cap == 0 ? 64 : ts->cap * 2;
            ts->heap = mem_resize(ts->heap, ts->cap * sizeof(ts->heap[0]));
        }
        put(ts, ++ts->count, t);
    }
    sift_up(ts, t);
    if (t->place == 1)
        arm(ts, clock_ns());
}

struct timeout *timeouts_next(struct timeouts *ts, uint64_t now)
{
    while (ts->count > 0) {
        struct timeout *t = ts->heap[1];
        if (t->key > now) {
            arm(ts, now);
            return NULL;
        }
        if (t->at > now) {
            t->key = t->at;
            sift_down(ts, t);
            continue;
        }
        struct timeout *last = ts->heap[ts->count--];
        t->place = 0;
        if (ts->count > 0) {
            last->place = 1;
            sift_down(ts, last);
        }
        if (t->at != 0)
            return t;
    }
    return NULL;
}
