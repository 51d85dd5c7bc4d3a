"""A real Consul server with its data on disk, which can be killed, frozen and restarted."""

import base64
import functools
import json
import os
import shutil
import signal
import subprocess

from client import Connection
from common import PATIENCE, ROOT, die_with_parent, free_port, freeze, wait_until


@functools.cache
def binary():
    """(path of the program, None), or (None, the reason)."""
    p = subprocess.run([os.path.join(ROOT, "tests/consul")], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    return (p.stdout.strip(), None) if p.returncode == 0 else (None, p.stderr.strip())


class Consul:
    """`host`: a host of network.py, or None for loopback. `more` is added to the configuration."""

    def __init__(self, folder, host=None, **more):
        self.folder, self.name = folder, os.path.basename(folder)
        self.place, self.more = host, more
        self.host = host.address if host else "127.0.0.1"
        self.program = binary()[0]
        self.port, self.process = free_port(), None
        self.internal = [free_port() for _ in range(3)]
        self.log = os.path.join(folder, "log")
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, "config.json"), "w") as f:
            json.dump(self.config(), f)

    @property
    def address(self):
        return "%s:%d" % (self.host, self.port)

    def config(self):
        server, serf, wan = self.internal
        ports = {"http": self.port, "server": server, "serf_lan": serf, "serf_wan": wan, "dns": -1, "grpc": -1}
        return {
            "server": True, "bootstrap_expect": 1, "node_name": "consul", "data_dir": os.path.join(self.folder, "data"),
            "bind_addr": self.host, "client_addr": self.host, "disable_host_node_id": True, "disable_update_check": True,
            "performance": {"raft_multiplier": 1}, "leave_on_terminate": False, "log_level": "warn",
            **self.more, "ports": dict(ports, **self.more.get("ports", {})),
        }

    # -- life

    def start(self, timeout=PATIENCE):
        def prepare():
            die_with_parent()
            if self.place:
                self.place.enter()
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([self.program, "agent", "-config-file", os.path.join(self.folder, "config.json")],
                                            cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=prepare)
        try:
            wait_until(self.works, timeout, "Consul works")
        except BaseException:
            self.kill()
            raise
        return self

    def works(self):
        if self.process.poll() is not None:
            with open(self.log) as f:
                raise RuntimeError("Consul ended with %d:\n%s" % (self.process.returncode, f.read()[-2000:]))
        a = self.request("PUT", "/v1/kv/works", "1", timeout=2)
        return a.status == 200

    def said_last(self, size):
        if not os.path.exists(self.log):
            return ""
        with open(self.log, "rb") as f:
            f.seek(max(0, os.path.getsize(self.log) - size))
            return f.read().decode("utf-8", "replace")

    def running(self):
        return self.process is not None and self.process.poll() is None

    def kill(self):
        if self.running():
            self.process.kill()
        if self.process:
            self.process.wait()

    def restart(self):
        self.kill()
        return self.start()

    def freeze(self):
        freeze(self.process.pid)

    def thaw(self):
        self.process.send_signal(signal.SIGCONT)

    def wipe(self):
        """Deletes its data. It must not run."""
        shutil.rmtree(os.path.join(self.folder, "data"), True)

    # -- requests

    def request(self, method, path, body=None, timeout=PATIENCE):
        with Connection(self.port, host=self.host, timeout=timeout) as c:
            return c.request(method, path, body)

    def ok(self, method, path, body=None):
        a = self.request(method, path, body)
        if a.status != 200:
            raise AssertionError("Consul: %s %s: %r" % (method, path, a))
        return json.loads(a.body or "null")

    def get(self, key):
        """(value, index, session) of a key; (None, None, None) when it does not exist."""
        a = self.request("GET", "/v1/kv/" + key)
        if a.status == 404:
            return None, None, None
        entry = json.loads(a.body)[0]
        return base64.b64decode(entry["Value"] or ""), entry["ModifyIndex"], entry.get("Session")

    def put(self, key, value):
        if self.ok("PUT", "/v1/kv/" + key, value) is not True:
            raise AssertionError("Consul did not put " + key)

    def delete(self, key):
        self.ok("DELETE", "/v1/kv/" + key)

    def keys(self, prefix):
        a = self.request("GET", "/v1/kv/%s?keys" % prefix)
        return json.loads(a.body) if a.status == 200 else []

    def sessions(self):
        return [s["ID"] for s in self.ok("GET", "/v1/session/list")]

    def destroy_session(self, id_):
        self.ok("PUT", "/v1/session/destroy/" + id_)

    def snapshot(self):
        a = self.request("GET", "/v1/snapshot")
        if a.status != 200:
            raise AssertionError("Consul: snapshot: %r" % a)
        return a.body

    def restore(self, snapshot):
        a = self.request("PUT", "/v1/snapshot", snapshot)
        if a.status != 200:
            raise AssertionError("Consul: restore: %r" % a)
