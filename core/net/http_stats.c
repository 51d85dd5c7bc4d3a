#include "base/mem.h"
#include "net/http_server.h"

enum { ROUTES_STEP = 16 };

void routes_init(struct http_server *s)
{
    map_init(&s->route_numbers);
    s->routes = mem_new(ROUTES_STEP * sizeof *s->routes);
    s->routes[0].pattern = SLICE("other");
    s->stats.route_count = 1;
}

void routes_fini(struct http_server *s)
{
    for (unsigned i = 1; i < s->stats.route_count; i++)
        mem_free((char *)(uintptr_t)s->routes[i].pattern.p);
    map_fini(&s->route_numbers);
    mem_free(s->routes);
}

unsigned http_route(struct http_server *s, slice pattern)
{
    unsigned n = s->stats.route_count;
    uintptr_t known = (uintptr_t)map_get(&s->route_numbers, pattern);
    if (known != 0)
        return (unsigned)known;
    if (n == ROUTES_MAX)
        return 0;
    if (n % ROUTES_STEP == 0)
        s->routes = mem_resize(s->routes, (n + ROUTES_STEP) * sizeof *s->routes);
    s->routes[n] = (struct http_route_stats){.pattern = slice_of(mem_copy(pattern.p, pattern.n), pattern.n)};
    map_put(&s->route_numbers, s->routes[n].pattern, (void *)(uintptr_t)n);
    s->stats.route_count = n + 1;
    return n;
}

void http_stats(const struct http_server *s, struct http_stats *out)
{
    *out = s->stats;
    out->routes = s->routes;
}
