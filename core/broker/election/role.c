#include "broker/election/role.h"

#include "base/clock.h"
#include "base/ensure.h"
#include "base/err.h"
#include "base/say.h"

#define TOLD_NS NS_PER_S             /* at least, between two reads of the register that other nodes bring about */

/* ---- what is on disk ---- */

/* An epoch that cannot be saved must not be used, and a failed write leaves the state on disk unknown. */
static void save(struct role *r)
{
    int rc = store_save_state(r->store);
    if (rc < 0)
        say_fatal(EXIT_IO, "role", "the state cannot be written: %s. Nothing more is promised or acknowledged",
                  err_sentence(rc));
}

static void take_epoch(struct role *r, uint64_t epoch, const struct id *leader)
{
    struct state *state = store_state(r->store);
    state->epoch = epoch;
    state->leader = *leader;
    r->epoch = epoch;
}

void role_init_follower(struct role *r, struct store *s)
{
    const struct state *state = store_state(s);
    *r = (struct role){.kind = ROLE_FOLLOWER, .epoch = state->epoch, .store = s};
    r->self = member_of(state->name, &state->incarnation);
}

int role_init_alone(struct role *r, struct store *s)
{
    struct state *state = store_state(s);
    role_init_follower(r, s);
    r->kind = ROLE_ALONE;
    r->synced.confirmed.set.count = 1;
    r->synced.confirmed.set.at[0] = r->self;
    take_epoch(r, state->epoch + 1, &state->incarnation);
    state_led_add(state, r->epoch);
    return store_save_state(s);
}

const char *role_name(const struct role *r)
{
    static const char *const names[] = {"alone", "follower", "leader"};
    return names[r->kind];
}

bool role_lease_valid(const struct role *r, uint64_t now_ns)
{
    return r->kind == ROLE_ALONE || now_ns < r->confirmed_ns + r->lease_ns;
}

void role_expire_lease(struct role *r)
{
    r->expired_ns = clock_ns();
    r->confirmed_ns = 0;
}

/* An answer is true of some moment after its request began, and may have ended before the answer was read: the lease
 * counts from the request. */
static void confirm(struct role *r, uint64_t asked_ns)
{
    if (asked_ns >= r->expired_ns && asked_ns > r->confirmed_ns)
        r->confirmed_ns = asked_ns;
}

/* ---- the register as it is seen ---- */

/* A node that was alone before has an epoch of its own, in which it has seen no register. */
struct register_stamp role_known(const struct role *r)
{
    const struct state *state = store_state(r->store);
    struct register_stamp known = {state->seen_epoch, state->seen_version, state->seen_leader};
    if (state->epoch > known.epoch) {
        known.epoch = state->epoch;
        known.leader = state->leader;
    }
    return known;
}

static bool is_past(const struct role *r, const struct register_stamp *s)
{
    struct register_stamp known = role_known(r);
    return !stamp_follows(s, &known);
}

/* Remembers the highest epoch with its leader, and the highest version. Of two leaders of one epoch it remembers the
 * one that it is told of, because the other one is the one that Consul names. True when something is new, and is to be
 * saved. */
static bool remember(struct role *r, const struct register_stamp *s)
{
    struct state *state = store_state(r->store);
    bool another = s->epoch == state->seen_epoch && !id_is_zero(&s->leader) && !id_eq(&s->leader, &state->seen_leader);
    bool epoch = s->epoch > state->seen_epoch || another, version = s->version > state->seen_version;
    if (epoch) {
        state->seen_epoch = s->epoch;
        state->seen_leader = s->leader;
    }
    if (version)
        state->seen_version = s->version;
    if (epoch || version)
        r->news_ns = clock_ns();
    return epoch || version;
}

void role_resign(struct role *r)
{
    if (r->kind == ROLE_LEADER)
        r->kind = ROLE_FOLLOWER;
    r->synced.proposing = false;
    r->claiming = false;
}

