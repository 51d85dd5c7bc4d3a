"""The command line on a terminal: questions, the live table, progress; what messages hold cannot command it."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time

import pytest
from common import BINARY, PATIENCE


class Terminal:
    """A command on a terminal of 100 columns; `out`: what it has printed."""

    def __init__(self, *words, cwd=None):
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
        self.process = subprocess.Popen([BINARY, *words], stdin=slave, stdout=slave, stderr=slave, cwd=cwd, start_new_session=True,
                                        env=dict(os.environ, TERM="xterm"))
        os.close(slave)
        self.out = ""

    def more(self, seconds):
        if not select.select([self.master], [], [], seconds)[0]:
            return False
        try:
            data = os.read(self.master, 65536)
        except OSError:         # the other side is closed
            return False
        self.out += data.decode("utf-8", "replace")
        return data != b""

    def expect(self, pattern):
        end = time.monotonic() + PATIENCE
        while not re.search(pattern, self.out):
            assert time.monotonic() < end and (self.more(1) or self.process.poll() is None), "no %r in %r" % (pattern, self.out)

    def type(self, text):
        os.write(self.master, text.encode())

    def ends(self):
        while self.more(PATIENCE):
            pass
        return self.process.wait(PATIENCE)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.master)


@pytest.fixture(scope="module")
def b(share_node):
    return share_node()


def on(b, *words, **kw):
    return Terminal(*words, "--url", "http://127.0.0.1:%d" % b.port, **kw)


def test_what_deletes_asks_and_keeps_without_a_yes(b):
    b.publish_lines("asked", [b"x"] * 3)
    for answer, gone in (("n", False), ("", False), ("nonsense", False), ("y", True)):
        with on(b, "topic", "rm", "asked") as t:
            t.expect(r"delete asked with its 3 messages\? \[y/N\]")
            t.type(answer + "\r")
            assert t.ends() == (0 if gone else 1), t.out
            assert gone or "asked is kept" in t.out
        assert b.get("/v1/topics/asked").status == (404 if gone else 200)


def test_top_draws_until_ctrl_c(b):
    b.publish("drawn", b"x")
    with on(b, "top", "--interval", "0.1") as t:
        t.expect(r"NODE +ROLE(?s:.*)TOPIC +MSG/S(?s:.*)drawn +\d+ +1 ")
        t.process.send_signal(signal.SIGINT)
        assert t.ends() == 130


def test_long_work_shows_how_far_it_is_and_leaves_nothing_on_the_line(b, folder):
    for _ in range(20):
        b.publish_lines("large", [b"x" * 1000] * 5000)
    with on(b, "backup", os.path.join(folder, "kept"), "--data", b.data) as t:
        assert t.ends() == 0, t.out
        assert re.search(r"\r\[#* *\] +\d+ % \w+", t.out), t.out[-500:]
        assert re.search(r"\r\x1b\[K[^\r]*kept has \d+ topics", t.out), t.out[-500:]


def test_messages_and_names_cannot_command_the_terminal(b):
    b.publish("evil", b"\x1b[2J\x07\xc2\x9b31m", {"Lignum-Key": "k"})
    with on(b, "sub", "evil") as t:
        assert t.ends() == 0
        assert "\\x1b[2J\\x07\\u009b31m" in t.out and "\x1b" not in t.out and "\x07" not in t.out, repr(t.out)
