#include "net/loop.h"

#include <event2/event.h>
#include <signal.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "base/err.h"

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

void loop_run(struct loop *l, void (*step)(void *arg), void *arg)
{
    l->stopped = false;
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
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
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
    uint64_t us = (delay_ns + 999) / 1000;  /* never early */
    struct timeval tv = {.tv_sec = (time_t)(us / 1000000), .tv_usec = (suseconds_t)(us % 1000000)};
    ENSURE(event_add(w->event, &tv) == 0);
}

void watch_disarm(struct watch *w)
{
    if (w->precise)
        precise_set(w, 0);
    else if (w->event)
        event_del(w->event);
}

void watch_fini(struct watch *w)
{
    int fd = w->precise ? event_get_fd(w->event) : -1;
    if (w->event)
        event_free(w->event);
    if (fd >= 0)
        close(fd);
    *w = (struct watch){0};
}
