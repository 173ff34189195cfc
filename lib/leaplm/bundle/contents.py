"""What a bundle holds: manifest.json lists every file with its size and sha256, so that a broken copy is found."""

import json
from pathlib import Path

from leaplm.assets.download import sha256_of
from leaplm.whole_file import write_whole

MANIFEST = "manifest.json"
PARTS = ("wheels", "assets", "course", "book")


class BundleError(RuntimeError):
    """A bundle could not be made or is not whole; the message says what to do."""


def write_contents(folder, **facts):
    """List all files of the bundle `folder` in its manifest; hashes of unchanged files are taken over. Returns the list.

    A file is unchanged when its size and its time of change are those in the manifest.
    """
    folder, known = Path(folder), {}
    if (folder / MANIFEST).is_file():
        known = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["files"]
    files = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.name != MANIFEST and ".part" not in p.name):
        name, status = path.relative_to(folder).as_posix(), path.stat()
        old = known.get(name, {})
        same = (old.get("bytes"), old.get("changed")) == (status.st_size, int(status.st_mtime))
        files[name] = {"bytes": status.st_size, "changed": int(status.st_mtime),
                       "sha256": old["sha256"] if same else sha256_of(path)}
    write_whole(folder / MANIFEST, json.dumps({**facts, "files": files}, indent=1, ensure_ascii=False))
    return files


def read_contents(folder):
    """The manifest of a bundle. Raises BundleError where there is none."""
    path = Path(folder) / MANIFEST
    if not path.is_file():
        raise BundleError(f"{folder} holds no bundle ({MANIFEST} is missing). Make one with: leaplm bundle {folder}")
    return json.loads(path.read_text(encoding="utf-8"))


def verify(folder):
    """The names of files that are missing or not what the manifest says, in order; empty when the bundle is whole."""
    folder = Path(folder)

    def broken(name, facts):
        path = folder / name
        return not path.is_file() or path.stat().st_size != facts["bytes"] or sha256_of(path) != facts["sha256"]

    return [name for name, facts in read_contents(folder)["files"].items() if broken(name, facts)]
