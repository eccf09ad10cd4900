"""Vectors in an engine, a database made for them: what an engine does, and an index on one.

A *version* of a space is what one `push` made of it: its vectors are centred with the centre that
the space had then, and each level is unit length, so that the engine's inner product with a
weighted query is the score.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import threading
import time
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeAlias

import numpy as np
from cachetools import TTLCache

from .. import hookspecs
from ..db.spaces import Space
from ..db.tables import SourceTable
from ..errors import ImgsimError, check_choice
from ..limits import LIMITS
from .index import READ_AHEAD, Index
from .vectors import centred, decoded, stored_blobs

FEWEST, ALLOWANCE = 200, 2
"""An engine chooses ALLOWANCE times as many candidates as results, and at least FEWEST."""
BYTES_KEPT = 32_000_000
"""Vectors read from an engine that are kept for a moment."""
DEFAULT = "milvus"


class EngineError(ImgsimError):
    """An engine does not answer, or cannot do what is asked."""


class Version(Protocol):
    """What one push made of a space. Methods raise EngineError."""

    @property
    def name(self) -> str:
        """No other version has it."""

    @property
    def kind(self) -> str:
        """Of its index, one of the engine's `kinds`."""

    @property
    def generation(self) -> int:
        """Of the space, when it was pushed last."""

    @property
    def centre(self) -> np.ndarray:
        """(dimensions,) float32, subtracted from the vectors; zeros without centring."""

    @property
    def has_integers(self) -> bool:
        """Whether the ids of the images are whole numbers; else they may be text, too."""

    def count(self) -> int:
        """How many images it has."""

    def candidates(self, query: np.ndarray, k: int) -> list:
        """The ids of about the k images with the largest inner products, fewer if it has fewer."""

    def vectors(self, ids: Sequence) -> dict:
        """{id: vector (dimensions,) float32}, for those that it has."""

    def marks(self, ids: Sequence) -> dict:
        """{id: the mark it was put with}, for those that it has."""

    def ids(self) -> Iterator[list]:
        """All ids, piece by piece."""

    def put(self, ids: Sequence, marks: Sequence[int], vectors: np.ndarray) -> None:
        """Stores vectors (n, dimensions), in place of older ones of these images."""

    def delete(self, ids: Sequence) -> None:
        """Removes images."""


class Engine(Protocol):
    """A database for vectors. Methods raise EngineError."""

    most: int
    """The most candidates that it gives."""
    kinds: tuple[str, ...]
    """The kinds of index it has, the default one first."""
    writers: int
    """How many threads may put vectors at a time."""
    reserved: int
    """The whole number that it uses itself."""
    is_shared: bool
    """Whether other programs may read it meanwhile."""

    def published(self, key: str) -> Version | None:
        """The version of a space that readers see; `key` is from `key_of`."""

    def create(
        self, key: str, kind: str, count: int, centre: np.ndarray, has_integers: bool
    ) -> Version:
        """A new version, empty, for `count` images. Readers do not see it."""

    def publish(self, key: str, version: Version, generation: int) -> None:
        """Waits until all that was put can be found; then readers see this version."""

    def drop_others(self, key: str, version: Version | None) -> None:
        """Frees all versions of a space but this one."""

    def close(self) -> None:
        """Ends the connection."""


Open: TypeAlias = Callable[[str, "str | None", float], Engine]


def open_engine(name: str, uri: str, token: str | None, timeout: float) -> Engine:
    """Connects to an engine, by its name. Calls of readers end after `timeout` seconds.

    Raises ImgsimError.
    """
    known = engines()
    check_choice("An engine", name, known)
    return known[name](uri, token, timeout)


def engines() -> dict[str, Open]:
    """The engines by name: ours, then those that other packages register."""
    from . import milvus

    by_name: dict[str, Open] = {DEFAULT: milvus.Milvus}
    hookspecs.plugins().hook.register_imgsim_engines(register=by_name.__setitem__)
    return by_name


def key_of(space: Space) -> str:
    """The name under which an engine knows a space: the same in each copy of its database."""
    digest = hashlib.sha256(json.dumps(space.identity).encode()).hexdigest()
    return f"imgsim_{digest[:24]}"


class Ids(Sequence):
    """The ids of images in an engine, by row. They are not at hand all at once."""

    def __init__(self, total: int):
        self.total = total

    def __len__(self) -> int:
        return self.total

    def __iter__(self):
        raise EngineError("Images that are in an engine are not read all at once")

    @abstractmethod
    def row(self, id) -> int | None:
        """The row of an id, whether it is there or not; None if it cannot be."""


class Same(Ids):
    """Whole numbers as ids: they are rows as well."""

    def __getitem__(self, row):
        return int(row)

    def row(self, id):
        """As in Ids; None for one that is no whole number of 64 bits."""
        if not isinstance(id, (int, float)) or not -(2**63) <= id < 2**63 or id != int(id):
            return None
        return int(id)


