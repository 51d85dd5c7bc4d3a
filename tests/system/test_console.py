"""The console: its socket, its frames, and its client with and without a terminal."""

import fcntl
import os
import pty
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import termios
import time

import pytest

from common import BINARY, PATIENCE, wait_until
from lignum import lignum

CONSOLES_MAX = 16
FRAME_SIZE_MAX = 1 << 20
PROMPT = r"lignum> (?:\x1b\[\S*)?"


class Session:
    """A client of the frame protocol."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(PATIENCE)
        self.socket.connect(path)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def send(self, kind, text=b""):
        self.socket.sendall(struct.pack("<Ic", len(text), kind) + text)

    def _exactly(self, n):
        data = b""
        while len(data) < n:
            more = self.socket.recv(n - len(data))
            if not more:
                raise EOFError(data)
            data += more
        return data

    def frame(self):
        size, kind = struct.unpack("<Ic", self._exactly(5))
        return kind, self._exactly(size)

    def hello(self):
        kind, text = self.frame()
        assert kind == b"H", (kind, text)
        return text

    def ask(self, kind, text):
        self.send(kind, text)
        return self.frame()


class Terminal:
    """The command-line client on a pseudo-terminal."""

    def __init__(self, words, home, **more):
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        env = dict(os.environ, HOME=home, TERM="xterm", LC_ALL="C.UTF-8", **more)
        env.pop("XDG_STATE_HOME", None)

        def own():
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        self.process = subprocess.Popen(words, stdin=slave, stdout=slave, stderr=slave, env=env, start_new_session=True,
                                        preexec_fn=own)
        os.close(slave)
        self.seen = ""

    def type(self, text):
        os.write(self.master, text.encode())

    def expect(self, pattern):
        """Reads until the pattern matches; keeps what follows for the next call."""
        end = time.monotonic() + PATIENCE
        while True:
            m = re.search(pattern, self.seen)
            if m:
                self.seen = self.seen[m.end():]
                return m
            if not select.select([self.master], [], [], max(0, end - time.monotonic()))[0]:
                raise AssertionError("no %r in %r" % (pattern, self.seen))
            try:
                data = os.read(self.master, 4096)
            except OSError:
                raise AssertionError("ended without %r in %r" % (pattern, self.seen))
            self.seen += data.decode("utf-8", "replace")

    def answers(self, line, pattern):
        """Types a line and expects its answer and the next prompt."""
        self.type(line + "\r")
        self.expect(pattern)
        self.expect(PROMPT)

    def leave(self):
        self.type("\x04")
        assert self.process.wait(PATIENCE) == 0

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.master)


@pytest.fixture
def b(node):
    return node()


@pytest.fixture
def session(defer):
    """session(b): a client that has read the greeting; closed after the test."""
    def open_session(b):
        s = Session(b.console)
        defer(s.close)
        s.hello()
        return s
    return open_session


@pytest.fixture
def terminal(b, folder, defer):
    """A terminal at its prompt."""
    t = Terminal([b.binary, "console", b.console], folder)
    defer(t.close)
    t.expect(r"Lignum \S+, node ")
    t.expect(r"help\(\)")
    t.expect(PROMPT)
    return t


def run_and_wait(b):
    """Starts the client with a script that does not end, and waits until the script runs."""
    p = subprocess.Popen([b.binary, "console", b.console, "-e", "print('runs') sleep(600)"], stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE)
    assert p.stdout.readline() == b"runs\n"
    return p


# ---- scripts

def test_a_value_is_shown_on_stdout(b):
    r = b.evaluate("1 + 1")
    assert (r.code, r.out, r.err) == (0, "2\n", ""), r


def test_output_comes_before_the_result(b):
    r = b.evaluate("print('a', 'b') return 5")
    assert (r.code, r.out) == (0, "a\tb\n5\n"), r


def test_a_lua_error_goes_to_stderr_and_exits_with_1(b):
    r = b.evaluate("print('before') error('broken thing')")
    assert (r.code, r.out) == (1, "before\n"), r
    assert "broken thing" in r.err
    assert b.evaluate("x = = 1").code == 1


def test_standard_input_is_one_script(b):
    script = b"local sum = 0\nfor i = 1, 4 do\n  sum = sum + i\nend\nprint(sum)\n"
    r = b.lignum("console", b.console, input=script)
    assert (r.code, r.out, r.err) == (0, "10\n", ""), r
    r = b.lignum("console", b.console, input=b"\xef\xbb\xbf#!/usr/bin/lignum console\nerror('here')")
    assert "console:2: here" in r.err, r


def test_a_script_that_ends_too_early_is_an_error(b):
    r = b.evaluate("for i = 1, 2 do")
    assert r.code == 1, r
    assert "in the middle of a statement" in r.err


def test_a_script_above_a_frame_is_refused_by_the_client(b):
    r = b.lignum("console", b.console, input=b"-" * (FRAME_SIZE_MAX + 1))
    assert r.code == 1, r
    assert "1 MiB" in r.err


def test_nobody_listening_is_69_with_the_path(folder):
    path = os.path.join(folder, "none")
    r = lignum("console", path, "-e", "1")
    assert r.code == 69, r
    assert path in r.err
    assert len(r.err.splitlines()) == 1


def test_megabytes_of_output_arrive_whole(node):
    b = node(set=["limits.script_time=5"])
    r = b.evaluate("print(('x'):rep(9000000)) for i = 1, 1000 do print(i) end")
    assert r.code == 0, r
    assert r.out == "x" * 9000000 + "\n" + "".join("%d\n" % i for i in range(1, 1001))


def test_a_broker_that_dies_under_a_line_is_69(make_node):
    b = make_node(expect_exit=None).start()
    p = run_and_wait(b)
    b.kill()
    err = p.communicate(timeout=PATIENCE)[1]
    assert p.returncode == 69, err
    assert b"closed the connection" in err


def test_ctrl_c_ends_a_script_with_1(b):
    p = run_and_wait(b)
    p.send_signal(signal.SIGINT)
    err = p.communicate(timeout=PATIENCE)[1]
    assert (p.returncode, err) == (1, b"interrupted\n")


# ---- the socket

def test_the_socket_is_private_and_every_client_is_logged(b):
    assert os.stat(b.console).st_mode & 0o777 == 0o600
    with Session(b.console) as s:
        assert b"Lignum " in s.hello()
        wait_until(lambda: re.search(r"console: opened session=1 pid=%d uid=%d" % (os.getpid(), os.getuid()),
                                     b.said()))
    wait_until(lambda: "console: closed session=1" in b.said())


def test_a_clean_stop_removes_the_socket(b):
    b.stop()
    assert not os.path.exists(b.console)


def test_the_socket_of_a_killed_broker_is_replaced(make_node):
    b = make_node().start()
    b.kill()
    assert os.path.exists(b.console)
    b.start()
    assert b.evaluate("1 + 1").out == "2\n"


def test_the_socket_of_a_living_broker_is_not_taken(b, make_node):
    other = make_node(expect_exit=None)
    other.console = b.console
    other.spawn()
    assert other.wait_exit() == 64
    assert "Address already in use" in other.said()
    assert b.evaluate("1 + 1").out == "2\n"


def test_a_file_that_is_no_socket_is_left_alone(make_node):
    b = make_node(expect_exit=None)
    with open(b.console, "w") as f:
        f.write("precious")
    b.spawn()
    assert b.wait_exit() == 64
    with open(b.console) as f:
        assert f.read() == "precious"


def test_a_path_that_is_too_long_is_said(make_node):
    b = make_node(expect_exit=None)
    b.console = "/tmp/" + "x" * 120
    b.spawn()
    assert b.wait_exit() == 64
    assert re.search(r"console.path: the path of a Unix socket has at most 107 bytes, and /tmp/x+ has 125", b.said())
    r = b.lignum("console", b.console, "-e", "1")
    assert r.code == 69, r
    assert "the path of a Unix socket has at most 107 bytes" in r.err


@pytest.mark.skipif(os.getuid() != 0, reason="takes root to become somebody else")
def test_a_socket_of_another_user_is_named_and_only_root_uses_it(folder):
    path = os.path.join(folder, "socket")
    os.chmod(folder, 0o755)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        os.chmod(path, 0o777)
        os.seteuid(65534)
        try:
            listener.listen(2)           # the kernel notes who listens
        finally:
            os.seteuid(0)
        client = shutil.copy(BINARY, os.path.join(folder, "lignum"))
        listener.settimeout(PATIENCE)
        whose = r"belongs to a process of user \S+ \(uid 65534, pid %d\)" % os.getpid()

        p = subprocess.Popen([client, "console", path, "-e", "secret"], user=65533, stderr=subprocess.PIPE, text=True)
        with listener.accept()[0] as connection:
            connection.settimeout(PATIENCE)
            assert connection.recv(1) == b"", "nothing was sent"
        assert re.search(whose + ", and is not used", p.communicate(timeout=PATIENCE)[1])
        assert p.returncode == 69

        p = subprocess.Popen([client, "console", path, "-e", "1"], stderr=subprocess.PIPE, text=True)
        with listener.accept()[0] as connection:
            connection.sendall(struct.pack("<Ic", 5, b"H") + b"hello")
            assert connection.recv(1) != b"", "root may"
        assert re.search(whose + "\n", p.communicate(timeout=PATIENCE)[1])


@pytest.mark.skipif(os.getuid() != 0, reason="takes root to become somebody else")
def test_another_user_is_refused_even_if_the_file_lets_them_in(b, folder):
    for path in (folder, b.folder, b.console):
        os.chmod(path, 0o777)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setuid(65534)
            with Session(b.console) as s:
                os.write(write, s.frame()[1])
        finally:
            os._exit(0)
    os.close(write)
    os.waitpid(child, 0)
    with os.fdopen(read, "rb") as answer:
        assert answer.read() == b"only the broker's own user and root may use its console"
    assert re.search(r"console: refused pid=\d+ uid=65534", b.said())


def test_one_console_too_many_is_told_so(b, session):
    sessions = [session(b) for _ in range(CONSOLES_MAX)]
    with Session(b.console) as s:
        assert s.frame() == (b"E", b"too many consoles are open")
    r = b.evaluate("1")
    assert (r.code, r.err) == (69, "too many consoles are open\n"), r
    sessions[7].close()
    wait_until(lambda: "closed session=8" in b.said())
    assert b.evaluate("1 + 1").out == "2\n"


# ---- frames

def test_an_unfinished_statement_asks_for_more(b, session):
    s = session(b)
    assert s.ask(b"L", b"if true then") == (b"M", b"")
    assert s.ask(b"L", b"if true then\nprint(3)") == (b"M", b"")
    assert s.ask(b"L", b"if true then\nprint(3)\nend") == (b"O", b"3\n")
    assert s.frame() == (b"R", b"")


def test_names_are_completed_by_the_broker(b, session):
    s = session(b)
    kind, names = s.ask(b"C", b"print(top")
    assert kind == b"C"
    assert {b"topic", b"topics"} <= {re.match(rb"\w*", n).group() for n in names.split(b"\n")}


def test_others_are_served_while_a_line_waits(b, session):
    waiting, other = session(b), session(b)
    waiting.send(b"L", b"print('waits') sleep(600)")
    assert waiting.frame() == (b"O", b"waits\n")
    assert other.ask(b"L", b"1 + 1") == (b"R", b"2")
    assert waiting.ask(b"L", b"1") == (b"E", b"another line is still running")
    assert waiting.ask(b"I", b"") == (b"E", b"interrupted")
    assert waiting.ask(b"L", b"1 + 1") == (b"R", b"2")


def test_an_interrupt_with_nothing_running_is_nothing(b, session):
    s = session(b)
    s.send(b"I")
    assert s.ask(b"L", b"1 + 1") == (b"R", b"2")


def test_a_line_that_never_waits_is_ended_by_its_budget(b, session):
    s = session(b)
    kind, text = s.ask(b"L", b"while true do end")
    assert kind == b"E"
    assert b"budget" in text
    assert s.ask(b"L", b"1 + 1") == (b"R", b"2")


def test_a_client_that_goes_ends_its_line(b):
    with Session(b.console) as s:
        s.hello()
        s.send(b"L", b"local x <close> = setmetatable({}, { __close = function() say.warn('line ended') end })\n"
                     b"print('runs') sleep(600)")
        assert s.frame() == (b"O", b"runs\n")
        assert "line ended" not in b.said()
    wait_until(lambda: "line ended" in b.said())


def test_a_client_that_does_not_read_makes_its_line_wait(node, session):
    b = node(set=["limits.script_time=5"])
    s = session(b)
    before = b.status("VmRSS")
    s.send(b"L", b"for i = 1, 20000 do print(('x'):rep(999)) end")     # 20 MB
    other = session(b)
    for _ in range(50):
        assert other.ask(b"L", b"1 + 1") == (b"R", b"2")
    assert b.status("VmRSS") - before <= 8192, "memory for output that nobody reads"
    total = 0
    while True:
        kind, text = s.frame()
        if kind != b"O":
            break
        total += len(text)
    assert (kind, total) == (b"R", 20000 * 1000)


def test_a_result_above_a_frame_is_cut_and_says_so(b, session):
    s = session(b)
    kind, text = s.ask(b"L", b"error(('x'):rep(3000000), 0)")
    assert kind == b"E"
    assert len(text) <= FRAME_SIZE_MAX
    assert re.search(rb"\.\.\. \(\d+ more bytes\)$", text[-40:])


def test_nonsense_on_the_socket_hurts_nobody_else(b, session):
    witness = session(b)
    for bytes_ in (b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 100, struct.pack("<Ic", FRAME_SIZE_MAX + 1, b"L")):
        with Session(b.console) as s:
            s.hello()
            s.socket.sendall(bytes_)
            with pytest.raises(EOFError):
                s.frame()
    with Session(b.console) as s:
        s.hello()
        s.send(b"?", b"no such type")
        assert s.ask(b"L", b"1 + 1") == (b"R", b"2")
        s.socket.sendall(struct.pack("<Ic", 1000, b"L") + b"half of it")
    assert witness.ask(b"L", b"1 + 1") == (b"R", b"2")


# ---- the client on a terminal

def test_lines_run_and_ctrl_d_leaves(terminal):
    terminal.answers("40 + 2", r"\n42\r\n")
    terminal.answers("error('broken thing')", r"\n[^\n]*broken thing\r\n")
    terminal.leave()


def test_a_statement_may_take_several_lines(terminal):
    terminal.type("for i = 7, 7 do\r")
    terminal.expect(r"     \.\. ")
    terminal.type("print(i * 6)\r")
    terminal.expect(r"     \.\. ")
    terminal.answers("end", r"\n42\r\n")
    terminal.leave()


def test_ctrl_c_clears_what_was_typed(terminal):
    terminal.type("for i = 1, 2 do\r")
    terminal.expect(r"     \.\. ")
    terminal.type("nonsense\x03")
    terminal.expect(r"\^C")
    terminal.expect(PROMPT)
    terminal.answers("40 + 2", r"\n42\r\n")
    terminal.leave()


def test_ctrl_c_stops_the_running_line(terminal):
    terminal.type("print('is ' .. 'running') sleep(600)\r")
    terminal.expect("is running")
    terminal.type("\x03")
    terminal.expect("interrupted")
    terminal.expect(PROMPT)
    terminal.leave()


def test_tab_completes_by_the_broker(terminal):
    terminal.answers("print(node.in\t ~= nil, 'A' .. 'Z')", "true\tAZ|true {1,8}AZ")
    terminal.answers("print(topi\t ~= nil, 'B' .. 'Z')", "true\tBZ|true {1,8}BZ")
    terminal.type("topi\t\t")
    terminal.expect(r"\ntopic\s+topics\s")
    terminal.type("\x03")
    terminal.expect(r"\^C")
    terminal.expect(PROMPT)
    terminal.leave()


@pytest.mark.parametrize("word", ["quit", " exit ", "quit()", "exit()"])
def test_quit_and_exit_leave(terminal, word):
    terminal.answers("quit == nil", "true")
    terminal.type(word + "\r")
    assert terminal.process.wait(20) == 0


def test_history_is_kept_privately(terminal, folder):
    terminal.answers("40 + 2", r"\n42\r\n")
    path = os.path.join(folder, ".lignum_history")
    wait_until(lambda: os.path.exists(path))
    assert os.stat(path).st_mode & 0o777 == 0o600
    terminal.answers("\x1b[A", r"\n42\r\n")
    terminal.leave()


def test_what_a_message_holds_cannot_command_the_terminal(terminal):
    terminal.type("print('A' .. utf8.char(27, 7, 0x9b, 228) .. 'Z')\r")
    assert terminal.expect(r"\nA(.*)Z\r\n").group(1) == "\\x1b\\x07\\u009b\u00e4"
    terminal.expect(PROMPT)
    terminal.leave()
