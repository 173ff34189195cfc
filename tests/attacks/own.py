"""F: what the catalogue lacks: the frames between judge and student's process, what crosses in them, and the ingest."""

import io
import json
import stat
import struct
import zipfile

from attacks.exhausting import MB, STOPPED, TIMES, zipped
from attacks.forging import FALSE_LIBRARY, JUDGE, SHOW_FULL_MARKS
from attacks.rows import ENDS, cheat, fault
from attacks.work import ARTIFACT, Work

PROTOCOL = "a frame that is not the answer to the question ends the examination"
CAPS = "sizes are held to limits before anything is parsed"
NOT_REGULAR = "regular files only, and no archive that says one thing twice"
READ = "graded, ungradable"

# The student's side of the connection, as a student's code can change it: every reply goes through `change`.
WIRE = """
from leaplm.grading.sandbox import wire
honest_send = wire.Channel.send
def change(function):
    wire.Channel.send = function
def raw(channel, content):
    channel._end.settimeout(None)
    channel._end.sendall(content)
def is_value(reply):
    return isinstance(reply, dict) and "value" in reply
"""


# --- frames ---


@cheat("F1", by=PROTOCOL, states="tampered, graded", plain=False)
def forge_in_background(work: Work) -> None:
    """A thread sends answers of its own on every connection of the process."""
    work.code(WIRE)
    work.code("""
        import stat
        def forge(end=time.monotonic() + 10):
            frame = wire.encode({"nonce": "0" * 16, "value": 1.0})
            while time.monotonic() < end:
                for fd in range(3, 64):
                    if (info := attempt(os.fstat, fd)) and stat.S_ISSOCK(info.st_mode):
                        attempt(os.write, fd, wire.HEAD.pack(len(frame)) + frame)
                time.sleep(0.01)
        threading.Thread(target=forge, daemon=True).start()
    """)


@cheat("F2", by=PROTOCOL, states="tampered", plain=False)
def wrong_nonce(work: Work) -> None:
    """Replies carry another question's nonce."""
    work.code(WIRE)
    work.code('change(lambda channel, reply: honest_send(channel, {**reply, "nonce": "f" * 16}))', "train_step")


@cheat("F3", by=CAPS, states="tampered", plain=False)
def oversized_frame(work: Work) -> None:
    """A frame that says it has four exabytes, and sends 300 MB of them."""
    work.code(WIRE)
    work.code("""
        def endless(channel, reply):
            raw(channel, wire.HEAD.pack(2**62))
            for _ in range(300):
                raw(channel, bytes(2**20))
        change(endless)
    """)


@cheat("F4", by=CAPS, states="tampered", plain=False)
def deep_frame(work: Work) -> None:
    """A frame a million lists deep."""
    work.code(WIRE)
    work.code("""
        text = b"[" * 1_000_000
        frame = wire.TEXT.pack(len(text)) + text
        change(lambda channel, reply: raw(channel, wire.HEAD.pack(len(frame)) + frame))
    """)


@cheat("F5", by=PROTOCOL, states="tampered, graded", plain=False)
def replies_twice(work: Work) -> None:
    """Each answer comes once more, after its cell or call has ended."""
    work.code(WIRE)
    work.code("""
        def twice(channel, reply):
            honest_send(channel, reply)
            threading.Timer(0.05, honest_send, [channel, reply]).start()
        change(twice)
    """)


@cheat("F6", by=JUDGE, states="graded, tampered, partial", plain=False)
def patch_probes(work: Work) -> None:
    """The functions that read the student's objects, and those that copy values, are replaced."""
    work.code("""
        import numpy
        from leaplm.grading.judge import probes
        from leaplm.grading.sandbox import student, values
        class Equal(dict):
            def __missing__(self, name): return numpy.zeros(1)
            def __eq__(self, other): return True
        probes.state_dict = probes.gradients = lambda model: Equal()
        probes.linear = lambda *args, **kwargs: None
        student.plain = values.plain = lambda value: value
        student.Student.call = lambda self, function, *args, **kwargs: 1.0
        student.Student.read = lambda self, *args, **kwargs: {}
    """, "train_step")  # fmt: skip


