"""The output of a run of the system tests.

For each failed test: the last lines of the logs of its brokers and Consul, and the command that repeats it. At the end: a line
for each file, the reasons of skipped tests, and the values that tests have measured (fixture `figure`).

If $LIGNUM_RESULTS is set, the names of tests go to that file as {"passed": [...], "failed": [...], "skipped": [...]}, for
tests/run. A test counts once; it has failed if its set-up, body or teardown failed. A file that cannot be imported counts as one
failed test.
"""

import json
import os
import shlex

import pytest

FAILED = pytest.StashKey()
TAIL = 3000                     # bytes of a log that are printed

_running, _ended = {}, []


def watch(thing, name):
    """Prints thing.said_last(size) under this name if a test fails, until its log goes away."""
    _running[thing] = name


def forget(thing):
    """Call before the log goes away. A failure of the same test's teardown still prints it."""
    name = _running.pop(thing, None)
    if name:
        _ended.append((name, thing.said_last(TAIL)))


def has_failed(item):
    return item.stash.get(FAILED, False)


def seed_of(item):
    """$LIGNUM_SEED, or else the test's name, so that every run has the same seed."""
    return os.environ.get("LIGNUM_SEED", item.name)


def part_of(nodeid):
    """The name of a test or file for tests/run --only."""
    name = nodeid.rpartition("/")[2] if "::" not in nodeid else nodeid
    return "system/" + name.replace(".py", "", 1)


# ------------------------------------------------------------------------------- in the workers

@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item):
    _ended.clear()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    outcome = yield
    report = outcome.get_result()
    if not report.failed:
        return
    item.stash[FAILED] = True
    for name, text in _ended + [(name, thing.said_last(TAIL)) for thing, name in _running.items()]:
        if text:
            report.sections.append(("end of the log of %s" % name, text))
    seed = "LIGNUM_SEED=%s " % shlex.quote(seed_of(item)) if "rng" in item.fixturenames else ""
    report.sections.append(("to repeat it", "%s%s --only %s" % (
        seed, os.environ.get("LIGNUM_RUN", "tests/run"), shlex.quote(part_of(item.nodeid)))))


# ------------------------------------------------------------------------------- in the controller

class Results:
    """Collects the verdict on each test from the reports of its set-up, body and teardown."""

    def __init__(self, path):
        self.path, self.verdicts, self.seconds, self.reasons, self.figures = path, {}, {}, {}, []

    def pytest_runtest_logreport(self, report):
        test = part_of(report.nodeid)
        file = test.partition("::")[0]
        self.seconds[file] = self.seconds.get(file, 0) + getattr(report, "duration", 0)
        if report.failed:
            self.verdicts[test] = "failed"
        elif report.skipped:
            self.verdicts.setdefault(test, "skipped")
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
            self.reasons.setdefault(reason, []).append(test)
        elif report.when == "call":
            self.verdicts.setdefault(test, "passed")
        if report.when == "teardown":       # the last report of a test has the values of all phases
            self.figures += [(test, text) for name, text in report.user_properties if name == "figure"]

    def pytest_collectreport(self, report):
        if report.failed:
            self.verdicts[part_of(report.nodeid) + " cannot be imported"] = "failed"

    def of(self, verdict, file=None):
        return [t for t, v in self.verdicts.items() if v == verdict and file in (None, t.partition("::")[0])]

    def pytest_terminal_summary(self, terminalreporter):
        line = terminalreporter.write_line
        for file in sorted(self.seconds):
            passed, failed, skipped = (len(self.of(v, file)) for v in ("passed", "failed", "skipped"))
            line("%-32s %4d passed %s%s %6.1f s" % (
                file, passed, "%3d FAILED" % failed if failed else "          ",
                " %2d skipped" % skipped if skipped else "           ", self.seconds[file]))
        for reason, tests in self.reasons.items():
            line("    skip %s (%d): %s" % (tests[0], len(tests), reason))
        for test, text in self.figures:
            line("    figure: %s" % text)

    def pytest_sessionfinish(self):
        if self.path:
            with open(self.path, "w") as f:
                json.dump({verdict: self.of(verdict) for verdict in ("passed", "failed", "skipped")}, f)


def pytest_configure(config):
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Results(os.environ.get("LIGNUM_RESULTS")))
