"""Kills `embed` again and again, anywhere; what is stored must be that of an undisturbed run."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import tempfile
import time
from contextlib import closing, suppress
from pathlib import Path

import click
from common import (
    MODEL,
    command,
    conclude,
    copy_photos,
    count_orphans,
    count_stored,
    integrity,
    photo_folder,
    photos_of,
    run,
)

SECONDS_AT_WORK = 5
"""A run is killed within so many seconds after it stored its first batch."""
KILLED_AT_START = 0.25
"""The share of runs that are killed before that, at any moment of their start."""


@click.command(help=__doc__.partition("\n")[0])
@photo_folder
@click.option("--kills", default=200, show_default=True)
@click.option("--images", default=1000, show_default=True)
def kill(folder, kills, images):
    chance = random.Random(1)
    with tempfile.TemporaryDirectory() as temporary:
        pictures, database = Path(temporary, "images"), Path(temporary, "killed.db")
        copy_photos(photos_of(folder, images), pictures)
        options = (pictures, *MODEL, "--batch-size", 8, "--quiet")
        whole = Path(temporary, "whole.db")
        start = _undisturbed(command("embed", whole, *options), whole)
        print(f"The first vectors are stored {start:.1f} s after the start", flush=True)
        embed = command("embed", database, *options)
        killed = at_work = damaged = orphans = 0
        for number in range(1, kills + 1):
            before = count_stored(database)
            process = subprocess.Popen(embed, stderr=subprocess.DEVNULL)
            if chance.random() < KILLED_AT_START:
                _wait(process, chance.uniform(0, start))
            else:
                _wait_for_vectors(process, database, before)
                _wait(process, chance.uniform(0, SECONDS_AT_WORK))
            killed += process.poll() is None
            process.kill()
            process.wait()
            after = count_stored(database)
            at_work += after > before
            if after:
                damaged += integrity(database) != "ok"
                orphans += count_orphans(database)
            if after > 0.9 * images:
                _take_away(database)
            if number % 20 == 0:
                print(f"{number} runs, {killed} killed, {at_work} while they stored", flush=True)
        failed = run(embed).exit_code != 0
        after, undisturbed = _vectors(database), _vectors(whole)
        equal = sum(after.get(path) == vector for path, vector in undisturbed.items())
        print(f"{equal} of {len(undisturbed)} vectors are those of an undisturbed run, to the bit")
        checked = subprocess.run(command("verify", database), capture_output=True, text=True)
        print(checked.stdout)
    conclude(
        {
            "damaged databases": damaged,
            "rows without an image": orphans,
            "runs that failed": failed,
            "other vectors": len(undisturbed) - equal + len(after) - len(undisturbed),
            "complaints of verify": checked.returncode,
        }
    )


def _wait(process: subprocess.Popen, seconds: float) -> None:
    """Waits, but not longer than the process runs."""
    with suppress(subprocess.TimeoutExpired):
        process.wait(seconds)


def _wait_for_vectors(process: subprocess.Popen, database: Path, before: int) -> None:
    """Waits until there are more vectors than before, or the process ends."""
    while process.poll() is None and count_stored(database) <= before:
        time.sleep(0.05)


def _undisturbed(embed: list[str], database: Path) -> float:
    """Lets a run go through; gives the seconds from its start to its first vectors."""
    started, process = time.monotonic(), subprocess.Popen(embed)
    _wait_for_vectors(process, database, 0)
    seconds = time.monotonic() - started
    if process.wait():
        raise SystemExit("An undisturbed run failed")
    return seconds


def _take_away(database: Path) -> None:
    """Makes work for the next runs: most vectors go."""
    with closing(sqlite3.connect(database, timeout=60)) as conn, conn:
        conn.execute("delete from imgsim_vectors where image_key % 4")


def _vectors(database: Path) -> dict[str, bytes]:
    """{path: stored vector}"""
    with closing(sqlite3.connect(database)) as conn:
        sql = "select path, vector from images join imgsim_vectors on image_key = id"
        return dict(conn.execute(sql))
