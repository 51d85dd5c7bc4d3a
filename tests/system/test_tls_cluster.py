"""A cluster whose nodes take each other's HTTP by TLS: forwards verify the leader, and Consul still sees that nodes live."""

import pytest

from certs import Authority
from client import Connection, assert_refused
from cluster import Node
from common import free_port, wait_until


@pytest.fixture
def secure_cluster(make_cluster, folder):
    """secure_cluster(hosts, tls): the name in each node's certificate, and more of its `tls`."""
    ca = Authority(folder)

    def make(hosts=("localhost",), tls="", count=2, forward=True, config="", advertise=True):
        class SecureNode(Node):
            def __init__(self, cluster, name, place=None, **kw):
                super().__init__(cluster, name, place, **kw)
                self.pair, self.https = ca.issue(name, subject="/CN=" + name, hosts=hosts), free_port()
                self.listen = None
                if forward:
                    self.set += ["cluster.forward.%s=%s" % f for f in (
                        ("ca", ca.path), ("cert", self.pair.cert), ("key", self.pair.key))]

            def config(self):
                return super().config() + """
                listen { "%s", { address = "127.0.0.1:%d", tls = { %s%s } } }
                """ % (self.http, self.https, self.pair.lua, tls % {"ca": ca.path}) + (
                    'node { advertise = "https://localhost:%d" }' % self.https if advertise else "")

        c = make_cluster(count, node=SecureNode, config=config).start()
        c.ca = ca
        return c
    return make


def leader_and_follower(c):
    leader = c.leader()
    return leader, next(n for n in c.nodes if n is not leader)


def test_writes_to_a_follower_go_to_the_leader_by_https(secure_cluster):
    c = secure_cluster(tls=', client_ca = "%(ca)s", client_auth = "optional"')
    leader, follower = leader_and_follower(c)
    before = leader.metrics()['lignum_tls_handshakes_total{result="done"}']
    answer = follower.ok("POST", "/v1/topics/t/messages", b"by https")
    assert answer.json["first"] == 0
    assert leader.messages("t") == [b"by https"]
    assert leader.metrics()['lignum_tls_handshakes_total{result="done"}'] > before
    view = follower.view()
    assert view["leader"]["http"] == "https://localhost:%d" % leader.https
    redirect = follower.request("POST", "/v1/topics/t/messages", b"x", {"Lignum-Forward": "never"})
    assert redirect.status == 307
    assert redirect.header("location") == "https://localhost:%d/v1/topics/t/messages" % leader.https


def test_the_user_of_a_certificate_is_known_to_the_leader_and_cannot_be_forged(secure_cluster):
    rule = """function authorize(req) return req.user == "alice" or req.method == "GET" end
    route.write("POST", "/who", function(req) return 200, { user = req.user or "nobody", node = node.info().name } end)"""
    c = secure_cluster(tls=', client_ca = "%(ca)s", client_auth = "optional"', config=rule)
    leader, follower = leader_and_follower(c)
    alice, mallory = (c.ca.issue(n, subject="/CN=" + n, hosts=()) for n in ("alice", "mallory"))

    def who(node, pair, headers=()):
        with Connection(node.https, tls=c.ca.trusting(pair)) as connection:
            return connection.request("POST", "/who", b"", headers)
    for node in (leader, follower):
        answer = who(node, alice)
        assert (answer.status, answer.json) == (200, {"user": "alice", "node": leader.name}), answer
        for forged in ((), {"Lignum-User": "alice"}, {"Lignum-User": "616c696365." + "0" * 64}):
            assert who(node, mallory, forged).status == 401
            assert who(node, None, forged).status == 401


def test_a_leader_under_another_name_gets_nothing(secure_cluster):
    c = secure_cluster(hosts=("other.example",))
    leader, follower = leader_and_follower(c)
    answer = follower.request("POST", "/v1/topics/t/messages", b"secret", {"Authorization": "Bearer secret"})
    assert_refused(answer, 503, "no_leader")
    assert "name" in answer.json["detail"] and "SSL" in answer.json["detail"], answer
    assert leader.request("GET", "/v1/topics/t").status == 404


def test_without_the_ca_nothing_is_forwarded_and_a_reload_that_names_it_helps(secure_cluster):
    c = secure_cluster(forward=False)
    leader, follower = leader_and_follower(c)
    answer = follower.request("POST", "/v1/topics/t/messages", b"m")
    assert_refused(answer, 503, "no_leader")
    text = follower.config().replace("cluster {", "cluster { forward = { ca = %r }," % c.ca.path, 1)
    follower.write_config(text)
    follower.reload()
    follower.ok("POST", "/v1/topics/t/messages", b"m")


def test_a_failover_between_nodes_with_tls(secure_cluster):
    c = secure_cluster(count=3)
    c.create({"live": {"replication": "live", "copies": 2}})
    leader, follower = leader_and_follower(c)
    follower.publish("live", b"before")
    leader.kill()
    wait_until(lambda: c.leader() is not leader, what="another leads")
    rest = [n for n in c.nodes if n is not leader]
    for n in rest:
        wait_until(lambda: n.request("POST", "/v1/topics/live/messages", b"after").status == 200, what="%s takes writes" % n.name)
    assert rest[0].messages("live")[0] == b"before"


def test_an_address_without_a_scheme_is_refused_where_all_listeners_have_tls(make_node, folder):
    pair = Authority(folder).issue("node")
    b = make_node(config="listen { address = '127.0.0.1:0', tls = { %s } }\nnode { advertise = 'localhost:1' }" % pair.lua)
    ran = b.lignum("check", "-c", b.config_path)
    assert ran.code == 64
    assert "lignum.lua:2: node.advertise: every address of listen has TLS: write https://localhost:1" in ran.err, ran


@pytest.mark.parametrize("advertise", [True, False])
def test_the_command_line_sends_a_token_to_no_member_without_tls(secure_cluster, advertise):
    c = secure_cluster(advertise=advertise)
    ran = c.nodes[0].lignum("reload", "--all", "--url", "https://localhost:%d" % c.nodes[0].https, "--ca", c.ca.path,
                            env={"LIGNUM_TOKEN": "secret"})
    if advertise:
        assert ran.code == 0 and ran.out.count("has reloaded") == 2, ran
    else:
        assert ran.code == 77 and "without TLS" in ran.err and ran.out == "" and len(ran.err.splitlines()) == 1, ran
