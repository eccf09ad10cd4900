"""Why two pictures are alike: how much of their score each cell of a level's map carries.

The score of a level is the inner product of two unit vectors v and v'. A vector is the sum of
shares of the cells of its map (`models.pooling.along`), so the score is a sum over all pairs of
cells (Stylianou, Souvenir & Pless 2019, arXiv 1901.00536, equation 4). The heat of a cell is the
sum of its pairs. With the map's pooled vector p, the centre c of the space and n cells:

    v = (p / |p| - c) / d,  d = |p / |p| - c|
    heat of the cell i = w (share of i in p · v' / |p| - c · v' / n) / d

The centre's part is divided evenly, so a cell is compared with the mean of the collection, as a
picture is. w is the weight of the level. The sum over the cells and levels is the score, in either
picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..db.spaces import Space
from ..ingest import apart, query
from ..ingest.decode import Picture
from ..ingest.originals import Original, first_that
from ..ingest.part import WHOLE, Box, within
from ..ingest.resize import region
from ..models.network import SMALLEST_NORM, Network
from ..models.pooling import along, pooled
from ..search.vectors import SMALLEST_CENTRED
from . import heat

DECIMALS = 9
"""Of numbers in JSON."""
SIDE_OF_THUMBNAIL = 512
"""In pixels, in a drawing of both pictures."""


@dataclass(frozen=True)
class LevelHeat:
    """What the cells of one level carry."""

    level: str
    weight: float
    """0..1; those of all levels have the sum 1."""
    cosine: float
    """-1..1, of the two pictures in this level."""
    heats: tuple[np.ndarray, np.ndarray]
    """(H, W) float64 of either picture: the part of the score that each cell carries."""

    @property
    def share(self) -> float:
        """What the level adds to the score: the sum of either heat."""
        return self.weight * self.cosine


@dataclass(frozen=True)
class Asked:
    """One of two pictures that are to be compared."""

    name: str
    """For errors."""
    originals: list[Original]
    """Where it can be decoded from, best first."""
    part: Box | None = None
    """The part of it that is compared."""


@dataclass(frozen=True)
class Explained:
    """One of two pictures that were compared."""

    kind: str
    """What it was decoded from, as in `originals`."""
    region: Box
    """The part of it that the network saw, and over which the cells lie."""
    where: str
    """Where the heat is, in words."""
    overlay: bytes
    """The heat as a PNG file with transparency, to be laid over the whole picture."""
    thumbnail: bytes
    """A JPEG file; of the part, if there is one."""


@dataclass(frozen=True)
class Why:
    """Why two pictures are alike."""

    levels: list[LevelHeat]
    """In network order."""
    pictures: tuple[Explained, Explained]

    @property
    def score(self) -> float:
        """-1..1, the sum of all heat in either picture."""
        return sum(each.share for each in self.levels)

    @property
    def size(self) -> int:
        """Its bytes in memory."""
        cells = sum(cells.nbytes for each in self.levels for cells in each.heats)
        return cells + sum(len(each.overlay) + len(each.thumbnail) for each in self.pictures)

    def drawn(self) -> bytes:
        """Both pictures with the heat over them, as a PNG file."""
        return heat.side_by_side([(each.thumbnail, each.overlay) for each in self.pictures])

    def json_of_levels(self) -> list[dict]:
        return [
            {
                "level": each.level,
                "weight": round(each.weight, DECIMALS),
                "cosine": round(each.cosine, DECIMALS),
                "share": round(each.share, DECIMALS),
            }
            for each in self.levels
        ]

    def json_of_picture(self, number: int) -> dict:
        """What is to be told of the first picture (0) or the second one (1)."""
        picture = self.pictures[number]
        return {
            "from": picture.kind,
            "where": picture.where,
            "region": [round(edge, DECIMALS) for edge in picture.region],
            "heat": {
                each.level: each.heats[number].round(DECIMALS).tolist() for each in self.levels
            },
        }


def explain(
    space: Space,
    base: Path,
    centre: np.ndarray | None,
    weights: np.ndarray,
    asked: tuple[Asked, Asked],
    max_pixels: int,
    seconds: float | None = None,
) -> Why:
    """Why two pictures are alike in a space, by level weights (levels,) with sum 1.

    `base` is the folder of the database file. Decoding one may take so many seconds, if they are
    given. Raises ImgsimError.
    """
    resize, size = space.preprocess["resize"], space.preprocess["size"]

    def decoded(each: Asked) -> tuple[Picture, str]:
        def decode(source):
            return apart.SHARED.decode(
                source,
                size,
                resize,
                SIDE_OF_THUMBNAIL,
                max_pixels=max_pixels,
                seconds=seconds,
                part=each.part,
            )

        return first_that(each.name, decode, each.originals)

    found = [decoded(each) for each in asked]
    pixels = np.stack([picture.pixels for picture, _ in found])
    levels = heats(query.network_of(space, base), centre, weights, pixels)
    one, other = (
        _explained(each, picture, kind, resize, [level.heats[number] for level in levels])
        for number, (each, (picture, kind)) in enumerate(zip(asked, found))
    )
    return Why(levels, (one, other))


def _explained(asked: Asked, picture: Picture, kind: str, resize: str, cells: list) -> Explained:
    width, height = picture.facts.width, picture.facts.height
    part = asked.part or WHOLE
    left, top, right, bottom = part
    of_part = region(resize, (right - left) * width, (bottom - top) * height)
    seen = within(part, of_part)
    laid = heat.laid_out(cells, seen, width, height)
    return Explained(kind, seen, heat.in_words(laid), heat.as_png(laid), picture.thumbnail)


def heats(
    network: Network, centre: np.ndarray | None, weights: np.ndarray, pictures: np.ndarray
) -> list[LevelHeat]:
    """Where the likeness of two pictures lies, for each level, in network order.

    `centre` is (dimensions,) or None, `weights` (levels,) with sum 1, `pictures` the network's
    input (2, size, size, 3) uint8 RGB.
    """
    maps = network.maps(pictures)
    found = []
    start = 0
    for level, weight in zip(network.levels, weights.tolist()):
        end = start + network.dimensions[level]
        own = None if centre is None else centre[start:end].astype(np.float64)
        start = end
        one, other = (_Side.of_map(each, network.pooling, own) for each in maps[level])
        cosine = float(one.vector @ other.vector)
        pair = weight * one.heat(other.vector), weight * other.heat(one.vector)
        found.append(LevelHeat(level, weight, cosine, pair))
    return found


@dataclass(frozen=True)
class _Side:
    """One picture in one level."""

    map: np.ndarray
    """(C, H, W)."""
    pooling: str
    norm: float
    """|p|."""
    centre: np.ndarray | None
    """(D,); None where nothing is subtracted."""
    distance: float
    """d."""
    vector: np.ndarray
    """v, (D,)."""

    @classmethod
    def of_map(cls, map: np.ndarray, pooling: str, centre: np.ndarray | None) -> _Side:
        vector = pooled(map[None].astype(np.float64), pooling)[0]
        norm = max(float(np.linalg.norm(vector)), SMALLEST_NORM)
        unit = vector / norm
        shifted = unit if centre is None else unit - centre
        # As `search.vectors.centred` has it.
        if np.linalg.norm(shifted) < SMALLEST_CENTRED or not unit.any():
            centre, shifted = None, unit
        distance = max(float(np.linalg.norm(shifted)), SMALLEST_NORM)
        return cls(map, pooling, norm, centre, distance, shifted / distance)

    def heat(self, other: np.ndarray) -> np.ndarray:
        """(H, W): what each cell adds to the inner product with the vector of the other picture."""
        cells = along(self.map, self.pooling, other) / self.norm
        if self.centre is not None:
            if len(self.centre) == self.map.size:  # a number of its own for each cell
                cells = cells - along(self.centre.reshape(self.map.shape), "flatten", other)
            else:
                cells = cells - self.centre @ other / cells.size
        return cells / self.distance
