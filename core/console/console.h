/*
 * The console: a Lua REPL on a Unix socket of mode 0600. The server side (console.c accepts clients, session.c serves
 * one) runs each line as a task of the broker; the client (command/client.h) does the line editing.
 *
 * Frames (net/frame.h), client to server: 'L' Lua to run; 'C' text to complete, up to the cursor; 'I' interrupt the
 * running line. Server to client: 'H' hello, a line of text, as the first frame; 'O' output of print; then for each
 * 'L' one of 'R' the result, printed, 'E' an error, or 'M' more wanted: the client sends all of it again with a
 * further line; for each 'C' one 'C', completions of the name before the cursor, one a line. 'E' instead of 'H'
 * refuses the client. A payload has at most CONSOLE_FRAME_MAX bytes.
 *
 * One 'L' at a time: a second one before the first is answered gets an 'E'. Output that the client does not read makes
 * the line wait; a client that leaves more than CONSOLE_UNSENT_MAX unread is not listened to until it reads.
 */
#ifndef CONSOLE_CONSOLE_H
#define CONSOLE_CONSOLE_H

#include "script/vm/task.h"
#include "script/vm/vm.h"

struct console;

/* Binds the socket. One of a dead process is replaced; one of a live process, or a file that is no socket, is
 * -EADDRINUSE; a path of more than 107 bytes is -ENAMETOOLONG. Clients of other users than the broker's own and root
 * are refused; all are logged with pid and uid. Uses the services of the VM (script_attach). */
int console_listen(struct vm *vm, struct loop *loop, const char *path, struct console **out);

/* Steps of the turn: before tasks run, take lines; after, write output and close sessions whose client has gone. */
void console_receive(struct console *c);
void console_send(struct console *c);

/* Ends what its sessions run and removes the socket. */
void console_free(struct console *c);

#endif
