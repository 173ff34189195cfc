"""One file, downloaded so that a broken line costs nothing: kept in part, gone on with, and verified."""

import hashlib
import time
from collections.abc import Callable
from pathlib import Path

from leaplm.assets.manifest import File
from leaplm.assets.web import Interrupted, SourceError, Web, host_of
from leaplm.locales import say

TRIES = 3


def sha256_of(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def download(web: Web, url: str, file: File, part: Path, advance: Callable[[int], object]) -> None:
    """Make `part` hold the whole, verified `file`. `advance(n)` hears of every n bytes, negative when starting over.

    Raises SourceError when `url` does not give the file; what came so far then stays in `part`, unless it is wrong.
    """
    resumed = _size(part) > 0
    _complete(web, url, file, part, advance)
    if (found := sha256_of(part)) == file.sha256:
        return
    advance(-_size(part))
    part.unlink()
    if resumed:     # the wrong bytes may be those of an earlier run: judge this source by its own
        return download(web, url, file, part, advance)
    raise SourceError(say("{host}: {file} has the wrong hash (sha256 {found}…, not {expected}…)", host=host_of(url),
                          file=file.name, found=found[:12], expected=file.sha256[:12]))  # fmt: skip


def _complete(web: Web, url: str, file: File, part: Path, advance: Callable[[int], object]) -> None:
    """Append to `part` until it has `file.bytes` bytes; give up after TRIES rounds in a row that bring nothing."""
    failures = 0
    while (before := _size(part)) < file.bytes:
        problem: SourceError = Interrupted(say("{host}: the answer ends early", host=host_of(url)))
        try:
            _append(web, url, file, part, advance)
        except Interrupted as interruption:
            problem = interruption
        except SourceError:
            if before == 0:
                raise
        failures = failures + 1 if _size(part) <= before else 0
        if failures == TRIES:
            raise SourceError(say("{problem} ({came:.1f} of {size:.1f} MB of {file} came)", problem=problem,
                                  came=_size(part) / 1e6, size=file.bytes / 1e6, file=file.name))  # fmt: skip
        time.sleep(failures)


def _append(web: Web, url: str, file: File, part: Path, advance: Callable[[int], object]) -> None:
    start = _size(part)
    with web.open(url, start) as (offset, chunks), part.open("ab" if offset else "wb") as out:
        advance(offset - start)
        for chunk in chunks:
            chunk = chunk[: file.bytes - out.tell()]    # a longer file is a wrong one: no need to take it all
            out.write(chunk)
            advance(len(chunk))
            if out.tell() == file.bytes:
                return


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0
