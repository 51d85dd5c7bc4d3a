/*
 * The offline commands. They take the directory's lock shared, so a running broker is refused, print to stdout, and
 * return the exit code.
 */
#ifndef COMMAND_OFFLINE_H
#define COMMAND_OFFLINE_H

#include <stdint.h>

#include "base/slice.h"

int store_verify(const char *path);                                          /* 1 when anything is damaged */
int store_dump(const char *path, slice topic, uint64_t from, uint64_t to);   /* one JSON line a message */

#endif
