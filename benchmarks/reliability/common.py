"""What the runs share: commands, photos, a server, what a database holds."""

from __future__ import annotations

import os
import random
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import click

MODEL = ("--model", "efficientnet-lite")
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
MEGABYTE = 1_000_000

photo_folder = click.argument(
    "folder", type=click.Path(exists=True, file_okay=False, path_type=Path)
)


def command(*arguments) -> list[str]:
    """`datasette imgsim …`, for subprocess."""
    return [sys.executable, "-m", "datasette", "imgsim", *map(str, arguments)]


def photos_of(folder: Path, count: int) -> list[Path]:
    """`count` of the picture files of a folder, chosen at random with a fixed seed."""
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    return random.Random(0).sample(files, min(count, len(files)))


def copy_photos(photos: list[Path], to: Path, first: int = 0) -> None:
    """Copies photos into a folder, named by number from `first` on."""
    to.mkdir(exist_ok=True)
    for number, photo in enumerate(photos, first):
        shutil.copyfile(photo, to / f"{number}{photo.suffix}")


@dataclass
class Ended:
    """A process that has ended."""

    exit_code: int
    printed: str
    """Its standard error."""
    megabytes: float
    """The most memory that it, or a process that it started, had."""
    seconds: float


def run(
    arguments: list[str],
    beside: Callable[[subprocess.Popen], None] = lambda process: None,
    **options,
) -> Ended:
    """Runs a command to its end, and calls `beside` with the process meanwhile."""
    started = time.monotonic()
    with tempfile.TemporaryFile("w+") as printed:
        process = subprocess.Popen(
            arguments,
            stdout=subprocess.DEVNULL,
            stderr=printed,
            start_new_session=True,
            **options,
        )
        while process.returncode is None:
            beside(process)
            time.sleep(0.1)
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid:
                process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.monotonic() - started
        printed.seek(0)
        text = printed.read()
    return Ended(process.returncode, text, usage.ru_maxrss * 1024 / MEGABYTE, seconds)


def value(database: Path, sql: str):
    """The one value that a query gives."""
    with closing(sqlite3.connect(database, timeout=60)) as conn:
        return conn.execute(sql).fetchone()[0]


def count_stored(database: Path) -> int:
    """How many vectors and failures there are; 0 before the tables are made."""
    if not database.exists():
        return 0
    sql = "select (select count(*) from imgsim_vectors) + (select count(*) from imgsim_failures)"
    try:
        return value(database, sql)
    except sqlite3.OperationalError:
        return 0


def integrity(database: Path) -> str:
    """'ok' for a sound file."""
    return value(database, "pragma integrity_check")


def count_orphans(database: Path) -> int:
    """How many rows of our tables belong to no image."""
    tables = ("vectors", "thumbnails", "atlas", "readings")
    orphans = "select count(*) from imgsim_{} where image_key not in (select id from images)"
    return sum(value(database, orphans.format(table)) for table in tables)


@contextmanager
def served(database: Path):
    """(address of the database, process) of a server of its own."""
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "datasette", str(database), "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        base = f"http://127.0.0.1:{port}/{database.stem}"
        for _ in range(600):
            # Until the vectors are in memory.
            if ask(f"{base}/images/-/imgsim/similar/1.json")[0] == 200:
                break
            time.sleep(0.1)
        else:
            raise SystemExit("The server did not start")
        yield base, process
    finally:
        process.terminate()
        process.wait()


def ask(url: str, data: bytes | None = None, timeout: float = 60) -> tuple[int | str, bytes, float]:
    """(status or name of an error, body, seconds) of a request; with data it is a POST."""
    started = time.monotonic()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data), timeout=timeout) as answer:
            status, body = answer.status, answer.read()
    except urllib.error.HTTPError as ex:
        status, body = ex.code, ex.read()
    except OSError as ex:
        status, body = type(ex).__name__, b""
    return status, body, time.monotonic() - started


def memory(process: subprocess.Popen, name: str = "VmRSS") -> float:
    """The megabytes of a process now, or at most so far (VmHWM)."""
    for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024 / MEGABYTE
    raise SystemExit("The server has ended")


class Stopwatch:
    """How long a process of its own session, with those it started, has been at something."""

    def __init__(self, process: subprocess.Popen):
        self.process = process
        self.restart()

    def restart(self) -> None:
        self.started, self.worked = time.monotonic(), _processor_seconds(self.process.pid)

    def seconds(self) -> float:
        """Seconds, without those in which other programs kept the processor busy."""
        worked = _processor_seconds(self.process.pid) - self.worked
        return min(time.monotonic() - self.started, worked)


def _processor_seconds(session: int) -> float:
    ticks = 0
    for file in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The name of the program, in brackets, may have spaces in it.
            fields = file.read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        if int(fields[3]) == session:
            ticks += sum(map(int, fields[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def conclude(wrong: dict[str, int]) -> None:
    """Prints what did not hold, with exit code 1; or that all did."""
    found = {what: count for what, count in wrong.items() if count}
    if found:
        raise SystemExit("WRONG: " + ", ".join(f"{count} {what}" for what, count in found.items()))
    print("All of it held.")
