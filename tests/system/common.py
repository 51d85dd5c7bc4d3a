"""What everything in this folder stands on: the binaries under test, waiting for conditions, threads, checksums.

Nothing here sleeps as synchronisation: wait_until polls a condition, and fails with what it waited for.

Environment: LIGNUM (the binary under test), LIGNUM_FAULTS and LIGNUM_MUTANT (builds with fault points), LIGNUM_BIG (the long
forms), LIGNUM_TMP (where folders of tests lie), LIGNUM_KEEP (where those of failed tests are copied to), LIGNUM_SEED.
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

# How much slower than on a quiet machine something may be before it counts as stuck.
PATIENCE = 60 if SANITIZED else 30

LIBC = ctypes.CDLL(None)
PR_SET_PDEATHSIG = 1


def die_with_parent():
    """For a child before it becomes its program: a test run that is killed leaves no process behind."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def wait_until(condition, timeout=PATIENCE, what=None, every=0.01):
    """Polls until the condition holds and returns what it returned. The last exception is part of the report."""
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
    """Lets time pass that is itself the subject: how long a fault lasts, over how long a rate is measured, or how long something
    must not happen. Never to wait for something; `why` tells the reader which of these it is."""
    end = time.monotonic() + seconds
    wait_until(lambda: time.monotonic() >= end, seconds + 5, why, every=min(0.05, seconds))


def freeze(pid):
    """SIGSTOP, and until all its threads stand: some run on for a moment on other processors."""
    os.kill(pid, signal.SIGSTOP)

    def stands():
        for thread in os.listdir("/proc/%d/task" % pid):
            with open("/proc/%d/task/%s/stat" % (pid, thread)) as f:
                if f.read().rpartition(")")[2].split()[0] != "T":
                    return False
        return True
    wait_until(stands, what="all threads are stopped", every=0.001)


def as_id(value):
    """A short name for a value of pytest.mark.parametrize, which would print long ones whole."""
    text = value if isinstance(value, str) else repr(sorted(value) if isinstance(value, set) else value)
    return "".join(c if " " <= c <= "~" and c not in "[]" else "." for c in text)[:40]


@contextlib.contextmanager
def running(*functions):
    """All are at work on threads of their own while the body runs, which then waits until each has ended; the first failure among
    them is raised."""
    failures = []

    def guarded(f):
        try:
            f()
        except BaseException as e:      # also of a failing assertion: it is raised again below
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
    """Runs all at once, to their ends."""
    with running(*functions):
        pass


class Background:
    """A function that is called again and again on a thread of its own until stopped; its failure is raised then."""

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
        """Waits until it has made that many more steps."""
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
    """Raises this process's own limit as far as allowed; the limit that holds now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < want:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(want, hard), hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


# ------------------------------------------------------------------------------------------- ports

FIRST_PORT, PORTS = 15000, 12000    # below those that the kernel gives away, so that a node finds its own again after a restart


def _next_number():
    """Counts through all test processes of this user: a port is not given twice while its node is down for a moment."""
    with open("/tmp/lignum-ports-%d" % os.getuid(), "a+") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        f.seek(0)
        number = int(f.read() or 0)
        f.truncate(0)
        f.write(str((number + 1) % PORTS))
    return number


def is_free(port):
    with contextlib.suppress(OSError), socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(("127.0.0.1", port))
        return True
    return False


def free_port(above=()):
    """A port that nobody listens on; `above`: nor on those that lie so far above it."""
    for _ in range(PORTS):
        port = FIRST_PORT + _next_number()
        if all(is_free(port + n) for n in [0, *above]):
            return port
    raise RuntimeError("no free port")
