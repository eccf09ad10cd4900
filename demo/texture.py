"""Values 0..1 for each pixel, and the pictures and masks made of them."""

import numpy as np
from PIL import Image, ImageFilter


def smoothstep(values, low, high):
    """Rise smoothly from 0 at `low` to 1 at `high`."""
    part = np.clip((values - low) / (high - low), 0, 1)
    return part * part * (3 - 2 * part)


def square(half):
    """Give x and y, -1..1, of the pixels of a square that is 2 * half wide."""
    axis = (np.arange(2 * half) + 0.5) / half - 1
    return np.meshgrid(axis, axis)


def as_mask(values):
    """Turn an array of 0..1 into a mask."""
    return Image.fromarray((np.clip(values, 0, 1) * 255).astype(np.uint8))


def sprite(pixels, alpha, times=1):
    """Join colours (0..255) and opacity (0..1) into a cut-out picture, enlarged if asked for."""
    image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    image.putalpha(as_mask(alpha))
    return image.resize((image.width * times, image.height * times), Image.BILINEAR)


def faded(mask, strength):
    """Weaken a mask."""
    return mask.point([round(value * strength) for value in range(256)])


def blur(image, radius):
    """Blur; wide blurs work on a shrunken copy, since their cost is per pixel."""
    factor = max(1, int(radius // 3))
    small = image.reduce(factor).filter(ImageFilter.GaussianBlur(radius / factor))
    return small.resize(image.size, Image.BILINEAR)


def gradient(size, stops, across=False):
    """Fill a picture with evenly spaced colours from top to bottom (or left to right)."""
    where = np.linspace(0, len(stops) - 1, size[0] if across else size[1])
    channels = [np.interp(where, range(len(stops)), part) for part in zip(*stops)]
    strip = np.stack(channels, axis=-1).round().astype(np.uint8)
    strip = strip[None] if across else strip[:, None]
    return Image.fromarray(strip).resize(size, Image.NEAREST)


def fade(size, *strengths):
    """Make a mask of evenly spaced strengths from top to bottom."""
    return gradient(size, [(strength,) * 3 for strength in strengths]).getchannel(0)


def noise(rng, size, cells, octaves=4, stretch=1.0):
    """Make cloudy values 0..1; `stretch` above 1 draws them out sideways."""
    width, height = size
    total = np.zeros((height, width), np.float32)
    for octave in range(octaves):
        columns = max(2, int(cells * 2**octave))
        rows = max(2, int(columns * stretch * height / width))
        grid = Image.fromarray(rng.random((rows, columns), dtype=np.float32))
        total += np.asarray(grid.resize(size, Image.BICUBIC)) / 2**octave
    total -= total.min()
    return total / total.max()


def noise_mask(rng, size, cells, low=0.0, high=1.0, strength=1.0, **shape):
    """Make a cloudy mask, worked out at a quarter of the size because it is soft anyway."""
    small = (size[0] // 4, size[1] // 4)
    values = smoothstep(noise(rng, small, cells, **shape), low, high)
    return as_mask(values * strength).resize(size, Image.BILINEAR)
