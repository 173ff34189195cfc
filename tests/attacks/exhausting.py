"""D: time, memory, processes, disk. Each ends by itself, in case nothing stops it."""

import io
import zipfile

from nbformat.v4 import new_code_cell

from attacks.rows import ENDS, STOPPED, fault
from attacks.work import ARTIFACT, Work

TIMES = "a time limit for each cell and call, and one for the whole submission"
MB = 2**20


@fault("D1", by=TIMES, points=6, states="graded, partial")
def endless_loop(work: Work) -> None:
    """A function that never ends."""
    work.inside("while True:\n    pass")


@fault("D2", by="killed from outside; what was earned before is kept", points=(3, 5), states=STOPPED)
def loop_that_catches_all(work: Work) -> None:
    """A cell that never ends and catches every exception."""
    work.first("""
        while True:
            try:
                while True:
                    time.sleep(1)
            except BaseException:
                pass
    """, "train_step")  # fmt: skip


@fault("D3", by=TIMES, points=(0, 9), states=ENDS)
def just_below_the_limit(work: Work) -> None:
    """Forty cells that each sleep almost as long as a cell may run."""
    for _ in range(40):
        work.add(f"time.sleep({0.8 * work.traps.cell_seconds})")


@fault("D4", by="the memory of all its processes is watched", points=(3, 5), states=STOPPED)
def memory_bomb(work: Work) -> None:
    """Takes and fills 8 GB in steps."""
    work.first("""
        blocks = []
        while len(blocks) < 32 and spare_mb() > 4000:
            blocks.append(bytearray(b"x") * 2**28)
            proof("took-mb", 256 * len(blocks))
    """, "train_step")  # fmt: skip


@fault("D5", by="a limit on processes", points=(0, 9), states=ENDS)
def fork_bomb(work: Work) -> None:
    """Four hundred processes."""
    work.code("""
        forks = 0
        while forks < 400 and (child := attempt(os.fork)) is not None:
            if child == 0:
                time.sleep(20)
                os._exit(0)
            forks += 1
            proof("processes", forks)
    """)


@fault("D6", by="each cell's output is cut where it is made, and again where it is read", points=(3, 9), states=ENDS)
def output_flood(work: Work) -> None:
    """A hundred thousand lines of a thousand characters."""
    work.code("for _ in range(100_000):\n    print('x' * 1000)", "train_step")


@fault("D7", by="all types of output are cut", points=(3, 9), states=ENDS)
def huge_output(work: Work) -> None:
    """One line of 30 MB, and as much HTML."""
    work.code("""
        from IPython.display import HTML, display
        print("x" * 30_000_000)
        display(HTML("x" * 30_000_000))
    """, "train_step")  # fmt: skip


@fault("D8", by="a home of limited size, in memory", points=(3, 9), states=ENDS)
def fill_disk(work: Work) -> None:
    """Writes half a GB into each folder that can be written."""
    work.code("""
        for folder in (".", "/tmp", "/dev/shm", "/var/tmp", "/run", os.path.expanduser("~")):
            with contextlib.suppress(OSError), open(f"{folder}/{MARK}", "wb") as file:
                for count in range(8):
                    file.write(bytes(2**26))
                    proof("wrote-mb", 64 * (count + 1))
    """, "train_step")  # fmt: skip


@fault("D9", by="limits on open files and threads", points=(0, 9), states=ENDS)
def files_and_threads(work: Work) -> None:
    """Opens files, sockets, watches and threads until there are no more."""
    work.code("""
        import ctypes
        kept = []
        for open_one in (lambda: open("/dev/null"), socket.socket, os.pipe, ctypes.CDLL(None).inotify_init):
            for _ in range(3000):
                if (got := attempt(open_one)) in (None, -1):
                    break
                kept.append(got)
        proof("open-files", len(kept))
        threads = [threading.Thread(target=time.sleep, args=[15], daemon=True) for _ in range(500)]
        proof("threads", sum(attempt(thread.start) is None and thread.is_alive() for thread in threads))
    """, "fit_slope")  # fmt: skip


@fault("D10", by="sizes are looked at before anything is read", points=(0, 9), states="graded, ungradable")
def huge_file(work: Work) -> None:
    """A model file of 1 GB beside the right one."""
    work.sparse = {"artifacts/large.safetensors": 1024 * MB}


@fault("D11", by="caps on count, size and ratio of what is unpacked; archives in archives stay packed",
       points=(0, 9), states="graded, ungradable")  # fmt: skip
def zip_bomb(work: Work) -> None:
    """A zip of 1 MB that unpacks to 1 GB, with fifty zips in one another."""
    inner = b"the last one"
    for _ in range(50):
        inner = zipped({"inner.zip": inner})
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr(work.name, work.content())
        archive.writestr(ARTIFACT, work.files[ARTIFACT])
        archive.writestr("inner.zip", inner)
        with archive.open("artifacts/large.safetensors", "w", force_zip64=True) as file:
            for _ in range(64):
                file.write(bytes(16 * MB))
    work.archive = buffer.getvalue()


def zipped(content: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return buffer.getvalue()


@fault("D12", by="a cap on cells", points=(0, 9), states=f"{ENDS}, ungradable")
def many_cells(work: Work) -> None:
    """Fifty thousand cells more."""
    cell = dict(new_code_cell("x = 1"))
    work.cells.extend({**cell, "id": f"more{number}"} for number in range(50_000))


@fault("D12b", by="only the texts of cells are taken", points=(0, 9), states="graded, ungradable")
def widget_state(work: Work) -> None:
    """Widgets whose state has 30 MB."""
    work.notebook.metadata.widgets = {"application/vnd.jupyter.widget-state+json": {"state": {"a": "x" * 30_000_000}}}


@fault("D12c", by="a cap on depth, before anything is parsed", points=(0, 9), states="graded, ungradable")
def deep_json(work: Work) -> None:
    """Metadata a hundred thousand lists deep."""
    deep = b"[" * 100_000 + b"]" * 100_000
    work.raw = work.content().replace(b'"metadata": {}', b'"metadata": {"deep": ' + deep + b"}", 1)


@fault("D13", by="limits on threads and time; no graphics card is in the sandbox", points=(0, 9), states=ENDS)
def thread_storm(work: Work) -> None:
    """Thirty-two threads that multiply matrices."""
    work.code("""
        attempt(torch.set_num_threads, 32)
        def multiply(end=time.monotonic() + 8):
            matrix = torch.ones(300, 300)
            while time.monotonic() < end:
                matrix @ matrix
        for _ in range(32):
            attempt(threading.Thread(target=multiply, daemon=True).start)
    """)
