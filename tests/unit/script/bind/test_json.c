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

/* Rows that share one table are small in memory and large as text. */
TEST(test_the_text_and_the_time_of_one_call_are_bounded)
{
    host_open(&h, 0);
    CHECK_EVAL("local row, rows = {}, {} for i = 1, 1000 do row[i] = 'text' .. i end\n"
               "for i = 1, 10000 do rows[i] = row end\n"
               "return (select(2, pcall(json.encode, rows)))", "json: more than 16 MiB of text");
    CHECK_EVAL("return (select(2, pcall(json.encode, {a = ('x'):rep(17 << 20)})))",
               "json: more than 16 MiB of text (at or below field \"a\")");
    tasks_set_limits(vm_tasks(h.vm), TASKS_MAX, 30);
    CHECK_EVAL("local row, rows = {}, {} for i = 1, 1000 do row[i] = 1.5e-7 end\n"
               "for i = 1, 1500 do rows[i] = row end sleep(0.001)\n"
               "return #json.encode(rows)", "a test failed: test:3: over its budget of 30 ms");
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

TEST(test_what_is_decoded_is_encoded_as_it_was)
{
    static const char *const texts[] = {
        "[]", "{}", "[[],{}]", "{\"a\":[],\"b\":{},\"c\":[[[]]]}", "123456789012345678", "[-9223372036854775808]",
        "9223372036854775807", "{\"id\":123456789012345678}", "null", "[null]", "[0.1,1e+300]",
    };
    char code[160];
    host_open(&h, 0);
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        snprintf(code, sizeof(code), "return json.encode(json.decode('%s'))", texts[i]);
        CHECK_SLICE(host_eval(&h, code), slice_from(texts[i]));
    }
    CHECK_EVAL("local t = json.decode('[1]') t[1] = nil return json.encode(t)", "[]");
    CHECK_EVAL("local t = json.decode('[]') t[1] = 'x' return json.encode(t)", "[\"x\"]");
    CHECK_EVAL("local t = json.decode('{\"a\":1}') t.a = nil return json.encode(t)", "{}");
    CHECK_EVAL("return json.encode(setmetatable(json.decode('[]'), {}))", "{}");
    host_close(&h);
}

TEST(test_an_array_is_split_into_its_elements_as_they_stand)
{
    host_open(&h, 0);
    host_eval(&h, "function SPLIT(text) return table.concat(json.split(text), '|') end\n"
                  "function CODE(_, why, code, more) return code .. (more and more.limit or '') end");
    CHECK_EQ(h.rc, 0);
    CHECK_EVAL("return SPLIT ' [ 1 , {\"a\": [2, 3]} ,[4,5],\"x,]\" , null,1e3,-0.50 ] '",
               "1|{\"a\": [2, 3]}|[4,5]|\"x,]\"|null|1e3|-0.50");
    CHECK_EVAL("return SPLIT ' {\"a\": [1, 2]} '", "{\"a\": [1, 2]}");
    CHECK_EVAL("return SPLIT '7' .. SPLIT ' \"x\" ' .. SPLIT '[[[]]]' .. #json.split '[]' .. #json.split '[ ]'",
               "7\"x\"[[]]00");
    CHECK_EVAL("return CODE(json.split '[1,') .. CODE(json.split '') .. CODE(json.split '[1] 2')",
               "bad_jsonbad_jsonbad_json");
    CHECK_EVAL("local l = json.split('[' .. ('1,'):rep(999999) .. '2]') return #l .. l[1000000]", "10000002");
    CHECK_EVAL("return CODE(json.split('[[' .. ('1,'):rep(999999) .. '2]]'))", "too_large524288");
    host_close(&h);
}

TEST(test_a_marked_list_loses_no_names)
{
    host_open(&h, 0);
    CHECK_REFUSED("(function() local t = json.array {1} t.x = 2 return t end)()",
                  "json: a list (of json.array or json.decode) whose keys are not 1 to n");
    CHECK_REFUSED("json.array {[1] = 1, [3] = 3}",
                  "json: a list (of json.array or json.decode) whose keys are not 1 to n");
    CHECK_EVAL("local s = '' for _, v in ipairs {json.array {}, {1}, json.decode '[]', {}, {x = 1}, 'x'} do\n"
               "s = s .. (json.is_array(v) and 1 or 0) end return s", "111000");
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
    host_close(&h);
}

TEST(test_what_a_table_cannot_keep_is_refused_and_named)
{
    host_open(&h, 0);
    CHECK_EVAL("return (select(2, json.decode('{\"a\":1,\"b\":[{\"x\":1,\"x\":null}]}')))",
               "an object has the name \"x\" twice");
    CHECK_EVAL("return (select(2, json.decode('{\"a\":null,\"\\\\u0061\":1}')))", "an object has the name \"a\" twice");
    CHECK_EVAL("return (select(2, json.decode('[{\"data\":\"a\"}]\\0x')))",
               "the text goes on after its value at byte 15");
    CHECK_EVAL("local v = json.decode('[9007199254740993,-9223372036854775808]') return v[1] .. v[2]",
               "9007199254740993-9223372036854775808");
    CHECK_EVAL("local _, _, code, more = json.decode(('['):rep(65)) return code .. more.limit", "too_large64");
    CHECK_EVAL("local _, _, code, more = json.decode('[' .. ('[],'):rep(600000)) return code .. more.limit",
               "too_large524288");
    host_close(&h);
}

/* The other task counts how often it runs while the first decodes. */
TEST(test_a_long_text_is_decoded_in_slices_between_which_others_run)
{
    host_open(&h, 0);
    CHECK(host_start(&h, "while not DONE do TURNS = (TURNS or 0) + 1 sleep(0) end") == 0);
    host_eval(&h, "local n = 500000\n"
               "local list = json.decode('[' .. ('[],'):rep(n) .. '{\"a\":[true,\"x\"]}]')\n"
               "DONE = true\n"
               "local whole = #list == n + 1 and #list[n] == 0 and list[n + 1].a[2]\n"
               "RESULT = whole .. ' after ' .. (TURNS > 4 and 'turns' or 'none')");
    CHECK_EVAL("return RESULT", "x after turns");
    CHECK_EVAL("DONE, TURNS = false, 0\n"
               "local wait = coroutine.wrap(function(text) return #json.decode(text) end)\n"
               "return wait('[' .. ('1,'):rep(400000) .. '2]')", "400001");
    CHECK_EVAL("local text = '[' .. ('1,'):rep(400000) .. '2]'\n"
               "local t, n = {1, 2, 3}\n"
               "table.sort(t, function(a, b) n = n or #json.decode(text) return a < b end)\n"
               "return n", "400001");
    host_close(&h);
}
