"""doc/promises.md: every promise names existing tests, or says that it is not kept yet."""

import glob
import os
import re

from common import ROOT


NUMBERS = [*range(1, 23), *range(24, 29)]    # the others are to come


def known_tests():
    """The names of all tests: C, Lua and Python."""
    names = set()
    for path in glob.glob(os.path.join(ROOT, "tests", "unit", "**", "*.c"), recursive=True):
        names |= set(re.findall(r"^TEST\((test_\w+)\)", open(path).read(), re.M))
    for path in glob.glob(os.path.join(ROOT, "tests", "system", "test_*.py")):
        names |= set(re.findall(r"^def (test_\w+)\(", open(path).read(), re.M))
    for path in glob.glob(os.path.join(ROOT, "tests", "lua", "*.lua")):
        names |= set(re.findall(r"\b(test_\w+)", open(path).read()))
    return names


def promises(text):
    """{number: text of its section}"""
    parts = re.split(r"(?m)^## (\d+)\. ", text)
    return {int(n): body for n, body in zip(parts[1::2], parts[2::2])}


def faults(text, tests):
    found = []
    sections = promises(text)
    for n, body in sections.items():
        named = []
        for line in re.findall(r"(?m)^Tests: (.+(?:\n(?!\n).+)*)", body):
            named += re.findall(r"`(\w+)`", line)
        if not named and not re.search(r"(?m)^Not yet: ", body):
            found.append("promise %d names no test and does not say that it is not yet kept" % n)
        found += ["promise %d names `%s`, which does not exist" % (n, t) for t in named if t not in tests]
    if sorted(sections) != NUMBERS:
        found.append("promises are numbered %s, not %s" % (sorted(sections), NUMBERS))
    return found


def test_every_promise_names_tests_that_exist():
    with open(os.path.join(ROOT, "doc", "promises.md")) as f:
        assert faults(f.read(), known_tests()) == []


def test_that_check_can_fail():
    good = "\n".join("## %d. P\n\nText.\n\nTests: `test_a`.\n" % n for n in NUMBERS)
    assert faults(good, {"test_a"}) == []
    assert len(faults(good, set())) == len(NUMBERS)
    assert len(faults(good.replace("Tests: `test_a`", "", 1), {"test_a"})) == 1
    assert faults(good.replace("Tests: `test_a`", "Not yet: later", 1), {"test_a"}) == []
    assert len(faults(good.replace("## 7. P", "P"), {"test_a"})) == 1
