/*
 * The runner of the C tests. A test's name is a claim; its body checks it.
 *
 *     TEST(test_dropping_everything_starts_over) { ... CHECK_EQ(b.at, 0); }
 *
 * Each test runs in a process of its own, in a fresh directory that is removed afterwards, for at most TIME_LIMIT_S
 * (unit.c). Its output is shown only if it fails. Arguments are parts of names: a test runs when one of them matches.
 * UNIT_KEEP=1 keeps the directories and shows what tests print, TMPDIR says where they are.
 */
#ifndef UNIT_UNIT_H
#define UNIT_UNIT_H

#include <sys/types.h>

#include "base/slice.h"

struct unit_test {
    const char *name;
    void (*run)(void);
    struct unit_test *next;
};

void unit_register(struct unit_test *test);

#define TEST(claim)                                                        \
    static void claim(void);                                               \
    __attribute__((constructor)) static void claim##_register(void)        \
    {                                                                      \
        static struct unit_test test = {#claim, claim, NULL};              \
        unit_register(&test);                                              \
    }                                                                      \
    static void claim(void)

#define CHECK(x) ((x) ? (void)0 : unit_failed(__FILE__, __LINE__, "%s", #x))

/* Integers of any type. `| 0` does not compile for floating point, which would lose its fraction here. */
#define CHECK_EQ(a, b) \
    unit_check_eq(__FILE__, __LINE__, #a " == " #b, (intmax_t)((a) | 0), (intmax_t)((b) | 0))

#define CHECK_SLICE(a, b) unit_check_slice(__FILE__, __LINE__, #a " == " #b, a, b)

/* The statement ends the process: with this exit code, or by this signal. */
#define CHECK_DIES(statement, how)                                         \
    do {                                                                   \
        pid_t unit_child = unit_fork();                                    \
        if (unit_child == 0) {                                             \
            statement;                                                     \
            unit_survived();                                               \
        }                                                                  \
        unit_check_died(__FILE__, __LINE__, #statement, unit_child, how);  \
    } while (0)

_Noreturn void unit_failed(const char *file, int line, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void unit_check_eq(const char *file, int line, const char *what, intmax_t a, intmax_t b);
void unit_check_slice(const char *file, int line, const char *what, slice a, slice b);
pid_t unit_fork(void);
_Noreturn void unit_survived(void);
void unit_check_died(const char *file, int line, const char *what, pid_t child, int how);

/* The contents of a file in the current directory, in a static buffer. */
slice unit_read_file(const char *path);

/* The path of a file below tests/, such as "cases/read_query.tsv"; the buffer is static. */
const char *unit_source(const char *name);

#endif
