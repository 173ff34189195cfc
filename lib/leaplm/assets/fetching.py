"""`fetch`: what is missing comes from the first source that gives it, verified, and appears whole or not at all."""

import contextlib
import errno
import itertools
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from leaplm.assets.manifest import Asset, File, Source, load_manifest
from leaplm.assets.places import STAMP, AssetError, is_here, known, store
from leaplm.locales import say

if TYPE_CHECKING:
    from leaplm.assets.web import Web

# What only a download needs is imported in functions: a lab that has its assets loads no HTTP client, and
# `leaplm check` starts where an installation broke off.
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def fetch(names: list[str] | None = None, *, everything: bool = False, mirror: str | None = None) -> None:
    """Bring the assets `names` (default: the core ones) into the store; what is there already costs nothing.

    `mirror` is a folder or an http URL to try first (default: LEAPLM_MIRROR). Raises AssetError when an asset that
    was asked for by name, or that the labs require, did not come; says in one line each what else did not.
    """
    chosen = [known(name) for name in dict.fromkeys(names)] if names else list(load_manifest().values())
    wanted = [asset for asset in chosen if names or everything or asset.core]
    if all(is_here(asset) for asset in wanted):
        print(say("{names}: here already, in {folder}", names=", ".join(asset.name for asset in wanted), folder=store()))
        return
    mirror = _checked_mirror(mirror or os.environ.get("LEAPLM_MIRROR"))
    with _only_fetcher():
        missing = [asset for asset in wanted if not is_here(asset)]
        failures = _fetch_all(missing, mirror)
    fatal = []
    for asset, sorry in failures:
        if names or asset.required:
            fatal.append(sorry)
        else:
            print(sorry)
    if fatal:
        raise AssetError("\n".join(fatal))


def _checked_mirror(mirror: str | None) -> str | None:
    if mirror and "://" not in mirror and not Path(mirror).expanduser().is_dir():
        raise AssetError(say("mirror {mirror}: no such folder. Give another one (`--mirror`, `LEAPLM_MIRROR`), or none",
                             mirror=mirror))  # fmt: skip
    return mirror


def _sorry(asset: Asset, problem: Exception) -> str:
    return say("{name} did not come: {problem}. To mend it: `leaplm fetch {name}`, on a better line or with "
               "`--mirror FOLDER_OR_URL`", name=asset.name, problem=problem)  # fmt: skip


