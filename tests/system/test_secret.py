"""The secret of a cluster, and what a replication port lets in: nodes of real processes, and strangers at their ports."""

import os
import re
import socket
import ssl
import subprocess
import threading
import time

import pytest

from common import BINARY, SECRET, wait_until

LIVE = {"replication": "live", "copies": 2}


def place(node):
    host, _, port = node.replication.rpartition(":")
    return host, int(port)


def is_open(node):
    try:
        socket.create_connection(place(node), timeout=1).close()
        return True
    except OSError:
        return False


def flags_of(node, *sets):
    """Of a node that has no lignum.lua."""
    node.config = lambda: ""
    node.flags = ["--name", node.name, "--consul", node.cluster.consul.address, "--replication", node.replication]
    for text in sets:
        node.flags += ["--set", "cluster.replication." + text]


# ---------------------------------------------------------------------------------------------- the secret

def test_a_new_secret_is_one_line_of_256_bits_and_each_differs():
    out = [subprocess.run([BINARY, "secret", "new"], capture_output=True, text=True, check=True).stdout for _ in range(2)]
    assert all(re.fullmatch("[0-9a-f]{64}\n", text) for text in out)
    assert out[0] != out[1]
    for wrong in (["secret"], ["secret", "old"], ["secret", "new", "er"]):
        ran = subprocess.run([BINARY, *wrong], capture_output=True, text=True)
        assert (ran.returncode, ran.stdout) == (64, "")
        assert "usage: lignum secret new" in ran.stderr


@pytest.mark.parametrize("settings, words", [
    ("", "replication.secret_file: is missing"),
    ("secret = 'abc'", "replication.secret: must be 32 to 256 hexadecimal digits"),
    ("secret = '00112233445566778899aabbccddee'", "must be 32 to 256 hexadecimal digits (at least 128 random bits)"),
    ("secret = 'a passphrase that is long enough, is it not'", "`lignum secret new` prints one"),
    ("secret_file = 'none'", "replication.secret_file: "),
    ("insecure = true", None),
    ("secret = '%s'" % SECRET, None),
])
def test_check_says_what_is_wrong_with_a_secret(folder, settings, words):
    path = os.path.join(folder, "lignum.lua")
    with open(path, "w") as f:
        f.write("cluster { consul = { address = '127.0.0.1:1' }, replication = { %s } }\n" % settings)
    ran = subprocess.run([BINARY, "check", "-c", path], capture_output=True, text=True)
    assert ran.returncode == (64 if words else 0), ran
    assert words is None or words in ran.stderr
    assert "passphrase" not in ran.stderr


def test_without_a_secret_the_port_does_not_open(make_cluster):
    node = make_cluster(1).nodes[0]
    flags_of(node)
    with pytest.raises(RuntimeError, match="replication.secret_file: is missing.*lignum secret new"):
        node.start()
    node.awaited = True
    assert not is_open(node)
    flags_of(node, "insecure=true")
    node.start()
    assert is_open(node)
    assert "replication is insecure" in node.said()


def test_a_file_that_all_can_read_is_warned_of(make_cluster):
    node = make_cluster(1).nodes[0]
    path = os.path.join(node.folder, "secret")
    with open(path, "w") as f:
        f.write(SECRET + "\n")
    flags_of(node, "secret_file=" + path)
    os.chmod(path, 0o600)
    node.start()
    assert "every user of this host can read" not in node.said()
    node.stop()
    os.chmod(path, 0o644)
    node.start()
    assert "can read the file of cluster.replication.secret_file: chmod 600 " + path in node.said()
    assert SECRET not in node.said()


def test_nodes_that_are_both_insecure_replicate(cluster):
    c = cluster(2, topics={"t": LIVE}, secret=None)
    assert c.leader().publish("t", b"x")["committed"] == "peers"


def test_another_secret_is_refused_both_ways(cluster):
    c = cluster(2, topics={"t": LIVE})
    stranger = c.add("n3")
    c.secret = SECRET[::-1]
    stranger.start()
    c.secret = SECRET
    reason = 'reason="its secret is not this node\'s"'
    wait_until(lambda: reason in stranger.said() and reason in c.leader().said(), what="both say why")
    assert c.leader().publish("t", b"x")["first"] == 0
    assert c.synced() == {"n1", "n2"}
    assert stranger.get("/v1/topics/t").status != 200
    ready = stranger.get("/readyz")
    assert (ready.status, ready.json["code"]) == (503, "unavailable")
    assert "its secret is not this node's" in ready.json["detail"]
    stranger.stop()
    stranger.start()
    c.wait_whole()


