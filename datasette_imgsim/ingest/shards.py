"""Shards: Parquet files of images, with vectors, thumbnails and facts (docs/shards.md)."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from ..db.dtypes import DTYPES
from ..db.exchange import Record
from ..errors import ImgsimError, listed
from .recipe import Recipe
from .sources import LARGEST_INTEGER

if TYPE_CHECKING:
    import pyarrow

RECIPE = b"imgsim_recipe"
"""The key of the recipe in the metadata of a file."""
SUFFIX, PART = ".parquet", ".part"
"""Of a shard, and of one that is being written."""
ROWS_A_GROUP = 1_000
"""How many rows are in memory at once."""
TEXT, WHOLE, REAL, DATA = "string", "int64", "double", "binary"
TYPES = {
    "id": TEXT, "path": TEXT, "sha256": TEXT, "bytes": WHOLE, "mtime_ns": WHOLE,
    "taken_at": TEXT, "camera": TEXT, "width": WHOLE, "height": WHOLE, "format": TEXT,
    "latitude": REAL, "longitude": REAL, "thumbnail": DATA, "error": TEXT,
}  # fmt: skip
"""Arrow's types of all columns but vector and norms."""
KNOWN = (*TYPES, "vector", "norms")
OF_RECORD = ("id", "path", "sha256", "bytes", "mtime_ns", "thumbnail", "error")
PYTHON: dict[str, Any] = {TEXT: str, WHOLE: int, REAL: (int, float), DATA: bytes}


def packages() -> tuple[Any, Any]:
    """(pyarrow.parquet, fsspec). Raises ImgsimError if one is not installed."""
    try:
        import fsspec
        import pyarrow.parquet
    except ImportError as ex:
        raise ImgsimError(
            f"Shards need a package ({ex.name}): pip install 'datasette-imgsim[shards]'"
        ) from ex
    return pyarrow.parquet, fsspec


@contextmanager
def located(uri: str) -> Iterator[tuple[Any, str]]:
    """(file system, path in it) of a path or of a URI such as s3://bucket/folder.

    Errors of the file system become ImgsimError.
    """
    _, fsspec = packages()
    try:
        yield fsspec.core.url_to_fs(uri)
    except ImgsimError:
        raise
    except (OSError, ValueError, ImportError) as ex:
        # The errors of file systems have many forms; most name the file.
        raise ImgsimError(f"{uri}: {ex}") from ex


def below(fs, path: str) -> list[str]:
    """The shards in a folder and below, or the file itself; in order of name."""
    if fs.isfile(path):
        return [path]
    return sorted(file for file in fs.find(path) if file.endswith(SUFFIX))


def refuse_present(fs, path: str) -> None:
    """Raises ImgsimError for a file that is there, and for a folder that holds shards."""
    if fs.isfile(path):
        raise ImgsimError(f"{path} is there already: name another file, or remove it")
    if fs.exists(path) and below(fs, path):
        raise ImgsimError(f"{path} holds shards already: name a folder without any")


@contextmanager
def aside(fs, path: str) -> Iterator[str]:
    """The name under which a file is written, which then gets its own: so it is there whole."""
    name = f"{path}.{secrets.token_hex(4)}{PART}"
    try:
        yield name
        if "file" in fs.protocol:
            fs.mv(name, path)
        else:  # `mv` would take characters such as [ for a pattern
            fs.cp_file(name, path)
            fs.rm_file(name)
    except BaseException:
        with suppress(Exception):
            fs.rm_file(name)
        raise


def schema(recipe: Recipe) -> pyarrow.Schema:
    import pyarrow

    numbers = {"float16": pyarrow.float16(), "float32": pyarrow.float32()}[recipe.dtype]
    columns = {
        **{name: pyarrow.type_for_alias(kind) for name, kind in TYPES.items()},
        "vector": pyarrow.list_(numbers, recipe.dimensions),
        "norms": pyarrow.list_(pyarrow.float32(), len(recipe.levels)),
    }
    return pyarrow.schema(columns, metadata={RECIPE: recipe.json()})


def write(fs, path: str, recipe: Recipe, groups: Iterable[Sequence[Record]]) -> None:
    """Writes a shard of groups of records; it is there whole or not at all."""
    parquet, _ = packages()
    shape = schema(recipe)
    # Vectors and JPEG files hardly become smaller.
    plain = [name for name in shape.names if name not in ("vector", "norms", "thumbnail")]
    options = {"compression": dict.fromkeys(plain, "zstd"), "use_dictionary": False}
    with aside(fs, path) as name, fs.open(name, "wb") as file:
        with parquet.ParquetWriter(file, shape, **options) as writer:
            for group in groups:
                writer.write_batch(_batch(shape, recipe, group))


