"""Fixtures of the system tests. Each fixture ends what it has started when the test is over, and checks how it ends.

    node(...)           starts a broker. Its exit code must be 0 (or `expect_exit`; None: any), and its log must not contain a
                        sanitizer's report. `place` is its folder, if it is to be that of another broker.
    make_node(...)      the same, but the test starts it
    cluster(...)        starts a real Consul and three brokers (or `count`), waits until all are in the synced set, and creates
                        `topics`, {name: settings}
    make_cluster(...)   the same, but the test starts it
    consul              a real Consul
    network(names)      hosts in network namespaces that can be disconnected from each other

share_node and share_cluster start one for all tests of a file; every test must leave it in working order. A test is skipped, with
the reason, when it needs something that is missing here: a build, Consul, namespaces, a mount.
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

# Workers take files in this order: long ones first, so that all workers end at about the same time.
LONG_FILES = ["test_failover", "test_keep_leading", "test_election", "test_rollback", "test_groups_node", "test_groups_cluster",
              "test_reload", "test_store", "test_tls", "test_tokens", "test_secret", "test_cluster", "test_scripts", "test_topic_changes",
              "test_strain", "test_lifecycle", "test_disk"]


def pytest_collection_modifyitems(items):
    def place(item):
        stem = item.path.stem
        return LONG_FILES.index(stem) if stem in LONG_FILES else len(LONG_FILES)
    items.sort(key=place)


# ---------------------------------------------------------------------------------- what may be missing

def need(path):
    """Skips the test unless the binary is built; returns its path."""
    if not os.access(path, os.X_OK):
        pytest.skip("not built: %s" % os.path.relpath(path, common.ROOT))
    return path


def need_that(why_not):
    if why_not:
        pytest.skip(why_not)


@pytest.fixture
def faults():
    """Path of the binary with fault points."""
    return need(common.FAULTS)


@pytest.fixture
def mutant():
    """Path of the binary that acknowledges before the sync."""
    return need(common.MUTANT)


@pytest.fixture
def load_program():
    if common.SANITIZED:
        pytest.skip("throughput of a sanitized build says nothing")
    return need(os.path.join(os.path.dirname(os.path.dirname(common.BINARY)), "release/tests/bench/load"))


@pytest.fixture
def slow_disk():
    """Path of the library that slows a disk."""
    if common.SANITIZED:
        pytest.skip("timing of a sanitized build says nothing")
    return need(os.path.join(os.path.dirname(os.path.dirname(common.BINARY)), "release/tests/bench/slow_disk.so"))


# ------------------------------------------------------------------------------------------- folders

def a_folder():
    # A short path, because the path of the console's socket must fit into 108 bytes.
    return tempfile.mkdtemp(prefix="lignum-", dir=os.environ.get("LIGNUM_TMP"))


@pytest.fixture
def folder(request):
    """A new directory. If the test fails, a copy goes to $LIGNUM_KEEP."""
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
    """small_disk(size, options): mounts a filesystem of this size, which a test can fill; returns its path."""
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
    """Stops a running broker with SIGTERM, or kills it if the test has failed already."""
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
    """Starts a cluster, waits until it is whole, and creates topics on all nodes."""
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
    """network(names): hosts in network namespaces, joined by a bridge."""
    def lay(names):
        need_that(networks.why_not())
        net = networks.Network(names)
        request.addfinalizer(net.close)
        return net
    return lay


# ------------------------------------------------------------------------------------------- smaller helpers

@pytest.fixture
def figure(record_property):
    """figure(format, values): a measured value, printed at the end of the run."""
    return lambda form, *words: record_property("figure", form % words)


@pytest.fixture
def rng(request):
    """A random generator. Its seed is part of the command that repeats a failed test."""
    return random.Random(report.seed_of(request.node))


@pytest.fixture
def defer(request):
    """defer(function, arguments): calls it when the test is over, in reverse order."""
    return lambda f, *words: request.addfinalizer(lambda: f(*words))