@contextlib.contextmanager
def _only_fetcher() -> Iterator[None]:
    """One process at a time fetches into a store; the lock dies with its process."""
    from filelock import FileLock, Timeout

    with _disk_errors():
        store().mkdir(parents=True, exist_ok=True)
        lock = FileLock(store() / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            print(say("another process is fetching; waiting for it …"), flush=True)
            lock.acquire()
        try:
            for leftover in store().glob(".new-*"):     # of a process that was killed
                shutil.rmtree(leftover, ignore_errors=True)
            yield
        finally:
            lock.release()


def _fetch_all(missing: list[Asset], mirror: str | None) -> list[tuple[Asset, str]]:
    """Fetch each; return the ones that did not come, with a line that says why."""
    if not missing:
        return []
    from leaplm.assets.web import SourceError, Web

    _announce(missing)
    web, failures = Web(), []
    for asset in missing:
        try:
            _fetch_one(web, asset, mirror)
        except (SourceError, AssetError) as problem:
            failures.append((asset, _sorry(asset, problem)))
    return failures


def _announce(missing: list[Asset]) -> None:
    """Say what will come and how big it is; refuse to start what the disk cannot hold."""
    sizes = ", ".join(f"{asset.name} {megabytes(_outstanding(asset))}" for asset in missing)
    total = sum(_outstanding(asset) for asset in missing)
    print(say("{total} MB to download ({sizes}) into {folder}", total=megabytes(total), sizes=sizes, folder=store()),
          flush=True)  # fmt: skip
    kept = sum(asset.disk_bytes() - asset.download_bytes() for asset in missing)
    need = kept + max(_outstanding(asset) for asset in missing)     # a carrier is deleted before the next one comes
    free = shutil.disk_usage(store()).free
    if need > free:
        lacking = say("{need} MB are needed, {free} MB are free", need=megabytes(need), free=megabytes(free))
        raise AssetError(_disk_full(lacking))


def _outstanding(asset: Asset) -> int:
    """Bytes still to come, were the first source to give them."""
    parts = (_part(file) for file in asset.downloads(asset.sources[0]))
    return asset.download_bytes() - sum(part.stat().st_size for part in parts if part.exists())


def _part(file: File) -> Path:
    """Where a download is kept until it is whole; named by its hash, so that any source can go on with it."""
    return store() / ".parts" / file.sha256


def _fetch_one(web: "Web", asset: Asset, mirror: str | None) -> None:
    """Try the mirror, then the origin, of each source in turn. Raises SourceError with all reasons if none gives it."""
    from leaplm.assets.web import SourceError, host_of, mirror_url

    reasons = []
    for place, source in itertools.product([mirror, None] if mirror else [None], asset.sources):
        urls = {file: [mirror_url(place, source.mirror_path(file))] if place else web.urls(source, file)
                for file in asset.downloads(source)}
        try:
            hosts = _download_all(web, asset, urls)
            _install(asset, source)
        except SourceError as problem:
            reasons.append(str(problem))
        else:
            origin = host_of(place) if place else ", ".join(hosts)
            print(say("{name}: here, from {origin}", name=asset.name, origin=origin), flush=True)
            return
    raise SourceError("; ".join(reasons))


def _install(asset: Asset, source: Source) -> None:
    """Take the asset's files out of what was downloaded, convert them, and put all in place by one rename."""
    from leaplm.assets.extract import extract

    files = asset.downloads(source)
    with tempfile.TemporaryDirectory(prefix=f".new-{asset.name}-", dir=store(), ignore_cleanup_errors=True) as new:
        raw = Path(new, "raw")
        raw.mkdir()
        if source.carrier:
            extract(_part(source.carrier), asset, source, raw)
        else:
            for file in files:
                (raw / file.name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(_part(file), raw / file.name)
        ready = _convert(asset, raw, Path(new, "ready")) if asset.convert else raw
        (ready / STAMP).write_text(asset.digest(), encoding="utf-8")
        _replace(ready, store() / asset.name)
    for file in files:
        _part(file).unlink()


def _convert(asset: Asset, raw: Path, ready: Path) -> Path:
    from leaplm.assets.convert import convert_gguf

    print(say("{name}: converting once to safetensors (half a minute) …", name=asset.name), flush=True)
    try:
        convert_gguf(raw, ready)
    except OSError:
        raise
    except Exception as problem:        # of a library that moves fast; the download is kept for the next try
        raise AssetError(say("the installed transformers cannot convert it ({problem}); "
                             "`pip install -c constraints.txt transformers gguf`",
                             problem=f"{type(problem).__name__}: {problem}")) from problem  # fmt: skip
    return ready


def _replace(new: Path, old: Path) -> None:
    """Put `new` where `old` is: readers see one or the other."""
    if old.exists():
        os.replace(old, new.parent / "old")
    os.replace(new, old)


def _download_all(web: "Web", asset: Asset, urls: dict[File, Iterable[str]]) -> list[str]:
    """Download each file from the first of its URLs that gives it; return the hosts that did."""
    from tqdm import tqdm

    parts = {file: _part(file) for file in urls}
    have = sum(part.stat().st_size for part in parts.values() if part.exists())
    pace = 0.2 if sys.stderr.isatty() else 10       # in a log, a line every few seconds is enough
    style = {"unit": "B", "unit_scale": True, "leave": False, "mininterval": pace, "delay": 0.5}
    with tqdm(desc=asset.name, total=sum(file.bytes for file in urls), initial=have, **style) as bar:
        hosts = [_download_from_any(web, file, urls[file], parts[file], bar.update) for file in urls]
    return sorted(set(hosts))


def _download_from_any(
    web: "Web", file: File, urls: Iterable[str], part: Path, advance: Callable[[int], object]
) -> str:
    from leaplm.assets.download import download
    from leaplm.assets.web import SourceError, host_of

    part.parent.mkdir(exist_ok=True)
    reasons = []
    try:
        for url in urls:
            try:
                download(web, url, file, part, advance)
                return host_of(url)
            except SourceError as problem:
                reasons.append(str(problem))
    except SourceError as problem:      # no more places to look
        reasons.append(str(problem))
    raise SourceError("; ".join(reasons))


@contextlib.contextmanager
def _disk_errors() -> Iterator[None]:
    """Turn what the disk refuses into one clear error."""
    try:
        yield
    except OSError as problem:
        if problem.errno in FULL:
            raise AssetError(_disk_full(problem.strerror)) from problem
        if problem.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise AssetError(say("{problem}. Set `LEAPLM_HOME` to a folder that you can write to", problem=problem)
                             ) from problem  # fmt: skip
        raise


def _disk_full(reason: str) -> str:
    return say("no room for the assets in {folder}: {reason}. Free some, or set `LEAPLM_HOME` to a folder on a bigger "
               "disk, then run `leaplm fetch` again: what came so far is kept", folder=store(), reason=reason)  # fmt: skip


def megabytes(count: int) -> str:
    """
    >>> megabytes(83_506_384), megabytes(2_466_783)
    ('84', '2.5')
    """
    return f"{count / 1e6:.0f}" if count >= 9.95e6 else f"{count / 1e6:.1f}"
