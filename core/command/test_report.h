/*
 * What `lignum test` prints: sentences for people, TAP version 14, or JUnit's XML. One result is added after the other;
 * TAP and people see it at once.
 */
#ifndef COMMAND_TEST_REPORT_H
#define COMMAND_TEST_REPORT_H

#include <stdint.h>

#include "base/buf.h"

enum test_format { TEST_TEXT, TEST_TAP, TEST_JUNIT };

struct test_result {
    const char *file, *name;         /* name: of the test; "": the file cannot be loaded */
    unsigned line;
    bool failed;
    const char *message;             /* why it failed; or a note, or "" */
    const char *log;                 /* what its node has logged */
    uint64_t ns;                     /* of real time */
};

struct test_report {
    enum test_format format;
    bool verbose;                    /* those that have passed are printed, too, and all logs */
    unsigned passed, failed, not_loaded;
    uint64_t ns;                     /* of all of them */
    struct buf cases;                /* of JUnit */
};

int test_format_parse(const char *name, enum test_format *out);   /* 0 or -EINVAL */
void test_report_add(struct test_report *r, const struct test_result *t);

/* Prints what is left. `ns`: how long it took. */
void test_report_end(struct test_report *r, uint64_t ns);

#endif
