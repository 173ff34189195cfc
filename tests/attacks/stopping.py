"""F: what would end the run for all, or count as a fault of ours, by what one student hands in or puts out."""

from attacks.own import TIMES, WIRE
from attacks.rows import ENDS, cheat, fault
from attacks.work import ARTIFACT, Work

WRITABLE = "text is made writable where it enters"
OWN_PART = "what a program does not do costs its own part"
MB = 2**20


@fault("F80", by=WRITABLE)
def half_a_character(work: Work) -> None:
    """Outputs of each kind, and an answer's error, hold half of a surrogate pair."""
    work.code("""
        from IPython.display import HTML, Markdown, display
        half = chr(0xD83D)
        display(HTML("<b>" + half + "</b>"), Markdown(half), {half: half})
        print(half, file=sys.stderr)
        get_ipython().display_pub.publish({"text/latex": half, "image/png": half})
    """)
    work.add('raise ValueError(chr(0xDC00) + " and " + chr(0xD800))')


@cheat("F81", by=WRITABLE, shows="log")
def line_ends(work: Work) -> None:
    """Messages hold line ends that only Unicode has, and a NUL, and so does the model."""
    work.code("""
        ends = "".join(map(chr, (0x2028, 0x2029, 0x85, 0x0B, 0x0C, 0x1C, 0, 0xD800)))
        class Odd(Exception): pass
        Odd.__name__ = "Odd" + ends
        def mean_square(x):
            raise Odd(ends + "9 of 9" + ends)
    """)
    work.files[ARTIFACT] = b'{"slope": "\\u2028\\u0085\\ud800\\u0000"}'


@fault("F82", by="a whole notebook's outputs are bounded, and the page of feedback", shows="feedback")
def flood_in_many_cells(work: Work) -> None:
    """A hundred cells put out as much as a cell may, of characters that a page writes as five."""
    for _ in range(100):
        work.add('print("<&" * 100_000)')


@fault("F83", by=OWN_PART)
def large_artifacts(work: Work) -> None:
    """Two files just below the limit, which do not both fit on the sandbox's disk."""
    work.files |= {f"artifacts/large-{number}.safetensors": bytes(127 * MB) for number in range(2)}


@fault("F84", by="left out, and said so")
def too_large_artifact(work: Work) -> None:
    """A file of almost 256 MB."""
    work.sparse["artifacts/huge.safetensors"] = 256 * MB - 1


@cheat("F85", by="an artifact that is read as text may only be so large")
def lists_as_artifact(work: Work) -> None:
    """The model's file is 120 MB of empty lists, each of which takes twenty times as much where it is parsed."""
    work.files[ARTIFACT] = b"[[]" + b",[]" * (40 * MB) + b"]"


@fault("F86", by="told to the student, in a verdict", points=0, states="ungradable")
def cells_that_cannot_be_sent(work: Work) -> None:
    """A cell of control characters, which takes six times as much where it is sent."""
    work.add("# " + "\x01" * 1_900_000)


@fault("F87", by=OWN_PART, points=(0, 9), states=ENDS)
def broken_shell(work: Work) -> None:
    """Magics, and the shell that runs the cells is taken apart."""
    work.code("%reset -f\n%xmode Minimal\n%colors linux\n%autocall 2", "fit_slope")
    work.add("get_ipython().run_cell = None")
    work.add("1")


@fault("F88", by="a cell whose names cannot be read runs", points=9, states=ENDS)
def endless_chain(work: Work) -> None:
    """A cell with ten thousand calls one on another, which is too deep for what reads its names."""
    work.add("nobody" + ".a()" * 10_000)


@cheat("F89", by=OWN_PART, states=ENDS, plain=False)
def says_too_large(work: Work) -> None:
    """The student's side says of each cell that its outputs were too large, or that a fault was ours."""
    work.code(WIRE)
    work.code("""
        kinds = [{"student_error": ["too-large", chr(0xD800) + "x" * 1000]}, {"fault": chr(0xD800)}]
        turn = iter(range(10**9))
        change(lambda channel, reply: honest_send(channel, {"nonce": reply["nonce"], **kinds[next(turn) % 2]}))
    """)


