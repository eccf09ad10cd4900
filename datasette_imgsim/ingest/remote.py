"""Pictures that lie anywhere: in folders, object storage, tar files and Parquet files."""

from __future__ import annotations

import datetime
import os
import tarfile
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from ..errors import ImgsimError
from . import folders, shards, sources
from .folders import Search

COLUMNS = ("image", "bytes", "jpg", "png", "picture")
"""Columns of Parquet files that hold pictures; the first one that does is taken."""
CONTAINERS = (".tar", shards.SUFFIX)
LIST = ".txt"
SUFFIXES = frozenset((*folders.SUFFIXES, *CONTAINERS))
"""Of the files that a Search has to find."""


@dataclass(frozen=True)
class Place:
    """Where a picture is, told without reading it."""

    name: str
    """The path or URI of its file; of a part of a file, with the part behind a "#"."""
    size: int | None
    """In bytes; None if that is not known."""
    mtime_ns: int | None
    uri: str
    """Of the file."""
    start: int | None = None
    """Where the picture begins in a tar file, in bytes."""
    row: tuple[int, int, str] | None = None
    """(row group, row in it, column) in a Parquet file."""
    error: str | None = None
    """Why it cannot be embedded, if that is clear without reading it."""


def find(given: Iterable[str], search: Search) -> Iterator[Place]:
    """The pictures of files, folders and URIs, in order of what is given, each once.

    A tar file (WebDataset) and a Parquet file stand for the pictures in them, a .txt file for the
    paths and URIs in its lines. `search` is made with SUFFIXES of this module. Raises ImgsimError
    where what is given cannot be used; a file in a folder that cannot is a place with an error.
    """
    seen = set()
    for one in given:
        for place in _of(one, search):
            if place.name not in seen:
                seen.add(place.name)
                yield place


def _of(given: str, search: Search, in_list: bool = False) -> Iterator[Place]:
    if _suffix(given) == LIST and not in_list:
        with shards.located(given) as (fs, path), fs.open(path, "rb") as file:
            lines = file.read().decode("utf-8-sig", "replace").splitlines()
        for line in filter(str.strip, lines):
            yield from _of(absolute(line), search, True)
    elif "://" in given:
        yield from _in_storage(given, search)
    elif not os.path.lexists(given):
        raise ImgsimError(f"{given} does not exist")
    elif _is_container(given):
        yield from _in_container(os.path.abspath(given))
    else:
        yield from _in_folder(given, search)


def absolute(given: str) -> str:
    """A URI, or the absolute path of a local file."""
    return given if "://" in given else os.path.abspath(given)


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def _is_container(path: str) -> bool:
    return _suffix(path) in CONTAINERS and not os.path.isdir(path)


def _in_folder(given: str, search: Search) -> Iterator[Place]:
    """Local files, and what is in tar and Parquet files among them."""
    for item in sources.find([given], os.path.abspath(os.sep), search):
        name = f"{os.sep}{item.name}" if os.sep == "/" else str(item.name)
        if _is_container(item.file) and item.error is None:
            yield from _sound(name, item.file)
        else:
            yield Place(name, item.size, item.mtime_ns, item.file, error=item.error)


def _in_storage(uri: str, search: Search) -> Iterator[Place]:
    with shards.located(uri) as (fs, path):
        files = fs.find(path, detail=True)
        if not files:
            raise ImgsimError(f"{uri} has no files, or does not exist")
        is_one = list(files) == [path]
        for name, info in sorted(files.items()):
            full, below = fs.unstrip_protocol(name), name[len(path) :].strip("/")
            hidden = any(part.startswith(".") for part in below.split("/"))
            if not is_one and (hidden or search.excludes(os.path.basename(name), below, full)):
                continue
            if _suffix(name) in CONTAINERS:
                yield from _in_container(full) if is_one else _sound(full, full)
            elif is_one or _suffix(name) in search.suffixes:
                yield Place(full, info.get("size"), _changed_at(info), full)


def _sound(name: str, uri: str) -> Iterator[Place]:
    """The pictures in a tar or Parquet file; a place with an error if it cannot be read."""
    try:
        yield from _in_container(uri)
    except ImgsimError as ex:
        yield Place(name, None, None, uri, error=str(ex))


