#include "script/vm/budget.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/exit_code.h"
#include "base/limits.h"
#include "script/vm/state.h"

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

#define SIGNO (SIGRTMIN + 1)

enum {
    TICK_MS = 5,
    SLICE_TICKS = 1,                  /* a slice ends after more than these, in 5 to 10 ms: it begins between two */
    PATTERN_SHOWN = 40,               /* bytes of a pattern in a message */
    WATCHDOG_TICKS = 1000 / TICK_MS,  /* this long the hook has not struck: it is inside one call of C */
};

/* ---- the hook ---- */

bool is_own_script(const char *scripts, const lua_Debug *ar)
{
    size_t n = strlen(scripts);
    return ar->source[0] == '@' && strncmp(ar->source + 1, scripts, n) == 0 && ar->source[n + 1] == '/';
}

void innermost_line(lua_State *L, char place[PLACE_MAX])
{
    lua_Debug ar;
    const char *scripts = vm_of(L)->scripts;
    bool own = true;
    place[0] = '\0';
    for (int level = 0; own && lua_getstack(L, level, &ar); level++) {
        lua_getinfo(L, "Sl", &ar);
        own = ar.currentline <= 0 || is_own_script(scripts, &ar);
        if (!own || (ar.currentline > 0 && place[0] == '\0'))
            snprintf(place, PLACE_MAX, "%s:%d: ", ar.short_src, ar.currentline);
    }
}

void budget_place(struct budget *b, lua_State *L, slice pattern)
{
    if (b->place[0] != '\0')
        return;
    innermost_line(L, b->place);
    size_t n = strlen(b->place);
    bool whole = pattern.n <= PATTERN_SHOWN;
    snprintf(b->place + n, sizeof(b->place) - n, "the pattern \"%.*s\"%s is ", whole ? (int)pattern.n : PATTERN_SHOWN,
             pattern.p, whole ? "" : "...");
}

static void hook_off(const struct budget *b, lua_State *L)
{
    lua_sethook(L, b->lines == 0 ? NULL : b->hook, b->lines, 0);
}

bool budget_on_hook(struct budget *b, lua_State *L)
{
    if (b->over)
        budget_stop(b, L);
    hook_off(b, L);               /* it may also be left over from an earlier run, or inherited from L's creator */
    bool due = b->due;
    b->slice = b->ticks;
    b->due = 0;
    return due;
}

bool budget_takes_sample(struct budget *b, lua_State *L, bool *only)
{
    bool taken = b->sample;
    b->sample = 0;
    *only = taken && !b->due && !b->over;
    if (*only)
        hook_off(b, L);
    return taken;
}

int budget_stop(struct budget *b, lua_State *L)
{
    b->slice = b->ticks;
    if (b->place[0] == '\0')
        innermost_line(L, b->place);
    if (lua_isyieldable(L))
        return lua_yield(L, 0);
    lua_pushliteral(L, "not enough memory");  /* lua_error turns this very string into Lua's memory error */
    return lua_error(L);
}

/* ---- the signal handler: async-signal-safe calls only, and lua_sethook, which Lua allows in one ---- */

/* Setting a hook takes a step for each call that the thread is in. Deep in a recursion that is more than a tick: set at
 * each tick again, it would leave no time for anything else. */
static void arm_thread(const struct budget *b, lua_State *L)
{
    if (!(lua_gethookmask(L) & LUA_MASKCOUNT))
        lua_sethook(L, b->hook, LUA_MASKCOUNT | b->lines, 1);
}

static void arm(const struct budget *b)
{
    for (struct budget_frame *f = b->top; f != NULL; f = f->below)
        arm_thread(b, f->L);
}

/* Reads the Lua thread while it is inside C, where its list of calls does not change. */
static void write_watchdog_line(struct budget *b, const char *what)
{
    char line[PLACE_MAX + 256], place[PLACE_MAX];
    innermost_line(b->top->L, place);
    int n = snprintf(line, sizeof(line), "watchdog: %s%.128s has been inside one call of C for %s\n", place,
                     b->where == NULL || b->where[0] == '\0' ? "a script" : b->where, what);
    ssize_t written = write(STDERR_FILENO, line, n < (int)sizeof(line) ? (size_t)n : sizeof(line) - 1);
    (void)written;
}

