#include "script/topic/topic_handle.h"

#include <errno.h>
#include <string.h>

#include "base/err.h"
#include "script/bind/object.h"
#include "script/bind/result.h"
#include "script/vm/task.h"
#include "script/vm/vm.h"

struct topic_handle *handle_check(lua_State *L, const char *usage)
{
    return object_check(L, 1, KIND_TOPIC, usage);
}

slice handle_name(const struct topic_handle *h)
{
    return slice_of(h->name, h->name_size);
}

/* No script and no client sees the records of access tokens: they hold digests of secrets. Those of subscriptions hold
 * the key that signs, which only the routes that write them see. */
static bool is_secret(slice name, bool internal)
{
    return slice_eq(name, SLICE(ACCESS_LOG_NAME)) || (!internal && slice_eq(name, SLICE(STREAMS_LOG_NAME)));
}

/* `how`: whether it finds a topic that is gone, and internal ones. */
static int find(lua_State *L, slice name, const struct topic_handle *how, struct topic **out)
{
    struct topic *t = topics_find(vm_services(L)->topics, name);
    int rc = t != NULL ? 0 : topics_find_unopened(vm_services(L)->topics, name, &t);
    if (rc == -ERR_UNKNOWN_TOPIC && !how->internal && !topic_name_ok(name))
        return -ERR_BAD_TOPIC;
    if (rc == 0 && t->gone && !how->gone_too)
        return -ERR_UNKNOWN_TOPIC;
    if (rc == 0)
        *out = t;
    return rc;
}

int name_find(lua_State *L, slice name, struct topic **out)
{
    static const struct topic_handle plain = {0};
    return is_secret(name, false) ? -ERR_FORBIDDEN : find(L, name, &plain, out);
}

int handle_find(lua_State *L, struct topic_handle *h, struct topic **out)
{
    struct topic *t = h->found ? topic_deref(vm_services(L)->topics, h->ref) : NULL;
    bool secret = is_secret(handle_name(h), h->internal);
    bool usable = t != NULL && !secret && (!t->gone || h->gone_too);
    int rc = secret ? -ERR_FORBIDDEN : usable ? 0 : find(L, handle_name(h), h, &t);
    h->found = rc == 0;
    if (rc < 0)
        return rc;
    h->ref = topic_ref(t);
    *out = t;
    return 0;
}

int name_fail(lua_State *L, slice name, int rc)
{
    if (rc == -ERR_UNKNOWN_TOPIC)
        return push_fail_because(L, rc, "there is no topic %.*s", SLICE_ARGS(name));
    if (rc == -ERR_FORBIDDEN)
        return push_fail_because(L, rc, "%.*s holds secrets and is read by nobody", SLICE_ARGS(name));
    if (rc == -ERR_STORAGE || rc == -ENOSPC)
        return push_fail_because(L, rc, "the directory of topic %.*s cannot be made on this node, which tries again; "
                                 "its log says why", SLICE_ARGS(name));
    return push_fail(L, rc);
}

int handle_fail(lua_State *L, const struct topic_handle *h, int rc)
{
    return name_fail(L, handle_name(h), rc);
}

struct topic_handle *handle_new(lua_State *L, slice name)
{
    struct topic_handle *h = object_new(L, KIND_TOPIC, sizeof(*h) + name.n + 1, 0);
    h->name_size = name.n;
    memcpy(h->name, name.p, name.n);
    return h;
}

void push_topic_handle(lua_State *L, const struct topic *t)
{
    struct topic_handle *h = handle_new(L, slice_from(t->name));
    h->ref = topic_ref(t);
    h->found = true;
}

int wait_readable(lua_State *L, struct topic *t, uint64_t offset, uint32_t ms, lua_KFunction cont)
{
    struct task *self = task_self(L);
    int rc = task_linger(self);
    if (rc < 0)
        return push_fail_because(L, rc, TOO_MANY_WAIT);
    task_may_stop(self);
    task_may_leave(self);
    return task_park_on(L, self, &t->readable, offset + 1, ms, 0, cont);
}
