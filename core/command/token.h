/*
 * `lignum token`: access tokens. `new` makes one for lignum.lua and needs no node; add, list and revoke run on a node,
 * through its console. No secret is ever an argument, which every user of the host could read.
 */
#ifndef COMMAND_TOKEN_H
#define COMMAND_TOKEN_H

#include "command/arguments.h"

#define TOKEN_USAGE \
    "usage: lignum token new NAME, lignum token add NAME --topics PATTERN,... --may ACTION,... [--expires SPAN],\n" \
    "lignum token list, lignum token revoke NAME; --console PATH is the node's (default: data/console.sock)"

int token_command(const struct cli *cli);

#endif
