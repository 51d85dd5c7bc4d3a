"""Listeners with TLS: what clients get, who is let in, files that cannot be used, new certificates at a reload."""

import os
import re
import signal
import socket
import ssl
import time

import pytest

from certs import Authority, Pair, openssl
from client import Connection, assert_refused, request_bytes
from common import SANITIZED, hold_for, raise_descriptors, wait_until

TLS_HOST = "127.0.0.2"      # another address of loopback, so that the two listeners differ by their text
NAMES = ("localhost", TLS_HOST)


@pytest.fixture(scope="module")
def ca(shared_folder):
    return Authority(shared_folder)


@pytest.fixture(scope="module")
def pair(ca):
    return ca.issue("node", hosts=NAMES)


def config(tls, more=""):
    return 'listen { "127.0.0.1:0", { address = "%s:0", tls = { %s } } }\n%s' % (TLS_HOST, tls, more)


def dial(b, tls, **kw):
    return Connection(b.ports[1], host=TLS_HOST, tls=tls, **kw)


def raw(b, timeout=30):
    return socket.create_connection((TLS_HOST, b.ports[1]), timeout=timeout)


def s_client(b, *words, input=b"", check=False):
    """What `openssl s_client` prints."""
    p = openssl("s_client", "-connect", "%s:%d" % (TLS_HOST, b.ports[1]), *words, input=input, check=check)
    return (p.stdout + p.stderr).decode("utf-8", "replace")


@pytest.fixture(scope="module")
def secure(share_node, pair):
    more = """limits { head_timeout = 2, write_timeout = 2 }
    route.get("/cut", function() return 200, function(write) write("half") sleep(0.1) error("cut") end end)"""
    return share_node(config=config(pair.lua, more), listen=None)


def served(b, tls, **kw):
    with dial(b, tls, **kw) as c:
        return c.request("GET", "/ping").body == b"PONG"


def shown(b, tls, name="localhost"):
    """The serial number of the certificate that a new connection is shown."""
    with dial(b, tls, name=name) as c:
        return c.socket.getpeercert()["serialNumber"]


# ------------------------------------------------------------------------------------------- the same as plain

