#include "command/cli.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/say.h"
#include "base/slice.h"
#include "command/client.h"
#include "command/dump.h"
#include "command/token.h"
#include "command/verify.h"
#include "net/secret.h"

static const char help[] =
    "lignum: a durable message log, programmed in Lua\n"
    "\n"
    "  lignum [serve] [-c FILE] [--listen HOST:PORT] [--data DIR] [--name NAME] [--console PATH]\n"
    "                 [--consul HOST:PORT] [--replication HOST:PORT] [--set KEY.PATH=VALUE]... [--scripts DIR]\n"
    "                               runs a node; flags win over the file (default: ./lignum.lua if there is one)\n"
    "  lignum check [-c FILE]       checks the configuration; prints one error per line\n"
    "  lignum console [PATH] [-e CODE]\n"
    "                               a Lua console on a running node (default: data/console.sock)\n"
    "  lignum verify DATA           reads every record of a stopped node's data; exit 1 on damage\n"
    "  lignum dump DATA TOPIC [FROM [TO]]\n"
    "                               prints messages [FROM, TO) as JSON, one per line\n"
    "  lignum secret new            prints a secret for cluster.replication.secret_file\n"
    "  lignum token new NAME        prints a secret, and the line that declares its access token in lignum.lua\n"
    "  lignum token add NAME --topics PATTERN,... --may ACTION,... [--expires SPAN|TIME] [--console PATH]\n"
    "  lignum token list|revoke NAME [--console PATH]\n"
    "                               access tokens of a running cluster; add prints the secret, once\n"
    "  lignum --help, --version\n"
    "\n"
    "Exit codes: 0 success; 1 damage, no such topic, or an error in Lua; 64 a mistake in flags or configuration;\n"
    "65 the data directory cannot be used; 69 no console; 70 a defect; 74 the disk failed.\n";

static int print_help(const struct cli *cli)
{
    (void)cli;
    fputs(help, stdout);
    return 0;
}

static int print_version(const struct cli *cli)
{
    (void)cli;
    puts("lignum " LIGNUM_VERSION);
    return 0;
}

static int verify(const struct cli *cli)
{
    return data_verify(cli->args[0]);
}

static int dump(const struct cli *cli)
{
    return data_dump(cli->args[0], slice_from(cli->args[1]), cli->from, cli->to);
}

static int console(const struct cli *cli)
{
    return console_client(cli->arg_count > 0 ? cli->args[0] : "data/console.sock", cli->eval);
}

static int secret(const struct cli *cli)
{
    struct buf text = {0};
    if (strcmp(cli->args[0], "new") != 0) {
        fputs("lignum: usage: lignum secret new\n", stderr);
        return EXIT_USAGE;
    }
    secret_mint(&text);
    printf("%.*s\n", SLICE_ARGS(buf_slice(&text)));
    buf_fini(&text);
    return fflush(stdout) == 0 ? 0 : EXIT_IO;
}

struct command {
    const char *name;
    int (*run)(const struct cli *cli);     /* NULL: one of the node's */
    unsigned args_min, args_max;
    const char *usage;
};

static const struct command commands[] = {
    {"serve", NULL, 0, 0, "lignum serve takes flags only"},
    {"check", NULL, 0, 0, "lignum check takes flags only"},
    {"verify", verify, 1, 1, "usage: lignum verify DATA"},
    {"dump", dump, 2, 4, "usage: lignum dump DATA TOPIC [FROM [TO]]"},
    {"console", console, 0, 1, "usage: lignum console [PATH] [-e CODE]"},
    {"secret", secret, 1, 1, "usage: lignum secret new"},
    {"token", token_command, 1, 2, TOKEN_USAGE},
    {"help", print_help, 0, 0, "usage: lignum help"},
};

enum takes {
    TAKES_CONFIG, TAKES_SCRIPTS, TAKES_EVAL, TAKES_SET, TAKES_KEY, TAKES_TOPICS, TAKES_MAY, TAKES_EXPIRES, TAKES_NOTHING
};

struct flag {
    const char *name;
    enum takes takes;
    const char *key;                       /* of lignum.lua, for TAKES_KEY */
    int (*run)(const struct cli *cli);     /* instead of the command, for TAKES_NOTHING */
};

static const struct flag flags[] = {
    {"-c", TAKES_CONFIG, NULL, NULL},
    {"--config", TAKES_CONFIG, NULL, NULL},
    {"--scripts", TAKES_SCRIPTS, NULL, NULL},
    {"-e", TAKES_EVAL, NULL, NULL},
    {"--set", TAKES_SET, NULL, NULL},
    {"--listen", TAKES_KEY, "listen", NULL},
    {"--data", TAKES_KEY, "store.path", NULL},
    {"--name", TAKES_KEY, "node.name", NULL},
    {"--console", TAKES_KEY, "console.path", NULL},
    {"--consul", TAKES_KEY, "cluster.consul.address", NULL},
    {"--replication", TAKES_KEY, "cluster.replication.listen", NULL},
    {"--topics", TAKES_TOPICS, NULL, NULL},
    {"--may", TAKES_MAY, NULL, NULL},
    {"--expires", TAKES_EXPIRES, NULL, NULL},
    {"-h", TAKES_NOTHING, NULL, print_help},
    {"--help", TAKES_NOTHING, NULL, print_help},
    {"--version", TAKES_NOTHING, NULL, print_version},
};

