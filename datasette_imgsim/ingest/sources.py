"""Finds picture files in files and folders."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

SUFFIXES = {
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".tif", ".tiff", ".bmp",
    ".avif", ".heic", ".heif", ".hif",
}  # fmt: skip
LARGEST_INTEGER = 2**63 - 1
"""In SQLite."""
SKIPPED_FOLDERS = {"__MACOSX"}


@dataclass(frozen=True)
class Item:
    """One picture to embed."""

    file: str
    """Its absolute path; empty if the picture is in the database."""
    name: int | str
    """The stored path of a file, or the key of a row."""
    size: int | None
    """In bytes, when it was listed."""
    mtime_ns: int | None
    """When it was listed; None for a picture in the database, and if SQLite cannot hold it."""
    error: str | None = None
    """Why it cannot be embedded, if that is clear without reading it."""
    data: bytes | None = None
    """The bytes of a picture in the database, once they were read."""

    def open(self) -> BinaryIO:
        """The picture as a binary file. Raises OSError."""
        return open(self.file, "rb") if self.data is None else io.BytesIO(self.data)


def find(paths: Iterable[str | Path], base: str | Path) -> Iterator[Item]:
    """The picture files in `paths`, each once, named relative to the folder `base`.

    Folders are searched recursively for files with a picture's suffix, except hidden files and
    folders. Links to folders are followed, but no folder is entered twice. A path that is a file
    may have any suffix.
    """
    base = os.path.abspath(base)
    seen: set[str] = set()
    for path in paths:
        path = os.path.abspath(path)
        files = _walk(path) if os.path.isdir(path) else [path]
        for file in files:
            if file not in seen:
                seen.add(file)
                yield _item(file, base)


def _walk(top: str) -> Iterator[str]:
    """The files in a folder with a picture's suffix; links last, so that paths stay short."""
    entered: set[tuple[int, int]] = set()
    folders = [top]
    links: list[str] = []
    while folders or links:
        folder = folders.pop() if folders else links.pop()
        try:
            identity = os.stat(folder)
            if (identity.st_dev, identity.st_ino) in entered:
                continue
            entered.add((identity.st_dev, identity.st_ino))
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError:
            # The folder itself becomes a failure, since its pictures cannot be listed.
            yield folder
            continue
        below: list[str] = []
        for entry in entries:
            if entry.name.startswith(".") or entry.name in SKIPPED_FOLDERS:
                continue
            if os.path.isdir(entry):
                (links if entry.is_symlink() else below).append(entry.path)
            elif os.path.splitext(entry.name)[1].lower() in SUFFIXES:
                yield entry.path
        folders.extend(reversed(below))


def _item(file: str, base: str) -> Item:
    name = stored_name(file, base)
    try:
        name.encode()
    except UnicodeEncodeError:
        escaped = os.fsencode(name).decode("utf-8", "backslashreplace")
        return Item(
            file, escaped, None, None, "the file's name is not valid UTF-8: rename the file"
        )
    return file_item(file, name)


def file_item(file: str, name: int | str) -> Item:
    """The item called `name` of a file; it has an error if that cannot be a picture."""
    try:
        status = os.stat(file)
    except OSError as ex:
        return Item(file, name, None, None, os_reason(ex))
    except ValueError:
        return Item(file, name, None, None, "no path: it contains a NUL character")
    if stat.S_ISDIR(status.st_mode):
        reason = (
            "a folder and no picture file"
            if can_be_listed(file)
            else "no permission to list this folder"
        )
        return Item(file, name, None, None, reason)
    # Opening a pipe would wait for ever.
    error = None if stat.S_ISREG(status.st_mode) else "a pipe, socket or device and no picture file"
    return Item(file, name, _storable(status.st_size), _storable(status.st_mtime_ns), error)


def _storable(number: int) -> int | None:
    """The number, or None if SQLite cannot hold it: nanoseconds since 1970 end in the year 2262."""
    return number if -LARGEST_INTEGER <= number <= LARGEST_INTEGER else None


def stored_name(file: str, base: str) -> str:
    """The path of a file as stored: relative to `base` and with '/'; absolute on another drive."""
    try:
        return os.path.relpath(file, base).replace(os.sep, "/")
    except ValueError:
        return file.replace(os.sep, "/")


def absolute_path(name: str, base: str | Path) -> str:
    """The absolute path of a stored one."""
    return os.path.normpath(os.path.join(base, name))


def is_gone(file: str) -> bool:
    """Whether a file does not exist; False if its folder may not be entered."""
    try:
        os.lstat(file)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def can_be_listed(path: str) -> bool:
    """Whether a path is a folder whose entries may be read."""
    return os.path.isdir(path) and os.access(path, os.R_OK | os.X_OK)


def os_reason(ex: OSError) -> str:
    """The reason, in words, why a file could not be read."""
    if isinstance(ex, PermissionError):
        return "no permission to read the file"
    if isinstance(ex, FileNotFoundError):
        return "the file is gone, or a link that points nowhere"
    return f"the file cannot be read ({ex.strerror or ex})"
