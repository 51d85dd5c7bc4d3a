/*
 * The plan of a load run: the options, and the requests rendered from them in advance. A part of load.c, which alone
 * includes it.
 */
#ifndef BENCH_PLAN_H
#define BENCH_PLAN_H

#include <errno.h>
#include <getopt.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/mem.h"
#include "bench/wire/wire.h"

enum {
    CONNECTIONS_MAX = 20 * 1000,
    THREADS_MAX = 64,
    TOPICS_MAX_HERE = 1000 * 1000,
    FILE_CHUNK = 64 * KIB,
    SECONDS_DEFAULT = 10,
    SECONDS_WITH_COUNT = 120, /* -n without -d ends after that time at the latest */
};

struct options {
    unsigned connections, threads, topics, step, lines;
    uint64_t requests, rate;
    double seconds;
    size_t size;
    bool json, producers;
    const char *method, *file, *url;
    struct buf headers;       /* lines, each with its CRLF */
    bool typed;               /* one of them is a Content-Type */
};

struct plan {
    struct options options;
    const struct wire *wire;
    struct order order;
    struct addrinfo *address;
    struct buf *heads;        /* one for each topic, or for each connection */
    size_t *numbers;          /* of producers: where in its head a connection writes the number of its request */
    unsigned head_count;
    struct buf body;
    unsigned each;            /* messages in a request */
    bool bodiless;            /* HEAD: the answer has no body, although its head has a length */
    uint64_t began_ns, end_ns;
};

static inline _Noreturn void fail(const char *what, const char *why)
{
    fprintf(stderr, "load: %s: %s\n", what, why);
    exit(64);
}

static inline void body_random(struct buf *body, size_t size, unsigned lines)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
    uint64_t x = 88172645463325252u;
    for (unsigned line = 0; line < (lines ? lines : 1); line++) {
        for (size_t i = 0; i < size; i++) {
            x ^= x << 13, x ^= x >> 7, x ^= x << 17;
            buf_add_char(body, letters[x >> 32 & 63]);
        }
        if (lines)
            buf_add_char(body, '\n');
    }
}

static inline void body_from_file(struct buf *body, const char *path)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        fail(path, strerror(errno));
    for (size_t n = 1; n > 0; body->end += n)
        n = fread(buf_reserve(body, FILE_CHUNK), 1, FILE_CHUNK, f);
    fclose(f);
}

enum { NUMBER_DIGITS = 10 };

/* Each connection is a producer of its own. */
static inline void producers_make(struct plan *plan)
{
    static const char number[] = "Producer-Seq: ";
    const struct options *o = &plan->options;
    if (o->topics > 1 || plan->wire->own_requests)
        fail("-P", "it needs HTTP and one topic");
    plan->head_count = o->connections;
    plan->heads = mem_new(plan->head_count * sizeof *plan->heads);
    plan->numbers = mem_new(plan->head_count * sizeof *plan->numbers);
    for (unsigned i = 0; i < plan->head_count; i++) {
        struct buf headers = {0};
        struct order order = plan->order;
        buf_add_slice(&headers, order.headers);
        buf_addf(&headers, "Producer-Id: load-%d-%u\r\n%s%0*d\r\n", getpid(), i, number, NUMBER_DIGITS, 0);
        order.headers = buf_slice(&headers);
        plan->wire->make(&plan->heads[i], &order, 0);
        const struct buf *head = &plan->heads[i];
        const char *at = memmem(head->data, head->end, number, sizeof number - 1);
        plan->numbers[i] = (size_t)(at - head->data) + sizeof number - 1;
        buf_fini(&headers);
    }
}

/* One request for each topic, or for each connection if the protocol needs that. */
static inline void heads_make(struct plan *plan)
{
    const struct options *o = &plan->options;
    if (o->producers) {
        producers_make(plan);
        return;
    }
    plan->head_count = plan->wire->own_requests ? o->connections : o->topics;
    plan->heads = mem_new(plan->head_count * sizeof *plan->heads);
    for (unsigned i = 0; i < plan->head_count; i++)
        plan->wire->make(&plan->heads[i], &plan->order, i * o->step);
}

static inline void address_find(struct plan *plan, slice host)
{
    const char *colon = memrchr(host.p, ':', host.n);
    slice name = colon ? slice_of(host.p, (size_t)(colon - host.p)) : host;
    slice port = colon ? slice_skip(host, name.n + 1) : SLICE("80");
    if (name.n > 2 && name.p[0] == '[')
        name = slice_of(name.p + 1, name.n - 2);
    char *node = mem_copy(name.p, name.n), *service = mem_copy(port.p, port.n);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    int rc = getaddrinfo(node, service, &hints, &plan->address);
    if (rc != 0)
        fail(plan->options.url, gai_strerror(rc));
    mem_free(node);
    mem_free(service);
}

