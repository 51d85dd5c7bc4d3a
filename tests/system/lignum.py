"""The harness of the system tests: real brokers, spoken to over loopback.

A test class derives from Test and asks it for brokers: `b = self.broker(config="...")`. Each has a data
directory and a socket of its own, and is ended with the test. Ending is a check too: a broker must leave with
the exit code that the test expects (0 unless it says otherwise) and must not have said a sanitizer's report.

Nothing here sleeps as synchronisation: wait_until polls a condition, and fails with what it waited for. Only
processes that a test started are signalled, each by its own id.

Environment: LIGNUM (the binary under test), LIGNUM_FAULTS and LIGNUM_MUTANT (builds with fault points).
"""

import contextlib
import ctypes
import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BINARY = os.path.abspath(os.environ.get("LIGNUM", os.path.join(ROOT, "build/release/lignum")))
FAULTS = os.path.abspath(os.environ.get("LIGNUM_FAULTS", os.path.join(ROOT, "build/faults/lignum")))
MUTANT = os.path.abspath(os.environ.get("LIGNUM_MUTANT", os.path.join(ROOT, "build/mutant-ack/lignum")))
SANITIZED = "asan" in BINARY or bool(os.environ.get("LIGNUM_SANITIZED"))
BIG = bool(os.environ.get("LIGNUM_BIG"))

# How much slower than on a quiet machine something may be before it counts as stuck.
PATIENCE = 60 if SANITIZED else 30

LIBC = ctypes.CDLL(None)
PR_SET_PDEATHSIG = 1

SANITIZER_SIGNS = ("AddressSanitizer", "LeakSanitizer", "UndefinedBehaviorSanitizer", "runtime error:",
                   "ThreadSanitizer", "ENSURE")


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


# --------------------------------------------------------------------------------------------- HTTP

class BadAnswer(AssertionError):
    """The broker's answer is not HTTP as RFC 9112 has it."""


class Closed(OSError):
    """The broker closed the connection where an answer was due."""


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def __repr__(self):
        return "%d %r %r" % (self.status, self.headers, self.body[:300])

    def header(self, name):
        values = [v for n, v in self.headers if n == name.lower()]
        return ", ".join(values) if values else None

    @property
    def text(self):
        return self.body.decode("utf-8")

    @property
    def json(self):
        """The body as strict JSON: no NaN, no repeated names."""
        def pairs(items):
            names = [n for n, _ in items]
            if len(set(names)) != len(names):
                raise BadAnswer("a name twice in %r" % names)
            return dict(items)

        def constant(c):
            raise BadAnswer("%s is not JSON" % c)
        try:
            return json.loads(self.body.decode("utf-8"), object_pairs_hook=pairs, parse_constant=constant)
        except (ValueError, UnicodeDecodeError) as e:
            raise BadAnswer("not JSON: %s in %r" % (e, self.body[:300]))


TOKEN = re.compile(rb"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")


