/*
 * `lignum console`: connects to a broker's Unix socket and talks to its REPL. On a terminal with line editing, history
 * and completion (command/line_edit.h); otherwise it runs standard input as one script. What is printed goes to
 * standard output, errors to standard error. Ctrl-C interrupts what runs; a second one, unanswered, leaves with 130.
 */
#ifndef COMMAND_CLIENT_H
#define COMMAND_CLIENT_H

/* Runs `code`, or the terminal or standard input when it is NULL. The exit code: 0; 1 when Lua raised an error; 69 when
 * nobody listens, or no longer. */
int console_client(const char *path, const char *code);

#endif