def _batch(shape: pyarrow.Schema, recipe: Recipe, records: Sequence[Record]) -> pyarrow.RecordBatch:
    import pyarrow

    arrays = []
    for column in shape:
        if column.name == "vector":
            rows = [record.vector for record in records]
            arrays.append(_matrix(column.type, rows, DTYPES[recipe.dtype]))
        elif column.name == "norms":
            arrays.append(_matrix(column.type, [record.norms for record in records], "<f4"))
        else:
            name = column.name
            values = [
                getattr(record, name) if name in OF_RECORD else record.facts.get(name)
                for record in records
            ]
            arrays.append(pyarrow.array([_typed(name, v) for v in values], column.type))
    return pyarrow.RecordBatch.from_arrays(arrays, schema=shape)


def _typed(name: str, value):
    """A value of a column; None for one of another type, as tables of other people may have."""
    kind = TYPES[name]
    is_one = isinstance(value, PYTHON[kind]) and not isinstance(value, bool)
    fits = kind != WHOLE or (is_one and abs(value) <= LARGEST_INTEGER)
    return value if is_one and fits else None


def _matrix(kind: pyarrow.DataType, rows: list, dtype: str) -> pyarrow.Array:
    """Rows of numbers, or None, as an array of lists of one length."""
    import pyarrow

    zeros = np.zeros(kind.list_size, dtype)
    numbers = np.concatenate([zeros if row is None else row.astype(dtype) for row in rows])
    return pyarrow.FixedSizeListArray.from_arrays(
        pyarrow.array(numbers), type=kind, mask=pyarrow.array([row is None for row in rows])
    )


def read(fs, path: str) -> tuple[Recipe | None, Iterator[list[Record]]]:
    """(recipe of a shard, or None if it was written by another program; its records in groups).

    Raises ImgsimError, also while the records are read.
    """
    parquet, _ = packages()
    import pyarrow

    try:
        file = parquet.ParquetFile(fs.open(path, "rb"))
    except pyarrow.ArrowInvalid as ex:
        raise ImgsimError(f"{path} is no Parquet file, or is incomplete: write it again") from ex
    text = (file.schema_arrow.metadata or {}).get(RECIPE)
    names = file.schema_arrow.names
    twice = [name for name in KNOWN if names.count(name) > 1]
    if twice:
        raise ImgsimError(f"{path} has two columns {twice[0]!r}: write it with one")
    missing = [name for name in ("path", "vector") if name not in names]
    if missing:
        raise ImgsimError(
            f"{path} has no column {listed(missing)}: the documentation of shards lists the columns"
        )
    try:
        recipe = Recipe.from_json(text) if text else None
    except ImgsimError as ex:
        raise ImgsimError(f"{path}: {ex}") from ex
    return recipe, _groups(file, path)


def _groups(file, path: str) -> Iterator[list[Record]]:
    import pyarrow

    known = [name for name in file.schema_arrow.names if name in KNOWN]
    with file:
        try:
            for batch in file.iter_batches(ROWS_A_GROUP, columns=known):
                yield _records(batch, path)
        except pyarrow.ArrowException as ex:
            raise ImgsimError(f"{path} is damaged: write it again ({str(ex):.100})") from ex


def _records(batch: pyarrow.RecordBatch, path: str) -> list[Record]:
    columns: dict[str, list[Any]] = {name: [None] * len(batch) for name in TYPES}
    for name in columns.keys() & set(batch.schema.names):
        columns[name] = [_typed(name, value) for value in batch.column(name).to_pylist()]
    vectors = _rows(batch, "vector", path)
    norms = _rows(batch, "norms", path)
    facts = [name for name in TYPES if name not in OF_RECORD]
    return [
        Record(
            **{name: columns[name][row] for name in OF_RECORD},
            facts={name: columns[name][row] for name in facts},
            vector=vectors[row],
            norms=norms[row],
        )
        for row in range(len(batch))
    ]


def _rows(batch: pyarrow.RecordBatch, name: str, path: str) -> list[np.ndarray | None]:
    """The lists of numbers in a column, None where there is none."""
    if name not in batch.schema.names:
        return [None] * len(batch)
    import pyarrow.types as types

    column = batch.column(name)
    kinds = (types.is_list, types.is_large_list, types.is_fixed_size_list)
    if not any(is_one(column.type) for is_one in kinds):
        raise ImgsimError(f"{path}: the column {name!r} has no lists of numbers")
    numbers = column.flatten().to_numpy(zero_copy_only=False)
    if numbers.dtype.kind != "f":
        raise ImgsimError(f"{path}: the column {name!r} has no lists of numbers")
    is_there = column.is_valid().to_numpy(zero_copy_only=False)
    lengths = [len(value) for value in column.drop_null()]
    parts = iter(np.split(numbers, np.cumsum(lengths)[:-1]))
    return [next(parts) if valid else None for valid in is_there]
