/* Why a group delivers nothing fresh. */
#include "base/say.h"
#include "broker/group/groups_reader.h"
#include "broker/group/groups_struct.h"

static const char *reason_of(const struct delivery *e)
{
    if (is_dying(e))
        return "dying";
    return e->state == DELIVERY_LEASED ? "leased" : e->state == DELIVERY_DELAYED ? "delayed" : "ready";
}

bool groups_blocked(struct held_group *g, struct topic *t, struct blocked *out)
{
    const struct group *s = &g->state;
    struct message m;
    uint32_t held;
    const struct delivery *e = group_is_blocked(s) ? deliveries_foremost(&s->out, s->settled.cursor, &held) : NULL;
    if (e == NULL)
        return false;
    bool leased = e->state == DELIVERY_LEASED, delayed = e->state == DELIVERY_DELAYED && !is_dying(e);
    *out = (struct blocked){.offset = e->offset, .reason = reason_of(e), .consumer = "", .held = held};
    out->until_ms = leased || delayed ? e->at_ms : 0;
    if (leased && e->consumer < s->consumer_count)
        out->consumer = s->consumers[e->consumer]->name;
    if (s->settings.order == ORDER_KEY && e->key != 0 &&
        reader_message(reader_of(g, t), e->offset, e->offset + 1, 1, &m) == 0)
        out->key = m.key;
    return true;
}

void blocked_say(struct held_group *g, struct topic *t)
{
    struct blocked b;
    if (g->state.out.count < GROUP_AHEAD_MAX / 2)
        g->said_blocked = false;
    if (g->said_blocked || !groups_blocked(g, t, &b))
        return;
    struct buf consumer = {0};
    say_field(&consumer, "consumer", slice_from(b.consumer));
    say_warn("groups", "a group is blocked: %d messages are leased, delayed or held behind their keys topic=%s "
             "group=%s offset=%llu reason=%s%.*s held=%u", GROUP_AHEAD_MAX, g->topic_name, g->name,
             (unsigned long long)b.offset, b.reason, SLICE_ARGS(buf_slice(&consumer)), b.held);
    buf_fini(&consumer);
    g->said_blocked = true;
}
