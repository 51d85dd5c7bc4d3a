/*
 * The parser as a pure function. Every case is also fed split at each byte, and byte by byte: the result must not
 * depend on how the bytes arrive.
 */
#include "net/http_parse.h"

#include <stdlib.h>

#include "base/buf.h"
#include "base/err.h"
#include "net/http_chars.h"
#include "unit/head.h"
#include "unit/unit.h"

struct outcome {
    long size;
    int error;
    const char *detail;
    struct http_head head;
};

static struct outcome parse(slice in, size_t *scanned)
{
    static struct outcome o;
    o.error = 0;
    o.detail = NULL;
    o.size = http_parse_head(in, scanned, &o.head, &o.error, &o.detail);
    return o;
}

static struct outcome parse_whole(slice in)
{
    size_t scanned = 0;
    return parse(in, &scanned);
}

/* Calls the parser as a connection does: with more bytes each time, until it has decided. */
static struct outcome parse_stepwise(slice in, size_t first, size_t step)
{
    size_t scanned = 0, n = first;
    struct outcome o = parse(slice_of(in.p, n), &scanned);
    while (o.size == HTTP_MORE && n < in.n) {
        n = n + step < in.n ? n + step : in.n;
        o = parse(slice_of(in.p, n), &scanned);
    }
    return o;
}

static void check_same(struct outcome a, struct outcome b)
{
    CHECK_EQ(a.size, b.size);
    CHECK_EQ(a.error, b.error);
    CHECK(a.detail == b.detail);
}

static void check_splits(slice in)
{
    struct outcome whole = parse_whole(in);
    for (size_t at = 0; at <= in.n; at++)
        check_same(whole, parse_stepwise(in, at, in.n));
    check_same(whole, parse_stepwise(in, 0, 1));
    check_same(whole, parse_stepwise(in, 0, 7));
}

/* The lines of a case, separated by |, in a request. */
static slice request_with(struct buf *out, slice lines)
{
    slice line;
    buf_clear(out);
    buf_add_slice(out, SLICE("GET / HTTP/1.1\r\nHost: x\r\n"));
    while (slice_split(&lines, '|', &line)) {
        buf_add_slice(out, line);
        buf_add_slice(out, SLICE("\r\n"));
    }
    buf_add_slice(out, SLICE("\r\n"));
    return buf_slice(out);
}

TEST(test_headers_that_are_given_twice_are_lists_or_refused_as_the_table_says)
{
    slice rest = unit_read_file(unit_source("cases/repeated_headers.tsv")), line;
    struct buf request = {0}, list = {0};
    unsigned cases = 0;
    while (slice_split(&rest, '\n', &line)) {
        slice lines, name;
        if (slice_starts(line, SLICE("#")))
            continue;
        CHECK(slice_split(&line, '\t', &lines) && slice_split(&line, '\t', &name));
        struct outcome o = parse_whole(request_with(&request, lines));
        cases++;
        if (slice_eq(line, SLICE("refused"))) {
            CHECK_EQ(o.error, -ERR_BAD_REQUEST);
            CHECK(slice_starts(slice_from(o.detail), SLICE("more than one ")));
            continue;
        }
        CHECK(o.size > 0);
        buf_clear(&list);
        slice value = http_head_join(&o.head, name, &list);
        CHECK_SLICE(value.p == NULL ? SLICE("-") : value, line);
    }
    CHECK(cases > 20);
    buf_fini(&request);
    buf_fini(&list);
}

static const struct {
    slice text;
    enum http_name name;
    bool once;
} names[] = {
#define LIST false
#define ONCE true
#define NAME(name, text, lines) {{text, sizeof(text) - 1}, NAME_##name, lines},
    HTTP_NAMES(NAME)
#undef NAME
#undef ONCE
#undef LIST
};

