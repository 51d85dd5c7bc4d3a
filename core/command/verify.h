/*
 * `lignum verify DATA`: reads every file of a stopped node's data directory and prints each topic with its flaws. The
 * exit code is 1 when anything is damaged.
 */
#ifndef COMMAND_VERIFY_H
#define COMMAND_VERIFY_H

int data_verify(const char *path);

#endif
