"""Does the steps of tests/system/test_clients.py with doc/examples/clients/lignum.py: a step is a line of JSON on stdin, and its
answers are lines of JSON on stdout, of which the last one has "result" or "error"."""

import base64
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../doc/examples/clients"))
from lignum import Lignum, LignumError, Outgoing  # noqa: E402

producers = {}


def say(what):
    print(json.dumps(what), flush=True)


def outgoing(m):
    def content(text, encoded):
        return base64.b64decode(m[encoded]) if encoded in m else m.get(text)
    return Outgoing(content("data", "base64"), content("key", "key_base64"), m.get("headers"), m.get("delay"), m.get("ttl"))


def shown(m):
    out = {"offset": m.offset, "base64": base64.b64encode(m.payload).decode(), "headers": dict(m.headers)}
    if m.key is not None:
        out["key_base64"] = base64.b64encode(m.key).decode()
    if m.lease is not None:
        out.update(lease=m.lease, delivery=m.delivery)
    return out


def follow(log, s):
    left = s["count"]
    for m in log.follow(s["topic"], s["from"], wait=1, on_truncated=lambda offset: say({"truncated": offset}),
                        on_gap=lambda start, earliest: say({"gap": [start, earliest]})):
        say({"message": shown(m)})
        left -= 1
        if left == 0:
            return


def work(log, s):
    done = set()

    def do(m):
        if m.text() == s.get("fails") and m.delivery == 1:
            raise ValueError("not yet")
        done.add(m.text())
        say({"done": m.text()})
    log.group(s["topic"], s["group"]).work(do, wait=1, limit=4, stop=lambda: len(done) >= s["count"],
                                           on_error=lambda why, m: say({"failed": m.text()}))


def produce(log, s):
    name = (s["topic"], s.get("producer"), s.get("epoch"))
    if name not in producers:
        producers[name] = log.producer(*name)
    return producers[name].publish([outgoing(m) for m in s["messages"]])


def read(log, s):
    page = log.read(s["topic"], s["from"], limit=s.get("limit"))
    return {"messages": [shown(m) for m in page.messages], "next": page.next, "next_token": page.next_token}


def settle(log, s):
    group = log.group(s["topic"], s["group"])
    m = type("Leased", (), {"lease": s["lease"]})
    if s["verb"] == "ack":
        return group.ack(m)[0]
    return getattr(group, s["verb"])(m, s["value"])


STEPS = {
    "publish": lambda log, s: log.publish(s["topic"], [outgoing(m) for m in s["messages"]], id=s.get("id"), expect=s.get("expect")),
    "produce": produce,
    "read": read,
    "follow": follow,
    "work": work,
    "create_topic": lambda log, s: log.create_topic(s["topic"], **s["settings"]),
    "create_group": lambda log, s: log.group(s["topic"], s["group"]).create(**s["settings"]),
    "group": lambda log, s: log.group(s["topic"], s["group"]).info(),
    "claim": lambda log, s: [shown(m) for m in log.group(s["topic"], s["group"]).claim(s["limit"], wait=s["wait"])],
    "settle": settle,
    "prefer_leader": lambda log, s: [log.prefer_leader(), log.urls[0]],
}


def main():
    log = None
    for line in sys.stdin:
        s = json.loads(line)
        if s["do"] == "connect":
            log = Lignum(s["urls"], token=s.get("token"), ca=s.get("ca"), timeout=s["timeout"], patience=s["patience"])
            say({"result": None})
            continue
        try:
            say({"result": STEPS[s["do"]](log, s)})
        except LignumError as why:
            say({"error": why.code, "detail": str(why)})


main()
