"""The manifest `assets.toml`, read into frozen records."""

import functools
import hashlib
import json
import os
import tomllib
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from leaplm.locales import say

MANIFEST = Path(__file__).parents[1] / "assets.toml"


@dataclass(frozen=True)
class File:
    """Some bytes by name: a file of an asset, or the carrier (a distribution) it travels in."""

    name: str
    bytes: int
    sha256: str

    def __post_init__(self):
        # Names become paths in the store and on mirrors; none may lead out of them.
        parts = PurePosixPath(self.name).parts
        if not parts or ".." in parts or self.name.startswith("/") or "\\" in self.name or ":" in self.name:
            raise ValueError(say("{name} is no plain relative file name", name=repr(self.name)))


@dataclass(frozen=True)
class Source:
    """One place that has an asset: a `package` carrier, or single files on `github` or `huggingface`."""

    kind: str
    project: str = ""
    repository: str = ""
    commit: str = ""
    prefix: str = ""
    members: dict[str, str] = field(default_factory=dict)
    carrier: File | None = None

    def member(self, file: File) -> str:
        """Where this source keeps `file`."""
        return self.members.get(file.name, self.prefix + file.name)

    def mirror_path(self, file: File) -> str:
        """Where a mirror keeps `file` of this source, relative to the mirror's root."""
        if self.carrier:
            return f"pypi/{file.name}"
        return f"{self.kind}/{self.repository}/{self.commit}/{self.member(file)}"


@dataclass(frozen=True)
class Asset:
    """One table of the manifest. `suffix` stands in for `files` where a verified carrier holds too many to name."""

    name: str
    title: str
    license: str
    provenance: str
    sources: tuple[Source, ...]
    files: tuple[File, ...] = ()
    suffix: str = ""
    core: bool = False
    required: bool = False
    convert: str = ""
    extra_bytes: int = 0

    def downloads(self, source: Source) -> tuple[File, ...]:
        """What has to come over the line from `source`."""
        return (source.carrier,) if source.carrier else self.files

    def download_bytes(self) -> int:
        return sum(file.bytes for file in self.downloads(self.sources[0]))

    def disk_bytes(self) -> int:
        """Room needed while fetching: the download, what is taken out of it, and what that is turned into."""
        return self.download_bytes() + sum(file.bytes for file in self.files) + self.extra_bytes

    def digest(self) -> str:
        """Changes when the bytes in the store would change, and not when a title does."""
        carriers = [source.carrier.sha256 for source in self.sources if source.carrier] if self.suffix else []
        facts = [[file.name, file.sha256] for file in self.files] + carriers + [self.suffix, self.convert]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def load_manifest(path: Path | None = None) -> dict[str, Asset]:
    """The assets by name, from `path`, the file LEAPLM_MANIFEST names, or the course's own manifest."""
    path = Path(path or os.environ.get("LEAPLM_MANIFEST") or MANIFEST)
    return dict(_assets(path.read_text(encoding="utf-8")))


@functools.lru_cache(maxsize=4)
def _assets(text: str) -> dict[str, Asset]:
    """Read once: each search for an asset asks for them, and the parser takes ten milliseconds."""
    return {name: _asset(name, dict(table)) for name, table in tomllib.loads(text).items()}


def _asset(name: str, table: dict) -> Asset:
    files = tuple(File(file, **facts) for file, facts in table.pop("files", {}).items())
    sources = tuple(_source(dict(source)) for source in table.pop("sources"))
    return Asset(name=name, files=files, sources=sources, **table)


def _source(table: dict) -> Source:
    if table["kind"] != "package":
        return Source(**table)
    carrier = File(table.pop("file"), table.pop("bytes"), table.pop("sha256"))
    return Source(carrier=carrier, **table)