class Connection:
    """One connection, keep-alive, with a strict reader. send() takes raw bytes; answer() reads one answer."""

    def __init__(self, port, timeout=PATIENCE, receive_buffer=None, host="127.0.0.1"):
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(timeout)
        try:
            self.socket.connect((host, port))
        except OSError:
            self.socket.close()
            raise
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.input = b""
        self.interim = []   # 1xx statuses seen before the last answer

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def more(self):
        data = self.socket.recv(1 << 16)
        if not data:
            raise Closed("closed by the broker; unread input %r" % self.input[:200])
        self.input += data

    def _until(self, mark, most=1 << 20):
        while mark not in self.input:
            if len(self.input) > most:
                raise BadAnswer("no %r in %d bytes" % (mark, most))
            self.more()
        found, _, self.input = self.input.partition(mark)
        return found

    def _exactly(self, n):
        parts, have = [self.input], len(self.input)
        while have < n:
            data = self.socket.recv(min(1 << 20, n - have))
            if not data:
                raise Closed("closed %d bytes before the end of a body" % (n - have))
            parts.append(data)
            have += len(data)
        whole = b"".join(parts)
        self.input = whole[n:]
        return whole[:n]

    def _rest(self):
        with contextlib.suppress(Closed):
            while True:
                self.more()
        rest, self.input = self.input, b""
        return rest

    def head(self):
        """Status, minor version and headers of the next answer; interim ones are noted and skipped."""
        self.interim = []
        while True:
            lines = self._until(b"\r\n\r\n").split(b"\r\n")
            m = re.match(rb"^HTTP/1\.([01]) ([1-5]\d\d) ([\t\x20-\x7e]*)$", lines[0])
            if not m:
                raise BadAnswer("bad status line %r" % lines[0])
            headers = []
            for line in lines[1:]:
                name, colon, value = line.partition(b":")
                if not colon or not TOKEN.match(name) or re.search(rb"[\x00-\x08\x0a-\x1f\x7f]", value):
                    raise BadAnswer("bad header line %r" % line)
                headers.append((name.decode().lower(), value.strip(b" \t").decode("latin-1")))
            status = int(m.group(2))
            if status >= 200:
                return status, headers
            self.interim.append(status)

    def chunk(self):
        """One chunk of a chunked answer; b"" is the last."""
        line = self._until(b"\r\n", 64)
        if not re.match(rb"^[0-9A-Fa-f]+$", line):
            raise BadAnswer("bad chunk size %r" % line)
        size = int(line, 16)
        data = self._exactly(size)
        if self._exactly(2) != b"\r\n":
            raise BadAnswer("a chunk of %d bytes is not followed by CRLF" % size)
        return data

    def answer(self, method="GET"):
        status, headers = self.head()
        names = [n for n, _ in headers]
        lengths = [v for n, v in headers if n == "content-length"]
        codings = [v for n, v in headers if n == "transfer-encoding"]
        if len(lengths) + len(codings) > 1:
            raise BadAnswer("framed more than once: %r" % headers)
        for once in ("content-type", "date", "server", "connection"):
            if names.count(once) > 1:
                raise BadAnswer("%s more than once" % once)
        if method == "HEAD" or status in (204, 304):
            body = b""
        elif lengths:
            body = self._exactly(int(lengths[0]))
        elif codings:
            if codings[0] != "chunked":
                raise BadAnswer("unknown coding %r" % codings[0])
            body = b"".join(iter(self.chunk, b""))
        else:
            body = self._rest()
        return Answer(status, headers, body)

    def request(self, method, target, body=None, headers=()):
        self.send(request_bytes(method, target, body, headers))
        return self.answer(method)

    def closed(self, timeout=PATIENCE):
        """True once the broker has closed its side, having sent nothing more."""
        self.socket.settimeout(timeout)
        try:
            data = self.socket.recv(1 << 16)
        except ConnectionResetError:
            return True
        if data:
            raise BadAnswer("unexpected bytes %r" % (self.input + data)[:200])
        return True


def request_bytes(method, target, body=None, headers=()):
    if isinstance(headers, dict):
        headers = headers.items()
    if isinstance(body, str):
        body = body.encode()
    lines = ["%s %s HTTP/1.1" % (method, target), "Host: localhost"]
    lines += ["%s: %s" % (n, v) for n, v in headers]
    if body is not None:
        lines.append("Content-Length: %d" % len(body))
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + (body or b"")


# ------------------------------------------------------------------------------------------- broker

