/* Reading JSON: the events of a text, and what is refused and named. */
#include <stdlib.h>

#include "base/err.h"
#include "base/json_read.h"
#include "unit/unit.h"

/* The events of a text as a short text: { [ ) for brackets, names and strings in quotes, numbers with their kind. */
static slice events_of(slice text)
{
    static struct buf out, scratch;
    struct json_reader r = {.text = text};
    enum json_event event;
    buf_clear(&out);
    while ((event = json_next(&r, &scratch)) != JSON_END && event != JSON_BAD) {
        static const char *const marks[] = {
            [JSON_OPEN_OBJECT] = "{", [JSON_OPEN_LIST] = "[", [JSON_CLOSE] = ")", [JSON_TRUE] = "t", [JSON_FALSE] = "f",
            [JSON_NULL] = "0"};
        if (event == JSON_MEMBER || event == JSON_STRING)
            buf_addf(&out, event == JSON_MEMBER ? "'%.*s':" : "'%.*s'", SLICE_ARGS(r.string));
        else if (event == JSON_INTEGER)
            buf_addf(&out, "i%lld ", (long long)r.integer);
        else if (event == JSON_NUMBER)
            buf_addf(&out, "n%.17g ", r.number);
        else
            buf_add_slice(&out, slice_from(marks[event]));
    }
    if (event == JSON_BAD)
        buf_addf(&out, "!%s", r.why);
    return buf_slice(&out);
}

#define CHECK_EVENTS(text, events) CHECK_SLICE(events_of(SLICE(text)), SLICE(events))
#define CHECK_BAD(text, why) CHECK_SLICE(events_of(SLICE(text)), SLICE(why))

TEST(test_values_are_read_as_they_stand)
{
    CHECK_EVENTS("{\"a\":[1,{}],\"b\" : {\"c\":[]} }", "{'a':[i1 {))'b':{'c':[)))");
    CHECK_EVENTS(" [true, false ,null]\r\n\t", "[tf0)");
    CHECK_EVENTS("\"\"", "''");
    CHECK_EVENTS("\"0123456789abcdef0123456789\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80 and more than a stride\"",
                 "'0123456789abcdef0123456789\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80 and more than a stride'");
    CHECK_EVENTS("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\u20AC\\ud83d\\ude00\\u0041x\"",
                 "'\"\\/\b\f\n\r\t\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80" "Ax'");
}

TEST(test_a_copy_is_one_line_and_keeps_numbers_and_strings)
{
    struct buf out = {0};
    CHECK(json_copy(&out, SLICE(" {\"a b\" :\t[1.10 ,\n-0, \"x \\\" \\\\\" , 12345678901234567890 ] }\r\n")));
    CHECK_SLICE(buf_slice(&out), SLICE("{\"a b\":[1.10,-0,\"x \\\" \\\\\",12345678901234567890]}"));
    CHECK(!json_copy(&out, SLICE("{} 1")));
    CHECK(!json_copy(&out, SLICE("")));
    CHECK(buf_size(&out) == sizeof("{\"a b\":[1.10,-0,\"x \\\" \\\\\",12345678901234567890]}") - 1);
    buf_fini(&out);
}

TEST(test_numbers_keep_what_their_kind_can)
{
    CHECK_EVENTS("[0,-0,12,-7]", "[i0 i0 i12 i-7 )");
    CHECK_EVENTS("[9223372036854775807,-9223372036854775808,9223372036854775808]",
                 "[i9223372036854775807 i-9223372036854775808 n9.2233720368547758e+18 )");
    CHECK_EVENTS("[9007199254740993,1e3,1.50E1,2.5,-1e-2,1e300]",
                 "[i9007199254740993 i1000 i15 n2.5 n-0.01 n1.0000000000000001e+300 )");
    CHECK_BAD("[1.]", "[!a number is malformed at byte 4");
    CHECK_BAD("[.5]", "[!there is no value at byte 2");
    CHECK_BAD("[01]", "[!a number is malformed at byte 4");
    CHECK_BAD("[-]", "[!a number is malformed at byte 3");
    CHECK_BAD("[1e]", "[!a number is malformed at byte 4");
    CHECK_BAD("[0x10]", "[i0 !a comma or ] is due at byte 3");
    CHECK_BAD("[1e999]", "[!a number is too large at byte 2");
    CHECK_BAD("-", "!a number is malformed at byte 2");
}

