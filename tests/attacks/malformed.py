"""E: submissions damaged by an editor, by accident or on purpose. What can be read of them counts in full."""

import copy
import json
import pickle

import nbformat
from mini import LAB

from attacks.exhausting import zipped
from attacks.rows import ENDS, cheat, fault
from attacks.work import ARTIFACT, Work

OURS = "the notebook is rebuilt on our own; only texts of cells are taken"
UNREADABLE = "told to the student, in a verdict"
LOST = (3, 5)  # of 9: the checks before and after the answer that is lost


@fault("E1", by=OURS)
def duplicate_ids(work: Work) -> None:
    """A test and an answer were copied, with their ids."""
    for cell in (work.cell("check_mean_square"), work.cell("train_step")):
        work.cells.append(copy.deepcopy(cell))


@fault("E2", by=OURS)
def schema_version(work: Work) -> None:
    """nbgrader's schema version is 99 in some cells and missing in the others."""
    for number, cell in enumerate(cell for cell in work.cells if "nbgrader" in cell.metadata):
        if number % 2:
            cell.metadata.nbgrader.schema_version = 99
        else:
            del cell.metadata.nbgrader["schema_version"]


@fault("E3", by=OURS)
def deleted_test(work: Work) -> None:
    """A test cell was deleted."""
    work.cells.remove(work.cell("check_mean_square"))


@fault("E4", by="cells are recognised by their text and place")
def no_metadata(work: Work) -> None:
    """All metadata and cell ids are gone, as some editors leave it."""
    for cell in work.cells:
        cell.metadata = nbformat.from_dict({})
        del cell["id"]
    work.notebook.nbformat_minor = 4


@fault("E5", by=OURS)
def hundred_points(work: Work) -> None:
    """Each test is worth a hundred points."""
    for cell in work.checks:
        cell.metadata.nbgrader.points = 100


@cheat("E6", by=OURS)
def locked_cells(work: Work) -> None:
    """Locked cells and tests were changed to show full marks."""
    for cell in (*work.checks, work.cell("setup"), work.cell("save_slope")):
        cell.source += "\nget_ipython().displayhook('passed')"


@fault("E7", by=OURS)
def flags(work: Work) -> None:
    """The flags of nbgrader say that tests are answers and answers tests."""
    for cell in work.cells:
        if "nbgrader" in cell.metadata:
            marks = cell.metadata.nbgrader
            marks.update(grade=not marks.grade, solution=not marks.solution)


@fault("E8", by=OURS)
def test_as_text(work: Work) -> None:
    """The tests became Markdown cells."""
    work.notebook.cells = [
        nbformat.v4.new_markdown_cell(cell.source, metadata=cell.metadata, id=cell.id) if cell in work.checks else cell
        for cell in work.cells
    ]


@fault("E9", by=UNREADABLE, points=(0, 2), states="graded, ungradable")
def cut_off(work: Work) -> None:
    """The file is cut off in the middle."""
    work.raw = work.content()[:2000]


@fault("E10", by=UNREADABLE, points=(0, 2), states="graded, ungradable")
def not_text(work: Work) -> None:
    """The file is not UTF-8."""
    work.raw = b"\xff\xfe" + work.content().decode().encode("utf-16")


@fault("E11", by="converted, or told", points=(0, 9), states="graded, ungradable")
def version_3(work: Work) -> None:
    """A notebook of format 3."""
    work.raw = nbformat.writes(nbformat.convert(copy.deepcopy(work.notebook), 3), version=3).encode()


@fault("E12", by=UNREADABLE, points=(0, 9), states="graded, ungradable")
def version_9(work: Work) -> None:
    """A notebook of format 9."""
    work.raw = json.dumps({**json.loads(work.content()), "nbformat": 9}).encode()


@fault("E13", by="the only notebook there is counts, whatever its name")
def renamed(work: Work) -> None:
    """The file has another name."""
    work.name = f"Kopie von {LAB} (1).ipynb"


@cheat("E14", by="nothing is worth nothing, and there is a verdict")
def empty(work: Work) -> None:
    """All answers are empty."""
    for name in ("mean_square", "train_step", "fit_slope", "why"):
        work.cell(name).source = ""


@cheat("E14b", by="nothing is worth nothing, and there is a verdict", states="graded, ungradable")
def no_cells(work: Work) -> None:
    """A notebook without cells."""
    work.notebook.cells = []


@fault("E15", by="when it came is read from what received it, never from the upload")
def timestamp(work: Work) -> None:
    """A time stamp that is none."""
    work.files["timestamp.txt"] = b"the day before yesterday\n\n"


