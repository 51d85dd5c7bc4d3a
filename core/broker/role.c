#include "broker/role.h"

int role_init_alone(struct role *r, struct store *s)
{
    struct state *state = store_state(s);
    state_led_add(state, ++state->epoch);
    int rc = store_save_state(s);
    if (rc < 0)
        return rc;
    *r = (struct role){.kind = ROLE_ALONE, .epoch = state->epoch, .store = s};
    return 0;
}

const char *role_name(const struct role *r)
{
    switch (r->kind) {
    case ROLE_ALONE:
        return "alone";
    }
    return "unknown";
}
