/*
 * `lignum dump DATA TOPIC [FROM [TO]]`: prints the messages of one topic of a stopped node, one JSON object a line.
 * TOPIC may be diverged/NAME, for what was set aside. The exit code is 1 for damage or when there is no such topic.
 */
#ifndef COMMAND_DUMP_H
#define COMMAND_DUMP_H

#include <stdint.h>

#include "base/slice.h"

int data_dump(const char *path, slice topic, uint64_t from, uint64_t to);

#endif