class Broker:
    """One broker process and its directory. Started by start() or by entering it."""

    def __init__(self, folder, config=None, flags=(), set=(), env=None, descriptors=None, binary=None,
                 data=None, listen="127.0.0.1:0"):
        self.folder = folder
        self.host = "127.0.0.1"
        self.data = data or os.path.join(folder, "data")
        self.console = os.path.join(folder, "console")
        self.config_path = os.path.join(folder, "lignum.lua")
        self.stderr_path = os.path.join(folder, "stderr")
        self.binary = binary or BINARY
        self.flags, self.set, self.env = list(flags), list(set), dict(env or {})
        self.listen, self.descriptors = listen, descriptors
        self.process = self.port = None
        self.starts = 0
        self.awaited = True         # somebody has looked at the end of the present process, or made it
        self.said_before = 0        # where in stderr the present process began
        self.write_config(config or "")

    # -- life

    def write_config(self, text):
        """Replaces lignum.lua as an editor does: whole."""
        with open(self.config_path + ".new", "w") as f:
            f.write(text)
        os.rename(self.config_path + ".new", self.config_path)

    def command(self):
        sets = [w for s in self.set for w in ("--set", s)]
        return [self.binary, "serve", "-c", self.config_path, "--listen", self.listen, "--data", self.data,
                "--console", self.console, *sets, *self.flags]

    def spawn(self):
        """Starts the process without waiting for it to be ready."""
        if self.process and self.process.poll() is None:
            raise AssertionError("it runs already")
        env = dict(os.environ, **self.env)
        env.setdefault("ASAN_OPTIONS", "abort_on_error=0:exitcode=99:detect_leaks=1")
        env.setdefault("UBSAN_OPTIONS", "print_stacktrace=1:exitcode=99")
        limit = self.descriptors

        def prepare():
            LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)     # a test run that is killed leaves no broker behind
            if limit:
                resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
            self.in_child()
        with open(self.stderr_path, "ab") as err:
            self.said_before = err.tell()
            self.process = subprocess.Popen(self.command(), cwd=self.folder, env=env, stdin=subprocess.DEVNULL,
                                            stdout=err, stderr=err, preexec_fn=prepare)
        self.starts += 1
        self.awaited = False
        return self

    def in_child(self):
        """What else the new process does before it becomes the broker."""

    def start(self, timeout=PATIENCE):
        self.spawn()

        def listens():
            text = self.said()
            m = re.search(r"listening address=\S*?:(\d+)", text)
            if m and " main: ready " in text:
                self.port = int(m.group(1))
                return True
            if self.process.poll() is not None:
                raise RuntimeError("the broker ended with %d:\n%s" % (self.process.returncode, self.said()))
            return False
        wait_until(listens, timeout, "the broker listens", every=0.002)
        return self

    def __enter__(self):
        return self.start()

    def __exit__(self, kind, *_):
        if kind:
            self.kill()
        else:
            self.stop()

    def running(self):
        return self.process is not None and self.process.poll() is None

    def wait_exit(self, timeout=PATIENCE):
        """Waits for the process to end by itself; its exit code."""
        self.awaited = True
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError("the broker did not end within %g s:\n%s" % (timeout, self.said()[-2000:]))

    def signal(self, number):
        self.process.send_signal(number)

    def stop(self, expect=0, timeout=PATIENCE):
        """SIGTERM, and checks how it leaves."""
        self.signal(signal.SIGTERM)
        try:
            code = self.wait_exit(timeout)
        except AssertionError:
            self.kill()
            raise
        if code != expect:
            raise AssertionError("exit code %d, not %d:\n%s" % (code, expect, self.said()[-4000:]))
        self.check_said()
        return code

    def kill(self):
        """kill -9, and nobody is asked."""
        self.awaited = True
        if self.running():
            self.process.kill()
        if self.process:
            self.process.wait()

    def restart(self, **kw):
        self.stop()
        return self.start(**kw)

    def reload(self, expect=True):
        """SIGHUP; waits until its outcome is said. `expect` None takes either."""
        at = os.path.getsize(self.stderr_path)
        self.signal(signal.SIGHUP)

        def outcome():
            return re.search(r" main: (reloaded|reload refused)", self.said_from(at))
        wait_until(outcome, what="the reload's outcome is said")
        text = self.said_from(at)
        failed = "reload refused" in text
        if expect is not None and failed == expect:
            raise AssertionError("the reload %s:\n%s" % ("failed" if failed else "was taken", text))
        return text

    # -- what it says

    def said_from(self, at):
        with open(self.stderr_path, "rb") as f:
            f.seek(at)
            return f.read().decode("utf-8", "replace")

    def said(self):
        """What the present process has written to stderr."""
        return self.said_from(self.said_before)

    def check_said(self):
        text = self.said_from(0)
        for sign in SANITIZER_SIGNS:
            if sign in text:
                raise AssertionError("stderr has %r:\n%s" % (sign, text[-6000:]))

    # -- what it costs

    def status(self, name):
        """A number of /proc/PID/status, such as VmRSS or RssAnon in kB."""
        with open("/proc/%d/status" % self.process.pid) as f:
            return int(re.search(r"^%s:\s+(\d+)" % name, f.read(), re.M).group(1))

    def descriptors_open(self):
        return len(os.listdir("/proc/%d/fd" % self.process.pid))

    def cpu_seconds(self):
        with open("/proc/%d/stat" % self.process.pid) as f:
            fields = f.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def switches(self):
        """Voluntary context switches of all threads: how often it went to sleep, so how often it woke."""
        total = 0
        base = "/proc/%d/task" % self.process.pid
        for thread in os.listdir(base):
            with open("%s/%s/status" % (base, thread)) as f:
                total += int(re.search(r"^voluntary_ctxt_switches:\s+(\d+)", f.read(), re.M).group(1))
        return total

    # -- requests

    def connect(self, **kw):
        return Connection(self.port, host=self.host, **kw)

    def request(self, method, target, body=None, headers=(), **kw):
        """One request on a connection of its own."""
        with self.connect(**kw) as c:
            return c.request(method, target, body, headers)

    def get(self, target, **kw):
        return self.request("GET", target, **kw)

    def post(self, target, body=b"", **kw):
        return self.request("POST", target, body, **kw)

    def ok(self, method, target, body=None, headers=(), status=200, **kw):
        a = self.request(method, target, body, headers, **kw)
        if a.status != status:
            raise AssertionError("%s %s: %d, not %d: %r" % (method, target, a.status, status, a.body[:500]))
        return a

    def publish(self, topic, payload, headers=()):
        """One message byte for byte; the broker's answer as a table."""
        return self.ok("POST", "/v1/topics/%s/messages" % topic, payload, headers).json

    def publish_lines(self, topic, lines):
        """A batch: one message a line."""
        body = b"".join(l + b"\n" for l in lines)
        return self.ok("POST", "/v1/topics/%s/messages" % topic, body,
                       {"Content-Type": "application/x-ndjson"}).json

    def read(self, topic, **query):
        """One read of /v1 as a table."""
        words = "&".join("%s=%s" % (n.rstrip("_"), v) for n, v in query.items())
        return self.ok("GET", "/v1/topics/%s/messages?%s" % (topic, words)).json

    def messages(self, topic, from_=0, to=None, connection=None):
        """Payloads of [from, to) as bytes, read page by page; offsets are checked to be dense."""
        out, at = [], from_
        c = connection or self.connect()
        try:
            while to is None or at < to:
                a = c.request("GET", "/v1/topics/%s/messages?from=%d&limit=10000&bytes=8388608%s" % (
                    topic, at, "" if to is None else "&to=%d" % to))
                if a.status != 200:
                    raise AssertionError("reading %s from %d: %r" % (topic, at, a))
                page = a.json
                for m in page["messages"]:
                    if m["offset"] != at:
                        raise AssertionError("offset %d where %d was due" % (m["offset"], at))
                    out.append(payload_of(m))
                    at += 1
                if page["next"] != at:
                    raise AssertionError("next is %d after offset %d" % (page["next"], at))
                if not page["messages"]:
                    break
        finally:
            if not connection:
                c.close()
        return out

    def topic(self, name):
        return self.ok("GET", "/v1/topics/%s" % name).json

    def metrics(self):
        """The samples of /metrics: {"name{labels}": value}."""
        samples = {}
        for line in self.ok("GET", "/metrics").text.splitlines():
            if line and not line.startswith("#"):
                name, _, value = line.rpartition(" ")
                samples[name] = float(value)
        return samples

    def ready(self):
        return self.get("/readyz").status == 200

    # -- the command line

    def lignum(self, *words, **kw):
        return lignum(*words, binary=self.binary, cwd=self.folder, **kw)

    def verify(self):
        return self.lignum("verify", self.data)


