"""Shows the progress of a command in the terminal."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from pathlib import Path

import click

from .report import duration, images, printable


class Terminal:
    """An `ingest.job.Interface` that reports on standard error."""

    def __init__(self, database: Path, quiet: bool):
        self.database, self.quiet = database, quiet
        self.write = click.echo

    @contextmanager
    def progress(self, total: int, unit: str = " images", what: str | None = None):
        if not total or not self.is_watched():
            yield lambda count: None
            return
        try:
            from tqdm import tqdm
        except ImportError:  # missing without the extra 'embed', which other errors name
            yield lambda count: None
            return
        with tqdm(total=total, unit=unit, desc=what, dynamic_ncols=True) as bar:
            self.write = bar.write  # prints above the bar
            yield bar.update

    def waiting(self) -> None:
        text = f"Waiting for another program that has {self.database} locked …"
        click.echo(printable(text), err=True)

    def is_watched(self) -> bool:
        return sys.stderr.isatty() and not self.quiet

    def forecast(self, forecast) -> None:
        text = (
            f"About {duration(forecast.seconds)} for {images(forecast.images)} with "
            f"{forecast.model}"
        )
        if forecast.faster:
            text += f"; --model {forecast.faster} takes about {duration(forecast.faster_seconds)}"
        self.write(f"{text}.", file=sys.stderr)
