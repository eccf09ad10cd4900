"""The table imgsim_neighbours: the images most like each image of a space."""

from __future__ import annotations

import json
import sqlite3
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ..limits import LIMITS
from ..progress import Progress, silent
from . import replacing
from .connect import Writer
from .spaces import Space, read_numbers, save_numbers
from .tables import SourceTable

COLUMNS = ("space_id", "image_key", "rank", "neighbour_key", "score")
KEY = ("image_key", "rank")
LISTS_A_READ = 2_000
"""How many lists are read at once: a long read keeps other writers waiting."""
DIGITS = 6
"""Of a score, as in `search.ranking`."""


@dataclass(frozen=True)
class Neighbours:
    """The images most like each of n images, k at most, best first."""

    keys: Sequence
    """The keys of the images as stored, (n,), in ascending order."""
    rows: np.ndarray
    """(n, k) int32: the places in `keys` of the neighbours; -1 at the end where they are fewer."""
    scores: np.ndarray
    """(n, k) float32, -1..1; -inf where there is no neighbour."""


@dataclass(frozen=True)
class Stamp:
    """What the stored neighbours of a space were computed from."""

    generation: int
    """The generation of the space."""
    k: int
    """How many neighbours each image has, if there are so many others."""


def read_stamp(conn: sqlite3.Connection, space: Space) -> Stamp | None:
    """The stamp of the stored neighbours; None if there are none, or what is stored is damaged."""
    numbers = read_numbers(conn, space, "neighbours", ("generation", "k"))
    return Stamp(*numbers) if numbers and numbers[1] else None


def save_stamp(conn: sqlite3.Connection, space: Space, stamp: Stamp) -> None:
    """Stores the stamp."""
    save_numbers(conn, space, "neighbours", vars(stamp))


def read_neighbours(
    conn: sqlite3.Connection,
    space: Space,
    k: int,
    keys: Sequence | None = None,
    progress: Progress = silent,
) -> Neighbours:
    """The stored neighbours of the images of a space, at most k of each.

    They are those of `keys`, in ascending order, and among these; by default, of all images that
    have a vector and a row in their table. One that came later has no neighbours.
    """
    if keys is None:
        keys = _present(conn, SourceTable.read(conn, space.source_table), space)
    rows = np.full((len(keys), k), -1, np.int32)
    scores = np.full((len(keys), k), -np.inf, np.float32)
    places = Places(keys)
    with progress(len(keys) * k, " neighbours", "Reading") as advance:
        for batch in _pages(conn, space, k):
            ids, ranks, others, found = zip(*batch)
            at, other = places.of(ids), places.of(others)
            is_known = (at >= 0) & (other >= 0)
            at, rank = at[is_known], np.array(ranks, int)[is_known] - 1
            rows[at, rank] = other[is_known]
            scores[at, rank] = np.array(found, np.float32)[is_known]
            advance(len(batch))
    # What is gone leaves no gap.
    order = np.argsort(rows < 0, axis=1, kind="stable")
    return Neighbours(
        keys, np.take_along_axis(rows, order, axis=1), np.take_along_axis(scores, order, axis=1)
    )


def read_lists(
    conn: sqlite3.Connection, space: Space, keys: Sequence, k: int
) -> dict[object, dict[object, float]]:
    """{key: {neighbour: score}} of some images, the k nearest at most, best first.

    An image without neighbours is missing, and so is what is damaged.
    """
    lists: dict[object, dict[object, float]] = {}
    rows = conn.execute(
        "select image_key, neighbour_key, score from imgsim_neighbours where space_id = ? "
        "and image_key in (select value from json_each(?)) and rank between 1 and ? "
        "order by image_key, rank",
        [space.id, json.dumps(list(keys)), k],
    )
    for key, other, score in rows:
        if type(score) is float and -1 <= score <= 1:
            lists.setdefault(key, {})[other] = score
    return lists


def _present(conn: sqlite3.Connection, table: SourceTable, space: Space) -> Sequence:
    """The keys of the images that have a vector and a row, in ascending order."""
    sql = f"""
        select {table.key_sql} from imgsim_vectors v
        cross join {table.rows_sql} on {table.key_sql} = v.image_key
        where v.space_id = ? and typeof({table.key_sql}) in ('integer', 'text')
        order by v.image_key
    """
    keys = [key for (key,) in conn.execute(sql, [space.id])]
    return array("q", keys) if all(type(key) is int for key in keys) else keys


