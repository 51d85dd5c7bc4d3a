/*
 * Line editing on the terminal with history and completion, by libedit. It knows nothing of the broker: the caller
 * gives a function that completes.
 */
#ifndef SCRIPT_CLIENT_LINE_EDIT_H
#define SCRIPT_CLIENT_LINE_EDIT_H

#include "base/buf.h"

struct edit;

struct edit_options {
    /* Adds the completions of the last name in `before`, the text up to the cursor, one a line. */
    void (*complete)(void *arg, slice before, struct buf *names);
    void *arg;
};

/* Takes over the terminal of standard input and output. History is kept in $XDG_STATE_HOME/lignum_history, or else in
 * ~/.lignum_history. NULL when the terminal does not support it. */
struct edit *edit_new(const struct edit_options *o);
void edit_free(struct edit *e);

/* One line, without its newline; valid until the next call. 0; -EINTR after Ctrl-C; -EPIPE at the end (Ctrl-D). */
int edit_read(struct edit *e, const char *prompt, slice *line);

#endif
