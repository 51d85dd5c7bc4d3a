/* Calls: what a follower has its leader do, and who may not. */
#include "broker/cluster/cluster_struct.h"
#include "broker/follower/call.h"
#include "broker/leader/peer.h"
#include "unit/broker/cluster/diverge_rig.h"

struct caller {
    struct node_call call;
    int rc;                           /* 1: not ended yet */
    unsigned how;
    char answer[64];
};

static void on_ended(struct node_call *call, int rc, unsigned how, slice answer)
{
    struct caller *c = LIST_OWNER(call, struct caller, call);
    c->rc = rc;
    c->how = how;
    snprintf(c->answer, sizeof(c->answer), "%.*s", SLICE_ARGS(answer));
}

static int ask(struct node *n, struct caller *c, slice what)
{
    *c = (struct caller){.call = {.ended = on_ended}, .rc = 1};
    return cluster_call(n->cluster, what, &c->call);
}

static struct called *take(struct node *n)
{
    struct called *c = NULL;
    WAIT_UNTIL((c = cluster_take_call(n->cluster)) != NULL);
    return c;
}

static void on_left(void *arg)
{
    ++*(unsigned *)arg;
}

TEST(test_calls_are_answered_in_any_order)
{
    struct caller one, two;
    rig_up(2);
    struct node *leader = &rig.nodes[0], *follower = &rig.nodes[1];
    WAIT_UNTIL(ask(follower, &one, SLICE("one")) == 0);
    CHECK_EQ(ask(follower, &two, SLICE("two")), 0);
    struct called *first = take(leader), *second = take(leader);
    CHECK(slice_eq(buf_slice(&first->what), SLICE("one")) && slice_eq(buf_slice(&second->what), SLICE("two")));
    leader_answer_call(second, RETURN_FAILED, SLICE("no"));
    WAIT_UNTIL(two.rc == 0);
    CHECK_EQ(one.rc, 1);
    CHECK_EQ(two.how, RETURN_FAILED);
    leader_answer_call(first, RETURN_DONE, SLICE("yes"));
    WAIT_UNTIL(one.rc == 0);
    CHECK(strcmp(one.answer, "yes") == 0 && strcmp(two.answer, "no") == 0);
    CHECK_EQ(ask(leader, &one, SLICE("one")), -ERR_NO_LEADER);
    rig_down();
}

TEST(test_a_call_that_nobody_waits_for_is_told_so_and_still_counts)
{
    struct caller kept, c;
    unsigned kept_left = 0, left = 0;
    rig_up(2);
    struct node *leader = &rig.nodes[0], *follower = &rig.nodes[1];
    WAIT_UNTIL(ask(follower, &kept, SLICE("kept")) == 0);
    CHECK_EQ(ask(follower, &c, SLICE("what")), 0);
    struct called *first = take(leader), *taken = take(leader);
    first->on_left = taken->on_left = on_left;
    first->arg = &kept_left;
    taken->arg = &left;
    follower_call_leave(&c.call);
    follower_call_leave(&c.call);                    /* once more is nothing */
    WAIT_UNTIL(left == 1);
    CHECK_EQ(kept_left, 0);
    leader_answer_call(first, RETURN_DONE, SLICE(""));
    WAIT_UNTIL(kept.rc == 0);
    struct caller others[CALLS_MAX];
    for (size_t i = 0; i < CALLS_MAX; i++)
        CHECK_EQ(ask(follower, &others[i], SLICE("x")), i < CALLS_MAX - 1 ? 0 : -ERR_TOO_MANY);
    leader_answer_call(taken, RETURN_DONE, SLICE("late"));
    WAIT_UNTIL(ask(follower, &others[CALLS_MAX - 1], SLICE("x")) == 0);
    CHECK_EQ(c.rc, 1);
    for (size_t i = 0; i < CALLS_MAX; i++)
        leader_answer_call(take(leader), RETURN_DONE, SLICE(""));
    WAIT_UNTIL(others[CALLS_MAX - 1].rc == 0);
    rig_down();
}

TEST(test_what_calls_say_is_bounded)
{
    static char bytes[CALL_SIZE_MAX + 1];
    struct caller c[6];
    rig_up(2);
    struct node *leader = &rig.nodes[0], *follower = &rig.nodes[1];
    WAIT_UNTIL(ask(follower, &c[0], slice_of(bytes, CALL_SIZE_MAX)) == 0);
    CHECK_EQ(ask(follower, &c[5], slice_of(bytes, CALL_SIZE_MAX + 1)), -ERR_TOO_LARGE);
    for (size_t i = 1; i < 4; i++)
        CHECK_EQ(ask(follower, &c[i], slice_of(bytes, CALL_SIZE_MAX)), 0);
    CHECK_EQ(ask(follower, &c[4], SLICE("1")), -ERR_TOO_MANY);
    struct called *first = take(leader);
    CHECK_EQ(buf_size(&first->what), CALL_SIZE_MAX);
    leader_answer_call(first, RETURN_DONE, slice_of(bytes, CALL_SIZE_MAX));
    WAIT_UNTIL(c[0].rc == 0);
    CHECK_EQ(ask(follower, &c[4], SLICE("1")), 0);
    for (int i = 0; i < 4; i++)
        leader_answer_call(take(leader), RETURN_DONE, SLICE(""));
    rig_down();
}

