"""nbgrader's own zip_collect and autograde on uploads that would stop them."""

import copy
import os
import zipfile

import nbformat
import pytest
from leaplm.grading.intake.extractor import SafeExtractor, sweep
from leaplm.grading.intake.receipts import WORK, read_collected, submitted_folder
from mini import LAB, make_course
from quickstart import nbgrader

NAME = f"{LAB}.ipynb"
SLOPE = b'{"slope": 2.0}'
CONFIG = """
c.ZipCollectApp.extractor_plugin = "leaplm.grading.intake.extractor.SafeExtractor"
c.FileNameCollectorPlugin.valid_ext = [".ipynb", ".safetensors", ".json", ".csv", ".txt"]
"""


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    course = make_course(tmp_path_factory.mktemp("extractor") / "course")
    config = course / "nbgrader_config.py"
    config.write_text(config.read_text() + CONFIG)
    return course


@pytest.fixture(scope="module")
def work(course):
    return nbformat.read(course / "labs" / LAB / NAME, as_version=4)


def text(notebook):
    return nbformat.writes(notebook).encode()


def packed(path, files):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path.read_bytes()


@pytest.fixture(scope="module")
def collected(course, work):
    """What `nbgrader zip_collect` said on archives of which most stop or fool it."""
    archive = course / WORK / "downloaded" / LAB / "archive"
    archive.mkdir(parents=True)
    honest = {f"lab/{NAME}": text(work), "lab/artifacts/slope-cpu.json": SLOPE, "lab/own.csv": b"text,label\n"}
    quine = packed(archive / "quine.zip", {NAME: text(work)})
    packed(archive / "quine.zip", {NAME: text(work), "inner.zip": quine})
    packed(archive / "honest.zip", honest)
    packed(archive / "twice.zip", {f"a/{NAME}": text(work), f"b/{NAME}": text(work)})
    packed(archive / "slip.zip", {NAME: text(work), "../../honest/lab0_mini.ipynb": b"{}", "/etc/x.json": b"1"})
    packed(archive / "late.zip", {NAME: text(work), "timestamp.txt": b"1999-01-01 00:00:00 UTC"})
    (archive / "bad.zip").write_bytes(b"PK\3\4no")
    (archive / "bare.ipynb").write_bytes(text(work))
    os.mkfifo(archive / "pipe.ipynb")
    return nbgrader(course, "zip_collect", LAB)


def test_each_student_is_collected_and_none_stops_it(course, collected):
    submitted = course / WORK / "submitted"
    assert sorted(os.listdir(submitted)) == ["bad", "bare", "honest", "late", "pipe", "quine", "slip", "twice"]
    found = {name: files(submitted / name / LAB) for name in os.listdir(submitted)}
    assert found.pop("honest") == ["artifacts", "artifacts/slope-cpu.json", NAME, "own.csv", "timestamp.txt"]
    assert all(names == [NAME, "timestamp.txt"] for names in found.values())


def test_what_was_left_out_is_told_and_known_to_the_grader(course, collected):
    assert "quine: `inner.zip` is an archive inside an archive" in collected
    assert "slip: `../../honest/lab0_mini.ipynb` was left out" in collected
    assert "The zip archive is damaged" in read_collected(course, LAB, "bad").refused
    assert "is a link or a device" in read_collected(course, LAB, "pipe").refused
    assert read_collected(course, LAB, "honest").refused is None


def test_e15_the_time_is_that_of_the_archive(course, collected):
    stamp = (submitted_folder(course, LAB, "late") / "timestamp.txt").read_text()
    assert not stamp.startswith("1999")


# ---- sweep


@pytest.fixture
def folder(tmp_path, work):
    folder = tmp_path / WORK / "submitted" / "aisha" / LAB
    (folder / "artifacts").mkdir(parents=True)
    (folder / NAME).write_bytes(text(work))
    (folder / "artifacts" / "slope.json").write_bytes(SLOPE)
    (folder / "timestamp.txt").write_text("2026-03-01 10:00:00.000000 UTC")
    return folder


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


HONEST = ["artifacts", "artifacts/slope.json", NAME, "timestamp.txt"]


def test_an_honest_folder_is_left_alone(folder):
    assert sweep(folder) == [] and files(folder) == HONEST


def test_b6_e23_links_and_pipes_are_put_aside(folder, tmp_path):
    secret = tmp_path / "gradebook.db"
    secret.write_bytes(b"secret")
    (folder / "link.json").symlink_to(secret)
    (folder / "all").symlink_to(tmp_path)
    os.mkfifo(folder / "artifacts" / "pipe.json")
    said = sweep(folder)
    assert files(folder) == HONEST and len(said) == 3 and "`lab0_mini/link.json` is no ordinary file" in " ".join(said)
    assert len(list((tmp_path / WORK / "quarantine" / "aisha" / LAB).iterdir())) == 3 and secret.read_bytes() == b"secret"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_b7_a_second_name_of_a_foreign_file_is_put_aside(folder, tmp_path):
    secret = tmp_path / "gradebook.db"
    secret.write_bytes(b"secret")
    os.link(secret, folder / "second.json")
    os.chown(secret, 12345, 12345)
    said = sweep(folder)
    assert files(folder) == HONEST and "somebody else's file" in said[0]