TEST(test_a_name_is_known_in_any_case_and_only_as_a_whole)
{
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char text[64], longer[64];
        slice name = names[i].text;
        for (size_t k = 0; k < name.n; k++)
            text[k] = (char)(name.p[k] ^ (k % 2 == 0 && name.p[k] != '-' ? 0x20 : 0));
        memcpy(longer, name.p, name.n);
        longer[name.n] = 's';
        CHECK_EQ(http_name_of(name), names[i].name);
        CHECK_EQ(http_name_of(slice_of(text, name.n)), names[i].name);
        text[name.n - 1] ^= 0x01;
        CHECK(http_name_of(slice_of(text, name.n)) != names[i].name);
        CHECK(http_name_of(slice_of(name.p, name.n - 1)) != names[i].name);
        CHECK(http_name_of(slice_of(longer, name.n + 1)) != names[i].name);
        CHECK_EQ(http_name_once(names[i].name) != NULL, names[i].once);
    }
    CHECK_EQ(http_name_of(SLICE("lignum-header-x")), NAME_LIGNUM_HEADER);
    CHECK_EQ(http_name_of(SLICE("Lignum-Header-")), NAME_LIGNUM_HEADER);
    CHECK_EQ(http_name_of(SLICE("Lignum-Headers")), NAME_OTHER);
    CHECK_EQ(http_name_of(SLICE("")), NAME_OTHER);
}

#define H "Host: x\r\n"