@fault("E16", by="ids are brought to one form", student="Žofia-李\u0301")
def unicode_names(work: Work) -> None:
    """Names of student and files in other scripts, composed and decomposed."""
    work.files["Ergebnis-\u00e4.txt"] = work.files["Ergebnis-a\u0308.txt"] = b"note"


@fault("E17", by="a cell that Python cannot read costs its own points only", points=(0, 9), states="graded, ungradable")
def null_byte(work: Work) -> None:
    """A null byte in the text of an answer."""
    work.cell("train_step").source += "\n\x00"


@fault("E18", by="nobody is there to ask, and the student is told", points=5)
def asks_for_input(work: Work) -> None:
    """A cell waits for input."""
    work.first("name = input('Your name? ')", "train_step")


@fault("E19", by="marks earned before are kept", points=LOST, states="killed")
def ends_the_process(work: Work) -> None:
    """A cell ends the process."""
    work.first("os._exit(0)", "train_step")


@fault("E19b", by="marks earned before are kept", points=LOST, states="killed")
def crashes(work: Work) -> None:
    """A cell reads memory that is not there."""
    work.first("import ctypes\nctypes.string_at(0)", "train_step")


@fault("E19c", by="marks earned before are kept", points=(3, 9), states=ENDS)
def kills_itself(work: Work) -> None:
    """A cell kills its own process."""
    work.first("os.kill(os.getpid(), signal.SIGKILL)", "train_step")


def _as_it_was(work: Work) -> None:
    """Right."""


@fault("E20", by="a new submission begins at nothing", points=LOST, states="killed", earlier=_as_it_was)
def crash_after_success(work: Work) -> None:
    """A perfect submission was graded; now one comes that crashes."""
    work.first("os._exit(1)", "train_step")


@fault("E21", by="stderr never scores")
def honest_stderr(work: Work) -> None:
    """Warnings and a progress bar, in cells and in functions."""
    work.code("""
        import warnings
        from tqdm import tqdm
    """)
    noise = """
        warnings.warn("a new version is out")
        print("careful", file=sys.stderr)
        for _ in tqdm(range(3)):
            pass
    """
    work.inside(noise)
    work.inside(noise, "train_step", "model, batch, optimizer")


@fault("E22", by="an extractor of our own: names that lead out are left out, modes are ours", points=(0, 9),
       states="graded, ungradable")  # fmt: skip
def zip_slip(work: Work) -> None:
    """A zip whose files lead out of its folder, by .. and by absolute names."""
    out = f"{work.traps.outside}/{work.row}"
    outward = {f"{'../' * 20}{out}-up.json": b"{}", f"{out}-absolute.json": b"{}"}
    work.archive = zipped({work.name: work.content(), **work.files, **outward})


@fault("E23", by="regular files only", points=7)
def pipe(work: Work) -> None:
    """The model is a named pipe, on which a reader waits for ever; there is a socket too."""
    del work.files[ARTIFACT]
    work.pipes, work.sockets = [ARTIFACT], ["artifacts/listener.json"]


class _Bomb:
    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return open, (self.path, "w")


@fault("E24", by="nothing is unpickled", points=7)
def pickle_bomb(work: Work) -> None:
    """Models that run code where they are unpickled."""
    bomb = pickle.dumps(_Bomb(f"{work.traps.outside}/{work.row}-unpickled"))
    for name in (ARTIFACT, "artifacts/model.pt", "artifacts/adapter.bin", "artifacts/slope.safetensors"):
        work.files[name] = bomb


@fault("E25", by=OURS)
def kernelspec(work: Work) -> None:
    """The notebook asks for another kernel."""
    work.notebook.metadata.kernelspec = {"name": "bash", "display_name": "Bash", "language": "bash"}


@fault("E26", by="the sandbox; no network", points=(0, 9), states=ENDS)
def magics(work: Work) -> None:
    """Magics: a shell, an installation, an extension, a reset of all names."""
    work.add(f"%%bash\necho out > {work.traps.outside}/{work.row}-shell")
    work.add("!pip install --quiet --disable-pip-version-check --no-index nothing")
    work.add("%load_ext autoreload")
    work.add("%reset -f")


@fault("E26b", by="cells run in an IPython shell")
def honest_magics(work: Work) -> None:
    """Magics as they stand in every notebook."""
    work.first("%matplotlib inline\n!ls > /dev/null\nhere = %pwd", "train_step")