/* The hook is set and has not struck for this many ticks: no Lua has run. */
static void watch(struct budget *b, unsigned stuck)
{
    if (stuck > SLICE_TICKS + WATCHDOG_TICKS && !b->told) {
        b->told = 1;
        write_watchdog_line(b, "1 s");
    }
    if (b->stall != 0 && stuck > b->stall) {
        write_watchdog_line(b, "limits.stall: the process ends, so that another node can lead");
        _exit(EXIT_SOFTWARE);
    }
}

static void on_tick(int signo, siginfo_t *info, void *context)
{
    (void)signo;
    (void)context;
    int saved = errno;
    struct budget *b = info->si_value.sival_ptr;
    unsigned n = 1 + (unsigned)info->si_overrun;
    b->ticks += n;
    if (b->top != NULL) {
        b->lua_ticks += n;
        unsigned spent = b->ticks - b->began;
        if (spent > b->limit) {
            b->over = 1;
            arm(b);
        } else if (b->ticks - b->slice > SLICE_TICKS) {
            b->due = 1;
            arm_thread(b, b->top->L);
        }
        if (b->sampling) {
            b->sample = 1;
            arm_thread(b, b->top->L);
        }
        watch(b, b->ticks - b->slice);
    }
    errno = saved;
}

/* ---- the timer ---- */

int budget_begin_again(struct budget *b)
{
    struct sigevent event = {
        .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGNO, .sigev_value.sival_ptr = b};
    struct timespec tick = {.tv_nsec = TICK_MS * (long)NS_PER_MS};
    struct itimerspec every = {tick, tick};
    event.sigev_notify_thread_id = (pid_t)syscall(SYS_gettid);
    if (timer_create(CLOCK_THREAD_CPUTIME_ID, &event, &b->timer) < 0)
        return -errno;
    return timer_settime(b->timer, 0, &every, NULL) < 0 ? -errno : 0;
}

int budget_init(struct budget *b, lua_Hook hook)
{
    struct sigaction action = {.sa_sigaction = on_tick, .sa_flags = SA_SIGINFO | SA_RESTART};
    *b = (struct budget){.hook = hook, .stall = STALL_MS / TICK_MS};
    return sigaction(SIGNO, &action, NULL) < 0 ? -errno : budget_begin_again(b);
}

void budget_fini(struct budget *b)
{
    timer_delete(b->timer);
}

/* ---- runs ---- */

void budget_begin(struct budget *b, struct budget_run *run, lua_State *L, uint32_t budget_ms)
{
    *run = (struct budget_run){
        .frame.L = L, .outer = b->top, .where = b->where, .began = b->began, .limit = b->limit, .over = b->over};
    b->top = NULL;
    b->began = b->slice = b->ticks;
    b->limit = (budget_ms + TICK_MS - 1) / TICK_MS;
    b->over = b->due = 0;
    b->told = 0;
    b->place[0] = '\0';
    b->top = &run->frame;
}

bool budget_end(struct budget *b, struct budget_run *run)
{
    b->top = NULL;
    bool over = b->over;
    b->exceeded += over;
    b->where = run->where;
    b->began = run->began;
    b->limit = run->limit;
    b->over = run->over;
    b->due = 0;
    b->slice = b->ticks;
    b->top = run->outer;
    return over;
}

unsigned budget_used(const struct budget *b)
{
    return b->ticks - b->began;
}

void budget_charge(struct budget *b, unsigned ticks)
{
    b->began -= ticks;
}

void budget_push(struct budget *b, struct budget_frame *frame, lua_State *L)
{
    *frame = (struct budget_frame){L, b->top};
    b->top = frame;
    if (b->over)
        arm(b);
}

void budget_pop(struct budget *b, const struct budget_frame *frame)
{
    b->top = frame->below;
}

void budget_set_stall(struct budget *b, uint32_t ms)
{
    b->stall = (ms + TICK_MS - 1) / TICK_MS;
}

uint64_t budget_lua_ns(const struct budget *b)
{
    return b->lua_ticks * (uint64_t)TICK_MS * NS_PER_MS;
}
