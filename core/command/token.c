#include "command/token.h"

#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/say.h"
#include "broker/access/access.h"
#include "command/client.h"

static int usage(void)
{
    fputs("lignum: " TOKEN_USAGE "\n", stderr);
    return EXIT_USAGE;
}

/* The last --console, which wins. */
static const char *path_of(const struct cli *cli)
{
    static const char key[] = "console.path=";
    const char *path = console_path();
    for (unsigned i = 0; i < cli->set_count; i++)
        if (strncmp(cli->set[i], key, sizeof(key) - 1) == 0)
            path = cli->set[i] + sizeof(key) - 1;
    return path;
}

/* A literal of Lua. The audit shows it, so usual characters stay as they are. */
static void add_quoted(struct buf *code, const char *text)
{
    static const char usual[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-*?,: ";
    buf_add_char(code, '"');
    for (const char *c = text; *c != '\0'; c++)
        if (memchr(usual, *c, sizeof(usual) - 1) != NULL)
            buf_add_char(code, *c);
        else
            buf_addf(code, "\\%03u", (unsigned)(unsigned char)*c);
    buf_add_char(code, '"');
}

static void add_option(struct buf *code, const char *name, const char *value)
{
    if (value == NULL)
        return;
    buf_addf(code, "%s = ", name);
    add_quoted(code, value);
    buf_add_slice(code, SLICE(", "));
}

/* Runs it on the node; `call` returns nil and a message when it fails. */
static int run(const struct cli *cli, struct buf *call, const char *then)
{
    struct buf code = {0};
    buf_addf(&code, "local done, why = %.*s\n", SLICE_ARGS(buf_slice(call)));
    buf_add_slice(&code, SLICE("if not done then error('lignum token: ' .. why, 0) end\n"));
    buf_addf(&code, "%s%c", then, '\0');
    int rc = console_client(path_of(cli), code.data);
    buf_fini(&code);
    buf_fini(call);
    return rc;
}

static int add(const struct cli *cli)
{
    struct buf call = {0};
    if (cli->arg_count != 2 || cli->topics == NULL || cli->may == NULL)
        return usage();
    buf_add_slice(&call, SLICE("tokens.add("));
    add_quoted(&call, cli->args[1]);
    buf_add_slice(&call, SLICE(", { "));
    add_option(&call, "topics", cli->topics);
    add_option(&call, "may", cli->may);
    add_option(&call, "expires", cli->expires);
    buf_add_slice(&call, SLICE("})"));
    return run(cli, &call, "print(done)");
}

static int revoke(const struct cli *cli)
{
    struct buf call = {0};
    if (cli->arg_count != 2)
        return usage();
    buf_add_slice(&call, SLICE("tokens.revoke("));
    add_quoted(&call, cli->args[1]);
    buf_add_char(&call, ')');
    return run(cli, &call, "");
}

static int list(const struct cli *cli)
{
    struct buf call = {0};
    if (cli->arg_count != 1)
        return usage();
    buf_add_slice(&call, SLICE("tokens.list()"));
    return run(cli, &call,
               "for _, t in ipairs(done) do\n"
               "  print(t.name .. '\\t' .. table.concat(t.topics, ',') .. '\\t' .. table.concat(t.may, ',') .. '\\t'\n"
               "    .. (t.declared and 'lignum.lua' or t.expires or 'never'))\n"
               "end");
}

/* The secret goes to standard output and the line to standard error, so that a shell can keep the one without showing
 * it. */
static int new(const struct cli *cli)
{
    struct buf secret = {0};
    unsigned char hash[ACCESS_HASH_SIZE];
    if (cli->arg_count != 2)
        return usage();
    if (!topic_name_ok(slice_from(cli->args[1]))) {
        fprintf(stderr, "lignum token: a token's name has the form of a topic's: %s\n", err_sentence(-ERR_BAD_TOPIC));
        return EXIT_USAGE;
    }
    access_mint(&secret);
    int rc = access_hash(buf_slice(&secret), hash);
    if (rc == 0) {
        printf("%.*s\n", SLICE_ARGS(buf_slice(&secret)));
        fprintf(stderr, "token \"%s\" { hash = \"sha256:", cli->args[1]);
        for (size_t i = 0; i < sizeof(hash); i++)
            fprintf(stderr, "%02x", hash[i]);
        fputs("\", topics = \"*\", may = { \"read\", \"publish\", \"consume\", \"observe\" } }\n", stderr);
    } else {
        fputs("lignum token: OpenSSL (libcrypto.so.3) is not installed\n", stderr);
    }
    explicit_bzero(secret.data, secret.cap);
    buf_fini(&secret);
    return rc < 0 ? EXIT_UNAVAILABLE : fflush(stdout) == 0 ? 0 : EXIT_IO;
}

int token_command(const struct cli *cli)
{
    static const struct {
        const char *name;
        int (*run)(const struct cli *cli);
    } all[] = {{"new", new}, {"add", add}, {"list", list}, {"revoke", revoke}};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        if (strcmp(cli->args[0], all[i].name) == 0)
            return all[i].run(cli);
    return usage();
}
