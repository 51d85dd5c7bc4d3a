/*
 * The command line. Flags are other names for keys of lignum.lua, so most of them end up in `set`, which wins over the
 * file; nothing else needs to know that there were flags.
 */
#ifndef COMMAND_CLI_H
#define COMMAND_CLI_H

#include <stdint.h>

enum { CLI_SET_MAX = 64 };

enum cli_command { CLI_SERVE, CLI_CHECK, CLI_VERIFY, CLI_DUMP, CLI_CONSOLE, CLI_HELP, CLI_VERSION };

struct cli {
    enum cli_command command;
    const char *config;                    /* -c */
    const char *scripts;                   /* --scripts */
    const char *set[CLI_SET_MAX + 1];      /* "key.path=value", NULL-terminated */
    const char *args[4];                   /* of verify, dump, console */
    unsigned set_count, arg_count;
    const char *eval;                      /* console -e */
    uint64_t from, to;                     /* dump */
};

/* 0; or -1, after one sentence on standard error that names the flag. */
int cli_parse(int argc, char **argv, struct cli *out);
void cli_help(void);

#endif