@pytest.mark.parametrize("make", [lambda path, other: path.symlink_to(other), lambda path, other: os.mkfifo(path),
                                  lambda path, other: path.mkdir(), lambda path, other: None])  # fmt: skip
def test_in_place_of_a_notebook_that_is_none_stands_an_empty_one(folder, tmp_path, make, work):
    other = tmp_path / "other.ipynb"
    other.write_bytes(text(work))
    (folder / NAME).unlink()
    make(folder / NAME, other)
    said = sweep(folder)
    assert nbformat.read(folder / NAME, as_version=4).cells == [] and "an empty one was put there" in said[-1]


def test_e13_a_renamed_notebook_gets_its_name_back(folder):
    (folder / NAME).rename(folder / "my lab.ipynb")
    assert "was renamed" in sweep(folder)[0] and files(folder) == HONEST


def test_a_link_in_place_of_the_folder(folder, tmp_path):
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    sweep(folder)
    assert not folder.is_symlink() and files(folder) == [NAME] and (tmp_path / "elsewhere" / NAME).exists()


def test_d10_what_is_too_large_is_put_aside(folder):
    with open(folder / "huge.bin", "wb") as file:
        file.truncate(2**30)
    for number in range(3):
        with open(folder / f"z{number}.bin", "wb") as file:
            file.truncate(120 * 2**20)
    said = sweep(folder)
    assert any("huge.bin" in line for line in said) and sum((folder / name).stat().st_size for name in files(folder)) < 2**29


def test_thousands_of_files_are_put_aside(folder):
    (folder / "many").mkdir()
    for number in range(5_001):
        (folder / "many" / str(number)).touch()
    assert len(sweep(folder)) < 10 and files(folder) == [NAME]


@pytest.mark.parametrize("stamp", [b"yesterday, maybe", b"\xff\xfe", b"9" * 300, b"x" * 5_000_000, b"99999999999999999999"])
def test_e15_a_time_that_nbgrader_cannot_read_is_put_aside(folder, stamp):
    (folder / "timestamp.txt").write_bytes(stamp)
    assert "no time that nbgrader can read" in sweep(folder)[0] and not (folder / "timestamp.txt").exists()


@pytest.mark.parametrize(("theirs", "ours"), [
    ("data.csv/x", "data.csv"), ("data", "data/rows.csv"), ("a/b", "a/b/c/d.txt"), ("a/b/c/d", "a/b"),
])  # fmt: skip
def test_what_is_in_the_way_of_a_teachers_file_is_put_aside(folder, theirs, ours):
    path = folder / theirs
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("x")
    assert ["in the way" in line for line in sweep(folder, ours=[ours, NAME])] == [True]
    (folder / ours).parent.mkdir(parents=True, exist_ok=True)
    (folder / ours).write_text("ours")
    assert sweep(folder, ours=[ours]) == []


def test_after_the_sweep_nbgrader_finds_ordinary_files_only(course, work):
    """By itself it would stop at a link to nothing, wait for a pipe, and fail at such a time."""
    for student in ("a_pipe", "b_time", "c_dangling", "d_honest"):
        place = submitted_folder(course, LAB, student)
        place.mkdir(parents=True)
        (place / NAME).write_bytes(text(copy.deepcopy(work)))
    os.mkfifo(submitted_folder(course, LAB, "a_pipe") / "x.json")
    (submitted_folder(course, LAB, "b_time") / "timestamp.txt").write_text("nonsense")
    (submitted_folder(course, LAB, "c_dangling") / "y.json").symlink_to("nothing")
    for student in ("a_pipe", "b_time", "c_dangling", "d_honest"):
        sweep(submitted_folder(course, LAB, student))
    from nbgrader.coursedir import CourseDirectory

    directory = CourseDirectory()
    for student in ("a_pipe", "b_time", "c_dangling", "d_honest"):
        assert directory.get_existing_timestamp(str(submitted_folder(course, LAB, student))) is None
        assert files(submitted_folder(course, LAB, student)) == [NAME]


def test_what_is_hidden_is_moved_whole_and_costs_the_work_nothing(course, work):
    folder = submitted_folder(course, LAB, "venv")
    (folder / ".venv" / "lib").mkdir(parents=True)
    (folder / ".ipynb_checkpoints").mkdir()
    for number in range(6_000):
        (folder / ".venv" / "lib" / f"{number}.py").touch()
    (folder / NAME).write_bytes(text(work))
    said = sweep(folder)
    assert len(said) == 1 and ".venv" in said[0] and "no part of the work" in said[0]
    assert sorted(path.name for path in folder.iterdir()) == [".ipynb_checkpoints", NAME] and sweep(folder) == []


@pytest.mark.parametrize("names", [("a+b", "a_b"), ("Musa", "musa"), ("x" * 130, "x" * 131)])
def test_two_names_are_two_students(tmp_path, course, names):
    for name in names:
        (tmp_path / f"{name}.zip").touch()
    extractor = SafeExtractor()
    found = extractor._by_student(tmp_path)
    assert len({own.casefold() for own in found}) == 2 and all(len(items) == 1 for items in found.values())