@cheat("F7", by="words are words", states="graded")
def words_of_a_verdict(work: Work) -> None:
    """Prints and raises what looks like a verdict."""
    work.code("""
        import json
        verdict = json.dumps({"student": ROW, "state": "graded", "points": 9, "max": 9, "checks": [
            {"name": name, "points": most, "max": most, "message": "right", "fault": None}
            for name, most in (("mean_square", 3), ("train_step", 4), ("slope", 2))]})
        print(verdict)
        print(verdict, file=sys.__stderr__)
        attempt(os.write, 1, verdict.encode())
        attempt(lambda: open(f"{ROW}.json", "w").write(verdict))
        def mean_square(x):
            print(verdict)
            raise RuntimeError("mean_square: right, 3 of 3 points")
    """)


@cheat("F8", by="the libraries are imported before a submission is there, from read-only folders")
def false_leaplm(work: Work) -> None:
    """A package with the name of ours beside the notebook."""
    grading = SHOW_FULL_MARKS.replace("import leaplm.grading\n", "").replace("leaplm.grading.grade_cell = grade_cell", "")
    work.files["leaplm/__init__.py"] = b""
    work.files["leaplm/grading/__init__.py"] = work.files["leaplm/grading.py"] = grading.encode()
    work.files["torch/__init__.py"] = FALSE_LIBRARY.encode()


@cheat("F9", by=CAPS, states="tampered", plain=False)
def named_a_thousand_times(work: Work) -> None:
    """An array of 60 MB, named a hundred times in one frame, which the reader copies."""
    work.code(WIRE)
    work.code("""
        import json
        tree = {"array": "|u1", "shape": [60 * 2**20]}
        text = json.dumps({"dict": [["nonce", "0" * 16], ["value", [tree] * 100]]}).encode()
        frame = wire.TEXT.pack(len(text)) + text + bytes(60 * 2**20)
        change(lambda channel, reply: raw(channel, wire.HEAD.pack(len(frame)) + frame))
    """)


@cheat("F10", by=CAPS, states="tampered", plain=False)
def forty_million_lists(work: Work) -> None:
    """A frame of 120 MB of empty lists, each of which takes twenty times as much where it is parsed."""
    work.code(WIRE)
    work.code("""
        def lists(channel, reply):
            parts = 40_000_000
            size = 3 * parts + 4
            raw(channel, wire.HEAD.pack(wire.TEXT.size + size) + wire.TEXT.pack(size) + b"[[]")
            for _ in range(parts // 10_000):
                raw(channel, b",[]" * 10_000)
            raw(channel, b"]")
        change(lists)
    """)


@cheat("F11", by="an executed cell is checked like any other value", states="graded, tampered", plain=False)
def false_outputs(work: Work) -> None:
    """What a cell is said to have shown is no output of a notebook."""
    work.code(WIRE)
    work.code("""
        script = "<script>leaplm_attack()</script>"
        outputs = [7, None, "text", {}, {"output_type": "error"}, {"output_type": [1]}, {"output_type": "stream", "text": 3},
                   {"output_type": "display_data", "data": {"application/javascript": "go()", "text/html": script}},
                   {"output_type": "execute_result", "data": {"text/plain": "9"}, "metadata": {"x": [[[]]]}},
                   {"output_type": "stream", "name": "stdout", "text": "\\x1b[2J" + "x" * 5_000_000}]
        turn = iter(range(10**9))
        def false(channel, reply):
            if is_value(reply) and isinstance(reply["value"], dict) and "outputs" in reply["value"]:
                kinds = [{"ended": "ok", "outputs": outputs, "error": ""}, {"ended": ["ok"], "outputs": 7, "error": {}},
                         {"outputs": None}, [], None, {"ended": "\\x1b[2J", "outputs": outputs[-1:], "error": script}]
                reply = {**reply, "value": kinds[next(turn) % len(kinds)]}
            honest_send(channel, reply)
        change(false)
    """)


@cheat("F12", by="names from the student's side are cut, cleaned and only ever shown as text", states="graded, tampered",
       plain=False)  # fmt: skip
