"""Creating, changing and deleting topics while something is wrong with the cluster, or with a disk."""

import json

from common import in_threads, wait_until

LIVE = {"replication": "live"}


def test_what_commits_because_a_member_leaves_the_set_has_taken_effect_when_it_is_answered(cluster):
    c = cluster(3, topics={"old": {}})
    leader, frozen = c.leader(), c.followers()[0]
    frozen.freeze()
    answers = {}

    def ask(n):
        if n < 8:
            answers[n] = leader.request("PUT", "/v1/topics/put%d" % n, b"{}")
        elif n < 16:
            answers[n] = leader.post("/v1/topics/published%d/messages" % n, b"x")
        else:
            answers[n] = leader.request("PATCH", "/v1/topics/old", json.dumps({"retain": {"messages": 1000}}))
    in_threads(*[lambda n=n: ask(n) for n in range(17)])
    assert {n: (a.status, a.body) for n, a in answers.items() if a.status not in (200, 201)} == {}
    assert answers[16].json["retain"]["messages"] == 1000
    frozen.thaw()
    c.wait_whole()
