"""The command line against a cluster whose leader dies."""

import json
import subprocess

from common import BINARY, PATIENCE, wait_until


def urls(nodes):
    return ",".join("http://127.0.0.1:%d" % n.port for n in nodes)


def done(c, *words, nodes=None):
    ran = (nodes or c.nodes)[0].lignum(*words, "--url", urls(nodes or c.nodes))
    assert ran.code == 0, ran
    return ran.out


def test_pub_and_sub_go_on_through_the_death_of_the_leader_each_message_once(cluster):
    c = cluster(topics={"t": {"replication": "live", "copies": 2}})
    leader = c.leader()
    order = [leader, *c.followers()]
    sub = subprocess.Popen([BINARY, "sub", "t", "--follow", "--raw", "--from", "earliest", "--limit", "600", "--url", urls(order)],
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    pub = subprocess.Popen([BINARY, "pub", "t", "--idempotent", "--batch", "1", "--rate", "200", "--url", urls(order)],
                           stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        pub.stdin.write(b"".join(b"%d\n" % i for i in range(600)))
        pub.stdin.close()
        pub.stdin = None
        wait_until(lambda: leader.topic("t")["next"] > 100, what="some are published")
        leader.kill()
        out, err = pub.communicate(timeout=PATIENCE)
        assert pub.returncode == 0, (out, err)
        out, err = sub.communicate(timeout=PATIENCE)
        assert sub.returncode == 0, (out, err)
        assert out.splitlines() == [b"%d" % i for i in range(600)]
    finally:
        pub.kill()
        sub.kill()


def test_a_consumer_goes_on_through_the_death_of_the_leader(cluster):
    c = cluster(topics={"t": {"replication": "live", "copies": 2}})
    leader = c.leader()
    order = [leader, *c.followers()]
    leader.publish_lines("t", [b"%d" % i for i in range(300)])
    done(c, "group", "new", "t", "g", "from=earliest", "lease_time=2")
    sub = subprocess.Popen([BINARY, "sub", "t", "--group", "g", "--follow", "--exec", "cat; echo; sleep 0.005", "--limit", "400",
                            "--url", urls(order)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        for _ in range(100):
            assert sub.stdout.readline() != b""
        leader.kill()
        new = c.wait_leader()
        new.publish_lines("t", [b"%d" % i for i in range(300, 400)])
        seen = [sub.stdout.readline() for _ in range(300)]
        assert {int(l) for l in seen} >= set(range(100, 399)), "each of the others, some twice"
    finally:
        sub.kill()
        sub.wait()


def test_status_reload_and_trim_reach_all_nodes(cluster):
    c = cluster(topics={"t": {"segment": {"messages": 10}}})
    status = json.loads(done(c, "cluster", "status", "-o", "json"))
    assert sorted(n["name"] for n in status["nodes"]) == ["n1", "n2", "n3"]
    assert len(done(c, "cluster", "status").splitlines()) == 5
    assert len(done(c, "reload", "--all").splitlines()) == 3
    for i in range(3):
        c.leader().publish_lines("t", [b"%d" % i] * 10)
    wait_until(lambda: all(n.topic("t")["next"] == 30 for n in c.nodes), what="all have all")
    assert done(c, "topic", "trim", "t", "--before", "20") == "t begins at 20\n"
    assert [n.topic("t")["first"] for n in c.nodes] == [20, 20, 20]
