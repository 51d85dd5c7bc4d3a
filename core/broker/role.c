#include "broker/role.h"

#include "base/clock.h"
#include "base/ensure.h"
#include "base/err.h"
#include "base/say.h"

/* ---- what is on disk ---- */

/* An epoch that cannot be written down must not be used, and the state on disk is then unknown. */
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

static void role_init(struct role *r, struct store *s)
{
    const struct state *state = store_state(s);
    *r = (struct role){.kind = ROLE_FOLLOWER, .epoch = state->epoch, .store = s, .unclean = state->unclean};
    r->self = member_of(state->name, &state->incarnation);
}

int role_init_alone(struct role *r, struct store *s)
{
    struct state *state = store_state(s);
    role_init(r, s);
    r->kind = ROLE_ALONE;
    r->synced.now.set.count = 1;
    r->synced.now.set.at[0] = r->self;
    take_epoch(r, state->epoch + 1, &state->incarnation);
    state_led_add(state, r->epoch);
    return store_save_state(s);
}

void role_init_follower(struct role *r, struct store *s)
{
    role_init(r, s);
}

const char *role_name(const struct role *r)
{
    static const char *const names[] = {"alone", "follower", "leader"};
    return names[r->kind];
}

bool role_confirmed(const struct role *r, uint64_t now_ns)
{
    return r->kind == ROLE_ALONE || now_ns < r->confirmed_ns + r->lease_ns;
}

void role_doubt(struct role *r)
{
    r->doubted_ns = clock_ns();
    r->confirmed_ns = 0;
}

/* What is true of the register was so after the question and may have ended before its answer was looked at. */
static void confirm(struct role *r, uint64_t asked_ns)
{
    if (asked_ns >= r->doubted_ns && asked_ns > r->confirmed_ns)
        r->confirmed_ns = asked_ns;
}

/* ---- the register as it is seen ---- */

/* Each write of the register raises its version, and some its epoch: one in which either is lower than it has been is
 * of the past, or of a history that Consul has forgotten part of. -1 then; 0: just what was seen; 1: newer. */
static int seen_compare(const struct role *r, const struct register_value *v)
{
    const struct state *state = store_state(r->store);
    if (v->epoch < state->seen_epoch || v->version < state->seen_version)
        return -1;
    return v->epoch == state->seen_epoch && v->version == state->seen_version ? 0 : 1;
}

/* Remembers the highest epoch and the highest version. True when one is news, and is to be saved. */
static bool seen_note(struct role *r, const struct register_value *v)
{
    struct state *state = store_state(r->store);
    if (v->epoch <= state->seen_epoch && v->version <= state->seen_version)
        return false;
    r->news_ns = clock_ns();
    if (v->epoch > state->seen_epoch)
        state->seen_epoch = v->epoch;
    if (v->version > state->seen_version)
        state->seen_version = v->version;
    return true;
}

void role_resign(struct role *r)
{
    if (r->kind == ROLE_LEADER)
        r->kind = ROLE_FOLLOWER;
    r->synced.asking = false;
    r->claiming = false;
}

static void depose(struct role *r, const char *why)
{
    if (r->kind != ROLE_LEADER)
        return;
    say_warn("role", "stopped leading epoch=%llu: %s", (unsigned long long)r->epoch, why);
    role_resign(r);
}

/* The register is this epoch's and names us. Anything but what we wrote was written by a stranger. */
static enum verdict see_ours(struct role *r, const struct register_value *v, uint64_t asked_ns)
{
    struct synced *s = &r->synced;
    if (s->asking && register_eq(v, &s->asked)) {
        s->now = s->asked;
        s->asking = false;
    } else if (!register_eq(v, &s->now)) {
        depose(r, "somebody else has written the register");
        return VERDICT_OTHER;
    }
    confirm(r, asked_ns);
    return VERDICT_OURS;
}

