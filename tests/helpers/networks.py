"""Weights, pictures and vectors to try networks with."""

import numpy as np

from datasette_imgsim.models import registry
from datasette_imgsim.models.network import Network
from datasette_imgsim.models.vgg import build, torchvision_vgg

BUNDLED = ("vgg16-oxford", "efficientnet-lite")


def random_weights(name, levels, path, seed=0):
    """Saves seeded random weights of a torchvision network, up to the deepest of `levels`."""
    import torch

    model = torchvision_vgg(name)
    module = build(model.layers, model.batch_norm, levels).to_empty(device="cpu")
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for key, tensor in module.state_dict().items():
        if key.endswith("running_var"):
            state[key] = torch.ones_like(tensor)
        elif tensor.dim() > 1:
            deviation = (2 / tensor[0].numel()) ** 0.5
            state[key] = deviation * torch.randn(tensor.shape, generator=generator)
        elif tensor.is_floating_point():
            state[key] = 0.1 * torch.rand(tensor.shape, generator=generator)
    torch.save(state, path)
    return path


def noise(size, count=3):
    """Pictures (count, size, size, 3) of random pixels."""
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def drawn(size):
    """A slope of colours, a chessboard and rings: (3, size, size, 3) uint8, the same everywhere."""
    y, x = np.mgrid[:size, :size] / size
    board = (np.floor(8 * x) + np.floor(8 * y)) % 2
    rings = np.sin(40 * np.hypot(x - 0.5, y - 0.4)) > 0
    pictures = [
        np.stack([x, y, 1 - x], -1),
        np.stack([board, board, 1 - board / 2], -1),
        np.stack([0.9 * rings, 0.2 + 0.5 * y, 0.1 + 0.3 * rings], -1),
    ]
    return np.floor(255 * np.stack(pictures)).astype(np.uint8)


def network(
    name, levels=None, *, all_levels=False, weights=None, size=None, pooling=None,
    precision="float32",
):  # fmt: skip
    """A network on the processor; what is not said is the model's default."""
    model = registry.get(name)
    about = model.description
    return Network(
        model,
        list(about.channels if all_levels else levels or about.default_levels),
        pooling or about.default_pooling,
        about.normalise,
        size or about.size,
        weights,
        "cpu",
        precision,
    )


def by_level(network, units):
    """Vectors (n, dimensions), a part (n, numbers) for each level."""
    return np.split(units, np.cumsum([*network.dimensions.values()])[:-1], axis=1)


def distance(a, b):
    """How far a is from b, in lengths of b."""
    return np.linalg.norm(a - b) / np.linalg.norm(b)
