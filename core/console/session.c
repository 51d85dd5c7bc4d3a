#include "console/session.h"

#include <lauxlib.h>

#include "base/err.h"
#include "base/limits.h"
#include "base/mem.h"
#include "net/link.h"

enum {
    OUTPUT_CHUNK = 64 * KIB,
    OUTPUT_UNSENT_MAX = 256 * KIB,   /* above this, a task that prints waits for the client */
    OUTPUT_WAIT_MS = 60 * 1000,
    NOTICE_MAX = 64,                 /* bytes of the notice that a result was cut */
};

_Static_assert(OUTPUT_UNSENT_MAX + OUTPUT_CHUNK + CONSOLE_FRAME_MAX < CONSOLE_UNSENT_MAX,
               "a client that reads nothing of a line's output can still interrupt it");

struct session {
    struct vm *vm;                   /* outlives us */
    struct loop *loop;               /* outlives us */
    struct link *link;               /* owned; NULL once closed */
    unsigned id;
    bool busy;                       /* `task` runs */
    bool blocked;                    /* `writer` waits for the client to take output */
    bool held;                       /* frames are left in the link until the client reads */
    struct task_ticket task, writer;
    slice text;                      /* of the frame that is being handled */
};

/* ---- sessions by their id: Lua may keep `write` for longer than the session exists ---- */

static const char registry_key;

static void registry_set(struct session *s, bool there)
{
    lua_State *L = vm_state(s->vm);
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &registry_key) != LUA_TTABLE) {
        lua_pop(L, 1);
        lua_newtable(L);
        lua_pushvalue(L, -1);
        lua_rawsetp(L, LUA_REGISTRYINDEX, &registry_key);
    }
    if (there)
        lua_pushlightuserdata(L, s);
    else
        lua_pushnil(L);
    lua_rawseti(L, -2, s->id);
    lua_pop(L, 1);
}

/* NULL when the session is over. */
static struct session *session_find(lua_State *L, lua_Integer id)
{
    lua_rawgetp(L, LUA_REGISTRYINDEX, &registry_key);
    lua_rawgeti(L, -1, id);
    struct session *s = lua_touserdata(L, -1);
    lua_pop(L, 2);
    return s;
}

/* ---- to the client ---- */

static void add_frame(struct session *s, unsigned char type, slice text)
{
    buf_add_slice(link_begin(s->link, type), text);
    link_end(s->link);
}

/* A result too large for a frame is cut, and says so. */
static void add_result(struct session *s, unsigned char type, slice text)
{
    if (text.n <= CONSOLE_FRAME_MAX) {
        add_frame(s, type, text);
        return;
    }
    size_t kept = CONSOLE_FRAME_MAX - NOTICE_MAX;
    struct buf *out = link_begin(s->link, type);
    buf_add(out, text.p, kept);
    buf_addf(out, "\n... (%zu more bytes)", text.n - kept);
    link_end(s->link);
}

static int l_write_from(lua_State *L, int status, lua_KContext at);

/* Only one can wait. What another task prints meanwhile (a timer that a line of this session set) is dropped. */
static int wait_for_client(lua_State *L, struct session *s, lua_KContext at)
{
    if (s->blocked)
        return 0;
    struct task *self = task_self(L);
    s->writer = task_ticket(self);
    s->blocked = true;
    return task_park(L, self, OUTPUT_WAIT_MS, at, l_write_from);
}

static void wake_writer(struct session *s)
{
    if (s->blocked)
        task_wake(vm_tasks(s->vm), s->writer, 0);
    s->blocked = false;
}

/* The session is looked up again after each wait: it may be over, and then the rest is dropped. */
static int l_write_from(lua_State *L, int status, lua_KContext at)
{
    slice text;
    text.p = lua_tolstring(L, 1, &text.n);
    bool waited = status == LUA_YIELD;
    int rc = waited ? (int)lua_tointeger(L, -1) : 0;
    lua_settop(L, 1);
    struct session *s = session_find(L, lua_tointeger(L, lua_upvalueindex(1)));
    if (rc == -ERR_TIMEOUT && s)
        s->blocked = false;
    if (rc < 0)
        return luaL_error(L, "the console does not take its output: %s", err_sentence(rc));
    for (slice rest = slice_skip(text, (size_t)at); s && s->link && rest.n > 0;) {
        if (link_unsent(s->link) > OUTPUT_UNSENT_MAX)
            return wait_for_client(L, s, (lua_KContext)(text.n - rest.n));
        slice chunk = slice_of(rest.p, rest.n < OUTPUT_CHUNK ? rest.n : OUTPUT_CHUNK);
        add_frame(s, 'O', chunk);
        rest = slice_skip(rest, chunk.n);
    }
    return 0;
}

/* write(text): shows text to the client. Waits while the client has much to read. */
static int l_write(lua_State *L)
{
    luaL_checkstring(L, 1);
    return l_write_from(L, LUA_OK, 0);
}

/* ---- from the client ---- */

static slice slice_at(lua_State *L, int index)
{
    slice s = {"", 0};
    if (lua_type(L, index) == LUA_TSTRING)
        s.p = lua_tolstring(L, index, &s.n);
    return s;
}

