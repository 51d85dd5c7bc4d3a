/*
 * The client side of the command line: subcommands that talk to a node over HTTP. Each is a file in scripts/command/,
 * which scripts/lignum/command.lua runs. They see what all scripts see (api.lua), outside of any task and without
 * budget or cap, and the module "lignum.system": transfers (l_transfer.c), the terminal and processes (l_system.c).
 */
#ifndef SCRIPT_CLIENT_H
#define SCRIPT_CLIENT_H

/* Runs the command line `words`, the name of the command first. The exit code, after one sentence if it is not 0. */
int client_run(const char *scripts, int count, const char *const *words);

#endif
