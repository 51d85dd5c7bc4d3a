"""Shared by all tests: the binaries under test, waiting for conditions, threads, checksums, ports.

Tests never sleep to synchronise: wait_until() polls a condition and fails with a description of what it waited for.

Environment variables: LIGNUM (the binary under test), LIGNUM_FAULTS and LIGNUM_MUTANT (builds with fault points), LIGNUM_BIG
(run the long forms), LIGNUM_TMP (directory for test folders), LIGNUM_KEEP (directory for copies of failed tests' folders),
LIGNUM_SEED (seed of the fixture rng).
"""

import contextlib
import ctypes
import fcntl
import os
import resource
import signal
import socket
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BINARY = os.path.abspath(os.environ.get("LIGNUM", os.path.join(ROOT, "build/release/lignum")))
FAULTS = os.path.abspath(os.environ.get("LIGNUM_FAULTS", os.path.join(ROOT, "build/faults/lignum")))
MUTANT = os.path.abspath(os.environ.get("LIGNUM_MUTANT", os.path.join(ROOT, "build/mutant-ack/lignum")))
SANITIZED = "asan" in BINARY or bool(os.environ.get("LIGNUM_SANITIZED"))
BIG = bool(os.environ.get("LIGNUM_BIG"))

SECRET = "c0ffee" + "00112233445566778899aabbccddeeff" * 2     # of clusters, in the form of `lignum secret new`

# Seconds after which a wait counts as stuck, with room for a slow or busy machine.
PATIENCE = 60 if SANITIZED else 30

LIBC = ctypes.CDLL(None)
PR_SET_PDEATHSIG = 1


def die_with_parent():
    """Call in a child before exec, so that a test run that is killed leaves no process behind."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def wait_until(condition, timeout=PATIENCE, what=None, every=0.01):
    """Polls until the condition is true and returns its value. A failure message includes the last exception."""
    end = time.monotonic() + timeout
    trouble = None
    while True:
        try:
            value = condition()
            if value:
                return value
            trouble = None
        except (OSError, AssertionError, ValueError) as e:
            trouble = e
        if time.monotonic() > end:
            raise AssertionError("after %g s still not: %s%s" % (
                timeout, what or getattr(condition, "__name__", "condition"),
                " (%s)" % trouble if trouble else ""))
        time.sleep(every)


def hold_for(seconds, why):
    """Lets time pass where time is the subject: the duration of a fault, the interval of a measurement, or a period in which
    something must not happen. `why` says which. Never use it to wait for something: use wait_until()."""
    end = time.monotonic() + seconds
    wait_until(lambda: time.monotonic() >= end, seconds + 5, why, every=min(0.05, seconds))


def within(seconds, measure, tries=5):
    """For a promise of time: measure(i), for i = 0, 1 ..., has to return less than `seconds` once in some tries. Others use the
    machine as well, and that makes a try longer, but no try shorter."""
    took = []
    while len(took) < tries:
        took.append(measure(len(took)))
        if took[-1] < seconds:
            return
    raise AssertionError("not within %g s, but in %s" % (seconds, ", ".join("%.2f" % t for t in took)))


def freeze(pid):
    """Sends SIGSTOP and waits until every thread is stopped: some run on for a moment on other processors."""
    os.kill(pid, signal.SIGSTOP)

    def stands():
        for thread in os.listdir("/proc/%d/task" % pid):
            with open("/proc/%d/task/%s/stat" % (pid, thread)) as f:
                if f.read().rpartition(")")[2].split()[0] != "T":
                    return False
        return True
    wait_until(stands, what="all threads are stopped", every=0.001)


def as_id(value):
    """A short test id for a value of pytest.mark.parametrize."""
    text = value if isinstance(value, str) else repr(sorted(value) if isinstance(value, set) else value)
    return "".join(c if " " <= c <= "~" and c not in "[]" else "." for c in text)[:40]


@contextlib.contextmanager
def running(*functions):
    """Runs each function on its own thread while the body runs, then joins all threads and raises the first failure."""
    failures = []

    def guarded(f):
        try:
            f()
        except BaseException as e:      # includes failed assertions; raised again below
            failures.append(e)
    threads = [threading.Thread(target=guarded, args=(f,), daemon=True) for f in functions]
    for t in threads:
        t.start()
    yield
    for t in threads:
        t.join()
    if failures:
        raise failures[0]


def in_threads(*functions):
    """Runs all functions at once and returns when all have returned; raises the first failure."""
    with running(*functions):
        pass


class Background:
    """Calls a function repeatedly on its own thread until it is stopped; a failure is raised then."""

    def __init__(self, step):
        self.step, self.over, self.failure, self.count = step, threading.Event(), None, 0
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self):
        while not self.over.is_set():
            try:
                self.step()
                self.count += 1
            except BaseException as e:
                self.failure = e
                return

    def __enter__(self):
        self.thread.start()
        return self

    def stop(self):
        self.over.set()
        self.thread.join(PATIENCE)

    def __exit__(self, kind, *_):
        self.stop()
        if self.failure and not kind:
            raise self.failure

    def progresses(self, steps=20, timeout=PATIENCE):
        """Waits for this many more calls."""
        target = self.count + steps
        wait_until(lambda: self.failure or self.count >= target, timeout, "work in the background goes on")
        if self.failure:
            raise self.failure


def _crc_table():
    table = []
    for n in range(256):
        for _ in range(8):
            n = (n >> 1) ^ 0x82F63B78 if n & 1 else n >> 1
        table.append(n)
    return table


CRC_TABLE = _crc_table()


def crc32c(*parts):
    crc = 0xFFFFFFFF
    for part in parts:
        for byte in part:
            crc = CRC_TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def raise_descriptors(want):
    """Raises the limit of this process towards `want` and returns the new limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < want:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(want, hard), hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


# ------------------------------------------------------------------------------------------- ports

FIRST_PORT, PORTS = 15000, 12000    # below the ephemeral range, so that a restarted node finds its port free


def _next_number(count):
    """Takes `count` numbers from one counter for all test processes of this user, so that none takes the port of a node that is
    down for a moment, or not started yet."""
    with open("/tmp/lignum-ports-%d" % os.getuid(), "a+") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        f.seek(0)
        number = int(f.read() or 0)
        f.truncate(0)
        f.write(str((number + count) % PORTS))
    return number


def is_free(port):
    with contextlib.suppress(OSError), socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(("127.0.0.1", port))
        return True
    return False


def free_port(above=()):
    """A port without a listener, of which there is no other user. `above`: distances to further ports of that kind."""
    for _ in range(PORTS):
        port = FIRST_PORT + _next_number(1 + max(above, default=0))
        if all(is_free(port + n) for n in [0, *above]):
            return port
    raise RuntimeError("no free port")
