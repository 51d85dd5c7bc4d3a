/*
 * `lignum test`: runs the tests of lignum.lua (scripts/lignum/testing.lua), each in a node of its own.
 *
 * For each file of tests this process makes the worlds and loads lignum.lua and the file. Then it forks a process for
 * each test, a few at a time. That one opens an empty data directory in memory, sets the other stages of a node up,
 * runs the test as a task of the live world, tells the result through a pipe, and ends. So a test begins with what
 * lignum.lua has made while it was loaded, and with no topics, whatever other tests have done; and one that ends its
 * process fails alone.
 *
 * The clock is held (base/clock.h): it moves when all tasks wait for something (net/loop.h).
 */
#ifndef TEST_H
#define TEST_H

#include "command/arguments.h"

#define TEST_BEGINS "2026-01-01T00:00:00Z"     /* what the clock shows at first, a Thursday */

int test_run(const struct cli *cli);     /* the exit code */

#endif
