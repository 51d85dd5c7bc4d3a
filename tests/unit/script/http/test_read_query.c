/* How the query of a read is parsed, by the same table of cases as in tests/lua/test_range.lua. */
#include "script/http/read_query.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/buf.h"
#include "unit/unit.h"

static void add_number(struct buf *out, bool there, uint64_t value)
{
    if (there)
        buf_add_u64(out, value);
    else
        buf_add_char(out, '-');
    buf_add_char(out, ' ');
}

/* FROM EPOCH TO LIMIT BYTES WAIT */
static slice result_of(const struct read_query *q, struct buf *out)
{
    buf_clear(out);
    add_number(out, true, q->from);
    add_number(out, q->has_token, q->token.epoch);
    add_number(out, q->to != UINT64_MAX, q->to);
    add_number(out, true, q->limit);
    add_number(out, true, q->bytes);
    buf_add_u64(out, q->wait_s);
    return buf_slice(out);
}

static void check_case(slice query, slice core, slice result)
{
    struct buf text = {0};
    struct read_query q;
    bool parsed = read_query_parse(query, &q);
    if (parsed != slice_eq(core, SLICE("yes")))
        unit_failed(__FILE__, __LINE__, "\"%.*s\" is%s parsed", SLICE_ARGS(query), parsed ? "" : " not");
    if (parsed && !slice_eq(result, SLICE("log_truncated")))    /* not found by the parser */
        CHECK_SLICE(result_of(&q, &text), result);
    buf_fini(&text);
}

TEST(test_queries_are_parsed_as_the_table_says)
{
    slice rest = unit_read_file(unit_source("cases/read_query.tsv")), line;
    unsigned cases = 0;
    while (slice_split(&rest, '\n', &line)) {
        slice query, core;
        if (slice_starts(line, SLICE("#")))
            continue;
        CHECK(slice_split(&line, '\t', &query) && slice_split(&line, '\t', &core));
        check_case(query, core, line);
        cases++;
    }
    CHECK(cases > 80);
}
