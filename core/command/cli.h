/*
 * The command line: what to run, and with what.
 *
 * Most flags are other names for keys of lignum.lua. They end up in `set`, which takes precedence over the file, so
 * nothing else needs to know of flags.
 *
 * To add a command: a file in core/command with a function (const struct cli *) -> exit code, a line in `commands` and
 * one in the help text of cli.c.
 */
#ifndef COMMAND_CLI_H
#define COMMAND_CLI_H

#include "command/arguments.h"

/* The two commands that need the whole node. */
struct cli_node {
    int (*serve)(const struct cli *cli);
    int (*check)(const struct cli *cli);
};

/* 0; or -1, after one sentence on standard error that names the flag. */
int cli_parse(int argc, char **argv, const struct cli_node *node, struct cli *out);

#endif
