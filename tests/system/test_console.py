"""The console: its socket, its frames, and its client with and without a terminal."""

import fcntl
import os
import pty
import re
import select
import signal
import socket
import struct
import subprocess
import termios
import time
import unittest

from lignum import PATIENCE, Test, lignum, wait_until

CONSOLES_MAX = 16
FRAME_SIZE_MAX = 1 << 20


class Session:
    """A client of the frames alone."""

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
    """The client on a terminal of its own."""

    def __init__(self, broker, home):
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        env = dict(os.environ, HOME=home, TERM="xterm", LC_ALL="C.UTF-8")
        env.pop("XDG_STATE_HOME", None)

        def own():
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        self.process = subprocess.Popen([broker.binary, "console", broker.console], stdin=slave, stdout=slave,
                                        stderr=slave, env=env, start_new_session=True, preexec_fn=own)
        os.close(slave)
        self.seen = ""

    def type(self, text):
        os.write(self.master, text.encode())

    def expect(self, pattern):
        """Reads until the pattern is there; what follows it is left for the next call."""
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

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.master)


class ConsoleTest(Test):
    def eval(self, broker, code, **kw):
        return broker.lignum("console", broker.console, "-e", code, **kw)

    def session(self, broker):
        s = Session(broker.console)
        self.addCleanup(s.close)
        s.hello()
        return s

    def terminal(self, broker):
        t = Terminal(broker, self.folder)
        self.addCleanup(t.close)
        return t


