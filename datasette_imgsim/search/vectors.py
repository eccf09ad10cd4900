"""Stored vectors: reading them from the database, and centring."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

import numpy as np

from ..db.connect import batches
from ..db.dtypes import DTYPES
from ..db.spaces import SMALLEST_CENTRED_SPACE, Space, read_centre
from ..errors import ImgsimError

# Text cannot even be read where it is not UTF-8.
VECTOR_SQL = "case typeof(v.vector) when 'blob' then v.vector end"
IDS_A_READ = 64
"""Some at a time, since a long read would keep writers waiting."""
# Below this norm a centred vector is only rounding error.
SMALLEST_CENTRED = 1e-3


class Damaged(ImgsimError):
    """What is stored of a space cannot be used."""


def stored_blobs(conn: sqlite3.Connection, space: Space, ids: Sequence) -> list[bytes | None]:
    """The stored vector of each image, or None where there is none."""
    blobs: dict = {}
    for some in batches(list(ids), IDS_A_READ):
        blobs.update(
            conn.execute(
                f"select image_id, {VECTOR_SQL} from imgsim_vectors v "
                f"where space_id = ? and image_id in ({', '.join('?' * len(some))})",
                [space.id, *some],
            ).fetchall()
        )
    return [blobs.get(id) for id in ids]


def decoded(space: Space, blobs: Sequence) -> tuple[np.ndarray, list[bool]]:
    """The vectors (m, dimensions) of those BLOBs that are whole and finite, and which they are."""
    size = space.dimensions * np.dtype(DTYPES[space.dtype]).itemsize
    usable = [blob is not None and len(blob) == size for blob in blobs]
    whole = b"".join(blob for blob, good in zip(blobs, usable) if good)
    vectors = space.decode(whole).reshape(-1, space.dimensions)
    finite = np.isfinite(vectors).all(axis=1)
    if finite.all():
        return vectors, usable
    places = np.flatnonzero(usable)
    for place in places[~finite]:
        usable[place] = False
    return vectors[finite], usable


def sound_centre(conn: sqlite3.Connection, space: Space) -> np.ndarray | None:
    """The centre of a space (dimensions,), or None where it has none. Raises Damaged."""
    try:
        centre = read_centre(conn, space)
    except (ValueError, TypeError):  # no BLOB of whole numbers
        raise Damaged("its centre is damaged") from None
    if centre is not None and not (len(centre) == space.dimensions and np.isfinite(centre).all()):
        raise Damaged("its centre is damaged")
    return centre


def centred(space: Space, centre: np.ndarray | None, vectors: np.ndarray) -> np.ndarray:
    """Subtracts the space's mean from (n, dimensions) vectors and makes each level unit length.

    A vector that is nearly the mean itself has no direction left and stays as it was; one that
    is zero stays zero. float32 in, float32 out.
    """
    result = np.empty_like(vectors, np.float32)
    for part in space.slices.values():
        raw = vectors[:, part]
        moved = raw if centre is None else raw - centre[part]
        norms = np.linalg.norm(moved, axis=1, keepdims=True)
        lost = (norms < SMALLEST_CENTRED) | ~raw.any(axis=1, keepdims=True)
        if lost.any():
            moved = np.where(lost, raw, moved)
            norms = np.linalg.norm(moved, axis=1, keepdims=True)
        np.divide(moved, np.maximum(norms, 1e-12), out=result[:, part])
    return result


def sample(
    conn: sqlite3.Connection, space: Space, centre: np.ndarray | None, count: int, size: int
) -> np.ndarray:
    """Up to `count` vectors of a space, centred (m, dimensions), evenly spread over its images.

    Fewer where they would be more than `size` bytes.
    """
    sql = "select count(*) from imgsim_vectors where space_id = ?"
    (all_images,) = conn.execute(sql, [space.id]).fetchone()
    step = -(-all_images // at_most(count, size, space.dimensions))
    ids = conn.execute(
        """
        select image_id from (
            select image_id, row_number() over (order by image_id) as place
            from imgsim_vectors where space_id = ?
        ) where place % ? = 0
        """,
        [space.id, step],
    ).fetchall()
    vectors, _ = decoded(space, stored_blobs(conn, space, [id for (id,) in ids]))
    return centred(space, centre, vectors)


def at_most(count: int, size: int, numbers: int) -> int:
    """`count`, or fewer where each has so many float32 numbers that they would exceed `size`."""
    return max(SMALLEST_CENTRED_SPACE, min(count, size // (4 * numbers)))
