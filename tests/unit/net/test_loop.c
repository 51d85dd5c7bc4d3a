/* The loop's precise timer, which may also be moved when it is already due. */
#include "net/loop.h"

#include <sys/resource.h>
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
