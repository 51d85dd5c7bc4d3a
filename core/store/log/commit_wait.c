#include "store/log/commit_wait.h"

#include "base/clock.h"
#include "base/least.h"

#define HANDOVER_NS (NS_PER_MS / 10)     /* what a sync costs besides its time: CPU, and two threads that wake up */
#define WAIT_MAX_NS (5 * NS_PER_MS)

enum { TIMEOUTS_MAX = 6 };               /* a pause is at most 2^6 - 2 group commits */

void commit_wait_add(struct commit_wait *w)
{
    w->waiting++;
    w->came_ns = 0;
}

void commit_wait_note_time(struct commit_wait *w, uint64_t now_ns)
{
    if (w->came_ns == 0)
        w->came_ns = now_ns;
}

bool commit_wait_more(struct commit_wait *w, uint64_t now_ns)
{
    bool wait = w->waiting > 0 && w->waiting < w->before + w->covered && now_ns < w->until_ns;
    w->waited |= wait;
    return wait;
}

void commit_wait_begin(struct commit_wait *w, uint64_t now_ns)
{
    if (w->waited) {
        /* Estimate the rate from those that arrived during the wait; without a timeout, that is all of them. One client
         * that pauses longer than the others makes every wait time out, though the rate of the others makes each look
         * worthwhile: so the pause doubles with each timeout in a row. A single one may be chance. */
        bool timeout = w->waiting < w->before + w->covered;
        unsigned came = timeout ? w->waiting - w->before : w->waiting;
        w->pace_ns = (now_ns - w->ended_ns) / (came > 0 ? came : 1);
        w->timeouts = !timeout ? 0 : w->timeouts < TIMEOUTS_MAX ? w->timeouts + 1 : TIMEOUTS_MAX;
        w->pause = timeout ? (1U << w->timeouts) - 2 : 0;      /* 0, 2, 6, ... */
    } else if (w->pause > 0) {
        w->pause--;
    }
    w->waited = false;
    w->covered = w->waiting;
    w->waiting = 0;
    w->began_ns = w->came_ns = now_ns;
}

void commit_wait_end(struct commit_wait *w, uint64_t now_ns, uint64_t took_ns)
{
    uint64_t usual_ns = least(took_ns, w->took_ns);    /* a sync that stalled does not predict the next one */
    uint64_t most_ns = least(usual_ns + least(usual_ns, HANDOVER_NS), WAIT_MAX_NS);
    commit_wait_note_time(w, now_ns);
    w->before = w->waiting;
    /* Batches that arrived meanwhile come from clients that the group commit before has answered: their rate is that at
     * which answered clients return. A few late ones say nothing. */
    if (w->before > 0 && 4 * w->before >= w->covered)
        w->pace_ns = (w->came_ns - w->began_ns) / w->before;
    w->took_ns = took_ns;
    w->ended_ns = now_ns;
    /* True if both halves would arrive in time: once they did, they arrive together. */
    bool in_time = w->pace_ns * (w->before + w->covered) <= most_ns;
    uint64_t wait_ns = least(2 * w->pace_ns * w->covered + usual_ns / 4, most_ns);
    w->until_ns = in_time && w->pause == 0 ? now_ns + wait_ns : 0;
}
