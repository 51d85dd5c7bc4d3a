"""A network for a cluster under test: one network namespace per host, joined by a bridge. Needs root.

The test process is attached to the bridge, outside of all hosts, so it reaches each host whatever is cut between them. close()
removes the network, at the latest when the process exits. If the process is killed, the next process that creates a network
removes the leftovers: names contain the id of the process that created them, and sweep() removes those of processes that are gone.

    lignum-PID-N-NAME    a host's namespace
    lgbPID.N             the bridge; addresses are 198.18.N'.0/24 (RFC 2544: for tests, never routed)
    lgvPID.N.i           the bridge's end of a host's cable
"""

import atexit
import ctypes
import itertools
import os
import re
import shutil
import subprocess

LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000


def run(*words, check=True):
    p = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if check and p.returncode != 0:
        raise RuntimeError("%s: %s" % (" ".join(words), (p.stderr or p.stdout).strip()))
    return p.stdout


def why_not():
    """The reason why no network can be created here, or None."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    missing = [program for program in ("ip", "tc", "iptables") if not shutil.which(program)]
    return "not installed: " + ", ".join(missing) if missing else None


def alive(pid):
    return os.path.exists("/proc/%d" % pid)


def sweep():
    """Removes namespaces and bridges of test processes that are gone."""
    for name in os.listdir("/run/netns") if os.path.isdir("/run/netns") else []:
        m = re.match(r"lignum-(\d+)-", name)
        if m and not alive(int(m.group(1))):
            run("ip", "netns", "del", name, check=False)
    for name in os.listdir("/sys/class/net"):
        m = re.match(r"lg[bv](\d+)\.", name)
        if m and not alive(int(m.group(1))):
            run("ip", "link", "del", name, check=False)


class Host:
    def __init__(self, network, name, number):
        self.network, self.name = network, name
        self.namespace = "lignum-%s-%s" % (network.mark.replace(".", "-"), name)
        self.cable = "lgv%s.%d" % (network.mark, number)
        self.address = "%s.%d" % (network.subnet, number)

    def lay(self):
        run("ip", "netns", "add", self.namespace)
        run("ip", "link", "add", self.cable, "type", "veth", "peer", "name", "eth0", "netns", self.namespace)
        run("ip", "link", "set", self.cable, "master", self.network.bridge, "up")
        self.run("ip", "link", "set", "lo", "up")
        self.run("ip", "addr", "add", self.address + "/24", "dev", "eth0")
        self.run("ip", "link", "set", "eth0", "up")

    def run(self, *words, **kw):
        return run("ip", "netns", "exec", self.namespace, *words, **kw)

    def enter(self):
        """Moves the calling process into this host's network; call in a child before exec."""
        f = os.open("/run/netns/" + self.namespace, os.O_RDONLY)
        if LIBC.setns(f, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")
        os.close(f)

    def refuse(self, source):
        """Drops incoming packets of that host."""
        self.run("iptables", "-w", "-A", "INPUT", "-s", source.address, "-j", "DROP")

    def accept_all(self):
        self.run("iptables", "-w", "-F", "INPUT")

    def limit(self, megabits=None):
        """Limits the bandwidth of this host in both directions; None removes the limit."""
        inside, outside = ["ip", "netns", "exec", self.namespace, "tc", "qdisc"], ["tc", "qdisc"]
        for tc, device in [(inside, "eth0"), (outside, self.cable)]:
            run(*tc, "del", "dev", device, "root", check=False)
            if megabits:
                run(*tc, "add", "dev", device, "root", "tbf", "rate", "%gmbit" % megabits, "burst", "32k", "latency", "200ms")


class Network:
    serial = itertools.count()

    def __init__(self, names):
        why = why_not()
        if why:
            raise RuntimeError(why)
        sweep()
        self.mark = "%d.%d" % (os.getpid(), next(Network.serial))
        self.bridge = "lgb" + self.mark
        self.subnet = self._free_subnet()
        self.hosts = {name: Host(self, name, i + 1) for i, name in enumerate(names)}
        atexit.register(self.close)
        try:
            run("ip", "link", "add", self.bridge, "type", "bridge")
            run("ip", "addr", "add", self.subnet + ".254/24", "dev", self.bridge)
            run("ip", "link", "set", self.bridge, "up")
            for host in self.hosts.values():
                host.lay()
        except BaseException:
            self.close()
            raise

    def __getitem__(self, name):
        return self.hosts[name]

    @staticmethod
    def _free_subnet():
        routes = run("ip", "-4", "route")
        begin = os.getpid() * 7
        for i in range(512):
            b = (begin + i) % 512
            subnet = "198.%d.%d" % (18 + b // 256, b % 256)
            if subnet + "." not in routes:
                return subnet
        raise RuntimeError("no free network in 198.18.0.0/15")

    def close(self):
        atexit.unregister(self.close)
        for host in self.hosts.values():
            run("ip", "link", "del", host.cable, check=False)
            run("ip", "netns", "del", host.namespace, check=False)
        run("ip", "link", "del", self.bridge, check=False)

    # -- faults

    def cut(self, a, b):
        """Drops packets between both, in both directions."""
        self.cut_one_way(a, b)
        self.cut_one_way(b, a)

    def cut_one_way(self, source, target):
        """Drops packets from source to target; the other direction works."""
        self[target].refuse(self[source])

    def isolate(self, name, others=None):
        for other in others or self.hosts:
            if other != name:
                self.cut(name, other)

    def heal(self):
        for host in self.hosts.values():
            host.accept_all()
