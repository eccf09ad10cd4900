"""Shards: Parquet files of images, with vectors, thumbnails and facts (docs/shards.md)."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from ..db.dtypes import DTYPES
from ..db.exchange import Record
from ..errors import ImgsimError, listed
from .recipe import Recipe

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
    aside = f"{path}.{secrets.token_hex(4)}{PART}"
    shape = schema(recipe)
    # Vectors and JPEG files hardly become smaller.
    plain = [name for name in shape.names if name not in ("vector", "norms", "thumbnail")]
    with fs.open(aside, "wb") as file:
        with parquet.ParquetWriter(
            file, shape, compression=dict.fromkeys(plain, "zstd"), use_dictionary=False
        ) as writer:
            for group in groups:
                writer.write_batch(_batch(shape, recipe, group))
    fs.mv(aside, path)


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
    is_one = isinstance(value, PYTHON[TYPES[name]]) and not isinstance(value, bool)
    return value if is_one else None


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
    missing = [name for name in ("path", "vector") if name not in file.schema_arrow.names]
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

    known = [name for name in file.schema_arrow.names if name in (*TYPES, "vector", "norms")]
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
    column = batch.column(name)
    if not hasattr(column, "flatten"):
        raise ImgsimError(f"{path}: the column {name!r} has no lists of numbers")
    numbers = column.flatten().to_numpy(zero_copy_only=False)
    if numbers.dtype.kind != "f":
        raise ImgsimError(f"{path}: the column {name!r} has no lists of numbers")
    is_there = column.is_valid().to_numpy(zero_copy_only=False)
    lengths = [len(value) for value in column.drop_null()]
    parts = iter(np.split(numbers, np.cumsum(lengths)[:-1]))
    return [next(parts) if valid else None for valid in is_there]
