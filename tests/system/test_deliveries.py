"""The check of what groups delivered: sound deliveries pass, and each kind of fault is reported as that kind."""

import pytest

from deliveries import LOST, OK, UNKNOWN, Deliveries
from history import History, check

LOG = [(1, 0, b"a0;"), (1, 1, b"b0;"), (2, 2, b"a1;")]


def sound(live=True):
    """Two keys, a and b. The lease of a0 is over once; the answer to the acknowledgement of b0 is lost."""
    d = Deliveries()
    d.groups["t", "g"] = {"live": live, "keyed": True}
    d.lag["t", "g"] = 0
    d.deliver("c", "t", "g", b"a0;", 0, "a", 1.0, 1.1, 1)
    d.deliver("c", "t", "g", b"b0;", 1, "b", 1.0, 1.1, 1)
    d.ack("c", "t", "g", b"b0;", 1.2, 1.3, UNKNOWN)
    d.deliver("d", "t", "g", b"a0;", 0, "a", 3.0, 3.1, 2)
    d.ack("c", "t", "g", b"a0;", 3.2, 3.3, LOST)
    d.ack("d", "t", "g", b"a0;", 3.4, 3.5, OK)
    d.deliver("d", "t", "g", b"a1;", 2, "a", 3.4, 3.5, 1)
    d.ack("d", "t", "g", b"a1;", 3.6, 3.7, OK)
    return d


def findings(d):
    h = History()
    for _, offset, value in LOG:
        h.publish("p", "t", value, 0, 0.5, "unknown")
    h.final["n"] = {"t": LOG}
    return [(f.kind, f.topic) for f in check(h, d)]


def change(d, value, **fields):
    """Changes the last acknowledgement of a message."""
    i = max(i for i, a in enumerate(d.acks) if a.value == value)
    d.acks[i] = d.acks[i]._replace(**fields)


def test_sound_deliveries_pass():
    assert findings(sound()) == []


def test_what_comes_after_its_acknowledgement_is_found_in_live_topics():
    for live, expected in [(True, [("again", "t")]), (False, [])]:
        d = sound(live)
        d.deliver("c", "t", "g", b"a1;", 2, "a", 3.8, 3.9, 2)
        assert findings(d) == expected
    d = sound()
    d.deliver("c", "t", "g", b"a1;", 2, "a", 3.65, 3.9, 2)      # claimed before the answer
    assert findings(d) == []


@pytest.mark.parametrize("result", [LOST, None])
def test_what_was_settled_and_not_acknowledged_is_found(result):
    d = sound()
    if result:
        change(d, b"a1;", result=result)
    else:
        d.acks.pop()
    assert findings(d) == [("passed_over", "t")]


def test_a_message_before_the_one_before_it_of_its_key_is_found():
    d = sound()
    change(d, b"a0;", sent=3.55)
    assert findings(d) == [("overtaken", "t")]
    d.groups["t", "g"]["keyed"] = False
    assert findings(d) == []


def test_gaps_and_lags_are_found():
    d = sound()
    d.gaps.append(("t", "request 7"))
    d.lag["t", "g"] = 2
    assert findings(d) == [("forgotten", "t"), ("unsettled", "t")]
