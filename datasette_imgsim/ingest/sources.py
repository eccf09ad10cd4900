"""Finds picture files in files and folders."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from .folders import Found, Search

HASH_BLOCK = 1 << 20
LARGEST_INTEGER = 2**63 - 1
"""In SQLite."""


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
    path: str | None = None
    """The path in the row of a user's own table, as it stands there."""
    inode: tuple[int, int] | None = None
    """Device and inode of its file, if the file system has them."""

    @property
    def stamp(self) -> tuple[int | None, int | None, str | None]:
        """What tells without reading whether a picture is the one that was read before."""
        return self.size, self.mtime_ns, self.path

    def open(self) -> BinaryIO:
        """The picture as a binary file. Raises OSError."""
        return open(self.file, "rb") if self.data is None else io.BytesIO(self.data)


def find(
    paths: Iterable[str | Path], base: str | Path, search: Search | None = None
) -> Iterator[Item]:
    """The picture files in `paths`, each once, named relative to the folder `base`.

    Folders are searched recursively; `search` says how, and counts what it leaves out. A path that
    is a file may have any suffix.
    """
    base = os.fspath(base)
    seen: set[str] = set()
    by_inode: dict[tuple[int, int], Item] = {}
    for found in _found(paths, search or Search()):
        if found.path in seen:
            continue
        seen.add(found.path)
        item = _item(found, base)
        first = by_inode.setdefault(item.inode, item) if item.inode else item
        if first is item or not _is_same_path(first.file, item.file):
            yield item


def _found(paths: Iterable[str | Path], search: Search) -> Iterator[Found]:
    for path in paths:
        path = os.path.abspath(path)
        if os.path.isdir(path):
            yield from search.files(path)
        else:
            yield Found(path)
    yield from search.linked_files()


def _item(found: Found, base: str) -> Item:
    file, name = found.path, stored_name(found.path, base)
    try:
        name.encode()
    except UnicodeEncodeError:
        escaped = os.fsencode(name).decode("utf-8", "backslashreplace")
        return Item(
            file, escaped, None, None, "the file's name is not valid UTF-8: rename the file"
        )
    if found.error:
        return Item(file, name, None, None, found.error)
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
    inode = (status.st_dev, status.st_ino) if status.st_ino else None
    size, mtime_ns = _storable(status.st_size), _storable(status.st_mtime_ns)
    return Item(file, name, size, mtime_ns, error, inode=inode)


def is_same_file(one: Item, other: Item) -> bool:
    """Whether two items are one file, reached in two ways; hard links and links to files are not.

    Some file systems give an inode number to several files, so size and mtime must be equal, too.
    """
    stamps = [(item.inode, item.size, item.mtime_ns) for item in (one, other)]
    if one.inode is None or stamps[0] != stamps[1]:
        return False
    if _is_same_path(one.file, other.file):
        return True
    files = (one.file, other.file)
    return os.stat(one.file).st_nlink == 1 and not any(map(os.path.islink, files))


def _is_same_path(one: str, other: str) -> bool:
    """Whether two paths differ only in links to folders, in case, or in how accents are encoded."""
    return _folded(one) == _folded(other)


def _folded(file: str) -> str:
    folder, name = os.path.split(file)
    path = os.path.join(os.path.realpath(folder), name)
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", path).casefold())


def _storable(number: int) -> int | None:
    """The number, or None if SQLite cannot hold it: nanoseconds since 1970 end in the year 2262."""
    return number if -LARGEST_INTEGER <= number <= LARGEST_INTEGER else None


def given_path(path: str | Path, base: str | Path) -> Path:
    """The absolute path of what a user gives, with no link among the folders above it.

    So a file has one stored path, whatever the way to it. What is given may be a link itself and
    keeps its name, unless the database is in there.
    """
    head, tail = os.path.split(os.fspath(path).rstrip(os.sep) or os.sep)
    try:
        real = os.path.realpath(path)
    except ValueError:  # a NUL character
        return Path(path).absolute()
    if tail in ("", os.curdir, os.pardir) or os.path.join(base, "").startswith(f"{real}{os.sep}"):
        return Path(real)
    return Path(os.path.realpath(head), tail)


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


def digest(file: BinaryIO) -> str:
    """The SHA-256 of what is in a file, as hexadecimal digits. Raises OSError."""
    sha256 = hashlib.sha256()
    while block := file.read(HASH_BLOCK):
        sha256.update(block)
    return sha256.hexdigest()
