"""Numbers that the bundled networks are known to give, of three drawn pictures at every level.

`python tests/helpers/canonical.py` writes canonical_vectors.json anew, where weights have changed.
"""

import json
import sys
from pathlib import Path

import numpy as np

FILE = Path(__file__).parents[1] / "canonical_vectors.json"
FIRST = 8


def canonical(name):
    """{level: numbers of each picture} of a bundled network, as they are stored."""
    return json.loads(FILE.read_text())[name]


def numbers(network, pictures):
    """{level: {what: numbers of each picture}} of a network.

    "norm", the "first" eight numbers that the level gives, and four "waves": sums over its unit
    vector in which every number takes part.
    """
    from helpers.networks import by_level

    units, norms = network.vectors(pictures)
    found = {}
    for level, part, norm in zip(network.levels, by_level(network, units), norms.T):
        waves = np.cos(np.outer(np.arange(part.shape[1]), [1, 2, 3, 4]))
        first = part[:, :FIRST] * norm[:, None]
        found[level] = {"norm": norm, "first": first, "waves": part @ waves}
    return found


def write():
    """Computes and stores them in float32, seven digits each."""
    from helpers.networks import BUNDLED, drawn, network

    found = {}
    for name in BUNDLED:
        whole = network(name, all_levels=True)
        found[name] = {
            level: {what: np.vectorize(rounded)(values).tolist() for what, values in each.items()}
            for level, each in numbers(whole, drawn(whole.size)).items()
        }
    FILE.write_text(lines(found) + "\n")


def lines(value, depth=0):
    """JSON in which each list is a line."""
    if not isinstance(value, dict):
        return json.dumps(value)
    inner = ",\n".join(
        " " * (depth + 1) + f"{json.dumps(key)}: {lines(each, depth + 1)}"
        for key, each in value.items()
    )
    return f"{{\n{inner}\n{' ' * depth}}}"


def rounded(number):
    return float(f"{number:.7g}")


if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).parents[1])
    write()
