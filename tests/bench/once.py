"""Figures that are taken once a run: starting, memory, wake-ups, and a long history."""

import os
import socket
import statistics
import subprocess
import time

import peers
import rows
from peers import Lignum, LignumDecode, LignumHook

IDLE_CONNECTIONS = 10000
IDLE_SECONDS = 5
STARTS = 7
SPARSE_GB = 100
PAIRS = 10


def anon_mb(server):
    return server.broker.status("RssAnon") / 1024


def rss_mb(server):
    return server.broker.status("VmRSS") / 1024


def load(server, topic, *options):
    words = [os.path.join(peers.TOOLS, "load"), "--json", *options, server.url("v1/topics/%s/messages" % topic)]
    return rows.run_json(words, 240)


def switches(pid):
    """The number of voluntary context switches of its threads."""
    total = 0
    for task in os.listdir("/proc/%d/task" % pid):
        with open("/proc/%d/task/%s/status" % (pid, task)) as f:
            total += sum(int(line.split()[1]) for line in f if line.startswith("voluntary_ctxt"))
    return total


def first_answer(broker):
    """Seconds from exec to the first answer of a node whose port is known."""
    port = int(broker.listen.rsplit(":", 1)[1])
    began = time.monotonic()
    broker.spawn()
    while True:
        try:
            with peers.Connection(port) as c:
                if c.request("GET", "/readyz").status == 200:
                    return time.monotonic() - began
        except OSError:
            if broker.process.poll() is not None:
                raise RuntimeError(broker.said())


def restart_ms(server, kill=False, meanwhile=lambda: None):
    """Stops or kills the node, and starts it on the same port and data."""
    broker = server.broker
    broker.listen = "127.0.0.1:%d" % server.port
    if kill:
        broker.kill()
    else:
        broker.stop()
    meanwhile()
    seconds = first_answer(broker)
    server.process = broker.process
    return seconds * 1000


def measure_idle(folder_here, figures):
    lines = []
    with folder_here() as folder, Lignum(folder) as server:
        starts = [restart_ms(server) for _ in range(STARTS)]
        figures["idle_anon_mb"] = anon_mb(server)
        lines.append("| exec to first answer, empty directory, median of %d | %.1f ms |" % (
            STARTS, statistics.median(starts)))
        lines.append("| idle, empty directory | RSS %.1f MB, private %.1f MB |" % (rss_mb(server), anon_mb(server)))
        time.sleep(1)
        before, cpu = switches(server.process.pid), server.cpu()
        time.sleep(IDLE_SECONDS)
        figures["wakeups"] = switches(server.process.pid) - before
        lines.append("| idle for %d s | %d wake-ups, %.0f ms of CPU |" % (
            IDLE_SECONDS, figures["wakeups"], (server.cpu() - cpu) * 1000))
    return lines


def measure_connections(folder_here):
    count = min(IDLE_CONNECTIONS, peers.raise_descriptors(IDLE_CONNECTIONS + 100) - 100)
    with folder_here() as folder, Lignum(folder) as server:
        before, sockets = anon_mb(server), []
        for _ in range(count):
            s = socket.create_connection(("127.0.0.1", server.port), 10)
            s.sendall(b"GET /ping HTTP/1.1\r\nHost: localhost\r\n\r\n")
            s.recv(4096)
            sockets.append(s)
        after = anon_mb(server)
        for s in sockets:
            s.close()
    return ["| %s idle connections, each after one request | private %.1f MB: %.2f KB a connection |" % (
        "{:,}".format(count), after, (after - before) * 1024 / count)]


def measure_filled(folder_here, figures):
    """Memory by messages stored. The first ten million warm up what is kept for reuse."""
    found = []
    with folder_here() as folder, Lignum(folder) as server:
        for millions in (1, 9, 10, 10):
            load(server, "t", "-b", "100", "-B", "1000", "-c", "8", "-n", str(millions * 1000), "-d", "60")
            found.append(anon_mb(server))
        figures["bytes_a_message"] = (found[-1] - found[1]) * 2**20 / 20e6
        return ["| after 1, 10, 20 and 30 million messages | private %s MB; RSS %.1f MB |" % (
            ", ".join("%.1f" % mb for mb in found), rss_mb(server))]