static const struct {
    slice in;
    int error;
} bad_heads[] = {
#define BAD(text, code) {{text, sizeof text - 1}, ERR_##code}
    /* lines and bytes */
    BAD("GET / HTTP/1.1\n" H "\r\n", BAD_REQUEST),
    BAD("GET / HTTP/1.1\r\nHost: x\n\r\n", BAD_REQUEST),
    BAD("GET / HTTP/1.1\r\n" H "\n", BAD_REQUEST),
    BAD("GET / HTTP/1.1\r\nHost: x\r \r\n\r\n", BAD_REQUEST),
    BAD("GET / HTTP/1.1\r\nHost: x\r\r\n\r\n", BAD_REQUEST),
    BAD("GET / HTTP/1.1\r\n" H "A: b\0c\r\n\r\n", BAD_REQUEST),
    BAD("GET /\0 HTTP/1.1\r\n" H "\r\n", BAD_REQUEST),
    BAD("GET / HTTP/1.1\r\n" H "A: b\x01" "c\r\n\r\n", BAD_REQUEST),
    BAD("GET / HTTP/1.1\r\n" H "A: b\x7f\r\n\r\n", BAD_REQUEST),
    BAD("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", BAD_REQUEST),
    BAD("\r\n\r\nGET / HTTP/1.1\r\n" H "\r\n", BAD_REQUEST),
    /* request line */
    BAD(" GET / HTTP/1.1\r\n" H "\r\n", BAD_REQUEST),
    BAD("GET  / HTTP/1.1\r\n" H "\r\n", BAD_REQUEST),
    BAD("GET / HTTP/1.1 \r\n" H "\r\n", BAD_REQUEST),
    BAD("GET /  HTTP/1.1\r\n" H "\r\n", BAD_REQUEST),
    BAD("GET\t/ HTTP/1.1\r\n" H "\r\n", BAD_REQUEST),
    BAD("G@T / HTTP/1.1\r\n" H "\r\n", BAD_REQUEST),
    BAD("GET /\r\n\r\n", BAD_REQUEST),
    BAD("GET / HTTP/1.1x\r\n" H "\r\n", BAD_REQUEST),
    BAD("GET / http/1.1\r\n" H "\r\n", BAD_REQUEST),
    BAD("GET / HTTP/1\r\n" H "\r\n", BAD_REQUEST),
    BAD("GET / HTTP/11.1\r\n" H "\r\n", BAD_REQUEST),
    BAD("GET / HTTP/2.0\r\n" H "\r\n", BAD_VERSION),
    BAD("GET / HTTP/0.9\r\n" H "\r\n", BAD_VERSION),
    BAD("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", BAD_VERSION),
    BAD("TRACE / HTTP/1.1\r\n" H "\r\n", BAD_CODING),
    BAD("CONNECT x:80 HTTP/1.1\r\n" H "\r\n", BAD_CODING),
    /* target */
    BAD("GET http://x/ HTTP/1.1\r\n" H "\r\n", BAD_REQUEST),
    BAD("OPTIONS * HTTP/1.1\r\n" H "\r\n", BAD_REQUEST),
    BAD("GET x HTTP/1.1\r\n" H "\r\n", BAD_REQUEST),
    BAD("GET /# HTTP/1.1\r\n" H "\r\n", BAD_REQUEST),
    BAD("GET /a b HTTP/1.1\r\n" H "\r\n", BAD_REQUEST),
    BAD("GET /\"a HTTP/1.1\r\n" H "\r\n", BAD_REQUEST),
    BAD("GET /\xc3\xa9 HTTP/1.1\r\n" H "\r\n", BAD_REQUEST),
    BAD("GET /% HTTP/1.1\r\n" H "\r\n", BAD_REQUEST),
    BAD("GET /%4 HTTP/1.1\r\n" H "\r\n", BAD_REQUEST),
    BAD("GET /%4g HTTP/1.1\r\n" H "\r\n", BAD_REQUEST),
    BAD("GET /%00 HTTP/1.1\r\n" H "\r\n", BAD_REQUEST),
    BAD("GET /%0a HTTP/1.1\r\n" H "\r\n", BAD_REQUEST),
    BAD("GET /?a=%zz HTTP/1.1\r\n" H "\r\n", BAD_REQUEST),
    /* header lines */
    BAD("GET / HTTP/1.1\r\n" H "A : b\r\n\r\n", BAD_REQUEST),
    BAD("GET / HTTP/1.1\r\n" H "A\t: b\r\n\r\n", BAD_REQUEST),
    BAD("GET / HTTP/1.1\r\n" H "A: b\r\n c\r\n\r\n", BAD_REQUEST),
    BAD("GET / HTTP/1.1\r\n Host: x\r\n\r\n", BAD_REQUEST),
    BAD("GET / HTTP/1.1\r\n" H "A: b\r\n\tc\r\n\r\n", BAD_REQUEST),
    BAD("GET / HTTP/1.1\r\n" H ": b\r\n\r\n", BAD_REQUEST),
    BAD("GET / HTTP/1.1\r\n" H "A\r\n\r\n", BAD_REQUEST),
    BAD("GET / HTTP/1.1\r\n" H "A(b: c\r\n\r\n", BAD_REQUEST),
    BAD("GET / HTTP/1.1\r\n" H "\xc3\xa9: c\r\n\r\n", BAD_REQUEST),
    /* Host */
    BAD("GET / HTTP/1.1\r\n\r\n", BAD_REQUEST),
    BAD("GET / HTTP/1.1\r\n" H H "\r\n", BAD_REQUEST),
    BAD("GET / HTTP/1.0\r\n" H H "\r\n", BAD_REQUEST),
    BAD("GET / HTTP/1.1\r\nHost:\r\n\r\n", BAD_REQUEST),
    BAD("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", BAD_REQUEST),
    BAD("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", BAD_REQUEST),
    BAD("GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", BAD_REQUEST),
    BAD("GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", BAD_REQUEST),
    BAD("GET / HTTP/1.1\r\nHost: :80\r\n\r\n", BAD_REQUEST),
    BAD("GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", BAD_REQUEST),
    BAD("GET / HTTP/1.1\r\nHost: [::1]x\r\n\r\n", BAD_REQUEST),
    BAD("GET / HTTP/1.1\r\nHost: []\r\n\r\n", BAD_REQUEST),
    /* framing */
    BAD("POST / HTTP/1.1\r\n" H "Content-Length: 1\r\nContent-Length: 1\r\n\r\n", BAD_REQUEST),
    BAD("POST / HTTP/1.1\r\n" H "Content-Length: 1, 1\r\n\r\n", BAD_REQUEST),
    BAD("POST / HTTP/1.1\r\n" H "Content-Length: +1\r\n\r\n", BAD_REQUEST),
    BAD("POST / HTTP/1.1\r\n" H "Content-Length: -1\r\n\r\n", BAD_REQUEST),
    BAD("POST / HTTP/1.1\r\n" H "Content-Length: 0x1\r\n\r\n", BAD_REQUEST),
    BAD("POST / HTTP/1.1\r\n" H "Content-Length: 1 1\r\n\r\n", BAD_REQUEST),
    BAD("POST / HTTP/1.1\r\n" H "Content-Length:\r\n\r\n", BAD_REQUEST),
    BAD("POST / HTTP/1.1\r\n" H "Content-Length: 18446744073709551616\r\n\r\n", TOO_LARGE),
    BAD("POST / HTTP/1.1\r\n" H "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", BAD_REQUEST),
    BAD("POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n", BAD_REQUEST),
    BAD("POST / HTTP/1.1\r\n" H "Transfer-Encoding: gzip\r\n\r\n", BAD_CODING),
    BAD("POST / HTTP/1.1\r\n" H "Transfer-Encoding: gzip, chunked\r\n\r\n", BAD_CODING),
    BAD("POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked, chunked\r\n\r\n", BAD_CODING),
    BAD("POST / HTTP/1.1\r\n" H "Transfer-Encoding: xchunked\r\n\r\n", BAD_CODING),
    BAD("POST / HTTP/1.1\r\n" H "Transfer-Encoding: \"chunked\"\r\n\r\n", BAD_CODING),
    BAD("POST / HTTP/1.1\r\n" H "Transfer-Encoding:\r\n\r\n", BAD_CODING),
    BAD("POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", BAD_REQUEST),
    BAD("POST / HTTP/1.0\r\n" H "Transfer-Encoding: chunked\r\n\r\n", BAD_REQUEST),
    BAD("POST / HTTP/1.1\r\n" H "Expect: 200-ok\r\n\r\n", BAD_EXPECT),
#undef BAD
};