static void depose(struct role *r, const char *why)
{
    if (r->kind != ROLE_LEADER)
        return;
    say_warn("role", "stopped leading epoch=%llu: %s", (unsigned long long)r->epoch, why);
    role_resign(r);
}

bool role_read_is_stale(const struct role *r, const struct synced_register *v, uint64_t asked_ns)
{
    struct register_stamp s = v != NULL ? synced_register_stamp(v) : (struct register_stamp){.epoch = 0};
    return asked_ns < r->news_ns && (v == NULL ? r->has_seen : is_past(r, &s));
}

/* A node that does what a cluster does cannot have written such a number: nothing that is remembered comes of it. */
static bool is_out_of_range(const struct role *r, const struct synced_register *v)
{
    struct register_stamp known = role_known(r);
    uint64_t epoch = v->epoch > v->lost.epoch ? v->epoch : v->lost.epoch;
    uint64_t version = v->version > v->lost.version ? v->version : v->lost.version;
    return epoch > known.epoch + REGISTER_JUMP_MAX || version > known.version + REGISTER_JUMP_MAX;
}

/* There is no register. If a member of the set has no message, nothing was ever acknowledged, and a new register may be
 * made. A non-member's empty log proves nothing: it may not have received the messages. */
static enum verdict see_nothing(struct role *r, const struct holdings *h)
{
    const struct state *state = store_state(r->store);
    bool known = state->seen_epoch > 0 && !(h->empty && state->counts);
    r->seen_index = 0;
    depose(r, "the register is gone");
    r->regressed = known;
    return known ? VERDICT_REGRESSED : VERDICT_EMPTY;
}

/* The register is of this epoch and names this node. If it is neither what is confirmed nor what is proposed, another
 * node wrote it. */
static enum verdict see_ours(struct role *r, const struct synced_register *v, uint64_t asked_ns)
{
    struct synced_set *s = &r->synced;
    if (s->proposing && synced_register_eq(v, &s->proposed)) {
        s->confirmed = s->proposed;
        s->proposing = false;
    } else if (!synced_register_eq(v, &s->confirmed)) {
        depose(r, "another node has written the register");
        return VERDICT_OTHER;
    }
    confirm(r, asked_ns);
    return VERDICT_OURS;
}

enum verdict role_see(struct role *r, const struct synced_register *v, uint64_t index, const struct holdings *h,
                      uint64_t asked_ns)
{
    r->has_seen = r->regressed = r->foreign = r->out_of_range = false;
    r->behind = r->behind && asked_ns < r->told_ns;
    r->news_ns = clock_ns();
    if (v == NULL)
        return see_nothing(r, h);
    r->seen_index = index;
    r->out_of_range = is_out_of_range(r, v);
    if (r->out_of_range) {
        depose(r, "the register's epoch or version is out of range");
        return VERDICT_OUT_OF_RANGE;
    }
    r->has_seen = true;
    r->seen = *v;
    r->foreign = !id_eq(&v->cluster, &store_state(r->store)->cluster);
    if (r->foreign) {
        depose(r, "the register is another cluster's");
        return VERDICT_FOREIGN;
    }
    /* A flag tells of a newer register first: the register that carries it is then older than what is known. */
    struct register_stamp s = synced_register_stamp(v);
    bool news = remember(r, &v->lost);
    r->regressed = is_past(r, &s);
    news = (!r->regressed && remember(r, &s)) || news;
    if (news)
        save(r);
    if (r->regressed) {
        depose(r, "the register is older than it has been: Consul was rolled back (set_regressed)");
        return VERDICT_REGRESSED;
    }
    if (r->kind == ROLE_LEADER && v->epoch == r->epoch && member_eq(&v->leader, &r->self))
        return see_ours(r, v, asked_ns);
    depose(r, "another node leads");
    return VERDICT_OTHER;
}

/* ---- claiming ---- */

static const char does_not_know_topics[] = "this node does not know yet which topics there are";

