#include "net/loop.h"

#include <event2/event.h>
#include <signal.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "base/err.h"

enum {
    HELD_WAIT_US = 2000,      /* of real time, for what is under way elsewhere while the clock is held */
    HELD_WAITS = 500,         /* then the clock moves all the same */
};

/* One thread owns the base, so it needs no lock. Timers are exact to the millisecond only, because with
 * EVENT_BASE_FLAG_PRECISE_TIMER each iteration would cost a system call. */
static struct event_base *base_new(void)
{
    struct event_config *config = event_config_new();
    if (!config)
        return NULL;
    event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK | EVENT_BASE_FLAG_IGNORE_ENV);
    event_config_avoid_method(config, "select");
    event_config_avoid_method(config, "poll");
    struct event_base *base = event_base_new_with_config(config);
    event_config_free(config);
    return base;
}

int loop_init(struct loop *l)
{
    *l = (struct loop){0};
    list_init(&l->armed);
    signal(SIGPIPE, SIG_IGN);  /* sendfile has no MSG_NOSIGNAL */
    l->base = base_new();
    return l->base ? 0 : -ERR_INTERNAL;
}

void loop_fini(struct loop *l)
{
    if (l->base)
        event_base_free(l->base);
    *l = (struct loop){0};
}

void loop_hold(struct loop *l, bool (*busy)(void *arg), void *arg)
{
    l->busy = busy;
    l->arg = arg;
}

/* Of those that are due at the same time, the first that was armed. */
static struct watch *held_first(struct loop *l)
{
    struct watch *first = NULL;
    LIST_EACH(link, &l->armed) {
        struct watch *w = LIST_OWNER(link, struct watch, link);
        if (first == NULL || w->due_ns < first->due_ns)
            first = w;
    }
    return first;
}

/* Those that are due; not those that are armed meanwhile. False: there is none. */
static bool held_fire(struct loop *l)
{
    struct list due;
    list_init(&due);
    for (struct watch *w; (w = held_first(l)) != NULL && w->due_ns <= clock_ns();) {
        list_remove(&w->link);
        list_push(&due, &w->link);
    }
    bool any = !list_empty(&due);
    while (!list_empty(&due)) {
        struct watch *w = list_first(&due, struct watch, link);
        list_remove(&w->link);
        w->on_event(w->arg);
    }
    return any;
}

/* One iteration; `wait`: for an event, for a short time. False: there was nothing to do. */
static bool held_iterate(struct loop *l, bool wait, void (*step)(void *arg), void *arg)
{
    struct timeval least = {.tv_usec = HELD_WAIT_US};
    l->again = false;
    if (wait)
        event_base_loopexit(l->base, &least);
    event_base_get_max_events(l->base, EVENT_BASE_COUNT_ACTIVE, 1);
    ENSURE(event_base_loop(l->base, EVLOOP_ONCE | EVLOOP_NO_EXIT_ON_EMPTY | (wait ? 0 : EVLOOP_NONBLOCK)) >= 0);
    int events = event_base_get_max_events(l->base, EVENT_BASE_COUNT_ACTIVE, 0);
    bool fired = held_fire(l);
    step(arg);
    return events > 0 || fired || l->again;
}

static void held_run(struct loop *l, void (*step)(void *arg), void *arg)
{
    unsigned waits = 0;
    while (!l->stopped) {
        if (held_iterate(l, waits > 0, step, arg)) {
            waits = 0;
        } else if (!l->stopped && l->busy != NULL && l->busy(l->arg) && waits < HELD_WAITS) {
            waits++;
        } else {
            struct watch *first = held_first(l);
            waits = 0;
            if (first != NULL)
                clock_forward(first->due_ns);
        }
    }
}

void loop_run(struct loop *l, void (*step)(void *arg), void *arg)
{
    l->stopped = false;
    if (clock_is_held())
        held_run(l, step, arg);
    while (!l->stopped) {
        int flags = EVLOOP_ONCE | EVLOOP_NO_EXIT_ON_EMPTY | (l->again ? EVLOOP_NONBLOCK : 0);
        l->again = false;
        ENSURE(event_base_loop(l->base, flags) >= 0);
        step(arg);
    }
}