TEST(test_each_rule_of_strictness_refuses_what_breaks_it_however_it_is_split)
{
    for (size_t i = 0; i < sizeof bad_heads / sizeof *bad_heads; i++) {
        struct outcome o = parse_whole(bad_heads[i].in);
        if (o.size != HTTP_BAD || o.error != -bad_heads[i].error)
            unit_failed(__FILE__, __LINE__, "case %zu gives %ld, %s: %.*s", i, o.size,
                        o.error ? err_name(o.error) : "no error", SLICE_ARGS(bad_heads[i].in));
        CHECK(strlen(o.detail) > 10);
        check_splits(bad_heads[i].in);
    }
}

static const slice good_heads[] = {
#define GOOD(text) {text, sizeof text - 1}
    GOOD("GET / HTTP/1.1\r\n" H "\r\n"),
    GOOD("\r\nGET / HTTP/1.1\r\n" H "\r\n"),
    GOOD("GET / HTTP/1.0\r\n\r\n"),
    GOOD("GET / HTTP/1.7\r\n" H "\r\n"),
    GOOD("BREW /a/b%20c;d=e?x=/?&y=%41 HTTP/1.1\r\nhOST:[::1]:8080\r\nA:\r\nB: \t b\xc3\xa9 \t c \t\r\n\r\n"),
    GOOD("POST / HTTP/1.1\r\n" H "Content-Length: 00005\r\n\r\n"),
    GOOD("POST / HTTP/1.1\r\n" H "Transfer-Encoding: Chunked\r\nExpect: 100-Continue\r\n\r\n"),
#undef GOOD
};

TEST(test_what_keeps_the_rules_is_taken_whole_however_it_is_split)
{
    for (size_t i = 0; i < sizeof good_heads / sizeof *good_heads; i++) {
        CHECK_EQ(parse_whole(good_heads[i]).size, good_heads[i].n);
        check_splits(good_heads[i]);
    }
}

