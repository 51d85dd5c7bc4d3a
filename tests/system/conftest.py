"""Fixtures of the system tests. What they give ends with the test, and its end is a check as well.

    node(...)       a broker that serves; make_node(...) one that is not started yet. It must leave with exit code 0 (or
                    `expect_exit`; None: do not look) and must not have said a sanitizer's report. `place`: another's folder.
    cluster(...)    a real Consul and three brokers (or as many as said), whole, with the `topics` asked for; make_cluster(...)
                    one that is not started yet.
    consul          a real Consul; network(names) hosts of their own that can be cut from each other.

share_node and share_cluster give one for all tests of a file, which must leave it as they found it. A test that takes what is not
to be had here (a build, Consul, namespaces, a mount) is skipped with the reason.
"""

import itertools
import os
import random
import shutil
import subprocess
import tempfile

import pytest

pytest_plugins = ["report"]
pytest.register_assert_rewrite("client", "publishers", "report")

import common  # noqa: E402
import consul as consul_server  # noqa: E402
import lignum  # noqa: E402
import network as networks  # noqa: E402
import report  # noqa: E402
from cluster import Cluster, why_no_cluster  # noqa: E402

# A worker takes files in this order; long ones first, so that no worker is left alone with one at the end.
LONG_FILES = ["test_failover", "test_scripts", "test_cluster", "test_power", "test_crash", "test_store", "test_strain", "test_election"]


def pytest_collection_modifyitems(items):
    def place(item):
        stem = item.path.stem
        return LONG_FILES.index(stem) if stem in LONG_FILES else len(LONG_FILES)
    items.sort(key=place)


# ---------------------------------------------------------------------------------- what the machine has or has not

def need(path):
    """The path of a binary that has been built."""
    if not os.access(path, os.X_OK):
        pytest.skip("not built: %s" % os.path.relpath(path, common.ROOT))
    return path


def need_that(why_not):
    if why_not:
        pytest.skip(why_not)


@pytest.fixture
def faults():
    """The binary with fault points."""
    return need(common.FAULTS)


@pytest.fixture
def mutant():
    """The binary that acknowledges before the sync."""
    return need(common.MUTANT)


@pytest.fixture
def load_program():
    if common.SANITIZED:
        pytest.skip("throughput of a sanitized build says nothing")
    return need(os.path.join(os.path.dirname(os.path.dirname(common.BINARY)), "release/tests/bench/load"))


# ------------------------------------------------------------------------------------------- folders

def a_folder():
    # Short, because the console's socket path has to fit into 108 bytes.
    return tempfile.mkdtemp(prefix="lignum-", dir=os.environ.get("LIGNUM_TMP"))


@pytest.fixture
def folder(request):
    """A directory of the test's own. When the test fails, $LIGNUM_KEEP gets a copy."""
    path = a_folder()
    yield path
    keep = os.environ.get("LIGNUM_KEEP")
    if keep and report.has_failed(request.node):
        shutil.copytree(path, os.path.join(keep, request.node.name), dirs_exist_ok=True, ignore_dangling_symlinks=True)
    shutil.rmtree(path, True)


@pytest.fixture(scope="module")
def shared_folder():
    path = a_folder()
    yield path
    shutil.rmtree(path, True)


@pytest.fixture
def small_disk(request, folder):
    """small_disk(size, more options of mount): the path of a real filesystem of that size, by which it may be filled."""
    def mount(size, options=""):
        path = os.path.join(folder, "small")
        os.mkdir(path)
        if os.geteuid() != 0:
            pytest.skip("only root may mount a small filesystem")
        p = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=%d%s" % (size, options), "tmpfs", path], capture_output=True,
                           text=True)
        if p.returncode != 0:
            pytest.skip("a small filesystem cannot be mounted here: %s" % p.stderr.strip())
        request.addfinalizer(lambda: subprocess.run(["umount", "-l", path], check=False))
        return path
    return mount


# ------------------------------------------------------------------------------------------- brokers