/* A follower that does not keep to the bounds is refused, and its connection ends. */
TEST(test_a_leader_takes_no_more_calls_than_a_follower_may_send)
{
    static char bytes[CALL_SIZE_MAX];
    static struct caller c[CALLS_MAX + 1];
    rig_up(2);
    struct node *follower = &rig.nodes[1];
    struct follower *f = follower->cluster->follower;
    for (size_t i = 0; i < 4; i++)
        WAIT_UNTIL(ask(follower, &c[i], slice_of(bytes, CALL_SIZE_MAX)) == 0);
    f->calls_bytes--;
    CHECK_EQ(ask(follower, &c[4], SLICE("1")), 0);
    f->calls_bytes++;
    WAIT_UNTIL(c[0].rc == -ERR_UNAVAILABLE && c[4].rc == -ERR_UNAVAILABLE);
    for (size_t i = 0; i < CALLS_MAX; i++)
        WAIT_UNTIL(ask(follower, &c[i], SLICE("1")) == 0);
    f->calls_open--;
    CHECK_EQ(ask(follower, &c[CALLS_MAX], SLICE("1")), 0);
    f->calls_open++;
    WAIT_UNTIL(c[0].rc == -ERR_UNAVAILABLE && c[CALLS_MAX].rc == -ERR_UNAVAILABLE);
    rig_down();
}

/* A follower that asks much and reads nothing must not cost the leader more than a bound; it learns which are lost. */
TEST(test_answers_that_a_follower_does_not_read_are_bounded)
{
    static char bytes[CALL_SIZE_MAX];
    struct caller c[16];
    unsigned done = 0;
    rig_up(2);
    struct node *leader = &rig.nodes[0], *follower = &rig.nodes[1];
    WAIT_UNTIL(ask(follower, &c[0], SLICE("0")) == 0);
    for (size_t i = 1; i < 16; i++)
        CHECK_EQ(ask(follower, &c[i], SLICE("more")), 0);
    struct called *taken[16];
    for (size_t i = 0; i < 16; i++)
        taken[i] = take(leader);
    struct link *link = taken[0]->peer->link;
    follower->paused = true;
    for (size_t i = 0; i < 16; i++) {
        leader_answer_call(taken[i], RETURN_DONE, slice_of(bytes, sizeof(bytes)));
        CHECK(link_unsent(link) < CALLS_BYTES_MAX + 64 * KIB);
    }
    follower->paused = false;
    for (size_t i = 0; i < 16; i++) {
        WAIT_UNTIL(c[i].rc == 0);
        CHECK(c[i].how == RETURN_LOST || (c[i].how == RETURN_DONE && done == i));
        done += c[i].how == RETURN_DONE;
    }
    CHECK(done >= 3 && done < 16);
    rig_down();
}

/* Whether a call was done is not known when its connection ends, whatever has become of it on the leader. */
TEST(test_a_connection_that_ends_leaves_calls_open)
{
    struct caller c, other;
    unsigned left = 0;
    rig_up(2);
    struct node *leader = &rig.nodes[0], *follower = &rig.nodes[1];
    WAIT_UNTIL(ask(follower, &c, SLICE("what")) == 0);
    struct called *taken = take(leader);
    taken->on_left = on_left;
    taken->arg = &left;
    CHECK_EQ(ask(follower, &other, SLICE("never taken")), 0);
    struct leader_address at = *follower_leader(follower->cluster->follower);
    cluster_follow(follower->cluster, NULL);
    CHECK_EQ(c.rc, -ERR_UNAVAILABLE);
    CHECK_EQ(other.rc, -ERR_UNAVAILABLE);
    WAIT_UNTIL(left == 1);
    leader_answer_call(taken, RETURN_DONE, SLICE("nobody gets this"));
    CHECK(cluster_take_call(leader->cluster) == NULL);
    cluster_follow(follower->cluster, &at);
    WAIT_UNTIL(ask(follower, &c, SLICE("again")) == 0);
    leader_answer_call(take(leader), RETURN_DONE, SLICE(""));
    WAIT_UNTIL(c.rc == 0);
    rig_down();
}
