"""What the tests of the cluster stand on does what it says: networks that are cut, a Consul that comes back, leftovers swept."""

import os
import re
import socket
import subprocess
import sys
import threading
import unittest

import consul
import network
from cluster import free_port
from lignum import ROOT, Test, wait_until

LISTEN = """
import socket, sys
s = socket.socket()
s.bind((sys.argv[1], 7777))
s.listen(8)
print("listening", flush=True)
while True:
    c, _ = s.accept()
    c.sendall(b"x" * int(sys.argv[2]))
    c.close()
"""
TALK = """
import socket, sys, time
s = socket.socket()
s.settimeout(float(sys.argv[2]))
began = time.monotonic()
try:
    s.connect((sys.argv[1], 7777))
    n = 0
    while True:
        d = s.recv(65536)
        if not d:
            break
        n += len(d)
    print(n, time.monotonic() - began)
except OSError:
    print("nothing")
"""


class Networks(Test):
    def setUp(self):
        super().setUp()
        why = network.why_not()
        if why:
            self.skipTest(why)
        self.net = network.Network(["a", "b", "c"])
        self.addCleanup(self.net.close)

    def listen(self, name, size=10):
        host = self.net[name]
        p = subprocess.Popen([sys.executable, "-c", LISTEN, host.address, str(size)], stdout=subprocess.PIPE, preexec_fn=host.enter)
        self.addCleanup(p.stdout.close)
        self.addCleanup(p.wait)
        self.addCleanup(p.kill)
        self.assertEqual(p.stdout.readline(), b"listening\n")

    def talk(self, source, target, timeout=0.5):
        p = subprocess.run([sys.executable, "-c", TALK, self.net[target].address, str(timeout)], capture_output=True, text=True,
                           preexec_fn=self.net[source].enter)
        return p.stdout.split()

    def hears(self, source, target):
        return self.talk(source, target)[0] == "10"

    def test_hosts_can_be_cut_from_each_other_and_healed(self):
        self.listen("a")
        self.listen("b")
        self.assertTrue(self.hears("a", "b"))
        self.net.cut("a", "b")
        self.assertEqual([self.hears("a", "b"), self.hears("b", "a"), self.hears("c", "a"), self.hears("c", "b")],
                         [False, False, True, True])
        with socket.create_connection((self.net["a"].address, 7777), 5) as s:      # the test itself reaches everybody
            self.assertEqual(s.recv(10), b"x" * 10)
        self.net.heal()
        self.net.isolate("a")
        self.assertEqual([self.hears("b", "a"), self.hears("c", "a"), self.hears("c", "b")], [False, False, True])
        self.net.heal()
        self.assertTrue(self.hears("a", "b") and self.hears("c", "a"))

    def test_one_way_lets_packets_through_the_other_way(self):
        def arrives(source, target):
            host = self.net[target]
            s = subprocess.Popen([sys.executable, "-c", "import socket, sys\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
                                  "s.bind((sys.argv[1], 7778))\ns.settimeout(1)\nprint('bound', flush=True)\n"
                                  "try:\n    print(s.recv(9).decode())\nexcept OSError:\n    print('nothing')", host.address],
                                 stdout=subprocess.PIPE, text=True, preexec_fn=host.enter)
            self.assertEqual(s.stdout.readline(), "bound\n")
            subprocess.run([sys.executable, "-c", "import socket, sys\nsocket.socket(socket.AF_INET, socket.SOCK_DGRAM)"
                            ".sendto(b'here', (sys.argv[1], 7778))", host.address], preexec_fn=self.net[source].enter, check=True)
            return s.communicate()[0] == "here\n"
        self.assertTrue(arrives("a", "b"))
        self.net.cut_one_way("a", "b")
        self.assertEqual([arrives("a", "b"), arrives("b", "a"), arrives("c", "b")], [False, True, True])

    def test_bandwidth_can_be_limited(self):
        self.listen("a", 1000000)
        free = float(self.talk("b", "a", 10)[1])
        self.net["b"].limit(8)
        size, took = self.talk("b", "a", 10)
        self.assertEqual(size, "1000000")
        self.assertGreater(float(took), 0.7, "1 MB at 1 MB a second; without a limit it took %g s" % free)
        self.net["b"].limit(None)
        self.assertLess(float(self.talk("b", "a", 10)[1]), 0.5)

    def test_leftovers_of_a_killed_process_are_swept(self):
        code = ("import sys, time\nsys.path.insert(0, %r)\nimport network\nn = network.Network(['x'])\n"
                "print(n['x'].namespace, n.bridge, flush=True)\ntime.sleep(600)" % os.path.join(ROOT, "tests/system"))
        p = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        namespace, bridge = p.stdout.readline().split()
        p.stdout.close()
        there = [os.path.exists("/run/netns/" + namespace), os.path.exists("/sys/class/net/" + bridge)]
        network.sweep()
        alive = [os.path.exists("/run/netns/" + namespace), os.path.exists("/sys/class/net/" + bridge)]
        p.kill()
        p.wait()
        network.sweep()
        gone = [os.path.exists("/run/netns/" + namespace), os.path.exists("/sys/class/net/" + bridge)]
        self.assertEqual([there, alive, gone], [[True, True], [True, True], [False, False]])
        self.assertTrue(os.path.exists("/run/netns/" + self.net["a"].namespace), "ours is still there")


class Consuls(Test):
    def setUp(self):
        super().setUp()
        program, why = consul.binary()
        if not program:
            self.skipTest("no Consul: " + why)
        self.consul = consul.Consul(os.path.join(self.folder, "consul"), free_port, program=program)
        self.addCleanup(self.consul.kill)
        self.consul.start()

    def test_a_killed_consul_comes_back_with_what_it_knew(self):
        self.consul.put("a/b", "1")
        before = self.consul.get("a/b")
        self.consul.restart()
        self.assertEqual(self.consul.get("a/b"), before)
        self.consul.kill()
        self.consul.wipe()
        self.consul.start()
        self.assertEqual(self.consul.get("a/b"), (None, None, None))

    def test_a_frozen_consul_answers_after_it_is_thawed(self):
        self.consul.freeze()
        answers = []
        t = threading.Thread(target=lambda: answers.append(self.consul.get("works")), daemon=True)
        t.start()
        t.join(0.3)
        self.assertEqual(answers, [])
        self.consul.thaw()
        t.join(20)
        self.assertEqual(answers[0][0], b"1")

    def test_sessions_keys_and_an_older_state(self):
        id_ = self.consul.ok("PUT", "/v1/session/create", '{"TTL": "15s"}')["ID"]
        self.assertTrue(self.consul.ok("PUT", "/v1/kv/lock?acquire=" + id_, "me"))
        self.assertEqual((self.consul.get("lock")[2], self.consul.sessions()), (id_, [id_]))
        snapshot = self.consul.snapshot()
        self.consul.destroy_session(id_)
        wait_until(lambda: self.consul.get("lock")[2] is None)
        self.consul.delete("lock")
        self.assertEqual(self.consul.keys("lock"), [])
        self.consul.restore(snapshot)
        self.assertEqual(self.consul.get("lock")[0], b"me")


class Ports(unittest.TestCase):
    def test_ports_are_below_those_that_the_kernel_gives_away(self):
        with open("/proc/sys/net/ipv4/ip_local_port_range") as f:
            first = int(re.match(r"\d+", f.read()).group())
        ports = {free_port() for _ in range(20)}
        self.assertEqual(len(ports), 20)
        self.assertLess(max(ports), first)


if __name__ == "__main__":
    unittest.main()
