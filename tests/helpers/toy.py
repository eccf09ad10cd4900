"""A network of one's own: the mean colours of a picture's parts, without torch."""

import numpy as np
from datasette import hookimpl

from datasette_imgsim.models.base import Description, Model


class Toy(Model):
    description = Description(
        name="toy",
        about="mean colours",
        channels={"pool1": 3, "pool2": 3},
        default_levels=("pool2",),
        default_pooling="avg",
        size=8,
        licence="CC0",
    )

    def cut(self, levels, weights, size):
        return Halves(levels)


class Halves:
    """Halves a picture's sides twice; each half is a level."""

    def __init__(self, levels):
        self.levels = levels
        self.scale = np.ones(1, np.float32)

    def __call__(self, pixels):
        maps = {}
        for level in ("pool1", "pool2"):
            n, channels, height, width = pixels.shape
            squares = pixels.reshape(n, channels, height // 2, 2, width // 2, 2)
            pixels = self.scale * squares.mean(axis=(3, 5))
            maps[level] = pixels
        return [maps[level] for level in self.levels]

    def state_dict(self):
        return {"scale": self.scale}


@hookimpl
def register_imgsim_models(register):
    register(Toy())
