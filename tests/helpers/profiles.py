"""ICC profiles with a matrix and one curve, made here: no file of a profile is needed."""

import struct

import numpy as np
from PIL import Image

# The chromaticities of red, green and blue; the white point is D65 in both.
DISPLAY_P3 = (0.680, 0.320), (0.265, 0.690), (0.150, 0.060)
ADOBE_RGB = (0.640, 0.330), (0.210, 0.710), (0.150, 0.060)
PROPHOTO = (0.7347, 0.2653), (0.1596, 0.8404), (0.0366, 0.0001)
SRGB = (0.640, 0.330), (0.300, 0.600), (0.150, 0.060)
D65, D50 = (0.3127, 0.3290), (0.9642, 1.0, 0.8249)
BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)
GAMMA = 2.2


def _xyz(x, y):
    return np.array([x / y, 1, (1 - x - y) / y])


def matrix(primaries):
    """From linear RGB to XYZ, relative to D50."""
    columns = np.stack([_xyz(*each) for each in primaries], axis=1)
    to_white = columns * np.linalg.solve(columns, _xyz(*D65))
    scale = np.diag((BRADFORD @ D50) / (BRADFORD @ _xyz(*D65)))
    return np.linalg.inv(BRADFORD) @ scale @ BRADFORD @ to_white


def _numbers(values):
    return b"".join(struct.pack(">i", round(value * 65536)) for value in values)


def _profile(space, tags):
    table, data = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for name, content in tags.items():
        content += bytes(-len(content) % 4)
        table += name + struct.pack(">II", start + len(data), len(content))
        data += content
    header = struct.pack(
        ">I4xI4s4s4s12x4s28x12s48x", start + len(data), 0x02400000, b"mntr", space, b"XYZ ",
        b"acsp", _numbers(D50),
    )  # fmt: skip
    return header + table + data


def _curve(gamma):
    return b"curv" + struct.pack(">4xIH", 1, round(gamma * 256))


def rgb_profile(primaries, gamma=GAMMA):
    """The profile of RGB pixels with these primaries."""
    tags = {b"wtpt": b"XYZ \0\0\0\0" + _numbers(D50)}
    for name, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), matrix(primaries).T):
        tags[name] = b"XYZ \0\0\0\0" + _numbers(column)
    return _profile(b"RGB ", tags | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), _curve(gamma)))


def grey_profile(gamma):
    """The profile of grey pixels."""
    tags = {b"wtpt": b"XYZ \0\0\0\0" + _numbers(D50), b"kTRC": _curve(gamma)}
    return _profile(b"GRAY", tags)


def _linear(values):
    values = np.asarray(values) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def stored_in(image, primaries):
    """The RGB pixels that look, with the profile of `primaries`, like those of `image` in sRGB."""
    across = np.linalg.inv(matrix(primaries)) @ matrix(SRGB)
    values = np.clip(_linear(image) @ across.T, 0, 1) ** (1 / GAMMA)
    return Image.fromarray((values * 255).round().astype(np.uint8))
