/*
 * State that the rooms above keep for each VM: one slot each, set at first use, freed with the VM.
 */
#ifndef SCRIPT_VM_SLOT_H
#define SCRIPT_VM_SLOT_H

#include <stddef.h>

enum slot {
    SLOT_KINDS,                   /* bind/object.c: metatables */
    SLOT_ROUTES,                  /* http/routes.c: patterns and counters */
    SLOT_EXCHANGES,               /* http/exchange.c: the pool */
    SLOT_SAID,                    /* http/serve.c: how many failures the log has had */
    SLOT_SAYING,                  /* bind/l_say.c: how many lines the log has had */
    SLOT_SPAWNED,                 /* std/l_tasks.c: how many */
    SLOT_TIMERS,                  /* timers.c */
    SLOTS
};

struct slots {
    struct {
        void *state;              /* NULL: not set yet */
        void (*free)(void *state);
    } at[SLOTS];
};

static inline void *slot_get(const struct slots *slots, enum slot slot)
{
    return slots->at[slot].state;
}

/* Takes `state`, which `free` releases when the VM ends: after its tasks, before its Lua state. */
static inline void slot_set(struct slots *slots, enum slot slot, void *state, void (*free)(void *state))
{
    slots->at[slot].state = state;
    slots->at[slot].free = free;
}

static inline void slots_free(struct slots *slots)
{
    for (int i = SLOTS - 1; i >= 0; i--)
        if (slots->at[i].state != NULL)
            slots->at[i].free(slots->at[i].state);
    *slots = (struct slots){0};
}

#endif
