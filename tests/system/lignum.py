"""Brokers under test: real processes, each with its own data directory and console, reached over loopback.

Stopping a broker checks it: the exit code must be the expected one, and stderr must not contain a sanitizer's report. Signals
go only to processes started here, by process id.
"""

import os
import re
import resource
import signal
import subprocess
import time

from client import Connection, payload_of
from common import BINARY, PATIENCE, die_with_parent, wait_until

SANITIZER_SIGNS = ("AddressSanitizer", "LeakSanitizer", "UndefinedBehaviorSanitizer", "runtime error:",
                   "ThreadSanitizer", "ENSURE")


class Broker:
    """One broker process and its directory. start() or entering the object starts it."""

    def __init__(self, folder, config=None, flags=(), set=(), env=None, descriptors=None, binary=None,
                 data=None, listen="127.0.0.1:0"):
        self.folder, self.name = folder, os.path.basename(folder)
        self.host = "127.0.0.1"
        self.data = data or os.path.join(folder, "data")
        self.console = os.path.join(folder, "console")
        self.config_path = os.path.join(folder, "lignum.lua")
        self.stderr_path = os.path.join(folder, "stderr")
        self.stderr = None          # where the process writes its log instead of to stderr_path
        self.binary = binary or BINARY
        self.flags, self.set, self.env = list(flags), list(set), dict(env or {})
        self.listen, self.descriptors = listen, descriptors
        self.process = self.port = None
        self.ports = []             # of all its listeners, in their order
        self.starts = 0
        self.awaited = True         # the end of the current process was checked or caused
        self.said_before = 0        # size of stderr when the current process began
        self.write_config(config or "")

    # -- life

    def write_config(self, text):
        """Replaces lignum.lua by rename, as an editor does."""
        with open(self.config_path + ".new", "w") as f:
            f.write(text)
        os.rename(self.config_path + ".new", self.config_path)

    def command(self):
        sets = [w for s in self.set for w in ("--set", s)]
        listen = ["--listen", self.listen] if self.listen else []        # else lignum.lua says where
        return [self.binary, "serve", "-c", self.config_path, *listen, "--data", self.data,
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
            die_with_parent()
            if limit:
                resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
            self.in_child()
        with open(self.stderr_path, "ab") as err:
            self.said_before = err.tell()
            self.process = subprocess.Popen(self.command(), cwd=self.folder, env=env, stdin=subprocess.DEVNULL,
                                            stdout=err, stderr=self.stderr or err,
                                            preexec_fn=prepare)
        self.starts += 1
        self.awaited = False
        return self

    def spawn_unread(self):
        """Spawns it with a pipe as its log that nobody reads from `ready` on; returns the reading end."""
        end, self.stderr = os.pipe()
        self.spawn()
        os.close(self.stderr)
        text = b""
        while b" main: ready " not in text:
            text += os.read(end, 65536)
        self.port = int(re.search(rb"listening address=\S*?:(\d+)", text)[1])
        return end

    def in_child(self):
        """Hook for subclasses: runs in the child before exec."""

    def serves(self):
        """True once the log says that it is ready; sets the port."""
        text = self.said()
        m = re.search(r"listening address=\S*?:(\d+)", text)
        if not m or " main: ready " not in text:
            return False
        self.port = int(m[1])
        self.ports = [int(port) for port in re.findall(r"listening address=\S*?:(\d+)", text)]
        return True

    def settles(self, timeout=PATIENCE):
        """Waits until it serves (True) or has ended by itself (False; wait_exit() gives the code)."""
        wait_until(lambda: self.serves() or self.process.poll() is not None, timeout, "%s serves or ends" % self.name, every=0.002)
        return self.running()

    def wait_ready(self, timeout=PATIENCE):
        if not self.settles(timeout):
            raise RuntimeError("%s ended with %d:\n%s" % (self.name, self.process.returncode, self.said()))
        return self

    def try_start(self, timeout=PATIENCE):
        return self.spawn().settles(timeout)

    def start(self, timeout=PATIENCE):
        return self.spawn().wait_ready(timeout)

    def seconds_to_ready(self, timeout=PATIENCE):
        began = time.monotonic()
        self.start(timeout)
        return time.monotonic() - began

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
        """Waits until the process has ended by itself; returns its exit code."""
        self.awaited = True
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError("the broker did not end within %g s:\n%s" % (timeout, self.said()[-2000:]))

    def signal(self, number):
        self.process.send_signal(number)

    def stop(self, expect=0, timeout=PATIENCE):
        """Sends SIGTERM and checks the exit code."""
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
        """kill -9; the exit code is not checked."""
        self.awaited = True
        if self.running():
            self.process.kill()
        if self.process:
            self.process.wait()

    def restart(self, **kw):
        self.stop()
        return self.start(**kw)

    def reload(self, expect=True):
        """Sends SIGHUP and waits for the outcome in the log. `expect`: True, False, or None for either."""
        at = os.path.getsize(self.stderr_path)
        self.signal(signal.SIGHUP)

        def outcome():
            return re.search(r" main: (reloaded|reload refused)", self.said_from(at))
        # The file may compute for 5 s of processor time, of which a busy machine gives little.
        wait_until(outcome, 4 * PATIENCE, what="the reload's outcome is said")
        text = self.said_from(at)
        failed = "reload refused" in text
        if expect is not None and failed == expect:
            raise AssertionError("the reload %s:\n%s" % ("failed" if failed else "was taken", text))
        return text

    # -- its log

    def said_from(self, at):
        with open(self.stderr_path, "rb") as f:
            f.seek(at)
            return f.read().decode("utf-8", "replace")

    def said(self):
        """What the current process has written to stderr."""
        return self.said_from(self.said_before)

    def said_last(self, size):
        """The last bytes that its processes have written to stderr."""
        if not os.path.exists(self.stderr_path):
            return ""
        return self.said_from(max(0, os.path.getsize(self.stderr_path) - size))

    def check_said(self):
        text = self.said_from(0)
        for sign in SANITIZER_SIGNS:
            if sign in text:
                raise AssertionError("stderr has %r:\n%s" % (sign, text[-6000:]))

    # -- its use of resources

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
        """Voluntary context switches of all threads, so the number of wake-ups."""
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
        """One request on a new connection."""
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
        """Publishes one message as raw bytes; returns the broker's answer."""
        return self.ok("POST", "/v1/topics/%s/messages" % topic, payload, headers).json

    def publish_lines(self, topic, lines):
        """Publishes a batch, one message a line."""
        body = b"".join(l + b"\n" for l in lines)
        return self.ok("POST", "/v1/topics/%s/messages" % topic, body,
                       {"Content-Type": "application/x-ndjson"}).json

    def read(self, topic, **query):
        """One read of /v1; returns the decoded answer."""
        words = "&".join("%s=%s" % (n.rstrip("_"), v) for n, v in query.items())
        return self.ok("GET", "/v1/topics/%s/messages?%s" % (topic, words)).json

    def messages(self, topic, from_=0, to=None, connection=None):
        """Payloads of [from, to) as bytes, read page by page; checks that offsets are dense."""
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

    def in_flight(self):
        """Requests that are not answered yet, without the one that asks."""
        return sum(v for n, v in self.metrics().items() if n.startswith("lignum_http_requests_in_flight")) - 1

    # -- the command line

    def lignum(self, *words, **kw):
        return lignum(*words, binary=self.binary, cwd=self.folder, **kw)

    def evaluate(self, code, **kw):
        """Runs a line of Lua in its console; the caller checks the outcome."""
        return self.lignum("console", self.console, "-e", code, **kw)

    def lua(self, code):
        """Runs a line of Lua, which must succeed, in its console; returns what it prints."""
        ran = self.evaluate(code)
        if ran.code != 0:
            raise AssertionError("%s: %r" % (code, ran))
        return ran.out.strip()

    def verify(self):
        return self.lignum("verify", self.data)


class Ran:
    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err

    def __repr__(self):
        return "exit %d\nstdout: %s\nstderr: %s" % (self.code, self.out[-2000:], self.err[-2000:])


def lignum(*words, binary=None, cwd=None, input=None, timeout=PATIENCE, env=None):
    """Runs a command of the binary and returns its exit code and output."""
    p = subprocess.run([binary or BINARY, *words], cwd=cwd, input=input, capture_output=True, timeout=timeout,
                       env=dict(os.environ, **(env or {})), **({} if input is not None else
                                                               {"stdin": subprocess.DEVNULL}))
    return Ran(p.returncode, p.stdout.decode("utf-8", "replace"), p.stderr.decode("utf-8", "replace"))