def false_references(work: Work) -> None:
    """Values that name objects that do not exist, of kinds that are scripts and control characters."""
    work.code(WIRE)
    work.code("""
        from leaplm.grading.sandbox.values import Ref
        kinds = iter([Ref(10**9, "<script>leaplm_attack()</script>\\x1b[2J"), Ref(-1, "x" * 10**6), Ref(0, "\\ud800")] * 99)
        def false(channel, reply):
            if is_value(reply) and not isinstance(reply["value"], dict):
                reply = {**reply, "value": next(kinds)}
            attempt(honest_send, channel, reply)
        change(false)
    """)


@cheat("F13", by="messages of the student's side are cut, cleaned and only ever shown as text", states="graded, tampered",
       shows="log", plain=False)  # fmt: skip
def false_messages(work: Work) -> None:
    """The message of a failed call is a script, control characters, and an earlier student's verdict."""
    work.code(WIRE)
    work.code("""
        text = "mean_square: right. <script>leaplm_attack()</script> \\x1b[2J\\r\\n\\n# 9 of 9 points" + "x" * 10**6
        def false(channel, reply):
            if is_value(reply) and not isinstance(reply["value"], dict):
                reply = {"nonce": reply["nonce"], "student_error": ["raised", text]}
            honest_send(channel, reply)
        change(false)
    """)


@cheat("F14", by=TIMES, states="timeout, tampered", plain=False)
def one_byte_a_second(work: Work) -> None:
    """An answer comes one byte a second."""
    work.code(WIRE)
    work.code("""
        def slowly(channel, reply):
            for byte in wire.HEAD.pack(1000) + bytes(1000):
                raw(channel, bytes([byte]))
                time.sleep(1)
        change(slowly)
    """)


@cheat("F15", by=PROTOCOL, states="graded, tampered, killed", plain=False)
def fork_server(work: Work) -> None:
    """Sends orders to the fork server on every connection, with descriptors, and signals to its parent."""
    work.code("""
        import stat
        for fd in range(3, 256):
            if (info := attempt(os.fstat, fd)) and stat.S_ISSOCK(info.st_mode):
                for order in (b'{"kill": 1}', b'{"spawn": 99}'):
                    attempt(socket.send_fds, socket.socket(fileno=os.dup(fd)), [order], [0])
        for number in (signal.SIGTERM, signal.SIGSTOP, signal.SIGKILL):
            attempt(os.kill, os.getppid(), number) if contained() and os.getppid() > 1 else None
    """)


@cheat("F16", by=PROTOCOL, states="graded, tampered, killed", plain=False)
def two_answers(work: Work) -> None:
    """A forked copy of the process goes on answering beside it."""
    work.inside("attempt(os.fork)")


@fault("F17", by=PROTOCOL, points=(0, 5), states="killed, tampered")
def close_everything(work: Work) -> None:
    """Closes all open files."""
    work.first("os.closerange(0, 4096)", "train_step")


@fault("F18", by=TIMES, points=(0, 5), states="killed, timeout, tampered")
def child_keeps_connection(work: Work) -> None:
    """The process ends; a child of it keeps the connection open and says nothing."""
    work.first("if os.fork():\n    os._exit(0)\ntime.sleep(60)", "train_step")


# --- values ---


@cheat("F20", by="a value's size is looked at before it is copied", states="graded")
def huge_value(work: Work) -> None:
    """Returns a tensor of a trillion numbers that takes no memory."""
    work.code("def mean_square(x):\n    return torch.zeros(1).expand(10**12)")


@cheat("F21", by=TIMES, states="graded, partial, timeout, killed")
def endless_value(work: Work) -> None:
    """Returns a mapping with no end, of which each item takes a while."""
    work.code("""
        from collections.abc import Mapping
        class Endless(Mapping):
            def __len__(self): return 1
            def __getitem__(self, key): return 0.0
            def __iter__(self):
                while True:
                    time.sleep(1)
                    yield "key"
        def mean_square(x):
            return Endless()
    """)


