"""Kills `embed` again and again, anywhere; what is stored must be that of an undisturbed run."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import tempfile
import time
from contextlib import closing
from pathlib import Path

import click
from common import (
    MODEL,
    command,
    conclude,
    copy_photos,
    count_orphans,
    integrity,
    photo_folder,
    photos_of,
    run,
    value,
)

SECONDS_AT_WORK = 5
"""A run is killed while it starts or in the seconds that follow, and so in all of its parts."""


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
        killed = within = damaged = orphans = 0
        for number in range(1, kills + 1):
            before = _stored(database)
            process = subprocess.Popen(embed, stderr=subprocess.DEVNULL)
            try:
                process.wait(chance.uniform(start / 4, start + SECONDS_AT_WORK))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                killed += 1
                within += _stored(database) > before
            if _stored(database):
                damaged += integrity(database) != "ok"
                orphans += count_orphans(database)
                _take_away(database, images)
            if number % 20 == 0:
                print(f"{number} runs, {killed} killed, {within} at work", flush=True)
        print(f"{kills} runs, {killed} killed, {within} of them after they had stored something")
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


def _undisturbed(embed: list[str], database: Path) -> float:
    """Lets a run go through; gives the seconds from its start to its first vectors."""
    started, process = time.monotonic(), subprocess.Popen(embed)
    while process.poll() is None and not _stored(database):
        time.sleep(0.05)
    seconds = time.monotonic() - started
    if process.wait():
        raise SystemExit("An undisturbed run failed")
    return seconds


def _stored(database: Path) -> int:
    """How many vectors there are."""
    try:
        return value(database, "select count(*) from imgsim_vectors") if database.exists() else 0
    except sqlite3.OperationalError:  # killed before the tables were made
        return 0


def _take_away(database: Path, images: int) -> None:
    """Makes work for the next run, where little is left: most vectors or even images go."""
    with closing(sqlite3.connect(database, timeout=60)) as conn, conn:
        (vectors,) = conn.execute("select count(*) from imgsim_vectors").fetchone()
        if vectors > images * 0.9:
            conn.execute("delete from imgsim_vectors where image_id % 4")


def _vectors(database: Path) -> dict[str, bytes]:
    """{path: stored vector}"""
    with closing(sqlite3.connect(database)) as conn:
        sql = "select path, vector from images join imgsim_vectors on image_id = id"
        return dict(conn.execute(sql))
