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

#include <stdint.h>

enum { CLI_SET_MAX = 64, CLI_ARGS_MAX = 4 };

struct cli {
    int (*run)(const struct cli *cli);     /* returns the exit code */
    const char *config;                    /* -c; NULL: none */
    const char *scripts;                   /* --scripts; NULL: where this program finds them */
    const char *set[CLI_SET_MAX + 1];      /* "key.path=value", NULL-terminated */
    const char *args[CLI_ARGS_MAX];        /* those that are not given are NULL */
    unsigned set_count, arg_count;
    const char *eval;                      /* console -e */
    uint64_t from, to;                     /* dump */
    const char *topics, *may, *expires;    /* token add; NULL: not given */
};

/* The two commands that need the whole node. */
struct cli_node {
    int (*serve)(const struct cli *cli);
    int (*check)(const struct cli *cli);
};

/* 0; or -1, after one sentence on standard error that names the flag. */
int cli_parse(int argc, char **argv, const struct cli_node *node, struct cli *out);

#endif