static int mistake(const char *what, const char *about)
{
    fprintf(stderr, "lignum: %s: %s (lignum --help lists all)\n", about, what);
    return -1;
}

/* The flag of a word, and what follows an '=' in the same word. */
static const struct flag *flag_find(const char *word, const char **value)
{
    for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
        size_t n = strlen(flags[i].name);
        if (strncmp(word, flags[i].name, n) != 0 || (word[n] != '\0' && word[n] != '='))
            continue;
        *value = word[n] == '=' ? word + n + 1 : NULL;
        return &flags[i];
    }
    return NULL;
}

static int flag_apply(struct cli *out, const struct flag *f, const char *value)
{
    if (f->takes == TAKES_SET && (strchr(value, '=') == NULL || value[0] == '='))
        return mistake("needs KEY.PATH=VALUE", f->name);
    if ((f->takes == TAKES_SET || f->takes == TAKES_KEY) && out->set_count == CLI_SET_MAX)
        return mistake("too many settings", f->name);
    switch (f->takes) {
    case TAKES_CONFIG:
        out->config = value;
        break;
    case TAKES_SCRIPTS:
        out->scripts = value;
        break;
    case TAKES_EVAL:
        out->eval = value;
        break;
    case TAKES_SET:
        out->set[out->set_count++] = value;
        break;
    case TAKES_KEY: {
        size_t n = strlen(f->key) + strlen(value) + 2;
        char *entry = mem_new(n);          /* lives as long as the process, like argv */
        snprintf(entry, n, "%s=%s", f->key, value);
        out->set[out->set_count++] = entry;
        break;
    }
    case TAKES_TOPICS:
        out->topics = value;
        break;
    case TAKES_MAY:
        out->may = value;
        break;
    case TAKES_EXPIRES:
        out->expires = value;
        break;
    case TAKES_NOTHING:
        out->run = f->run;
        break;
    }
    return 0;
}

/* The first word that is no flag names the command, the others are its arguments. */
static int word_apply(struct cli *out, const struct command **command, const char *word)
{
    if (*command != NULL) {
        if (out->arg_count == (*command)->args_max)
            return mistake((*command)->usage, word);
        out->args[out->arg_count++] = word;
        return 0;
    }
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
        if (strcmp(commands[i].name, word) == 0)
            *command = &commands[i];
    if (*command == NULL)
        return mistake("no such command", word);
    if ((*command)->run == print_help)
        out->run = print_help;
    return 0;
}

int cli_parse(int argc, char **argv, const struct cli_node *node, struct cli *out)
{
    *out = (struct cli){.to = UINT64_MAX};
    const struct command *command = NULL;
    for (int i = 1; i < argc; i++) {
        const char *value = NULL;
        const struct flag *f = argv[i][0] == '-' ? flag_find(argv[i], &value) : NULL;
        int rc;
        if (argv[i][0] != '-')
            rc = word_apply(out, &command, argv[i]);
        else if (f == NULL)
            rc = mistake("no such flag", argv[i]);
        else if (f->takes == TAKES_NOTHING && value != NULL)
            rc = mistake("takes no value", f->name);
        else if (f->takes != TAKES_NOTHING && value == NULL && (value = argv[++i]) == NULL)
            rc = mistake("needs a value", f->name);
        else
            rc = flag_apply(out, f, value);
        if (rc < 0)
            return rc;
        if (out->run != NULL)
            return 0;                      /* help or version: the rest does not matter */
    }
    if (command == NULL)
        command = &commands[0];
    out->run = command->run;
    if (command->run == NULL)
        out->run = strcmp(command->name, "serve") == 0 ? node->serve : node->check;
    if (out->eval != NULL && command->run != console)
        return mistake("is for lignum console only", "-e");
    bool granting = out->topics != NULL || out->may != NULL || out->expires != NULL;
    if (granting && command->run != token_command)
        return mistake("are for lignum token add only", "--topics, --may and --expires");
    if (out->arg_count < command->args_min)
        return mistake(command->usage, command->name);
    for (unsigned i = 2; command->run == dump && i < out->arg_count; i++)
        if (slice_u64(slice_from(out->args[i]), i == 2 ? &out->from : &out->to) < 0)
            return mistake("not an offset", out->args[i]);
    if (out->config == NULL && access("lignum.lua", R_OK) == 0)
        out->config = "lignum.lua";
    return 0;
}
