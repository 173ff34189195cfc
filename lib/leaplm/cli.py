"""The `leaplm` command: thin; each command loads what it needs when it runs."""

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
