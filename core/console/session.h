/*
 * One client of the console: its lines and completions become tasks, their results become frames.
 */
#ifndef CONSOLE_SESSION_H
#define CONSOLE_SESSION_H

#include "script/vm/task.h"

struct session;

struct session_options {
    struct vm *vm;
    struct loop *loop;
    int fd;                                         /* taken over */
    unsigned id;                                    /* never used twice */
    void (*on_closed)(void *arg, unsigned id);      /* from the loop: the client has gone; call session_free */
    void *arg;
};

struct session *session_new(const struct session_options *o);
unsigned session_id(const struct session *s);

/* Ends what it runs, and tells the REPL that the session is over. */
void session_free(struct session *s);

#endif
