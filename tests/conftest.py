"""Shared by all tests: no test may reach for a model hub, and real assets come from the machine's own store.

Tests run in two processes (`make test`). What shares models or a lab's solution stays together in one of them, and so
does all that grades: it watches processes and memory.
"""

import os

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # several workers share the cores; set before torch is imported
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_OFFLINE"] = "1"

import pytest  # noqa: E402
from leaplm.assets import AssetMissing, asset_path, fetch  # noqa: E402


@pytest.fixture(scope="session")
def assets_ready():
    """The two models and the English ratings, fetched once per machine; gives `asset_path`."""
    fetch(["minilm", "vader", "smollm2"])
    return asset_path


@pytest.fixture
def needs_asset():
    """needs_asset("afrisenti") gives the asset's folder, or skips the test where it has not been fetched."""

    def path_or_skip(name):
        try:
            return asset_path(name)
        except AssetMissing as problem:
            pytest.skip(str(problem))

    return path_or_skip


def pytest_collection_modifyitems(items):
    for item in items:
        item.add_marker(pytest.mark.xdist_group(group_of(item)))


def group_of(item):
    """The lab that a test is about, else "grading", else its module."""
    module = item.module.__name__
    parameters = getattr(item, "callspec", None)
    lab = parameters and parameters.params.get("lab")
    if lab:
        return f"{module}-{lab}"
    return "grading" if module.startswith("test_grading") else module
