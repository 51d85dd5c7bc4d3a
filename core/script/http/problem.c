#include "script/http/problem.h"

#include "base/err.h"
#include "base/json.h"

void problem_render(struct buf *out, const struct problem *p)
{
    buf_add_slice(out, SLICE("{\"type\":\"about:blank\""));
    json_key(out, SLICE("title"));
    json_string(out, slice_from(err_sentence(p->rc)));
    buf_addf(out, ",\"status\":%d", err_status(p->rc));
    json_key(out, SLICE("code"));
    json_string(out, slice_from(err_name(p->rc)));
    json_key(out, SLICE("detail"));
    json_string(out, p->detail.n > 0 ? p->detail : slice_from(err_sentence(p->rc)));
    if (p->id != NULL)
        buf_addf(out, ",\"id\":\"%s\"", p->id);
    if (p->limit > 0)
        buf_addf(out, ",\"limit\":%llu", (unsigned long long)p->limit);
    if (!p->appended)
        buf_add_slice(out, SLICE(",\"appended\":false"));
    buf_addf(out, ",\"retryable\":%s}\n", err_retryable(p->rc) ? "true" : "false");
}
