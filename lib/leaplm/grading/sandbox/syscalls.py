"""The system calls that student code may not make: a filter that the kernel runs before each call (seccomp, BPF).

Namespaces and an empty set of capabilities leave open what is not divided by them: the keys of a session, the debugger's
calls, rarely used corners where faults of the kernel were found. Nothing that Python, PyTorch or IPython does needs these
calls; they fail with an error number, so that a library which tries one goes on without it.

A filter is a list of instructions (code, jump if true, jump if false, number), as in seccomp(2) and Linux's filter.rst.
"""

from __future__ import annotations

import ctypes
import errno
import platform
import struct
from collections.abc import Collection

Instruction = tuple[int, int, int, int]

# name -> numbers on x86_64 and on aarch64 (None: not there); the same from 424 on. See syscalls(2).
FORBIDDEN: dict[str, tuple[int | None, int | None]] = {
    # keys: of the session, of the user, of the kernel
    "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219),
    # the memory, files and secrets of other processes
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "kcmp": (312, 272),
    "process_madvise": (440, 440), "pidfd_getfd": (438, 438), "memfd_secret": (447, 447),
    "migrate_pages": (256, 238), "move_pages": (279, 239),
    # programs in the kernel, watching it, calls that pass by this filter
    "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282), "syslog": (103, 116),
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    # mounts and namespaces
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51), "open_tree": (428, 428),
    "move_mount": (429, 429), "fsopen": (430, 430), "fsconfig": (431, 431), "fsmount": (432, 432), "fspick": (433, 433),
    "mount_setattr": (442, 442), "unshare": (272, 97), "setns": (308, 268),
    # files past their folders, quotas, watching a file system
    "open_by_handle_at": (304, 265), "name_to_handle_at": (303, 264), "fanotify_init": (300, 262),
    "fanotify_mark": (301, 263), "quotactl": (179, 60), "quotactl_fd": (443, 443), "lookup_dcookie": (212, 18),
    # the machine: its kernel, clock, name, swap, ports
    "kexec_load": (246, 104), "kexec_file_load": (320, 294), "init_module": (175, 105), "finit_module": (313, 273),
    "delete_module": (176, 106), "create_module": (174, None), "reboot": (169, 142), "swapon": (167, 224),
    "swapoff": (168, 225), "acct": (163, 89), "settimeofday": (164, 170), "clock_settime": (227, 112),
    "clock_adjtime": (305, 266), "adjtimex": (159, 171), "sethostname": (170, 161), "setdomainname": (171, 162),
    "vhangup": (153, 58), "iopl": (172, None), "ioperm": (173, None), "modify_ldt": (154, None), "uselib": (134, None),
    "nfsservctl": (180, 42),
}  # fmt: skip
FOR_WALLS = ("unshare", "mount", "keyctl")  # what the fork server needs for the walls of a submission
CLONE, CLONE_3, SOCKET, PERSONALITY = (56, 220), (435, 435), (41, 198), (135, 92)
NEWEST = 466  # removexattrat, of Linux 6.13: what came later, and the calls of other ABIs, are as if they were not there
NEW_NAMESPACES = 0x7E020000  # all flags CLONE_NEW* that clone(2) knows
FAMILIES = (1, 2, 10, 16)  # Unix, IPv4, IPv6, netlink; a virtual machine's host, for one, is reached by another (vsock)
PERSONALITIES = (0, 0xFFFFFFFF)  # the usual one, and the question which it is

ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
NUMBER, ARCHITECTURE, FIRST_ARGUMENT = 0, 4, 16  # where they stand in seccomp_data; of the argument, the low half
LOAD, EQUAL, GREATER, ANY_BIT, RETURN = 0x20, 0x15, 0x25, 0x45, 0x06
ALLOW, FAIL = 0x7FFF0000, 0x00050000
PR_SET_SECCOMP, MODE_FILTER = 22, 2


class NoFilter(RuntimeError):
    """There is no filter for this kind of processor."""


def program(machine: str = "", but: Collection[str] = ()) -> bytes:
    """The filter's instructions for a processor (`platform.machine()`), 8 bytes each; the calls in `but` are allowed.

    >>> len(program("x86_64")) // 8 < 4096           # the most that Linux takes
    True
    """
    machine = machine or platform.machine()
    column = column_of(machine)
    code = [(LOAD, 0, 0, ARCHITECTURE), (EQUAL, 1, 0, ARCHITECTURES[machine]), fail(errno.EPERM),
            (LOAD, 0, 0, NUMBER), (GREATER, 0, 1, NEWEST), fail(errno.ENOSYS)]  # fmt: skip
    for name, numbers in FORBIDDEN.items():
        if numbers[column] is not None and name not in but:
            code += rule(numbers[column], fail(errno.EPERM))
    code += rule(CLONE_3[column], fail(errno.ENOSYS))  # its flags are out of sight; the C library then takes clone
    code += rule(CLONE[column], (LOAD, 0, 0, FIRST_ARGUMENT), (ANY_BIT, 0, 1, NEW_NAMESPACES), fail(errno.EPERM), allow())
    code += rule(SOCKET[column], *first_argument_in(FAMILIES, errno.EAFNOSUPPORT))
    code += rule(PERSONALITY[column], *first_argument_in(PERSONALITIES, errno.EPERM))
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in [*code, allow()])


def column_of(machine: str) -> int:
    if machine not in ARCHITECTURES:
        known = " and ".join(ARCHITECTURES)
        raise NoFilter(f"Student code can be kept apart on {known} processors, not on {machine}: grade on another machine.")
    return list(ARCHITECTURES).index(machine)


def here(numbers: tuple[int | None, int | None]) -> int | None:
    """Of a call's numbers, that on this machine."""
    return numbers[column_of(platform.machine())]


def rule(number: int, *then: Instruction) -> list[Instruction]:
    """For one call: these instructions, which end with a return. Other calls jump over them."""
    return [(EQUAL, 0, len(then), number), *then]


def first_argument_in(allowed: Collection[int], error: int) -> list[Instruction]:
    """Allowed with one of these numbers as the first argument; else it fails."""
    left = len(allowed)
    tests = [(EQUAL, left - place, 0, value) for place, value in enumerate(allowed)]
    return [(LOAD, 0, 0, FIRST_ARGUMENT), *tests, fail(error), allow()]


def allow() -> Instruction:
    return RETURN, 0, 0, ALLOW


def fail(number: int) -> Instruction:
    """The call is not made and gives this error."""
    return RETURN, 0, 0, FAIL | number


def install(instructions: bytes) -> None:
    """Puts a filter on this process and all that it will start, for ever. Needs "no new privileges" (see `walls`)."""

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))

    filled = Program(len(instructions) // 8, instructions)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_SECCOMP, MODE_FILTER, ctypes.byref(filled), 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "this kernel takes no seccomp filter")
