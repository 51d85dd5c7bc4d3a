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

/* Starts it as a task. `done` is called once: rc 0 and a note, or "", or why it has failed, NUL-terminated. */
struct test_call {
    struct vm *vm;
    unsigned i;
    void (*done)(void *arg, int rc, const char *message);
    void *arg;
};
void tests_start(struct test_call *c, struct task_ticket *ticket);   /* `c` lives until `done` */

#endif