@cheat("F90", by="what is kept of a cell is held to limits where it comes in", states=ENDS, plain=False)
def forged_by_the_thousand(work: Work) -> None:
    """Each of three hundred cells is said to have shown thousands of outputs, and to have failed with 6 MB of words."""
    work.code(WIRE)
    work.code("""
        parts = [{"output_type": "stream", "name": "stderr", "text": chr(92) * 40 + chr(0x1F600) + chr(34)},
                 {"output_type": "error", "ename": "E", "evalue": chr(92) * 9, "traceback": [chr(34) * 9] * 9},
                 {"output_type": "display_data", "data": {"text/html": "<&" * 99, "text/plain": [["x"] * 9] * 9}}]
        words = [chr(92) * 3_000_000, ["NameError: name 'x' is not defined"] * 50_000, {"x" * 99: "y" * 6_000_000}]
        turn = iter(range(10**9))
        def forged(channel, reply):
            if is_value(reply) and isinstance(reply["value"], dict) and "outputs" in reply["value"]:
                number = next(turn)
                value = {"ended": "ok", "outputs": parts * (400 if number < 20 else 1), "error": words[number % 3]}
                reply = {**reply, "value": value}
            honest_send(channel, reply)
        change(forged)
    """)
    for _ in range(300):
        work.add("1")


@fault("F91", by=TIMES, points=(0, 9), states=ENDS, plain=False)
def reads_nothing(work: Work) -> None:
    """The process that should answer stops for ever, before a cell that is larger than what a connection holds."""
    work.first("os.kill(os.getpid(), signal.SIGSTOP)", "train_step")
    work.first("# " + "x" * 1_000_000, "fit_slope")


@fault("F92", by="sockets count with all that may wait in them; the kernel counts the rest", points=(3, 9), states=ENDS)
def memory_in_sockets(work: Work) -> None:
    """Fills files in memory, sends them into sockets that nobody reads, and closes them."""
    work.first("""
        import array
        ends, taken = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM), 0
        while taken < 4000 and spare_mb() > 4000:
            held = attempt(os.memfd_create, MARK)
            if held is None or attempt(os.write, held, bytes(2**27)) is None:
                break
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [held]))]
            if attempt(ends[0].sendmsg, [b"x"], rights, socket.MSG_DONTWAIT) is None:
                break
            os.close(held)
            taken += 128
            proof("took-mb", taken) if taken > 3500 else None
    """, "train_step")  # fmt: skip


@cheat("F93", by="groups are not mounted inside, and the doors to them are closed before a student's code runs", states=ENDS)
def leaves_its_group(work: Work) -> None:
    """Looks for a way to move its children into another control group: open doors, mounted groups, groups of its own."""
    work.code("""
        for number in os.listdir("/proc/self/fd"):
            if "cgroup" in str(attempt(os.readlink, f"/proc/self/fd/{number}")):
                proof("door", number)
        for path in glob.glob("/sys/fs/cgroup/**/cgroup.procs", recursive=True):
            with contextlib.suppress(OSError), open(path, "w") as file:
                file.write("0")
                proof("moved", path)
        for kind in ("cgroup", "cgroup2"):
            if attempt(os.mkdir, f"/tmp/{kind}") or subprocess.run(
                ["mount", "-t", kind, "none", f"/tmp/{kind}"], stderr=subprocess.DEVNULL
            ).returncode == 0:
                proof("mounted", kind)
    """)


@cheat("F94", by="what our side of the process needs is imported before; what comes of late imports decides nothing",
       states=ENDS)  # fmt: skip
def imports_come_from_the_student(work: Work) -> None:
    """Each module that is imported from now on is the student's: it equals everything, and can do everything."""
    work.code("""
        import builtins, importlib.abc, importlib.machinery, types
        class All(types.ModuleType):
            __path__, __eq__, __hash__, __bool__ = [], lambda *a: True, lambda self: 0, lambda self: True
            def __getattr__(self, name):
                return self
            def __call__(self, *args, **kwargs):
                return True
        class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
            def find_spec(self, name, path=None, target=None):
                return importlib.machinery.ModuleSpec(name, self, is_package=True)
            def create_module(self, spec):
                return All(spec.name)
            def exec_module(self, module):
                pass
        sys.meta_path.insert(0, Finder())
        honest_import = builtins.__import__
        builtins.__import__ = lambda *args, **kwargs: attempt(honest_import, *args, **kwargs) or All("any")
    """)


@fault("F95", by="outputs are cut where they are made, and a cell has its time", points=(3, 9), states=ENDS)
def updates_for_ever(work: Work) -> None:
    """A picture that is shown anew without end, and an output that is cleared and written again."""
    work.first("""
        from IPython.display import HTML, clear_output, display
        shown = display(HTML("0"), display_id=True)
        while True:
            shown.update(HTML("x" * 1000))
            clear_output(wait=True)
            display({"text/plain": "x", "image/png": "iVBORw0KGgo="}, raw=True, display_id="picture", update=True)
    """, "train_step")  # fmt: skip
