"""What the commands share: their group, their common options, and how they report errors."""

from __future__ import annotations

import functools
import io
import sys
from contextlib import contextmanager
from pathlib import Path

import click

from ..errors import ImgsimError
from .report import printable

database_argument = click.argument(
    "database", metavar="DB", type=click.Path(dir_okay=False, path_type=Path)
)
table_option = click.option("--table", metavar="T", help="Use the default space of this table")
space_option = click.option("--space", "space_name", metavar="NAME", help="Which space to use")


@contextmanager
def sentences(exit_code: int = 1):
    """Ends the command with the text of an ImgsimError."""
    try:
        yield
    except ImgsimError as ex:
        error = click.ClickException(printable(str(ex)))
        error.exit_code = exit_code
        raise error from ex


def reports_errors(function):
    """Makes a command end with the sentence of an ImgsimError instead of a traceback."""

    @functools.wraps(function)
    def inner(*args, **kwargs):
        with sentences():
            return function(*args, **kwargs)

    return inner


@contextmanager
def ends_at_ctrl_c(sentence: str):
    """Ends the command at Ctrl-C, with a sentence that says what it leaves."""
    try:
        yield
    except KeyboardInterrupt:
        click.echo(printable(sentence), err=True)
        sys.exit(130)


@click.group()
def imgsim():
    """Find similar pictures: embed them with a truncated VGG and rank them by likeness."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that does not know all characters must not end a command.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
