/*
 * The tests that a world has loaded (vm_options.tests, scripts/lignum/testing.lua).
 */
#ifndef SCRIPT_TESTS_H
#define SCRIPT_TESTS_H

#include "base/buf.h"
#include "script/vm/task.h"

unsigned tests_count(struct vm *vm);

/* Of number i, from 0 on: appends its name, NUL-terminated; returns its line. */
unsigned tests_case(struct vm *vm, unsigned i, struct buf *name);

/* Tells for each of the operator's files which of its lines have run: as a sentence, and in the form of LCOV. */
struct coverage;
void tests_coverage(struct vm *vm, const struct coverage *c,
                    void (*tell)(void *arg, const char *path, const char *text, const char *lcov), void *arg);

/* Starts it as a task. `done` is called once: rc 0 and a note, or "", or why it has failed, NUL-terminated. */
struct test_call {
    struct vm *vm;
    unsigned i;
    void (*done)(void *arg, int rc, const char *message);
    void *arg;
};
void tests_start(struct test_call *c, struct task_ticket *ticket);   /* `c` lives until `done` */

#endif