def payload_of(m):
    if "base64" in m:
        import base64
        return base64.b64decode(m["base64"], validate=True)
    return m["data"].encode()


class Ran:
    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err

    def __repr__(self):
        return "exit %d\nstdout: %s\nstderr: %s" % (self.code, self.out[-2000:], self.err[-2000:])


def lignum(*words, binary=None, cwd=None, input=None, timeout=PATIENCE, env=None):
    """Runs a command of the binary to its end."""
    p = subprocess.run([binary or BINARY, *words], cwd=cwd, input=input, capture_output=True, timeout=timeout,
                       env=dict(os.environ, **(env or {})), **({} if input is not None else
                                                               {"stdin": subprocess.DEVNULL}))
    return Ran(p.returncode, p.stdout.decode("utf-8", "replace"), p.stderr.decode("utf-8", "replace"))


# -------------------------------------------------------------------------------------------- tests

class Test(unittest.TestCase):
    """Gives brokers and folders that end with the test."""

    def setUp(self):
        # Short, because the console's socket path has to fit into 108 bytes.
        self.folder = tempfile.mkdtemp(prefix="lignum-", dir=os.environ.get("LIGNUM_TMP"))
        self.addCleanup(shutil.rmtree, self.folder, True)
        self.brokers = 0

    def need(self, path, what):
        if not os.access(path, os.X_OK):
            self.skipTest("%s is not there: %s" % (what, os.path.relpath(path, ROOT)))

    def made(self, **kw):
        """A broker that is not started yet. `expect_exit` is how it must leave at the end (None: do not look)."""
        expect = kw.pop("expect_exit", 0)
        self.need(kw.get("binary") or BINARY, "the binary")
        self.brokers += 1
        folder = kw.pop("folder", None) or os.path.join(self.folder, "b%d" % self.brokers)
        os.makedirs(folder, exist_ok=True)
        b = Broker(folder, **kw)
        self.addCleanup(self._end, b, expect)
        return b

    def broker(self, **kw):
        return self.made(**kw).start()

    @classmethod
    def share(cls, **kw):
        """A broker for all tests of a class, where they only look at answers; for setUpClass."""
        if not os.access(BINARY, os.X_OK):
            raise unittest.SkipTest("the binary is not there: %s" % os.path.relpath(BINARY, ROOT))
        folder = tempfile.mkdtemp(prefix="lignum-", dir=os.environ.get("LIGNUM_TMP"))
        cls.addClassCleanup(shutil.rmtree, folder, True)
        b = Broker(folder, **kw)

        def end():
            try:
                b.stop()        # fails too when it has ended by itself
            finally:
                b.kill()
        cls.addClassCleanup(end)
        return b.start()

    def _end(self, b, expect):
        """Runs after the test: a broker that still runs is stopped properly, which is a check as well."""
        try:
            if b.running():
                if expect is None or self._failed():
                    b.kill()
                else:
                    b.stop(expect)
            elif not b.awaited and expect is not None:
                self.fail("the broker ended with %d when nobody asked it to:\n%s" % (
                    b.process.returncode, b.said()[-3000:]))
            if b.process:
                b.check_said()
        finally:
            b.kill()
            if self._failed() and os.path.exists(b.stderr_path):
                print("--- stderr of %s (%s)\n%s" % (b.folder, self.id(), b.said_from(0)[-3000:]))

    def _failed(self):
        """Also during clean-up: what pytest has noted of this test."""
        return bool(getattr(getattr(getattr(self, "_outcome", None), "result", None), "_excinfo", None))

    # -- claims used by several files

    def assertStatus(self, answer, status, code=None):
        if answer.status != status:
            self.fail("%d where %d was due: %r" % (answer.status, status, answer))
        if code:
            self.assertProblem(answer, code)

    def assertProblem(self, answer, code):
        """An error of RFC 9457 with our members."""
        self.assertEqual(answer.header("content-type"), "application/problem+json", answer)
        p = answer.json
        self.assertEqual(p.get("code"), code, p)
        self.assertEqual(p.get("status"), answer.status, p)
        self.assertIsInstance(p.get("detail"), str, p)
        self.assertIsInstance(p.get("retryable"), bool, p)
        return p

    def assertFlat(self, before, after, most_kb, what):
        self.assertLessEqual(after - before, most_kb, "%s grew from %d to %d kB" % (what, before, after))


def in_threads(*functions):
    """Runs all at once and raises the first failure among them."""
    failures = []

    def guarded(f):
        try:
            f()
        except BaseException as e:      # also of a failing assertion: it is raised again below
            failures.append(e)
    threads = [threading.Thread(target=guarded, args=(f,), daemon=True) for f in functions]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if failures:
        raise failures[0]


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
