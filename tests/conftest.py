"""Shared by all tests: no test may reach for a model hub, and real assets come from the machine's own store."""

import os

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
