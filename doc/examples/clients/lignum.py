"""A client of Lignum's HTTP interface (doc/http.md) in one file. Python 3.10 or later, standard library only.

    from lignum import Lignum, Outgoing

    log = Lignum(["http://node-1:8080", "http://node-2:8080"], token="lgn_...")
    log.publish("orders", [Outgoing({"total": 12}, key="42"), "and a text"])
    for m in log.follow("orders"):
        print(m.offset, m.text())

Every call goes to one node, and to the next one when that cannot be reached or cannot serve, until it is answered or
`timeout` is over. It may be sent several times, and is done once: a publish carries an Idempotency-Key, or the
sequence of a Producer. What a node refuses for good is raised at once, as a LignumError.

All calls block. A client may be used by several threads, each of which has its own connections.
"""

from __future__ import annotations

import base64
import dataclasses
import http.client
import json
import random
import ssl
import threading
import time
import urllib.parse
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

__all__ = ["Group", "Lignum", "LignumError", "Message", "Outgoing", "Page", "Producer"]

RETRY_MIN, RETRY_MAX = 0.1, 2.0     # seconds between two attempts
KEPT_TURNS = 1000                   # changes of epoch that a follower remembers


class LignumError(Exception):
    """What a node has refused, or why none has answered.

    code        of doc/http.md, "unreachable" or "timeout"
    status      of HTTP; 0 when there was no answer
    retryable   True: it may succeed later. Publish again with the same `id` then, since it may have been done
    problem     all members of the answer, such as "earliest" or "expected"
    """

    def __init__(self, problem: Mapping[str, Any]) -> None:
        super().__init__(problem.get("detail") or problem.get("title") or problem["code"])
        self.problem = dict(problem)
        self.code: str = problem["code"]
        self.status: int = problem.get("status", 0)
        self.retryable: bool = problem.get("retryable") is True


@dataclasses.dataclass
class Outgoing:
    """A message to publish.

    data        bytes and str are stored as they are, anything else as JSON
    key         bytes, or text
    headers     text by name
    delay       seconds before which groups do not deliver it
    ttl         seconds after which groups do not deliver it any more
    """

    data: Any
    key: str | bytes | None = None
    headers: Mapping[str, str] | None = None
    delay: float | None = None
    ttl: float | None = None

    def envelope(self) -> dict[str, Any]:
        data = self.data
        if not isinstance(data, (bytes, bytearray, memoryview, str)):
            data = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
        e = {"data": data} if isinstance(data, str) else {"base64": to_base64(data)}
        if self.key is not None:
            e["key" if isinstance(self.key, str) else "key_base64"] = (
                self.key if isinstance(self.key, str) else to_base64(self.key))
        for name in ("headers", "delay", "ttl"):
            if getattr(self, name) is not None:
                e[name] = getattr(self, name)
        return e


@dataclasses.dataclass(frozen=True)
class Message:
    """A message that was read. `lease` and `delivery` (1 is the first) are those of a claim."""

    offset: int
    epoch: int
    time: str
    payload: bytes
    key: bytes | None = None
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    lease: str | None = None
    delivery: int | None = None

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> Message:
        def content(text: str, encoded: str) -> bytes | None:
            if fields.get(encoded) is not None:
                return base64.b64decode(fields[encoded])
            return fields[text].encode() if fields.get(text) is not None else None
        return cls(fields["offset"], fields["epoch"], fields["time"], content("data", "base64") or b"",
                   content("key", "key_base64"), fields.get("headers", {}), fields.get("lease"), fields.get("delivery"))

    def text(self) -> str:
        return self.payload.decode()

    def json(self) -> Any:
        return json.loads(self.payload)


@dataclasses.dataclass(frozen=True)
class Page:
    """What a read has found. Read on from the token `next_token`, not from the number `next`."""

    messages: list[Message]
    next: int
    next_token: str


def to_base64(data: Any) -> str:
    return base64.b64encode(data).decode("ascii")


