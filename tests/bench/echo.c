/*
 * The smallest server on core/net: it answers every request at once with 200 and a few bytes of JSON, so `load`
 * measures the cost of HTTP alone. Usage: echo HOST:PORT [CPU-SECONDS-AT-END on stderr]
 */
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "net/http.h"

struct echo {
    struct loop loop;
    struct http_server *http;
};

static void turn(void *arg)
{
    static const struct http_answer ok = {.status = 200, .type = {"application/json", 16}};
    struct echo *e = arg;
    struct http_request *r;
    while ((r = http_next(e->http)))
        http_answer(r, &ok, SLICE("{\"topic\": \"t\", \"first\": 1, \"next\": 2}\n"));
    http_flush(e->http);
}

static void on_signal(void *arg)
{
    struct echo *e = arg;
    loop_stop(&e->loop);
}

static int report(const struct echo *e)
{
    struct http_stats stats;
    http_stats(e->http, &stats);
    uint64_t requests = stats.requests ? stats.requests : 1;
    fprintf(stderr, "echo: %llu requests, %.2f us CPU each\n", (unsigned long long)stats.requests,
            (double)clock_cpu_ns() / 1e3 / (double)requests);
    return 0;
}

int main(int argc, char **argv)
{
    static const struct http_limits limits = {
        .connections = HTTP_CONNECTIONS_MAX, .body = HTTP_BODY_MAX, .bodies = HTTP_BODIES_MAX,
        .head_ms = HTTP_HEAD_MS, .body_ms = HTTP_BODY_MS, .idle_ms = HTTP_IDLE_MS, .write_ms = HTTP_WRITE_MS,
    };
    struct echo e = {0};
    struct watch stop;
    uint16_t port;
    if (loop_init(&e.loop) < 0)
        return 1;
    e.http = http_server_new(&e.loop, &limits);
    int rc = http_listen(e.http, slice_from(argc > 1 ? argv[1] : "127.0.0.1:0"), &port);
    if (rc < 0) {
        fprintf(stderr, "echo: cannot listen: %s\n", strerror(-rc));
        return 1;
    }
    watch_signal(&e.loop, &stop, SIGTERM, on_signal, &e);
    printf("%u\n", port);
    fflush(stdout);
    loop_run(&e.loop, turn, &e);
    watch_fini(&stop);
    rc = report(&e);
    http_server_free(e.http);
    loop_fini(&e.loop);
    return rc;
}
