#include "command/cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/slice.h"

static const char help[] =
    "lignum: a durable message log, programmed in Lua\n"
    "\n"
    "  lignum [serve] [-c FILE] [--listen HOST:PORT] [--data DIR] [--name NAME] [--console PATH]\n"
    "                 [--consul HOST:PORT] [--replication HOST:PORT] [--set KEY.PATH=VALUE]... [--scripts DIR]\n"
    "                               runs a node; flags win over the file (default: ./lignum.lua if there is one)\n"
    "  lignum check [-c FILE]       reads the configuration; each error on a line\n"
    "  lignum console [PATH] [-e CODE]\n"
    "                               a Lua console on a running node (default: data/console.sock)\n"
    "  lignum verify DATA           reads every record of a stopped node's data; exit 1 on damage\n"
    "  lignum dump DATA TOPIC [FROM [TO]]\n"
    "                               prints messages [FROM, TO) as JSON, one a line\n"
    "  lignum --help, --version\n"
    "\n"
    "Exit codes: 0 well; 1 damage, no such topic, or an error in Lua; 64 a mistake in flags or configuration;\n"
    "65 the data directory cannot be used; 69 no console; 70 a defect; 74 the disk failed.\n";

struct command {
    const char *name;
    enum cli_command command;
    unsigned args_min, args_max;
    const char *usage;
};

static const struct command commands[] = {
    {"serve", CLI_SERVE, 0, 0, "lignum serve takes flags only"},
    {"check", CLI_CHECK, 0, 0, "lignum check takes flags only"},
    {"verify", CLI_VERIFY, 1, 1, "usage: lignum verify DATA"},
    {"dump", CLI_DUMP, 2, 4, "usage: lignum dump DATA TOPIC [FROM [TO]]"},
    {"console", CLI_CONSOLE, 0, 1, "usage: lignum console [PATH] [-e CODE]"},
    {"help", CLI_HELP, 0, 0, "usage: lignum help"},
};

enum takes { TAKES_CONFIG, TAKES_SCRIPTS, TAKES_EVAL, TAKES_SET, TAKES_KEY, TAKES_NOTHING };

struct flag {
    const char *name;
    enum takes takes;
    const char *key;                       /* of lignum.lua, for TAKES_KEY */
    enum cli_command command;              /* for TAKES_NOTHING */
};

static const struct flag flags[] = {
    {"-c", TAKES_CONFIG, NULL, CLI_SERVE},
    {"--config", TAKES_CONFIG, NULL, CLI_SERVE},
    {"--scripts", TAKES_SCRIPTS, NULL, CLI_SERVE},
    {"-e", TAKES_EVAL, NULL, CLI_SERVE},
    {"--set", TAKES_SET, NULL, CLI_SERVE},
    {"--listen", TAKES_KEY, "listen", CLI_SERVE},
    {"--data", TAKES_KEY, "store.path", CLI_SERVE},
    {"--name", TAKES_KEY, "node.name", CLI_SERVE},
    {"--console", TAKES_KEY, "console.path", CLI_SERVE},
    {"--consul", TAKES_KEY, "cluster.consul.address", CLI_SERVE},
    {"--replication", TAKES_KEY, "cluster.replication.listen", CLI_SERVE},
    {"-h", TAKES_NOTHING, NULL, CLI_HELP},
    {"--help", TAKES_NOTHING, NULL, CLI_HELP},
    {"--version", TAKES_NOTHING, NULL, CLI_VERSION},
};

static int mistake(const char *what, const char *about)
{
    fprintf(stderr, "lignum: %s: %s (lignum --help lists all)\n", about, what);
    return -1;
}

static const struct command *command_find(const char *name)
{
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

/* The flag, and the value that follows an '=' in the same word. */
static const struct flag *flag_find(const char *word, const char **value)
{
    for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
        size_t n = strlen(flags[i].name);
        if (strncmp(word, flags[i].name, n) != 0)
            continue;
        if (word[n] != '\0' && word[n] != '=')
            continue;
        *value = word[n] == '=' ? word + n + 1 : NULL;
        return &flags[i];
    }
    return NULL;
}

/* Lives as long as the process, as argv does. */
static const char *joined(const char *key, const char *value)
{
    size_t n = strlen(key) + strlen(value) + 2;
    char *text = mem_new(n);
    snprintf(text, n, "%s=%s", key, value);
    return text;
}

static int set_add(struct cli *out, const char *entry, const char *flag)
{
    if (out->set_count == CLI_SET_MAX)
        return mistake("given too often", flag);
    out->set[out->set_count++] = entry;
    return 0;
}

static int flag_apply(struct cli *out, const struct flag *f, const char *value)
{
    switch (f->takes) {
    case TAKES_CONFIG:
        out->config = value;
        return 0;
    case TAKES_SCRIPTS:
        out->scripts = value;
        return 0;
    case TAKES_EVAL:
        out->eval = value;
        return 0;
    case TAKES_SET:
        if (strchr(value, '=') == NULL || value[0] == '=')
            return mistake("wants key.path=value", f->name);
        return set_add(out, value, f->name);
    case TAKES_KEY:
        return set_add(out, joined(f->key, value), f->name);
    case TAKES_NOTHING:
        break;
    }
    out->command = f->command;
    return 0;
}

static int arg_add(struct cli *out, const char *word, const struct command **command)
{
    if (*command == NULL) {
        *command = command_find(word);
        if (*command == NULL)
            return mistake("no such command", word);
        out->command = (*command)->command;
        return 0;
    }
    if (out->arg_count == (*command)->args_max)
        return mistake((*command)->usage, word);
    out->args[out->arg_count++] = word;
    return 0;
}

static int offset_parse(const char *text, uint64_t *out)
{
    return slice_u64(slice_from(text), out) < 0 ? mistake("not an offset", text) : 0;
}

static int args_check(struct cli *out, const struct command *command)
{
    if (out->eval != NULL && out->command != CLI_CONSOLE)
        return mistake("goes with console only", "-e");
    if (command == NULL)
        return 0;
    if (out->arg_count < command->args_min)
        return mistake(command->usage, command->name);
    if (out->arg_count > 2 && offset_parse(out->args[2], &out->from) < 0)
        return -1;
    return out->arg_count > 3 ? offset_parse(out->args[3], &out->to) : 0;
}

int cli_parse(int argc, char **argv, struct cli *out)
{
    *out = (struct cli){.command = CLI_SERVE, .to = UINT64_MAX};
    const struct command *command = NULL;
    for (int i = 1; i < argc; i++) {
        const char *value = NULL;
        const struct flag *f = argv[i][0] == '-' ? flag_find(argv[i], &value) : NULL;
        int rc;
        if (f == NULL && argv[i][0] == '-')
            return mistake("no such flag", argv[i]);
        if (f == NULL) {
            rc = arg_add(out, argv[i], &command);
        } else {
            if (f->takes == TAKES_NOTHING && value != NULL)
                return mistake("takes no value", f->name);
            if (f->takes != TAKES_NOTHING && value == NULL && (value = argv[++i]) == NULL)
                return mistake("wants a value", f->name);
            rc = flag_apply(out, f, value);
        }
        if (rc < 0)
            return rc;
        if (out->command == CLI_HELP || out->command == CLI_VERSION)
            return 0;
    }
    return args_check(out, command);
}

void cli_help(void)
{
    fputs(help, stdout);
}
