/* Scripts that are compiled once, until their text changes. */
#include <lauxlib.h>
#include <stdio.h>
#include <string.h>

#include "script/vm/chunks.h"
#include "unit/unit.h"

static void write_script(const char *text)
{
    FILE *f = fopen("script.lua", "w");
    CHECK(f != NULL);
    fputs(text, f);
    fclose(f);
}

/* What the script returns, or why it cannot be loaded. */
static const char *run_script(struct chunks *c)
{
    static char result[128];
    lua_State *L = luaL_newstate();                  /* a world of its own */
    int rc = chunks_load(c, L, "script.lua");
    if (rc == LUA_OK)
        rc = lua_pcall(L, 0, 1, 0);
    snprintf(result, sizeof(result), "%s%s", rc == LUA_OK ? "" : "error: ", lua_tostring(L, -1));
    lua_close(L);
    return result;
}

#define CHECK_RUNS(c, text) CHECK(strcmp(run_script(c), text) == 0)

TEST(test_a_script_is_compiled_again_when_its_text_has_changed)
{
    struct chunks *c = chunks_new();
    write_script("return 'one'");
    CHECK_RUNS(c, "one");
    CHECK_RUNS(c, "one");
    write_script("return 'two'");                    /* of the same size */
    CHECK_RUNS(c, "two");
    write_script("\n\nreturn nil .. 'x'");
    CHECK_RUNS(c, "error: script.lua:3: attempt to concatenate a nil value");
    CHECK_RUNS(c, "error: script.lua:3: attempt to concatenate a nil value");     /* also from the code that is kept */
    chunks_free(c);
}

TEST(test_a_script_that_cannot_be_loaded_says_why_and_is_not_kept)
{
    struct chunks *c = chunks_new();
    CHECK_RUNS(c, "error: cannot open script.lua (No such file or directory)");
    write_script("return return");
    CHECK_RUNS(c, "error: script.lua:1: unexpected symbol near 'return'");
    write_script("\x1bLua is not code");
    CHECK(strstr(run_script(c), "error: ") != NULL);
    write_script("return 'right'");
    CHECK_RUNS(c, "right");
    remove("script.lua");
    CHECK_RUNS(c, "error: cannot open script.lua (No such file or directory)");
    chunks_free(c);
}

TEST(test_a_mark_of_byte_order_and_a_first_line_with_a_hash_are_skipped)
{
    struct chunks *c = chunks_new();
    write_script("\xef\xbb\xbf#!/usr/bin/lua\nreturn nil .. 'x'");
    CHECK_RUNS(c, "error: script.lua:2: attempt to concatenate a nil value");
    write_script("# only this");
    CHECK_RUNS(c, "(null)");
    chunks_free(c);
}
