"""A full disk, a database that another program locks, and files and folders that are read-only."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing, contextmanager
from pathlib import Path

import click
from common import (
    MODEL,
    Ended,
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

sys.path.append(str(Path(__file__).parents[2] / "tests"))
from helpers.commands import ordinary_user, small_files  # noqa: E402

SMALL_DISK, LARGE_DISK = 1, 100
"""Megabytes."""


@click.command(help=__doc__)
@photo_folder
@click.option("--images", default=200, show_default=True)
def full(folder, images):
    with tempfile.TemporaryDirectory() as temporary:
        obstacles = Obstacles(Path(temporary, "images"), Path(temporary, "files"), images)
        copy_photos(photos_of(folder, images), obstacles.pictures)
        obstacles.full_disk()
        obstacles.database.parent.mkdir()
        obstacles.embed_again()
        obstacles.add_a_picture()
        obstacles.read_only_file()
        obstacles.read_only_folder()
        obstacles.new_database_in_a_read_only_folder()
        obstacles.locked()
    conclude(obstacles.wrong)


class Obstacles:
    """What stands in the way of `embed`, one after the other, and what is stored afterwards."""

    def __init__(self, pictures: Path, files: Path, images: int):
        self.pictures, self.images, self.wrong = pictures, images, {}
        self.database = files / "photos.db"

    def embed(self, database: Path | None = None, **options) -> Ended:
        arguments = (database or self.database, self.pictures, *MODEL, "--batch-size", 8)
        # As a user whom permissions bind, even if this one is root.
        options = {"preexec_fn": ordinary_user, **options}
        return run(command("embed", *arguments, "--quiet"), **options)

    def embed_again(self, database: Path | None = None) -> None:
        """Embeds with nothing in the way, to the end."""
        database = database or self.database
        ended = self.embed(database)
        stored = value(database, "select count(*) from imgsim_vectors")
        print(f"  afterwards: exit code {ended.exit_code}, {stored} of {self.images} stored")
        if ended.exit_code or stored != self.images:
            self.wrong["runs that did not go on"] = self.wrong.get("runs that did not go on", 0) + 1

    def add_a_picture(self) -> None:
        """So that there is something to store, which must not be stored yet."""
        first = min(self.pictures.iterdir())
        copy_photos([first], self.pictures, self.images)
        self.images += 1

    def report(self, what: str, ended: Ended, database: Path | None = None) -> None:
        """Prints how a run ended, and what is stored; keeps what is wrong with it."""
        database = database or self.database
        lines = ended.printed.strip().splitlines()
        print(f"{what}: exit code {ended.exit_code} after {ended.seconds:.0f} s")
        print("  " + "\n  ".join(lines).replace(str(database.parent) + os.sep, ""))
        bad = ended.exit_code != 1 or "Traceback" in ended.printed or not lines
        if database.exists():
            stored, answer = (
                value(database, "select count(*) from imgsim_vectors"),
                integrity(database),
            )
            orphans = count_orphans(database)
            print(
                f"  stored: {stored} vectors, integrity {answer}, {orphans} rows without an image"
            )
            bad = bad or answer != "ok" or orphans or not 0 < stored < self.images
        if bad:
            self.wrong[what] = 1

    def full_disk(self) -> None:
        with tempfile.TemporaryDirectory() as place:
            database = Path(place, "photos.db")
            mount = ["mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK}m", "tmpfs", place]
            if subprocess.run(mount, capture_output=True).returncode:
                limit = small_files(SMALL_DISK * 1_000_000)
                ended = self.embed(database, preexec_fn=limit)
                self.report(
                    "No file larger than 1 MB (no file system can be mounted)", ended, database
                )
                self.embed_again(database)
                return
            try:
                self.report("A disk of 1 MB (tmpfs)", self.embed(database), database)
                size = f"remount,size={LARGE_DISK}m"
                subprocess.run(["mount", "-o", size, place], check=True)
                self.embed_again(database)
            finally:
                subprocess.run(["umount", place], check=True)

    def read_only_file(self) -> None:
        with mode(self.database, 0o444):
            self.report("A read-only file", self.embed())

    def read_only_folder(self) -> None:
        with mode(self.database.parent, 0o555):
            self.report("A read-only folder", self.embed())

    def new_database_in_a_read_only_folder(self) -> None:
        new = self.database.with_name("new.db")
        with mode(new.parent, 0o555):
            self.report("A new database in a read-only folder", self.embed(new), new)

    def locked(self) -> None:
        with closing(sqlite3.connect(self.database)) as conn:
            conn.execute("begin exclusive")
            ended = self.embed()
        self.report("A database that another program locks", ended)
        self.embed_again()


@contextmanager
def mode(path: Path, bits: int):
    """Other permissions for a file or folder, for a while."""
    before = path.stat().st_mode
    path.chmod(bits)
    try:
        yield
    finally:
        path.chmod(before)