TEST(test_a_head_comes_apart_into_its_parts)
{
    struct outcome o = parse_whole(good_heads[4]);
    CHECK_SLICE(o.head.method, SLICE("BREW"));
    CHECK_SLICE(o.head.path, SLICE("/a/b%20c;d=e"));
    CHECK_SLICE(o.head.query, SLICE("x=/?&y=%41"));
    CHECK_SLICE(o.head.host, SLICE("[::1]:8080"));
    CHECK_EQ(o.head.minor, 1);
    CHECK(o.head.keep_alive);
    CHECK(!o.head.has_length);
    CHECK(!o.head.chunked);
    CHECK_EQ(o.head.header_count, 3);
    CHECK_SLICE(http_head_find(&o.head, SLICE("b")), SLICE("b\xc3\xa9 \t c"));
    CHECK_EQ(http_head_find(&o.head, SLICE("a")).n, 0);
    CHECK(http_head_find(&o.head, SLICE("a")).p);
    CHECK(!http_head_find(&o.head, SLICE("c")).p);
}

TEST(test_a_head_knows_its_type_and_whether_it_has_a_coding)
{
    struct outcome o = parse_whole(SLICE("POST / HTTP/1.1\r\nHost: h\r\nCONTENT-TYPE: a/b ; c=d \r\n"
                                         "Content-Encoding:\r\ncontent-encoding: gzip\r\nContent-Typo: x\r\n\r\n"));
    CHECK_SLICE(o.head.type, SLICE("a/b ; c=d"));
    CHECK(o.head.coded);
    o = parse_whole(SLICE("GET / HTTP/1.1\r\nHost: h\r\nContent-Encoding: identity\r\n\r\n"));
    CHECK(o.head.type.p == NULL);
    CHECK(!o.head.coded);
}

TEST(test_framing_is_read_from_the_headers)
{
    struct outcome o = parse_whole(good_heads[5]);
    CHECK(o.head.has_length);
    CHECK_EQ(o.head.content_length, 5);
    o = parse_whole(good_heads[6]);
    CHECK(o.head.chunked);
    CHECK(o.head.expect_continue);
    CHECK(!parse_whole(good_heads[2]).head.keep_alive);
    CHECK(!parse_whole(SLICE("GET / HTTP/1.1\r\n" H "Connection: a, Close\r\n\r\n")).head.keep_alive);
    CHECK(parse_whole(SLICE("GET / HTTP/1.1\r\n" H "Connection: closed\r\n\r\n")).head.keep_alive);
    CHECK(!parse_whole(SLICE("GET / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n")).head.expect_continue);
}

TEST(test_bytes_after_the_head_are_left_alone)
{
    slice in = SLICE("POST / HTTP/1.1\r\n" H "Content-Length: 4\r\n\r\n\0\n\r\1");
    CHECK_EQ(parse_whole(in).size, in.n - 4);
    check_splits(in);
}

static slice filled(struct buf *b, const char *before, size_t n, const char *after)
{
    buf_clear(b);
    buf_add(b, before, strlen(before));
    for (size_t i = 0; i < n; i++)
        buf_add_char(b, 'a');
    buf_add(b, after, strlen(after));
    return buf_slice(b);
}

TEST(test_the_limits_of_target_and_head_are_exact)
{
    struct buf b = {0};
    slice in = filled(&b, "GET /", HTTP_TARGET_MAX - 1, " HTTP/1.1\r\n" H "\r\n");
    CHECK_EQ(parse_whole(in).size, in.n);
    in = filled(&b, "GET /", HTTP_TARGET_MAX, " HTTP/1.1\r\n" H "\r\n");
    CHECK_EQ(parse_whole(in).error, -ERR_URI_TOO_LONG);
    in = filled(&b, "GET /", HTTP_HEAD_MAX, "");
    CHECK_EQ(parse_whole(in).error, -ERR_URI_TOO_LONG);
    size_t frame = strlen("GET / HTTP/1.1\r\n" H "A: \r\n\r\n");
    in = filled(&b, "GET / HTTP/1.1\r\n" H "A: ", HTTP_HEAD_MAX - frame, "\r\n\r\n");
    CHECK_EQ(parse_whole(in).size, HTTP_HEAD_MAX);
    in = filled(&b, "GET / HTTP/1.1\r\n" H "A: ", HTTP_HEAD_MAX - frame + 1, "\r\n\r\n");
    CHECK_EQ(parse_whole(in).error, -ERR_HEAD_TOO_LARGE);
    check_same(parse_whole(in), parse_stepwise(in, 0, 1));
    buf_fini(&b);
}

