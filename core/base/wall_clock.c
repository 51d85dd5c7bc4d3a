#include "base/wall_clock.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/say.h"

static int64_t believe(struct wall_clock *c, int64_t wall_ms, uint64_t now_ns)
{
    c->date_ms = wall_ms;
    c->looked_ns = now_ns;
    c->jumped = c->least = false;
    return wall_ms;
}

void wall_clock_begin(struct wall_clock *c, int64_t newest_ms, int64_t wall_ms, uint64_t now_ns, bool set)
{
    believe(c, wall_ms, now_ns);
    int64_t off_ms = wall_ms - newest_ms;
    if (set || newest_ms == 0 || off_ms >= -CLOCK_JUMP_MS)
        return;
    *c = (struct wall_clock){.date_ms = newest_ms, .looked_ns = now_ns, .jumped = true, .least = true,
                             .jump_ms = off_ms, .jumped_ns = now_ns};
    say_warn("clock", "the system's clock is %lld s behind the newest message, and the kernel does not know that it is "
             "right: it is believed if it stays there for %d s, and dates go on from that message until then",
             -(long long)off_ms / MS_PER_S, CLOCK_TRUST_MS / MS_PER_S);
}

int64_t wall_clock_look(struct wall_clock *c, int64_t wall_ms, uint64_t now_ns)
{
    if (c->looked_ns == 0)
        return believe(c, wall_ms, now_ns);
    int64_t date_ms = c->date_ms + (int64_t)((now_ns - c->looked_ns) / NS_PER_MS);
    int64_t off_ms = wall_ms - date_ms;
    if (llabs(off_ms) <= CLOCK_JUMP_MS || (c->least && off_ms > 0)) {
        if (c->jumped)
            say_info("clock", "the system's clock is back");
        return believe(c, wall_ms, now_ns);
    }
    if (!c->jumped || llabs(off_ms - c->jump_ms) > CLOCK_JUMP_MS) {
        c->jumped = true;
        c->jump_ms = off_ms;
        c->jumped_ns = now_ns;
        say_warn("clock", "the system's clock has jumped by %+lld s: it is believed if it stays there for %d s, and "
                 "messages are dated by the clock before until then", (long long)off_ms / MS_PER_S,
                 CLOCK_TRUST_MS / MS_PER_S);
    }
    if (now_ns - c->jumped_ns < CLOCK_TRUST_MS * NS_PER_MS)
        return date_ms;
    say_warn("clock", "the system's clock is believed now: dates jump by %+lld s", (long long)off_ms / MS_PER_S);
    return believe(c, wall_ms, now_ns);
}

int64_t wall_clock_now(struct wall_clock *c)
{
    return wall_clock_look(c, clock_wall_ms(), clock_ns());
}
