"""C: other students, the grader, and the machine."""

from attacks.rows import ENDS, cheat, fault
from attacks.work import Work

UNSEEN = "the gradebook, the course and other submissions are not in the sandbox"
SCRIPT = "<script>leaplm_attack()</script>"


@cheat("C1", by=UNSEEN)
def gradebook(work: Work) -> None:
    """Writes marks into the gradebook and into the kept verdicts."""
    work.code("""
        import json, sqlite3
        def update(path):
            with sqlite3.connect(path, timeout=2) as base:
                base.execute("update grade set manual_score = 99")
        for path in files(WORK, "/proc/1/root" + WORK):
            if path.endswith(".db"):
                attempt(update, path)
            if "verdicts" in path and path.endswith(".json"):
                with contextlib.suppress(OSError), open(path, "w") as file:
                    json.dump({"student": "anybody", "points": 99, "state": "graded"}, file)
    """)


@fault("C2", by="a process namespace of its own", states=ENDS, points=(0, 9))
def kill_everything(work: Work) -> None:
    """Kills its parent, its process group and every process it can see."""
    work.code("""
        if contained():
            for pid in [os.getppid(), *pids()]:
                attempt(os.kill, pid, signal.SIGKILL) if pid > 1 else None
            attempt(os.kill, -1, signal.SIGKILL)
    """)


@cheat("C3", by="read-only libraries, a home for one submission only")
def stay_for_the_next(work: Work) -> None:
    """Leaves start-up files for the next student's kernel, which then shows no points in each test."""
    work.code("""
        import site
        start = "from IPython import get_ipython\\n"
        start += "get_ipython().events.register('pre_run_cell', lambda info: get_ipython().displayhook(0.0) "
        start += "if 'grade_cell' in info.raw_cell else None)\\n"
        start += f"open({OUTSIDE!r} + '/{ROW}-ran-elsewhere', 'w').close()\\n"
        for home in {os.path.expanduser("~"), TRAPS["home"]}:
            folder = home + "/.ipython/profile_default/startup"
            with contextlib.suppress(OSError):
                os.makedirs(folder, exist_ok=True)
                open(folder + "/00.py", "w").write(start)
        for folder in [*site.getsitepackages(), *sys.path]:
            with contextlib.suppress(OSError):
                open(f"{folder or '.'}/{MARK}.pth", "w").write("# does no harm\\n")
    """)


@fault("C4", by=UNSEEN)
def overwrite_others(work: Work) -> None:
    """Empties every other submission and everything that was graded."""
    work.code("""
        for path in files(*(f"{WORK}/{name}" for name in ("submitted", "autograded", "verdicts"))):
            if ROW not in path:
                with contextlib.suppress(OSError):
                    open(path, "w").close()
    """)


@fault("C5", by="it ends with the process namespace")
def daemon(work: Work) -> None:
    """Starts a process that is to outlive the grading."""
    work.code("""
        command = [MARK, "-c", f"for i in $(seq 120); do : > {OUTSIDE}/{ROW}-alive; sleep 1; done"]
        subprocess.Popen(command, executable="/bin/sh", start_new_session=True, stdin=subprocess.DEVNULL,
                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    """)


@fault("C6", by="stderr never scores")
def late_stderr(work: Work) -> None:
    """A thread prints warnings for ever, also while the tests run."""
    work.code("""
        def warn():
            while True:
                print("careful", file=sys.stderr, flush=True)
                time.sleep(0.01)
        threading.Thread(target=warn, daemon=True).start()
    """)


@fault("C7", by="what a student wrote is shown as text", points=6, shows="feedback")
def script(work: Work) -> None:
    """A script in the outputs, in the written answer, and in the name of an error."""
    work.cell("why").source = f"Because. {SCRIPT} <img src=x onerror=leaplm_attack()>"
    work.code(f"""
        from IPython.display import HTML, display
        display(HTML({SCRIPT!r}))
        print({SCRIPT!r})
        def mean_square(x):
            raise type({SCRIPT!r}, (ValueError,), {{}})({SCRIPT!r})
    """)


@fault("C8", by="quoted cells, and none that begins a formula", shows="export", student='=1+1,"C8"')
def formula(work: Work) -> None:
    """The student's name is a formula, with a comma and quotation marks."""


@fault("C9", by="control characters are taken out", points=6, shows="log")
def control_characters(work: Work) -> None:
    """Control characters, to a terminal that shows messages, in prints and in the name of an error."""
    work.code("""
        print("\\x1b]0;owned\\x07\\x1b[2J\\x1b[31m")
        def mean_square(x):
            raise type("\\x1b]0;leaplm_attack\\x07\\x1b[2J", (ValueError,), {})("\\x1b[2J")
    """)


@fault("C10", by="no new privileges, no capabilities, few devices; a bug of the kernel itself is not tried")
def escape(work: Work) -> None:
    """Tries what gets a process out of a box: setuid programs, namespaces, mounts, chroot, ptrace, other roots."""
    work.code("""
        import ctypes
        libc = ctypes.CDLL(None, use_errno=True)
        here = os.getcwd()
        for call in (lambda: os.setuid(0), lambda: libc.unshare(0x10000000 | 0x20000), lambda: os.chroot("/proc/1/root"),
                     lambda: libc.mount(b"/", b"/mnt", None, 4096, None), lambda: libc.umount2(b"/student", 2),
                     lambda: libc.ptrace(16, os.getppid(), 0, 0), lambda: os.mknod("disk", 0o60600, os.makedev(254, 0)),
                     lambda: os.chroot("."), lambda: [os.chdir("..") for _ in range(20)]):
            attempt(call) if contained() else None
        for program in ("su", "mount", "sudo", "unshare", "nsenter", "bwrap", "ping"):
            attempt(subprocess.run, [program, "--help"], capture_output=True, timeout=2)
        attempt(subprocess.run, ["unshare", "-Urm", "mount", "-t", "proc", "proc", "/proc"], capture_output=True, timeout=2)
        doors = [f"/proc/{pid}/{to}" for pid in (1, "self", *pids()) for to in ("root", "root/..", "cwd")]
        for root in doors:
            attempt(lambda: open(f"{root}{OUTSIDE}/{ROW}-through-{root.replace('/', '.')}", "w").close())
        os.chdir(here)
    """)