static inline void order_make(struct plan *plan)
{
    const struct options *o = &plan->options;
    slice rest, host;
    plan->wire = wire_find(slice_from(o->url), &rest);
    if (!plan->wire)
        fail(o->url, "not http://, redis://, beanstalk://, nats://, tarantool:// or amqp://");
    slice whole = rest;
    slice_split(&rest, '/', &host);
    address_find(plan, host);
    plan->order = (struct order){
        .host = host,
        .path = host.n < whole.n ? slice_skip(whole, host.n) : SLICE("/"),
        .method = o->method,
        .headers = buf_slice(&o->headers),
        .typed = o->typed,
        .lines = o->lines,
        .body = buf_slice(&plan->body),
    };
    heads_make(plan);
}

static inline void plan_make(struct plan *plan)
{
    const struct options *o = &plan->options;
    if (o->file)
        body_from_file(&plan->body, o->file);
    else if (o->size > 0)
        body_random(&plan->body, o->size, o->lines);
    plan->each = o->lines ? o->lines : 1;
    plan->bodiless = o->method && strcmp(o->method, "HEAD") == 0;
    order_make(plan);
}

static const char usage[] =
    "usage: load [options] URL       http://, redis://, beanstalk://, nats://, tarantool:// or amqp://\n"
    "  -c N        connections, 1 to 20000 (1)        -t N      threads (1)\n"
    "  -n N        requests in all                    -d S      seconds (10; with -n at most 120)\n"
    "  -r N        requests a second, constant; latency counts from when each was due\n"
    "  -b SIZE     messages of SIZE letters           -B COUNT  COUNT of them in one request: NDJSON, or a pipeline\n"
    "  -f FILE     send that file                     -m METHOD (GET, or POST with a body), or a\n"
    "                                                            command of Redis (XADD)\n"
    "  -H HEADER   add a header line                  -j, --json   one line of JSON\n"
    "  -T, --topics N  replace %d in the URL by 0 to N-1 in turn\n"
    "  -s, --step S    ... by 0, S, 2 S and so on, N of them\n"
    "  -P, --producers each connection is a producer: its requests have a Producer-Id and a Producer-Seq\n"
    "exit code: 0, or 1 when any request failed or was answered other than 2xx\n";

static inline uint64_t number(const char *option, const char *text, uint64_t least, uint64_t most)
{
    uint64_t n;
    if (slice_u64(slice_from(text), &n) < 0 || n < least || n > most)
        fail(option, "the number is out of range");
    return n;
}

static inline void header_add(struct options *o, const char *line)
{
    o->typed = o->typed || strncasecmp(line, "content-type:", 13) == 0;
    buf_addf(&o->headers, "%s\r\n", line);
}

static inline void option_apply(struct options *o, int option, const char *value)
{
    switch (option) {
    case 'c': o->connections = (unsigned)number("-c", value, 1, CONNECTIONS_MAX); break;
    case 't': o->threads = (unsigned)number("-t", value, 1, THREADS_MAX); break;
    case 'n': o->requests = number("-n", value, 1, UINT64_MAX); break;
    case 'd': o->seconds = strtod(value, NULL); break;
    case 'r': o->rate = number("-r", value, 1, 10 * 1000 * 1000); break;
    case 'b': o->size = (size_t)number("-b", value, 0, 1024 * MIB); break;
    case 'B': o->lines = (unsigned)number("-B", value, 1, MIB); break;
    case 'T': o->topics = (unsigned)number("--topics", value, 1, TOPICS_MAX_HERE); break;
    case 's': o->step = (unsigned)number("--step", value, 1, UINT32_MAX / TOPICS_MAX_HERE); break;
    case 'f': o->file = value; break;
    case 'm': o->method = value; break;
    case 'H': header_add(o, value); break;
    case 'P': o->producers = true; break;
    case 'j': o->json = true; break;
    case 'h': fputs(usage, stdout); exit(0);
    default: fputs(usage, stderr); exit(64);
    }
}

static inline void options_read(struct options *o, int argc, char **argv)
{
    static const struct option longs[] = {
        {"json", no_argument, NULL, 'j'}, {"topics", required_argument, NULL, 'T'},
        {"step", required_argument, NULL, 's'}, {"producers", no_argument, NULL, 'P'},
        {"help", no_argument, NULL, 'h'}, {0},
    };
    int option;
    *o = (struct options){.connections = 1, .threads = 1, .topics = 1, .step = 1};
    while ((option = getopt_long(argc, argv, "c:t:n:d:r:b:B:T:s:f:m:H:Pjh", longs, NULL)) >= 0)
        option_apply(o, option, optarg);
    if (optind != argc - 1)
        option_apply(o, '?', NULL);
    o->url = argv[optind];
    if (o->threads > o->connections)
        o->threads = o->connections;
    if (o->seconds <= 0)
        o->seconds = o->requests ? SECONDS_WITH_COUNT : SECONDS_DEFAULT;
    if (o->lines && o->size == 0)
        o->size = 100;
}

#endif
