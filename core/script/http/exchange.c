#include "script/http/exchange.h"

#include "base/mem.h"

static void free_pool(void *first)
{
    for (struct exchange *x = first; x != NULL; x = first) {
        first = x->spare;
        mem_free(x);
    }
}

struct exchange *exchange_new(struct vm *vm, struct http_request *r)
{
    struct exchange *x = slot_get(vm_slots(vm), SLOT_EXCHANGES);
    if (x == NULL) {
        x = MEM_NEW(struct exchange);
        x->vm = vm;
    } else {
        slot_set(vm_slots(vm), SLOT_EXCHANGES, x->spare, free_pool);
    }
    x->request = r;
    x->streaming = false;
    x->params.count = 0;
    x->pattern = NULL;
    return x;
}

void exchange_free(struct exchange *x)
{
    struct slots *slots = vm_slots(x->vm);
    x->generation++;
    x->spare = slot_get(slots, SLOT_EXCHANGES);
    slot_set(slots, SLOT_EXCHANGES, x, free_pool);
}

struct http_request *exchange_take_request(struct exchange *x)
{
    struct http_request *r = x->request;
    x->request = NULL;
    x->streaming = false;
    return r;
}
