"""Servers to measure: Lignum, the bare program, and its peers, each a process of ours with its own port and directory.

A peer that is not installed says so (`missing`), and is left out. Settings are those that an operator would take
for the promise that a row is about; `settings` says them in the page.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "tests", "system"))
import lignum  # noqa: E402
from certs import Authority  # noqa: E402
from client import Connection  # noqa: E402
from common import BINARY, die_with_parent, raise_descriptors, wait_until  # noqa: E402

TOOLS = os.path.join(ROOT, "build/release/tests/bench")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def descendants(pid):
    """The process and those that it started, from /proc."""
    found = [pid]
    for p in found:
        try:
            for task in os.listdir("/proc/%d/task" % p):
                with open("/proc/%d/task/%s/children" % (p, task)) as f:
                    found += [int(c) for c in f.read().split()]
        except OSError:
            continue
    return found


def cpu_seconds(pid):
    """CPU time of a process tree so far, user and system."""
    total = 0.0
    for p in descendants(pid):
        try:
            with open("/proc/%d/stat" % p) as f:
                fields = f.read().rsplit(")", 1)[1].split()
            total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        except OSError:
            continue
    return total


class Server:
    """A process that listens on self.port from __enter__ to __exit__."""

    name = program = scheme = settings = None
    more_env = {}
    version_words = ["--version"]
    patience = 30

    def __init__(self, folder):
        self.folder, self.port = folder, free_port()
        self.env = dict(os.environ, **self.more_env)

    @classmethod
    def missing(cls):
        return shutil.which(cls.program) is None

    @classmethod
    def version(cls):
        out = subprocess.run([cls.program] + cls.version_words, capture_output=True, text=True)
        lines = (out.stdout + out.stderr).strip().splitlines()
        return lines[0] if lines else "unknown version"

    def command(self):
        raise NotImplementedError

    def prepare(self):
        """Before the start: writes configuration files."""

    def ready(self):
        """Once the port accepts connections: creates schemas."""
        return True

    def url(self, path):
        return "%s://127.0.0.1:%d/%s" % (self.scheme, self.port, path)

    def file(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w") as f:
            f.write(text)
        return path

    def listens(self):
        if self.process.poll() is not None:
            with open(os.path.join(self.folder, "log")) as f:
                raise RuntimeError("%s ended: %s" % (self.name, f.read()[-2000:]))
        with socket.create_connection(("127.0.0.1", self.port), 5):
            return self.ready()

    def __enter__(self):
        self.prepare()
        with open(os.path.join(self.folder, "log"), "ab") as log:
            self.process = subprocess.Popen(self.command(), cwd=self.folder, env=self.env, stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log, preexec_fn=die_with_parent)
        try:
            wait_until(self.listens, self.patience, self.name + " listens", every=0.02)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        """Ends it and the processes that it started, each by its id."""
        family = descendants(self.process.pid)
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for pid in family[1:]:
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                continue

    def cpu(self):
        return cpu_seconds(self.process.pid)


class Lignum(Server):
    """The broker that tests/system starts too; `config` is the text of its lignum.lua."""

    name, scheme, settings, config = "Lignum", "http", "as shipped: durability commit", ""

    def __init__(self, folder):
        super().__init__(folder)
        self.broker = lignum.Broker(folder, config=self.config, env=self.more_env,
                                    descriptors=raise_descriptors(1 << 20))

    @classmethod
    def missing(cls):
        return not os.path.exists(BINARY)

    @classmethod
    def version(cls):
        return subprocess.run([BINARY, "--version"], capture_output=True, text=True).stdout.strip()

    def __enter__(self):
        self.broker.start()
        self.port, self.process = self.broker.port, self.broker.process
        return self

    def __exit__(self, kind=None, *_):
        self.broker.__exit__(kind)


class LignumInterval(Lignum):
    name, config = "Lignum interval", 'topic "*" { durability = "interval" }\n'
    settings = "durability interval, a sync each second"


class LignumHook(Lignum):
    name, config = "Lignum with a hook", "function on_publish(msg) end\n"
    settings = "on_publish that does nothing"


class LignumDecode(Lignum):
    name, settings = "Lignum with a JSON hook", "on_publish that decodes the payload and looks at a field"
    config = 'function on_publish(msg) if not json.decode(msg.payload).a then return reject("no a") end end\n'


class LignumTls(Lignum):
    name, scheme, settings = "Lignum, TLS", "https", "a listener with a certificate of P-256"

    def __init__(self, folder):
        super().__init__(folder)
        pair = Authority(folder).issue("node")
        self.broker = lignum.Broker(folder, config="listen { address = '127.0.0.1:0', tls = { %s } }" % pair.lua, listen=None,
                                    descriptors=raise_descriptors(1 << 20))


class Bare(Server):
    name, program, scheme = "bare program", os.path.join(TOOLS, "bare"), "http"
    settings = "tests/bench/bare.c: parse, append, group fdatasync, answer"
    words = []

    @classmethod
    def version(cls):
        return "no Lua, checksums, index or limits"

    def command(self):
        return [self.program, str(self.port), os.path.join(self.folder, "data"), *self.words]


class BareMany(Bare):
    name, words, settings = "bare program, many files", ["1000"], "the same with 1,000 files and one syncfs for all of them"


class BareOs(Bare):
    name, words, settings = "bare program, no sync", ["nosync"], "the same without fdatasync"


class Echo(Bare):
    name, program, settings = "core/net alone", os.path.join(TOOLS, "echo"), "tests/bench/echo.c: no Lua, no log"

    @classmethod
    def version(cls):
        return "Lignum's HTTP server"

    def command(self):
        return [self.program, "127.0.0.1:%d" % self.port]


class Redis(Server):
    name, program, scheme, sync = "Redis, always", "redis-server", "redis", "always"
    settings = "streams; appendonly yes, appendfsync always, save \"\", no AOF rewrite"

    def command(self):
        return ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--dir", self.folder, "--save", "",
                "--appendonly", "yes", "--appendfsync", self.sync, "--auto-aof-rewrite-percentage", "0"]


class RedisEverysec(Redis):
    name, sync = "Redis, everysec", "everysec"
    settings = "the same with appendfsync everysec"


class Nats(Server):
    name, program, scheme, more = "NATS JetStream", "nats-server", "nats", ""
    settings = "one stream, file storage, its default of a sync each 2 minutes"

    def prepare(self):
        self.config = self.file("nats.conf", 'listen: "127.0.0.1:%d"\njetstream { store_dir: "%s"\n%s }\n' % (
            self.port, self.folder, self.more))

    def command(self):
        return ["nats-server", "-c", self.config]

    def ready(self):
        stream = json.dumps({"name": "S", "subjects": ["t.>"], "storage": "file"})
        with socket.create_connection(("127.0.0.1", self.port), 5) as s:
            s.sendall(b'CONNECT {"verbose":false}\r\nSUB i 1\r\nPUB $JS.API.STREAM.CREATE.S i %d\r\n%s\r\n' % (
                len(stream), stream.encode()))
            seen = b""
            while b"MSG i 1" not in seen or not seen.endswith(b"}\r\n"):
                data = s.recv(65536)
                if not data:
                    return False
                seen += data
        return b'"created"' in seen


class NatsAlways(Nats):
    name, more = "NATS JetStream, sync always", "sync_interval: always\n"
    settings = "the same with sync_interval always (a server of 2.10 or later)"

    @classmethod
    def missing(cls):
        if Nats.missing():
            return True
        words = cls.version().split("v")[-1].split(".")
        return (int(words[0]), int(words[1])) < (2, 10)


class Tarantool(Server):
    name, program, scheme = "Tarantool", "tarantool", "tarantool"
    settings = "memtx, wal_mode fsync, INSERT with a sequence as key"
    script = """box.cfg { listen = "127.0.0.1:%d", wal_mode = "fsync", checkpoint_interval = 0,
  memtx_memory = 2 * 2^30, log_level = 3 }
