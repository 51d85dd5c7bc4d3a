#include "net/acceptor.h"

#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "unit/unit.h"

enum { GUESTS = 3 };

struct guests {
    struct loop loop;
    struct acceptor acceptor;
    int dialled[GUESTS], fds[GUESTS];
    unsigned count, turns;
    bool (*enough)(struct guests *g);
};

static void on_accept(void *arg, int fd, const union address *from)
{
    struct guests *g = arg;
    char text[ADDRESS_TEXT_MAX];
    address_format(from, text);
    CHECK(address_is_loopback(slice_from(text)));
    CHECK(g->count < GUESTS);
    g->fds[g->count++] = fd;
}

static void turn(void *arg)
{
    struct guests *g = arg;
    g->turns++;
    if (g->enough(g))
        loop_stop(&g->loop);
}

static void run_until(struct guests *g, bool (*enough)(struct guests *g))
{
    g->enough = enough;
    loop_run(&g->loop, turn, g);
}

static bool all_came(struct guests *g)
{
    return g->count == GUESTS;
}

static void open_and_dial(struct guests *g)
{
    uint16_t port;
    char text[32];
    *g = (struct guests){.acceptor = {.on_accept = on_accept, .arg = g, .area = "test"}};
    CHECK_EQ(loop_init(&g->loop), 0);
    int fd = address_listen(SLICE("127.0.0.1:0"), &port);
    CHECK(fd >= 0);
    acceptor_open(&g->acceptor, &g->loop, fd);
    snprintf(text, sizeof text, "127.0.0.1:%u", port);
    for (int i = 0; i < GUESTS; i++)
        CHECK((g->dialled[i] = address_dial(slice_from(text))) >= 0);
}

static void close_all(struct guests *g)
{
    acceptor_close(&g->acceptor);
    acceptor_close(&g->acceptor);        /* twice is harmless */
    for (int i = 0; i < GUESTS; i++) {
        close(g->dialled[i]);
        close(g->fds[i]);
    }
    loop_fini(&g->loop);
}

TEST(test_every_connection_is_handed_over)
{
    struct guests g;
    open_and_dial(&g);
    run_until(&g, all_came);
    close_all(&g);
}

static bool is_paused(struct guests *g)
{
    return g->acceptor.readable.event == NULL;
}

/* While accepting is paused, nothing wakes the loop: it makes a few turns, not thousands. */
TEST(test_without_descriptors_accepting_pauses_and_goes_on_by_itself)
{
    struct guests g;
    struct rlimit before, none;
    open_and_dial(&g);
    CHECK_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    none.rlim_cur = (rlim_t)g.dialled[GUESTS - 1] + 1;
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
    run_until(&g, is_paused);
    CHECK_EQ(g.count, 0);
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
    run_until(&g, all_came);
    CHECK(g.turns < 10);
    close_all(&g);
}