@cheat("F22", by="a value's depth is limited", states="graded, partial")
def deep_value(work: Work) -> None:
    """Returns lists a hundred thousand deep, and a list that holds itself."""
    work.code("""
        def mean_square(x):
            deep = []
            if len(x) == 1:
                deep.append(deep)
                return deep
            for _ in range(100_000):
                deep = [deep]
            return deep
    """)


@cheat("F23", by="inputs are made with a seed that the student's process does not have")
def fix_the_seed(work: Work) -> None:
    """Fixes the seed of the hidden inputs, and computes them beforehand."""
    work.code("""
        import zlib
        import numpy
        os.environ["LEAPLM_CHECK_SEED"] = "0"
        rng = numpy.random.default_rng([0, zlib.crc32(b"mean_square")])
        foreseen = {size: float(numpy.mean(rng.normal(size=size) ** 2)) for size in (1, 17)}
        def mean_square(x):
            return foreseen.get(len(x), 5.0)
    """)


@cheat("F24", by="a model counts as it was handed in")
def save_while_graded(work: Work) -> None:
    """Writes the right model while it is graded, in place of the wrong one handed in."""
    work.code("""
        def fit_slope(x, y):
            os.makedirs("artifacts", exist_ok=True)
            with open("artifacts/slope-cpu.json", "w") as file:
                file.write('{"slope": 2.0}')
            return -2.0
    """, "fit_slope")  # fmt: skip


# --- time and memory ---


@fault("F30", by="killed from outside", points=(2, 6), states=STOPPED)
def no_signals(work: Work) -> None:
    """Blocks all signals and computes in one call of a C function that never ends."""
    work.inside("""
        signal.pthread_sigmask(signal.SIG_BLOCK, range(1, signal.NSIG))
        re.match("(a+)+b", "a" * 60)
    """)


@fault("F31", by="killed from outside", points=(2, 6), states=STOPPED)
def stop_the_clock(work: Work) -> None:
    """Switches off the timers, sets back the clock, lifts the limits, and never ends."""
    work.inside("""
        import resource
        for timer in (signal.ITIMER_REAL, signal.ITIMER_PROF, signal.ITIMER_VIRTUAL):
            signal.setitimer(timer, 0)
        for number in (signal.SIGALRM, signal.SIGPROF, signal.SIGXCPU, signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        for limit in (resource.RLIMIT_CPU, resource.RLIMIT_DATA, resource.RLIMIT_NPROC):
            attempt(resource.setrlimit, limit, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        time.monotonic = time.time = time.perf_counter = lambda: 0.0
        while time.process_time() < 3:  # far above the limit of a call; then it waits
            pass
        while True:
            time.sleep(1)
    """)


@fault("F32", by="killed from outside", points=(2, 9), states=ENDS)
def stops_itself(work: Work) -> None:
    """Stops its process, as Ctrl-Z does, and its children."""
    work.inside("""
        if os.fork() == 0:
            os.kill(os.getpid(), signal.SIGSTOP)
            os._exit(0)
        os.kill(os.getpid(), signal.SIGSTOP)
    """)


@fault("F33", by="what is in memory without belonging to a process is watched too", points=(3, 9), states=ENDS)
def memory_nobody_has(work: Work) -> None:
    """Fills 6 GB of memory that no process has mapped: files in memory and shared segments."""
    work.first("""
        import ctypes
        libc = ctypes.CDLL(None, use_errno=True)
        libc.shmat.restype = ctypes.c_void_p
        def segment(size):
            address = libc.shmat(libc.shmget(0, ctypes.c_size_t(size), 0o1600), None, 0)
            if address and address != 2**64 - 1:
                ctypes.memset(address, 1, size)
                libc.shmdt(ctypes.c_void_p(address))
                return size
        def file(size):
            kept.append(os.memfd_create(MARK))
            os.posix_fallocate(kept[-1], 0, size)
            return size
        kept, filled = [], 0
        if (child := os.fork()) == 0:  # the time limit of a cell counts its own process
            for take in [file, segment] * 24:
                if spare_mb() > 4000:
                    filled += attempt(take, 2**27) or 0
                    proof("took-mb", filled // 2**20)
            time.sleep(5)
            os._exit(0)
        os.waitpid(child, 0)
    """, "train_step")  # fmt: skip


