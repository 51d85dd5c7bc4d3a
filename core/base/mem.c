#include "base/mem.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/exit_code.h"
#include "base/limits.h"

/* Does not use say_fatal, which allocates, and belongs to the loop thread; this may be the disk thread. */
static _Noreturn void out_of_memory(size_t size)
{
    dprintf(STDERR_FILENO, "error mem: out of memory size=%zu; "
            "give the process more memory or lower the limits in lignum.lua\n", size);
    _exit(EXIT_SOFTWARE);
}

void *mem_new(size_t size)
{
    void *p = calloc(1, size ? size : 1);
    if (!p)
        out_of_memory(size);
    return p;
}

void *mem_resize(void *p, size_t size)
{
    void *moved = realloc(p, size ? size : 1);
    if (!moved)
        out_of_memory(size);
    return moved;
}

char *mem_copy(const char *p, size_t n)
{
    char *copy = mem_resize(NULL, n + 1);
    if (n > 0)
        memcpy(copy, p, n);
    copy[n] = '\0';
    return copy;
}

void mem_free(void *p)
{
    free(p);
}

enum { TRIM_BEYOND = 4 * MIB, MMAP_FROM = 2 * MIB };

/* Both are set: setting either one stops malloc from raising both to the size of the largest block that was freed. */
void mem_settle(void)
{
    mallopt(M_TRIM_THRESHOLD, TRIM_BEYOND);
    mallopt(M_MMAP_THRESHOLD, MMAP_FROM);
}
