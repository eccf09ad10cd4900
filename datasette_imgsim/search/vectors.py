"""Reads stored vectors from the database, and centres them."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

import numpy as np

from ..db.connect import batches
from ..db.dtypes import DTYPES
from ..db.spaces import SMALLEST_CENTRED_SPACE, Space, read_centre
from ..errors import ImgsimError

# Text in place of a BLOB is damage, and reading it may raise an error.
VECTOR_SQL = "case typeof(v.vector) when 'blob' then v.vector end"
IDS_A_READ = 64
"""How many vectors are read at once: a long read keeps writers waiting."""
# Below this norm a centred vector is only rounding error.
SMALLEST_CENTRED = 1e-3


class Damaged(ImgsimError):
    """What is stored of a space is damaged."""


def stored_blobs(conn: sqlite3.Connection, space: Space, ids: Sequence) -> list[bytes | None]:
    """The stored vector of each image, or None if there is none."""
    blobs: dict = {}
    for batch in batches(list(ids), IDS_A_READ):
        blobs.update(
            conn.execute(
                f"select image_key, {VECTOR_SQL} from imgsim_vectors v "
                f"where space_id = ? and image_key in ({', '.join('?' * len(batch))})",
                [space.id, *batch],
            ).fetchall()
        )
    return [blobs.get(id) for id in ids]


def decoded(space: Space, blobs: Sequence) -> tuple[np.ndarray, list[bool]]:
    """(vectors (m, dimensions) float32 of the usable BLOBs, for each BLOB whether it is usable).

    A BLOB is usable if it has the right length and all its numbers are finite.
    """
    size = space.dimensions * np.dtype(DTYPES[space.dtype]).itemsize
    usable = [blob is not None and len(blob) == size for blob in blobs]
    joined = b"".join(blob for blob, is_usable in zip(blobs, usable) if is_usable)
    vectors = space.decode(joined).reshape(-1, space.dimensions)
    finite = np.isfinite(vectors).all(axis=1)
    if finite.all():
        return vectors, usable
    places = np.flatnonzero(usable)
    for place in places[~finite]:
        usable[place] = False
    return vectors[finite], usable


def sound_centre(conn: sqlite3.Connection, space: Space) -> np.ndarray | None:
    """The centre of a space, (dimensions,) float32, or None if it has none. Raises Damaged."""
    try:
        centre = read_centre(conn, space)
    except (ValueError, TypeError):  # not a BLOB, or of a wrong length
        raise Damaged("its centre is damaged") from None
    if centre is not None and not (len(centre) == space.dimensions and np.isfinite(centre).all()):
        raise Damaged("its centre is damaged")
    return centre


def centred(space: Space, centre: np.ndarray | None, vectors: np.ndarray) -> np.ndarray:
    """Subtracts the centre from vectors (n, dimensions), then makes each level unit length.

    A level that is nearly the centre would have no direction left and is not centred; one that is
    zero stays zero. float32 in, float32 out.
    """
    result = np.empty_like(vectors, np.float32)
    for part in space.slices.values():
        raw = vectors[:, part]
        shifted = raw if centre is None else raw - centre[part]
        norms = np.linalg.norm(shifted, axis=1, keepdims=True)
        stays_raw = (norms < SMALLEST_CENTRED) | ~raw.any(axis=1, keepdims=True)
        if stays_raw.any():
            shifted = np.where(stays_raw, raw, shifted)
            norms = np.linalg.norm(shifted, axis=1, keepdims=True)
        np.divide(shifted, np.maximum(norms, 1e-12), out=result[:, part])
    return result


def sample(
    conn: sqlite3.Connection, space: Space, centre: np.ndarray | None, count: int, size: int
) -> np.ndarray:
    """Up to `count` centred vectors of a space, (m, dimensions), evenly spread over its images.

    They are fewer if they would exceed `size` bytes.
    """
    sql = "select count(*) from imgsim_vectors where space_id = ?"
    (all_images,) = conn.execute(sql, [space.id]).fetchone()
    step = -(-all_images // at_most(count, size, space.dimensions))
    ids = conn.execute(
        """
        select image_key from (
            select image_key, row_number() over (order by image_key) as place
            from imgsim_vectors where space_id = ?
        ) where place % ? = 0
        """,
        [space.id, step],
    ).fetchall()
    vectors, _ = decoded(space, stored_blobs(conn, space, [id for (id,) in ids]))
    return centred(space, centre, vectors)


def at_most(count: int, size: int, numbers: int) -> int:
    """How many vectors, 3 to `count`, fit into `size` bytes, each with `numbers` float32."""
    return max(SMALLEST_CENTRED_SPACE, min(count, size // (4 * numbers)))
