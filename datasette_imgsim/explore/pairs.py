"""Finds the pairs of images that show one picture: candidates, and what comparing them confirms."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from ..db.connect import batches
from ..progress import Progress, silent
from . import compare

THUMBNAILS_A_READ = 256
DECODERS = 4
"""Threads that decode thumbnails; Pillow does that outside of Python's lock."""
PAIRS_A_CHUNK, PAIRS_AT_ONCE = 2048, 128

# Chosen with benchmarks/duplicates.py.
ROUGHLY = 0.8
"""Pairs whose spectra are less alike are not looked at more closely."""
AGREES_ROUGHLY = 0.7
"""Nor those whose coarse details agree less."""
ROUGHLY_TURNED = 0.9
"""The same of pairs that only their bits have brought together."""
AGREES = 0.72
"""The lowest agreement of the details of one picture."""
OVERLAPS = 0.5
"""How much of the larger picture a crop has at least."""
SAME_COLOURS = 0.7

BANDS, BITS_A_BAND = 4, 15
"""Images are candidates if all bits of a band are the same."""
CROWD = 30
"""A band that more images have in common says nothing."""


@dataclass(frozen=True)
class Links:
    """Pairs of images that show one picture. Rows are places in a list of keys."""

    pairs: np.ndarray
    """(links, 2) rows."""
    orientation: np.ndarray
    """(links,) how the second picture is laid to look like the first one."""
    part: np.ndarray
    """(links,) the share of the first picture that the second one shows."""
    agreement: np.ndarray
    """(links,) how well their details agree, -1..1."""

    def __iter__(self) -> Iterator[tuple]:
        """(pair, orientation, part, agreement) of each link."""
        return zip(*(values.tolist() for values in vars(self).values()))

    @classmethod
    def joined(cls, parts: Sequence[Links]) -> Links:
        """All links of some lists."""
        if not parts:
            return cls(np.zeros((0, 2), int), np.zeros(0, int), np.zeros(0), np.zeros(0))
        names = ("pairs", "orientation", "part", "agreement")
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


class Thumbnails:
    """The thumbnails of a table's images, as arrays."""

    def __init__(self, conn: sqlite3.Connection, table: str, keys: Sequence):
        self.conn, self.table, self.keys = conn, table, keys

    def read(self, rows: Iterable[int], side: int) -> Iterator[tuple[int, np.ndarray, bool]]:
        """(row, pixels, whether it is small) of each image that has a sound thumbnail.

        `compare.pixels` says what these are.
        """
        with ThreadPoolExecutor(DECODERS, thread_name_prefix="imgsim-thumbnails") as pool:
            for batch in batches(list(rows), THUMBNAILS_A_READ):
                jpegs = self._jpegs([self.keys[row] for row in batch])
                found = (jpegs.get(self.keys[row]) for row in batch)
                read = pool.map(compare.pixels, found, [side] * len(batch))
                for row, thumbnail in zip(batch, read):
                    if thumbnail is not None:
                        yield row, *thumbnail

    def _jpegs(self, keys: list) -> dict:
        marks = ", ".join("?" * len(keys))
        return dict(
            self.conn.execute(
                "select image_key, jpeg from imgsim_thumbnails "
                f"where source_table = ? and image_key in ({marks}) and typeof(jpeg) = 'blob'",
                [self.table, *keys],
            ).fetchall()
        )