local s = box.schema.space.create("m", { id = 512 })
box.schema.sequence.create("s")
s:create_index("k", { sequence = "s" })
box.schema.user.grant("guest", "read,write,execute", "universe")
require("fiber").sleep(0)
"""

    def command(self):
        return ["tarantool", self.file("init.lua", self.script % self.port)]

    def ready(self):
        return os.path.exists(os.path.join(self.folder, "00000000000000000000.xlog"))


class Rabbit(Server):
    """With an epmd of its own, which would otherwise be left behind as a daemon."""

    name, program, scheme, patience = "RabbitMQ", "/usr/lib/rabbitmq/bin/rabbitmq-server", "amqp", 60
    settings = "persistent messages, publisher confirms, one message at a time on each connection"

    @classmethod
    def version(cls):
        out = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", "rabbitmq-server"], capture_output=True, text=True)
        return "rabbitmq-server " + (out.stdout or "of unknown version")

    def prepare(self):
        epmd = free_port()
        self.epmd = subprocess.Popen(["epmd", "-port", str(epmd), "-address", "127.0.0.1"],
                                     preexec_fn=die_with_parent)
        self.env.update({
            "HOME": self.folder, "ERL_EPMD_PORT": str(epmd), "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": "bench@localhost", "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port), "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_MNESIA_BASE": self.folder, "RABBITMQ_LOG_BASE": self.folder,
            "RABBITMQ_ENABLED_PLUGINS_FILE": self.file("plugins", "[].\n"),
            "RABBITMQ_CONF_ENV_FILE": self.file("env", ""), "RABBITMQ_CONFIG_FILE": self.file("none.conf", ""),
        })

    def command(self):
        return [self.program]

    def ready(self):
        with socket.create_connection(("127.0.0.1", self.port), 5) as s:
            s.sendall(b"AMQP\0\0\x09\x01")
            return s.recv(7)[:1] == b"\x01"

    def __exit__(self, *_):
        super().__exit__()
        self.epmd.kill()
        self.epmd.wait()


class Beanstalk(Server):
    name, program, scheme = "beanstalkd", "beanstalkd", "beanstalk"
    version_words, settings = ["-v"], "-f 0: an fsync after each put"

    def command(self):
        return ["beanstalkd", "-l", "127.0.0.1", "-p", str(self.port), "-b", self.folder, "-f", "0"]


class Etcd(Server):
    name, program, scheme, settings = "etcd, one node", "etcd", "http", "version 2 keys over HTTP, in-order POST"

    def command(self):
        client, peer = "http://127.0.0.1:%d" % self.port, "http://127.0.0.1:%d" % free_port()
        return ["etcd", "--enable-v2", "--data-dir", os.path.join(self.folder, "etcd"), "--log-level", "error",
                "--listen-client-urls", client, "--advertise-client-urls", client, "--listen-peer-urls", peer,
                "--initial-advertise-peer-urls", peer, "--initial-cluster", "default=" + peer]

    def ready(self):
        with Connection(self.port) as c:
            return c.request("GET", "/health").status == 200


class Nginx(Server):
    name, program, scheme, version_words = "nginx", "nginx", "http", ["-v"]
    settings = "one worker, `return 200`: HTTP without any work"
    text = """daemon off; worker_processes 1; pid %(folder)s/pid; error_log %(folder)s/error;
