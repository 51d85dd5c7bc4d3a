/*
 * Line editing on the terminal, by libedit: history and completion. Knows nothing of the broker; completions are asked
 * for through a function.
 */
#ifndef COMMAND_LINE_EDIT_H
#define COMMAND_LINE_EDIT_H

#include "base/buf.h"

struct edit;

struct edit_options {
    /* Adds the names that what stands before the cursor may become, one a line. */
    void (*complete)(void *arg, slice before, struct buf *names);
    void *arg;
};

/* Takes the terminal of standard input and output. History is kept in $XDG_STATE_HOME/lignum_history, or else in
 * ~/.lignum_history. NULL when the terminal cannot do it. */
struct edit *edit_new(const struct edit_options *o);
void edit_free(struct edit *e);

/* One line, without its end; it lives until the next call. 0; -EINTR after Ctrl-C; -EPIPE at the end (Ctrl-D). */
int edit_read(struct edit *e, const char *prompt, slice *line);

#endif
