/* Retries that a policy decides (groups.h). */
#include "base/err.h"
#include "broker/group/groups_struct.h"

void groups_decide_retries(struct groups *gs, bool decide)
{
    gs->decides_retries = decide;
}

struct mark *groups_retries(struct groups *gs)
{
    return &gs->retries;
}

void retries_note(struct groups *gs, struct held_group *g, const struct buf *runs)
{
    const struct settle_run *all = (const struct settle_run *)(const void *)runs->data;
    size_t before = buf_size(&g->ended);
    for (size_t i = 0; gs->decides_retries && i < buf_size(runs) / sizeof(all[0]); i++) {
        struct ended e = {all[i].offset, all[i].count, all[i].what};
        if (all[i].decided && buf_size(&g->ended) < GROUP_AHEAD_MAX * sizeof(e))
            buf_add(&g->ended, &e, sizeof(e));
    }
    if (buf_size(&g->ended) > before)
        mark_advance(&gs->retries, gs->retries.at + 1);
}

bool groups_next_ended(struct held_group *g, struct ended *out)
{
    if (buf_size(&g->ended) < sizeof(*out))
        return false;
    memcpy(out, g->ended.data + g->ended.at, sizeof(*out));
    buf_drop(&g->ended, sizeof(*out));
    return true;
}
