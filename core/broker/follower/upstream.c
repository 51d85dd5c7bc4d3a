#include "broker/follower/upstream.h"

#include <errno.h>
#include <stdio.h>

#include "base/clock.h"

void upstream_fail(struct follower *f, const char *why)
{
    if (f->failed)
        return;
    f->failed = true;
    snprintf(f->why, sizeof(f->why), "%s", why);
}

void upstream_refused(struct follower *f, slice payload)
{
    struct wire w = {.rest = payload};
    slice text = get_text(&w);
    char why[sizeof(f->why)];
    snprintf(why, sizeof(why), "%.*s", SLICE_ARGS(text));
    for (char *c = why; *c != '\0'; c++)    /* it stands between quotes in a line of the log */
        if (*c < ' ' || *c > '~' || *c == '"' || *c == '\\')
            *c = '?';
    upstream_fail(f, why);
}

struct topic *upstream_topic(const struct follower *f, uint32_t slot)
{
    return slot < f->slots ? f->by_slot[slot] : NULL;
}

void upstream_hold(struct follower *f, struct topic *t, uint64_t ns)
{
    uint64_t at = clock_ns() + ns;
    if (list_empty(&f->held) || at < f->held_ns)
        f->held_ns = at;
    t->follow->held = true;
    list_remove(&t->follow->placing);
    list_push(&f->held, &t->follow->placing);
}

bool is_no_room(int rc)
{
    return rc == -ENOSPC || rc == -EDQUOT || rc == -EFBIG;
}

void upstream_hold_without_room(struct follower *f, struct topic *t)
{
    if (!t->follow->no_room)
        say_error("follower", "there is no room in diverged/ for what is to be cut: the topic waits for some topic=%s",
                  t->name);
    t->follow->no_room = true;
    upstream_hold(f, t, HELD_NS);
}
