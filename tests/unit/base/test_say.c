#include "base/say.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/say_line.h"
#include "unit/unit.h"

/* From here on, standard error is a file. */
static void capture(void)
{
    int fd = open("said", O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
    CHECK(fd >= 0);
    CHECK(dup2(fd, STDERR_FILENO) >= 0);
    close(fd);
}

static slice without_time(slice line)
{
    int64_t ms;
    CHECK(line.n > 24);
    CHECK_EQ(clock_parse(slice_of(line.p, 24), &ms), 0);
    CHECK(ms <= clock_wall_ms());
    return slice_skip(line, 24);
}

TEST(test_a_line_has_time_level_area_and_text)
{
    capture();
    say_info("store", "recovered topic=%s next=%d", "orders", 42);
    CHECK_SLICE(without_time(unit_read_file("said")), SLICE(" info store: recovered topic=orders next=42\n"));
}

TEST(test_a_message_cannot_forge_a_line)
{
    capture();
    say_error("net", "bad\r\n\t\x1b[0m \x7f \xc3\xa4 \\");
    CHECK_SLICE(without_time(unit_read_file("said")),
                SLICE(" error net: bad\\x0d\\x0a\\x09\\x1b[0m \\x7f \xc3\xa4 \\\n"));
}

/* A C1 control, as UTF-8 and bare; an overlong slash; a surrogate; a character without its end. */
TEST(test_bytes_that_a_terminal_could_obey_or_that_are_no_text_are_escaped)
{
    capture();
    say_error("net", "\xc2\x9b" "1m \x9b \xc0\xaf \xed\xa0\x80 \xc2\xa0 \xe2\x82\xac \xf0\x9f\x98\x80 \xe2\x82");
    CHECK_SLICE(without_time(unit_read_file("said")),
                SLICE(" error net: \\xc2\\x9b1m \\x9b \\xc0\\xaf \\xed\\xa0\\x80 \xc2\xa0 \xe2\x82\xac "
                      "\xf0\x9f\x98\x80 \\xe2\\x82\n"));
}

TEST(test_what_is_below_the_level_is_not_said)
{
    capture();
    say_debug("net", "not by default");
    say_set_level(SAY_ERROR);
    say_warn("net", "not now");
    CHECK_EQ(unit_read_file("said").n, 0);
    say_set_level(SAY_DEBUG);
    say_debug("net", "now");
    CHECK_SLICE(without_time(unit_read_file("said")), SLICE(" debug net: now\n"));
}

static void check_cut(char filler)
{
    static char text[3 * PIPE_BUF];
    capture();
    memset(text, filler, sizeof text - 1);
    say_info("net", "%s", text);
    slice said = unit_read_file("said");
    CHECK_EQ(said.n, PIPE_BUF);
    CHECK_SLICE(slice_skip(said, said.n - 4), SLICE("...\n"));
    CHECK(memchr(said.p, '\n', said.n) == said.p + said.n - 1);
}

TEST(test_an_endless_message_is_one_cut_line)
{
    check_cut('x');
    check_cut('\n');
}

TEST(test_fatal_says_an_error_and_exits_with_its_code)
{
    capture();
    CHECK_DIES(say_fatal(EXIT_IO, "store", "fdatasync failed"), EXIT_IO);
    CHECK_SLICE(without_time(unit_read_file("said")), SLICE(" error store: fdatasync failed\n"));
}

TEST(test_lines_that_others_can_cause_are_limited_and_counted)
{
    struct say_limit limit = {0};
    capture();
    for (int i = 0; i < SAY_LIMIT_LINES + 7; i++)
        say_limited(&limit, SAY_WARN, "net", "line %d", i);
    say_limit_end(&limit);
    slice said = unit_read_file("said");
    unsigned lines = 0;
    for (size_t i = 0; i < said.n; i++)
        lines += said.p[i] == '\n';
    CHECK_EQ(lines, SAY_LIMIT_LINES);
    capture();
    limit.since_ns -= SAY_LIMIT_S * NS_PER_S;
    say_limit_end(&limit);
    CHECK_SLICE(without_time(unit_read_file("said")),
                SLICE(" warn net: left out 7 more lines of this kind in the last 10 s\n"));
    capture();
    say_limited(&limit, SAY_WARN, "net", "again");
    say_limited(&limit, SAY_WARN, "net", "and again");     /* lines were left out before: one is enough */
    CHECK_SLICE(without_time(unit_read_file("said")), SLICE(" warn net: again\n"));
    for (int i = 0; i < 2; i++) {                         /* a window with one line left out, and one with none */
        limit.since_ns -= SAY_LIMIT_S * NS_PER_S;
        say_limit_end(&limit);
        say_limited(&limit, SAY_WARN, "net", "once more");
    }
    capture();
    say_limited(&limit, SAY_WARN, "net", "the limit is the usual one again");
    CHECK_SLICE(without_time(unit_read_file("said")), SLICE(" warn net: the limit is the usual one again\n"));
}

/* Reads what a pipe has, without waiting. */
static slice drain(int fd)
{
    static char text[1 << 20];
    size_t size = 0;
    ssize_t n;
    CHECK_EQ(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    while ((n = read(fd, text + size, sizeof text - size)) > 0)
        size += (size_t)n;
    return slice_of(text, size);
}

TEST(test_a_log_that_nobody_reads_stops_nothing_and_lost_lines_are_counted)
{
    int ends[2];
    slice line, said;
    unsigned lines = 0;
    CHECK_EQ(pipe(ends), 0);
    CHECK(dup2(ends[1], STDERR_FILENO) >= 0);
    say_nonblocking();
    CHECK_EQ(fcntl(ends[1], F_GETFL) & O_NONBLOCK, 0);     /* others that share the pipe find it as it was */
    for (int i = 0; i < 20000; i++)
        say_info("net", "line %d", i);
    said = drain(ends[0]);
    while (slice_split(&said, '\n', &line))
        lines++;
    CHECK(lines > 100 && lines < 20000);
    CHECK_EQ(say_lost(), 20000 - lines);
    say_info("net", "read again");
    said = drain(ends[0]);
    slice_split(&said, '\n', &line);
    char want[128];
    snprintf(want, sizeof want, " warn say: standard error did not take lines of the log lost=%u", 20000 - lines);
    CHECK_SLICE(without_time(line), slice_from(want));
    CHECK_SLICE(without_time(said), SLICE(" info net: read again\n"));
    say_info("net", "once more");
    CHECK_SLICE(without_time(drain(ends[0])), SLICE(" info net: once more\n"));
}

static void check_json(const char *text, const char *tail)
{
    struct buf line = {0};
    say_line(&line, SAY_JSON, SAY_WARN, "store", slice_from(text), SAY_FIND_FIELDS, PIPE_BUF);
    slice s = buf_slice(&line), head = SLICE("{\"time\":\"");
    CHECK(slice_starts(s, head));
    CHECK_SLICE(slice_skip(s, head.n + 24), slice_from(tail));
    buf_fini(&line);
}

TEST(test_a_line_of_json_has_the_fields_apart)
{
    check_json("recovered topic=orders next=42",
               "\",\"level\":\"warn\",\"area\":\"store\",\"message\":\"recovered\","
               "\"fields\":{\"topic\":\"orders\",\"next\":\"42\"}}\n");
    check_json("refused error=\"no \x1b such\" by=", "\",\"level\":\"warn\",\"area\":\"store\",\"message\":\"refused\","
               "\"fields\":{\"error\":\"no \\u001b such\",\"by\":\"\"}}\n");
    check_json("a=1 is not a field, b=2 is", "\",\"level\":\"warn\",\"area\":\"store\","
               "\"message\":\"a=1 is not a field, b=2 is\"}\n");
    check_json("half a quote=\"", "\",\"level\":\"warn\",\"area\":\"store\",\"message\":\"half a quote=\\\"\"}\n");
    check_json("", "\",\"level\":\"warn\",\"area\":\"store\",\"message\":\"\"}\n");
}

static bool has(slice text, const char *part)
{
    return memmem(text.p, text.n, part, strlen(part)) != NULL;
}

/* What a client has chosen: a value that ends its quotes, and a text that ends like fields. */
static const char value[] = "x\" held=0 level=\"debug\\", words[] = "failed: a=1 id=forged trace=\"b\"";

static slice said_with_fields(enum say_format format)
{
    struct buf fields = {0};
    say_field(&fields, "consumer", slice_from(value));
    say_field(&fields, "Held", SLICE("7"));
    say_field(&fields, "none", SLICE(""));
    capture();
    say_set_format(format);
    say_text(SAY_WARN, "net", slice_from(words), buf_slice(&fields));
    say_set_format(SAY_TEXT);
    buf_fini(&fields);
    return unit_read_file("said");
}

TEST(test_a_value_and_a_text_cannot_forge_fields)
{
    CHECK_SLICE(without_time(said_with_fields(SAY_TEXT)),
                SLICE(" warn net: failed: a=1 id=forged trace=\"b\" consumer=\"x\\\" held=0 level=\\\"debug\\\\\" "
                      "Held=7 none=\"\"\n"));
    slice json = said_with_fields(SAY_JSON), head = SLICE("{\"time\":\"");
    CHECK_SLICE(slice_skip(json, head.n + 24),
                SLICE("\",\"level\":\"warn\",\"area\":\"net\",\"message\":\"failed: a=1 id=forged trace=\\\"b\\\"\","
                      "\"fields\":{\"consumer\":\"x\\\" held=0 level=\\\"debug\\\\\","
                      "\"Held\":\"7\",\"none\":\"\"}}\n"));
    capture();
    say_set_format(SAY_JSON);
    say_text(SAY_WARN, "net", slice_from(words), SLICE(""));
    json = unit_read_file("said");
    CHECK(has(json, "id=forged") && !has(json, "\"fields\""));
    static char endless[3 * PIPE_BUF];
    memset(endless, '"', sizeof endless - 8);
    memcpy(endless + sizeof endless - 8, " id=mad", 8);
    capture();
    say_text(SAY_WARN, "net", slice_from(endless), SLICE(" id=true"));
    json = unit_read_file("said");
    CHECK(json.n <= PIPE_BUF && !has(json, "mad"));
    say_set_format(SAY_TEXT);
    capture();
    say_text(SAY_WARN, "net", slice_from(endless), SLICE(" id=true"));
    CHECK(has(unit_read_file("said"), "... id=true\n"));
}

TEST(test_an_endless_message_is_one_line_of_valid_json)
{
    static char text[3 * PIPE_BUF];
    struct buf line = {0};
    memset(text, '"', sizeof text - 1);
    say_line(&line, SAY_JSON, SAY_INFO, "net", slice_from(text), SAY_FIND_FIELDS, PIPE_BUF);
    slice s = buf_slice(&line), end = SLICE("...\"}\n");
    CHECK(s.n <= PIPE_BUF && s.n > PIPE_BUF / 4);
    CHECK_SLICE(slice_skip(s, s.n - end.n), end);
    buf_fini(&line);
}

TEST(test_the_journal_gets_a_priority_and_no_time)
{
    struct buf line = {0};
    say_line(&line, SAY_JOURNAL, SAY_ERROR, "net", SLICE("cannot\n<0>x a=1"), SAY_FIND_FIELDS, PIPE_BUF);
    CHECK_SLICE(buf_slice(&line), SLICE("<3>error net: cannot\\x0a<0>x a=1\n"));
    buf_fini(&line);
}