def start_lines(server, gb):
    clean, killed = restart_ms(server), restart_ms(server, kill=True)
    return "| start with %.1f GB, first answer | %.0f ms; after kill -9 %.0f ms; RSS %.1f MB, private %.1f MB |" % (
        gb, clean, killed, rss_mb(server), anon_mb(server))


def stored_gb(server):
    return sum(os.path.getsize(os.path.join(folder, f)) for folder, _, files in os.walk(server.broker.data)
               for f in files) / 1e9


def one_publish_us(server, topic, *options):
    """CPU time of the server for a publish, measured for one second."""
    before = server.cpu()
    r = load(server, topic, *options, "-c", "64", "-d", "1")
    return (server.cpu() - before) * 1e6 / r["requests"]


def in_turn(plain, other, *options):
    """The cost of a publish on two nodes that get the same load in turn: [(CPU us of plain, of the other)]. If the
    machine becomes slower, it does so for both."""
    found = []
    for turn in range(PAIRS):
        cost = {s: one_publish_us(s, "t", *options) for s in ((plain, other) if turn % 2 else (other, plain))}
        found.append((cost[plain], cost[other]))
    return found


def hook_differences(folder_here, kind, *options):
    """The cost that a hook adds to a publish."""
    with folder_here() as a, folder_here() as b, Lignum(a) as plain, kind(b) as hooked:
        return [other - one for one, other in in_turn(plain, hooked, *options)]


def measure_hooks(folder_here, figures):
    figures["hook_us"] = hook_differences(folder_here, LignumHook, "-b", "100")
    figures["decode_us"] = hook_differences(folder_here, LignumDecode, "-f", rows.JSON_BODY)
    return ["| CPU that an on_publish adds, median of %d pairs | %.2f us when it does nothing, %.2f us when it decodes JSON |"
            % (PAIRS, statistics.median(figures["hook_us"]), statistics.median(figures["decode_us"]))]


def measure_history(folder_here, most_gb):
    """The time to start with a long history."""
    lines = []
    with folder_here() as folder, Lignum(folder) as server:
        for gb in [1, most_gb]:
            missing = gb - stored_gb(server)
            if missing > 0:
                load(server, "t", "-b", "1000000", "-c", "4", "-n", str(int(missing * 1000) + 1), "-d", "90")
            lines.append(start_lines(server, stored_gb(server)))
    return lines


def measure_sparse(folder_here, figures):
    """A start with a topic of sparse files (history.c), and a publish to it compared with one to a new topic."""
    with folder_here() as a, folder_here() as b, Lignum(a) as fresh, Lignum(b) as server:
        for s in (fresh, server):
            load(s, "t", "-b", "100", "-n", "1")
        ms = restart_ms(server, meanwhile=lambda: subprocess.run(
            [os.path.join(peers.TOOLS, "history"), server.broker.data, "t", str(SPARSE_GB)], check=True, timeout=300))
        lines = ["| start with %d GB in sparse files, first answer | %.0f ms; RSS %.1f MB, private %.1f MB |" % (
            SPARSE_GB, ms, rss_mb(server), anon_mb(server))]
        pairs = in_turn(fresh, server, "-b", "100")
        figures["history_cpu"] = [behind / none for none, behind in pairs]
        return lines + ["| CPU a publish with %d GB behind it, median of %d pairs | %.2f us; with none %.2f us |" % (
            SPARSE_GB, PAIRS, statistics.median(p[1] for p in pairs), statistics.median(p[0] for p in pairs))]


def measure(folder_here, most_gb):
    figures = {}
    lines = ["## Taken once: starting, memory, history", "", "| | |", "|---|---|"]
    for part in (lambda: measure_idle(folder_here, figures), lambda: measure_connections(folder_here),
                 lambda: measure_hooks(folder_here, figures), lambda: measure_filled(folder_here, figures),
                 lambda: measure_history(folder_here, most_gb), lambda: measure_sparse(folder_here, figures)):
        try:
            found = part()
        except (RuntimeError, OSError, AssertionError, subprocess.SubprocessError) as e:
            found = ["| not measured | %s |" % str(e).splitlines()[0]]
        print("\n".join(found), flush=True)
        lines += found
    return lines + [""], figures
