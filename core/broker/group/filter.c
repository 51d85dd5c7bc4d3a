#include "broker/group/filter.h"

#include "base/limits.h"

const char *filter_check(slice filter)
{
    slice name, value;
    if (filter.n > GROUP_FILTER_MAX)
        return "must have at most 1024 bytes: names, values and 5 for each";
    while (header_read(&filter, &name, &value))
        if (name.n == 0 || (name.p[0] == 'h' ? name.n == 1 : name.n > 1 || (name.p[0] != 'k' && name.p[0] != 'f')))
            return "has a condition that is not understood";
    return filter.n == 0 ? NULL : "is not a list of conditions";
}

static bool has_header(slice headers, slice wanted, slice value)
{
    slice name, its;
    while (header_read(&headers, &name, &its))
        if (slice_eq(name, wanted) && slice_eq(its, value))
            return true;
    return false;
}

bool filter_takes(slice filter, const struct message *m)
{
    slice name, value;
    while (header_read(&filter, &name, &value)) {
        if (name.p[0] == 'k' && (m->key.p == NULL || !slice_eq(m->key, value)))
            return false;
        if (name.p[0] == 'h' && !has_header(m->headers, slice_skip(name, 1), value))
            return false;
    }
    return true;
}

slice filter_function(slice filter)
{
    slice name, value;
    while (header_read(&filter, &name, &value))
        if (name.p[0] == 'f')
            return value;
    return SLICE("");
}