static int push_eval(lua_State *L, void *arg)
{
    struct session *s = arg;
    vm_push_entry(s->vm, L, "repl_eval");
    lua_pushinteger(L, s->id);
    lua_pushlstring(L, s->text.p, s->text.n);
    lua_pushinteger(L, s->id);
    lua_pushcclosure(L, l_write, 1);
    return 3;
}

static void on_evaluated(void *arg, const struct task_result *r)
{
    struct session *s = arg;
    s->busy = false;
    if (s->link == NULL)
        return;
    if (r->rc < 0) {
        add_result(s, 'E', r->rc == -ERR_CANCELLED ? SLICE("interrupted") : slice_from(r->message));
        return;
    }
    lua_settop(r->L, lua_gettop(r->L) - r->values + 2);
    slice what = slice_at(r->L, -2), text = slice_at(r->L, -1);
    if (slice_eq(what, SLICE("more")))
        add_frame(s, 'M', SLICE(""));
    else
        add_result(s, slice_eq(what, SLICE("ok")) ? 'R' : 'E', text);
}

static int push_complete(lua_State *L, void *arg)
{
    struct session *s = arg;
    vm_push_entry(s->vm, L, "repl_complete");
    lua_pushinteger(L, s->id);
    lua_pushlstring(L, s->text.p, s->text.n);
    return 2;
}

/* The names are an array of strings. Those that do not fit into a frame are left out. */
static void on_completed(void *arg, const struct task_result *r)
{
    struct session *s = arg;
    s->busy = false;
    if (s->link == NULL)
        return;
    struct buf *out = link_begin(s->link, 'C');
    size_t before = buf_size(out);
    lua_Integer count = 0;
    if (r->rc == 0 && r->values > 0) {
        lua_settop(r->L, lua_gettop(r->L) - r->values + 1);
        count = lua_type(r->L, -1) == LUA_TTABLE ? (lua_Integer)lua_rawlen(r->L, -1) : 0;
    }
    for (lua_Integer i = 1; i <= count; i++) {
        lua_rawgeti(r->L, -1, i);
        slice name = slice_at(r->L, -1);
        lua_pop(r->L, 1);
        if (buf_size(out) - before + name.n >= CONSOLE_FRAME_MAX)
            break;
        buf_add_slice(out, name);
        buf_add_char(out, '\n');
    }
    link_end(s->link);
}

static void start(struct session *s, const char *where, int (*push)(lua_State *L, void *arg),
                  void (*done)(void *arg, const struct task_result *r))
{
    struct task_options o = {.where = where, .push = push, .done = done, .arg = s, .operator_code = true};
    s->busy = true;
    task_start(vm_tasks(s->vm), &o, &s->task);
}

static void handle(struct session *s, unsigned char type)
{
    if (type == 'I' && s->busy)
        task_cancel(vm_tasks(s->vm), s->task);
    else if (type == 'L' && s->busy)
        add_frame(s, 'E', SLICE("another line is still running"));
    else if (type == 'C' && s->busy)
        add_frame(s, 'C', SLICE(""));
    else if (type == 'L')
        start(s, "the console's line", push_eval, on_evaluated);
    else if (type == 'C')
        start(s, "the console's completion", push_complete, on_completed);
}

void session_receive(struct session *s)
{
    unsigned char type;
    while (!(s->held = link_unsent(s->link) > CONSOLE_UNSENT_MAX) && link_take(s->link, &type, &s->text))
        handle(s, type);
}

bool session_send(struct session *s)
{
    link_flush(s->link);
    link_rest(s->link);
    if (link_unsent(s->link) == 0)
        wake_writer(s);
    if (s->held && link_unsent(s->link) <= CONSOLE_UNSENT_MAX)
        loop_again(s->loop);   /* no event announces the frames that were left */
    return link_state(s->link) != LINK_ENDED;
}

/* ---- begin and end ---- */

struct session *session_new(const struct session_options *o)
{
    struct session *s = MEM_NEW(struct session);
    s->vm = o->vm;
    s->loop = o->loop;
    s->id = o->id;
    s->link = link_new(o->loop, o->fd, false);
    link_allow(s->link, CONSOLE_FRAME_MAX);
    registry_set(s, true);
    const struct services *services = vm_services(vm_state(s->vm));
    buf_addf(link_begin(s->link, 'H'), "Lignum " LIGNUM_VERSION ", node %s, %s, epoch %llu",
             store_state(services->store)->name, role_name(services->role), (unsigned long long)services->role->epoch);
    link_end(s->link);
    return s;
}

unsigned session_id(const struct session *s)
{
    return s->id;
}

static int push_close(lua_State *L, void *arg)
{
    struct session *s = arg;
    vm_push_entry(s->vm, L, "repl_close");
    lua_pushinteger(L, s->id);
    return 1;
}

/* The session is freed by then. */
static void on_repl_closed(void *arg, const struct task_result *r)
{
    (void)arg;
    (void)r;
}

/* The link goes first, so that what its task prints while it is cancelled does not wait. The id goes last, because code
 * that runs while the task ends may look it up. */
void session_free(struct session *s)
{
    struct tasks *ts = vm_tasks(s->vm);
    link_free(s->link);
    s->link = NULL;
    if (s->busy)
        task_cancel(ts, s->task);
    wake_writer(s);
    registry_set(s, false);
    struct task_options o = {.where = "the console's end", .push = push_close, .done = on_repl_closed, .arg = s};
    task_start(ts, &o, NULL);
    mem_free(s);
}