def end_node(b, expect_exit, failed):
    """A broker that still runs is stopped as an operator does, unless the test has failed anyway."""
    try:
        if b.running():
            if expect_exit is None or failed:
                b.kill()
            else:
                b.stop(expect_exit)
        elif not b.awaited and expect_exit is not None:
            raise AssertionError("%s ended with %d when nobody asked it to" % (b.name, b.process.returncode))
        if b.process:
            b.check_said()
    finally:
        b.kill()
        report.forget(b)


def node_factory(request, folder):
    numbers = itertools.count(1)

    def make(expect_exit=0, place=None, **kw):
        need(kw.get("binary") or common.BINARY)
        path = place or os.path.join(folder, "b%d" % next(numbers))
        os.makedirs(path, exist_ok=True)
        b = lignum.Broker(path, **kw)
        report.watch(b, b.name)
        request.addfinalizer(lambda: end_node(b, expect_exit, report.has_failed(request.node)))
        return b
    return make


@pytest.fixture
def make_node(request, folder):
    return node_factory(request, folder)


@pytest.fixture
def node(make_node):
    return lambda **kw: make_node(**kw).start()


@pytest.fixture(scope="module")
def share_node(request, shared_folder):
    make = node_factory(request, shared_folder)
    return lambda **kw: make(**kw).start()


# ------------------------------------------------------------------------------------------- clusters

def end_cluster(c, failed):
    try:
        if not failed:
            c.stop()
        c.check_said()
    finally:
        c.close()
        for thing in [c.consul, *c.nodes]:
            report.forget(thing)


def cluster_factory(request, folder):
    numbers = itertools.count(1)

    def make(count=3, net=False, **kw):
        need_that(why_no_cluster() or net and networks.why_not())
        need(kw.get("binary") or common.BINARY)
        path = os.path.join(folder, "c%d" % next(numbers))
        os.makedirs(path)
        c = Cluster(path, count, net, on_new=lambda thing: report.watch(thing, thing.name), **kw)
        request.addfinalizer(lambda: end_cluster(c, report.has_failed(request.node)))
        return c
    return make


def whole_cluster(make, count=3, topics=None, **kw):
    """One in which all nodes follow one leader, and that has these topics: {name: settings}."""
    c = make(count, **kw).start()
    if topics:
        c.create(topics)
        c.wait_equal()
    return c


@pytest.fixture
def make_cluster(request, folder):
    return cluster_factory(request, folder)


@pytest.fixture
def cluster(make_cluster):
    return lambda *words, **kw: whole_cluster(make_cluster, *words, **kw)


@pytest.fixture(scope="module")
def share_cluster(request, shared_folder):
    make = cluster_factory(request, shared_folder)
    return lambda *words, **kw: whole_cluster(make, *words, **kw)


# ------------------------------------------------------------------------------------------- Consul and networks

def consul_factory(request, folder):
    numbers = itertools.count(1)

    def make(**more):
        need_that(why_no_cluster())
        c = consul_server.Consul(os.path.join(folder, "consul%d" % next(numbers)), **more)
        report.watch(c, c.name)

        def end():
            c.kill()
            report.forget(c)
        request.addfinalizer(end)
        return c
    return make


@pytest.fixture
def make_consul(request, folder):
    return consul_factory(request, folder)


@pytest.fixture
def consul(make_consul):
    return make_consul().start()


@pytest.fixture(scope="module")
def shared_consul(request, shared_folder):
    return consul_factory(request, shared_folder)().start()


@pytest.fixture
def network(request):
    """network(names): hosts in namespaces of their own, joined by a bridge."""
    def lay(names):
        need_that(networks.why_not())
        net = networks.Network(names)
        request.addfinalizer(net.close)
        return net
    return lay


# ------------------------------------------------------------------------------------------- what a test says

@pytest.fixture
def figure(record_property):
    """figure(form, words): a number that was measured, shown at the end of the run."""
    return lambda form, *words: record_property("figure", form % words)


@pytest.fixture
def rng(request):
    """Random numbers of the seed that the command for repeating a failed test sets."""
    return random.Random(report.seed_of(request.node))


@pytest.fixture
def defer(request):
    """defer(function, words): called when the test is over, the last one first."""
    return lambda f, *words: request.addfinalizer(lambda: f(*words))
