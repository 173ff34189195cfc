"""The help of `leaplm` in the learner's language."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from typer import Typer, rich_utils
from typer.core import TyperGroup
from typer.main import get_command

from leaplm.locales import say

TITLES = ("ARGUMENTS_PANEL_TITLE", "OPTIONS_PANEL_TITLE", "COMMANDS_PANEL_TITLE", "ERRORS_PANEL_TITLE")  # of Typer's boxes


class SpokenGroup(TyperGroup):
    """Commands whose help is in the learner's language."""

    def main(self, *arguments: Any, **options: Any) -> Any:
        for title in TITLES:
            setattr(rich_utils, title, say(getattr(rich_utils, title)))
        return super().main(*arguments, **options)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        _spoken(self)
        super().format_help(ctx, formatter)

    def get_help_option(self, ctx: Any) -> Any:
        return _spoken(super().get_help_option(ctx))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        command = super().get_command(ctx, cmd_name)
        if command:
            for part in (command, *command.params, command.get_help_option(ctx)):
                _spoken(part)
        return command


def texts(app: Typer) -> Iterator[str]:
    """What the help of a program says in English, for the catalogues."""
    group = get_command(app)
    yield from (getattr(rich_utils, title) for title in TITLES)
    for command in (group, *group.commands.values()):  # type: ignore[attr-defined]
        yield from (part.help for part in (command, *command.params) if getattr(part, "help", None))
    yield "Show this message and exit."


def _spoken(part: Any) -> Any:
    if part is not None and getattr(part, "help", None):
        part.help = say(part.help)
    return part
