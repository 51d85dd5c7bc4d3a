"""The sweep of `make bench` over disk latencies: what it asks of a row, and the library that slows a disk."""

import os
import subprocess
import sys

import pytest

import common

sys.path.insert(0, os.path.join(common.ROOT, "tests", "bench"))
import sweep  # noqa: E402

# Prints the median of 100 syncs in microseconds. The folder is in memory, so nearly all of it is the library's. The
# thread's timer slack, 20 ms, is what makes a wait longer than it should be; 29 is PR_SET_TIMERSLACK.
SYNCS = """import ctypes, os, statistics, sys, time
assert ctypes.CDLL(None).prctl(29, 20000000, 0, 0, 0) == 0
fd, took = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT), []
for n in range(100):
    t = time.perf_counter()
    os.fdatasync(fd)
    took.append((time.perf_counter() - t) * 1e6)
print(statistics.median(took))
"""


def a_round(ours, redis, bare, added_us, connections):
    """Figures of one round in which a sync takes 250 us, and Redis 8 us of CPU a request."""
    found = {sweep.name_of(kind, connections): {"rate": rate, "server_us": 50}
             for kind, rate in zip(sweep.SERVERS[added_us], (ours, redis, bare))}
    found.setdefault(sweep.REDIS_CPU, {"rate": 1})["server_us"] = 8
    return dict(found, limits={"fdatasync_4k_per_s": 4000})


def point(rounds, added_us, connections):
    return next(p for p in sweep.judge(rounds) if p.redis.text.startswith(
        "disk +%g ms, %d connection" % (added_us / 1000, connections)) and p.redis.values)


@pytest.mark.parametrize("added_us,connections,most,want", [
    (0, 4, 1.128, .95), (0, 64, 3.048, 1.15), (4000, 64, 1.1205, 1.0869), (4000, 256, 1.4819, 1.15)])
def test_a_row_is_judged_by_its_bound(added_us, connections, most, want):
    p = point([a_round(100, 100, 100, added_us, connections)], added_us, connections)
    assert p.bound == pytest.approx(most, abs=.001)
    assert p.redis.want == pytest.approx(want, abs=.001)
    assert p.redis.missed() == (want > 1)
    assert not p.bare.missed()


def test_a_row_that_no_round_reached_is_missed():
    slow, quick = a_round(90, 100, 90, 1000, 16), a_round(96, 100, 80, 1000, 16)
    p = point([slow, slow], 1000, 16)
    assert (p.redis.verdict(), p.bare.verdict()) == ("MISSED", "reached")
    p = point([slow, slow, quick], 1000, 16)
    assert p.redis.verdict() == "within the spread"
    assert "MISSED" in "\n".join(sweep.table(sweep.judge([slow])))


def test_a_slowed_disk_takes_what_it_says(slow_disk):
    folder = "/dev/shm" if os.path.isdir("/dev/shm") else "/tmp"
    path = os.path.join(folder, "sweep-%d" % os.getpid())
    try:
        out = subprocess.run([sys.executable, "-c", SYNCS, path], capture_output=True, text=True, timeout=60,
                             check=True, env=dict(os.environ, LD_PRELOAD=slow_disk, SLOW_DISK_US="250"))
    finally:
        os.unlink(path)
    assert 250 <= float(out.stdout) < 10000
