"""Starting, stopping, flags, configuration errors and who may use a data directory."""

import glob
import os
import re
import shutil
import signal
import socket
import struct
import threading
import unittest

from lignum import BINARY, ROOT, Test, crc32c, in_threads, lignum, request_bytes, wait_until


class Stop(Test):
    def test_sigterm_answers_what_is_in_flight_and_keeps_it(self):
        for _ in range(3):
            b = self.broker()
            acknowledged, over = [], threading.Event()

            def publisher(k):
                try:
                    with b.connect() as c:
                        i = 0
                        while True:
                            payload = b"%d.%d" % (k, i)
                            c.send(request_bytes("POST", "/v1/topics/t/messages", payload))
                            a = c.answer()
                            if a.status == 503:
                                self.assertIn(a.json["code"], ("stopping",))
                                self.assertIs(a.json["appended"], False)
                                return
                            self.assertEqual(a.status, 200, a)
                            acknowledged.append((a.json["first"], payload))
                            i += 1
                            if (a.header("connection") or "").lower() == "close":
                                return
                except OSError:
                    pass        # closed between two requests

            def stopper():
                wait_until(lambda: len(acknowledged) > 200)
                b.stop()
                over.set()
            in_threads(stopper, *[lambda k=k: publisher(k) for k in range(8)])
            self.assertIn("stopped", b.said())
            b.start()
            self.assertNotRegex(b.said(), r"torn|recover\w+ topic")
            stored = b.messages("t")
            for offset, payload in acknowledged:
                self.assertEqual(stored[offset], payload)
            # Nobody was left without an answer, so nothing else is there.
            self.assertEqual(len(stored), len(acknowledged))
            b.stop()

    def test_sigterm_ends_long_polls_at_once(self):
        b = self.broker()
        b.publish("t", b"x")
        answers = []

        def waiter():
            answers.append(b.get("/v1/topics/t/messages?from=1&wait=60"))

        def stopper():
            wait_until(lambda: sum(v for n, v in b.metrics().items()
                                   if n.startswith("lignum_http_requests_in_flight")) > 2)
            b.stop(timeout=8)
        in_threads(waiter, waiter, stopper)
        for a in answers:
            self.assertIn(a.status, (200, 503), a)

    def test_sigint_stops_like_sigterm(self):
        b = self.broker()
        b.publish("t", b"x")
        b.signal(signal.SIGINT)
        self.assertEqual(b.wait_exit(), 0)

    def test_one_that_is_told_to_stop_again_and_again_ends_as_it_should(self):
        b = self.broker()
        for _ in range(20):
            while b.process.poll() is None:
                for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
                    b.signal(number)
            self.assertEqual(b.wait_exit(), 0, b.said())
            b.start()

    def test_idle_keepalive_connections_do_not_delay_a_stop(self):
        b = self.broker()
        with b.connect() as c, b.connect():
            c.request("GET", "/ping")
            b.stop(timeout=5)

    def test_a_client_that_stalls_cannot_hold_up_a_stop_for_ever(self):
        b = self.broker()
        with b.connect() as c:
            c.send(b"POST /v1/topics/t/messages HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc")
            wait_until(lambda: b.metrics()["lignum_http_connections"] >= 2)
            b.stop(timeout=20)

    def test_a_publisher_that_finished_sending_before_the_stop_is_answered(self):
        b = self.broker()
        clients = [b.connect() for _ in range(20)]
        for c in clients:
            c.request("GET", "/ping")
        for i, c in enumerate(clients):
            c.send(request_bytes("POST", "/v1/topics/t/messages", b"%d" % i))
        b.stop()
        for c in clients:
            with c:
                self.assertIn(c.answer().status, (200, 503))


