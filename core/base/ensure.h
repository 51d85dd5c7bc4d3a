/*
 * ENSURE states a condition that only a bug can break. It is compiled into every build, prints where it failed, and
 * aborts. Write one ENSURE for each condition instead of joining them with &&.
 */
#ifndef BASE_ENSURE_H
#define BASE_ENSURE_H

_Noreturn void ensure_failed(const char *what, const char *file, int line);

#define ENSURE(x) ((x) ? (void)0 : ensure_failed(#x, __FILE__, __LINE__))

#endif