def envelopes(messages: Any) -> bytes:
    listed = messages if isinstance(messages, (list, tuple)) else [messages]
    return json.dumps([(m if isinstance(m, Outgoing) else Outgoing(m)).envelope() for m in listed]).encode()


def path_of(topic: str, *more: str, **parameters: Any) -> str:
    given = {name.rstrip("_"): value for name, value in parameters.items() if value is not None}
    path = "/".join(["/v1/topics", *(urllib.parse.quote(word, safe="") for word in (topic, *more))])
    return path + ("?" + urllib.parse.urlencode(given) if given else "")


class Turns:
    """The epochs of the messages that a follower has seen, to find where its history and a node's agree."""

    def __init__(self) -> None:
        self.list: list[list[int]] = []     # [epoch, offset after its last message]

    def saw(self, m: Message) -> None:
        if self.list and self.list[-1][0] == m.epoch:
            self.list[-1][1] = m.offset + 1
        else:
            self.list.append([m.epoch, m.offset + 1])
        del self.list[:-KEPT_TURNS]

    def cut(self, epoch: int, offset: int) -> tuple[int, int]:
        """Drops what the node does not have, which agrees with this at most up to there. Returns where to ask next."""
        while self.list and self.list[-1][0] > epoch:
            self.list.pop()
        if not self.list:
            return 0, offset
        self.list[-1][1] = min(self.list[-1][1], offset)
        return self.list[-1][0], self.list[-1][1]


