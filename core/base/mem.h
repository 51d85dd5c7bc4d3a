/*
 * Heap memory that is there or the process is not.
 *
 * Everything that a client can make grow is bounded in limits.h, so running out here is a broken
 * machine or a bug, and ends the process with a sentence. Memory that scripts ask for goes through
 * the capped allocator of script/vm/vm.c instead, where failing is normal.
 */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include <stddef.h>

void *mem_new(size_t size);                      /* zeroed */
void *mem_resize(void *p, size_t size);          /* not zeroed */
char *mem_copy(const char *p, size_t n);         /* n bytes and a NUL */
void mem_free(void *p);

#define MEM_NEW(type) ((type *)mem_new(sizeof(type)))

/* For a process that serves: answers of some 10 KiB come and go, and malloc would give the end of the heap back to the
 * kernel and fetch it again, page by page, several times in each turn. Called once, before there are threads. */
void mem_settle(void);

#endif
