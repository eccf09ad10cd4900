"""The map for some of its images: a cell that holds one of them shows one of them."""

from __future__ import annotations

import numpy as np

from .cells import Cells


class SelectedCells(Cells):
    """The cells of a map, of whose images some are selected.

    What `ShownImages.counts` counts is the selected images of each cell: 0 where there are none,
    and the cell shows what it shows without a selection.
    """

    def __init__(self, cells: Cells, selected: np.ndarray):
        """`selected` (n,) says of each row of the atlas whether it is selected."""
        vars(self).update(vars(cells))
        self.selected = selected[cells.order]

    def _represented(self, zoom: int, part: slice, start: int, stop: int):
        """A cell's selected image that the map shows first when one zooms in.

        So it stays visible when one zooms in further, as without a selection.
        """
        chosen = self.chosen[zoom][part]
        if not len(chosen):
            return chosen, chosen
        firsts = self.firsts[zoom][part] - start
        selected, size = self.selected[start:stop], stop - start
        counts = np.add.reduceat(selected, firsts, dtype=np.int64)
        places = np.arange(size)
        places += self.first_zooms[start:stop] * np.int64(size)
        places[~selected] = np.iinfo(np.int64).max
        best = start + np.minimum.reduceat(places, firsts) % size
        return np.where(counts > 0, best, chosen), counts
