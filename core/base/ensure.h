/*
 * ENSURE states what must be true unless there is a bug. It is compiled into every build, prints
 * where it failed, and aborts. Split conditions instead of joining them with &&.
 */
#ifndef BASE_ENSURE_H
#define BASE_ENSURE_H

_Noreturn void ensure_failed(const char *what, const char *file, int line);

#define ENSURE(x) ((x) ? (void)0 : ensure_failed(#x, __FILE__, __LINE__))

#endif
