/*
 * Takes from the process what `lignum check` does not need: from then on the kernel refuses (EPERM) to run programs, to
 * open sockets, to make, change or remove files, and to signal others. lignum.lua is run to find its errors, and so are
 * the modules in C that it requires, which the libraries of scripts do not hold back.
 */
#ifndef COMMAND_CONFINE_H
#define COMMAND_CONFINE_H

/* For this process and its children, for good. Where the kernel has no seccomp, nothing changes. */
void confine(void);

#endif
