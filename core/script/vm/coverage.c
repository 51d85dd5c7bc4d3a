#include "script/vm/coverage.h"

#include <string.h>
#include <sys/mman.h>

#include "base/ensure.h"
#include "script/vm/budget.h"

enum { SOURCES = 64, PATH_MOST = 512, LINES = 16 * 1024 };     /* what is beyond these is left out */

/* Two processes may take one each for the same file. */
struct source {
    char path[PATH_MOST];
    bool hit[LINES];
};

struct coverage {
    unsigned taken;                   /* sources; grows by atomic additions */
    struct source sources[SOURCES];
};

struct coverage *coverage_new(void)
{
    struct coverage *c = mmap(NULL, sizeof(*c), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ENSURE(c != MAP_FAILED);
    return c;
}

void coverage_free(struct coverage *c)
{
    munmap(c, sizeof(*c));
}

static struct source *source_of(struct coverage *c, const char *path)
{
    unsigned taken = __atomic_load_n(&c->taken, __ATOMIC_ACQUIRE);
    for (unsigned i = 0; i < taken && i < SOURCES; i++)
        if (strcmp(c->sources[i].path, path) == 0)
            return &c->sources[i];
    unsigned i = __atomic_fetch_add(&c->taken, 1, __ATOMIC_ACQ_REL);
    if (i >= SOURCES) {
        __atomic_store_n(&c->taken, SOURCES, __ATOMIC_RELEASE);
        return NULL;
    }
    strcpy(c->sources[i].path, path);
    return &c->sources[i];
}

void coverage_note(struct coverage *c, const char *scripts, lua_State *L, lua_Debug *ar)
{
    if (c == NULL || lua_getinfo(L, "Sl", ar) == 0 || ar->source[0] != '@' || is_own_script(scripts, ar))
        return;
    if (ar->currentline <= 0 || ar->currentline >= LINES || strlen(ar->source) > PATH_MOST)
        return;
    struct source *s = source_of(c, ar->source + 1);
    if (s != NULL)
        s->hit[ar->currentline] = true;
}

void coverage_push(const struct coverage *c, lua_State *L)
{
    lua_newtable(L);
    for (unsigned i = 0; i < c->taken && i < SOURCES; i++) {
        const struct source *s = &c->sources[i];
        if (lua_getfield(L, -1, s->path) == LUA_TNIL) {
            lua_pop(L, 1);
            lua_newtable(L);
            lua_pushvalue(L, -1);
            lua_setfield(L, -3, s->path);
        }
        for (int line = 1; line < LINES; line++)
            if (s->hit[line]) {
                lua_pushinteger(L, line);
                lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
            }
        lua_pop(L, 1);
    }
}
