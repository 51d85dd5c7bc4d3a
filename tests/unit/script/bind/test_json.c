/* json.encode and json.decode as scripts see them. */
#include "unit/host.h"
#include "unit/unit.h"

static struct host h;

#define CHECK_EVAL(code, text) CHECK_SLICE(host_eval(&h, code), SLICE(text))
#define CHECK_ENCODES(value, text) CHECK_EVAL("return json.encode(" value ")", text)
#define CHECK_REFUSED(value, why) CHECK_EVAL("return (select(2, pcall(json.encode, " value ")))", why)

TEST(test_values_are_encoded_exactly)
{
    host_open(&h, 0);
    CHECK_ENCODES("9223372036854775807", "9223372036854775807");
    CHECK_ENCODES("math.mininteger", "-9223372036854775808");
    CHECK_ENCODES("0.1", "0.1");
    CHECK_ENCODES("3.0", "3");
    CHECK_ENCODES("'a\"\\n\\0é'", "\"a\\\"\\n\\u0000\xc3\xa9\"");
    CHECK_ENCODES("{b = true, a = false, c = json.null}", "{\"a\":false,\"b\":true,\"c\":null}");
    CHECK_ENCODES("nil", "null");
    host_close(&h);
}

TEST(test_tables_are_lists_or_objects)
{
    host_open(&h, 0);
    CHECK_ENCODES("{}", "{}");
    CHECK_ENCODES("json.array {}", "[]");
    CHECK_ENCODES("json.array {1, 2}", "[1,2]");
    CHECK_ENCODES("{1, {2, {}}, 'x'}", "[1,[2,{}],\"x\"]");
    CHECK_ENCODES("{z = {y = 1, x = {1}}, ['a b'] = ''}", "{\"a b\":\"\",\"z\":{\"x\":[1],\"y\":1}}");
    host_close(&h);
}

TEST(test_values_that_json_cannot_represent_are_refused_and_named)
{
    host_open(&h, 0);
    CHECK_REFUSED("'\\xff'", "json: a string that is not UTF-8");
    CHECK_REFUSED("{['\\xff'] = 1}", "json: a key that is not UTF-8");
    CHECK_REFUSED("{a = {b = print}}", "json: a function (at or below field \"b\")");
    CHECK_REFUSED("0/0", "json: a number that is not finite");
    CHECK_REFUSED("{1, 2, x = 3}", "json: a table that is neither a list nor has only names as keys");
    CHECK_REFUSED("{[1] = 1, [3] = 3}", "json: a table that is neither a list nor has only names as keys");
    CHECK_REFUSED("{[1.5] = 1}", "json: a table that is neither a list nor has only names as keys");
    CHECK_EVAL("local t = {} t.t = t return (select(2, pcall(json.encode, t)))",
               "json: a table deeper than 64 levels, or one that contains itself (at or below field \"t\")");
    CHECK_ENCODES("{x = 1}", "{\"x\":1}");
    host_close(&h);
}

TEST(test_decoding_makes_whole_numbers_integers)
{
    host_open(&h, 0);
    CHECK_EVAL("local v = json.decode('{\"a\":[1,2.5,-3],\"b\":{\"c\":7}}')\n"
               "return math.type(v.a[1]) .. math.type(v.a[2]) .. v.a[3] .. v.b.c", "integerfloat-37");
    CHECK_EVAL("return json.decode('5')", "5");
    CHECK_EVAL("return json.decode('null') == json.null", "true");
    CHECK_EVAL("return json.encode(json.decode('{\"n\":9007199254740991}'))", "{\"n\":9007199254740991}");
    host_close(&h);
}

TEST(test_bad_json_is_refused)
{
    static const char *const bad[] = {"", "{", "[1,]", "[01]", "[0x10]", "[nan]", "[+1]", "{\"a\":1} x", "\\'a\\'",
                                      "\"\\xff\"", "\"\\\\ud800\"", "{a:1}"};
    char code[128];
    host_open(&h, 0);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        snprintf(code, sizeof(code), "local v, why, code = json.decode('%s') return tostring(v) .. code", bad[i]);
        CHECK_SLICE(host_eval(&h, code), SLICE("nilbad_json"));
    }
    CHECK_EVAL("return (select(3, json.decode(('['):rep(100))))", "bad_json");
    host_close(&h);
}
