"""Runs a command on a database while somebody reads from it all the time."""

from __future__ import annotations

import resource
import sqlite3
import subprocess
import threading
import time
from contextlib import closing
from pathlib import Path

SECONDS_BETWEEN_READS = 0.02


def run_beside_reader(command: list[str], database: Path, sql: str) -> str:
    """Runs a command; says its seconds, its memory, and the longest wait of a reader for `sql`."""
    done, waits = threading.Event(), []
    reader = threading.Thread(target=_read_all_the_time, args=(database, sql, done, waits))
    reader.start()
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    try:
        subprocess.run(command, check=True)
        seconds = time.perf_counter() - started
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    finally:
        done.set()
        reader.join()
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return (
        f"{seconds:7.1f} s ({used:7.1f} s of processors)   {after.ru_maxrss / 1e6:.2f} GB   "
        f"longest of {len(waits):,} reads {max(waits):.3f} s"
    )


def _read_all_the_time(path: Path, sql: str, done: threading.Event, waits: list[float]) -> None:
    """Reads a little again and again; `waits` gets the seconds of each time."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=60)) as conn:
        while not done.is_set():
            started = time.perf_counter()
            conn.execute("select generation from imgsim_spaces").fetchall()
            conn.execute(sql).fetchall()
            waits.append(time.perf_counter() - started)
            time.sleep(SECONDS_BETWEEN_READS)
