/*
 * The event loop: libevent's, run one iteration at a time, each followed by one function, the turn.
 *
 * Callbacks of watches, timers and signals only record what happened; the turn acts. When work is left that no event
 * will announce, loop_again keeps the next iteration from sleeping.
 */
#ifndef NET_LOOP_H
#define NET_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"

struct event;
struct event_base;

struct loop {
    struct event_base *base;  /* owned */
    bool again, stopped;
    struct list armed;        /* timers, while the clock is held */
    bool (*busy)(void *arg);  /* see loop_hold */
    void *arg;
};

int loop_init(struct loop *l);
void loop_fini(struct loop *l);

/* Runs iterations, each followed by step(arg), the turn, until loop_stop. */
void loop_run(struct loop *l, void (*step)(void *arg), void *arg);

/* For a held clock (base/clock.h): timers fire when the clock has been moved to their time, and the loop moves it to
 * the next one as soon as nothing is left to do before. `busy` says whether an event will come from elsewhere, such as
 * the disk thread, for which the loop waits first. It is called only then. */
void loop_hold(struct loop *l, bool (*busy)(void *arg), void *arg);
void loop_again(struct loop *l);
void loop_stop(struct loop *l);

/*
 * One event of any kind; embedded in its owner. A zeroed one is idle.
 *
 * A watch of a descriptor or a signal is active from watch_readable (writable, signal) to watch_fini, and is called
 * each time. A timer is idle after watch_timer, armed by watch_arm, and idle again once it has fired or was disarmed.
 * watch_fini leaves the watch zeroed, and may be called for a zeroed one.
 */
struct watch {
    struct event *event;      /* owned */
    void (*on_event)(void *arg);
    void *arg;
    bool precise;             /* a timer with a file descriptor of its own */
    struct loop *held;        /* a timer while the clock is held: its loop, and no event */
    struct list link;         /* in loop.armed */
    uint64_t due_ns;
};

void watch_readable(struct loop *l, struct watch *w, int fd, void (*on_event)(void *arg), void *arg);
void watch_writable(struct loop *l, struct watch *w, int fd, void (*on_event)(void *arg), void *arg);
void watch_signal(struct loop *l, struct watch *w, int signo, void (*on_event)(void *arg), void *arg);
void watch_timer(struct loop *l, struct watch *w, void (*on_event)(void *arg), void *arg);
/* A timer exact to the microsecond instead of the millisecond, which costs a system call each time it is armed or
 * disarmed. */
void watch_precise_timer(struct loop *l, struct watch *w, void (*on_event)(void *arg), void *arg);
void watch_arm(struct watch *w, uint64_t delay_ns);      /* a timer; arming again moves it */
void watch_disarm(struct watch *w);
void watch_fini(struct watch *w);

#endif