class Lignum:
    """A cluster, or one node.

    urls        of nodes; the first one that serves is used
    token       the secret of an access token
    ca          file with the certificates to trust instead of the system's
    tls         an SSLContext instead, for example with a certificate of this client
    timeout     seconds for a call in all, attempts included; what a node may wait before it answers comes on top
    patience    seconds after which a node that does not answer is left, if there is another
    """

    def __init__(self, urls: str | Sequence[str] = "http://127.0.0.1:8080", *, token: str | None = None,
                 ca: str | None = None, tls: ssl.SSLContext | None = None, timeout: float = 30,
                 patience: float = 12) -> None:
        self.urls = [u.rstrip("/") for u in ([urls] if isinstance(urls, str) else urls)]
        self.token, self.timeout, self.patience = token, timeout, patience
        secured = any(u.startswith("https:") for u in self.urls)
        self.tls = tls or (ssl.create_default_context(cafile=ca) if secured else None)
        self.at = 0
        self.own = threading.local()

    def connection(self, url: str, timeout: float) -> tuple[http.client.HTTPConnection, bool]:
        """This thread's connection to a node, and whether it has been used before."""
        kept = self.own.__dict__.setdefault("connections", {})
        c = kept.pop(url, None)
        if c and c.sock:
            c.timeout = timeout
            c.sock.settimeout(timeout)
            return c, True
        parts = urllib.parse.urlsplit(url)
        if parts.scheme == "https":
            return http.client.HTTPSConnection(parts.hostname, parts.port, timeout=timeout, context=self.tls), False
        return http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout), False

    def exchange(self, url: str, method: str, path: str, body: bytes | None, headers: Mapping[str, str],
                 timeout: float) -> tuple[http.client.HTTPResponse, bytes]:
        """One request to one node. One on a connection that the node has closed meanwhile is sent on a new one."""
        while True:
            c, used = self.connection(url, timeout)
            try:
                c.request(method, path, body, headers)
                response = c.getresponse()
                content = response.read()
            except (OSError, http.client.HTTPException) as why:
                c.close()
                if used and not isinstance(why, TimeoutError):
                    continue
                raise
            except BaseException:
                c.close()       # an interrupt: the rest of the answer must not be taken for the next one
                raise
            if not response.will_close:
                self.own.connections[url] = c
            return response, content

    def attempt(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str], timeout: float) -> Any:
        url = self.urls[self.at % len(self.urls)]
        try:
            response, content = self.exchange(url, method, path, body, headers, timeout)
        except (OSError, http.client.HTTPException) as why:
            code = "timeout" if isinstance(why, TimeoutError) else "unreachable"
            raise LignumError({"code": code, "detail": "%s: %s" % (url, why or type(why).__name__),
                               "retryable": not isinstance(why, ssl.SSLCertVerificationError)}) from why
        try:
            answer = json.loads(content) if content else None
        except ValueError:
            answer = None
        if 200 <= response.status < 300:
            return answer
        wait, status = response.getheader("Retry-After", ""), response.status
        raise LignumError({"retryable": status >= 502, "code": "http_%d" % status,
                           "detail": "%s %s is answered with %d" % (method, path, status),
                           **(answer if isinstance(answer, dict) else {}),
                           "status": status, "wait": float(wait) if wait.isdigit() else 0})

    def call(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None,
             wait: float = 0) -> Any:
        """One call, sent again and to the next node as long as that can help. Returns the answer's JSON, or None.

        body        bytes, or what is sent as JSON
        wait        seconds for which the node may wait before it answers
        """
        sent = {"Accept": "application/json", **(headers or {})}
        if self.token:
            sent["Authorization"] = "Bearer " + self.token
        if body is not None:
            sent["Content-Type"] = "application/json"
            body = body if isinstance(body, bytes) else json.dumps(body).encode()
        until, tries = time.monotonic() + self.timeout + wait, 0
        while True:
            left = until - time.monotonic()
            try:
                return self.attempt(method, path, body, sent,
                                    max(0.001, min(left, self.patience + wait) if len(self.urls) > 1 else left))
            except LignumError as why:
                left = until - time.monotonic()
                if not why.retryable or left <= 0:
                    raise
                self.at += 1
                pause = min(RETRY_MAX, RETRY_MIN * 2 ** min(tries, 10)) * random.uniform(0.5, 1)
                if len(self.urls) == 1:
                    pause = max(pause, why.problem.get("wait", 0))
                time.sleep(min(pause, left))
                tries += 1

    # ---- topics and nodes

    def topics(self, pattern: str | None = None) -> Iterator[dict[str, Any]]:
        """All topics that match, by name, fetched by the page."""
        after = None
        while True:
            given = {k: v for k, v in (("pattern", pattern), ("after", after)) if v is not None}
            page = self.call("GET", "/v1/topics" + ("?" + urllib.parse.urlencode(given) if given else ""))
            yield from page["topics"]
            after = page.get("after")
            if after is None:
                return

    def topic(self, name: str) -> dict[str, Any]:
        return self.call("GET", path_of(name))

    def create_topic(self, name: str, **settings: Any) -> dict[str, Any]:
        """create_topic("orders", replication="live", copies=2). A topic with these settings may be there already."""
        return self.call("PUT", path_of(name), settings)

    def change_topic(self, name: str, **settings: Any) -> dict[str, Any]:
        return self.call("PATCH", path_of(name), settings)

    def delete_topic(self, name: str) -> None:
        self.call("DELETE", path_of(name))

    def cluster(self) -> dict[str, Any]:
        return self.call("GET", "/v1/cluster")

    def prefer_leader(self) -> str | None:
        """Puts the leader's address first, so that writes need no forwarding. Returns it; None when nobody leads."""
        leader = (self.cluster()["leader"] or {}).get("http")
        if leader:
            self.urls = [leader, *(u for u in self.urls if u != leader)]
            self.at = 0
        return leader

    def publish(self, topic: str, messages: Any, *, id: str | None = None, expect: str | None = None,
                ack: str | None = None) -> dict[str, Any]:
        """Publishes a message, or a list of them as one batch, once, however often it has to be sent.

        id          its Idempotency-Key (default: a random one); a later call with the same is a duplicate
        expect      append only if the log ends at this token ("precondition_failed")
        ack         "peers": wait for the whole synced set

        Returns the receipt: topic, first, next, count, next_token, committed, and duplicate when it was there already.
        """
        return self.append(topic, envelopes(messages), {"Idempotency-Key": id or str(uuid.uuid4())}, expect, ack)

    def append(self, topic: str, body: bytes, headers: dict[str, str], expect: str | None,
               ack: str | None) -> dict[str, Any]:
        if expect:
            headers["If-Match"] = '"%s"' % expect
        if ack:
            headers["Lignum-Ack"] = ack
        return self.call("POST", path_of(topic, "messages"), body, headers)

    def producer(self, topic: str, id: str | None = None, epoch: int | None = None) -> Producer:
        """A producer whose requests are stored once and in order."""
        return Producer(self, topic, id, epoch)

    # ---- reading

    def read(self, topic: str, from_: str | int = "earliest", *, to: str | int | None = None, limit: int | None = None,
             bytes: int | None = None, wait: float | None = None, key: str | None = None,
             min_offset: str | int | None = None) -> Page:
        """Reads a page. `from_`, `to`: an offset, token or time, "earliest" or "latest"; `wait`: seconds for the first
        message (at most 60), in which the call blocks."""
        answer = self.call("GET", path_of(topic, "messages", from_=from_, to=to, limit=limit, bytes=bytes, wait=wait,
                                          key=key, min_offset=min_offset), wait=wait or 0)
        return Page([Message.of(m) for m in answer["messages"]], answer["next"], answer["next_token"])

    def follow(self, topic: str, from_: str | int = "earliest", *, wait: float = 20,
               on_truncated: Callable[[int], Any] | None = None, on_gap: Callable[[int, int], Any] | None = None,
               stop: Callable[[], Any] | None = None) -> Iterator[Message]:
        """Yields messages for ever, from node to node, without gaps or repetitions.

        When messages that it has yielded were truncated, as a WAL topic allows, it calls on_truncated(offset): forget
        what you have from there on; and goes on with what is there instead. When messages were removed before they
        were read, it calls on_gap(from, earliest). It ends when stop() is true, which is asked every `wait` seconds
        and after each page.
        """
        turns, topic_id = Turns(), ""
        place = str(from_)
        if place == "latest":       # what "latest" means is decided once, not by each attempt
            place = self.read(topic, "latest").next_token
        while not (stop and stop()):
            try:
                page = self.read(topic, place, wait=wait)
            except LignumError as why:
                if why.code == "log_truncated" and "offset" in why.problem:
                    epoch, offset = turns.cut(why.problem.get("epoch", 0), why.problem["offset"])
                    if on_truncated:
                        on_truncated(offset)
                    place = "%d:%d%s" % (epoch, offset, topic_id)
                elif why.code == "offset_gone" and "earliest" in why.problem:
                    if on_gap:
                        on_gap(turns.list[-1][1] if turns.list else number_in(place), why.problem["earliest"])
                    place = str(why.problem["earliest"])
                elif not why.retryable:
                    raise
                continue
            if page.messages:
                place = page.next_token
                topic_id = "".join(":" + word for word in place.split(":")[2:])
            for m in page.messages:
                turns.saw(m)
                yield m

    def group(self, topic: str, name: str) -> Group:
        return Group(self, topic, name)


