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
    return _read(path, *state(path))


def state(path):
    """What tells that a file has changed."""
    found = path.stat()
    return found.st_mtime_ns, found.st_size


def states(root, labs):
    """The state of the labs' release notebooks."""
    return tuple(state(root / "labs" / lab / f"{lab}.ipynb") for lab in labs)


@functools.lru_cache(maxsize=256)
def _read(path, changed, size):
    return nbformat.read(path, as_version=4)
