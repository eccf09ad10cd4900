"""Greys of more than 8 bits look like the same scene in 8 bits."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

from datasette_imgsim.ingest import decode


def scene():
    """From black to white, as numbers from 0 to 1."""
    return np.linspace(0, 1, 64 * 48).reshape(48, 64)


def tiff(values, sample_format, photometric=1):
    """An uncompressed TIFF of greys."""
    bits = 8 * values.dtype.itemsize
    content = values.astype(values.dtype.newbyteorder("<")).tobytes()
    tags = {256: values.shape[1], 257: values.shape[0], 258: bits, 259: 1, 262: photometric}
    tags |= {273: 134, 277: 1, 278: values.shape[0], 279: len(content), 339: sample_format}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + bytes(4) + content


def pixels(data, side=32):
    return decode.decode(io.BytesIO(data), side).pixels.astype(int)


def expected():
    file = io.BytesIO()
    Image.fromarray((scene() * 255).round().astype(np.uint8)).save(file, "PNG")
    return pixels(file.getvalue())


UNSIGNED, SIGNED, FLOATING = 1, 2, 3


def with_one(values, value):
    values = values.copy()
    values[20, 30] = value
    return values


FLOATS = scene().astype(np.float32)
WIDE = {
    "16 bits": ((scene() * 65535).astype(np.uint16), UNSIGNED),
    "14 in 16 bits": ((scene() * 16383).astype(np.uint16), UNSIGNED),
    "12 in 16 bits": ((scene() * 4095).astype(np.uint16), UNSIGNED),
    "12 in 16 bits, one at 65535": (
        with_one((scene() * 4095).astype(np.uint16), 65535), UNSIGNED
    ),
    "10 in 16 bits": ((scene() * 1023).astype(np.uint16), UNSIGNED),
    "few numbers": ((scene() * 20).astype(np.uint16), UNSIGNED),
    "int16": ((scene() * 65535 - 32768).astype(np.int16), SIGNED),
    "heights": ((scene() * 3000 - 400).astype(np.int16), SIGNED),
    "int32": ((scene() * (2**31 - 1)).astype(np.int32), SIGNED),
    "20 in 32 bits": ((scene() * (2**20 - 1)).astype(np.uint32), UNSIGNED),
    "uint32": ((scene() * (2**32 - 1)).astype(np.uint32), UNSIGNED),
    "to 1": (FLOATS, FLOATING),
    "to 1, one infinite": (with_one(FLOATS, np.inf), FLOATING),
    "to 1, one infinite below": (with_one(FLOATS, -np.inf), FLOATING),
    "to 1, one without a meaning": (with_one(FLOATS, np.nan), FLOATING),
    "to 1, one over it": (with_one(FLOATS, 1.5), FLOATING),
    "to 1, one far over it": (with_one(FLOATS, 1e30), FLOATING),
    "to 255": (FLOATS * 255, FLOATING),
    "to 5000": (FLOATS * 5000, FLOATING),
    "below zero": (FLOATS * 40 - 20, FLOATING),
}  # fmt: skip


@pytest.mark.parametrize("name", WIDE)
def test_any_range_is_shown_from_black_to_white(name):
    assert np.abs(pixels(tiff(*WIDE[name])) - expected()).mean() < 7


@pytest.mark.parametrize("name", ["16 bits", "12 in 16 bits", "to 1"])
def test_white_may_be_zero(name):
    values, kind = WIDE[name]
    assert np.abs(pixels(tiff(values, kind, photometric=0)) - (255 - expected())).mean() < 7


def test_a_dark_png_is_as_dark_as_a_browser_shows_it():
    file = io.BytesIO()
    Image.fromarray((scene() * 4095).astype(np.uint16)).save(file, "PNG")
    assert pixels(file.getvalue()).max() <= 16


@pytest.mark.parametrize("value", [0, 1000, np.nan, np.inf])
def test_one_value_all_over_is_no_error(value):
    found = pixels(tiff(np.full((48, 64), value, np.float32), FLOATING))
    assert (found == found[0, 0]).all()


def test_a_large_picture_is_the_same_in_strips():
    values = np.repeat(np.repeat((scene() * 4095).astype(np.uint16), 40, 0), 40, 1)
    whole = pixels(tiff(values, UNSIGNED))
    assert np.abs(whole - expected()).mean() < 3