def number_in(place: str) -> int:
    """The offset that a place names; 0 for a time or a word."""
    words = place.split(":")
    return int(words[min(1, len(words) - 1)]) if all(w.isdigit() for w in words) else 0


class Producer:
    """Publishes to one topic; each request once, in order, over failovers and restarts of nodes.

    id          up to 64 bytes; a random one by default, which is enough within one run of a program
    epoch       a run of this producer. A higher one fences the lower ones, whose requests are refused ("fenced"). By
                default 0 with a random id, and the time in milliseconds with one that is given
    """

    def __init__(self, client: Lignum, topic: str, id: str | None = None, epoch: int | None = None) -> None:
        self.client, self.topic = client, topic
        self.id = id or str(uuid.uuid4())
        self.epoch = epoch if epoch is not None else time.time_ns() // 1_000_000 if id else 0
        self.seq = 0
        self.pending: tuple[bytes, str | None] | None = None

    def publish(self, messages: Any, *, ack: str | None = None) -> dict[str, Any]:
        """Publishes a message, or a list as one batch; returns the receipt.

        After a LignumError that is `retryable` the batch is `pending`: call retry() until it returns. Nothing else can
        be published before that.
        """
        if self.pending:
            raise ValueError("the last batch is pending: retry() it first")
        self.pending = envelopes(messages), ack
        return self.retry()

    def retry(self) -> dict[str, Any]:
        """Sends the pending batch again. It is stored once, even if it was before; then the receipt has "duplicate"."""
        if not self.pending:
            raise ValueError("no batch is pending")
        body, ack = self.pending
        try:
            receipt = self.client.append(self.topic, body, {
                "Producer-Id": self.id, "Producer-Epoch": str(self.epoch), "Producer-Seq": str(self.seq)}, None, ack)
        except LignumError as why:
            if not why.retryable:
                self.pending = None     # refused for good: its number is free for another batch
            raise
        self.pending = None
        self.seq += 1
        return receipt