def _pages(conn: sqlite3.Connection, space: Space, k: int) -> Iterator[list[tuple]]:
    """Rows (image_key, rank, neighbour_key, score) of a space, some at a time; never empty."""
    after, last = "", ()
    rows_a_read = LISTS_A_READ * k
    while rows := conn.execute(
        f"select image_key, rank, neighbour_key, score from imgsim_neighbours "
        f"where space_id = ? {after} order by image_key, rank limit ?",
        [space.id, *last, rows_a_read],
    ).fetchall():
        kept = [row for row in rows if _is_sound(row, k)]
        if kept:
            yield kept
        after, last = "and (image_key, rank) > (?, ?)", rows[-1][:2]


def _is_sound(row: tuple, k: int) -> bool:
    _, rank, _, score = row
    return type(rank) is int and 1 <= rank <= k and type(score) is float and -1 <= score <= 1


class Places:
    """Where keys are in a list of keys in ascending order."""

    def __init__(self, keys: Sequence):
        self.sorted = np.asarray(keys, np.int64) if isinstance(keys, array) else None
        self.places = {} if self.sorted is not None else {key: n for n, key in enumerate(keys)}

    def of(self, keys: Sequence) -> np.ndarray:
        """The place of each key, int; -1 if it is not in the list."""
        if self.sorted is None:
            return np.array([self.places.get(key, -1) for key in keys], int)
        wanted = np.array(keys)
        is_there: np.ndarray | bool = True
        if wanted.dtype != np.int64:  # some are text, and these are not in the list
            is_there = np.array([type(key) is int for key in keys], bool)
            wanted = np.array([key if type(key) is int else 0 for key in keys], np.int64)
        found = np.searchsorted(self.sorted, wanted)
        is_there &= (np.append(self.sorted, 0)[found] == wanted) & (found < len(self.sorted))
        return np.where(is_there, found, -1)


def save_neighbours(
    conn: Writer, space: Space, stamp: Stamp, neighbours: Neighbours, progress: Progress = silent
) -> None:
    """Replaces the stored neighbours of a space: a reader sees the old ones or the new ones.

    No transaction is long.
    """
    table = _table()
    count = int((neighbours.rows >= 0).sum())
    rows = _lists(space, neighbours, range(len(neighbours.keys)))

    def finish() -> None:
        save_stamp(conn, space, stamp)

    with progress(count, " neighbours", "Storing") as advance:
        replacing.replace(conn, table, space, rows, count, finish, advance)


def change_neighbours(
    conn: Writer,
    space: Space,
    stamp: Stamp,
    neighbours: Neighbours,
    changed: Sequence[int],
    gone: list,
    progress: Progress = silent,
) -> None:
    """Writes the lists of some images, given by their places, and removes those of keys `gone`.

    They are written in this order, a number of whole lists in a transaction; the stamp is stored
    with the last of them.
    """
    table = _table()
    # Old rows are removed, and new ones written: that takes twice as long.
    step = max(1, table.rows_a_transaction // (2 * neighbours.rows.shape[1]))
    batches = [changed[start : start + step] for start in range(0, len(changed), step)] or [[]]
    remove = f"delete from {table.name} where space_id = ? and image_key = ?"
    with progress(len(changed), " images", "Storing") as advance:
        for number, batch in enumerate(batches, 1):
            with replacing.one_of_many(conn):
                conn.executemany(remove, [(space.id, neighbours.keys[row]) for row in batch])
                table.insert(conn, _lists(space, neighbours, batch))
                if number == len(batches):
                    conn.executemany(remove, [(space.id, key) for key in gone])
                    save_stamp(conn, space, stamp)
            advance(len(batch))


def _table() -> replacing.Table:
    return replacing.Table("imgsim_neighbours", COLUMNS, KEY, LIMITS.rows_of_neighbours)


def _lists(space: Space, neighbours: Neighbours, places: Iterable[int]) -> Iterator[tuple]:
    """The rows of the table for the lists of the images in these places."""
    keys = neighbours.keys
    for place in places:
        scores = np.round(neighbours.scores[place].astype(float), DIGITS).tolist()
        pairs = zip(neighbours.rows[place].tolist(), scores)
        for rank, (other, score) in enumerate(pairs, 1):
            if other < 0:
                break
            yield space.id, keys[place], rank, keys[other], score


def stored_keys(conn: sqlite3.Connection, space: Space) -> list:
    """The keys of the images that have a list."""
    sql = "select image_key from imgsim_neighbours where space_id = ? and rank = 1"
    return [key for (key,) in conn.execute(sql, [space.id])]