void loop_again(struct loop *l)
{
    l->again = true;
}

void loop_stop(struct loop *l)
{
    l->stopped = true;
}

static void on_event(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct watch *w = arg;
    w->on_event(w->arg);
}

static void watch_fd(struct loop *l, struct watch *w, int fd, short what)
{
    w->event = event_new(l->base, fd, what | EV_PERSIST, on_event, w);
    ENSURE(w->event);
    ENSURE(event_add(w->event, NULL) == 0);
}

void watch_readable(struct loop *l, struct watch *w, int fd, void (*call)(void *arg), void *arg)
{
    *w = (struct watch){.on_event = call, .arg = arg};
    watch_fd(l, w, fd, EV_READ);
}

void watch_writable(struct loop *l, struct watch *w, int fd, void (*call)(void *arg), void *arg)
{
    *w = (struct watch){.on_event = call, .arg = arg};
    watch_fd(l, w, fd, EV_WRITE);
}

void watch_signal(struct loop *l, struct watch *w, int signo, void (*call)(void *arg), void *arg)
{
    *w = (struct watch){.on_event = call, .arg = arg};
    w->event = evsignal_new(l->base, signo, on_event, w);
    ENSURE(w->event);
    ENSURE(event_add(w->event, NULL) == 0);
}

void watch_timer(struct loop *l, struct watch *w, void (*call)(void *arg), void *arg)
{
    *w = (struct watch){.on_event = call, .arg = arg};
    if (clock_is_held()) {
        w->held = l;
        list_init(&w->link);
        return;
    }
    w->event = evtimer_new(l->base, on_event, w);
    ENSURE(w->event);
}

static void on_precise(evutil_socket_t fd, short what, void *arg)
{
    uint64_t times;
    if (read(fd, &times, sizeof times) == sizeof times)    /* otherwise it was armed again in this iteration */
        on_event(fd, what, arg);
}

void watch_precise_timer(struct loop *l, struct watch *w, void (*call)(void *arg), void *arg)
{
    int fd = clock_is_held() ? -1 : timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (fd < 0) {
        watch_timer(l, w, call, arg);
        return;
    }
    *w = (struct watch){.on_event = call, .arg = arg, .precise = true};
    w->event = event_new(l->base, fd, EV_READ | EV_PERSIST, on_precise, w);
    ENSURE(w->event);
    ENSURE(event_add(w->event, NULL) == 0);
}

/* 0 disarms. */
static void precise_set(const struct watch *w, uint64_t delay_ns)
{
    struct itimerspec at = {.it_value = {(time_t)(delay_ns / NS_PER_S), (long)(delay_ns % NS_PER_S)}};
    ENSURE(timerfd_settime(event_get_fd(w->event), 0, &at, NULL) == 0);
}

void watch_arm(struct watch *w, uint64_t delay_ns)
{
    if (w->precise) {
        precise_set(w, delay_ns > 0 ? delay_ns : 1);
        return;
    }
    if (w->held != NULL) {
        list_remove(&w->link);
        w->due_ns = clock_ns() + delay_ns;
        list_push(&w->held->armed, &w->link);
        return;
    }
    uint64_t us = (delay_ns + 999) / 1000;  /* never early */
    struct timeval tv = {.tv_sec = (time_t)(us / 1000000), .tv_usec = (suseconds_t)(us % 1000000)};
    ENSURE(event_add(w->event, &tv) == 0);
}

void watch_disarm(struct watch *w)
{
    if (w->precise)
        precise_set(w, 0);
    else if (w->held != NULL)
        list_remove(&w->link);
    else if (w->event)
        event_del(w->event);
}

void watch_fini(struct watch *w)
{
    int fd = w->precise ? event_get_fd(w->event) : -1;
    if (w->held != NULL)
        list_remove(&w->link);
    if (w->event)
        event_free(w->event);
    if (fd >= 0)
        close(fd);
    *w = (struct watch){0};
}