TEST(test_bad_text_is_refused_where_it_is_bad)
{
    CHECK_BAD("", "!the text ends where a value is due at byte 1");
    CHECK_BAD("[1]\0x", "[i1 )!the text goes on after its value at byte 4");
    CHECK_BAD("[1\0]", "[i1 !a comma or ] is due at byte 3");
    CHECK_BAD("\0", "!there is no value at byte 1");
    CHECK_BAD("{} {}", "{)!the text goes on after its value at byte 4");
    CHECK_BAD("[1,]", "[i1 !there is no value at byte 4");
    CHECK_BAD("[,1]", "[!there is no value at byte 2");
    CHECK_BAD("[1}", "[i1 !a comma or ] is due at byte 3");
    CHECK_BAD("{\"a\":1]", "{'a':i1 !a comma or } is due at byte 7");
    CHECK_BAD("{\"a\" 1}", "{!a colon is due at byte 6");
    CHECK_BAD("{\"a\":1,}", "{'a':i1 !a name in quotes is due at byte 8");
    CHECK_BAD("{a:1}", "{!a name in quotes is due at byte 2");
    CHECK_BAD("{", "{!the text ends within an object at byte 2");
    CHECK_BAD("[", "[!the text ends where a value is due at byte 2");
    CHECK_BAD("]", "!there is no value at byte 1");
    CHECK_BAD("tru", "!there is no value at byte 1");
    CHECK_BAD("nulL", "!there is no value at byte 1");
    CHECK_BAD("\"ab", "!the text ends within a string at byte 4");
    CHECK_BAD("\"a\nb\"", "!a string has a control character that is not escaped at byte 3");
    CHECK_BAD("\"a\0b\"", "!a string has a control character that is not escaped at byte 3");
    CHECK_BAD("\"\xff\"", "!the text is not UTF-8 at byte 2");
    CHECK_BAD("\"\xc3\"", "!the text is not UTF-8 at byte 2");
    CHECK_BAD("\"\xed\xa0\x80\"", "!the text is not UTF-8 at byte 2");
    CHECK_BAD("\"\\x\"", "!a string has an invalid escape at byte 2");
    CHECK_BAD("\"\\", "!a string has an invalid escape at byte 2");
    CHECK_BAD("\"\\u12g4\"", "!a string has an invalid escape at byte 4");
    CHECK_BAD("\"\\ud83d\"", "!a string has an invalid escape at byte 8");
    CHECK_BAD("\"\\ud83d\\u0041\"", "!a string has an invalid escape at byte 8");
    CHECK_BAD("\"\\ude00\"", "!a string has an invalid escape at byte 4");
}

static int count_events(slice text, struct json_reader *r)
{
    struct buf scratch = {0};
    enum json_event event;
    int n = 0;
    *r = (struct json_reader){.text = text};
    while ((event = json_next(r, &scratch)) != JSON_END && event != JSON_BAD)
        n++;
    buf_fini(&scratch);
    return event == JSON_BAD ? -n - 1 : n;
}

TEST(test_depth_and_values_are_bounded_before_they_are_read)
{
    struct json_reader r;
    struct buf text = {0};
    for (int i = 0; i < JSON_DEPTH_MAX; i++)
        buf_add_char(&text, '[');
    for (int i = 0; i < JSON_DEPTH_MAX; i++)
        buf_add_char(&text, ']');
    CHECK(count_events(buf_slice(&text), &r) == 2 * JSON_DEPTH_MAX);
    buf_clear(&text);
    for (int i = 0; i <= JSON_DEPTH_MAX; i++)
        buf_add_char(&text, '[');
    CHECK(count_events(buf_slice(&text), &r) == -JSON_DEPTH_MAX - 1);
    CHECK(r.error == -ERR_TOO_LARGE && r.limit == JSON_DEPTH_MAX);
    buf_clear(&text);
    buf_add_char(&text, '[');
    for (int i = 1; i < JSON_VALUES_MAX; i++)
        buf_add_slice(&text, i == 1 ? SLICE("1") : SLICE(",1"));
    buf_add_char(&text, ']');
    CHECK(count_events(buf_slice(&text), &r) == JSON_VALUES_MAX + 1);
    text.end--;
    buf_add_slice(&text, SLICE(",1]"));
    CHECK(count_events(buf_slice(&text), &r) == -JSON_VALUES_MAX - 1);
    CHECK(r.error == -ERR_TOO_LARGE && r.limit == JSON_VALUES_MAX);
    CHECK_SLICE(slice_from(r.why), SLICE("the text has more values than the limit of 524288"));
    buf_fini(&text);
}

/* Reading stops cleanly wherever a text ends: a sanitizer sees a read beyond it. */
TEST(test_every_part_of_a_text_is_refused_or_read_without_a_byte_beyond)
{
    static const char text[] = "{\"a\\u00e9\\ud83d\\ude00\xc3\xa9\":[1.5e-3,-20,true,false,null,\"x\"],\"b\":{}}";
    struct json_reader r;
    for (size_t n = 0; n < sizeof(text) - 1; n++) {
        char *part = malloc(n > 0 ? n : 1);
        memcpy(part, text, n);
        CHECK(count_events(slice_of(part, n), &r) < 0 && r.error == -ERR_BAD_JSON);
        free(part);
    }
    CHECK(count_events(slice_of(text, sizeof(text)), &r) < 0);   /* with its NUL */
    CHECK(count_events(slice_of(text, sizeof(text) - 1), &r) == 14);
}
