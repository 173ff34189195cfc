"""The `leaplm` command: thin; each command loads what it needs when it runs."""

import os
from pathlib import Path
from typing import Annotated

import typer

from leaplm.cli.words import SpokenApp, SpokenGroup
from leaplm.locales import say, say_problem

HELP = "Models, data, labs and grading of the course. What this machine lacks, `leaplm check` says."
app = SpokenApp(cls=SpokenGroup, no_args_is_help=True, add_completion=False, help=HELP)


@app.callback(help=HELP)
def prepare() -> None:
    from leaplm.runtime import print_every_letter
    from leaplm.translation import current_locale

    print_every_letter()
    try:
        current_locale()
    except ValueError as problem:
        typer.echo(f"leaplm: {problem}", err=True)
        raise typer.Exit(1) from None


def course_root() -> Path:
    """The course that a command works on; where there is none, the command ends with a sentence."""
    from leaplm.grading.course import find_course

    try:
        return find_course()
    except FileNotFoundError as problem:
        typer.echo(f"leaplm: {problem}", err=True)
        raise typer.Exit(1) from None


def any_course(folder: Path | None) -> Path:
    """The course to grade in: the folder named, the nearest with an nbgrader_config.py, or one with our labs."""
    from leaplm.grading.course import COURSE, find_settings

    if folder is None and not os.environ.get(COURSE) and (found := find_settings()):
        return found
    if folder is None:
        return course_root()
    if not folder.is_dir():
        problem = say("{folder} is no folder: `--course` names the one with `nbgrader_config.py`", folder=folder)
        typer.echo(f"leaplm: {problem}", err=True)
        raise typer.Exit(1)
    return folder


@app.command()
def fetch(
    names: Annotated[list[str] | None, typer.Argument(help="Assets to fetch; all core ones if none is named.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Fetch the optional ones too.")] = False,
    mirror: Annotated[str | None, typer.Option(help="Folder or http URL to try first (LEAPLM_MIRROR).")] = None,
) -> None:
    """Bring models and data here, once; verified; offline ever after."""
    from leaplm.assets import AssetError
    from leaplm.assets import fetch as fetch_assets
    from leaplm.runtime import expect_modules

    expect_modules()  # PyTorch's, where a model is converted
    try:
        fetch_assets(names, everything=everything, mirror=mirror)
    except (AssetError, KeyError) as problem:
        typer.echo(f"leaplm fetch: {problem.args[0]}", err=True)
        raise typer.Exit(1) from None


@app.command()
def check() -> None:
    """Say what this machine has, what is missing, and how to mend it."""
    from leaplm.cli.check import main

    raise typer.Exit(main())


@app.command()
def collect(
    lab: Annotated[str, typer.Argument(help="The lab, for example lab2_finetuning.")],
    source: Annotated[Path, typer.Argument(help="Folder, zip, or export of Moodle, Canvas or Google Classroom.")],
    students: Annotated[Path | None, typer.Option(
        help="CSV: id,first_name,last_name,email,lms_user_id,lms_name,group.")] = None,
    received: Annotated[str | None, typer.Option(
        help="When all was handed in (ISO 8601), also to correct what was noted; else the files' times.")] = None,
) -> None:
    """Put what a class handed in where nbgrader looks for it; nothing is run, nothing lost."""
    from leaplm.grading.intake.collect import run

    raise typer.Exit(run(course_root(), lab, source, students, received, typer.echo))


@app.command()
def grade(
    lab: Annotated[str, typer.Argument(help="The lab, for example lab2_finetuning, or any assignment of nbgrader's.")],
    course: Annotated[Path | None, typer.Option(help="The course's folder; else the one that holds this folder.")] = None,
    student: Annotated[list[str] | None, typer.Option(help="Only this student; may be repeated.")] = None,
    jobs: Annotated[int | None, typer.Option(help="Submissions at once; by default as many as fit this machine.")] = None,
    scheduler: Annotated[str | None, typer.Option(help="A Dask scheduler's address, to use other machines too.")] = None,
    audit: Annotated[int, typer.Option(help="Train this many random submissions again, in full, and compare.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Grade again what has a verdict.")] = False,
    unsafe: Annotated[bool, typer.Option("--unsafe", help="Without a sandbox: student code gets your rights.")] = False,
) -> None:
    """Grade a class: one verdict for each submission, and nbgrader's gradebook."""
    from leaplm.grading.classroom import run

    raise typer.Exit(run(any_course(course), lab, jobs, scheduler, unsafe, force, student, audit, typer.echo))


