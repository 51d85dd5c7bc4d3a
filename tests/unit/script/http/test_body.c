/* How the body of a publish is read, by the same table of cases as in tests/lua/test_http.lua. */
#include "base/buf.h"
#include "script/message/request_body.h"
#include "unit/unit.h"

static void add_header(struct buf *out, slice name, slice value)
{
    if (!slice_eq(value, SLICE("-")))
        buf_addf(out, "%.*s: %.*s\r\n", SLICE_ARGS(name), SLICE_ARGS(value));
}

static slice kind_of(slice type, slice coding)
{
    static const slice names[] = {
        [BODY_PAYLOAD] = SLICE("payload"), [BODY_MESSAGE] = SLICE("message"), [BODY_LINES] = SLICE("lines"),
        [BODY_JSON] = SLICE("json"), [BODY_CODED] = SLICE("coded")};
    struct buf text = {0};
    struct http_request r = {0};
    size_t scanned = 0;
    int error;
    const char *detail;
    buf_add_slice(&text, SLICE("POST / HTTP/1.1\r\nHost: x\r\n"));
    add_header(&text, SLICE("Content-Type"), type);
    add_header(&text, SLICE("Content-Encoding"), coding);
    buf_add_slice(&text, SLICE("\r\n"));
    CHECK(http_parse_head(buf_slice(&text), &scanned, &r.head, &error, &detail) > 0);
    slice name = names[body_of(&r)];
    buf_fini(&text);
    return name;
}

TEST(test_bodies_are_what_the_table_says)
{
    slice rest = unit_read_file(unit_source("cases/body.tsv")), line;
    unsigned cases = 0;
    while (slice_split(&rest, '\n', &line)) {
        slice type, coding;
        if (slice_starts(line, SLICE("#")))
            continue;
        CHECK(slice_split(&line, '\t', &type) && slice_split(&line, '\t', &coding));
        CHECK_SLICE(kind_of(type, coding), line);
        cases++;
    }
    CHECK(cases > 25);
}
