#include "script/bind/json_split.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/json_read.h"
#include "script/bind/result.h"
#include "script/vm/task.h"
#include "script/vm/vm.h"

enum {
    IN_ONE_GO = 16 * KIB,             /* shorter texts take less than a slice */
    LOOK_EVERY = 64,                  /* events between two looks at the clock */
};
#define SLICE_NS (4 * NS_PER_MS)

/* The Lua stack: the text, the splitter, the list. */
enum { TEXT = 1, SPLITTER, LIST };

struct splitter {
    struct json_reader reader;
    bool array;                       /* else the text is one value */
    size_t from;                      /* where the present element begins, or blanks and a comma before it */
    lua_Integer count;
};

static int fail(lua_State *L, const struct json_reader *r)
{
    int results = push_fail_because(L, r->error, "%s", r->why);
    if (r->limit == 0)
        return results;
    lua_createtable(L, 0, 1);
    lua_pushinteger(L, r->limit);
    lua_setfield(L, -2, "limit");
    return results + 1;
}

static bool is_between(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == ',';
}

/* The reader stands behind an element. Only the values of one element count towards JSON_VALUES_MAX: none is made. */
static void take(lua_State *L, struct splitter *s)
{
    const char *text = s->reader.text.p;
    while (is_between(text[s->from]))
        s->from++;
    lua_pushlstring(L, text + s->from, s->reader.at - s->from);
    lua_rawseti(L, LIST, ++s->count);
    s->from = s->reader.at;
    s->reader.values = 0;
}

/* The number of results; -1: not yet. */
static int split(lua_State *L, struct splitter *s, uint64_t until_ns)
{
    struct json_reader *r = &s->reader;
    struct buf *scratch = vm_scratch(vm_of(L));
    for (unsigned n = 1; until_ns == 0 || n % LOOK_EVERY != 0 || clock_ns() < until_ns; n++) {
        enum json_event event = json_next(r, scratch);
        if (event == JSON_BAD)
            return fail(L, r);
        if (event == JSON_END)
            return 1;
        bool opens = event == JSON_OPEN_LIST || event == JSON_OPEN_OBJECT;
        if (event == JSON_OPEN_LIST && r->depth == 1) {
            s->array = true;
            s->from = r->at;
        } else if (!opens && event != JSON_MEMBER && r->depth == (s->array ? 1u : 0u)) {
            take(L, s);
        }
    }
    return -1;
}

static int split_more(lua_State *L, int status, lua_KContext context);

static int split_slice(lua_State *L)
{
    struct task *self = task_that_can_wait(L);
    int results = split(L, lua_touserdata(L, SPLITTER), self == NULL ? 0 : clock_ns() + SLICE_NS);
    vm_scratch_done(vm_scratch(vm_of(L)));
    return results < 0 ? task_park(L, self, 1, 0, split_more) : results;
}

static int split_more(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    (void)context;
    lua_pop(L, 1);
    return split_slice(L);
}

int json_split(lua_State *L)
{
    slice text;
    text.p = lua_tolstring(L, TEXT, &text.n);
    lua_settop(L, TEXT);
    struct splitter small = {.reader = {.text = text}};
    if (text.n <= IN_ONE_GO) {
        lua_pushnil(L);
        lua_newtable(L);
        int results = split(L, &small, 0);
        vm_scratch_done(vm_scratch(vm_of(L)));
        return results;
    }
    struct splitter *s = lua_newuserdatauv(L, sizeof(*s), 0);
    *s = small;
    lua_newtable(L);
    return split_slice(L);
}