@app.command()
def serve(
    path: Annotated[Path, typer.Argument(help="A classifier that lab 2, 3, 5, 8 or 16 saved (.safetensors).")],
    host: Annotated[str, typer.Option(help="Address to listen on; another than loopback needs --keys.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 takes any free one.")] = 8000,
    keys: Annotated[Path | None, typer.Option(help="Key file; make one with `leaplm add-key`.")] = None,
    engine: Annotated[str, typer.Option(help="torch, torch-int8, onnx or onnx-int8; TF-IDF needs none.")] = "torch",
    threads: Annotated[int | None, typer.Option(help="Cores that one prediction may use; all by default.")] = None,
    max_batch: Annotated[int, typer.Option(help="Texts that go through the model together.")] = 16,
    max_wait_ms: Annotated[float, typer.Option(help="Milliseconds that a first text waits for others.")] = 10,
    queue: Annotated[int, typer.Option(help="Texts that may wait; more are turned away with 503.")] = 64,
    patience: Annotated[float, typer.Option(help="Seconds after which a waiting request is given up.")] = 10,
    max_texts: Annotated[int, typer.Option(help="Most texts in one request.")] = 32,
    max_characters: Annotated[int, typer.Option(help="Most characters in one text.")] = 2000,
    log_texts: Annotated[bool, typer.Option("--log-texts", help="Log texts too, redacted; names are not found.")] = False,
) -> None:
    """Serve a trained classifier over HTTP: keys, limits, batches, metrics, health checks."""
    try:
        from leaplm.serve.run import run
    except ImportError as problem:
        lacking = say('{package} is not installed; `pip install "leaplm[serve]"`', package=problem.name)
        typer.echo(f"leaplm serve: {lacking}", err=True)
        raise typer.Exit(1) from None

    raise typer.Exit(run(path, lambda line: typer.echo(line, err=True), host=host, port=port, keys=keys, engine=engine,
                         threads=threads, max_batch=max_batch, max_wait_ms=max_wait_ms, max_queue=queue, patience=patience,
                         max_texts=max_texts, max_characters=max_characters, log_texts=log_texts))


@app.command()
def add_key(
    name: Annotated[str, typer.Argument(help="Who will use it; stands in the log.")],
    keys: Annotated[Path, typer.Option(help="The key file; made if it is not there.")] = Path("keys.json"),
    per_minute: Annotated[float, typer.Option(help="Requests allowed in a minute; 0 for no limit.")] = 0,
) -> None:
    """Make an API key for `leaplm serve`: it is shown once, the file keeps its hash."""
    from leaplm.serve.keys import add_key as make_key

    try:
        typer.echo(make_key(keys, name, per_minute))
    except (ValueError, OSError) as problem:
        typer.echo(f"leaplm add-key: {problem}", err=True)
        raise typer.Exit(1) from None


@app.command()
def bundle(
    out: Annotated[Path, typer.Argument(help="Folder to fill, for instance on a USB stick; run again to renew it.")],
    platform: Annotated[list[str] | None, typer.Option(
        help="here, linux-x86_64, linux-aarch64, windows-x86_64, macos-arm64; may be repeated.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Optional assets too.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Only check that the bundle there is whole.")] = False,
    no_marks: Annotated[bool, typer.Option("--no-marks", help="Notebooks show no marks; no check is in it.")] = False,
) -> None:
    """Make the classroom kit: wheels, models, data, labs and an installer that needs no internet."""
    from leaplm.assets import AssetError
    from leaplm.bundle import BundleError, make_bundle, verify

    try:
        if check:
            broken = verify(out)
            told = [say("damaged or missing: {file}", file=name) for name in broken] or [say("every file is whole")]
            typer.echo("\n".join(told))
            raise typer.Exit(int(bool(broken)))
        files = make_bundle(course_root(), out, platform or ["here"], everything, typer.echo, not no_marks)
    except (BundleError, AssetError) as problem:
        typer.echo(f"leaplm bundle: {problem}", err=True)
        raise typer.Exit(1) from None
    size = sum(facts["bytes"] for facts in files.values()) / 1e6
    typer.echo(say("{folder}: {count} files, {size:.0f} MB. Open {page}", folder=out, count=len(files), size=size,
                   page=out / "START.html"))  # fmt: skip


@app.command()
def new_lab(
    name: Annotated[str, typer.Argument(help="lab, a number, _ and a topic: lab20_names.")],
    title: Annotated[str, typer.Option(help="What the lab is called; by default the topic.")] = "",
) -> None:
    """Make the folder of a new lab, with one worked exercise that builds, is tested and can be graded."""
    from leaplm.cli.new_lab import run

    raise typer.Exit(run(course_root(), name, title, typer.echo))


