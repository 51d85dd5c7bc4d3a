#include "script/http/routes.h"

#include "base/map.h"
#include "base/mem.h"

enum { ROUTES_MAX = 1024 };

struct routes {
    struct route *at;                 /* owned; number 1 is at[0] */
    unsigned count, cap;
    struct map numbers;               /* by pattern */
    struct http_server *http;         /* outlives us; NULL until attached */
};

static void routes_free(void *state)
{
    struct routes *routes = state;
    for (unsigned i = 0; i < routes->count; i++)
        mem_free(routes->at[i].pattern);
    map_fini(&routes->numbers);
    mem_free(routes->at);
    mem_free(routes);
}

static struct routes *routes_of(struct vm *vm)
{
    struct slots *slots = vm_slots(vm);
    struct routes *routes = slot_get(slots, SLOT_ROUTES);
    if (routes == NULL) {
        routes = MEM_NEW(struct routes);
        map_init(&routes->numbers);
        slot_set(slots, SLOT_ROUTES, routes, routes_free);
    }
    return routes;
}

unsigned route_register(struct vm *vm, slice pattern)
{
    struct routes *routes = routes_of(vm);
    uintptr_t known = (uintptr_t)map_get(&routes->numbers, pattern);
    if (known != 0)
        return (unsigned)known;
    if (routes->count == ROUTES_MAX)
        return 0;
    if (routes->count == routes->cap) {
        routes->cap = routes->cap == 0 ? 32 : routes->cap * 2;
        routes->at = mem_resize(routes->at, routes->cap * sizeof(routes->at[0]));
    }
    struct route *route = &routes->at[routes->count++];
    route->pattern = mem_copy(pattern.p, pattern.n);
    map_put(&routes->numbers, slice_of(route->pattern, pattern.n), (void *)(uintptr_t)routes->count);
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
