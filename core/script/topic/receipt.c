#include "script/topic/receipt.h"

#include "base/buf.h"
#include "base/json.h"
#include "broker/topic/topics.h"
#include "script/message/token.h"
#include "script/vm/vm.h"

static slice durability_name(const struct topic *t)
{
    static const slice names[] = {SLICE("commit"), SLICE("interval"), SLICE("os")};
    return names[t->settings->durability];
}

static slice mark_name(const struct topic *t, const struct mark *mark)
{
    return mark == &t->peers ? SLICE("peers") : mark == &t->disk ? SLICE("disk") : SLICE("written");
}

static uint32_t mark_copies(const struct topic *t, const struct mark *mark)
{
    return mark == &t->peers ? role_copies(topics_role(t->topics)) : 1;
}

/* The mark that had passed `next` when the append was answered. The topic's settings may have changed since: a mark at
 * which it acknowledges now need not have it. */
static const struct mark *mark_reached(struct topic *t, uint64_t next, bool peers)
{
    const struct mark *marks[] = {peers ? &t->peers : topic_ack_mark(t), topic_own_mark(t)};
    for (size_t i = 0; i < sizeof(marks) / sizeof(marks[0]); i++)
        if (marks[i]->at >= next)
            return marks[i];
    return &t->written;
}

int push_acknowledgement(lua_State *L, struct topic *t, uint64_t next, bool peers)
{
    const struct mark *mark = mark_reached(t, next, peers);
    lua_pushlstring(L, durability_name(t).p, durability_name(t).n);
    lua_pushlstring(L, mark_name(t, mark).p, mark_name(t, mark).n);
    lua_pushinteger(L, mark_copies(t, mark));
    return 3;
}

static void add_word(struct buf *out, slice key, slice word)
{
    buf_add_slice(out, key);
    buf_add_slice(out, word);
}

static void add_number(struct buf *out, slice key, uint64_t v)
{
    buf_add_slice(out, key);
    buf_add_u64(out, v);
}

static int push_text(lua_State *L, struct buf *out)
{
    lua_pushlstring(L, buf_slice(out).p, buf_size(out));
    vm_scratch_done(out);
    return 1;
}

/* The receipt of the original interface, with the words that its clients know. */
static int push_original(lua_State *L, struct topic *t, const struct receipt *r)
{
    struct buf *out = vm_scratch(vm_of(L));
    buf_add_slice(out, SLICE("{\"status\":\"message commited\",\"data\":"));
    if (!json_plain(out, r->data))
        json_string(out, r->data);
    if (!r->unplaced) {
        add_number(out, SLICE(",\"offset\":"), r->first);
        add_number(out, SLICE(",\"epoch\":"), r->epoch);
    }
    if (r->duplicate)
        buf_add_slice(out, SLICE(",\"duplicate\":true"));
    add_word(out, SLICE(",\"durability\":\""), durability_name(t));
    add_word(out, SLICE("\",\"committed\":\""), mark_name(t, mark_reached(t, r->first + r->count, r->peers)));
    buf_add_slice(out, SLICE("\"}\n"));
    return push_text(L, out);
}

/* Every publish is answered by one, so it is written directly, not as a table for the encoder. No name or word in it
 * needs an escape. */
int push_receipt(lua_State *L, struct topic *t, const struct receipt *r)
{
    if (r->data.p != NULL)
        return push_original(L, t, r);
    const struct mark *mark = mark_reached(t, r->first + r->count, r->peers);
    struct buf *out = vm_scratch(vm_of(L));
    add_word(out, SLICE("{\"topic\":\""), slice_from(t->name));
    buf_add_char(out, '"');
    if (!r->unplaced) {
        add_number(out, SLICE(",\"first\":"), r->first);
        add_number(out, SLICE(",\"next\":"), r->first + r->count);
        add_number(out, SLICE(",\"count\":"), r->count);
        add_number(out, SLICE(",\"epoch\":"), r->epoch);
        buf_add_slice(out, SLICE(",\"next_token\":\""));
        token_write(out, r->epoch, r->first + r->count, t->id.offset);
        buf_add_char(out, '"');
    }
    if (r->duplicate)
        buf_add_slice(out, SLICE(",\"duplicate\":true"));
    add_word(out, SLICE(",\"durability\":\""), durability_name(t));
    add_word(out, SLICE("\",\"committed\":\""), mark_name(t, mark));
    add_number(out, SLICE("\",\"copies\":"), mark_copies(t, mark));
    buf_add_slice(out, SLICE("}\n"));
    return push_text(L, out);
}
