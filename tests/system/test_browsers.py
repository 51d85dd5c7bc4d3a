"""Pages in browsers: what they can send without asking first, what cors.origins lets in, and Host on loopback."""

import pytest

from client import Connection, assert_refused, assert_status, request_bytes
from common import as_id

FOREIGN = "http://evil.example"
FORM = "application/x-www-form-urlencoded"
PUBLISH, READ = "/v1/topics/t/messages", "/v1/topics/t/messages?raw=1"


def send(b, method, target, headers, body=None):
    """A request whose Host header is the given one, or the node's address."""
    c = Connection(b.port)
    if "Host" not in headers:
        headers = {"Host": "127.0.0.1:%d" % b.port, **headers}
    lines = "".join("%s: %s\r\n" % h for h in headers.items())
    if body is not None:
        lines += "Content-Length: %d\r\n" % len(body)
    c.send(("%s %s HTTP/1.1\r\n%s\r\n" % (method, target, lines)).encode() + (body or b""))
    answer = c.answer(method)
    c.close()
    return answer


# What a page can have its browser send without a preflight, by fetch with no-cors, a form, an image or a link.
UNASKED = {
    "a text form": ("POST", PUBLISH, {"Origin": FOREIGN, "Content-Type": "text/plain"}),
    "a form": ("POST", PUBLISH, {"Origin": FOREIGN, "Content-Type": FORM}),
    "a multipart form": ("POST", PUBLISH, {"Origin": FOREIGN, "Content-Type": "multipart/form-data; boundary=x"}),
    "no-cors": ("POST", PUBLISH, {"Origin": FOREIGN, "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}),
    "no-cors to /api": ("POST", "/api/message", {"Origin": FOREIGN, "Content-Type": "text/plain"}),
    "an own route": ("POST", "/own", {"Origin": FOREIGN}),
    "a read": ("GET", READ, {"Origin": FOREIGN}),
    "a sandboxed page": ("GET", READ, {"Origin": "null"}),
    "an empty Origin": ("GET", READ, {"Origin": ""}),
    "an image": ("GET", READ, {"Sec-Fetch-Site": "cross-site"}),
    "another port of this host": ("GET", READ, {"Sec-Fetch-Site": "same-site"}),
    "a site of tomorrow": ("GET", READ, {"Sec-Fetch-Site": "near-site"}),
    "another port": ("POST", PUBLISH, {"Origin": "http://127.0.0.1:1"}),
    "this address as a path": ("POST", PUBLISH, {"Origin": "http://evil.example://127.0.0.1"}),
    "no preflight was let in": ("OPTIONS", PUBLISH, {"Origin": FOREIGN, "Access-Control-Request-Method": "PUT"}),
    "a contradiction": ("POST", PUBLISH, {"Origin": FOREIGN, "Sec-Fetch-Site": "same-origin"}),
    "metrics": ("GET", "/metrics", {"Origin": FOREIGN}),
    "a path that there is not": ("GET", "/nothing", {"Origin": FOREIGN}),
}
OWN = 'route.post("/own", function() topic("t"):append("own") return 204 end)\n'


@pytest.fixture(scope="module")
def strict(share_node):
    b = share_node(config=OWN)
    b.ok("PUT", "/v1/topics/t", status=201)
    return b


@pytest.mark.parametrize("case", UNASKED.values(), ids=[as_id(n) for n in UNASKED])
def test_a_page_of_another_origin_is_refused(strict, case):
    method, target, headers = case
    answer = send(strict, method, target, headers, b"m" if method == "POST" else None)
    assert_refused(answer, 403, "foreign_origin")
    assert "cors" in answer.json["detail"]
    assert answer.header("access-control-allow-origin") is None
    assert strict.messages("t") == []


def test_a_body_of_another_origin_is_not_read(strict):
    c = Connection(strict.port)
    c.send(b"POST %s HTTP/1.1\r\nHost: localhost\r\nOrigin: null\r\nContent-Length: 1000\r\n\r\n" % PUBLISH.encode())
    assert_refused(c.answer("POST"), 403, "foreign_origin")
    c.close()


def test_own_pages_and_other_clients_are_served(node):
    b = node(config=OWN)
    at = "127.0.0.1:%d" % b.port
    for headers in ({}, {"Origin": "http://" + at}, {"Origin": "https://" + at}, {"Origin": "HTTP://" + at},
                    {"Origin": "http://" + at, "Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"},
                    {"Host": "localhost", "Origin": "http://localhost"}, {"Host": "[::1]:80", "Origin": "http://[::1]:80"}):
        answer = send(b, "POST", PUBLISH, headers, b"m")
        assert answer.status == 200, (headers, answer)
        assert answer.header("access-control-allow-origin") is None
    assert len(b.messages("t")) == 8


CORS = 'cors { origins = { "http://app.example:3000", "https://OTHER.example" } }\n'
APP = "http://app.example:3000"


def assert_shared(answer, origin):
    assert answer.header("access-control-allow-origin") == origin, answer
    assert answer.header("access-control-allow-credentials") is None
    assert "Origin" in answer.header("vary")


def test_a_link_on_another_site_leads_to_the_console_and_nowhere_else(node):
    b = node(config="")
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert send(b, "GET", "/", link).status == 200
    for target, more in [("/v1", {}), ("/ping", {}), ("/", {"Sec-Fetch-Dest": "iframe"}), ("/", {"Sec-Fetch-Mode": "no-cors"}),
                         ("/", {"Origin": FOREIGN})]:
        assert_refused(send(b, "GET", target, {**link, **more}), 403, "foreign_origin")
    assert_refused(send(b, "POST", "/", link, b""), 403, "foreign_origin")


def test_a_listed_origin_is_let_in(node):
    b = node(config=CORS + OWN)
    asks = {"Origin": APP, "Access-Control-Request-Method": "PUT",
            "Access-Control-Request-Headers": "authorization,lignum-key", "Sec-Fetch-Site": "cross-site"}
    for target in PUBLISH, "/own", "/nothing":
        answer = send(b, "OPTIONS", target, asks)
        assert_shared(answer, APP)
        assert (answer.status, answer.body) == (204, b"")
        assert "PUT" in answer.header("access-control-allow-methods").split(", ")
        assert answer.header("access-control-allow-headers") == "authorization,lignum-key"
        assert int(answer.header("access-control-max-age")) > 0
    says = {"Origin": APP, "Sec-Fetch-Site": "cross-site"}
    for method, target, status in [("POST", PUBLISH, 200), ("POST", "/own", 204), ("GET", READ, 200), ("HEAD", READ, 200),
                                   ("GET", "/nothing", 404), ("PUT", PUBLISH, 405), ("OPTIONS", PUBLISH, 204)]:
        answer = send(b, method, target, says, b"m" if method in ("POST", "PUT") else None)
        assert answer.status == status, (method, target, answer)
        assert_shared(answer, APP)
        assert answer.header("access-control-expose-headers") == "*"
    assert_shared(send(b, "GET", "/ping", {"Origin": "https://other.example"}), "https://other.example")
    for origin in FOREIGN, APP + "1", "https://app.example:3000", "http://app.example", "null":
        assert_refused(send(b, "POST", PUBLISH, {"Origin": origin}, b"m"), 403, "foreign_origin")
    assert b.messages("t") == [b"m", b"own"]


def test_a_refusal_before_the_body_is_shared_with_a_listed_origin(node):
    b = node(config=CORS + "limits { body = 1024 }")
    answer = send(b, "POST", PUBLISH, {"Origin": APP, "Content-Type": "text/plain"}, b"m" * 2000)
    assert_status(answer, 413, "too_large")
    assert_shared(answer, APP)


def test_a_preflight_needs_no_credentials_but_the_request_does(node):
    b = node(config=CORS + 'function authorize(req) return req:header("authorization") == "Bearer t" end')
    asks = {"Origin": APP, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    assert send(b, "OPTIONS", PUBLISH, asks).status == 204
    answer = send(b, "POST", PUBLISH, {"Origin": APP}, b"m")
    assert answer.status in (401, 403)
    assert_shared(answer, APP)
    assert send(b, "POST", PUBLISH, {"Origin": APP, "Authorization": "Bearer t"}, b"m").status == 200


def test_a_connection_goes_on_after_a_preflight_and_forgets_its_origin(node):
    b = node(config=CORS)
    c = Connection(b.port)
    c.send(request_bytes("OPTIONS", "/ping", headers={"Origin": APP, "Access-Control-Request-Method": "GET"}))
    assert c.answer("OPTIONS").status == 204
    c.send(request_bytes("GET", "/ping"))
    answer = c.answer("GET")
    assert (answer.status, answer.header("access-control-allow-origin")) == (200, None)
    c.close()


def test_a_star_lets_all_origins_in(node):
    b = node(config='cors { origins = { "*" } }')
    assert_shared(send(b, "POST", PUBLISH, {"Origin": FOREIGN}, b"m"), FOREIGN)
    assert send(b, "GET", READ, {"Sec-Fetch-Site": "cross-site"}).status == 200


def test_a_reload_changes_who_is_let_in(node):
    b = node(config="")
    assert send(b, "GET", "/ping", {"Origin": APP}).status == 403
    assert send(b, "GET", "/ping", {"Host": "lignum.test"}).status == 421
    b.write_config(CORS + 'node { hosts = { "lignum.test" } }')
    b.reload()
    assert send(b, "GET", "/ping", {"Origin": APP}).status == 200
    assert send(b, "GET", "/ping", {"Host": "lignum.test"}).status == 200


# ---- DNS rebinding

def test_only_known_hosts_are_served_on_loopback(node):
    b = node(config='node { hosts = { "Lignum.test" }, advertise = "node-1.test:8080" }')
    for host in ("127.0.0.1", "127.0.0.1:80", "10.1.2.3:80", "[::1]", "[::1]:8080", "localhost", "LocalHost:9", "lignum.TEST:80",
                 "node-1.test:8080"):
        assert send(b, "GET", "/ping", {"Host": host}).status == 200, host
    for host in ("evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "lignum.test.evil.example", "test",
                 "xlignum.test", "127.0.0.1x:80"):
        for target in "/ping", "/metrics", PUBLISH:
            answer = send(b, "POST", target, {"Host": host, "Origin": "http://" + host}, b"m")
            assert_refused(answer, 421, "misdirected")
            assert "node.hosts" in answer.json["detail"]


def test_beyond_loopback_any_host_is_served(node):
    b = node(listen="0.0.0.0:0", set=["access.open=true"])
    assert send(b, "GET", "/ping", {"Host": "lignum.test"}).status == 200


# ---- answers

def test_bodies_that_clients_chose_keep_their_type_and_are_not_stored(node):
    b = node(config="")
    first = b.publish("t", b"<script>alert(1)</script>")
    for target, accept in [(READ, "*/*"), (PUBLISH, "application/json"), (PUBLISH, "application/vnd.lignum.records"),
                           (PUBLISH + "?limit=1", "text/event-stream")]:
        answer = b.get(target, headers={"Accept": accept})
        assert answer.header("x-content-type-options") == "nosniff", answer
        assert answer.header("cache-control") == "no-store", answer
    for target in ("/<script>", "/v1/topics/none/messages", PUBLISH + "?from=-1"):         # by Lua
        assert b.get(target).header("x-content-type-options") == "nosniff"
    for request in (b"GET / HTTP/9.9\r\n\r\n", b"POST /none HTTP/1.1\r\nHost: localhost\r\nContent-Length: 90000\r\n\r\n"):
        with b.connect() as c:                                                            # by the core
            c.send(request)
            assert c.answer("POST").header("x-content-type-options") == "nosniff"
    fixed = b.get(PUBLISH + "?from=0&to=1")
    assert first["first"] == 0 and fixed.header("etag") is not None
    assert (fixed.header("x-content-type-options"), fixed.header("cache-control")) == ("nosniff", None)