@pytest.mark.parametrize("leaders, strangers", [(SECRET, None), (None, SECRET)])
def test_a_node_without_a_secret_and_one_with_it_say_who_has_none(cluster, leaders, strangers):
    c = cluster(1, topics={"t": {"replication": "live"}}, secret=leaders)
    stranger = c.add("n2")
    c.secret = strangers
    stranger.start()
    without, having = (stranger, c.leader()) if leaders else (c.leader(), stranger)
    wait_until(lambda: "it has a secret (cluster.replication.secret), this node has none" in without.said(), what="it says so")
    wait_until(lambda: "this node has a secret (cluster.replication.secret), it has none" in having.said(), what="it says so")
    c.leader().publish("t", b"x")
    assert c.synced() == {"n1"}


# ---------------------------------------------------------------------------------------------- strangers at the port

def shake(node, version):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = context.maximum_version = version
    with socket.create_connection(place(node), timeout=10) as s:
        context.wrap_socket(s)


def test_clients_of_another_tls_are_refused(cluster):
    c = cluster(1, topics={"t": {"replication": "live"}})
    with pytest.raises((ssl.SSLError, ConnectionError)):
        shake(c.leader(), ssl.TLSVersion.TLSv1_2)
    wait_until(lambda: "it does not speak TLS 1.3" in c.leader().said(), what="the leader says so")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        shake(c.leader(), ssl.TLSVersion.TLSv1_3)
    wait_until(lambda: "it offers no key of this cluster" in c.leader().said(), what="the leader says so")
    c.leader().publish("t", b"x")


def s_client(node, *arguments):
    return subprocess.run(["openssl", "s_client", "-connect", "%s:%d" % place(node), "-psk_identity", "x", "-psk", "00" * 32,
                           *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30)


def test_openssls_own_client_with_another_key_is_refused(cluster):
    c = cluster(1)
    for version in ("-tls1_2", "-tls1_3"):
        assert s_client(c.leader(), version).returncode != 0
    wait_until(lambda: "it belongs to another cluster" in c.leader().said(), what="the leader says so")


def test_a_node_with_a_certificate_instead_of_the_secret_is_not_followed(cluster, folder):
    """A stranger at the leader's address, with a certificate that nobody has asked for."""
    c = cluster(2, topics={"t": LIVE})
    leader, follower = c.leader(), c.followers()[0]
    key = os.path.join(folder, "key")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", key + ".pem", "-subj",
                    "/CN=x", "-days", "1"], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(key + ".pem", key)
    leader.kill()
    with socket.create_server(place(leader)) as door:
        door.settimeout(30)
        s, _ = door.accept()
        with s, pytest.raises((ssl.SSLError, ConnectionError)):
            context.wrap_socket(s, server_side=True).recv(1)
    assert "no connection to the leader" in follower.said()
    leader.start()
    c.wait_whole()


def test_strangers_do_not_fill_the_log(cluster):
    c = cluster(2, topics={"t": LIVE})
    leader = c.leader()
    before, end, knocks = len(leader.said()), time.monotonic() + 3, [0] * 8

    def knock(i):
        while time.monotonic() < end:
            with socket.create_connection(place(leader), timeout=10) as s:
                s.sendall(b"\x58\x00\x00\x00h" + b"x" * 88)
                knocks[i] += 1
                try:
                    while s.recv(4096):
                        pass
                except OSError:
                    pass
    threads = [threading.Thread(target=knock, args=(i,)) for i in range(len(knocks))]
    for t in threads:
        t.start()
    published = [leader.publish("t", b"x") for _ in range(20)]
    for t in threads:
        t.join()
    assert sum(knocks) > 100
    assert len(published) == 20
    assert len(leader.said()) - before < 4096
    wait_until(lambda: re.search(r"left out \d+ more lines of this kind", leader.said()), what="they are counted")
    assert c.synced() == {"n1", "n2"}
