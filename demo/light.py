"""Light and shadow: lamps, stars, clouds, reflections, and cut-outs that cast a shadow."""

from functools import cache

import numpy as np
from colour import WHITE, colours, mix, pick, sheer
from PIL import Image, ImageChops, ImageDraw
from shapes import disc
from texture import as_mask, blur, fade, faded, gradient, noise, noise_mask


@cache
def falloff():
    """Make the mask of a light: full in the middle, gone at the rim."""
    axis = np.linspace(-1, 1, 256)
    distance = np.hypot(*np.meshgrid(axis, axis))
    return as_mask(np.clip(1 - distance, 0, 1) ** 1.8)


def glow(image, centre, radius, colour, strength=1.0):
    """Lay a soft round light over the picture."""
    side = max(2, round(radius * 2))
    mask = faded(falloff(), strength).resize((side, side), Image.BILINEAR)
    image.paste(colour, (round(centre[0] - radius), round(centre[1] - radius)), mask)


def lamp(image, centre, radius, colour, reach, strength=0.5):
    """Hang a sun or a moon in the sky, with the light around it."""
    glow(image, centre, reach, colour, strength)
    disc(ImageDraw.Draw(image), centre, radius, colour)


def clouds(image, rng, colour, strength=0.6, bottom=0.6):
    """Spread long soft clouds over the upper part of the picture."""
    size = (image.width, int(image.height * bottom))
    mask = noise_mask(rng, size, 3, 0.45, 0.95, strength, stretch=3.0, octaves=5)
    image.paste(colour, (0, 0), ImageChops.multiply(mask, fade(size, 0, 255, 255, 0)))


def stars(image, rng, count, bottom=1.0):
    """Scatter stars, most of them faint and a few with a halo."""
    draw = ImageDraw.Draw(image, "RGBA")
    for at in rng.uniform(0, (image.width, image.height * bottom), (count, 2)):
        bright = rng.random() ** 3
        tone = pick(rng, colours("ffffff dfe9ff fff0d8 cfe0ff"))
        if bright > 0.8:
            glow(image, at, 16 * bright, tone, 0.55)
        disc(draw, at, 0.8 + 2 * bright, sheer(tone, 0.35 + 0.65 * bright))


def bokeh(rng, size, tones):
    """Paint an out-of-focus background: soft discs of light on a blurred ground."""
    small = (size[0] // 4, size[1] // 4)
    image, reach = gradient(small, tones[:2]), min(small)
    for at in rng.uniform(0, small, (10, 2)):
        glow(image, at, reach * rng.uniform(0.3, 0.7), pick(rng, tones), 0.7)
    for at in rng.uniform(0, small, (26, 2)):
        mask = Image.new("L", small)
        disc(ImageDraw.Draw(mask), at, reach * rng.uniform(0.02, 0.085), int(rng.uniform(18, 70)))
        image.paste(mix(pick(rng, tones), WHITE, 0.25), mask=blur(mask, 1.2))
    return image.resize(size, Image.BILINEAR)


def reflect(image, level, tint, strength, rng):
    """Mirror what stands above `level` in rippled water below it."""
    width, depth = image.width, image.height - level
    ripple = noise(rng, (width // 4, max(8, depth // 4)), 5, stretch=9.0) - 0.5
    ripple = np.asarray(Image.fromarray(ripple).resize((width, depth)))
    row = np.arange(depth)[:, None]
    source = level - 1 - row * min(1, level / depth) + ripple * (8 + row * 0.16)
    source = np.clip(source, 0, level - 1).astype(int)
    water = Image.fromarray(np.asarray(image)[source, np.arange(width)[None]])
    image.paste(Image.blend(water, Image.new("RGB", water.size, tint), strength), (0, level))


def shadow(image, mask, reach, strength, colour=(20, 14, 24)):
    """Darken the picture under a shape, blurred and pushed away from the light."""
    margin = round(reach * 3) + 1
    left, top, right, bottom = mask.getbbox()
    around = (left - margin, top - margin, right + margin, bottom + margin)
    soft = faded(blur(mask.crop(around), reach), strength)
    image.paste(colour, (around[0] + round(reach * 0.8), around[1] + round(reach * 1.2)), soft)


def stick(image, cutout, centre, angle=0.0, cast=0.0, reach=0):
    """Paste a cut-out, turned by an angle, around a point, and let it cast a shadow."""
    if angle:
        cutout = cutout.rotate(-np.degrees(angle), Image.BILINEAR, expand=True)
    at = (round(centre[0] - cutout.width / 2), round(centre[1] - cutout.height / 2))
    if cast:
        mask = Image.new("L", image.size)
        mask.paste(cutout.getchannel(3), at)
        shadow(image, mask, reach, cast)
    image.paste(cutout, at, cutout)