@app.command()
def add_language(
    file: Annotated[str, typer.Argument(help="Your CSV (columns text,label), or a language of ours without a record: kin.")],
    name: Annotated[str, typer.Option(help="What students call it: NAME.csv; by default the file's name.")] = "",
    lab: Annotated[list[str] | None, typer.Option(help="Only for this lab; may be repeated.")] = None,
) -> None:
    """Have models in your own language marked: hold texts back, run what a threshold needs; may be stopped and goes on."""
    from leaplm.cli.add_language import run

    raise typer.Exit(run(file, name, lab or [], course_root(), typer.echo))


@app.command()
def student_store(
    out: Annotated[Path, typer.Argument(help="A new folder, for instance on a USB stick; students set LEAPLM_HOME to it.")],
) -> None:
    """Copy models and data without the rows on which we mark; see LEAPLM_COURSE_SECRET in TEACHING.md."""
    from leaplm.grading.judge.heldout import write_student_store

    try:
        write_student_store(out)
    except (ValueError, OSError) as problem:
        typer.echo(f"leaplm student-store: {problem}", err=True)
        raise typer.Exit(1) from None
    typer.echo(say("{folder}: for students; in their environment `LEAPLM_HOME={home}`", folder=out, home=out.resolve()))


@app.command()
def serve_mirror(
    folder: Annotated[Path, typer.Argument(help="A bundle that `leaplm bundle` made.")],
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 is the whole local network.")] = "0.0.0.0",
    port: Annotated[int, typer.Option(help="Port.")] = 8000,
) -> None:
    """Give a bundle to a class on the local network, read-only."""
    from leaplm.bundle import BundleError
    from leaplm.bundle.serve import serve as serve_bundle

    try:
        serve_bundle(folder, host, port, typer.echo)
    except BundleError as problem:
        typer.echo(f"leaplm serve-mirror: {problem}", err=True)
        raise typer.Exit(1) from None


@app.command()
def progress(
    folder: Annotated[Path, typer.Argument(help="The folder of the labs, or of one.")] = Path("."),
) -> None:
    """Show what you have done: exercises, points, models, minutes; from one file that stays on this machine."""
    from leaplm.learner import progress as kept
    from leaplm.whole_file import write_whole

    labs = folder / "labs" if (folder / "labs").is_dir() else folder
    path = kept.progress_file(labs)
    try:
        found = kept.read(path, typer.echo)
        typer.echo(kept.table(found))
        if path.parent.is_dir():
            write_whole(path.with_name(kept.PAGE), kept.page(found))
    except OSError as problem:  # what can be shown was shown
        typer.echo(f"leaplm progress: {say_problem(problem)}", err=True)
        raise typer.Exit(1) from None


@app.command()
def hand_in(
    lab: Annotated[str, typer.Argument(help="The lab: lab2_finetuning, lab2 or 2.")],
    name: Annotated[str, typer.Argument(help="Your name or id, as your teacher knows it.")],
    folder: Annotated[Path, typer.Option(help="The folder of the labs, or of this one.")] = Path("."),
    to: Annotated[Path, typer.Option(help="Where the zip is written.")] = Path("."),
) -> None:
    """Check that a lab is complete and saved, and write NAME-lab2.zip, which `leaplm collect` takes as it is."""
    from leaplm.learner.handed import run

    raise typer.Exit(run(lab, name, folder, to, typer.echo))


@app.command()
def take_home(
    folder: Annotated[Path, typer.Option(help="The folder of the labs.")] = Path("."),
    to: Annotated[Path | None, typer.Option(help="The zip; by default leaplm-work.zip in the folder of the labs.")] = None,
) -> None:
    """Put all labs that you have begun into one zip, with models and progress: for a computer that forgets."""
    from leaplm.learner.carry import run_take_home

    raise typer.Exit(run_take_home(folder, to, typer.echo))


@app.command()
def bring_back(
    file: Annotated[Path, typer.Argument(help="The zip that `leaplm take-home` wrote.")],
    folder: Annotated[Path, typer.Option(help="The folder of the labs.")] = Path("."),
) -> None:
    """Put the work in such a zip in its place again; what is here and was worked on is kept beside it."""
    from leaplm.learner.carry import run_bring_back

    raise typer.Exit(run_bring_back(file, folder, typer.echo))


@app.command()
def finish(
    name: Annotated[str, typer.Argument(help="Your name, as it shall stand on the page.")] = "",
    folder: Annotated[Path, typer.Option(help="The folder of the labs.")] = Path("."),
    verify: Annotated[Path | None, typer.Option(help="Instead: mark again and compare with this page.")] = None,
) -> None:
    """Mark all labs again in the grader's sandbox, and write one page that anyone with the notebooks can verify."""
    from leaplm.learner.certificate import run

    raise typer.Exit(run(name, folder, verify, typer.echo))
