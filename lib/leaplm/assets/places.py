"""Where assets lie on this machine. A folder in the store is whole or not there: it arrives by one rename."""

import os
from pathlib import Path

from leaplm.assets.manifest import Asset, load_manifest
from leaplm.locales import say

STAMP = ".leaplm"


class AssetError(RuntimeError):
    """An asset could not be fetched; the message says why and what to do."""


class AssetMissing(FileNotFoundError):
    """An asset is not on this machine; the message names the command that brings it."""


def store() -> Path:
    """The folder that holds all assets: LEAPLM_HOME, or leaplm in the user's cache (XDG_CACHE_HOME, ~/.cache)."""
    if own := os.environ.get("LEAPLM_HOME"):
        return Path(own).expanduser()
    caches = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (caches if caches.is_absolute() else Path.home() / ".cache") / "leaplm"     # a relative one counts as not set


def asset_path(name: str) -> Path:
    """The folder of the asset `name`. Never touches the network.

    Raises KeyError for a name the manifest does not know, AssetMissing when it has not been fetched.
    """
    asset = known(name)
    if not is_here(asset):
        raise AssetMissing(say("asset `{name}` is not in {folder}. To mend it: `leaplm fetch {name}`", name=name,
                               folder=store()))  # fmt: skip
    return store() / name


def known(name: str) -> Asset:
    assets = load_manifest()
    if name not in assets:
        raise KeyError(say("no asset {name}; there are {names}", name=repr(name), names=", ".join(assets)))
    return assets[name]


def is_here(asset: Asset) -> bool:
    """Whether the asset, in the version the manifest asks for, is in the store."""
    stamp = store() / asset.name / STAMP
    return stamp.is_file() and stamp.read_text(encoding="utf-8") == asset.digest()
