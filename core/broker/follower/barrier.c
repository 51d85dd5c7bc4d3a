#include "broker/follower/barrier.h"

#include "base/err.h"

int follower_barrier(struct follower *f, slice name, uint64_t *number)
{
    if (f->phase != UPSTREAM_READY || f->failed)
        return -ERR_NO_LEADER;
    if (f->barriers - f->answered.at == BARRIERS_MAX)
        return -ERR_BUSY;
    *number = ++f->barriers;
    struct buf *out = link_begin(f->link, WIRE_BARRIER);
    put_u64(out, *number);
    put_text(out, name);
    link_end(f->link);
    return 0;
}

struct mark *follower_answered(struct follower *f)
{
    return &f->answered;
}

bool follower_reached(const struct follower *f, uint64_t number, struct reached *out)
{
    if (number > f->answered.at || f->answered.at - number >= BARRIERS_MAX)
        return false;
    *out = f->reached[number % BARRIERS_MAX];
    return true;
}

void barrier_reached(struct follower *f, struct wire *w)
{
    uint64_t number = get_u64(w);
    struct reached r = {.applied = get_u64(w)};
    r.known = get_u8(w);
    r.id.epoch = get_u64(w);
    r.id.offset = get_u64(w);
    r.readable = get_u64(w);
    if (!wire_done(w) || number != f->answered.at + 1 || number > f->barriers) {
        upstream_fail(f, "a REACHED is not well formed");
        return;
    }
    f->reached[number % BARRIERS_MAX] = r;
    mark_advance(&f->answered, number);
}

void barrier_confirm(struct follower *f, struct wire *w)
{
    uint64_t number = get_u64(w);
    if (!wire_done(w)) {
        upstream_fail(f, "a CONFIRM is not well formed");
        return;
    }
    put_u64(link_begin(f->link, WIRE_CONFIRMED), number);
    link_end(f->link);
}

void barrier_hang_up(struct follower *f)
{
    mark_fail(&f->answered, -ERR_UNAVAILABLE);
    f->answered.at = f->barriers;
}
