#include "script/http/problem.h"

#include <string.h>

#include "base/err.h"
#include "base/json.h"

/* A detail of the core that names a limit contains "limit of N" (scripts/lignum/publish.lua relies on it, too); clients
 * get the number as a field. */
static void add_limit(struct buf *out, slice detail)
{
    static const char words[] = "limit of ";
    const char *at = detail.n > 0 ? memmem(detail.p, detail.n, words, sizeof(words) - 1) : NULL;
    if (at == NULL)
        return;
    slice rest = slice_skip(detail, (size_t)(at - detail.p) + sizeof(words) - 1);
    size_t n = 0;
    while (n < rest.n && rest.p[n] >= '0' && rest.p[n] <= '9')
        n++;
    if (n == 0)
        return;
    json_key(out, SLICE("limit"));
    buf_add(out, rest.p, n);
}

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
    if (p->rc == -ERR_TOO_LARGE)
        add_limit(out, p->detail);
    if (!p->appended)
        buf_add_slice(out, SLICE(",\"appended\":false"));
    buf_addf(out, ",\"retryable\":%s}\n", err_retryable(p->rc) ? "true" : "false");
}