TEST(test_sixty_four_header_lines_are_taken_and_no_more)
{
    struct buf b = {0};
    buf_add_slice(&b, SLICE("GET / HTTP/1.1\r\n" H));
    for (int i = 0; i < HTTP_HEADERS_MAX - 1; i++)
        buf_add_slice(&b, SLICE("A: b\r\n"));
    struct buf more = {0};
    buf_add_slice(&more, buf_slice(&b));
    buf_add_slice(&b, SLICE("\r\n"));
    buf_add_slice(&more, SLICE("A: b\r\n\r\n"));
    CHECK_EQ(parse_whole(buf_slice(&b)).head.header_count, HTTP_HEADERS_MAX);
    CHECK_EQ(parse_whole(buf_slice(&more)).error, -ERR_HEAD_TOO_LARGE);
    buf_fini(&b);
    buf_fini(&more);
}

/* ---- chunked bodies ---- */

struct decoded {
    long taken;               /* or HTTP_BAD */
    bool done;
    struct buf body;
};

static struct decoded decode(slice in, size_t first, size_t step)
{
    struct decoded d = {0};
    struct http_chunks c = {0};
    size_t n = first;
    for (size_t at = 0; at < in.n && !d.done; at += n, n = step) {
        n = n < in.n - at ? n : in.n - at;
        char *raw = malloc(n ? n : 1);
        memcpy(raw, in.p + at, n);
        size_t got = 0;
        long took = http_chunks_feed(&c, raw, n, &got, &d.done);
        if (took != HTTP_BAD)
            buf_add(&d.body, raw, got);
        d.taken = took == HTTP_BAD ? HTTP_BAD : d.taken + took;
        free(raw);
        if (took == HTTP_BAD)
            break;
    }
    return d;
}

static void check_decoding(slice in, long taken, bool done, slice body)
{
    for (size_t at = 1; at <= in.n; at++) {
        struct decoded a = decode(in, at, in.n), b = decode(in, at, 1);
        CHECK_EQ(a.taken, taken);
        CHECK_EQ(b.taken, taken);
        CHECK_EQ(a.done, done);
        if (taken != HTTP_BAD) {
            CHECK_SLICE(buf_slice(&a.body), body);
            CHECK_SLICE(buf_slice(&b.body), body);
        }
        buf_fini(&a.body);
        buf_fini(&b.body);
    }
}

TEST(test_chunks_are_joined_however_they_are_split)
{
    check_decoding(SLICE("5\r\nhello\r\n0\r\n\r\n"), 15, true, SLICE("hello"));
    check_decoding(SLICE("5;a=b;\"c\"\r\nhello\r\n000A\r\n0123456789\r\n0;x\r\n\r\nGET"), 43, true,
                   SLICE("hello0123456789"));
    check_decoding(SLICE("1\r\na\r\n0\r\nA: b\r\nC:\r\n\r\n"), 21, true, SLICE("a"));
    check_decoding(SLICE("2\r\n\r\n\r\n0\r\n\r\n"), 12, true, SLICE("\r\n"));
    check_decoding(SLICE("3\r\nab"), 5, false, SLICE("ab"));
}

