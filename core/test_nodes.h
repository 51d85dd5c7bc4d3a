/*
 * The nodes of `lignum test`: one for each test, in a process of its own (test.h).
 */
#ifndef TEST_NODES_H
#define TEST_NODES_H

#include <limits.h>

#include "command/test_report.h"
#include "server.h"

enum { TEST_JOBS_MAX = 64 };

struct covered {
    char *path, *text, *lcov;         /* owned */
};

struct test_plan {
    struct cli cli;                   /* of the nodes: config, scripts, set */
    const char *only;                 /* a word; NULL: all tests */
    unsigned jobs, seconds;           /* tests at once; of real time, for one */
    struct test_report report;
    bool watches;                     /* again after each change of a file */
    bool covers;                      /* tells which lines have run; */
    const char *lcov;                 /* and writes it to this file, unless NULL */
    struct coverage *coverage;        /* NULL: not asked for */
    struct covered *covered;          /* owned: what has been told of each file */
    unsigned covered_count;
    char folder[PATH_MAX];            /* has the data directories */
    unsigned made;                    /* how many of them there were */
    char **files;                     /* owned, as are the texts */
    unsigned count;
};

/* Runs the tests of a file that `s` has loaded (server_load). Ends the process where none can be made for a test. */
void test_nodes_run(struct test_plan *p, const char *file, struct server *s);

/* Removes a directory with all that is in it. */
void test_remove(const char *path);

#endif
