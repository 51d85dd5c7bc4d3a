/*
 * A command line after cli_parse (cli.h): the command and its arguments.
 */
#ifndef COMMAND_ARGUMENTS_H
#define COMMAND_ARGUMENTS_H

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
    const char *const *words;              /* of test and of a command in scripts/command: its name, and all after it */
    int word_count;
};

#endif