class TestScripts(ConsoleTest):
    def test_a_value_is_shown_on_stdout(self):
        r = self.eval(self.broker(), "1 + 1")
        self.assertEqual((r.code, r.out, r.err), (0, "2\n", ""), r)

    def test_output_comes_before_the_result(self):
        r = self.eval(self.broker(), "print('a', 'b') return 5")
        self.assertEqual((r.code, r.out), (0, "a\tb\n5\n"), r)

    def test_a_lua_error_goes_to_stderr_and_exits_with_1(self):
        b = self.broker()
        r = self.eval(b, "print('before') error('broken thing')")
        self.assertEqual((r.code, r.out), (1, "before\n"), r)
        self.assertIn("broken thing", r.err)
        self.assertEqual(self.eval(b, "x = = 1").code, 1)

    def test_standard_input_is_one_script(self):
        b = self.broker()
        script = b"local sum = 0\nfor i = 1, 4 do\n  sum = sum + i\nend\nprint(sum)\n"
        r = b.lignum("console", b.console, input=script)
        self.assertEqual((r.code, r.out, r.err), (0, "10\n", ""), r)

    def test_a_script_that_ends_too_early_is_an_error(self):
        r = self.eval(self.broker(), "for i = 1, 2 do")
        self.assertEqual(r.code, 1, r)
        self.assertIn("in the middle of a statement", r.err)

    def test_a_script_above_a_frame_is_refused_by_the_client(self):
        b = self.broker()
        r = b.lignum("console", b.console, input=b"-" * (FRAME_SIZE_MAX + 1))
        self.assertEqual(r.code, 1, r)
        self.assertIn("1 MiB", r.err)

    def test_nobody_listening_is_69_with_the_path(self):
        path = os.path.join(self.folder, "none")
        self.need(self.made().binary, "the binary")
        r = lignum("console", path, "-e", "1")
        self.assertEqual(r.code, 69, r)
        self.assertIn(path, r.err)
        self.assertEqual(len(r.err.splitlines()), 1)

    def test_megabytes_of_output_arrive_whole(self):
        b = self.broker(set=["limits.script_time=5"])
        r = self.eval(b, "print(('x'):rep(9000000)) for i = 1, 1000 do print(i) end")
        self.assertEqual(r.code, 0, r)
        self.assertEqual(r.out, "x" * 9000000 + "\n" + "".join("%d\n" % i for i in range(1, 1001)))

    def test_a_broker_that_dies_under_a_line_is_69(self):
        b = self.made(expect_exit=None).start()
        p = subprocess.Popen([b.binary, "console", b.console, "-e", "print('runs') sleep(600)"],
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.assertEqual(p.stdout.readline(), b"runs\n")
        b.kill()
        err = p.communicate(timeout=PATIENCE)[1]
        self.assertEqual(p.returncode, 69, err)
        self.assertIn(b"closed the connection", err)

    def test_ctrl_c_ends_a_script_with_1(self):
        b = self.broker()
        p = subprocess.Popen([b.binary, "console", b.console, "-e", "print('runs') sleep(600)"],
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.assertEqual(p.stdout.readline(), b"runs\n")
        p.send_signal(signal.SIGINT)
        err = p.communicate(timeout=PATIENCE)[1]
        self.assertEqual((p.returncode, err), (1, b"interrupted\n"))


class TestSocket(ConsoleTest):
    def test_the_socket_is_private_and_every_client_is_logged(self):
        b = self.broker()
        self.assertEqual(os.stat(b.console).st_mode & 0o777, 0o600)
        with Session(b.console) as s:
            self.assertIn(b"Lignum ", s.hello())
            wait_until(lambda: re.search(r"console: opened session=1 pid=%d uid=%d" % (os.getpid(), os.getuid()),
                                         b.said()))
        wait_until(lambda: "console: closed session=1" in b.said())

    def test_a_clean_stop_removes_the_socket(self):
        b = self.broker()
        b.stop()
        self.assertFalse(os.path.exists(b.console))

    def test_the_socket_of_a_killed_broker_is_replaced(self):
        b = self.made(expect_exit=0).start()
        b.kill()
        self.assertTrue(os.path.exists(b.console))
        b.start()
        self.assertEqual(self.eval(b, "1 + 1").out, "2\n")

    def test_the_socket_of_a_living_broker_is_not_taken(self):
        b = self.broker()
        other = self.made(expect_exit=None)
        other.console = b.console
        other.spawn()
        self.assertEqual(other.wait_exit(), 64)
        self.assertIn("Address already in use", other.said())
        self.assertEqual(self.eval(b, "1 + 1").out, "2\n")

    def test_a_file_that_is_no_socket_is_left_alone(self):
        b = self.made(expect_exit=None)
        with open(b.console, "w") as f:
            f.write("precious")
        b.spawn()
        self.assertEqual(b.wait_exit(), 64)
        with open(b.console) as f:
            self.assertEqual(f.read(), "precious")

    def test_a_path_that_is_too_long_is_said(self):
        b = self.made(expect_exit=None)
        b.console = "/tmp/" + "x" * 120
        b.spawn()
        self.assertEqual(b.wait_exit(), 64)
        self.assertIn("File name too long", b.said())
        r = b.lignum("console", b.console, "-e", "1")
        self.assertEqual(r.code, 69, r)
        self.assertIn("File name too long", r.err)

    @unittest.skipIf(os.getuid() != 0, "takes root to become somebody else")
    def test_another_user_is_refused_even_if_the_file_lets_them_in(self):
        b = self.broker()
        for path in (self.folder, b.folder, b.console):
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
            self.assertEqual(answer.read(), b"only the broker's own user and root may use its console")
        self.assertRegex(b.said(), r"console: refused pid=\d+ uid=65534")

    def test_one_console_too_many_is_told_so(self):
        b = self.broker()
        sessions = [self.session(b) for _ in range(CONSOLES_MAX)]
        with Session(b.console) as s:
            self.assertEqual(s.frame(), (b"E", b"too many consoles are open"))
        r = self.eval(b, "1")
        self.assertEqual((r.code, r.err), (69, "too many consoles are open\n"), r)
        sessions[7].close()
        wait_until(lambda: "closed session=8" in b.said())
        self.assertEqual(self.eval(b, "1 + 1").out, "2\n")


class TestFrames(ConsoleTest):
    def test_an_unfinished_statement_asks_for_more(self):
        s = self.session(self.broker())
        self.assertEqual(s.ask(b"L", b"if true then"), (b"M", b""))
        self.assertEqual(s.ask(b"L", b"if true then\nprint(3)"), (b"M", b""))
        self.assertEqual(s.ask(b"L", b"if true then\nprint(3)\nend"), (b"O", b"3\n"))
        self.assertEqual(s.frame(), (b"R", b""))

    def test_names_are_completed_by_the_broker(self):
        s = self.session(self.broker())
        kind, names = s.ask(b"C", b"print(top")
        self.assertEqual(kind, b"C")
        self.assertLessEqual({b"topic", b"topics"}, {re.match(rb"\w*", n).group() for n in names.split(b"\n")})

    def test_others_are_served_while_a_line_waits(self):
        b = self.broker()
        waiting, other = self.session(b), self.session(b)
        waiting.send(b"L", b"print('waits') sleep(600)")
        self.assertEqual(waiting.frame(), (b"O", b"waits\n"))
        self.assertEqual(other.ask(b"L", b"1 + 1"), (b"R", b"2"))
        self.assertEqual(waiting.ask(b"L", b"1"), (b"E", b"another line is still running"))
        self.assertEqual(waiting.ask(b"I", b""), (b"E", b"interrupted"))
        self.assertEqual(waiting.ask(b"L", b"1 + 1"), (b"R", b"2"))

    def test_an_interrupt_with_nothing_running_is_nothing(self):
        s = self.session(self.broker())
        s.send(b"I")
        self.assertEqual(s.ask(b"L", b"1 + 1"), (b"R", b"2"))

    def test_a_line_that_never_waits_is_ended_by_its_budget(self):
        b = self.broker()
        s = self.session(b)
        kind, text = s.ask(b"L", b"while true do end")
        self.assertEqual(kind, b"E")
        self.assertIn(b"budget", text)
        self.assertEqual(s.ask(b"L", b"1 + 1"), (b"R", b"2"))

    def test_a_client_that_goes_ends_its_line(self):
        b = self.broker()
        with Session(b.console) as s:
            s.hello()
            s.send(b"L", b"local x <close> = setmetatable({}, { __close = function() say.warn('line ended') end })\n"
                         b"print('runs') sleep(600)")
            self.assertEqual(s.frame(), (b"O", b"runs\n"))
            self.assertNotIn("line ended", b.said())
        wait_until(lambda: "line ended" in b.said())

    def test_a_client_that_does_not_read_makes_its_line_wait(self):
        b = self.broker(set=["limits.script_time=5"])
        s = self.session(b)
        before = b.status("VmRSS")
        s.send(b"L", b"for i = 1, 20000 do print(('x'):rep(999)) end")     # 20 MB
        other = self.session(b)
        for _ in range(50):
            self.assertEqual(other.ask(b"L", b"1 + 1"), (b"R", b"2"))
        self.assertFlat(before, b.status("VmRSS"), 8192, "memory for output that nobody reads")
        total = 0
        while True:
            kind, text = s.frame()
            if kind != b"O":
                break
            total += len(text)
        self.assertEqual((kind, total), (b"R", 20000 * 1000))

    def test_a_result_above_a_frame_is_cut_and_says_so(self):
        s = self.session(self.broker())
        kind, text = s.ask(b"L", b"error(('x'):rep(3000000), 0)")
        self.assertEqual(kind, b"E")
        self.assertLessEqual(len(text), FRAME_SIZE_MAX)
        self.assertRegex(text[-40:], rb"\.\.\. \(\d+ more bytes\)$")

    def test_nonsense_on_the_socket_hurts_nobody_else(self):
        b = self.broker()
        witness = self.session(b)
        for bytes_ in (b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 100, struct.pack("<Ic", FRAME_SIZE_MAX + 1, b"L")):
            with Session(b.console) as s:
                s.hello()
                s.socket.sendall(bytes_)
                self.assertRaises(EOFError, s.frame)
        with Session(b.console) as s:
            s.hello()
            s.send(b"?", b"no such type")
            self.assertEqual(s.ask(b"L", b"1 + 1"), (b"R", b"2"))
            s.socket.sendall(struct.pack("<Ic", 1000, b"L") + b"half of it")
        self.assertEqual(witness.ask(b"L", b"1 + 1"), (b"R", b"2"))


class TestTerminal(ConsoleTest):
    PROMPT = r"lignum> (?:\x1b\[\S*)?"

    def started(self):
        t = self.terminal(self.broker())
        t.expect(r"Lignum \S+, node ")
        t.expect(r"help\(\)")
        t.expect(self.PROMPT)
        return t

    def leave(self, t):
        t.type("\x04")
        self.assertEqual(t.process.wait(PATIENCE), 0)

    def test_lines_run_and_ctrl_d_leaves(self):
        t = self.started()
        t.type("40 + 2\r")
        t.expect(r"\n42\r\n")
        t.expect(self.PROMPT)
        t.type("error('broken thing')\r")
        t.expect(r"\n[^\n]*broken thing\r\n")
        t.expect(self.PROMPT)
        self.leave(t)

    def test_a_statement_may_take_several_lines(self):
        t = self.started()
        t.type("for i = 7, 7 do\r")
        t.expect(r"     \.\. ")
        t.type("print(i * 6)\r")
        t.expect(r"     \.\. ")
        t.type("end\r")
        t.expect(r"\n42\r\n")
        t.expect(self.PROMPT)
        self.leave(t)

    def test_ctrl_c_clears_what_was_typed(self):
        t = self.started()
        t.type("for i = 1, 2 do\r")
        t.expect(r"     \.\. ")
        t.type("nonsense\x03")
        t.expect(r"\^C")
        t.expect(self.PROMPT)
        t.type("40 + 2\r")
        t.expect(r"\n42\r\n")
        t.expect(self.PROMPT)
        self.leave(t)

    def test_ctrl_c_stops_the_running_line(self):
        t = self.started()
        t.type("print('is ' .. 'running') sleep(600)\r")
        t.expect("is running")
        t.type("\x03")
        t.expect("interrupted")
        t.expect(self.PROMPT)
        self.leave(t)

    def test_tab_completes_by_the_broker(self):
        t = self.started()
        t.type("print(node.in\t ~= nil, 'A' .. 'Z')\r")
        t.expect("true\tAZ|true {1,8}AZ")
        t.expect(self.PROMPT)
        t.type("print(topi\t ~= nil, 'B' .. 'Z')\r")
        t.expect("true\tBZ|true {1,8}BZ")
        t.expect(self.PROMPT)
        t.type("topi\t\t")
        t.expect(r"\ntopic\s+topics\s")
        t.type("\x03")
        t.expect(r"\^C")
        t.expect(self.PROMPT)
        self.leave(t)

    def test_history_is_kept_privately(self):
        t = self.started()
        t.type("40 + 2\r")
        t.expect(r"\n42\r\n")
        t.expect(self.PROMPT)
        path = os.path.join(self.folder, ".lignum_history")
        wait_until(lambda: os.path.exists(path))
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)
        t.type("\x1b[A\r")
        t.expect(r"\n42\r\n")
        t.expect(self.PROMPT)
        self.leave(t)

    def test_what_a_message_holds_cannot_command_the_terminal(self):
        t = self.started()
        t.type("print('A' .. utf8.char(27, 7, 0x9b, 228) .. 'Z')\r")
        self.assertEqual(t.expect(r"\nA(.*)Z\r\n").group(1), "\\x1b\\x07\\u009b\u00e4")
        t.expect(self.PROMPT)
        self.leave(t)


if __name__ == "__main__":
    unittest.main()
