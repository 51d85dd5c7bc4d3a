"""What a service manager sees: systemd's notifications and watchdog, and the forms of the log."""

import json
import os
import re
import signal
import socket
import time

import pytest

from common import PATIENCE, wait_until


class Manager:
    """The end of systemd: a socket that takes sd_notify's datagrams."""

    def __init__(self, address):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.settimeout(PATIENCE)

    def next(self):
        """The next message, as a dictionary of its lines."""
        return dict(line.split("=", 1) for line in self.socket.recv(4096).decode().splitlines())

    def until(self, key):
        """The next message that has this key; what came before it is dropped."""
        while True:
            message = self.next()
            if key in message:
                return message

    def silent_for(self, seconds):
        self.socket.settimeout(seconds)
        try:
            return self.socket.recv(4096) is None
        except TimeoutError:
            return True
        finally:
            self.socket.settimeout(PATIENCE)


@pytest.mark.parametrize("abstract", [False, True])
def test_systemd_hears_of_start_reload_and_stop(node, folder, abstract):
    path = os.path.join(folder, "notify")
    manager = Manager("\0" + path if abstract else path)
    b = node(env={"NOTIFY_SOCKET": ("@" if abstract else "") + path})
    first = manager.next()
    assert first["READY"] == "1" and "alone" in first["STATUS"]
    assert b.get("/healthz").status == 200
    b.publish("t", b"x")
    for text in "", "listen = 5 nonsense":       # one that is taken, one that is refused: both have ended
        b.write_config(text)
        b.signal(signal.SIGHUP)
        message = manager.next()
        assert message["RELOADING"] == "1" and int(message["MONOTONIC_USEC"]) > 0
        message = manager.next()
        assert message["READY"] == "1" and "epoch 1" in message["STATUS"]
    assert manager.silent_for(0.3), "there is no watchdog, so nothing beats"
    b.stop()
    assert manager.next()["STOPPING"] == "1"


def test_the_watchdog_is_fed_by_the_loop_alone(node, folder):
    manager = Manager(os.path.join(folder, "notify"))
    b = node(env={"NOTIFY_SOCKET": os.path.join(folder, "notify"), "WATCHDOG_USEC": "800000"})
    manager.until("WATCHDOG")
    times = []
    for _ in range(5):
        manager.until("WATCHDOG")
        times.append(time.monotonic())
    assert times[-1] - times[0] < 5 * 0.8, "a beat comes within each 0.8 s"
    b.signal(signal.SIGSTOP)
    manager.silent_for(0.3)        # what was on its way
    assert manager.silent_for(1)
    b.signal(signal.SIGCONT)
    manager.until("WATCHDOG")
    b.stop()


def test_a_watchdog_of_another_process_is_not_fed(node, folder):
    manager = Manager(os.path.join(folder, "notify"))
    env = {"NOTIFY_SOCKET": os.path.join(folder, "notify"), "WATCHDOG_USEC": "100000", "WATCHDOG_PID": "1"}
    b = node(env=env)
    assert "READY" in manager.next()
    assert manager.silent_for(0.4)
    b.stop()


@pytest.mark.parametrize("address", ["relative", "/nowhere/at/all", "/" + "x" * 200, ""])
def test_a_bad_address_of_the_manager_is_said_and_the_node_runs(node, address):
    b = node(env={"NOTIFY_SOCKET": address})
    assert b.get("/healthz").status == 200
    assert "cannot tell the service manager" in b.said()
    b.stop()


def test_the_log_as_json(make_node):
    b = make_node(config='log { format = "json" }', set=["node.name=n1"]).spawn()
    wait_until(lambda: '"message":"ready"' in b.said())
    b.write_config('log { format = "jsn" }')
    b.signal(signal.SIGHUP)
    wait_until(lambda: "refused" in b.said())
    b.stop()
    text = b.said()
    lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    assert len(lines) == len(text.splitlines())
    refused = next(line for line in lines if "refused" in line["message"])
    assert refused["level"] == "error" and refused["area"] == "main"
    assert re.search(r'log\.format: .*"jsn"', refused["message"])
    ready = next(line for line in lines if line["message"] == "ready")
    assert ready["fields"]["name"] == "n1" and re.match(r"\d{4}-\d\d-\d\dT", ready["time"])


def test_the_journal_gets_priorities(make_node):
    """systemd names the stream by device and inode; here it is the file that takes the log."""
    b = make_node()
    open(b.stderr_path, "a").close()
    st = os.stat(b.stderr_path)
    b.env["JOURNAL_STREAM"] = "%d:%d" % (st.st_dev, st.st_ino)
    b.spawn()
    wait_until(lambda: re.search(r"^<6>info main: ready ", b.said(), re.M))
    assert not re.search(r"^\d{4}-", b.said(), re.M)
    b.stop()
    b.env["JOURNAL_STREAM"] = "%d:%d" % (st.st_dev, st.st_ino + 1)
    b.start()                      # redirected: the variable means another file
    assert re.search(r"^\d{4}-\S+ info main: ready ", b.said(), re.M)
    b.stop()
