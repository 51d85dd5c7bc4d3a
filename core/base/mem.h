/*
 * Heap memory. Allocating never fails: when memory runs out, the process ends with a sentence.
 *
 * Whatever a client can make grow is bounded in limits.h, so running out of memory means a bug or a machine that is too
 * small. Memory of scripts comes from the capped allocator of script/vm/vm.c instead, which may fail.
 */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include <stddef.h>

void *mem_new(size_t size);                      /* zeroed */
void *mem_resize(void *p, size_t size);          /* not zeroed */
char *mem_copy(const char *p, size_t n);         /* n bytes and a NUL */
void mem_free(void *p);

/* Of a large array on the stack that is written before it is read: it is not set to zeros at each call, as others are
 * (AUTO_INIT in the Makefile). */
#if defined(__has_attribute) && __has_attribute(uninitialized)
#define UNINIT __attribute__((uninitialized))
#else
#define UNINIT
#endif

#define MEM_NEW(type) ((type *)mem_new(sizeof(type)))

/* Keeps malloc from returning the end of the heap to the kernel several times in each turn, to fetch it again page by
 * page, as answers of some 10 KiB are allocated and freed. Called once, before there are threads. */
void mem_settle(void);

#endif