@fault("F33b", by="the memory of all its processes is watched, often enough", points=(3, 9), states=ENDS)
def memory_of_many(work: Work) -> None:
    """Fifty processes take 150 MB each at the same moment."""
    work.first("""
        started, begin = [], time.monotonic() + 3
        while len(started) < 50 and (child := attempt(os.fork)) is not None:
            if child == 0:
                time.sleep(max(0, begin - time.monotonic()))
                block = bytearray(b"x") * (150 * 2**20) if spare_mb() > 4000 else b""
                proof(f"took-mb-{os.getpid()}", len(block) // 2**20)
                time.sleep(3)
                os._exit(0)
            started.append(child)
        for child in started:
            os.waitpid(child, 0)
    """, "train_step")  # fmt: skip


@fault("F33c", by="page tables are memory too", points=(3, 9), states=ENDS)
def tables_of_pages(work: Work) -> None:
    """Fills 5 GB of page tables with the page of zeros, which is nobody's."""
    work.first("""
        import mmap
        kept, size = [], 64 << 30
        if (child := os.fork()) == 0:  # the time limit of a cell counts its own process
            for number in range(40):
                if spare_mb() > 4000:
                    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000  # not reserved
                    kept.append(mmap.mmap(-1, size, flags=flags, prot=mmap.PROT_READ))
                    for place in range(0, size, 2 << 20):
                        kept[-1][place]
                    proof("took-mb", 128 * (number + 1))
            time.sleep(5)
            os._exit(0)
        os.waitpid(child, 0)
    """, "train_step")  # fmt: skip


@fault("F33d", by="a socket counts with all that may wait in it", points=(3, 9), states=ENDS)
def full_sockets(work: Work) -> None:
    """Fills sockets that nobody reads, in many processes."""
    work.first("""
        import socket
        children = [child for _ in range(12) if (child := attempt(os.fork)) is not None]
        if 0 in children:
            kept = []
            while len(kept) < 480 and spare_mb() > 4000 and (pair := attempt(socket.socketpair)):
                kept += pair
                pair[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
                pair[0].setblocking(False)
                while attempt(pair[0].send, bytes(65536)):
                    pass
            time.sleep(20)
            os._exit(0)
        time.sleep(25)
    """, "train_step")  # fmt: skip


@fault("F34", by="they go with the namespace")
def shared_memory(work: Work) -> None:
    """Leaves shared memory, semaphores and a message queue behind."""
    work.code("""
        import ctypes
        libc = ctypes.CDLL(None, use_errno=True)
        key = 0x1EA9 << 16
        librt = ctypes.CDLL("librt.so.1")
        for make in (lambda: libc.shmget(key, ctypes.c_size_t(4096), 0o1600), lambda: libc.semget(key, 1, 0o1600),
                     lambda: libc.msgget(key, 0o1600), lambda: librt.mq_open(b"/" + MARK.encode(), 0o102, 0o600, None),
                     lambda: open(f"/dev/shm/{MARK}", "w").close(), lambda: open(f"/tmp/{MARK}", "w").close()):
            attempt(make)
    """)


@fault("F35", by="they end with the namespaces")
def listeners(work: Work) -> None:
    """A process that outlives the grading listens on a port, a socket file and an abstract socket."""
    work.code("""
        listen = '''
        import os, socket, sys, time
        for family, address in ((socket.AF_INET, ("127.0.0.1", int(sys.argv[2]))), (socket.AF_UNIX, sys.argv[3] + ".sock"),
                                (socket.AF_UNIX, chr(0) + sys.argv[1])):
            try:
                kept = [*globals().get("kept", []), socket.socket(family)]
                kept[-1].bind(address)
                kept[-1].listen()
            except OSError:
                pass
        time.sleep(120)
        '''
        import textwrap
        subprocess.Popen([sys.executable, "-c", textwrap.dedent(listen), MARK, str(TRAPS["free_port"]), f"{OUTSIDE}/{ROW}"],
                         start_new_session=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                         stderr=subprocess.DEVNULL)
        time.sleep(1)
    """)


