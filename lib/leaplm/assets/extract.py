"""Files out of a carrier (a wheel or a source distribution) without installing it or running any of its code."""

import contextlib
import hashlib
import shutil
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from leaplm.assets.manifest import Asset, File, Source
from leaplm.assets.web import SourceError
from leaplm.locales import say


def extract(carrier: Path, asset: Asset, source: Source, target: Path) -> None:
    """Write the asset's files from `carrier` into `target`. Only names from the manifest become paths there."""
    for file in asset.files:
        with open_member(carrier, source.member(file)) as stream:
            _write_verified(stream, file, target / file.name)
    if asset.suffix:
        _extract_suffix(carrier, asset, source, target)


def _write_verified(stream: BinaryIO, file: File, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with path.open("wb") as out:
        while chunk := stream.read(min(1 << 20, file.bytes + 1 - out.tell())):
            digest.update(chunk)
            out.write(chunk)
    if digest.hexdigest() != file.sha256:
        raise SourceError(say("{file} inside its carrier has the wrong hash (not {expected}…)", file=file.name,
                              expected=file.sha256[:12]))  # fmt: skip


def _extract_suffix(carrier: Path, asset: Asset, source: Source, target: Path) -> None:
    with zipfile.ZipFile(carrier) as archive:
        for member in archive.namelist():
            if member.startswith(source.prefix) and member.endswith(asset.suffix):
                name = _safe_name(member.removeprefix(source.prefix))
                (target / name).parent.mkdir(parents=True, exist_ok=True)
                with archive.open(member) as stream, (target / name).open("wb") as out:
                    shutil.copyfileobj(stream, out)


def _safe_name(name: str) -> str:
    try:
        return File(name, 0, "").name
    except ValueError as problem:
        raise SourceError(say("the archive is not safe: {problem}", problem=problem)) from problem


@contextlib.contextmanager
def open_member(archive: Path | BinaryIO, member: str) -> Iterator[BinaryIO]:
    """Read one file of an archive; "a.tar.gz!b" is b inside the archive a inside it. Links are not followed."""
    outer, _, inner = member.partition("!")
    try:
        with _open_archive(archive, outer) as stream:
            if inner:
                with open_member(stream, inner) as nested:
                    yield nested
            else:
                yield stream
    except (KeyError, tarfile.TarError, zipfile.BadZipFile, EOFError) as problem:
        raise SourceError(say("{member} cannot be read from its carrier: {problem}", member=member, problem=problem)
                          ) from problem  # fmt: skip


@contextlib.contextmanager
def _open_archive(archive: Path | BinaryIO, member: str) -> Iterator[BinaryIO]:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as zipped, zipped.open(member) as stream:
            yield stream
        return
    if not isinstance(archive, Path):
        archive.seek(0)     # is_zipfile has looked around in it
    where = {"name": archive} if isinstance(archive, Path) else {"fileobj": archive}
    with tarfile.open(**where) as tarred:
        if not tarred.getmember(member).isfile():
            raise KeyError(say("{member} is no regular file", member=member))
        yield tarred.extractfile(member)
