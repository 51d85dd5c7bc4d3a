/*
 * A request head is read in two passes. The first looks for its end and for bytes that are allowed nowhere in it; when
 * more bytes arrive, it continues where it stopped. The second reads the lines. So the result depends on the bytes
 * alone, not on how they were divided on their way.
 */
#include "net/http_parse.h"

#include "base/err.h"
#include "net/http_chars.h"

/* Limits as sentences have them. */
#define HEAD_MAX "16384"
#define TARGET_MAX "8192"
#define HEADERS_MAX "64"
_Static_assert(HTTP_HEAD_MAX == 16384 && HTTP_TARGET_MAX == 8192 && HTTP_HEADERS_MAX == 64, "the sentences say so");

struct parse {
    const char *at, *end;    /* the lines not yet read, each ended by CRLF, without the empty last line */
    struct http_head *head;
    int error;
    const char *detail;
};

static bool refuse(struct parse *p, int error, const char *detail)
{
    p->error = -error;
    p->detail = detail;
    return false;
}

static bool refuse_request(struct parse *p, const char *detail)
{
    return refuse(p, ERR_BAD_REQUEST, detail);
}

/* ---- pass one: where the head ends ---- */

static long bad_byte(struct parse *p, char c)
{
    refuse_request(p, c == '\n'   ? "a line of the head does not end in CR LF"
                      : c == '\r' ? "a CR without LF in the head"
                      : c == '\0' ? "a NUL byte in the head"
                                  : "a control byte in the head");
    return HTTP_BAD;
}

/* One empty line before the request is skipped, as RFC 9112 section 2.2 asks; it counts as part of the head. */
static size_t empty_line(slice in)
{
    return slice_starts(in, SLICE("\r\n")) ? 2 : 0;
}

/* The size of the head, or HTTP_MORE or HTTP_BAD. */
static long head_end(struct parse *p, slice in, size_t *scanned)
{
    size_t start = empty_line(in);
    size_t n = in.n < HTTP_HEAD_MAX ? in.n : HTTP_HEAD_MAX;
    size_t i = *scanned > start ? *scanned : start;
    while ((i = chars_text(in.p, i, n)) + 1 < n) {
        if (in.p[i] != '\r' || in.p[i + 1] != '\n')
            return bad_byte(p, in.p[i]);
        if (i == start) {
            refuse_request(p, "an empty line where a request was expected");
            return HTTP_BAD;
        }
        if (in.p[i - 1] == '\n')
            return (long)(i + 2);
        i += 2;
    }
    *scanned = i;
    if (n == HTTP_HEAD_MAX) {
        if (memchr(in.p, '\n', n))
            refuse(p, ERR_HEAD_TOO_LARGE, "the request head is larger than " HEAD_MAX " bytes");
        else
            refuse(p, ERR_URI_TOO_LONG, "the request target is longer than " TARGET_MAX " bytes");
        return HTTP_BAD;
    }
    if (i < n && in.p[i] != '\r')
        return bad_byte(p, in.p[i]);
    return HTTP_MORE;
}

/* ---- pass two: the request line ---- */

/* " HTTP/1.1" at the end of the request line. It is read before the target, because another version may define targets
 * differently. */
static bool version_read(struct parse *p, slice *line)
{
    static const char name[] = " HTTP/";
    enum { DIGITS = sizeof name - 1, SIZE = DIGITS + 3 };
    const char *at = line->p + line->n - SIZE;
    if (line->n < SIZE || memcmp(at, name, DIGITS) != 0 || !char_is(at[DIGITS], CHAR_DIGIT) || at[DIGITS + 1] != '.' ||
        !char_is(at[DIGITS + 2], CHAR_DIGIT))
        return refuse_request(p, "the request line does not end in an HTTP version");
    if (at[DIGITS] != '1')
        return refuse(p, ERR_BAD_VERSION, "only HTTP/1.1 and HTTP/1.0 are supported");
    p->head->minor = at[SIZE - 1] == '0' ? 0 : 1;
    line->n -= SIZE;
    return true;
}

/* True when every escape is two hex digits and does not stand for a control byte. */
static bool escapes_ok(slice s)
{
    while (s.n > 0) {
        const char *at = memchr(s.p, '%', s.n);
        if (!at)
            return true;
        s = slice_skip(s, (size_t)(at - s.p));
        if (s.n < 3 || !char_is(s.p[1], CHAR_HEX) || !char_is(s.p[2], CHAR_HEX))
            return false;
        unsigned value = char_hex(s.p[1]) << 4 | char_hex(s.p[2]);
        if (value < 0x20 || value == 0x7f)
            return false;
        s = slice_skip(s, 3);
    }
    return true;
}

