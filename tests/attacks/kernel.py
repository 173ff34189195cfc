"""F: calls of the kernel that namespaces do not divide. Where one works, the attack prints a secret of its own."""

from attacks.rows import ENDS, cheat
from attacks.work import Work

FILTER = "a filter of system calls"

# `call` gives what the kernel does, or raises; `won` shows that an attack did what it must not.
CALL = """
import ctypes, platform
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
NUMBERS = {"add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219), "ptrace": (101, 117),
           "process_vm_readv": (310, 270), "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282),
           "io_uring_setup": (425, 425), "unshare": (272, 97), "clone": (56, 220), "clone3": (435, 435), "mount": (165, 40),
           "fsopen": (430, 430), "open_tree": (428, 428), "personality": (135, 92), "pidfd_getfd": (438, 438)}
def call(name, *args):
    words = [ctypes.c_long(arg) if isinstance(arg, int) else arg for arg in args]
    result = libc.syscall(ctypes.c_long(NUMBERS[name][platform.machine() == "aarch64"]), *words)
    if result < 0:
        raise OSError(ctypes.get_errno(), name)
    return result
def won(what):
    print("CANARY" + f"-{what}-" + "0" * 8)
def tried(what, *args):
    attempt(lambda: (call(*args), won(what)))
"""


@cheat("F70", by="a session keyring of its own, and " + FILTER)
def keys_of_the_teacher(work: Work) -> None:
    """Reads the keys of the session of who grades: by their numbers, by name, and through the kernel's ciphers."""
    work.code(CALL)
    work.code("""
        def content(key):
            found = ctypes.create_string_buffer(4096)
            size = call("keyctl", 11, key, found, 4096)
            return found.raw[:size].decode(errors="replace")
        attempt(call, "keyctl", 0, -3, 1)
        for line in read("/proc/keys").splitlines():
            loot(line)
            loot(attempt(content, int(line.split()[0], 16)) or "")
        for ring in (-1, -2, -3, -4, -5):
            loot(attempt(content, ring) or "")
            loot(attempt(lambda: content(call("keyctl", 10, ring, b"user", b"leaplm-secret", 0))) or "")
        loot(attempt(lambda: content(call("request_key", b"user", b"leaplm-secret", None, -3))) or "")
        attempt(lambda: (socket.socket(38, socket.SOCK_SEQPACKET), won("cipher")))
    """)


NOTES = """
for ring in (-1, -2, -3, -4, -5):
    note = attempt(call, "keyctl", 10, ring, b"user", b"leaplm-note", 0)
    if note:
        won("note")
    attempt(call, "add_key", b"user", b"leaplm-note", b"the answer is 42", ctypes.c_size_t(16), ring)
"""


@cheat("F71", by="a session keyring of its own, and " + FILTER)
def note_in_a_keyring(work: Work) -> None:
    """Leaves a note in each keyring for the next submission, and looks for one."""
    work.code(CALL + NOTES)


@cheat("F72", by="a session keyring of its own, and " + FILTER)
def note_from_a_keyring(work: Work) -> None:
    """Looks for the note that another submission has left in a keyring, and leaves one."""
    work.code(CALL + NOTES)


@cheat("F73", by=FILTER, states=ENDS)
def debugger(work: Work) -> None:
    """Takes hold of its own processes as a debugger does, and reads their memory and their open files."""
    work.code(CALL)
    work.code("""
        child = os.fork()
        if child == 0:
            time.sleep(5)
            os._exit(0)
        tried("ptrace", "ptrace", 0x4206, child, 0, 0)
        class Piece(ctypes.Structure):
            _fields_ = [("start", ctypes.c_void_p), ("size", ctypes.c_size_t)]
        there, here = ctypes.create_string_buffer(b"secret"), ctypes.create_string_buffer(6)
        mine, its = Piece(ctypes.addressof(here), 6), Piece(ctypes.addressof(there), 6)
        tried("memory", "process_vm_readv", child, ctypes.byref(mine), 1, ctypes.byref(its), 1, 0)
        handle = os.pidfd_open(child)
        tried("files", "pidfd_getfd", handle, 1, 0)
        os.kill(child, 9)
        os.waitpid(child, 0)
    """)


@cheat("F74", by=FILTER, states=ENDS)
def corners(work: Work) -> None:
    """Opens what faults of the kernel were found in: io_uring, userfaultfd, BPF programs, counters, odd personalities."""
    work.code(CALL)
    work.code("""
        tried("uring", "io_uring_setup", 8, ctypes.create_string_buffer(256))
        tried("userfault", "userfaultfd", 1)
        tried("bpf", "bpf", 0, ctypes.create_string_buffer(b"\\x02" + bytes(3) + b"\\x04" + bytes(3) + b"\\x04" + bytes(3)
              + b"\\x01" + bytes(115)), 128)
        attributes = ctypes.create_string_buffer(b"\\x01" + bytes(3) + b"\\x70" + bytes(115))
        tried("counter", "perf_event_open", attributes, 0, -1, -1, 0)
        tried("personality", "personality", 0x40000)
        for family in (17, 29, 38, 40, 44):
            attempt(lambda: (socket.socket(family, socket.SOCK_DGRAM), won("family")))
    """)


@cheat("F75", by=FILTER, states=ENDS)
def new_namespaces(work: Work) -> None:
    """Makes namespaces and mounts in each way that there is: unshare, clone, clone3, the old and the new mount calls."""
    work.code(CALL)
    work.code("""
        def leave(result):
            os._exit(0) if result == 0 else won("namespace")
        for new in (0x10000000, 0x10020000, 0x02000000, 0x80):
            tried("namespace", "unshare", new)
            attempt(lambda: leave(call("clone", new | 17, 0, 0, 0, 0)) if new > 0xFF else None)  # else part of a signal
            words = ctypes.create_string_buffer(new.to_bytes(8, "little") + bytes(24) + bytes([17]) + bytes(55))
            attempt(lambda: leave(call("clone3", words, 64)))
        tried("mount", "mount", b"tmpfs", b"/student", b"tmpfs", 0, None)
        tried("mount", "fsopen", b"tmpfs", 0)
        tried("mount", "open_tree", -100, b"/", 1)
    """)
