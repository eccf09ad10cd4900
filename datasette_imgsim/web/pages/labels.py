"""Where the names of groups stand on the map and on the wall."""

from __future__ import annotations

import numpy as np

from ...atlas.load import Atlas, View
from ...db.groups import read_members
from ..groups import get_groups, remembered
from ..source import Source

BINS = 64
"""The longer side of a view is divided into so many parts, to see where a group is dense."""


async def get_labels(source: Source, atlas: Atlas, view: str) -> list[dict]:
    """The JSON of each group with an image in a view: its name, and the place in its thick.

    `spread` is the median distance of its images from there, in the units of the view. The largest
    group comes first.
    """
    space = atlas.space
    found = await get_groups(source, space)
    places = await remembered(
        source,
        space,
        view,
        lambda conn: _places(read_members(conn, space), atlas, view),
        space.generation,
    )
    return [
        {"id": each.id, "name": each.name, "images": each.images, **places[each.id]}
        for each in found.groups
        if each.id in places
    ]


def _places(members: list[tuple], atlas: Atlas, name: str) -> dict[int, dict]:
    """{id of a group: the x, y and spread of its label}"""
    view = atlas.view(name)
    groups = np.fromiter((group for group, _ in members), np.int64, len(members))
    rows = atlas.rows([key for _, key in members])
    groups, rows = groups[rows >= 0], rows[rows >= 0]
    order = np.argsort(groups, kind="stable")
    ids, starts = np.unique(groups[order], return_index=True)
    parts = np.split(view.positions[rows[order]], starts[1:])
    return {id: _place(part, view) for id, part in zip(ids.tolist(), parts)}


def _place(positions: np.ndarray, view: View) -> dict:
    """The place of the label of a group whose images are at `positions` (n, 2)."""
    side = max(view.width, view.height) / BINS
    bins = np.floor(positions / side).astype(int).clip(0, BINS - 1)
    counts = np.bincount(bins @ (BINS, 1), minlength=BINS * BINS).reshape(BINS, BINS)
    # Of each bin, how many images it has together with the eight around it.
    padded = np.pad(counts, 1)
    around = sum(padded[x : x + BINS, y : y + BINS] for x in range(3) for y in range(3))
    thickest = np.unravel_index(np.argmax(around), around.shape)
    near = (np.abs(bins - thickest) <= 1).all(axis=1)
    x, y = place = np.median(positions[near], axis=0)
    spread = np.median(np.linalg.norm(positions - place, axis=1))
    return {"x": float(x), "y": float(y), "spread": float(spread)}
