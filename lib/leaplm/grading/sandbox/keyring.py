"""The kernel's keyrings: a submission gets a session of its own, without the keys of who grades (see keyrings(7)).

Namespaces do not divide a session's keyring; it goes from process to process like the environment does.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
from collections.abc import Iterator

from leaplm.grading.sandbox.syscalls import FORBIDDEN, here

JOIN_SESSION_KEYRING, SETPERM, UNLINK = 1, 5, 9
SESSION = -3  # the keyring of this session
POSSESSORS_ONLY = 0x3F000000  # who has the key in a keyring may do all with it, others nothing
NO_KEYS = (errno.ENOSYS, errno.EPERM, errno.EOPNOTSUPP)  # a kernel without keys, or a container that forbids them


def leave_session() -> None:
    """Gives this process a new, empty session keyring; where there are no keys at all, there is nothing to leave."""
    _call("keyctl", JOIN_SESSION_KEYRING, None)


@contextlib.contextmanager
def planted(name: str, content: bytes) -> Iterator[bool]:
    """In here the session holds a key that only its own processes can see; False where there are no keys."""
    key = _call("add_key", b"user", name.encode(), content, ctypes.c_size_t(len(content)), SESSION)
    if key is None:
        yield False
        return
    try:
        _call("keyctl", SETPERM, key, POSSESSORS_ONLY)
        yield True
    finally:
        _call("keyctl", UNLINK, key, SESSION)


def _call(name: str, *args: object) -> int | None:
    """A system call of the keyrings (the C library has none); None where there are no keys."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    result = libc.syscall(ctypes.c_long(here(FORBIDDEN[name])), *args)
    if result < 0 and ctypes.get_errno() not in NO_KEYS:
        raise OSError(ctypes.get_errno(), f"{name}: {os.strerror(ctypes.get_errno())}")
    return result if result >= 0 else None