class Pairs:
    """Compares the images of a table."""

    def __init__(self, thumbnails: Thumbnails, rows: Sequence[int], progress: Progress = silent):
        """Reads the thumbnails of the images in these rows; the others take part in no pair."""
        count = len(thumbnails.keys)
        self.thumbnails, self.progress = thumbnails, progress
        self.brightness = np.zeros((count, compare.SIDE, compare.SIDE), np.uint8)
        self.wholes = np.zeros((count, compare.FREQUENCIES**2), np.float32)
        self.is_grey, self.is_small = np.zeros((2, count), bool)
        with progress(len(rows), " images", "Reading thumbnails") as advance:
            for row, pixels, is_small in thumbnails.read(rows, compare.SIDE):
                self.is_small[row] = is_small
                self.brightness[row] = pixels[..., 0]
                self.is_grey[row] = compare.is_grey(pixels)
                advance(1)
        for part in _chunks(np.array(rows, int)):
            self.wholes[part] = compare.spectra(self.brightness[part], whole_only=True)[:, 0]
        self.shown = np.asarray(self.wholes.any(axis=1))
        """Whether an image has a thumbnail that is not of one brightness."""

    def by_bits(self) -> np.ndarray:
        """Rows (pairs, 2) of images that are much alike in any orientation, by their spectra.

        Locality-sensitive hashing: the signs of the lowest frequencies in bands (Indyk and Motwani
        1998); a network does not see that turned pictures are the same.
        """
        rows = np.flatnonzero(self.shown)
        found = [np.zeros((0, 2), int)]
        own = _bands(self.wholes[rows], 0)
        for orientation in range(len(compare.ORIENTATIONS)):
            turned = _bands(self.wholes[rows], orientation)
            for band in range(BANDS):
                pairs = rows[_equal(own[:, band], turned[:, band])]
                for part in _chunks(pairs, 16 * PAIRS_A_CHUNK):
                    first, second = part.T
                    places, signs = compare.PLACES[orientation], compare.SIGNS[orientation]
                    laid = self.wholes[second][:, places] * signs
                    likeness = np.einsum("ij,ij->i", self.wholes[first], laid)
                    found.append(part[(likeness >= ROUGHLY_TURNED) & (first != second)])
        return np.concatenate(found)

    def confirmed(self, candidates: np.ndarray) -> Links:
        """The pairs of rows, out of candidates (pairs, 2), that show one picture."""
        pairs = np.sort(candidates, axis=1)
        pairs = pairs[self.shown[pairs].all(axis=1) & (pairs[:, 0] != pairs[:, 1])]
        likely = self._likely(np.unique(pairs, axis=0))
        links = []
        with (
            self.progress(len(likely), " pairs", "Comparing") as advance,
            ThreadPoolExecutor(thread_name_prefix="imgsim-compare") as pool,
        ):
            for part in _chunks(likely):
                placed = list(pool.map(self._placed, _chunks(part, PAIRS_AT_ONCE)))
                windows = np.concatenate([windows for windows, _ in placed])
                agrees = np.concatenate([agreement for _, agreement in placed]) >= AGREES_ROUGHLY
                links += self._matched(pool, part[agrees], windows[agrees])
                advance(len(part))
        return Links.joined(links)

    def _likely(self, pairs: np.ndarray) -> np.ndarray:
        """Those of the pairs (pairs, 2) that are roughly alike, (likely, 4) int.

        (row, row of a picture that may be a part of it, the orientation of this, the crop)
        """
        found = [np.zeros((0, 4), int)]
        best = [np.zeros(0, np.float32)]
        # Either picture may be a part of the other.
        directed = np.concatenate([pairs, pairs[:, ::-1]])
        directed = directed[np.argsort(directed[:, 0], kind="stable")]
        with self.progress(len(directed), " pairs", "Choosing") as advance:
            for part in _chunks(directed):
                rows, places = np.unique(part[:, 0], return_inverse=True)
                crops = compare.spectra(self.brightness[rows])
                rough = compare.rough(crops[places], self.wholes[part[:, 1]])
                is_alike = rough.likeness >= ROUGHLY
                columns = (part, rough.orientation[:, None], rough.box[:, None])
                found.append(np.concatenate(columns, axis=1)[is_alike])
                best.append(rough.likeness[is_alike])
                advance(len(part))
        likely, likeness = np.concatenate(found), np.concatenate(best)
        # Of both directions, the one in which they are more alike.
        likely = likely[np.argsort(-likeness, kind="stable")]
        _, kept = np.unique(np.sort(likely[:, :2], axis=1), axis=0, return_index=True)
        return likely[kept]

    def _placed(self, likely: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What `compare.placed` gives for pairs, as `_likely` gives them."""
        second = self.brightness[likely[:, 1]]
        return compare.placed(
            self.brightness[likely[:, 0]], _turned(second, likely[:, 2]), likely[:, 3]
        )

    def _matched(self, pool: Executor, likely: np.ndarray, windows: np.ndarray) -> list[Links]:
        """Those of the pairs whose details agree; `windows` (pairs, 4) say how they lie."""
        rows, places = np.unique(likely[:, :2], return_inverse=True)
        pixels = np.zeros((len(rows), compare.FINE_SIDE, compare.FINE_SIDE, 3), np.uint8)
        at = {row: place for place, row in enumerate(rows.tolist())}
        for row, found, _ in self.thumbnails.read(rows.tolist(), compare.FINE_SIDE):
            pixels[at[row]] = found
        places = places.reshape(-1, 2)

        def links(chosen: np.ndarray) -> Links:
            pairs = likely[chosen]
            first, second = pixels[places[chosen]].swapaxes(0, 1)
            small = self.is_small[pairs[:, :2]].any(axis=1)
            match = compare.match(first, _turned(second, pairs[:, 2]), windows[chosen], small)
            is_same = (
                (match.agreement >= AGREES)
                & (match.overlap >= OVERLAPS)
                & (match.colours >= SAME_COLOURS)
            )
            kept = pairs[is_same]
            return Links(kept[:, :2], kept[:, 2], match.overlap[is_same], match.agreement[is_same])

        return list(pool.map(links, _chunks(np.arange(len(likely)), PAIRS_AT_ONCE)))


def _turned(pictures: np.ndarray, orientations: np.ndarray) -> np.ndarray:
    """Pictures (n, side, side, …), each laid in its orientation."""
    laid = [compare.oriented(*each) for each in zip(pictures, orientations.tolist())]
    return np.stack(laid) if laid else pictures


def _chunks(values: np.ndarray, size: int = PAIRS_A_CHUNK) -> Iterator[np.ndarray]:
    for start in range(0, len(values), size):
        yield values[start : start + size]


def _bands(wholes: np.ndarray, orientation: int) -> np.ndarray:
    """The signs of spectra (n, 64) laid in an orientation, lowest frequencies first: (n, bands)."""
    laid = wholes[:, compare.PLACES[orientation]] * compare.SIGNS[orientation]
    down, across = np.divmod(np.arange(compare.FREQUENCIES**2), compare.FREQUENCIES)
    order = np.lexsort((down, down + across))[1 : 1 + BANDS * BITS_A_BAND]
    bits = (laid[:, order] > 0).reshape(len(laid), BANDS, BITS_A_BAND)
    return bits @ (1 << np.arange(BITS_A_BAND))


def _equal(own: np.ndarray, turned: np.ndarray) -> np.ndarray:
    """(i, j) of all values own[i] == turned[j], (pairs, 2), but for values of a crowd."""
    order = np.argsort(own, kind="stable")
    start = np.searchsorted(own[order], turned, "left")
    count = np.searchsorted(own[order], turned, "right") - start
    count[count > CROWD] = 0
    second = np.repeat(np.arange(len(turned)), count)
    within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    return np.stack([order[np.repeat(start, count) + within], second], axis=1)