static enum verdict see_nothing(struct role *r, const struct holdings *h)
{
    bool known = store_state(r->store)->seen_epoch > 0 && !h->empty;
    r->has_seen = false;
    r->seen_index = 0;
    depose(r, "the register is gone");
    r->regressed = known;
    return known ? VERDICT_REGRESSED : VERDICT_EMPTY;
}

static enum verdict refuse(struct role *r, const char *why, enum verdict verdict)
{
    depose(r, why);
    return verdict;
}

bool role_overtaken(const struct role *r, const struct register_value *v, uint64_t asked_ns)
{
    return asked_ns < r->news_ns && (v == NULL ? r->has_seen : seen_compare(r, v) < 0);
}

enum verdict role_see(struct role *r, const struct register_value *v, uint64_t index, const struct holdings *h,
                      uint64_t asked_ns)
{
    r->foreign = false;
    r->news_ns = clock_ns();
    if (v == NULL)
        return see_nothing(r, h);
    bool ours = id_eq(&v->cluster, &store_state(r->store)->cluster);
    r->has_seen = true;
    r->seen = *v;
    r->seen_index = index;
    r->foreign = !ours;
    r->regressed = ours && seen_compare(r, v) < 0;
    if (r->foreign)
        return refuse(r, "the register is another cluster's", VERDICT_FOREIGN);
    if (r->regressed)
        return refuse(r, "the register is older than it has been: Consul was rolled back (set_regressed)",
                      VERDICT_REGRESSED);
    if (seen_note(r, v))
        save(r);
    if (r->kind == ROLE_LEADER && v->epoch == r->epoch && member_eq(&v->leader, &r->self))
        return see_ours(r, v, asked_ns);
    return refuse(r, "somebody else leads", VERDICT_OTHER);
}

/* ---- claiming ---- */

/* Is the register that was last seen older than what another node has told of since? */
static bool is_past(const struct role *r)
{
    return r->has_seen && !r->foreign && seen_compare(r, &r->seen) < 0;
}

bool role_eligible(const struct role *r, const struct holdings *h, const char **why)
{
    const struct state *state = store_state(r->store);
    if (r->kind == ROLE_ALONE)
        *why = "no Consul is configured";
    else if (r->regressed || is_past(r))
        *why = "the register has gone back in time: an unclean claim would make this node's history the cluster's";
    else if (r->foreign)
        *why = "the register is another cluster's";
    else if (state->amnesiac)
        *why = "this node may have forgotten what it acknowledged, and has not caught up since";
    else if (h->damaged)
        *why = "records on this node's disk are damaged";
    else if (!r->has_seen && !h->empty)
        *why = "there is no register, and this node holds messages: cluster.adopt() makes one with its cluster id";
    else if (r->has_seen && !members_have(&r->seen.set, &r->self))
        *why = "this node is not in the synced set";
    else
        return true;
    return false;
}

static void claim_set(struct role *r, enum claim_kind kind, const struct holdings *h, struct register_value *v)
{
    if (kind == CLAIM_UNCLEAN || !r->has_seen) {
        v->set.count = 0;
        members_add(&v->set, &r->self);
        return;
    }
    unsigned least = h->copies_min > 1 ? h->copies_min : 1;
    if (!member_eq(&r->seen.leader, &r->self) && v->set.count > least)
        members_remove(&v->set, &r->seen.leader);
}

/* Above all that is known. (In a clean claim that is the register's: who has promised more has seen more.) */
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

static bool claim_allowed(const struct role *r, enum claim_kind kind, const struct holdings *h, const char **why)
{
    if (kind == CLAIM_CLEAN)
        return role_eligible(r, h, why);
    *why = r->kind == ROLE_ALONE ? "no Consul is configured" : "this node leads already";
    return r->kind == ROLE_FOLLOWER;
}