events { worker_connections 2048; }
http { access_log off; keepalive_requests 1000000000; client_body_temp_path %(folder)s; proxy_temp_path %(folder)s;
  fastcgi_temp_path %(folder)s; uwsgi_temp_path %(folder)s; scgi_temp_path %(folder)s;
  server { listen 127.0.0.1:%(port)d; location / { return 200 "{}"; } } }
"""

    def command(self):
        return ["nginx", "-c", self.file("nginx.conf", self.text % self.__dict__), "-p", self.folder,
                "-e", os.path.join(self.folder, "error")]


class NginxTls(Nginx):
    """Its own answers, by TLS."""

    name, scheme = "nginx, TLS", "https"
    settings = "one worker, `return 200`, a certificate of P-256, TLS 1.3 and 1.2"
    text = Nginx.text.replace("%(port)d;", """%(port)d ssl reuseport backlog=1024;
    ssl_certificate %(folder)s/node.pem; ssl_certificate_key %(folder)s/node.key; ssl_protocols TLSv1.2 TLSv1.3;
    ssl_session_cache shared:s:10m; ssl_buffer_size 16k;""")

    def prepare(self):
        Authority(self.folder).issue("node")


class NginxProxy(NginxTls):
    """A proxy that ends TLS in front of a plain Lignum."""

    name = "nginx, TLS in front of Lignum"
    settings = "the same as a proxy, with kept connections to a Lignum as shipped"
    text = NginxTls.text.replace('return 200 "{}";', """proxy_pass http://lignum; proxy_http_version 1.1;
    proxy_set_header Connection ""; proxy_set_header Host $http_host;""").replace(
        "http { ", "http { upstream lignum { server 127.0.0.1:%(behind)d; keepalive 128; keepalive_requests 1000000000; }\n")

    def prepare(self):
        super().prepare()
        folder = os.path.join(self.folder, "behind")
        os.mkdir(folder)
        self.broker = lignum.Broker(folder, descriptors=raise_descriptors(1 << 20)).start()
        self.behind = self.broker.port

    def __exit__(self, kind=None, *_):
        super().__exit__()
        self.broker.__exit__(kind)

    def cpu(self):
        return super().cpu() + cpu_seconds(self.broker.process.pid)


def slowed(kind, us):
    """The same server, each fdatasync of which takes so many microseconds longer; 0: the disk as it is."""
    more = {"LD_PRELOAD": os.path.join(TOOLS, "slow_disk.so"), "SLOW_DISK_US": str(us)} if us else {}
    name = "%s, disk +%g ms" % (kind.name, us / 1000)
    return type(kind.__name__ + str(us), (kind,), {"name": name, "more_env": more})
