#include "script/script.h"

#include "base/err.h"
#include "script/http/problem.h"
#include "script/http/routes.h"
#include "script/http/serve.h"
#include "script/open.h"

int script_new(struct vm_options o, struct vm **out)
{
    o.open = scripts_open;
    return vm_new(&o, out);
}

void script_attach(struct vm *vm, const struct services *services)
{
    vm_attach(vm, services);
    routes_attach(vm, services->http);
    http_reserve(services->http, serve_is_reserved);
}

void script_serve(struct vm *vm)
{
    http_on_head(vm_services(vm_state(vm))->http, route_judge, vm);
}

void script_render_error(struct buf *out, const struct http_refusal *r, struct http_answer *answer)
{
    answer->status = err_status(r->error);
    answer->type = SLICE("application/problem+json");
    problem_render(out, &(struct problem){.rc = r->error, .detail = r->detail, .limit = r->limit});
}