bool role_eligible(const struct role *r, const struct holdings *h, const char **why)
{
    const struct state *state = store_state(r->store);
    struct register_stamp seen = synced_register_stamp(&r->seen);
    bool behind = r->has_seen && !r->foreign && is_past(r, &seen);
    if (r->kind == ROLE_ALONE)
        *why = "no Consul is configured";
    else if (r->out_of_range)
        *why = "the register's epoch or version is out of range: cluster.adopt() makes another one";
    else if (r->regressed || behind)
        *why = "the register has gone back in time: an unclean claim would make this node's history the cluster's";
    else if (r->foreign)
        *why = "the register is another cluster's";
    else if (state->amnesiac)
        *why = "this node may have forgotten what it acknowledged, and has not caught up since";
    else if (h->lacks_topics)
        *why = does_not_know_topics;
    else if (h->damaged)
        *why = "records on this node's disk are damaged";
    else if (h->unopened)
        *why = "the directory of a topic cannot be opened on this node";
    else if (!r->has_seen && !h->empty)
        *why = "there is no register, and this node holds messages: cluster.adopt() makes one with its cluster id";
    else if (r->has_seen && !members_have(&r->seen.set, &r->self))
        *why = "this node is not in the synced set";
    else
        return true;
    return false;
}

/* Above all that is known. (In a clean claim that is the register's: a node that has promised more has seen more.) */
static uint64_t epoch_next(const struct role *r)
{
    const struct state *state = store_state(r->store);
    uint64_t epoch = r->has_seen ? r->seen.epoch : 0;
    if (state->seen_epoch > epoch)
        epoch = state->seen_epoch;
    return (state->epoch > epoch ? state->epoch : epoch) + 1;
}

static uint64_t version_next(const struct role *r)
{
    uint64_t version = r->has_seen ? r->seen.version : 0, known = store_state(r->store)->seen_version;
    return (known > version ? known : version) + 1;
}

int role_claim(struct role *r, enum claim_kind kind, const struct holdings *h, struct synced_register *out,
               const char **why)
{
    *why = r->kind == ROLE_ALONE                                       ? "no Consul is configured"
           : r->kind == ROLE_LEADER                                    ? "this node leads already"
           : h->lacks_topics                                           ? does_not_know_topics
           : epoch_next(r) > NUMBER_MAX || version_next(r) > NUMBER_MAX ? "there is no higher epoch or version"
                                                                       : NULL;
    if (*why != NULL || (kind == CLAIM_CLEAN && !role_eligible(r, h, why)))
        return -ERR_NOT_ELIGIBLE;
    struct synced_register v = {.version = 0};
    if (r->has_seen)
        v = r->seen;
    v.cluster = store_state(r->store)->cluster;
    v.version = version_next(r);
    v.epoch = epoch_next(r);
    unsigned least = h->copies_min > 1 ? h->copies_min : 1;
    if (kind == CLAIM_UNCLEAN || !r->has_seen) {
        v.set.count = 0;
        members_add(&v.set, &r->self);
    } else if (!member_eq(&r->seen.leader, &r->self) && v.set.count > least) {
        members_remove(&v.set, &r->seen.leader);
    }
    v.leader = r->self;
    if (kind == CLAIM_UNCLEAN)
        v.unclean = v.epoch;
    v.lost = (struct register_stamp){.epoch = 0};
    r->claim = v;
    r->claimed_ns = clock_ns();
    r->claiming = true;
    if (kind == CLAIM_UNCLEAN)
        say_warn("role", "UNCLEAN claim of epoch=%llu: what other nodes hold beyond this one's history is moved aside",
                 (unsigned long long)r->claim.epoch);
    *out = r->claim;
    return 0;
}

