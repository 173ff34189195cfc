"""The `leaplm` command: thin; each command loads what it needs when it runs."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)


@app.command()
def fetch(
    names: Annotated[list[str] | None, typer.Argument(help="Assets to fetch; all core ones if none is named.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Fetch the optional ones too.")] = False,
    mirror: Annotated[str | None, typer.Option(help="Folder or http URL to try first (LEAPLM_MIRROR).")] = None,
) -> None:
    """Bring models and data here, once; verified; offline ever after."""
    from leaplm.assets import AssetError
    from leaplm.assets import fetch as fetch_assets

    try:
        fetch_assets(names, everything=everything, mirror=mirror)
    except (AssetError, KeyError) as problem:
        typer.echo(f"leaplm fetch: {problem.args[0]}", err=True)
        raise typer.Exit(1) from None


@app.command()
def check() -> None:
    """Say what this machine has, what is missing, and how to mend it."""
    from leaplm.check import main

    raise typer.Exit(main())


@app.command()
def collect(
    lab: Annotated[str, typer.Argument(help="The lab, for example lab2_finetuning.")],
    source: Annotated[Path, typer.Argument(help="Folder, zip, or export of Moodle, Canvas or Google Classroom.")],
    students: Annotated[Path | None, typer.Option(help="CSV: id,first_name,last_name,email,lms_user_id,lms_name.")] = None,
    received: Annotated[str | None, typer.Option(help="When all was handed in (ISO 8601); else the files' times.")] = None,
) -> None:
    """Put what a class handed in where nbgrader looks for it; nothing is run, nothing lost."""
    from leaplm.grading.checks import find_course
    from leaplm.grading.collect import run

    raise typer.Exit(run(find_course(), lab, source, students, received, typer.echo))


@app.command()
def grade(
    lab: Annotated[str, typer.Argument(help="The lab, for example lab2_finetuning.")],
    student: Annotated[list[str] | None, typer.Option(help="Only this student; may be repeated.")] = None,
    jobs: Annotated[int | None, typer.Option(help="Submissions at once; by default as many as fit this machine.")] = None,
    scheduler: Annotated[str | None, typer.Option(help="A Dask scheduler's address, to use other machines too.")] = None,
    audit: Annotated[int, typer.Option(help="Train so many random submissions again, in full, and compare.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Grade again what has a verdict.")] = False,
    unsafe: Annotated[bool, typer.Option("--unsafe", help="Without a sandbox: student code gets your rights.")] = False,
) -> None:
    """Grade a class: one verdict for each submission, and nbgrader's gradebook."""
    from leaplm.grading.checks import find_course
    from leaplm.grading.classroom import run

    raise typer.Exit(run(find_course(), lab, jobs, scheduler, unsafe, force, student, audit, typer.echo))
