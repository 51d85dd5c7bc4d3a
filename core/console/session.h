/*
 * One client of the console: its lines and completions become tasks, their results become frames.
 *
 * idle -> running    a line or a completion arrived
 * running -> idle    its task ended
 * Running, the task is *blocked* while it waits in print for the client to take output.
 */
#ifndef CONSOLE_SESSION_H
#define CONSOLE_SESSION_H

#include "script/vm/task.h"
#include "script/vm/vm.h"

struct session;

struct session_options {
    struct vm *vm;
    struct loop *loop;
    int fd;                                         /* taken over; non-blocking */
    unsigned id;                                    /* never used twice */
};

struct session *session_new(const struct session_options *o);
unsigned session_id(const struct session *s);

/* Steps of the turn: before tasks run, and after. */
void session_receive(struct session *s);
bool session_send(struct session *s);               /* false: the client has gone; call session_free */

/* Ends what it runs, and tells the REPL that the session is over. */
void session_free(struct session *s);

#endif