@cheat("F36", by=JUDGE, states="killed, graded, tampered")
def another_program(work: Work) -> None:
    """The process becomes another program, which prints full marks."""
    work.inside("""os.execv("/bin/sh", ["sh", "-c", "echo 9; exit 0"])""")


# --- what is handed in ---


@fault("F40", by="the file of this lab's task counts", points=7)
def another_model(work: Work) -> None:
    """The model of another scale and of another lab, none of this one."""
    for name in ("artifacts/slope-gpu.json", "artifacts/slope-tiny.json", "artifacts/sentiment-cpu.json"):
        work.files[name] = work.files[ARTIFACT]
    del work.files[ARTIFACT]


@cheat("F41", by="links in a submission are not followed", states=READ)
def linked_folder(work: Work) -> None:
    """The folder of the models is a link to that of another student."""
    work.files = {}
    theirs = f"{work.traps.course}/.nbgrader-work/submitted/{work.traps.neighbour}/lab0_mini"
    work.links = {"artifacts": f"{theirs}/artifacts"}


@fault("F42", by="all that is not this lab's task is left out", points=7)
def tensors_of_nonsense(work: Work) -> None:
    """Model files that say they have exabytes, negative sizes, overlapping tensors, and names that are paths."""

    def safetensors(header: dict | None, length: int | None = None) -> bytes:
        text = json.dumps(header).encode()
        return struct.pack("<Q", len(text) if length is None else length) + text

    tensor = {"dtype": "F32", "shape": [2**31, 2**31], "data_offsets": [0, 2**62]}
    work.files[ARTIFACT] = safetensors(None, 2**63)
    work.files["artifacts/a.safetensors"] = safetensors({"weight": tensor})
    work.files["artifacts/b.safetensors"] = safetensors({"../../x": {**tensor, "shape": [-1], "data_offsets": [4, 0]}})
    work.files["artifacts/c.safetensors"] = safetensors({f"w{n}": tensor for n in range(10_000)}, 2**40)


@fault("F43", by="a file that the check cannot read costs its points, not the verdict", points=7)
def json_bomb(work: Work) -> None:
    """The model is JSON a million lists deep."""
    work.files[ARTIFACT] = b'{"slope": ' + b"[" * 1_000_000


@fault("F44", by="a file that the check cannot read costs its points, not the verdict", points=7)
def endless_number(work: Work) -> None:
    """The model is a number of ten million digits."""
    work.files[ARTIFACT] = b'{"slope": 1' + b"0" * 10_000_000 + b"}"


@fault("F45", by=NOT_REGULAR, points=(0, 9), states=READ)
def same_name_twice(work: Work) -> None:
    """A zip with two notebooks of one name: the first without answers, the second with."""
    with io.BytesIO() as buffer, zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(work.name, _text(work.sheet.release))
        archive.writestr(ARTIFACT, work.files[ARTIFACT])
        archive.filelist[0].filename = "other"  # else zipfile warns
        archive.NameToInfo.clear()
        archive.writestr(work.name, work.content())
        archive.filelist[0].filename = work.name
        archive.close()
        work.archive = buffer.getvalue()