class Numbered(Ids):
    """Any ids, which get rows as they appear."""

    def __init__(self, total: int):
        super().__init__(total)
        self.known: list = []
        self.rows: dict = {}
        self.lock = threading.Lock()

    def __getitem__(self, row):
        return self.known[row]

    def row(self, id):
        """As in Ids."""
        with self.lock:
            row = self.rows.setdefault(id, len(self.known))
            if row == len(self.known):
                self.known.append(id)
        return row


@dataclass(eq=False)
class InEngine(Index):
    """An index on a version in an engine. Nothing but a sample of the vectors is in memory.

    The engine chooses candidates. They are scored with the vectors in the database, or with those
    of the engine where the database has none.
    """

    ids: Ids
    version: Version = field(kw_only=True)
    checked: float = field(default=0.0, kw_only=True)
    """When it was known to be what readers should see, as time.monotonic()."""
    most: int = field(kw_only=True)
    """The most candidates that the engine gives."""

    place = "in the engine"

    def __post_init__(self):
        self.most_hits = self.most // ALLOWANCE
        self.kept = TTLCache(BYTES_KEPT, LIMITS.seconds_between_reloads, time.monotonic, _size)

    def row(self, conn, id):
        """As in Index; also for an image that was embedded since the push."""
        row = self.ids.row(id)
        if row is None:
            return None
        try:
            return row if self._read(conn, [self.ids[row]]) else None
        except (OverflowError, UnicodeEncodeError):  # SQLite cannot hold such an id
            return None

    def vector(self, conn, row):
        return self.vectors(conn, [row])[0]

    def vectors(self, conn, rows):
        """As in Index; zeros for an image that was removed a moment ago."""
        ids = [self.ids[row] for row in rows]
        found = self._read(conn, ids)
        nothing = np.zeros(self.space.dimensions, np.float32)
        return np.array([found.get(id, nothing) for id in ids]).reshape(-1, len(nothing))

    def check(self):
        self.version.count()

    def some_rows(self, conn, count):
        """As in Index, from all parts of the table."""
        rows = [self.ids.row(id) for id in self.table.spread(conn, count)]
        ids = [self.ids[row] for row in rows if row is not None]
        return np.array(sorted(self.ids.row(id) for id in self._read(conn, ids)), int)

    def scaled(self, factors):
        raise EngineError("Vectors that are in an engine are not read all at once")

    def candidates(self, query, count):
        count = min(count, len(self))
        if count > self.most:
            raise EngineError(
                f"The engine finds at most {self.most:,} images, not {count:,}: ask for fewer, or "
                "run 'datasette imgsim push' if many images were deleted since"
            )
        wanted = min(max(FEWEST, ALLOWANCE * count), self.most)
        ids = self.version.candidates(query, wanted)
        return np.array(sorted(self.ids.row(id) for id in ids), int)

    def _read(self, conn: sqlite3.Connection, ids: list) -> dict:
        """{id: centred vector} of those images that have one, at most a moment old."""
        known, unknown = {}, []
        with self.lock:
            for id in ids:
                vector = self.kept.get(id, self)
                if vector is self:
                    unknown.append(id)
                else:
                    known[id] = vector
        if unknown:
            read = self._read_anew(conn, unknown)
            known |= read
            with self.lock:
                for id, vector in read.items():
                    self.kept[id] = vector
        return {id: known[id] for id in ids if known[id] is not None}

    def _read_anew(self, conn: sqlite3.Connection, ids: list) -> dict:
        """{id: centred vector, or None}, from the database, else from the engine.

        Of a single image also those around it, which a statement often needs next.
        """
        around = ids
        if len(ids) == 1 and self.version.has_integers:
            start = ids[0] - ids[0] % READ_AHEAD
            around = list(range(max(start, -(2**63)), min(start + READ_AHEAD, 2**63)))
        blobs = stored_blobs(conn, self.space, around)
        raw, usable = decoded(self.space, blobs)
        stored = [id for id, is_usable in zip(around, usable) if is_usable]
        found: dict = dict(zip(stored, centred(self.space, self.centre, raw)))
        if any(id not in found for id in ids):
            missing = [id for id in around if id not in found]
            read = self.version.vectors(missing)
            found |= {id: read.get(id) for id in missing}
        return found


def _size(vector: np.ndarray | None) -> int:
    return 64 if vector is None else vector.nbytes


def opened(
    conn: sqlite3.Connection, space: Space, engine: Engine, held: InEngine | None
) -> InEngine:
    """The index on the version that readers should see: `held`, if that is the one.

    Raises ImgsimError.
    """
    checked = time.monotonic()
    version = engine.published(key_of(space))
    if version is None:
        raise ImgsimError(
            "it was not pushed to the engine yet: run 'datasette imgsim push DATABASE URI'"
        )
    if held and (held.version.name, held.version.generation) == (version.name, version.generation):
        held.checked = checked
        return held
    if len(version.centre) != space.dimensions:
        raise ImgsimError("the engine has other vectors: push it again")
    ids = (Same if version.has_integers else Numbered)(version.count())
    table = SourceTable.read(conn, space.source_table)
    pushed = replace(space, generation=version.generation)
    return InEngine(
        pushed, table, version.centre, ids, [], version=version, checked=checked, most=engine.most
    )
