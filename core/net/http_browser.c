/*
 * A browser sends requests for the pages of any site, many of them without asking first (forms, images, fetch with
 * no-cors), and from where its user is: behind the firewall, or on this host. So once a head is whole:
 *
 *     a page of this server    Origin names the Host of the request, and Sec-Fetch-Site is same-origin or none   served
 *     other clients            send neither of the two headers                                                   served
 *     a link on another site   to / or /console, followed by its user                                            served
 *     a page of another site   served if cors.origins lists its origin; else foreign_origin
 *
 * A site whose name is changed to resolve to loopback (DNS rebinding) is the page's own origin, and only Host shows it:
 * on loopback, one that is no address, localhost or a listed name is misdirected, whatever sent it.
 *
 * A listed origin may read each answer, errors included, and its preflights are answered here. It is never allowed
 * `credentials`: what a browser adds by itself proves nothing about who wrote the page.
 */
#include "base/err.h"
#include "base/mem.h"
#include "net/http_chars.h"
#include "net/http_server.h"

void http_set_browsers(struct http_server *s, const struct http_browsers *b)
{
    s->browsers_set = true;
    buf_clear(&s->origins_allowed);
    buf_clear(&s->hosts);
    buf_add_slice(&s->origins_allowed, b->origins);
    buf_add_slice(&s->hosts, b->hosts);
}

static bool is_listed(const struct buf *list, slice word)
{
    slice rest = buf_slice(list), each;
    while (slice_split(&rest, ' ', &each))
        if (each.n > 0 && slice_ieq(each, word))
            return true;
    return false;
}

/* No name ends in a label of digits, so digits and dots are an address. HTTP/1.0 may have no Host; browsers have. */
static bool host_is_known(const struct http_server *s, slice host)
{
    size_t end = 0;
    if (host.n == 0 || host.p[0] == '[')
        return true;
    while (end < host.n && (char_is(host.p[end], CHAR_DIGIT) || host.p[end] == '.'))
        end++;
    if (end == host.n || host.p[end] == ':')
        return true;
    const char *colon = memchr(host.p, ':', host.n);
    slice name = slice_of(host.p, colon == NULL ? host.n : (size_t)(colon - host.p));
    return slice_ieq(name, SLICE("localhost")) || is_listed(&s->hosts, name);
}

/* Whether the page is one of this server. Its scheme is not compared: TLS may end at a proxy. */
static bool is_own(const struct http_head *head)
{
    slice site = head->site, host = head->origin;
    if (site.p != NULL && !slice_eq(site, SLICE("same-origin")) && !slice_eq(site, SLICE("none")))
        return false;
    if (host.p == NULL)
        return true;
    const char *colon = memchr(host.p, ':', host.n);
    host = colon == NULL ? (slice){0} : slice_skip(host, (size_t)(colon - host.p));
    return slice_starts(host, SLICE("://")) && slice_ieq(slice_skip(host, 3), head->host);
}

static bool header_is(const struct http_head *head, slice name, slice value)
{
    size_t i = http_head_next(head, name, 0);
    return i < head->header_count && slice_eq(head->headers[i].value, value);
}

/* Whether the user follows a link to the console: a whole page, which no other site's page can read. */
static bool is_visit(const struct http_head *head)
{
    return head->origin.p == NULL && slice_eq(head->method, SLICE("GET")) &&
           (slice_eq(head->path, SLICE("/")) || slice_eq(head->path, SLICE("/console"))) &&
           header_is(head, SLICE("sec-fetch-mode"), SLICE("navigate")) &&
           header_is(head, SLICE("sec-fetch-dest"), SLICE("document"));
}

int browser_judge(struct client *c)
{
    const struct http_server *s = c->server;
    const struct http_head *head = &c->exchange->request.head;
    if (!s->browsers_set)
        return 0;
    if (c->listener->local && !host_is_known(s, head->host))
        return -ERR_MISDIRECTED;
    if ((head->origin.p == NULL && head->site.p == NULL) || is_own(head) ||
        is_visit(head))
        return 0;
    if (!is_listed(&s->origins_allowed, SLICE("*")) &&
        (head->origin.p == NULL || !is_listed(&s->origins_allowed, head->origin)))
        return -ERR_FOREIGN;
    if (head->origin.p != NULL)
        c->exchange->shared = mem_copy(head->origin.p, head->origin.n);
    return 0;
}

slice browser_advice(int rc)
{
    return rc == -ERR_FOREIGN
        ? SLICE("sent by a page of another origin; cors { origins = { ... } } in lignum.lua lets origins in")
        : SLICE("on loopback, Host must be an address, localhost or one of node.hosts in lignum.lua");
}

void browser_headers(const struct exchange *x, struct buf *out)
{
    buf_addf(out, "Access-Control-Allow-Origin: %s\r\n", x->shared);
    buf_add_slice(out, SLICE("Access-Control-Expose-Headers: *\r\nVary: Origin\r\n"));
}

/* The headers that it asks for are allowed whatever they are, since none means more from a page than from curl. */
bool browser_preflight(struct client *c)
{
    struct exchange *x = c->exchange;
    const struct http_head *head = &x->request.head;
    if (x->shared == NULL || !slice_eq(head->method, SLICE("OPTIONS")) ||
        http_head_next(head, SLICE("access-control-request-method"), 0) == head->header_count)
        return false;
    struct buf lines = {0}, joined = {0};
    slice asked = http_head_join(head, SLICE("access-control-request-headers"), &joined);
    buf_add_slice(&lines, SLICE("Access-Control-Allow-Methods: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n"
                                "Access-Control-Max-Age: 600\r\n"));
    if (asked.n > 0)
        buf_addf(&lines, "Access-Control-Allow-Headers: %.*s\r\n", SLICE_ARGS(asked));
    http_answer(&x->request, &(struct http_answer){.status = 204, .headers = buf_slice(&lines)}, (slice){0});
    buf_fini(&lines);
    buf_fini(&joined);
    return true;
}
