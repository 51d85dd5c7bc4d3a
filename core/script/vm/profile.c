#include "script/vm/profile.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"

enum {
    STACKS = 4096,                    /* that are told apart; a power of 2. Others are counted as one */
    PROBES = 64,
    DEPTH_MAX = 64,                   /* the innermost functions of a stack */
    FUNCTION_MAX = 120,
    TEXT_MAX = DEPTH_MAX * (FUNCTION_MAX + 1),
};

struct counted {
    char *stack;                      /* owned; NULL: free */
    uint64_t count;
};

struct profile {
    struct counted stacks[STACKS];
    uint64_t others;
    char names[DEPTH_MAX][FUNCTION_MAX]; /* of the stack that is noted, the innermost first */
    char text[TEXT_MAX];
};

struct profile *profile_new(void)
{
    return MEM_NEW(struct profile);
}

void profile_free(struct profile *p)
{
    for (unsigned i = 0; i < STACKS; i++)
        mem_free(p->stacks[i].stack);
    mem_free(p);
}

/* "on_publish lignum.lua:12", without what has a meaning in the folded form. */
static void name_of(char out[FUNCTION_MAX], const lua_Debug *ar)
{
    const char *slash = strrchr(ar->short_src, '/'), *file = slash == NULL ? ar->short_src : slash + 1;
    const char *name = ar->name == NULL ? strcmp(ar->what, "main") == 0 ? "file" : "function" : ar->name;
    if (ar->what[0] == 'C')
        snprintf(out, FUNCTION_MAX, "%s [C]", name);
    else
        snprintf(out, FUNCTION_MAX, "%s %s:%d", name, file, ar->linedefined);
    for (char *c = out; *c != '\0'; c++)
        if (*c == ';' || *c == '\n')
            *c = ',';
}

static unsigned collect(struct profile *p, const struct budget_frame *frames)
{
    unsigned n = 0;
    lua_Debug ar;
    for (const struct budget_frame *f = frames; f != NULL && n < DEPTH_MAX; f = f->below)
        for (int level = 0; n < DEPTH_MAX && lua_getstack(f->L, level, &ar); level++)
            if (lua_getinfo(f->L, "Sn", &ar))
                name_of(p->names[n++], &ar);
    return n;
}

static void count(struct profile *p, const char *text)
{
    uint32_t hash = 2166136261u;
    for (const char *c = text; *c != '\0'; c++)
        hash = (hash ^ (unsigned char)*c) * 16777619u;
    for (unsigned i = 0; i < PROBES; i++) {
        struct counted *s = &p->stacks[(hash + i) & (STACKS - 1)];
        if (s->stack == NULL)
            s->stack = mem_copy(text, strlen(text));
        if (strcmp(s->stack, text) == 0) {
            s->count++;
            return;
        }
    }
    p->others++;
}

void profile_note(struct profile *p, const struct budget_frame *frames)
{
    unsigned n = collect(p, frames);
    size_t size = 0;
    for (unsigned i = n; i > 0; i--)
        size += (size_t)snprintf(p->text + size, sizeof(p->text) - size, "%s%s", i < n ? ";" : "", p->names[i - 1]);
    if (n > 0)
        count(p, p->text);
}

void profile_push(const struct profile *p, lua_State *L)
{
    lua_newtable(L);
    for (unsigned i = 0; i < STACKS; i++) {
        if (p->stacks[i].stack == NULL)
            continue;
        lua_pushinteger(L, (lua_Integer)p->stacks[i].count);
        lua_setfield(L, -2, p->stacks[i].stack);
    }
    lua_pushinteger(L, (lua_Integer)p->others);
    lua_setfield(L, -2, "others");
}
