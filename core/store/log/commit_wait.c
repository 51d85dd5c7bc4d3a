#include "store/log/commit_wait.h"

#include "base/clock.h"
#include "base/least.h"

#define QUICK_NS    (NS_PER_MS / 10)     /* below that, halves that overlap are worth more: doc/why/010 */
#define WAIT_MAX_NS (5 * NS_PER_MS)

enum { VAIN_MAX = 6 };                   /* a pause is at most 2^6 - 2 rounds */

void commit_wait_add(struct commit_wait *g)
{
    g->waiting++;
    g->came_ns = 0;
}

void commit_wait_note_time(struct commit_wait *g, uint64_t now_ns)
{
    if (g->came_ns == 0)
        g->came_ns = now_ns;
}

bool commit_wait_waits(struct commit_wait *g, uint64_t now_ns)
{
    bool waits = g->waiting > 0 && g->waiting < g->before + g->covered && now_ns < g->until_ns;
    g->waited |= waits;
    return waits;
}

/* Either all came in that time, or only those who came meanwhile. Waits in vain are tried ever more rarely: while the
 * others come fast, each wait looks worthwhile, and one who thinks for longer is waited for each time in vain. */
static void learn(struct commit_wait *g, uint64_t now_ns)
{
    bool vain = g->waiting < g->before + g->covered;
    unsigned came = vain ? g->waiting - g->before : g->waiting;
    g->pace_ns = (now_ns - g->ended_ns) / (came > 0 ? came : 1);
    g->vain = !vain ? 0 : g->vain < VAIN_MAX ? g->vain + 1 : VAIN_MAX;
    g->pause = vain ? (1U << g->vain) - 2 : 0;    /* 0, 2, 6, ... rounds: chance may spoil one */
}

void commit_wait_begin(struct commit_wait *g, uint64_t now_ns)
{
    if (g->waited)
        learn(g, now_ns);
    else if (g->pause > 0)
        g->pause--;
    g->waited = false;
    g->covered = g->waiting;
    g->waiting = 0;
    g->began_ns = g->came_ns = now_ns;
}

/* Those who came meanwhile were answered after the round before. A few late ones do not tell. */
static void measure(struct commit_wait *g)
{
    if (g->before > 0 && 4 * g->before >= g->covered)
        g->pace_ns = (g->came_ns - g->began_ns) / g->before;
}

void commit_wait_end(struct commit_wait *g, uint64_t now_ns, uint64_t took_ns)
{
    uint64_t usual_ns = least(took_ns, g->took_ns);    /* one that stalled says nothing about the next */
    uint64_t most_ns = least(usual_ns / 2, WAIT_MAX_NS);
    commit_wait_note_time(g, now_ns);
    g->before = g->waiting;
    measure(g);
    g->took_ns = took_ns;
    g->ended_ns = now_ns;
    bool in_time = g->pace_ns * (g->before + g->covered) <= most_ns;   /* all of them, as they come together then */
    g->until_ns = in_time && g->pause == 0 && usual_ns >= QUICK_NS ? now_ns + most_ns : 0;
}