static size_t span(slice s, size_t at, unsigned char set)
{
    while (at < s.n && char_is(s.p[at], set))
        at++;
    return at;
}

static bool target_read(struct parse *p, slice target)
{
    if (target.n > HTTP_TARGET_MAX)
        return refuse(p, ERR_URI_TOO_LONG, "the request target is longer than " TARGET_MAX " bytes");
    if (target.n == 0 || target.p[0] != '/')
        return refuse_request(p, "origin-form targets only: a path that starts with /");
    size_t path = span(target, 0, CHAR_PATH);
    size_t end = path < target.n && target.p[path] == '?' ? span(target, path + 1, CHAR_QUERY) : path;
    if (end < target.n)
        return refuse_request(p, "a byte in the request target that must be percent-encoded");
    if (!escapes_ok(target))
        return refuse_request(p, "a percent escape in the request target is malformed or of a control byte");
    p->head->path = slice_of(target.p, path);
    p->head->query = path < end ? slice_of(target.p + path + 1, end - path - 1) : slice_of(target.p + end, 0);
    return true;
}

static bool request_line_read(struct parse *p)
{
    const char *from = p->at;
    while (char_is(*p->at, CHAR_TOKEN))
        p->at++;
    slice method = slice_of(from, (size_t)(p->at - from));
    if (method.n == 0 || *p->at != ' ')
        return refuse_request(p, "the request does not start with a method and one space");
    p->head->method = method;
    p->at++;
    const char *end = memchr(p->at, '\r', (size_t)(p->end - p->at));
    slice target = slice_of(p->at, (size_t)(end - p->at));
    p->at = end + 2;
    if (!version_read(p, &target))
        return false;
    if (slice_eq(method, SLICE("TRACE")) || slice_eq(method, SLICE("CONNECT")))
        return refuse(p, ERR_BAD_CODING, "TRACE and CONNECT are not implemented");
    return target_read(p, target);
}

/* ---- pass two: the header lines ---- */

static size_t host_name_end(slice v)
{
    if (v.n == 0 || v.p[0] != '[')
        return span(v, 0, CHAR_HOST);
    size_t end = 1;
    while (end < v.n && (char_is(v.p[end], CHAR_HEX) || v.p[end] == ':' || v.p[end] == '.'))
        end++;
    return end > 1 && end < v.n && v.p[end] == ']' ? end + 1 : 0;
}

static bool on_host(struct parse *p, slice v)
{
    size_t end = host_name_end(v);
    bool port = end > 0 && end < v.n && v.p[end] == ':';
    if (end == 0 || (port ? span(v, end + 1, CHAR_DIGIT) : end) < v.n)
        return refuse_request(p, "the Host header is not a host and a port");
    p->head->host = v;
    return true;
}

static bool on_length(struct parse *p, slice v)
{
    if (v.n == 0 || span(v, 0, CHAR_DIGIT) < v.n)
        return refuse_request(p, "Content-Length is not a plain number");
    p->head->has_length = true;
    if (slice_u64(v, &p->head->content_length) < 0)
        return refuse(p, ERR_TOO_LARGE, "Content-Length is beyond any limit");
    return true;
}

static bool on_expect(struct parse *p, slice v)
{
    if (!slice_ieq(v, SLICE("100-continue")))
        return refuse(p, ERR_BAD_EXPECT, "only Expect: 100-continue is supported");
    p->head->expect_continue = p->head->minor > 0;
    return true;
}

static bool on_connection(struct parse *p, slice v)
{
    slice option;
    while (slice_split(&v, ',', &option))
        if (slice_ieq(slice_trim(option), SLICE("close")))
            p->head->keep_alive = false;
    return true;
}

static bool on_coding(struct parse *p, slice v)
{
    slice coding;
    while (slice_split(&v, ',', &coding)) {
        coding = slice_trim(coding);
        if (coding.n > 0 && !slice_ieq(coding, SLICE("identity")))
            p->head->coded = true;
    }
    return true;
}

/* Headers that matter to framing, or that are needed for most requests. */
static bool header_apply(struct parse *p, const struct http_header *h)
{
    switch (h->known) {
    case NAME_HOST:
        return on_host(p, h->value);
    case NAME_EXPECT:
        return on_expect(p, h->value);
    case NAME_CONNECTION:
        return on_connection(p, h->value);
    case NAME_CONTENT_LENGTH:
        return on_length(p, h->value);
    case NAME_CONTENT_ENCODING:
        return on_coding(p, h->value);
    case NAME_TRANSFER_ENCODING:
        p->head->chunked = slice_ieq(h->value, SLICE("chunked"));
        return true;
    case NAME_ORIGIN:
        p->head->origin = h->value;
        return true;
    case NAME_SEC_FETCH_SITE:
        p->head->site = h->value;
        return true;
    case NAME_CONTENT_TYPE:
        p->head->type = h->value;
        return true;
    default:
        return true;
    }
}

