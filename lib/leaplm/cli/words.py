"""The help of `leaplm` in the learner's language."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from typer import Exit, Typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from leaplm.locales import say

TITLES = ("ARGUMENTS_PANEL_TITLE", "OPTIONS_PANEL_TITLE", "COMMANDS_PANEL_TITLE", "ERRORS_PANEL_TITLE")  # of Typer's boxes


class SpokenApp(Typer):
    """A program whose commands are `SpokenCommand`s."""

    def command(self, *arguments: Any, **options: Any) -> Callable[[Any], Any]:
        return super().command(*arguments, cls=SpokenCommand, **options)


class SpokenCommand(TyperCommand):
    """A command whose help is in boxes with titles in the learner's language."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        _speak_titles()
        super().format_help(ctx, formatter)


class SpokenGroup(TyperGroup):
    """Commands whose help and errors are in the learner's language."""

    def make_context(self, *arguments: Any, **options: Any) -> Any:
        with _spoken_errors():
            return super().make_context(*arguments, **options)

    def invoke(self, ctx: Any) -> Any:
        with _spoken_errors():
            return super().invoke(ctx)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        _spoken(self)
        _speak_titles()
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
    from typer import rich_utils

    group = get_command(app)
    yield from (getattr(rich_utils, title) for title in TITLES)
    for command in (group, *group.commands.values()):  # type: ignore[attr-defined]
        yield from (part.help for part in (command, *command.params) if getattr(part, "help", None))
    yield "Show this message and exit."


def _speak_titles() -> None:
    """Not before a box is shown: what draws it takes a quarter of the time in which a command starts."""
    from typer import rich_utils

    for title in TITLES:
        setattr(rich_utils, title, say(getattr(rich_utils, title)))


@contextlib.contextmanager
def _spoken_errors() -> Iterator[None]:
    """The box of an error that is raised in the block has a title in the learner's language."""
    try:
        yield
    except Exit:
        raise
    except Exception:
        _speak_titles()
        raise


def _spoken(part: Any) -> Any:
    if part is not None and getattr(part, "help", None):
        part.help = say(part.help)
    return part
