"""Searches folders for picture files."""

from __future__ import annotations

import collections
import errno
import fnmatch
import os
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

SUFFIXES = {
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".tif", ".tiff", ".bmp",
    ".avif", ".heic", ".heif", ".hif",
}  # fmt: skip
SKIPPED_FOLDERS = (
    "__MACOSX",
    "@eaDir", "@tmp", "@Recycle", "@Recently-Snapshot", "#recycle", "#snapshot",
    "$RECYCLE.BIN", "RECYCLER", "System Volume Information", "lost+found", "found.[0-9]*",
    "Network Trash Folder", "Temporary Items", "trashbox",
    "thumbs", "_thumbs", "thumbnails", "*.lrdata",
    "appdata_*", "files_trashbin", "files_versions", "pwg_representative",
)  # fmt: skip
"""Patterns of folders that photo managers, NAS and systems make: bins, snapshots, previews."""
LIBRARIES = (".photoslibrary", ".photolibrary", ".migratedphotolibrary", ".aplibrary")
"""What the names of photo libraries of macOS end with."""
ORIGINALS = {"originals", "masters"}
"""The folders of such a library that hold what was imported; all others hold copies of that."""
LONGEST_SUFFIX = 12


@dataclass(frozen=True)
class Found:
    """A file with a picture's suffix, or a folder that cannot be searched."""

    path: str
    error: str | None = None
    """Why the folder cannot be searched."""


@dataclass(frozen=True)
class _Folder:
    path: str
    real: str
    """Its path without links."""
    top: str
    """The folder that was given, which it is in."""


class Search:
    """A search through several folders, which enters no folder twice.

    Folders are told apart by their real paths: on some file systems they share inode numbers.
    """

    def __init__(
        self,
        exclude: Iterable[str] = (),
        follow: bool = True,
        suffixes: Collection[str] = frozenset(SUFFIXES),
    ):
        """`exclude` has patterns of names and of paths; `follow` says whether links are entered.

        Files with one of the `suffixes` are found.
        """
        self.suffixes = suffixes
        self.exclude = [pattern.rstrip("/").casefold() for pattern in exclude]
        self.follow = follow
        self.left_out: collections.Counter[str] = collections.Counter()
        """How many files of other suffixes, and folders of SKIPPED_FOLDERS, there are by name."""
        self.entered: set[str] = set()
        self.links: list[_Folder] = []

    def files(self, top: str) -> Iterator[Found]:
        """What is found in a folder without entering links to folders, which are remembered."""
        yield from self._below(_Folder(top, os.path.realpath(top), top))

    def linked_files(self) -> Iterator[Found]:
        """What is found through the remembered links; they come last, so that paths stay short."""
        while self.links:
            yield from self._below(self.links.pop())

    def _below(self, top: _Folder) -> Iterator[Found]:
        folders = [top]
        while folders:
            folder = folders.pop()
            if folder.real in self.entered:
                continue
            self.entered.add(folder.real)
            below: list[_Folder] = []
            try:
                entries = sorted(os.scandir(folder.path), key=lambda entry: entry.name)
            except OSError as ex:
                yield Found(folder.path, folder_reason(ex))
                continue
            for entry in entries:
                if not self._is_excluded(entry, folder):
                    yield from self._look_at(entry, folder, below)
            folders.extend(reversed(below))

    def _look_at(
        self, entry: os.DirEntry, folder: _Folder, below: list[_Folder]
    ) -> Iterator[Found]:
        """Sorts one entry of a folder: a file is found, a folder is to be searched."""
        try:
            is_folder = _is_folder(entry)
        except OSError as ex:
            yield Found(entry.path, folder_reason(ex))
            return
        if is_folder:
            if _is_skipped(entry.name):
                self.left_out[f"{entry.name}/"] += 1
            elif entry.is_symlink():
                self.links.append(_Folder(entry.path, os.path.realpath(entry.path), folder.top))
            else:
                real = os.path.join(folder.real, entry.name)
                below.append(_Folder(entry.path, real, folder.top))
        elif (suffix := os.path.splitext(entry.name)[1].lower()) in self.suffixes:
            yield Found(entry.path)
        else:
            self.left_out[_kind(suffix)] += 1

    def _is_excluded(self, entry: os.DirEntry, folder: _Folder) -> bool:
        """Whether an entry is hidden, is excluded by the user, or is a copy in a photo library."""
        if entry.name.startswith(".") or (entry.is_symlink() and not self.follow):
            return True
        if folder.real.casefold().endswith(LIBRARIES) and entry.name.casefold() not in ORIGINALS:
            return True
        return self.excludes(entry.name, os.path.relpath(entry.path, folder.top), entry.path)

    def excludes(self, *names: str) -> bool:
        """Whether the user has excluded one of these names or paths."""
        return bool(self.exclude) and any(
            fnmatch.fnmatchcase(name.replace(os.sep, "/").casefold(), pattern)
            for name in names
            for pattern in self.exclude
        )


def _kind(suffix: str) -> str:
    """The suffix of a file that is left out, as the summary shows it."""
    if not suffix:
        return "without a suffix"
    is_plain = suffix[1:].isalnum() and suffix.isascii() and len(suffix) <= LONGEST_SUFFIX
    return suffix if is_plain else "with odd suffixes"


def _is_skipped(name: str) -> bool:
    folded = name.casefold()
    return any(fnmatch.fnmatchcase(folded, pattern.casefold()) for pattern in SKIPPED_FOLDERS)


def _is_folder(entry: os.DirEntry) -> bool:
    """Whether an entry is a folder, or a link to one. Raises OSError if that cannot be known."""
    try:
        return entry.is_dir()
    except OSError as ex:
        if ex.errno == errno.ELOOP:  # a link to itself
            return False
        raise


def folder_reason(ex: OSError) -> str:
    """The reason, in words, why a folder could not be searched."""
    if isinstance(ex, PermissionError):
        return "no permission to list this folder"
    return f"this folder cannot be listed ({ex.strerror or ex})"