int role_claim(struct role *r, enum claim_kind kind, const struct holdings *h, struct register_value *out,
               const char **why)
{
    if (!claim_allowed(r, kind, h, why))
        return -ERR_NOT_ELIGIBLE;
    struct register_value v = {.version = 0};
    if (r->has_seen)
        v = r->seen;
    v.cluster = store_state(r->store)->cluster;
    v.version = version_next(r);
    v.epoch = epoch_next(r);
    claim_set(r, kind, h, &v);
    v.leader = r->self;
    r->claim = v;
    r->claimed_ns = clock_ns();
    r->claiming = true;
    r->claiming_unclean = kind == CLAIM_UNCLEAN;
    if (kind == CLAIM_UNCLEAN)
        say_warn("role", "UNCLEAN claim of epoch=%llu: what other nodes hold beyond this one's history is moved aside",
                 (unsigned long long)v.epoch);
    *out = v;
    return 0;
}

int role_lead(struct role *r, const struct register_value *v, uint64_t index)
{
    struct state *state = store_state(r->store);
    if (r->kind != ROLE_FOLLOWER || !r->claiming || !register_eq(v, &r->claim))
        return -ERR_CONFLICT;
    if (v->epoch <= state->epoch || seen_compare(r, v) < 0)
        return -ERR_CONFLICT;        /* more has been promised, or heard of, since the claim was made */
    take_epoch(r, v->epoch, &state->incarnation);
    state_led_add(state, v->epoch);
    state->seen_epoch = v->epoch;
    state->seen_version = v->version;
    if (r->claiming_unclean)
        state->unclean = r->unclean = v->epoch;
    save(r);
    r->kind = ROLE_LEADER;
    r->claiming = r->regressed = r->foreign = false;
    r->has_seen = true;
    r->seen = *v;
    r->seen_index = index;
    r->synced = (struct synced){.now = *v};
    r->news_ns = clock_ns();
    r->confirmed_ns = 0;
    confirm(r, r->claimed_ns);
    return 0;
}

/* ---- following ---- */

void role_forget(struct role *r)
{
    struct state *state = store_state(r->store);
    state->epoch = state->seen_epoch = state->seen_version = state->unclean = 0;
    state->led_count = 0;
    state->leader = (struct id){{0}};
    r->epoch = r->unclean = 0;
    save(r);
}

void role_told(struct role *r, const struct register_value *newest)
{
    if (seen_note(r, newest))
        save(r);
}

int role_promise(struct role *r, const struct promise *p)
{
    struct state *state = store_state(r->store);
    bool equal = p->epoch == state->epoch && id_eq(&p->leader, &state->leader);
#ifdef MUTANT_EQUAL_EPOCH
    equal = p->epoch == state->epoch;
#endif
    if (r->kind == ROLE_ALONE || (p->epoch <= state->epoch && !equal))
        return -ERR_OLD_EPOCH;
    if (p->epoch > state->seen_epoch && p->version < state->seen_version)
        return -ERR_OLD_EPOCH;       /* claimed from a register that Consul had gone back to */
    depose(r, "a leader of a higher epoch has been heard of");
    r->claiming = false;
    bool news = seen_note(r, &(struct register_value){.epoch = p->epoch, .version = p->version});
    if (equal && p->unclean <= state->unclean && !news)
        return 0;
    take_epoch(r, p->epoch, &p->leader);
    if (p->unclean > state->unclean)
        state->unclean = r->unclean = p->unclean;
#ifdef MUTANT_PROMISE_FORGOTTEN
    return 0;
#endif
    save(r);
    return 0;
}

/* ---- the synced set ---- */

void role_ask(struct role *r, const struct members *set)
{
    struct synced *s = &r->synced;
    ENSURE(r->kind == ROLE_LEADER);
    ENSURE(!s->asking);
    ENSURE(members_have(set, &r->self));
    s->asked = s->now;
    s->asked.version++;
    s->asked.set = *set;
    s->asking = true;
}

bool role_counts(const struct role *r, const struct member *m)
{
    const struct synced *s = &r->synced;
    return members_have(&s->now.set, m) || (s->asking && members_have(&s->asked.set, m));
}

unsigned role_copies(const struct role *r)
{
    const struct synced *s = &r->synced;
    unsigned n = s->now.set.count;
    return s->asking && s->asked.set.count < n ? s->asked.set.count : n;
}
