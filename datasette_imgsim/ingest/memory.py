"""How much memory is free, on Linux."""

from __future__ import annotations

import math
from pathlib import Path

MACHINE = Path("/proc/meminfo")
CONTAINER = Path("/sys/fs/cgroup")


def free_bytes() -> float:
    """The memory that the machine and the container still give; infinite if that is not known."""
    return min(_free_of_machine(), _free_of_container())


def _free_of_machine() -> float:
    kilobytes = _numbers(MACHINE).get("MemAvailable:")
    return math.inf if kilobytes is None else kilobytes * 1024


def _free_of_container() -> float:
    """What a control group (version 2) has left. Copies of files in memory count as free."""
    try:
        limit = int((CONTAINER / "memory.max").read_text())  # or the word "max"
        used = int((CONTAINER / "memory.current").read_text())
    except (OSError, ValueError):
        return math.inf
    return limit - used + _numbers(CONTAINER / "memory.stat").get("inactive_file", 0)


def _numbers(file: Path) -> dict[str, int]:
    """The numbers in a file of lines that begin with a name and a number."""
    try:
        lines = [line.split() for line in file.read_text().splitlines()]
    except OSError:
        return {}
    return {line[0]: int(line[1]) for line in lines if len(line) > 1 and line[1].isdigit()}