class Directory(Test):
    def refused(self, b, *words):
        b.spawn()
        code = b.wait_exit()
        self.assertEqual(code, 65, b.said())
        for w in words:
            self.assertIn(w, b.said())
        return b.said()

    def test_a_second_broker_on_the_same_directory_is_refused(self):
        a = self.broker()
        a.publish("t", b"x")
        b = self.made(data=a.data)
        self.refused(b, a.data)
        self.assertEqual(a.messages("t"), [b"x"])

    def test_a_foreign_directory_is_refused_untouched(self):
        b = self.made()
        os.makedirs(b.data)
        with open(os.path.join(b.data, "precious"), "w") as f:
            f.write("mine")
        self.refused(b, b.data)
        self.assertEqual(os.listdir(b.data), ["precious"])

    def test_a_file_in_place_of_the_directory_is_refused(self):
        b = self.made()
        open(b.data, "w").close()
        self.refused(b, b.data)

    def test_a_parent_that_is_missing_is_refused_and_not_made(self):
        b = self.made(data=os.path.join(self.folder, "no", "such", "data"))
        self.refused(b, b.data)
        self.assertFalse(os.path.exists(os.path.join(self.folder, "no")))

    def test_a_directory_that_cannot_be_written_is_refused(self):
        b = self.made(data="/proc/lignum-data")
        self.refused(b, "/proc/lignum-data")

    def test_state_of_another_version_is_refused_untouched(self):
        b = self.broker()
        b.publish("t", b"x")
        b.stop()
        path = os.path.join(b.data, "state")
        text = open(path).read()
        body = text[:text.index("crc=")].replace("lignum-state=1", "lignum-state=99")
        newer = body + "crc=%08x\n" % crc32c(body.encode())
        self.assertEqual(text, text[:text.index("crc=")] + "crc=%08x\n" % crc32c(text[:text.index("crc=")].encode()))
        open(path, "w").write(newer)
        self.refused(b, "version")
        self.assertEqual(open(path).read(), newer)

    def test_files_of_a_newer_format_are_refused_by_version_untouched(self):
        b = self.broker(set=["store.segment.messages=10"])
        for i in range(15):
            b.publish("t", b"%d" % i)
        b.stop()
        path = sorted(glob.glob(os.path.join(b.data, "topics", "t", "*.qwal")))[0]
        with open(path, "r+b") as f:
            head = bytearray(f.read(64))
            head[8:10] = struct.pack("<H", 2)
            head[12:16] = struct.pack("<I", crc32c(head[:12], head[16:]))
            f.seek(0)
            f.write(head)
        before = open(path, "rb").read()
        b.spawn()
        wait_until(lambda: " main: ready " in b.said() or b.process.poll() is not None)
        if b.running():
            b.port = int(re.search(r"listening address=\S*:(\d+)", b.said()).group(1))
            self.assertNotEqual(b.get("/v1/topics/t/messages?from=10").status, 200)
            self.assertNotEqual(b.post("/v1/topics/t/messages", b"x").status, 200)
            b.stop()
        else:
            self.assertEqual(b.wait_exit(), 65)
            self.assertRegex(b.said(), r"error .*version")
        self.assertEqual(open(path, "rb").read(), before)

    def test_a_lost_state_file_gives_a_new_incarnation_and_keeps_the_data(self):
        b = self.broker()
        b.publish("t", b"x")
        b.stop()
        before = open(os.path.join(b.data, "state")).read()
        os.unlink(os.path.join(b.data, "state"))
        b.spawn()
        wait_until(lambda: " main: ready " in b.said() or b.process.poll() is not None)
        if not b.running():
            self.assertEqual(b.wait_exit(), 65)      # refusing is fine too, deleting is not
        else:
            b.port = int(re.search(r"listening address=\S*:(\d+)", b.said()).group(1))
            self.assertEqual(b.messages("t"), [b"x"])
            b.stop()
            after = open(os.path.join(b.data, "state")).read()
            self.assertNotEqual(re.search(r"incarnation=(\S+)", before).group(1),
                                re.search(r"incarnation=(\S+)", after).group(1))
        self.assertTrue(glob.glob(os.path.join(b.data, "topics", "t", "*.qwal")))

    def test_a_node_of_a_cluster_does_not_start_alone(self):
        b = self.broker(set=["cluster.consul.address=127.0.0.1:1", "cluster.replication.listen=127.0.0.1:0"])
        who = "n9:" + "a" * 32
        ran = b.lignum("console", b.console, "-e", 'require("lignum.core").cluster.see({ cluster = "%s", epoch = 3, '
                       'version = 5, leader = "%s", members = { "%s" } }, 7)' % ("b" * 32, who, who))
        self.assertEqual(ran.code, 0, ran)
        b.stop()
        clustered, b.set = b.set, []
        b.spawn()
        self.assertEqual(b.wait_exit(), 65)
        self.assertIn("has taken part in a cluster", b.said())
        b.set = clustered
        b.start()
        b.stop()
        os.unlink(os.path.join(b.data, "state"))
        b.set = []
        b.start()                                    # a new identity, as it was told
        b.publish("t", b"x")