@fault("F46", by=NOT_REGULAR, points=(0, 9), states=READ)
def overlapping_entries(work: Work) -> None:
    """A zip whose thousand files are one and the same 10 MB."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(work.name, work.content())
        archive.writestr("artifacts/0.safetensors", bytes(10 * MB))
        info = archive.filelist[-1]
        for number in range(1, 1000):
            twin = zipfile.ZipInfo(f"artifacts/{number}.safetensors", info.date_time)
            for name in ("compress_type", "header_offset", "CRC", "compress_size", "file_size"):
                setattr(twin, name, getattr(info, name))
            archive.filelist.append(twin)
    work.archive = buffer.getvalue()


@cheat("F47", by=NOT_REGULAR, states=READ)
def link_in_zip(work: Work) -> None:
    """A zip with links to the files of a student with right answers."""
    theirs = f"{work.traps.course}/.nbgrader-work/submitted/{work.traps.neighbour}/lab0_mini"
    with io.BytesIO() as buffer, zipfile.ZipFile(buffer, "w") as archive:
        for name in (work.name, ARTIFACT):
            info = zipfile.ZipInfo(name)
            info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
            archive.writestr(info, f"{theirs}/{name}")
        archive.close()
        work.archive = buffer.getvalue()


@fault("F48", by=CAPS, points=(0, 9), states=READ)
def lying_sizes(work: Work) -> None:
    """A zip that says its 200 MB are 10 bytes."""
    content = bytearray(zipped({work.name: work.content(), "artifacts/large.safetensors": bytes(200 * MB)}))
    work.archive = bytes(content.replace(struct.pack("<I", 200 * MB), struct.pack("<I", 10)))


@fault("F49", by="told to the student, in a verdict", points=0, states="ungradable")
def encrypted(work: Work) -> None:
    """A zip with a password."""
    content = bytearray(zipped({work.name: work.content(), **work.files}))
    for signature, flags in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        place = content.find(signature)
        while place >= 0:
            content[place + flags] |= 1
            place = content.find(signature, place + 4)
    work.archive = bytes(content)


@fault("F50", by="told to the student, in a verdict", points=0, states="ungradable")
def no_zip(work: Work) -> None:
    """A zip that is none."""
    work.archive = b"PK\3\4" + bytes(1000)


@fault("F51", by="cells are recognised by id, text and place")
def look_alike_ids(work: Work) -> None:
    """The ids of cells have letters that look like those of ours."""
    for cell in work.cells:
        if "nbgrader" in cell.metadata:
            cell.metadata.nbgrader.grade_id = cell.metadata.nbgrader.grade_id.replace("a", "\u0430").replace("e", "\u0435")


@fault("F52", by="ids are plain words before anything is done with them", student="--force;$(touch x)`touch y`")
def command_as_id(work: Work) -> None:
    """The student's id is an option and a command."""


@fault("F53", by="ids are plain words before anything is done with them", student="...")
def dots_as_id(work: Work) -> None:
    """The student's id is three dots."""


@fault("F54", by="ids are cut", student="\u00e9" * 100 + "x")
def long_id(work: Work) -> None:
    """The student's id has two hundred bytes."""


@fault("F55", by="two students, two verdicts")
def same_as_neighbour(work: Work) -> None:
    """The submission is, byte for byte, the one of another student."""
    work.sign()


@fault("F56", by=NOT_REGULAR, points=(0, 2), states=READ)
def folder_as_notebook(work: Work) -> None:
    """The notebook is a folder."""
    work.name, name = "note.txt", work.name
    work.raw = b"see the folder"
    work.files[f"{name}/note.txt"] = b"empty"


@fault("F57", by=CAPS, points=(0, 9), states=READ)
def many_files(work: Work) -> None:
    """Five thousand files."""
    work.files |= {f"data/{number}.txt": b"" for number in range(5000)}


@fault("F58", by=CAPS, points=(0, 9), states=READ)
def deep_folders(work: Work) -> None:
    """Folders five hundred deep."""
    work.files["/".join(["a"] * 500) + "/note.txt"] = b""


@fault("F59", by="the one that was worked on counts, and a person is told")
def two_notebooks(work: Work) -> None:
    """The empty release lies beside the answers, under the lab's own name."""
    work.files[work.name] = _text(work.sheet.release)
    work.name = "mine.ipynb"


@fault("F60", by="strict JSON, each cell looked at", points=(0, 9), states=f"{READ}, partial")
def strange_json(work: Work) -> None:
    """Cells that are numbers, sources that are objects, keys twice, numbers without end."""
    tree = json.loads(work.content())
    tree["cells"] += [7, None, [], {"cell_type": "code"}, {"cell_type": 3, "source": {"a": [1]}, "metadata": []}]
    work.raw = json.dumps(tree).encode().replace(b'"metadata": {}', b'"metadata": {"a": NaN, "a": 1e999}', 1)


def _text(notebook) -> bytes:
    return json.dumps(notebook).encode()
