"""Messages between a process and its decoder's: a line of JSON, then bytes. None is run."""

from __future__ import annotations

import json
from typing import IO

LONGEST_LINE = 1_000_000
MOST_BYTES = 2_000_000_000


def send(file: IO[bytes], message: dict, *contents: bytes | memoryview) -> None:
    """Writes a message and the bytes that belong to it. Raises OSError."""
    sizes = [len(content) for content in contents]
    line = json.dumps(message | {"sizes": sizes}).encode() + b"\n"
    # In one piece, for which the other process wakes once.
    file.write(b"".join([line, *contents]))
    file.flush()


def receive(file: IO[bytes]) -> tuple[dict, list[bytes]]:
    """The next message and its bytes. Raises EOFError if it does not come, or not as a whole."""
    line = file.readline(LONGEST_LINE)
    try:
        message = json.loads(line)
        sizes = message.pop("sizes")
        if sum(sizes) > MOST_BYTES:
            raise ValueError
        contents = [file.read(size) for size in sizes]
    except (ValueError, KeyError, AttributeError, TypeError) as ex:
        raise EOFError from ex
    if [len(content) for content in contents] != sizes:
        raise EOFError
    return message, contents
