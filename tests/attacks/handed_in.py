"""F: files and notebooks that no editor makes: names, rights and kinds of files, outputs and metadata beyond measure."""

import io
import stat
import zipfile

from attacks.rows import fault
from attacks.work import ARTIFACT, WRONG_SLOPE, Work

READ = "graded, ungradable"
CAPS = "only the texts of cells are taken, of files that are not too large"


@fault("F100", by="a time in an upload is not read by us, and nbgrader waits for no pipe")
def time_is_a_pipe(work: Work) -> None:
    """The time stamp is a pipe, on which a reader waits for ever; so are a notebook and a hidden file; there is a socket."""
    work.pipes = ["timestamp.txt", "other.ipynb", ".hidden", "artifacts/slope-gpu.json"]
    work.sockets = ["artifacts/socket.json"]


@fault("F101", by=CAPS, points=(0, 9), states=READ)
def outputs_by_the_thousand(work: Work) -> None:
    """A cell that was handed in with a hundred thousand outputs."""
    output = {"output_type": "stream", "name": "stdout", "text": "x\n"}
    work.cell("train_step").outputs = [output] * 100_000


@fault("F102", by=CAPS, points=(0, 9), states=READ)
def heavy_metadata(work: Work) -> None:
    """Fifty MB of metadata: of the notebook, fifty lists deep, and of each cell."""
    deep = 0
    for _ in range(50):
        deep = [deep]
    work.notebook.metadata.deep = [deep] * 200_000
    for cell in work.cells:
        cell.metadata.more = {f"key{number}": "x" * 90 for number in range(20_000)}


@fault("F103", by="links in an archive are not made, and no name goes through one")
def through_a_link(work: Work) -> None:
    """A zip with links to folders outside, and files that would be written through them."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, target in (("out", work.traps.outside), ("up", "../../../.."), ("artifacts/out", work.traps.outside)):
            link = zipfile.ZipInfo(name)
            link.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(link, target)
            archive.writestr(f"{name}/{work.row}-through-a-link.json", b"{}")
        for name, data in {work.name: work.content(), **work.files}.items():
            archive.writestr(name, data)
    work.archive = buffer.getvalue()


@fault("F104", by="files are found by the very name of the task")
def odd_names(work: Work) -> None:
    """Names with line ends, marks of writing direction, 255 bytes; names that are ours but for case, or Unicode's form."""
    same = ("Slope-CPU.json", "SLOPE-cpu.JSON", "slope-cpu\u200b.json", "\uff53lope-cpu.json")
    odd = ("a\nb", "a\r\x1b[2J.json", "\u202enosj.epols", "n" * 250 + ".json", "caf\u00e9.json", "cafe\u0301.json", "-rf")
    for name in (*same, *odd):
        work.files[f"artifacts/{name}"] = WRONG_SLOPE


@fault("F105", by="a file that cannot be read is as one that is not there", points=(7, 9))
def no_right_to_read(work: Work) -> None:
    """Nobody but the system's administrator may read the model."""
    work.modes = {ARTIFACT: 0}


@fault("F106", by="times of files that cannot be are not believed")
def impossible_times(work: Work) -> None:
    """The files are of the year 1901, and of one to come."""
    work.times = {work.name: -2_000_000_000, ARTIFACT: 5_000_000_000}
