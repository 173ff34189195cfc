"""Models and data sets: where they lie, and how they come here once and are never asked for again.

>>> from leaplm.assets import asset_path, fetch
>>> fetch(["minilm"])                              # doctest: +SKIP
>>> asset_path("minilm") / "config.json"           # doctest: +SKIP
PosixPath('/home/ada/.cache/leaplm/minilm/config.json')
"""

from leaplm.assets.fetching import fetch
from leaplm.assets.places import AssetError, AssetMissing, asset_path, store

__all__ = ["AssetError", "AssetMissing", "asset_path", "fetch", "store"]
