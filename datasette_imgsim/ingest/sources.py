"""What there is to embed: picture files under the given files and folders."""

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
SKIPPED_FOLDERS = {"__MACOSX"}


@dataclass(frozen=True)
class Item:
    """One picture: where it is, the name it has in the database, and how it looked when listed."""

    file: str
    """Empty where the picture is in the database."""
    name: int | str
    """The stored path of a file, or the key of a row."""
    size: int | None
    """In bytes."""
    mtime_ns: int | None
    error: str | None = None
    data: bytes | None = None

    def open(self) -> BinaryIO:
        return open(self.file, "rb") if self.data is None else io.BytesIO(self.data)


def find(paths: Iterable[str | Path], base: str | Path) -> Iterator[Item]:
    """Every picture file under `paths`, each once, named relative to the folder `base`.

    Hidden files and folders are skipped. Links to folders are followed, but no folder is entered
    twice. A file given by name is taken whatever its suffix.
    """
    base = os.path.abspath(base)
    seen: set[str] = set()
    for path in paths:
        path = os.path.abspath(path)
        files = _walk(path) if os.path.isdir(path) else [path]
        for file in files:
            if file not in seen:
                seen.add(file)
                yield _source(file, base)


def _walk(top: str) -> Iterator[str]:
    """Files with a picture's suffix; real folders before links, so that names stay short."""
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
            # The folder itself is named as a failure: its pictures cannot even be listed.
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


def _source(file: str, base: str) -> Item:
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
    """The item called `name`, which is a file."""
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
    return Item(file, name, status.st_size, status.st_mtime_ns, error)


def stored_name(file: str, base: str) -> str:
    """The path of a file as the database has it: relative to `base`, with '/'.

    Absolute where `base` is on another drive.
    """
    try:
        return os.path.relpath(file, base).replace(os.sep, "/")
    except ValueError:
        return file.replace(os.sep, "/")


def absolute_path(name: str, base: str | Path) -> str:
    """The file that `stored_name` gave this name."""
    return os.path.normpath(os.path.join(base, name))


def is_gone(file: str) -> bool:
    """Whether there is no such file; one in a folder that may not be entered is not gone."""
    try:
        os.lstat(file)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def can_be_listed(path: str) -> bool:
    return os.path.isdir(path) and os.access(path, os.R_OK | os.X_OK)


def os_reason(ex: OSError) -> str:
    """Why a file could not be read, in words."""
    if isinstance(ex, PermissionError):
        return "no permission to read the file"
    if isinstance(ex, FileNotFoundError):
        return "the file is gone, or a link that points nowhere"
    return f"the file cannot be read ({ex.strerror or ex})"