TEST(test_chunks_that_are_not_plain_are_refused)
{
    static const char *const bad[] = {
        "\r\n\r\n", "0x3\r\nabc\r\n0\r\n\r\n", "+3\r\nabc\r\n", "-1\r\n", " 3\r\nabc\r\n", "3 \r\nabc\r\n",
        "3\nabc\r\n", "3\rabc\r\n", "3\r\nabcd\r\n", "3\r\nabc\n", "3\r\nabc\rx", "g\r\n", "3;a\nb\r\n", "3;\x01\r\n",
        "3\t\r\n", "fffffffffffffffff\r\n", "0100000000000000\r\n", "0\r\n\n", "0\r\nA b: c\r\n\r\n",
        "0\r\n: c\r\n\r\n",
        "0\r\nA: b\n\r\n", "0\r\n A: b\r\n\r\n", "0\r\n\rx", "3,\r\nabc\r\n", "0\r\nA: \x7f\r\n\r\n",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        check_decoding(slice_from(bad[i]), HTTP_BAD, false, SLICE(""));
}

static long taken_bytewise(slice in)
{
    struct decoded d = decode(in, 1, 1);
    buf_fini(&d.body);
    return d.taken;
}

TEST(test_chunk_lines_and_trailers_are_bounded)
{
    struct buf b = {0};
    slice in = filled(&b, "1;", HTTP_CHUNK_LINE_MAX - 4, "\r\nx\r\n0\r\n\r\n");
    CHECK_EQ(taken_bytewise(in), in.n);
    in = filled(&b, "1;", HTTP_CHUNK_LINE_MAX - 3, "\r\nx\r\n0\r\n\r\n");
    CHECK_EQ(taken_bytewise(in), HTTP_BAD);
    in = filled(&b, "0\r\nA:", HTTP_TRAILERS_MAX - 6, "\r\n\r\n");
    CHECK_EQ(taken_bytewise(in), in.n);
    in = filled(&b, "0\r\nA:", HTTP_TRAILERS_MAX - 5, "\r\n\r\n");
    CHECK_EQ(taken_bytewise(in), HTTP_BAD);
    buf_fini(&b);
}

/* ---- escapes ---- */

TEST(test_escapes_are_undone_and_control_bytes_never_come_out)
{
    char out[32];
    CHECK_SLICE(slice_of(out, (size_t)http_unescape(SLICE("a%2Fb%c3%A9+c"), out, false)), SLICE("a/b\xc3\xa9+c"));
    CHECK_SLICE(slice_of(out, (size_t)http_unescape(SLICE("a+b%2B"), out, true)), SLICE("a b+"));
    CHECK_EQ(http_unescape(SLICE(""), out, true), 0);
    static const char *const bad[] = {"%", "%4", "a%4", "%g0", "%0g", "%00", "%0a", "%1F", "%7f", "\n"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK_EQ(http_unescape(slice_from(bad[i]), out, false), HTTP_BAD);
}

TEST(test_the_table_of_characters_agrees_with_the_rfcs)
{
    for (int c = 0; c < 256; c++) {
        bool alnum = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        bool sub = c > 0 && c < 128 && strchr("!$&'()*+,;=", c);
        bool unreserved = alnum || (c > 0 && c < 128 && strchr("-._~", c));
        bool token = alnum || (c > 0 && c < 128 && strchr("!#$%&'*+-.^_`|~", c));
        bool path = unreserved || sub || c == ':' || c == '@' || c == '/' || c == '%';
        CHECK_EQ(char_is((char)c, CHAR_TOKEN), token);
        CHECK_EQ(char_is((char)c, CHAR_PATH), path);
        CHECK_EQ(char_is((char)c, CHAR_QUERY), path || c == '?');
        CHECK_EQ(char_is((char)c, CHAR_HOST), unreserved || sub);
        CHECK_EQ(char_is((char)c, CHAR_TEXT), c == '\t' || (c >= ' ' && c != 0x7f));
    }
}

TEST(test_text_ends_at_the_first_control_byte_wherever_it_is)
{
    char text[40];
    for (int c = 0; c < 256; c++)
        for (size_t n = 1; n <= sizeof text; n++)
            for (size_t at = 0; at < n; at++) {
                memset(text, '\t', at);
                memset(text + at, at % 2 == 0 ? 'a' : '\x80', n - at);
                text[at] = (char)c;
                CHECK_EQ(chars_text(text, 0, n), char_is((char)c, CHAR_TEXT) ? n : at);
            }
}