int role_lead(struct role *r, const struct synced_register *v, uint64_t index)
{
    struct state *state = store_state(r->store);
    if (r->kind != ROLE_FOLLOWER || !r->claiming || !synced_register_eq(v, &r->claim))
        return -ERR_CONFLICT;
    struct register_stamp s = synced_register_stamp(v);
    if (v->epoch <= state->epoch || is_past(r, &s))
        return -ERR_CONFLICT;        /* since the claim was made, a newer epoch was promised or learned of */
    take_epoch(r, v->epoch, &state->incarnation);
    state_led_add(state, v->epoch);
    remember(r, &s);
    save(r);
    r->kind = ROLE_LEADER;
    r->claiming = r->regressed = r->foreign = r->out_of_range = false;
    r->has_seen = true;
    r->seen = *v;
    r->seen_index = index;
    r->synced = (struct synced_set){.confirmed = *v};
    r->news_ns = clock_ns();
    r->confirmed_ns = 0;
    confirm(r, r->claimed_ns);
    return 0;
}

/* ---- following ---- */

void role_reset_epochs(struct role *r)
{
    struct state *state = store_state(r->store);
    state->epoch = state->seen_epoch = state->seen_version = state->unclean = 0;
    state->led_count = 0;
    state->counts = false;
    state->leader = state->seen_leader = (struct id){{0}};
    r->epoch = 0;
    save(r);
}

void role_told(struct role *r)
{
    uint64_t now = clock_ns();
    if (now - r->told_ns < TOLD_NS)
        return;
    r->told_ns = now;
    r->behind = true;
}

/* A node that lost data/state knows the epoch of its last batch and not who leads it: Consul says that, and an epoch
 * has one leader. A leader's stamp has the version of its last confirmed set. This node may have seen a newer version
 * of the same epoch in Consul already. */
static bool is_old(const struct role *r, const struct register_stamp *by)
{
    const struct state *state = store_state(r->store);
    struct register_stamp s = *by;
    bool known = !id_is_zero(&state->leader);
    bool equal = by->epoch == state->epoch && (!known || id_eq(&by->leader, &state->leader));
    if (s.epoch == state->seen_epoch && s.version < state->seen_version)
        s.version = state->seen_version;
    return (by->epoch <= state->epoch && !equal) || is_past(r, &s);
}

int role_promise(struct role *r, const struct register_stamp *by)
{
    if (r->kind == ROLE_ALONE || is_old(r, by))
        return -ERR_OLD_EPOCH;
    const struct state *state = store_state(r->store);
    bool again = by->epoch == state->epoch && id_eq(&by->leader, &state->leader);
    depose(r, "a leader of a higher epoch has been heard of");
    r->claiming = false;
    if (!remember(r, by) && again)
        return 0;
    take_epoch(r, by->epoch, &by->leader);
    save(r);
    return 0;
}

/* ---- the synced set ---- */

void role_propose(struct role *r, const struct members *set)
{
    struct synced_set *s = &r->synced;
    ENSURE(r->kind == ROLE_LEADER);
    ENSURE(!s->proposing);
    ENSURE(members_have(set, &r->self));
    s->proposed = s->confirmed;
    s->proposed.version++;
    s->proposed.set = *set;
    s->proposing = true;
}

const struct synced_register *role_pending_write(struct role *r)
{
    struct register_stamp known = role_known(r);
    if (r->kind == ROLE_LEADER)
        return r->synced.proposing ? &r->synced.proposed : NULL;
    if (!r->regressed || !r->has_seen || stamp_eq(&r->seen.lost, &known))
        return NULL;
    r->flagged = r->seen;
    r->flagged.lost = known;
    return &r->flagged;
}

bool role_counts(const struct role *r, const struct member *m)
{
    const struct synced_set *s = &r->synced;
    return members_have(&s->confirmed.set, m) || (s->proposing && members_have(&s->proposed.set, m));
}

unsigned role_copies(const struct role *r)
{
    const struct synced_set *s = &r->synced;
    unsigned n = s->confirmed.set.count;
    return s->proposing && s->proposed.set.count < n ? s->proposed.set.count : n;
}
