/*
 * The command line: what to run, and with what.
 *
 * Most flags are other names for keys of lignum.lua. They end up in `set`, which takes precedence over the file, so
 * nothing else needs to know of flags.
 *
 * To add a command that talks to a node over HTTP: a file in scripts/command (scripts/lignum/command.lua says how); all
 * words from its name on go there as they are, and so does all about help. To add one that works on files or a socket
 * of this host: a file in core/command with a function (const struct cli *) -> exit code, a line in `commands` of
 * cli.c, and its description in scripts/command/core.lua.
 */
#ifndef COMMAND_CLI_H
#define COMMAND_CLI_H

#include "command/arguments.h"

/* The commands that need the whole node, and those in Lua. */
struct cli_node {
    int (*serve)(const struct cli *cli);
    int (*check)(const struct cli *cli);
    int (*test)(const struct cli *cli);
    int (*scripted)(const struct cli *cli);
};

/* 0; or -1, after one sentence on standard error that names the flag. */
int cli_parse(int argc, char **argv, const struct cli_node *node, struct cli *out);

#endif
