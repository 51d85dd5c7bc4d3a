#include "command/cli.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/say.h"
#include "base/slice.h"
#include "command/client.h"
#include "command/dump.h"
#include "command/token.h"
#include "command/verify.h"
#include "net/secret.h"

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

/* Of its arguments, a regular file is a script, and anything else the node's socket. */
static int console(const struct cli *cli)
{
    const char *path = console_path(), *script = NULL;
    for (unsigned i = 0; i < cli->arg_count; i++) {
        struct stat st;
        bool file = stat(cli->args[i], &st) == 0 && S_ISREG(st.st_mode);
        *(file ? &script : &path) = cli->args[i];
    }
    if (script != NULL && cli->eval != NULL) {
        fprintf(stderr, "lignum console: -e and the script %s: only one of them\n", script);
        return EXIT_USAGE;
    }
    return script == NULL ? console_client(path, cli->eval) : console_script(path, script);
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
    {"test", NULL, 0, 0, ""},              /* core/test.c reads its words */
    {"verify", verify, 1, 1, "usage: lignum verify DATA"},
    {"dump", dump, 2, 4, "usage: lignum dump DATA TOPIC [FROM [TO]]"},
    {"console", console, 0, 2, "usage: lignum console [PATH | https://HOST:PORT] [SCRIPT | -e CODE]"},
    {"secret", secret, 1, 1, "usage: lignum secret new"},
    {"token", token_command, 1, 2, TOKEN_USAGE},
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

static const struct command *command_find(const char *word)
{
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
        if (strcmp(commands[i].name, word) == 0)
            return &commands[i];
    return NULL;
}

static bool has_word(const char *const *words, const char *wanted)
{
    for (; *words != NULL; words++)
        if (strcmp(*words, wanted) == 0)
            return true;
    return false;
}

static bool has_url(const char *const *words)
{
    for (; *words != NULL; words++)
        if (strncmp(*words, "https://", 8) == 0 || strncmp(*words, "http://", 7) == 0)
            return true;
    return false;
}

/* Whether the words from the command on are for scripts/command. `token` and `console` are there, too, but for what
 * needs no HTTP. */
static bool is_scripted(const char *const *words)
{
    if (command_find(words[0]) == NULL)
        return true;
    if (strcmp(words[0], "console") == 0)
        return words[1] != NULL && (has_url(words + 1) || has_word(words + 1, "--context"));
    return strcmp(words[0], "token") == 0 && (words[1] == NULL || strcmp(words[1], "new") != 0) &&
           !has_word(words, "--console");
}

/* The first word that is no flag names the command, the others are its arguments. */
static int word_apply(struct cli *out, const struct command **command, const char *word)
{
    if (*command == NULL) {
        *command = command_find(word);
        return 0;
    }
    if (out->arg_count == (*command)->args_max)
        return mistake((*command)->usage, word);
    out->args[out->arg_count++] = word;
    return 0;
}

/* Everything else about the command line is said by the command: scripts/lignum/command.lua, core/test.c. */
static int hand_over(struct cli *out, int (*run)(const struct cli *cli), int count, const char *const *words)
{
    if (out->set_count > 0 || out->config != NULL)
        return mistake("flags of a node do not go before this command", words[0]);
    out->run = run;
    out->words = words;
    out->word_count = count;
    return 0;
}

/* `lignum --help`, `lignum NAME --help` */
static bool asks_for_help(struct cli *out, const struct cli_node *node, const char *word,
                          const struct command *command)
{
    static const char *words[] = {"help", NULL, NULL};
    if (strcmp(word, "--help") != 0 && strcmp(word, "-h") != 0)
        return false;
    words[1] = command == NULL ? NULL : command->name;
    out->run = node->scripted;
    out->words = words;
    out->word_count = command == NULL ? 1 : 2;
    return true;
}

int cli_parse(int argc, char **argv, const struct cli_node *node, struct cli *out)
{
    *out = (struct cli){.to = UINT64_MAX};
    const struct command *command = NULL;
    for (int i = 1; i < argc; i++) {
        const char *value = NULL;
        if (asks_for_help(out, node, argv[i], command))
            return 0;
        const char *const *words = (const char *const *)argv + i;
        bool first = argv[i][0] != '-' && command == NULL;
        if (first && is_scripted(words))
            return hand_over(out, node->scripted, argc - i, words);
        if (first && strcmp(argv[i], "test") == 0 && !has_word(words, "--help") && !has_word(words, "-h"))
            return hand_over(out, node->test, argc - i, words);
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
            return 0;                      /* version: the rest does not matter */
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
