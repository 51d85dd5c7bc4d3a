/*
 * The locks and signals of all scripts (l_sync.c), one of the services. A lock exists while a task holds it, and a task
 * has ended before its Lua state is closed; the objects of a state that is closed give their locks back.
 */
#ifndef SCRIPT_STD_SYNC_H
#define SCRIPT_STD_SYNC_H

struct sync;

struct sync *sync_new(void);
void sync_free(struct sync *sync);      /* after all Lua states */

#endif
