import os

pytest_plugins = ["report"]

# A worker takes files in this order; long ones first, so that no worker is left alone with one at the end.
LONG_FILES = ["test_failover", "test_cluster", "test_power", "test_crash", "test_scripts", "test_store", "test_strain", "test_election"]


def pytest_collection_modifyitems(items):
    def place(item):
        stem = os.path.basename(item.nodeid.partition("::")[0])[:-3]
        return LONG_FILES.index(stem) if stem in LONG_FILES else len(LONG_FILES)
    items.sort(key=place)
