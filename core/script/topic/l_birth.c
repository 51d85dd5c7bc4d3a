#include "script/topic/l_birth.h"

#include "base/err.h"
#include "script/bind/arg.h"
#include "store/format/record.h"

/* Sorted, so that the same labels have the same bytes: one pass for each name, of which there are few. */
static void write_labels(lua_State *L, int table, struct buf *out, const char *usage)
{
    slice last = {0};
    for (;;) {
        slice least = {0};
        lua_pushnil(L);
        while (lua_next(L, table)) {
            if (lua_type(L, -2) != LUA_TSTRING || lua_type(L, -1) != LUA_TSTRING)
                arg_fail(L, usage, "labels must be a table of strings");
            slice name;
            name.p = lua_tolstring(L, -2, &name.n);
            bool later = last.p == NULL || slice_compare(name, last) > 0;
            if (later && (least.p == NULL || slice_compare(name, least) < 0))
                least = name;
            lua_pop(L, 1);
        }
        if (least.p == NULL)
            return;
        slice value;
        lua_pushlstring(L, least.p, least.n);
        lua_rawget(L, table);
        value.p = lua_tolstring(L, -1, &value.n);
        if (buf_size(out) + least.n + value.n <= LABELS_SIZE_MAX)
            header_write(out, least, value);
        else
            arg_fail(L, usage, "labels have at most %d bytes", LABELS_SIZE_MAX);
        lua_pop(L, 1);
        last = least;
    }
}

int birth_check(lua_State *L, int index, struct buf *out, struct topic_birth *birth, const char *usage)
{
    int labels = 0;
    slice source = {0};
    const struct arg_field fields[] = {
        {"labels", ARG_TABLE, &labels}, {"source", ARG_TEXT, &source}, {NULL, ARG_END, NULL}};
    if (lua_isnoneornil(L, index))
        return 0;
    arg_fields(L, index, fields, usage);
    if (source.p != NULL && !topic_id_read(source, &birth->source))
        return -ERR_UNKNOWN_TOPIC;
    if (labels != 0)
        write_labels(L, labels, out, usage);
    birth->labels = buf_slice(out);
    return 0;
}

bool birth_is(const struct topic *t, const struct topic_birth *birth)
{
    struct topic_birth b = topic_birth(t);
    return topic_id_eq(b.source, birth->source) && slice_eq(b.labels, birth->labels);
}

void push_labels(lua_State *L, const struct topic *t)
{
    slice name, value, rest = topic_birth(t).labels;
    lua_newtable(L);
    while (header_read(&rest, &name, &value)) {
        lua_pushlstring(L, name.p, name.n);
        lua_pushlstring(L, value.p, value.n);
        lua_rawset(L, -3);
    }
}
