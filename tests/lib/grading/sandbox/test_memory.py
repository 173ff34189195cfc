"""Memory that a process holds shows, whichever way it holds it."""

import subprocess
import sys

import pytest
from leaplm.grading.sandbox.memory import is_above, used_mb

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")

HOLDS = {  # at least 100 MB each; what the program keeps until its input ends
    "its own pages": "kept = bytearray(100 << 20)",
    "a file in memory": "kept = os.memfd_create('x'); os.posix_fallocate(kept, 0, 100 << 20)",
    "page tables": """
kept = mmap.mmap(-1, 52 << 30, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000, prot=mmap.PROT_READ)
for place in range(0, 52 << 30, 2 << 20):
    kept[place]  # a page of zeros, which takes none, in a table of its own
""",
    "sockets that nobody reads": """
kept = []
for _ in range(300):
    one, other = socket.socketpair()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    one.setblocking(False)
    try:
        while True:
            one.send(bytes(65536))
    except BlockingIOError:
        kept += [one, other]
""",
}


@pytest.fixture
def started():
    processes = []

    def start(code):
        program = f"import mmap, os, socket, sys\n{code}\nprint('held', flush=True)\nsys.stdin.read()"
        processes.append(subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        assert processes[-1].stdout.readline() == b"held\n"
        return processes[-1].pid

    yield start
    for process in processes:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


@pytest.mark.parametrize("way", HOLDS)
def test_memory_counts_however_it_is_held(way, started):
    empty = used_mb([started("")])
    full = started(HOLDS[way])
    assert 0 < empty < 50 and used_mb([full]) > empty + 95
    assert is_above(empty + 95, [full]) and not is_above(10**5, [full])


def test_what_processes_share_counts_once(started):
    share = "kept = [end for _ in range(100) for end in socket.socketpair()]\n"
    alone = started(share)
    forked = started(f"{share}for _ in range(4):\n    if os.fork() == 0:\n        sys.stdin.read()\n        os._exit(0)")
    with open(f"/proc/{forked}/task/{forked}/children") as file:
        family = [forked, *map(int, file.read().split())]
    assert len(family) == 5 and used_mb(family) < used_mb([alone]) + 60


def test_what_processes_share_is_not_too_much(started):
    share = "kept = bytearray(b'x') * (100 << 20)\n"
    forked = started(f"{share}for _ in range(4):\n    if os.fork() == 0:\n        sys.stdin.read()\n        os._exit(0)")
    with open(f"/proc/{forked}/task/{forked}/children") as file:
        family = [forked, *map(int, file.read().split())]
    assert len(family) == 5 and is_above(95, family) and not is_above(250, family)


def test_a_process_that_has_ended_holds_nothing():
    assert used_mb([2**22 + 1]) == 0


def test_large_page_tables_are_too_much_before_they_are_slow_to_walk(started):
    sparse = started(HOLDS["page tables"])
    assert used_mb([sparse], enough=500) == float("inf") and used_mb([sparse], enough=2500) < 300