@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def test_large_bodies_and_answers_are_the_same_over_tls(secure, ca, version):
    topic = "large-%d" % version
    size = [1, 5000, 16384, 16385, 1000000]
    payloads = [os.urandom(n // 2).hex().encode() + b"x" * (n % 2) for n in size]
    with dial(secure, ca.trusting(least=version, most=version)) as c:
        for p in payloads:
            assert c.request("POST", "/v1/topics/%s/messages" % topic, p).status == 200
        read = "/v1/topics/%s/messages?raw=1&bytes=8388608" % topic
        assert c.request("GET", read).body == b"".join(p + b"\n" for p in payloads)
        records = {"Accept": "application/vnd.lignum.records"}          # from the file
        secured = c.request("GET", "/v1/topics/%s/messages?bytes=8388608" % topic, headers=records)
    plain = secure.get("/v1/topics/%s/messages?bytes=8388608" % topic, headers=records)
    assert secured.status == plain.status == 200 and len(plain.body) > sum(size)
    assert secured.body == plain.body


def test_pipelined_requests_and_bodies_in_pieces_are_served_over_tls(secure, ca):
    secure.request("PUT", "/v1/topics/pieces")
    with dial(secure, ca.trusting()) as c:
        one = request_bytes("GET", "/ping")
        c.send(one * 300)                 # more than one record, and than the buffer of a connection
        assert [c.answer().body for _ in range(300)] == [b"PONG"] * 300
        whole = request_bytes("POST", "/v1/topics/pieces/messages", b"x" * 40000)
        for at in range(0, len(whole), 3001):
            c.send(whole[at:at + 3001])
        assert c.answer("POST").status == 200
    assert [len(m) for m in secure.messages("pieces")] == [40000]


def test_events_arrive_over_tls_as_they_are_published(secure, ca):
    secure.request("PUT", "/v1/topics/events")
    with dial(secure, ca.trusting()) as c:
        c.send(request_bytes("GET", "/v1/topics/events/messages", headers={"Accept": "text/event-stream"}))
        assert c.head()[0] == 200
        for i in range(3):
            secure.publish("events", b"event %d" % i)
            text = b""
            while b"event %d" % i not in text:
                text += c.chunk()


def test_an_answer_that_is_whole_ends_with_close_notify(secure, ca):
    """Without it, one that the end of the connection ends could be cut off on the way. So could one that a script cuts off."""
    context = ca.trusting()
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF

    def whole(request):
        with context.wrap_socket(raw(secure), server_hostname="localhost", suppress_ragged_eofs=False) as s:
            s.sendall(request)
            return b"".join(iter(lambda: s.recv(4096), b""))
    for request in (b"GET /ping HTTP/1.0\r\n\r\n", b"GET /ping HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"):
        assert whole(request).endswith(b"PONG")
    with pytest.raises(ssl.SSLError, match="UNEXPECTED_EOF"):
        whole(b"GET /cut HTTP/1.0\r\n\r\n")


def test_a_client_that_reads_nothing_is_disconnected_over_tls_too(secure, ca):
    secure.publish_lines("slow", [b"x" * 1000000] * 8)
    with dial(secure, ca.trusting(), receive_buffer=4096) as c:
        c.send(request_bytes("GET", "/v1/topics/slow/messages?raw=1&bytes=8388608") * 4)
        wait_until(lambda: secure.metrics()["lignum_http_connections"] == 1, what="it is disconnected")


# ------------------------------------------------------------------------------------------- what is not TLS here

def test_plain_http_to_a_tls_listener_is_400_in_plain(secure):
    for request in (request_bytes("GET", "/ping"), request_bytes("POST", "/v1/topics/t/messages", b"x" * 100000), b"\r\n\r\n"):
        c = Connection(secure.ports[1], host=TLS_HOST)
        c.send(request)
        answer = c.answer()
        assert_refused(answer, 400, "bad_request")
        assert "https://" in answer.json["detail"]
        assert c.closed()
        c.close()


def test_tls_to_a_plain_listener_is_said_once(node, ca, pair):
    b = node(config=config(pair.lua), listen=None)
    for _ in range(3):
        with pytest.raises(ssl.SSLError):
            Connection(b.port, tls=ca.trusting())
    assert b.said().count("sends TLS to a listener without TLS") == 1


@pytest.mark.parametrize("words", [
    ["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"],
    ["-tls1", "-cipher", "ALL:@SECLEVEL=0"],
    ["-tls1_2", "-cipher", "NULL:@SECLEVEL=0"],
    ["-tls1_2", "-cipher", "aNULL:@SECLEVEL=0"],
    ["-tls1_2", "-cipher", "kRSA:@SECLEVEL=0"],
    ["-tls1_2", "-cipher", "SHA1:SHA256:SHA384:!AESGCM:!CHACHA20:!AESCCM:@SECLEVEL=0"],
    ["-tls1_2", "-cipher", "DHE:!ECDHE:@SECLEVEL=0"],
    ["-tls1_3", "-alpn", "h2"],
], ids=lambda w: "".join(w[:3]).strip("-"))
def test_old_versions_weak_ciphers_and_other_protocols_are_refused(secure, words):
    before = secure.metrics()['lignum_tls_handshakes_total{result="failed"}']
    said = s_client(secure, *words)
    assert re.search(r"Cipher is \(NONE\)|handshake failure|alert", said), said
    assert "BEGIN CERTIFICATE" not in said
    assert secure.metrics()['lignum_tls_handshakes_total{result="failed"}'] == before + 1


def test_a_client_may_not_renegotiate(secure):
    said = s_client(secure, "-tls1_2", "-msg", input=b"R\n")
    assert "RENEGOTIATING" in said and said.count(", ClientHello") == 2, said
    assert said.count(", ServerHello\n") == 1 and "no_renegotiation" in said, said
    assert "Compression: NONE" in said


def test_a_downgrade_in_between_is_noticed_by_the_client(secure, ca):
    """A ClientHello from which a relay has removed TLS 1.3: the server's random number says that it speaks 1.3."""
    said = s_client(secure, "-tls1_2", "-msg")
    hello = re.search(r", ServerHello\n((?:    .*\n)+)", said)[1]
    assert "444f574e47524401" in re.sub(r"\s", "", hello), said       # RFC 8446, section 4.1.3


def test_without_a_reload_sessions_are_resumed(secure, ca):
    context = ca.trusting()
    with dial(secure, context) as c:
        assert c.request("GET", "/ping").status == 200
        session = c.socket.session
    with dial(secure, context, session=session) as c:
        assert c.socket.session_reused and c.request("GET", "/ping").status == 200


# ------------------------------------------------------------------------------------------- handshakes as attacks

def hello_of(tls):
    """The first bytes that a client sends."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    end = tls.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        end.do_handshake()
    return outgoing.read()


def test_a_handshake_a_byte_at_a_time_succeeds_and_one_that_stops_is_cut_off(secure, ca):
    context = ca.trusting()
    s = raw(secure)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    end = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    done = False
    while not done:
        try:
            end.do_handshake()
            done = True
        except ssl.SSLWantReadError:
            pass
        for byte in outgoing.read():
            s.sendall(bytes([byte]))
        if not done:
            incoming.write(s.recv(65536))
    end.write(request_bytes("GET", "/ping"))
    s.sendall(outgoing.read())
    incoming.write(s.recv(65536))
    wait_until(lambda: "PONG" in read_all(end, incoming, s), what="it is answered")
    s.close()

    hello = hello_of(context)
    for part in (b"", hello[:1], hello[:100], hello):
        began = time.monotonic()
        s = raw(secure)
        s.sendall(part)
        while s.recv(65536):
            pass
        assert 1 < time.monotonic() - began < 20
        s.close()
    assert served(secure, context)


def read_all(end, incoming, s):
    """What has arrived, decrypted."""
    text = getattr(end, "seen", b"")
    try:
        while True:
            text += end.read()
    except ssl.SSLWantReadError:
        pass
    if b"PONG" not in text:
        incoming.write(s.recv(65536))
    return text.decode("latin-1")


@pytest.mark.alone
def test_ten_thousand_half_open_handshakes_keep_nobody_out(node, ca, pair, figure):
    import resource
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = raise_descriptors(20000)
    count = min(10000, allowed - 500)
    if count < 2000:
        pytest.skip("only %d descriptors are allowed here" % allowed)
    b = node(config=config(pair.lua, "limits { head_timeout = 60 }"), listen=None, descriptors=allowed)
    context = ca.trusting()
    assert served(b, context)
    start, hello, opened, took = b.status("VmRSS"), hello_of(context), [], []
    try:
        for i in range(count):
            s = raw(b)
            opened.append(s)
            if i % 4 < 3:         # three quarters have sent a hello or a part of it
                s.sendall(hello[:(100, 1, len(hello))[i % 4]])
            if i % 500 == 499:
                began = time.monotonic()
                assert served(b, context)                                   # by TLS from the same address
                assert b.get("/ping").status == 200                         # and plain
                took.append(time.monotonic() - began)
        grown = b.status("VmRSS") - start
        figure("%d half-open handshakes: %.0f MB, a request meanwhile at most %.0f ms", count, grown / 1024, max(took) * 1e3)
        assert grown < (400 if SANITIZED else 120) * 1024
        assert max(took) < 5
    finally:
        for s in opened:
            s.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_random_bytes_after_the_first_are_refused_and_harm_nothing(secure, ca, rng):
    hello = hello_of(ca.trusting())
    for _ in range(100):
        s = raw(secure)
        kind = rng.randrange(3)
        if kind == 0:
            sent = b"\x16\x03\x01" + rng.randbytes(rng.randrange(200))
        else:
            at = rng.randrange(1, len(hello))
            sent = hello[:at] + bytes([hello[at] ^ (1 + rng.randrange(255))]) + hello[at + 1:]
        s.sendall(sent)
        s.shutdown(socket.SHUT_WR)
        try:
            while s.recv(65536):
                pass
        except ConnectionResetError:
            pass
        s.close()
    assert served(secure, ca.trusting())


# ------------------------------------------------------------------------------------------- names

def test_a_client_that_names_a_host_is_shown_its_certificate(node, ca, pair):
    own = {h: ca.issue(h.replace("*", "any"), hosts=(h,)) for h in ("a.b.example", "*.b.example", "x.c.example")}
    names = ", ".join("[%r] = { %s }" % (h, p.lua) for h, p in own.items())
    b = node(config=config(pair.lua + ", names = { %s }" % names), listen=None)
    context = ca.trusting()
    serial = {h: openssl("x509", "-noout", "-serial", "-in", p.cert).stdout.decode().strip()[7:] for h, p in own.items()}
    assert shown(b, context, "a.b.example") == serial["a.b.example"]
    assert shown(b, context, "A.B.Example") == serial["a.b.example"]
    assert shown(b, context, "c.b.example") == serial["*.b.example"]
    assert shown(b, context, "x.c.example") == serial["x.c.example"]
    for name in ("y.c.example", "other.test", "b.example", "a.a.b.example"):
        with pytest.raises(ssl.SSLCertVerificationError):     # it is shown the one for localhost
            dial(b, context, name=name)
    assert served(b, context)


# ------------------------------------------------------------------------------------------- clients' certificates

WHO = 'route.get("/who", function(req) return 200, { user = req.user or json.null } end)\n'


def who(b, tls):
    with dial(b, tls) as c:
        return c.request("GET", "/who").json["user"]


def test_client_ca_lets_in_who_has_a_certificate_of_it_and_names_them(node, ca, pair, folder):
    other = Authority(folder, "other")
    own = config(pair.lua + ", client_ca = %r" % ca.path, WHO)
    b = node(config=own, listen=None)
    alice = ca.issue("alice", subject="/O=x/CN=alice", hosts=())
    assert who(b, ca.trusting(alice)) == "alice"
    assert who(b, ca.trusting(ca.issue("twice", subject="/CN=a/CN=b", hosts=()))) is None
    assert who(b, ca.trusting(ca.issue("none", subject="/O=x", hosts=()))) is None
    refused = {
        "it has shown no certificate": None,
        "unable to get local issuer certificate|unable to verify": other.issue("mallory", subject="/CN=alice", hosts=()),
        "certificate has expired": ca.issue("late", subject="/CN=late", hosts=(), days=0),
        "purpose": ca.issue("server", subject="/CN=s", hosts=(), extra=["extendedKeyUsage=serverAuth"]),
    }
    hold_for(1.1, "the certificate for 0 days expires")
    for reason, shown_pair in refused.items():
        at = len(b.said())
        with pytest.raises((ssl.SSLError, OSError)):
            who(b, ca.trusting(shown_pair))
        wait_until(lambda: re.search(reason, b.said()[at:]), what="%s is said" % reason)
    assert b.get("/who").json["user"] is None                # the plain listener


def test_a_client_certificate_may_be_optional_and_authorize_sees_its_name(node, ca, pair):
    rule = 'function authorize(req) return req.user == "alice" or req.path == "/healthz" end\n'
    b = node(config=config(pair.lua + ", client_ca = %r, client_auth = 'optional'" % ca.path, rule + WHO), listen=None)
    alice, bob = (ca.issue(n + "2", subject="/CN=" + n, hosts=()) for n in ("alice", "bob"))
    assert who(b, ca.trusting(alice)) == "alice"
    for tls in (ca.trusting(), ca.trusting(bob)):
        with dial(b, tls) as c:
            assert c.request("GET", "/who").status in (401, 403)


def test_a_listener_that_demands_certificates_may_leave_loopback_and_keeps_the_demand(make_node, ca, pair):
    def text(more):
        return "listen { { address = '0.0.0.0:0', tls = { %s%s } } }" % (pair.lua, more)
    optional, demanded = ", client_ca = %r, client_auth = 'optional'" % ca.path, ", client_ca = %r" % ca.path
    b = make_node(listen=None)
    for more in ("", optional):
        b.write_config(text(more))
        assert not b.try_start() and b.wait_exit() == 64
        assert "does not listen on 0.0.0.0:0" in b.said() and "tls.client_ca" in b.said()
    b.write_config(text(demanded))
    b.start()
    assert "anyone who reaches" not in b.said()
    alice = ca.trusting(ca.issue("alice3", subject="/CN=alice", hosts=()))
    for more in (optional, "", demanded):
        b.write_config(text(more))
        assert ("must show certificates until a restart" in b.reload()) == (more != demanded)
        with Connection(b.port, tls=alice) as c:
            assert c.request("GET", "/ping").status == 200
        with pytest.raises((ssl.SSLError, OSError)):
            with Connection(b.port, tls=ca.trusting()) as c:
                c.request("GET", "/ping")


# ------------------------------------------------------------------------------------------- reload

def test_a_reload_shows_the_new_certificate_and_drops_no_connection(node, ca, folder):
    first = ca.issue("rotating", hosts=NAMES)
    b = node(config=config(first.lua), listen=None)
    context = ca.trusting()
    old = dial(b, context)
    assert old.request("GET", "/ping").status == 200
    session = old.socket.session
    before = shown(b, context)
    waiting = dial(b, context)
    b.request("PUT", "/v1/topics/t")
    waiting.send(request_bytes("GET", "/v1/topics/t/messages?wait=30"))
    ca.issue("rotating", hosts=NAMES)                        # the same files
    b.reload()
    assert shown(b, context) != before
    assert old.request("GET", "/ping").status == 200
    b.publish("t", b"m")
    assert waiting.answer().json["next"] == 1
    with dial(b, context, session=session) as c:             # what was negotiated before is not resumed
        assert not c.socket.session_reused
    old.close()
    waiting.close()


def test_a_new_client_ca_ends_the_connections_of_the_old_one(node, ca, pair, folder):
    old, new = Authority(folder, "old"), Authority(folder, "new")
    trusted = os.path.join(folder, "trusted.pem")

    def trust(*authorities):
        with open(trusted, "w") as f:
            f.write("".join(open(a.path).read() for a in authorities))
    trust(old, new)
    b = node(config=config(pair.lua + ", client_ca = %r" % trusted, WHO), listen=None)
    alice, bob = old.issue("alice", subject="/CN=alice", hosts=()), new.issue("bob", subject="/CN=bob", hosts=())
    context = ca.trusting(alice)
    idle, waiting, kept = dial(b, context), dial(b, context), dial(b, ca.trusting(bob))
    for c in (idle, waiting, kept):
        assert c.request("GET", "/who").status == 200
    session = idle.socket.session
    b.request("PUT", "/v1/topics/t")
    waiting.send(request_bytes("GET", "/v1/topics/t/messages?wait=30"))
    wait_until(lambda: b.in_flight() == 1, what="it waits")
    trust(new)
    b.reload()
    for c in (idle, waiting):
        with pytest.raises((ssl.SSLError, OSError)):
            c.socket.settimeout(10)
            if not c.socket.recv(1):
                raise OSError("closed")
    assert kept.request("GET", "/who").json["user"] == "bob"
    assert who(b, ca.trusting(bob)) == "bob"
    for s in (None, session):
        with pytest.raises((ssl.SSLError, OSError)):
            with dial(b, context, session=s) as c:
                c.request("GET", "/who")
    for c in (idle, waiting, kept):
        c.close()


def test_a_reload_with_files_that_cannot_be_used_changes_nothing(node, ca, folder):
    good = ca.issue("good", hosts=NAMES)
    b = node(config=config(good.lua), listen=None)
    context = ca.trusting()
    before = shown(b, context)
    os.rename(good.key, good.key + ".away")
    assert "lignum.lua:1: listen.2.tls: %s: No such file" % good.key in b.reload(expect=False)
    assert shown(b, context) == before
    os.rename(good.key + ".away", good.key)
    late = ca.issue("gone", hosts=NAMES, days=0)
    hold_for(1.1, "the certificate for 0 days expires")
    b.write_config(config(late.lua))
    assert "has expired, and the one before it stays in use" in b.reload()
    assert shown(b, context) == before


def test_a_listener_that_becomes_tls_is_said_to_need_a_restart(node, pair):
    b = node(config='listen { "127.0.0.1:0", "127.0.0.2:0" }', listen=None)
    warned = "read only at the start; a restart applies their changes: listen\n"
    b.write_config(config(pair.lua))
    b.reload()
    wait_until(lambda: warned in b.said(), what="it is said")
    assert Connection(b.ports[1], host=TLS_HOST).request("GET", "/ping").status == 200
    b.write_config('listen { "127.0.0.1:0" }')
    b.reload()
    wait_until(lambda: b.said().count(warned) == 2, what="it is said again")


# ------------------------------------------------------------------------------------------- files

@pytest.fixture(scope="module")
def files(ca, pair, shared_folder):
    """Names of files that are wrong in one way each."""
    def write(name, text):
        path = os.path.join(shared_folder, name)
        with open(path, "w") as f:
            f.write(text)
        return path
    openssl("pkey", "-in", pair.key, "-aes256", "-passout", "pass:x", "-out", os.path.join(shared_folder, "locked"))
    openssl("req", "-x509", "-newkey", "rsa:1024", "-nodes", "-keyout", os.path.join(shared_folder, "weak.key"),
            "-out", os.path.join(shared_folder, "weak.pem"), "-subj", "/CN=localhost", "-days", "9")
    text = open(pair.cert).read()
    return {
        "cert": pair.cert, "key": pair.key, "ca": ca.path, "missing": os.path.join(shared_folder, "missing"),
        "other_key": ca.issue("another").key, "empty": write("empty", ""), "folder": shared_folder,
        "cut": write("cut", text[:200] + "\n-----END CERTIFICATE-----\n"), "locked": os.path.join(shared_folder, "locked"),
        "weak": os.path.join(shared_folder, "weak.pem"), "weak_key": os.path.join(shared_folder, "weak.key"),
        "large": write("large", "x" * 1100000), "late": ca.issue("late2", days=0).cert,
        "late_key": os.path.join(shared_folder, "late2.key"),
    }


@pytest.mark.parametrize("tls, words", [
    ("cert = '{cert}'", "listen.tls: needs key, a file in PEM form|listen.tls: needs key"),
    ("key = '{key}'", "needs cert, a file in PEM form"),
    ("cert = '{missing}', key = '{key}'", "listen.tls: {missing}: No such file or directory"),
    ("cert = '{cert}', key = '{missing}'", "listen.tls: {missing}: No such file or directory"),
    ("cert = '{cert}', key = '{other_key}'", "{other_key}: the key does not fit the certificate in {cert}"),
    ("cert = '{key}', key = '{key}'", "{key}: holds no certificate in PEM form"),
    ("cert = '{cert}', key = '{cert}'", "{cert}: holds no private key in PEM form"),
    ("cert = '{empty}', key = '{key}'", "{empty}: holds no certificate in PEM form"),
    ("cert = '{cut}', key = '{key}'", "{cut}: holds a certificate that cannot be read"),
    ("cert = '{folder}', key = '{key}'", "{folder}: is not a file"),
    ("cert = '{large}', key = '{key}'", "{large}: is larger than 1 MiB"),
    ("cert = '{cert}', key = '{locked}'", "{locked}: the key is encrypted; Lignum reads keys without a passphrase only"),
    ("cert = '{weak}', key = '{weak_key}'", "{weak}: OpenSSL refuses a certificate: ee key too small"),
    ("cert = '{late}', key = '{late_key}'", "{late}: the certificate has expired, on 20"),
    ("cert = '{cert}', key = '{key}', client_ca = '{missing}'", "{missing}: No such file or directory"),
    ("cert = '{cert}', key = '{key}', client_ca = '{key}'", "{key}: holds no certificate in PEM form"),
    ("cert = '{cert}', key = '{key}', client_auth = 'optional'", "listen.tls.client_auth: needs client_ca"),
    ("cert = '{cert}', key = '{key}', client_auth = 'never'", "listen.tls.client_auth: must be one of required, optional"),
    ("cert = '{cert}', key = '{key}', names = {{ ['a.test'] = {{ cert = '{cert}', key = '{key}' }} }}",
     "{cert}: the certificate is not for the name a.test"),
    ("cert = '{cert}', key = '{key}', names = {{ ['a.test'] = {{ cert = '{cert}' }} }}", "tls.names[\"a.test\"]: needs key"),
    ("cert = '{cert}', key = '{key}', names = {{ '{cert}' }}", "listen.tls.names: must have names of hosts as keys"),
    ("cert = '{cert}', key = '{key}', verison = 1", "listen.tls.verison: there is no such key"),
    ("cert = '{cert}', key = '{key}', ca = '{ca}'", "listen.tls.ca: there is no such key"),
    ("cert = 1, key = '{key}'", "listen.tls.cert: must be text, not 1"),
])
def test_check_says_what_is_wrong_with_tls(make_node, files, tls, words):
    b = make_node(config="\nlisten { address = '127.0.0.1:0', tls = { %s } }" % tls.format(**files))
    hold_for(1.1, "the certificate for 0 days expires") if "late" in tls else None
    ran = b.lignum("check", "-c", b.config_path)
    assert ran.code == 64, ran
    assert any(w.format(**files) in ran.err for w in words.split("|")), ran.err
    assert "lignum.lua:2: listen" in ran.err


@pytest.mark.parametrize("value, words", [
    ("{ address = '127.0.0.1:0', tsl = {} }", "listen.tsl: there is no such key; did you mean listen.tls"),
    ("{ tls = {} }", "listen: needs an address"),
    ("{ address = 'nothing' }", "listen.address: must be \"HOST:PORT\""),
    ("{ '127.0.0.1:0', 7 }", "listen.2: must be \"HOST:PORT\""),
    ("{ '127.0.0.1:0', { address = '127.0.0.1:0', tls = 1 } }", "listen.2.tls: must be a table"),
    ("{}", "listen: needs an address"),
])
def test_a_listener_in_another_form_is_an_error(make_node, value, words):
    b = make_node(config="listen(%s)" % value)
    ran = b.lignum("check", "-c", b.config_path)
    assert ran.code == 64 and words in ran.err, ran


def test_errors_of_several_listeners_have_their_own_lines(make_node):
    b = make_node(config="listen '127.0.0.1:0'\nlisten { address = '127.0.0.2:0', tls = {} }\nlisten 'x'\n")
    ran = b.lignum("check", "-c", b.config_path)
    assert "lignum.lua:2: listen.2.tls: needs cert" in ran.err or "lignum.lua:3: listen.3: must be" in ran.err, ran.err
    assert "lignum.lua:3: listen.3: must be" in ran.err, ran.err


def test_what_expires_is_in_the_log_and_in_metrics(node, ca, folder):
    soon, late = ca.issue("soon", hosts=NAMES, days=10), ca.issue("now", hosts=("a.test",), days=0)
    os.chmod(soon.key, 0o644)
    hold_for(1.1, "the certificate for 0 days expires")
    tls = "%s, names = { ['a.test'] = { %s } }" % (soon.lua, late.lua)
    b = node(config=config(tls), listen=None)
    said = b.said()
    assert "warn main: the certificate in %s expires in days=9" % soon.cert in said
    assert "error main: the certificate in %s has expired: clients refuse it" % late.cert in said
    assert "every user of this host can read the key of a certificate: chmod 600 %s" % soon.key in said
    assert "a.test" not in said or "key" not in said.split("a.test")[0][-20:]
    m = b.metrics()
    name = 'lignum_tls_certificate_expires_seconds{address="127.0.0.2:0",host="%s"}'
    assert 10 * 86400 - 100 < m[name % ""] <= 10 * 86400
    assert -100 < m[name % "a.test"] < 0
    assert served(b, ca.trusting())                          # it starts all the same

def test_a_node_that_stops_lets_clients_that_are_there_begin_their_handshakes(make_node, ca, pair):
    b = make_node(config=config(pair.lua), listen=None).start()

    def listens():
        try:
            raw(b).close()
            return True
        except ConnectionRefusedError:
            return False
    clients = [raw(b) for _ in range(20)]
    wait_until(lambda: b.metrics()["lignum_http_connections"] > 20)
    b.signal(signal.SIGTERM)
    wait_until(lambda: not listens())
    request = b"GET /ping HTTP/1.1\r\nHost: localhost\r\n\r\n"
    for c in clients:
        with ca.trusting().wrap_socket(c, server_hostname="localhost") as s:
            s.sendall(request)
            assert b"".join(iter(lambda: s.recv(4096), b"")).endswith(b"PONG")
    assert b.wait_exit() == 0
