#include "broker/election/synced_register.h"

#include <stdio.h>

#include "base/ensure.h"
#include "base/err.h"

struct member member_of(const char *name, const struct id *incarnation)
{
    struct member m = {""};
    struct buf text = {0};
    buf_addf(&text, "%s:", name);
    id_format(&text, incarnation);
    ENSURE(buf_size(&text) <= MEMBER_TEXT_MAX);
    memcpy(m.text, text.data, buf_size(&text));
    buf_fini(&text);
    return m;
}

int member_parse(slice text, struct member *out)
{
    struct id id;
    if (text.n <= ID_TEXT_SIZE + 1 || text.n > MEMBER_TEXT_MAX)
        return -ERR_BAD_VALUE;
    size_t name = text.n - ID_TEXT_SIZE - 1;
    if (text.p[name] != ':' || id_parse(slice_skip(text, name + 1), &id) < 0)
        return -ERR_BAD_VALUE;
    for (size_t i = 0; i < name; i++)
        if (text.p[i] <= ' ' || text.p[i] > '~' || text.p[i] == '"' || text.p[i] == '\\' || text.p[i] == '/')
            return -ERR_BAD_VALUE;   /* it stands in JSON, in keys and in logs */
    *out = (struct member){""};
    memcpy(out->text, text.p, text.n);
    return 0;
}

slice member_name(const struct member *m)
{
    slice text = slice_from(m->text);
    return slice_of(text.p, text.n > ID_TEXT_SIZE ? text.n - ID_TEXT_SIZE - 1 : 0);
}

struct id member_incarnation(const struct member *m)
{
    struct id id = {{0}};
    slice text = slice_from(m->text);
    if (text.n > ID_TEXT_SIZE)
        id_parse(slice_skip(text, text.n - ID_TEXT_SIZE), &id);
    return id;
}

bool member_eq(const struct member *a, const struct member *b)
{
    return strcmp(a->text, b->text) == 0;
}

static unsigned members_find(const struct members *set, const struct member *m)
{
    unsigned i = 0;
    while (i < set->count && !member_eq(&set->at[i], m))
        i++;
    return i;
}

bool members_have(const struct members *set, const struct member *m)
{
    return members_find(set, m) < set->count;
}

bool members_add(struct members *set, const struct member *m)
{
    if (set->count == MEMBERS_MAX || members_have(set, m))
        return false;
    set->at[set->count++] = *m;
    return true;
}

bool members_remove(struct members *set, const struct member *m)
{
    unsigned i = members_find(set, m);
    if (i == set->count)
        return false;
    set->at[i] = set->at[--set->count];
    return true;
}

bool members_eq(const struct members *a, const struct members *b)
{
    if (a->count != b->count)
        return false;
    for (unsigned i = 0; i < a->count; i++)
        if (!members_have(b, &a->at[i]))
            return false;
    return true;
}

bool synced_register_eq(const struct synced_register *a, const struct synced_register *b)
{
    return id_eq(&a->cluster, &b->cluster) && a->epoch == b->epoch && a->version == b->version &&
           member_eq(&a->leader, &b->leader) && members_eq(&a->set, &b->set) && a->unclean == b->unclean &&
           stamp_eq(&a->lost, &b->lost);
}

struct register_stamp synced_register_stamp(const struct synced_register *v)
{
    return (struct register_stamp){v->epoch, v->version, member_incarnation(&v->leader)};
}

bool stamp_eq(const struct register_stamp *a, const struct register_stamp *b)
{
    return a->epoch == b->epoch && a->version == b->version && id_eq(&a->leader, &b->leader);
}

bool stamp_follows(const struct register_stamp *later, const struct register_stamp *seen)
{
    if (later->epoch != seen->epoch)
        return later->epoch > seen->epoch && later->version > seen->version;
    return later->version >= seen->version && (id_is_zero(&seen->leader) || id_eq(&later->leader, &seen->leader));
}