/* A line that does not begin with a name and a colon. */
static bool bad_name(struct parse *p, slice line)
{
    const char *end = line.p + span(line, 0, CHAR_TOKEN);
    bool folded = *line.p == ' ' || *line.p == '\t';
    bool spaced = *end == ' ' || *end == '\t';
    return refuse_request(p, folded   ? "a folded header line"
                             : spaced ? "a space before the colon of a header"
                                      : "a header line without a name and a colon");
}

static bool header_read(struct parse *p)
{
    const char *end = memchr(p->at, '\r', (size_t)(p->end - p->at));
    slice line = slice_of(p->at, (size_t)(end - p->at));
    const char *colon = memchr(line.p, ':', line.n);
    slice name = slice_of(line.p, colon == NULL ? 0 : (size_t)(colon - line.p));
    enum http_name known = http_name_of(name);
    bool any = known == NAME_OTHER || known == NAME_LIGNUM_HEADER;     /* the others are tokens */
    if (any && (name.n == 0 || span(name, 0, CHAR_TOKEN) < name.n))
        return bad_name(p, line);
    if (p->head->header_count == HTTP_HEADERS_MAX)
        return refuse(p, ERR_HEAD_TOO_LARGE, "more than " HEADERS_MAX " header lines");
    struct http_header *h = &p->head->headers[p->head->header_count++];
    h->name = name;
    h->value = slice_trim(slice_skip(line, name.n + 1));
    h->known = known;
    p->at = end + 2;
    const char *once = http_head_has(p->head, h->known) ? http_name_once(h->known) : NULL;
    p->head->names |= NAME_BIT(h->known);
    return once == NULL ? header_apply(p, h) : refuse_request(p, once);
}

/* Checks that need the whole head. */
static bool head_ok(struct parse *p)
{
    if (p->head->minor > 0 && !http_head_has(p->head, NAME_HOST))
        return refuse_request(p, "no Host header");
    if (!http_head_has(p->head, NAME_TRANSFER_ENCODING))
        return true;
    if (p->head->has_length)
        return refuse_request(p, "Content-Length together with Transfer-Encoding");
    if (!p->head->chunked)
        return refuse(p, ERR_BAD_CODING, "the only transfer coding is chunked");
    if (p->head->minor == 0)
        return refuse_request(p, "Transfer-Encoding in HTTP/1.0");
    return true;
}

static bool head_read(struct parse *p)
{
    struct http_head *h = p->head;
    /* Not the array of headers: clearing it would cost more than the parsing. */
    h->method = h->path = h->query = h->host = h->type = h->origin = h->site = slice_of(NULL, 0);
    h->names = 0;
    h->minor = 0;
    h->header_count = 0;
    h->content_length = 0;
    h->has_length = h->chunked = h->coded = h->expect_continue = false;
    h->keep_alive = true;
    if (!request_line_read(p))
        return false;
    while (p->at < p->end)
        if (!header_read(p))
            return false;
    if (h->minor == 0)
        h->keep_alive = false;
    return head_ok(p);
}

long http_parse_head(slice in, size_t *scanned, struct http_head *head, int *error, const char **detail)
{
    struct parse p = {.head = head};
    long size = in.n > 0 ? head_end(&p, in, scanned) : HTTP_MORE;
    if (size > 0) {
        p.at = in.p + empty_line(in);
        p.end = in.p + size - 2;
        if (!head_read(&p))
            size = HTTP_BAD;
    }
    if (size == HTTP_BAD) {
        *error = p.error;
        *detail = p.detail;
    }
    return size;
}

size_t http_head_next(const struct http_head *head, slice name, size_t from)
{
    while (from < head->header_count && !slice_ieq(head->headers[from].name, name))
        from++;
    return from;
}

slice http_head_join(const struct http_head *head, slice name, struct buf *out)
{
    size_t first = http_head_next(head, name, 0);
    if (first == head->header_count)
        return slice_of(NULL, 0);
    size_t more = http_head_next(head, name, first + 1);
    if (more == head->header_count)
        return head->headers[first].value;
    buf_add_slice(out, head->headers[first].value);
    for (; more < head->header_count; more = http_head_next(head, name, more + 1)) {
        buf_add_slice(out, SLICE(", "));
        buf_add_slice(out, head->headers[more].value);
    }
    return buf_slice(out);
}
