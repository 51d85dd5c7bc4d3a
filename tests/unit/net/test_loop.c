/* The loop's precise timer, which may also be moved when it is already due; and its timers while the clock is held. */
#include "net/loop.h"

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "unit/unit.h"

static struct loop loop;
static struct watch precise, guard;
static unsigned fired;

static void on_fired(void *arg)
{
    (void)arg;
    fired++;
}

static void on_guard(void *arg)
{
    *(bool *)arg = true;
}

static bool over;

static void turn(void *arg)
{
    (void)arg;
    if (over)
        loop_stop(&loop);
}

static void run_for(uint64_t ns)
{
    over = false;
    watch_arm(&guard, ns);
    loop_run(&loop, turn, NULL);
}

static void begin(void)
{
    CHECK_EQ(loop_init(&loop), 0);
    watch_timer(&loop, &guard, on_guard, &over);
}

static void end(void)
{
    watch_fini(&precise);
    watch_fini(&guard);
    loop_fini(&loop);
}

static void check_timer(void)
{
    run_for(5 * NS_PER_MS);
    CHECK_EQ(fired, 0);                              /* idle until armed */
    watch_arm(&precise, 1);
    run_for(20 * NS_PER_MS);
    CHECK_EQ(fired, 1);
    run_for(5 * NS_PER_MS);
    CHECK_EQ(fired, 1);                              /* once */
    watch_arm(&precise, 1);
    usleep(2000);
    watch_disarm(&precise);                          /* due, but not called yet */
    run_for(5 * NS_PER_MS);
    CHECK_EQ(fired, 1);
    watch_arm(&precise, 1);
    usleep(2000);
    watch_arm(&precise, 3600 * NS_PER_S);
    run_for(5 * NS_PER_MS);
    CHECK_EQ(fired, 1);
    watch_arm(&precise, 0);
    run_for(20 * NS_PER_MS);
    CHECK_EQ(fired, 2);
}

TEST(test_a_precise_timer_fires_once_and_not_what_it_was_armed_for_before)
{
    begin();
    watch_precise_timer(&loop, &precise, on_fired, NULL);
    CHECK(precise.precise);
    check_timer();
    end();
}

TEST(test_where_there_is_no_descriptor_for_it_it_is_as_precise_as_others)
{
    begin();
    int next = dup(STDERR_FILENO);
    close(next);
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &(struct rlimit){(rlim_t)next, (rlim_t)next}), 0);
    watch_precise_timer(&loop, &precise, on_fired, NULL);
    CHECK(!precise.precise);
    check_timer();
    end();
}

TEST(test_a_precise_timer_gives_its_descriptor_back)
{
    begin();
    int next = dup(STDERR_FILENO);
    close(next);
    for (int i = 0; i < 3; i++) {
        watch_precise_timer(&loop, &precise, on_fired, NULL);
        CHECK(precise.precise);
        watch_fini(&precise);
        watch_disarm(&precise);                      /* it must not fire any more */
    }
    int after = dup(STDERR_FILENO);
    CHECK_EQ(after, next);
    close(after);
    end();
}

/* ---- a held clock ---- */

static unsigned order[8], ordered;
static bool there;

static void on_later(void *arg)
{
    order[ordered++ % 8] = 2;
    CHECK_EQ(clock_ns(), *(uint64_t *)arg + 3600 * NS_PER_S);
    over = true;
}

static void on_sooner(void *arg)
{
    struct watch *self = arg;
    order[ordered++ % 8] = 1;
    if (ordered < 3)
        watch_arm(self, 60 * NS_PER_S);
}

static bool waits_for_guard(void *arg)
{
    (void)arg;
    return !there;
}

static void on_there(void *arg)
{
    char c;
    CHECK_EQ(read(*(int *)arg, &c, 1), 1);
    there = true;
}

TEST(test_a_held_clock_moves_from_timer_to_timer_without_waiting)
{
    struct watch sooner, later;
    clock_hold(1000);
    begin();
    uint64_t start = clock_ns(), real = clock_real_ns();
    int64_t wall = clock_wall_ms();
    CHECK_EQ(wall, 1000);
    watch_timer(&loop, &later, on_later, &start);
    watch_precise_timer(&loop, &sooner, on_sooner, &sooner);
    CHECK(!sooner.precise);
    watch_arm(&later, 3600 * NS_PER_S);
    watch_arm(&sooner, 60 * NS_PER_S);
    loop_run(&loop, turn, NULL);
    CHECK_EQ(ordered, 4);
    CHECK_EQ(order[0] + order[1] + order[2], 3);
    CHECK_EQ(order[3], 2);
    CHECK_EQ(clock_wall_ms() - wall, 3600 * 1000);
    CHECK(clock_real_ns() - real < 5 * NS_PER_S);
    watch_fini(&sooner);
    watch_fini(&later);
    end();
}

TEST(test_a_held_clock_does_not_move_while_something_is_under_way)
{
    int ends[2];
    struct watch input, later;
    clock_hold(0);
    begin();
    uint64_t start = clock_ns();
    CHECK_EQ(pipe(ends), 0);
    watch_readable(&loop, &input, ends[0], on_there, &ends[0]);
    watch_timer(&loop, &later, on_later, &start);
    watch_arm(&later, 3600 * NS_PER_S);
    loop_hold(&loop, waits_for_guard, NULL);
    pid_t child = unit_fork();
    if (child == 0) {
        usleep(50 * 1000);
        CHECK_EQ(write(ends[1], "x", 1), 1);
        _exit(0);
    }
    loop_run(&loop, turn, NULL);
    CHECK(there);                                    /* it came before the clock moved */
    CHECK_EQ(ordered, 1);
    CHECK_EQ(waitpid(child, NULL, 0), child);
    watch_fini(&input);
    watch_fini(&later);
    end();
}

TEST(test_a_timer_that_is_disarmed_does_not_move_a_held_clock)
{
    struct watch sooner, later;
    clock_hold(0);
    begin();
    uint64_t start = clock_ns();
    watch_timer(&loop, &later, on_later, &start);
    watch_timer(&loop, &sooner, on_sooner, &sooner);
    watch_arm(&sooner, NS_PER_S);
    watch_arm(&later, 3600 * NS_PER_S);
    watch_disarm(&sooner);
    loop_run(&loop, turn, NULL);
    CHECK_EQ(ordered, 1);
    watch_fini(&sooner);
    watch_fini(&later);
    end();
}