class Group:
    """A consumer group of a topic. Each message is leased to one consumer until it is settled."""

    def __init__(self, client: Lignum, topic: str, name: str) -> None:
        self.client, self.words = client, (topic, "groups", name)

    def call(self, method: str, *more: str, body: Any = None, wait: float = 0) -> Any:
        return self.client.call(method, path_of(*self.words, *more), body, wait=wait)

    def info(self) -> dict[str, Any]:
        return self.call("GET")

    def create(self, **settings: Any) -> dict[str, Any]:
        """create(from_="earliest", lease_time=60). A group with these settings may be there already."""
        return self.call("PUT", body={name.rstrip("_"): value for name, value in settings.items()})

    def change(self, **settings: Any) -> dict[str, Any]:
        return self.call("PATCH", body=settings)

    def delete(self) -> None:
        self.call("DELETE")

    def seek(self, to: str | int) -> dict[str, Any]:
        return self.call("POST", "seek", body={"to": to})

    def redrive(self, limit: int = 1000) -> int:
        """Publishes dead letters again; returns how many, 0 when there are no more."""
        return self.call("POST", "redrive", body={"limit": limit})["published"]

    def claim(self, limit: int = 1, *, consumer: str | None = None, wait: float = 0) -> list[Message]:
        """Leases up to `limit` messages; waits up to `wait` seconds (at most 60) for the first. Messages of an answer
        that is lost come again when their leases are over."""
        given = {"limit": limit, "wait": wait, **({"consumer": consumer} if consumer else {})}
        return [Message.of(m) for m in self.call("POST", "claim", body=given, wait=wait)["messages"]]

    def settle(self, **what: Iterable[Any]) -> list[str]:
        """settle(ack=[lease...], release=[...], reject=[...], extend=[...]): "ok" or "lease_lost" for each."""
        answer = self.call("POST", "settle", body={name: list(leases) for name, leases in what.items()})
        return [r["result"] for r in answer["results"]]

    def ack(self, *messages: Message) -> list[str]:
        """They are done."""
        return self.settle(ack=[m.lease for m in messages])

    def release(self, m: Message, delay: float | None = None) -> str:
        """Deliver it again, after `delay` seconds or what the group's `retry` says."""
        return self.settle(release=[m.lease if delay is None else {"lease": m.lease, "delay": delay}])[0]

    def reject(self, m: Message, why: str | None = None) -> str:
        """It is dead, and goes to the group's dead letters."""
        return self.settle(reject=[m.lease if why is None else {"lease": m.lease, "why": why}])[0]

    def extend(self, m: Message, seconds: float) -> str:
        """Its lease lasts that long from now."""
        return self.settle(extend=[{"lease": m.lease, "seconds": seconds}])[0]

    def work(self, do: Callable[[Message], Any], *, consumer: str | None = None, limit: int = 1, wait: float = 20,
             on_error: Callable[[Exception, Message], Any] | None = None,
             stop: Callable[[], Any] | None = None) -> None:
        """Calls do(message) for each message: what it returns for is acknowledged, what it raises for is released.
        Goes on until stop() is true, which is asked before each claim."""
        while not (stop and stop()):
            for m in self.claim(limit, consumer=consumer, wait=wait):
                try:
                    do(m)
                except Exception as why:
                    if on_error:
                        on_error(why, m)
                    self.release(m)
                else:
                    self.ack(m)
