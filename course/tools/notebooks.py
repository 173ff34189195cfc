"""The labs' notebooks, as all tools read them: each file once, until it changes."""

import functools

import nbformat


def release(root, lab):
    """A lab's notebook as students get it, in English."""
    return read(root / "labs" / lab / f"{lab}.ipynb")


def solution(root, lab):
    return read(root / "solutions" / lab / f"{lab}.ipynb")


def read(path):
    """A notebook; everybody gets the same one, so whoever changes it takes a copy."""
    state = path.stat()
    return _read(path, state.st_mtime_ns, state.st_size)


@functools.lru_cache(maxsize=256)
def _read(path, changed, size):
    return nbformat.read(path, as_version=4)