class Flags(Test):
    def setUp(self):
        super().setUp()
        self.need(BINARY, "the binary")

    def test_mistakes_in_flags_name_the_flag_and_exit_64(self):
        for words, named in [(["--nonsense"], "--nonsense"), (["--listen"], "--listen"), (["--set"], "--set"),
                             (["--set", "novalue"], "--set"), (["--set", "store.segment.mesages=5"], "mesages"),
                             (["--set", "store.segment.messages=many"], "store.segment.messages"),
                             (["--set", "store.segment.messages=0"], "store.segment.messages"),
                             (["--set", "nonsense=1"], "nonsense"), (["--listen", "nonsense"], "listen"),
                             (["--listen", "127.0.0.1:99999"], "listen"), (["--name", "a b"], "name"),
                             (["frobnicate"], "frobnicate"), (["verify"], "verify"), (["dump", "x"], "dump"),
                             (["dump", "x", "t", "abc"], "abc"), (["serve", "extra"], "extra"), (["-e", "1"], "-e"),
                             (["check", "extra"], "extra"), (["--help=yes"], "--help"), (["-x"], "-x"),
                             (["-c", "/nonexistent/lignum.lua"], "/nonexistent/lignum.lua")]:
            with self.subTest(words=words):
                r = lignum(*words, cwd=self.folder)
                self.assertEqual(r.code, 64, r)
                self.assertIn(named, r.err)
                self.assertEqual(os.listdir(self.folder), [], "nothing half done")

    def test_a_mistaken_key_suggests_the_nearest(self):
        r = lignum("--set", "store.segment.mesages=5", cwd=self.folder)
        self.assertIn("did you mean", r.err)
        self.assertIn("messages", r.err)

    def test_help_and_version(self):
        r = lignum("--help")
        self.assertEqual(r.code, 0)
        for word in ["serve", "check", "verify", "dump", "console", "--listen", "--data", "--set", "-c"]:
            self.assertIn(word, r.out)
        r = lignum("--version")
        self.assertEqual(r.code, 0)
        self.assertRegex(r.out, r"^lignum \d+\.\d+\.\d+")

    def test_an_installed_binary_finds_its_scripts_wherever_its_prefix_lies(self):
        prefix = os.path.join(self.folder, "prefix")
        os.makedirs(os.path.join(prefix, "bin"))
        installed = shutil.copy(BINARY, os.path.join(prefix, "bin", "lignum"))
        shutil.copytree(os.path.join(ROOT, "scripts"), os.path.join(prefix, "share", "lignum", "scripts"))
        r = lignum("check", binary=installed, cwd=self.folder)
        self.assertEqual((r.code, r.err), (0, ""))

    def test_flags_win_over_the_file(self):
        b = self.broker(config='listen "127.0.0.1:1"\nstore { path = "elsewhere", segment = { messages = 1000 } }',
                        set=["store.segment.messages=10"])
        for i in range(11):
            b.publish("t", b"x")
        wait_until(lambda: glob.glob(os.path.join(b.data, "topics", "t", "*.log")))
        self.assertFalse(os.path.exists(os.path.join(b.folder, "elsewhere")))

    def test_a_port_in_use_is_said(self):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            s.listen(1)
            b = self.made(listen="127.0.0.1:%d" % s.getsockname()[1])
            b.spawn()
            self.assertEqual(b.wait_exit(), 64, b.said())
            self.assertIn("cannot listen", b.said())

    def test_listening_off_loopback_without_authorize_warns_loudly(self):
        b = self.broker(listen="0.0.0.0:0")
        self.assertRegex(b.said(), r"warn main: .*authorize")
        b.stop()
        b.write_config("function authorize(request) return true end")
        b.start()
        self.assertNotRegex(b.said(), r"warn main: .*authorize")
        b.stop()
        b.listen = "127.0.0.1:0"
        b.write_config("")
        b.start()
        self.assertNotIn("warn", b.said())

    def test_messages_cannot_forge_lines_of_the_log(self):
        b = self.broker(config='function on_publish(msg) say.info(msg.payload) end')
        b.publish("t", b"a\n2026-11-23T10:00:00.000Z error store: forged\x1b[31m")
        wait_until(lambda: "forged" in b.said())
        for line in b.said().splitlines():
            self.assertRegex(line, r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (debug|info|warn|error) \S+: ")
        self.assertNotIn("\x1b", b.said())


class Configuration(Test):
    def check(self, text):
        path = os.path.join(self.folder, "lignum.lua")
        with open(path, "w") as f:
            f.write(text)
        self.need(BINARY, "the binary")
        return lignum("check", "-c", path)

    def test_a_valid_file_is_valid(self):
        r = self.check('listen "127.0.0.1:8080"\n'
                       'store { path = "data", segment = { messages = 10000, bytes = 64 * MiB } }\n'
                       'topic "orders.*" { replication = "live", copies = 1, retain = { age = 30 * day } }\n'
                       'topic "*" { retain = { bytes = 10 * GB } }\n'
                       'limits { body = 1 * MiB }\nlog { level = "debug" }\n'
                       'function on_publish(msg) if #msg.payload == 0 then return reject("empty") end end\n'
                       'function authorize(request) return true end\n'
                       'every(60, function() say.info("tick") end)\n'
                       'route.get("/hello/{name}", function(req) return 200, { hello = req.params.name } end)\n')
        self.assertEqual(r.code, 0, r)

    def test_errors_name_file_line_key_and_the_nearest_key(self):
        for text, line, words in [
                ('store { segmnt = { messages = 5 } }', 1, ["segmnt", "segment"]),
                ('\n\nstore { segment = { mesages = 5 } }', 3, ["store.segment.mesages", "messages"]),
                ('topic "orders.*" {\n  retian = { age = 5 },\n}', None, ["orders.*", "retian", "retain"]),
                ('store { segment = { messages = "many" } }', 1, ["store.segment.messages"]),
                ('store { segment = { messages = 0 } }', 1, ["store.segment.messages"]),
                ('store { durability = "comit" }', 1, ["store.durability", "commit"]),
                ('listen "nonsense"', 1, ["listen"]),
                ('listne "127.0.0.1:1"', 1, ["listne", "listen"]),
                ('topic "a b" {}', 1, ["topic"]),
                ('topic "x" { copies = 0 }', 1, ["copies"]),
                ('log { level = "loud" }', 1, ["log.level"]),
                ('function on_publsh(msg) end', 1, ["on_publsh", "on_publish"]),
                ('on_publish = 5', 1, ["on_publish"]),
                ('every(0, function() end)', 1, ["every"]),
                ('every(0 / 0, function() end)', 1, ["every"]),
                ('every(math.huge, function() end)', 1, ["every"]),
                ('every(1e300, function() end)', 1, ["every"]),
                ('every(5)', 1, ["every"]),
                ('topic(nil) {}', 1, ["pattern"]),
                ('route.get("hello", function() end)', 1, ["route"]),
                ('route.get("/hello", 5)', 1, ["route"]),
                ('x = = 1', 1, []),
                ('error("my own")', 1, ["my own"]),
                ('undefined_function()', 1, ["undefined_function"]),
                ('local t = nil\nt.x = 1', 2, []),
                ('while true do end', 1, [])]:
            with self.subTest(text=text):
                r = self.check(text)
                self.assertEqual(r.code, 64, r)
                self.assertIn("lignum.lua", r.err)
                if line:
                    self.assertRegex(r.err, r"lignum\.lua:%d: " % line)
                for w in words:
                    self.assertIn(w, r.err)

    def test_several_errors_are_all_said_a_line_each(self):
        r = self.check('store { segmnt = {}, durabilty = "commit" }\nlog { level = "loud" }')
        self.assertEqual(r.code, 64)
        lines = [l for l in r.err.splitlines() if "lignum.lua" in l]
        self.assertGreaterEqual(len(lines), 3, r)

    def test_a_broken_file_keeps_a_broker_from_starting(self):
        b = self.made(config="store { segmnt = {} }")
        b.spawn()
        self.assertEqual(b.wait_exit(), 64)
        self.assertIn("segment", b.said())
        self.assertFalse(os.path.exists(b.data))

    def test_dangerous_functions_are_off(self):
        for text in ['os.execute("true")', 'io.popen("true")', 'package.loadlib("x", "y")', 'os.exit(0)',
                     'load("\\27Lua")()', 'os.remove("x")', 'loadfile("/etc/passwd")()', 'debug.getregistry()']:
            with self.subTest(text=text):
                r = self.check(text)
                self.assertEqual(r.code, 64, r)


if __name__ == "__main__":
    unittest.main()
