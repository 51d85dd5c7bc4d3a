/*
 * The cost of the script layer: nanoseconds of one task, one append through the binding, one rendered message.
 * Run it in an empty directory.
 */
#include "base/json.h"
#include "script/message/render.h"
#include "unit/host.h"

enum { TASKS = 300 * 1000, LIVE = 64 };

static struct host host;
static int left;
static const char *job;

static int push_job(lua_State *L, void *arg)
{
    (void)arg;
    lua_getglobal(L, job);
    return 0;
}

static void on_done(void *arg, const struct task_result *r)
{
    (void)arg;
    if (r->rc < 0) {
        fprintf(stderr, "%s\n", r->message);
        abort();
    }
    left--;
}

static void start(void)
{
    struct task_options o = {.where = "a job", .push = push_job, .done = on_done};
    ENSURE(task_start(vm_tasks(host.vm), &o, NULL) == 0);
}

/* Measures Lua and bindings only: store and marks are advanced by hand, outside of the measured time. */
static double measure(const char *name, bool parks)
{
    struct topic *t = topics_find(host.topics, SLICE("t"));
    uint64_t spent = 0;
    job = name;
    left = TASKS;
    for (int begun = 0; left > 0;) {
        uint64_t began = clock_cpu_ns();
        for (int i = 0; i < LIVE && begun < TASKS; i++, begun++)
            start();
        tasks_run(vm_tasks(host.vm));
        spent += clock_cpu_ns() - began;
        if (!parks)
            continue;
        while (t->disk.at < t->tail.at) {
            store_flush(host.store);
            store_sync(host.store);
            store_collect(host.store);
        }
        began = clock_cpu_ns();
        tasks_run(vm_tasks(host.vm));
        spent += clock_cpu_ns() - began;
    }
    return (double)spent / TASKS;
}

static void measure_render(void)
{
    enum { ROUNDS = 20 * 1000, MESSAGES = 100 };
    struct batch b = {.to = MESSAGES, .count = MESSAGES, .epoch = 1, .topic = "orders"};
    struct buf messages = {0};
    struct buf out = {0};
    char payload[100];
    memset(payload, 'x', sizeof(payload));
    struct message m = {.payload = slice_of(payload, sizeof(payload))};
    for (int i = 0; i < MESSAGES; i++)
        message_write(&messages, &m);
    struct batch_head head = {
        .size = (uint32_t)(BATCH_HEAD_SIZE + buf_size(&messages)), .count = MESSAGES, .epoch = 1,
        .time_ms = 1795434350123};
    char *at = buf_reserve(&b.raw, head.size);
    memcpy(at + BATCH_HEAD_SIZE, messages.data, buf_size(&messages));
    batch_head_write(at, &head);
    b.raw.end = head.size;
    uint64_t began = clock_cpu_ns();
    for (int i = 0; i < ROUNDS; i++) {
        buf_clear(&out);
        batch_render(&out, &b);
    }
    double ns = (double)(clock_cpu_ns() - began) / ROUNDS;
    printf("render 100 messages of 100 bytes as JSON: %.1f us (%zu bytes)\n", ns / 1000, buf_size(&out));
    buf_fini(&messages);
    buf_fini(&b.raw);
    buf_fini(&out);
}

int main(void)
{
    static const char setup[] =
        "local append, topic = topic('t').append, topic\n"
        "local payload = ('x'):rep(100)\n"
        "topic('t'):create {}\n"
        "function nothing() end\n"
        "function appends() return topic('t'):append(payload) end\n"
        "function sleeps() sleep(0) end\n"
        "local hop = coroutine.create(function() while true do coroutine.yield() end end)\n"
        "function nested() coroutine.resume(hop) end\n";
    host_open(&host, 0);
    printf("%.*s", SLICE_ARGS(host_eval(&host, setup)));
    for (int round = 0; round < 2; round++) {
        double nothing = measure("nothing", false);
        printf("task: %.0f ns; with a nested resume %.0f ns; with topic(name):append(100 bytes) and its wait %.0f ns\n",
               nothing, measure("nested", false), measure("appends", true));
    }
    measure_render();
    struct vm_stats stats;
    vm_stats(host.vm, &stats);
    printf("Lua memory after %llu tasks: %zu bytes\n", (unsigned long long)stats.tasks_started, stats.memory);
    host_close(&host);
    return 0;
}
