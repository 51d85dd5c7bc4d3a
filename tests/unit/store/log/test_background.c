/* Work in steps on the disk thread: which step is submitted when, and how it stops. */
#include "store/log/background.h"

#include "base/clock.h"
#include "unit/unit.h"

struct work {
    struct background background;
    int runs, steps, stops;
};

static struct disk disk;
static struct topic_dir dir = {.disk = &disk};
static struct list store_list, journal_list;

static void run(struct job *job)
{
    LIST_OWNER(job, struct work, background.job)->runs++;
}

static void stepped(struct background *b)
{
    LIST_OWNER(b, struct work, background)->steps++;
}

static void stopped(struct background *b)
{
    CHECK(list_alone(&b->of_store));
    CHECK(list_alone(&b->of_journal));
    LIST_OWNER(b, struct work, background)->stops++;
}

static const struct background_kind patient = {.stepped = stepped, .stopped = stopped};
static const struct background_kind touchy = {.appends_stop_it = true, .stepped = stepped, .stopped = stopped};

static void begin(struct work *w, const struct background_kind *kind, uint64_t due_ns)
{
    *w = (struct work){.background = {.kind = kind, .dir = &dir, .job.run = run, .due_ns = due_ns}};
    background_begin(&w->background, &store_list, &journal_list);
}

static void set_up(void)
{
    list_init(&store_list);
    list_init(&journal_list);
    CHECK_EQ(worker_new(&disk.worker), 0);
}

static void turn(void)
{
    background_run(&store_list);
    worker_wait(disk.worker);
}

TEST(test_a_step_is_submitted_in_each_turn_once_it_is_due)
{
    struct work at_once, later;
    set_up();
    uint64_t due = clock_ns() + 3600 * NS_PER_S;
    begin(&at_once, &patient, 0);
    begin(&later, &touchy, due);
    CHECK_EQ(background_deadline_ns(&store_list), due);
    background_run(&store_list);
    background_run(&store_list);                     /* the step is still running */
    CHECK_EQ(dir.jobs, 1);
    worker_wait(disk.worker);
    CHECK_EQ(dir.jobs, 0);
    CHECK_EQ(at_once.steps, 1);
    turn();
    CHECK_EQ(at_once.steps, 2);
    CHECK_EQ(at_once.runs, 2);
    CHECK_EQ(later.runs, 0);
    later.background.due_ns = 1;
    turn();
    CHECK_EQ(later.steps, 1);
    worker_free(disk.worker);
}

TEST(test_appends_stop_only_work_that_they_make_void)
{
    struct work a, b;
    set_up();
    begin(&a, &patient, 0);
    begin(&b, &touchy, 0);
    background_stop(&journal_list, JOURNAL_APPENDS);
    CHECK_EQ(a.stops, 0);
    CHECK_EQ(b.stops, 1);
    CHECK(background_of_journal(&journal_list, &touchy) == NULL);
    CHECK(background_of_journal(&journal_list, &patient) == &a.background);
    background_stop(&journal_list, JOURNAL_CHANGES);
    CHECK_EQ(a.stops, 1);
    CHECK(list_empty(&store_list));
    worker_free(disk.worker);
}

TEST(test_work_is_stopped_after_the_step_that_runs)
{
    struct work w;
    set_up();
    begin(&w, &touchy, 0);
    background_run(&store_list);
    background_stop(&journal_list, JOURNAL_APPENDS);
    CHECK_EQ(w.stops, 0);
    CHECK(background_of_journal(&journal_list, &touchy) == NULL);
    CHECK(background_of_store(&store_list, &touchy) == &w.background);   /* it still uses files */
    worker_wait(disk.worker);
    CHECK_EQ(w.stops, 1);
    CHECK_EQ(w.steps, 0);
    CHECK(list_empty(&store_list));
    worker_free(disk.worker);
}

TEST(test_ended_work_has_no_steps_and_is_stopped_by_a_change)
{
    struct work w;
    set_up();
    begin(&w, &patient, 0);
    turn();
    background_end(&w.background);
    turn();
    CHECK_EQ(w.runs, 1);
    CHECK(background_of_store(&store_list, &patient) == NULL);
    CHECK(background_of_journal(&journal_list, &patient) == &w.background);
    background_stop(&journal_list, JOURNAL_CHANGES);
    CHECK_EQ(w.stops, 1);
    worker_free(disk.worker);
}