def _in_container(uri: str) -> Iterator[Place]:
    yield from _in_tar(uri) if _suffix(uri) == ".tar" else _in_parquet(uri)


def _changed_at(info: dict[str, Any]) -> int | None:
    """When a file was changed, in nanoseconds since 1970; file systems tell it in several ways."""
    for key in ("mtime", "LastModified", "updated", "last_modified"):
        value = info.get(key)
        if isinstance(value, (int, float)):
            return int(value * 1e9)
        if isinstance(value, datetime.datetime):
            return int(value.timestamp() * 1e9)
    return None


def _in_tar(uri: str) -> Iterator[Place]:
    """The picture files in a tar file, which must not be compressed."""
    with shards.located(uri) as (fs, path), fs.open(path, "rb") as file:
        mtime_ns = _changed_at(fs.info(path))
        try:
            with tarfile.open(fileobj=file, mode="r:") as archive:
                for member in archive:
                    if member.isfile() and _suffix(member.name) in folders.SUFFIXES:
                        yield Place(
                            f"{_full(fs, uri, path)}#{member.name}", member.size, mtime_ns, uri,
                            start=member.offset_data,
                        )  # fmt: skip
        except tarfile.TarError as ex:
            raise ImgsimError(f"{uri} is no tar file, or is damaged or compressed: {ex}") from ex


def _in_parquet(uri: str) -> Iterator[Place]:
    """The rows of a Parquet file with a column of pictures, or of {bytes, path}."""
    parquet, _ = shards.packages()
    import pyarrow

    with shards.located(uri) as (fs, path), fs.open(path, "rb") as opened:
        mtime_ns = _changed_at(fs.info(path))
        try:
            file = parquet.ParquetFile(opened)
        except pyarrow.ArrowInvalid as ex:
            raise ImgsimError(f"{uri} is no Parquet file, or is incomplete") from ex
        if shards.RECIPE in (file.schema_arrow.metadata or {}):
            return  # a shard holds no pictures
        schema = file.schema_arrow
        names = [name for name in COLUMNS if schema.names.count(name) == 1]
        column = next((name for name in names if _holds_bytes(schema.field(name).type)), None)
        if column is None:
            raise ImgsimError(
                f"{uri} has no column of pictures, called one of {', '.join(COLUMNS)}"
            )
        number = 0
        for group in range(file.num_row_groups):
            for row in range(file.metadata.row_group(group).num_rows):
                name = f"{_full(fs, uri, path)}#{number}"
                yield Place(name, None, mtime_ns, uri, row=(group, row, column))
                number += 1


def _holds_bytes(kind) -> bool:
    """Whether a type of Arrow is binary, or a struct with binary `bytes`."""
    import pyarrow.types as types

    if types.is_struct(kind):
        index = kind.get_field_index("bytes")
        return index >= 0 and _holds_bytes(kind.field(index).type)
    return types.is_binary(kind) or types.is_large_binary(kind)


def _full(fs, uri: str, path: str) -> str:
    return uri if "://" in uri else path


class Reader:
    """Reads the bytes of pictures; any thread may call.

    The row group of a Parquet file that was read last is kept.
    """

    def __init__(self) -> None:
        self.group: tuple[tuple, list] | None = None
        self.reading = threading.Lock()

    def read(self, place: Place) -> str | bytes:
        """The bytes of a picture, or the path of a local file. Raises ImgsimError."""
        if "://" not in place.uri and place.start is None and place.row is None:
            return place.uri
        if place.row is not None:
            with self.reading:
                return self._row(place.uri, place.row)
        with shards.located(place.uri) as (fs, path):
            if place.start is None:
                return fs.cat_file(path)
            return fs.cat_file(path, place.start, place.start + (place.size or 0))

    def _row(self, uri: str, row: tuple[int, int, str]) -> bytes:
        group, number, column = row
        if self.group is None or self.group[0] != (uri, group, column):
            parquet, _ = shards.packages()
            with shards.located(uri) as (fs, path), fs.open(path, "rb") as opened:
                values = parquet.ParquetFile(opened).read_row_group(group, columns=[column])
            self.group = (uri, group, column), values.column(column).to_pylist()
        value = self.group[1][number]
        value = value.get("bytes") if isinstance(value, dict) else value
        if not isinstance(value, bytes):
            raise ImgsimError("the row holds no picture")
        return value
