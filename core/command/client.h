/*
 * `lignum console`: connects to a broker's Unix socket and talks to its REPL. On a terminal it offers line editing,
 * history and completion (script/client/line_edit.h); otherwise it runs standard input as one script. Output goes to
 * standard output, errors to standard error. Ctrl-C interrupts the running line; a second Ctrl-C before the broker has
 * answered exits with 130.
 */
#ifndef COMMAND_CLIENT_H
#define COMMAND_CLIENT_H

/* The socket of the node that is meant when no path is given: that of a node started in this directory, else that of
 * the service which the package installs. */
const char *console_path(void);

/* Runs `code`; if that is NULL, what the terminal or standard input says. The exit code: 0; 1 when Lua raised an error;
 * 69 when there is no broker, or no more. */
int console_client(const char *path, const char *code);

/* Runs a file. */
int console_script(const char *path, const char *script);

#endif
