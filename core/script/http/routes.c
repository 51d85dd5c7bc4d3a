#include "script/http/routes.h"

#include "base/mem.h"

enum { ROUTES_MAX = 1024 };

struct routes {
    struct route *at;                 /* owned; number 1 is at[0] */
    unsigned count, cap;
    struct http_server *http;         /* outlives us; NULL until attached */
};

static void routes_free(void *state)
{
    struct routes *routes = state;
    for (unsigned i = 0; i < routes->count; i++)
        mem_free(routes->at[i].pattern);
    mem_free(routes->at);
    mem_free(routes);
}

static struct routes *routes_of(struct vm *vm)
{
    struct slots *slots = vm_slots(vm);
    if (slot_get(slots, SLOT_ROUTES) == NULL)
        slot_set(slots, SLOT_ROUTES, MEM_NEW(struct routes), routes_free);
    return slot_get(slots, SLOT_ROUTES);
}

unsigned route_register(struct vm *vm, slice pattern)
{
    struct routes *routes = routes_of(vm);
    for (unsigned i = 0; i < routes->count; i++)
        if (slice_eq(slice_from(routes->at[i].pattern), pattern))
            return i + 1;
    if (routes->count == ROUTES_MAX)
        return 0;
    if (routes->count == routes->cap) {
        routes->cap = routes->cap == 0 ? 32 : routes->cap * 2;
        routes->at = mem_resize(routes->at, routes->cap * sizeof(routes->at[0]));
    }
    struct route *route = &routes->at[routes->count++];
    route->pattern = mem_copy(pattern.p, pattern.n);
    route->counter = routes->http == NULL ? 0 : http_route(routes->http, pattern);
    return routes->count;
}

const struct route *route_get(struct vm *vm, uint64_t number)
{
    const struct routes *routes = routes_of(vm);
    return number >= 1 && number <= routes->count ? &routes->at[number - 1] : NULL;
}

void routes_attach(struct vm *vm, struct http_server *http)
{
    struct routes *routes = routes_of(vm);
    routes->http = http;
    for (unsigned i = 0; i < routes->count; i++)
        routes->at[i].counter = http_route(http, slice_from(routes->at[i].pattern));
}
