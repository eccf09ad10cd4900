"""Draw about 200 pictures in 12 groups, to try the plugin on without downloading any."""

import argparse
import zlib
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image, ImageChops, ImageColor, ImageDraw, ImageFilter

# Everything is drawn at twice the size and shrunk at the end: that smooths every edge.
SCALE = 2
SIZES = [(640, 480), (480, 640), (600, 600), (640, 427)]
JPEG_QUALITY = 88
TURN = 2 * np.pi


# --- Colours -------------------------------------------------------------------------------


def colours(text):
    """Turn "ff8800 0044aa" into a list of RGB triples."""
    return [ImageColor.getrgb("#" + word) for word in text.split()]


def mix(first, second, share):
    """Return the colour that lies `share` of the way from the first to the second."""
    return tuple(round(a + (b - a) * share) for a, b in zip(first, second))


def vary(rng, colour, amount=14):
    """Return a colour near this one, a little lighter or darker and shifted in hue."""
    shift = rng.normal(0, amount) + rng.normal(0, amount / 3, 3)
    return tuple(int(value) for value in np.clip(np.add(colour, shift), 0, 255))


def pick(rng, items):
    """Choose one item; unlike rng.choice it leaves tuples and strings as they are."""
    return items[int(rng.integers(len(items)))]


# --- Fields of light and texture -----------------------------------------------------------


def smoothstep(values, low, high):
    """Rise smoothly from 0 at `low` to 1 at `high`."""
    part = np.clip((values - low) / (high - low), 0, 1)
    return part * part * (3 - 2 * part)


def as_mask(values):
    """Turn an array of 0..1 into a mask image."""
    return Image.fromarray((np.clip(values, 0, 1) * 255).astype(np.uint8))


def gradient(size, stops, across=False):
    """Fill a picture with evenly spaced colours from top to bottom (or left to right)."""
    length = size[0] if across else size[1]
    where = np.linspace(0, len(stops) - 1, length)
    channels = [np.interp(where, range(len(stops)), part) for part in zip(*stops)]
    strip = np.stack(channels, axis=-1).round().astype(np.uint8)
    strip = strip[None] if across else strip[:, None]
    return Image.fromarray(strip).resize(size, Image.Resampling.NEAREST)


def noise(rng, size, cells, octaves=4, stretch=1.0):
    """Cloudy values 0..1; `stretch` above 1 draws them out sideways."""
    width, height = size
    total = np.zeros((height, width), np.float32)
    for octave in range(octaves):
        columns = max(2, int(cells * 2**octave))
        rows = max(2, int(columns * stretch * height / width))
        grid = Image.fromarray(rng.random((rows, columns), dtype=np.float32))
        total += np.asarray(grid.resize(size, Image.Resampling.BICUBIC)) / 2**octave
    total -= total.min()
    return total / total.max()


def noise_mask(rng, size, cells, low=0.0, high=1.0, strength=1.0, **shape):
    """Make a cloudy mask, worked out at a quarter of the size because it is soft anyway."""
    small = (size[0] // 4, size[1] // 4)
    values = smoothstep(noise(rng, small, cells, **shape), low, high)
    return as_mask(values * strength).resize(size, Image.Resampling.BILINEAR)


def blur(image, radius):
    """Blur; wide blurs work on a shrunken copy, since their cost is per pixel."""
    factor = max(1, int(radius // 3))
    small = image.reduce(factor).filter(ImageFilter.GaussianBlur(radius / factor))
    return small.resize(image.size, Image.Resampling.BILINEAR)


def faded(mask, strength):
    """Weaken a mask."""
    return mask.point([round(value * strength) for value in range(256)])


@cache
def falloff():
    """Make the mask of a light: full in the middle, gone at the rim."""
    axis = np.linspace(-1, 1, 256)
    distance = np.hypot(*np.meshgrid(axis, axis))
    return as_mask(np.clip(1 - distance, 0, 1) ** 1.8)


def glow(image, centre, radius, colour, strength=1.0):
    """Lay a soft round light over the picture."""
    side = max(2, round(radius * 2))
    mask = faded(falloff(), strength).resize((side, side), Image.Resampling.BILINEAR)
    image.paste(colour, (round(centre[0] - radius), round(centre[1] - radius)), mask)


def clouds(image, rng, colour, strength=0.6, cells=3, bottom=0.6):
    """Spread long soft clouds over the upper part of the picture."""
    width, height = image.size
    size = (width, int(height * bottom))
    mask = noise_mask(rng, size, cells, 0.45, 0.95, strength, stretch=3.0, octaves=5)
    fade = gradient(size, [(0, 0, 0), (255, 255, 255), (255, 255, 255), (0, 0, 0)])
    image.paste(colour, (0, 0), ImageChops.multiply(mask, fade.getchannel(0)))


def stars(image, rng, count, bottom=1.0):
    """Scatter stars, most of them faint and a few with a halo."""
    width, height = image.size
    draw = ImageDraw.Draw(image)
    for _ in range(count):
        x, y = rng.uniform(0, width), rng.uniform(0, height * bottom)
        bright = rng.random() ** 3
        tone = pick(rng, colours("ffffff dfe9ff fff0d8 cfe0ff"))
        if bright > 0.8:
            glow(image, (x, y), 16 * bright, tone, 0.55)
        radius = 0.8 + 2.0 * bright
        under = image.getpixel((int(x), int(y)))
        draw.ellipse(
            (x - radius, y - radius, x + radius, y + radius),
            fill=mix(under, tone, 0.35 + 0.65 * bright),
        )


def bokeh(rng, size, tones, spots=26):
    """Paint an out-of-focus background: soft discs of light on a blurred ground."""
    small = (size[0] // 4, size[1] // 4)
    image = gradient(small, [tones[0], tones[1]])
    reach = min(small)
    for _ in range(10):
        spot = (rng.uniform(0, small[0]), rng.uniform(0, small[1]))
        glow(image, spot, reach * rng.uniform(0.3, 0.7), pick(rng, tones), 0.7)
    for _ in range(spots):
        spot = (rng.uniform(0, small[0]), rng.uniform(0, small[1]))
        mask = Image.new("L", small)
        disc(ImageDraw.Draw(mask), spot, reach * rng.uniform(0.02, 0.085), int(rng.uniform(18, 70)))
        image.paste(mix(pick(rng, tones), (255, 255, 255), 0.25), mask=blur(mask, 1.2))
    return image.resize(size, Image.Resampling.BILINEAR)


def shadow(image, mask, offset, radius, strength, colour=(20, 14, 24)):
    """Darken the picture under a shape, blurred and pushed aside."""
    reach = round(radius * 3) + 1
    left, top, right, bottom = mask.getbbox()
    around = (left - reach, top - reach, right + reach, bottom + reach)
    soft = faded(blur(mask.crop(around), radius), strength)
    image.paste(colour, (around[0] + round(offset[0]), around[1] + round(offset[1])), soft)


def reflect(image, level, tint, strength, rng):
    """Mirror what stands above `level` in rippled water below it."""
    width, height = image.size
    depth = height - level
    pixels = np.asarray(image)
    ripple = noise(rng, (width // 4, max(8, depth // 4)), 5, octaves=4, stretch=9.0) - 0.5
    ripple = np.asarray(Image.fromarray(ripple).resize((width, depth)))
    row = np.arange(depth)[:, None]
    source = level - 1 - row * min(1, level / depth) + ripple * (8 + row * 0.16)
    source = np.clip(source, 0, level - 1).astype(int)
    water = Image.fromarray(pixels[source, np.arange(width)[None]])
    water = Image.blend(water, Image.new("RGB", water.size, tint), strength)
    image.paste(water, (0, level))


# --- Outlines ------------------------------------------------------------------------------


def curve(knots, steps=10):
    """Run a smooth closed line through the knots (Catmull-Rom)."""
    here = np.asarray(knots, float)
    before, after, beyond = (np.roll(here, shift, 0)[:, None] for shift in (1, -1, -2))
    here = here[:, None]
    t = np.linspace(0, 1, steps, endpoint=False)[None, :, None]
    line = 2 * here + (after - before) * t
    line = line + (2 * before - 5 * here + 4 * after - beyond) * t**2
    line = line + (3 * here - before - 3 * after + beyond) * t**3
    return (line / 2).reshape(-1, 2)


def bulged(corners, bulges, steps=12):
    """Join corners by edges that swell outward (or inward) by a share of their length."""
    t = np.linspace(0, 1, steps, endpoint=False)[:, None]
    edges = []
    for start, end, bulge in zip(corners, [*corners[1:], corners[0]], bulges):
        start, way = np.array(start), np.subtract(end, start)
        aside = np.array([way[1], -way[0]]) * bulge
        edges.append(start + way * t + aside * 4 * t * (1 - t))
    return np.concatenate(edges)


def placed(outline, at=(0, 0), size=1.0, angle=0.0):
    """Scale an outline, turn it and move it."""
    cos, sin = np.cos(angle), np.sin(angle)
    return np.asarray(outline) * size @ np.array([[cos, sin], [-sin, cos]]) + at


def polygon(draw, outline, fill):
    """Fill an outline given as an array of points."""
    draw.polygon(np.asarray(outline, float).ravel().tolist(), fill=fill)


def line(draw, points, fill, width):
    """Draw a line through an array of points."""
    draw.line(
        np.asarray(points, float).ravel().tolist(),
        fill=fill,
        width=max(1, round(width)),
        joint="curve",
    )


def disc(draw, centre, radius, fill):
    """Draw a filled circle."""
    x, y = centre
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill)


def ridge(rng, width, peaks=4, rough=0.5):
    """Make a jagged line of hills: one height 0..1 for each column."""
    total, knots, weight = np.zeros(width), peaks, 1.0
    while knots < width / 4:
        where = np.linspace(0, width, knots + 1)
        total += weight * np.interp(np.arange(width), where, rng.random(knots + 1))
        knots, weight = knots * 2, weight * rough
    total -= total.min()
    return total / total.max()


def hills(rng, width, waves=2.0):
    """Make a rolling line of hills: one height 0..1 for each column."""
    x = np.linspace(0, TURN * waves, width)
    total = sum(np.sin(x * pace + rng.uniform(0, TURN)) / pace for pace in (0.6, 1.0, 1.7))
    total -= total.min()
    return total / total.max()


def fill_below(image, tops, stops):
    """Fill all below a line of hills with a gradient; return the mask of what was filled."""
    width, height = image.size
    start = int(np.clip(tops.min(), 0, height - 2))
    mask = Image.new("L", (width, height - start))
    points = np.stack([np.arange(width), tops - start], axis=1)[::2]
    polygon(ImageDraw.Draw(mask), [*points, (width, height), (0, height)], 255)
    image.paste(gradient(mask.size, stops), (0, start), mask)
    return mask, start


def sprite(pixels, alpha):
    """Join an array of colours (0..255) and one of opacity (0..1) into a cut-out picture."""
    image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    image.putalpha(as_mask(alpha))
    return image


def stick(image, cutout, centre, angle=0.0):
    """Paste a cut-out picture, turned by an angle, around a point."""
    if angle:
        cutout = cutout.rotate(-np.degrees(angle), Image.Resampling.BILINEAR, expand=True)
    at = (round(centre[0] - cutout.width / 2), round(centre[1] - cutout.height / 2))
    image.paste(cutout, at, cutout)


def spread(rng, size, count, gap, margin):
    """Choose up to `count` points, at least `gap` apart, that fill the picture evenly."""
    points = []
    for _ in range(count):
        tries = rng.uniform((margin, margin), (size[0] - margin, size[1] - margin), (14, 2))
        if points:
            offsets = tries[:, None] - np.array(points)[None]
            nearest = np.hypot(offsets[..., 0], offsets[..., 1]).min(axis=1)
            if nearest.max() < gap:
                continue
            tries = tries[[nearest.argmax()]]
        points.append(tries[0])
    return points


# --- Mountains -----------------------------------------------------------------------------

# Sky from top to horizon | far ridge, near ridge | sun.
MOUNTAIN_LIGHT = [
    ("3b4f7d 8f86b5 eeb0a8 fde0b8", "d9aeb2 2a2748", "fff4d6"),
    ("1f1d42 5e3d78 cf6374 fbb06a", "c0708a 191430", "ffe0a0"),
    ("3f86c4 86bbe2 d8ecf5 f3f6ee", "a8c6dc 173a3c", "ffffff"),
    ("ee9a58 f6bf83 fce3bd fff3da", "eec093 46262b", "fffbe6"),
    ("123247 2f7483 9fd0c4 f4ecd2", "93bfb6 0b2a33", "fffbe2"),
    ("070c24 142a5a 355a92 86a6c8", "5278a8 050a1a", "f2f6ff"),
    ("7a3b5d c9607a f59f8b ffdcb0", "dd8f90 2d1836", "fff0c4"),
]


def mountains(rng, size, turn):
    """Paint ridges one behind another in haze, at some hour of the day."""
    width, height = size
    sky, ground, sun = (colours(text) for text in MOUNTAIN_LIGHT[turn % len(MOUNTAIN_LIGHT)])
    horizon = height * rng.uniform(0.5, 0.62)
    image = gradient(size, [*sky, sky[-1]])
    night = sum(sky[0]) < 80
    if night:
        stars(image, rng, 160, 0.5)
    clouds(image, rng, mix(sky[-1], sun[0], 0.5), 0.5)
    spot = (width * rng.uniform(0.2, 0.8), horizon - height * rng.uniform(0.12, 0.3))
    glow(image, spot, width * 0.5, sun[0], 0.5)
    disc(ImageDraw.Draw(image), spot, height * rng.uniform(0.03, 0.055), sun[0])
    layers = int(rng.integers(4, 7))
    for layer in range(layers):
        depth = layer / (layers - 1)
        rise = height * rng.uniform(0.2, 0.3) * (1 - 0.45 * depth)
        base = horizon + (height * 0.96 - horizon) * depth**1.2
        tops = base - rise * ridge(rng, width, int(rng.integers(3, 6)), 0.45)
        tone = mix(ground[0], ground[1], depth**1.1)
        haze = mix(tone, sky[-1], 0.55 * (1 - depth) + 0.08)
        mask, start = fill_below(image, tops, [tone, haze, haze])
        if layer < layers - 1:
            light_faces(image, tops, mask, start, mix(tone, sun[0], 0.45), spot[0])
        else:
            conifers(image, rng, tops, ground[1])
    if turn % 3 == 1:
        level = int(height * rng.uniform(0.72, 0.8))
        reflect(image, level, mix(ground[1], sky[1], 0.5), 0.3, rng)
    return image


def light_faces(image, tops, mask, start, light, sun_x):
    """Catch the light on the slopes that look toward the sun."""
    width, height = mask.size
    line_of_hills = tops[::4]
    x = np.arange(len(line_of_hills))
    calm = np.convolve(np.pad(line_of_hills, 6, "edge"), np.ones(13) / 13, "valid")
    toward = np.tanh((x - sun_x / 4) / (width / 30))
    slope = np.clip(-np.gradient(calm) * toward, -1, 1)
    depth = np.arange(height // 4)[:, None] + start / 4 - line_of_hills[None] / 4
    # Faces run aslant down from the crest, so look the slope up a bit to the side.
    source = np.clip(x[None] - toward * depth * 0.35, 0, len(x) - 1).astype(int)
    shine = np.clip(slope[source], 0, 1) * np.exp(-np.clip(depth, 0, None) / (height / 12))
    lit = as_mask(shine * 0.5).resize(mask.size, Image.Resampling.BILINEAR)
    image.paste(light, (0, start), ImageChops.multiply(lit, mask))


def conifers(image, rng, tops, colour):
    """Stand dark firs along a line of hills."""
    draw = ImageDraw.Draw(image)
    width, height = image.size
    for x in np.sort(rng.uniform(0, width, int(rng.integers(30, 90)))):
        foot = tops[int(x)] + 6
        tall = height * rng.uniform(0.035, 0.11)
        fir(draw, (x, foot), tall, colour)


def fir(draw, foot, tall, colour):
    """Draw one fir with a ragged outline."""
    steps = np.linspace(0, 1, 9)
    half = tall * 0.2 * steps * np.where(np.arange(9) % 2, 1.0, 0.62)
    y = foot[1] - tall * (1 - steps)
    right = np.stack([foot[0] + half, y], axis=1)
    left = np.stack([foot[0] - half, y], axis=1)[::-1]
    polygon(draw, np.concatenate([right, left]), colour)


# --- Sailing boats -------------------------------------------------------------------------

# Sky from top to horizon | sea from horizon to shore | sun | sails.
SEA_LIGHT = [
    ("2a4d8f 6f8fc9 f3b08c ffdc9e", "e9a577 5b6d9c 1f345f", "fff2cc", "fff6e6 f0c9a0"),
    ("4aa3df 9ad0f0 e6f5f7", "8fd3d6 2f94b0 0d5379", "ffffff", "ffffff e8eef2"),
    ("f2703f f99b52 fdc777 ffe6ad", "fbb063 d0623f 6b2a3c", "fff6d2", "4d1f33 702c40"),
    ("1a1440 53317c b5507f f59a7a", "d87f82 5a3878 160f38", "ffe2b0", "f5d4d0 c78fa0"),
    ("74b7b0 b5dbcb f6efd3", "a9d6c8 4d9a98 1c5561", "fffdf0", "d9503f f08a5a"),
    ("07122e 12305f 3a6597 8fb0c8", "5d84a8 1b3d69 061229", "f4f8ff", "dfe9f5 9fb6d0"),
]


def sailing(rng, size, turn):
    """Paint boats under sail, and the sun's path on the water."""
    width, height = size
    palette = SEA_LIGHT[turn % len(SEA_LIGHT)]
    sky, sea, sun, sails = (colours(text) for text in palette)
    horizon = int(height * rng.uniform(0.42, 0.62))
    image = gradient(size, sea)
    image.paste(gradient((width, horizon), sky))
    clouds(image, rng, mix(sky[-1], (255, 255, 255), 0.45), 0.75, bottom=horizon / height)
    spot = (width * rng.uniform(0.2, 0.8), horizon - height * rng.uniform(0.06, 0.28))
    glow(image, spot, width * 0.45, sun[0], 0.6)
    disc(ImageDraw.Draw(image), spot, height * rng.uniform(0.035, 0.06), sun[0])
    image.paste(gradient((width, height - horizon), sea), (0, horizon))
    if rng.random() < 0.5:
        shore = horizon - height * 0.06 * ridge(rng, width, 3) * np.linspace(1, -0.6, width)
        coast = image.crop((0, horizon, width, height))
        fill_below(image, shore, [mix(sky[-1], sea[1], 0.55), mix(sky[-1], sea[1], 0.35)])
        image.paste(coast, (0, horizon))
    waves(image, rng, horizon, sea, sun[0], spot[0])
    count = int(pick(rng, [1, 1, 2, 3, 4]))
    lanes = (rng.permutation(count) + rng.uniform(0.35, 0.65, count)) / count
    for lane, near in zip(lanes, np.sort(rng.uniform(0.12, 0.55, count))):
        near = max(near, 0.42) if count == 1 else near
        foot = (width * (0.08 + 0.84 * lane), horizon + (height - horizon) * near)
        tall = min(min(width, height) * (0.16 + 0.75 * near), 0.86 * width / count)
        boat(image, rng, foot, tall, sails, sea)
    return image


def waves(image, rng, horizon, sea, light, sun_x):
    """Streak the sea with waves, finer toward the horizon, glittering below the sun."""
    width, height = image.size
    draw = ImageDraw.Draw(image)
    for _ in range(900):
        near = rng.random() ** 1.4
        y = horizon + 3 + (height - horizon) * near
        path = rng.random() < 0.45
        x = sun_x + rng.normal(0, width * (0.03 + 0.1 * near)) if path else rng.uniform(0, width)
        long = (6 + 60 * near) * rng.uniform(0.5, 1.3)
        thick = 1 + 4.5 * near * rng.uniform(0.4, 1)
        under = image.getpixel((int(np.clip(x, 0, width - 1)), int(min(y, height - 1))))
        tone = light if path else pick(rng, [sea[0], sea[2]])
        share = rng.uniform(0.25, 0.75) if path else rng.uniform(0.08, 0.3)
        draw.ellipse(
            (x - long, y - thick / 2, x + long, y + thick / 2), fill=mix(under, tone, share)
        )


def boat(image, rng, foot, tall, sails, sea):
    """Draw a boat whose sails bulge in the wind, with its broken reflection."""
    side = int(tall * 1.3)
    layer = Image.new("RGBA", (side, side))
    draw = ImageDraw.Draw(layer)
    lean = rng.uniform(-0.05, 0.05)
    mirror = rng.random() < 0.5
    mast, deck = side * 0.5, side * 0.86
    hull = bulged(
        [(0.17, 0.835), (0.85, 0.83), (0.74, 0.955), (0.27, 0.955)], [-0.035, 0.08, 0.02, 0.1]
    )
    polygon(draw, hull * side, mix(sea[2], (24, 18, 30), 0.45))
    stripe = (hull[:13] + (0, 0.018)) * side
    line(draw, stripe[1:], mix(sails[0], sea[1], 0.25), side * 0.01)
    draw.line((mast, side * 0.06, mast, deck), fill=(60, 44, 44), width=max(2, side // 90))
    main = bulged([(0.485, 0.08), (0.487, 0.79), (0.16, 0.785)], [0, 0.03, 0.09])
    jib = bulged([(0.512, 0.14), (0.83, 0.785), (0.53, 0.79)], [0.1, 0.03, 0.03])
    for outline, stops in ((main, sails), (jib, sails[::-1])):
        mask = Image.new("L", layer.size)
        polygon(ImageDraw.Draw(mask), outline * side, 255)
        layer.paste(gradient(layer.size, [stops[0], stops[0], stops[1]], across=True), mask=mask)
    for level in (0.3, 0.5, 0.66):
        draw.line(
            (side * (0.45 - 0.3 * level), side * level, side * 0.48, side * (level + 0.02)),
            fill=mix(sails[1], sea[2], 0.15),
            width=max(1, side // 200),
        )
    if mirror:
        layer = layer.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    layer = layer.rotate(np.degrees(lean), Image.Resampling.BILINEAR, center=(side / 2, deck))
    left, top = round(foot[0] - side / 2), round(foot[1] - side * 0.955)
    mirrored = layer.transpose(Image.Transpose.FLIP_TOP_BOTTOM).resize((side, side * 6 // 10))
    fade = gradient(mirrored.size, [(120, 0, 0), (40, 0, 0), (0, 0, 0)]).getchannel(0)
    bands = noise_mask(rng, mirrored.size, 3, 0.3, 0.6, stretch=9.0, octaves=2)
    opacity = ImageChops.multiply(ImageChops.multiply(mirrored.getchannel(3), fade), bands)
    image.paste(mirrored.convert("RGB"), (left, round(foot[1] - side * 0.03)), opacity)
    image.paste(layer, (left, top), layer)


# --- City skylines -------------------------------------------------------------------------

# Sky from top to horizon | far towers, near towers | windows.
CITY_LIGHT = [
    ("050a20 10245a 2f5596 7f9cc4", "2b4a80 070d22", "ffd98a ffe9b8 ffc163"),
    ("140c33 43256b a0447f f08a6c", "6b3a76 120a2b", "ffe0a0 ffb86b fff0cc"),
    ("04161f 0b3a48 1f7a7a a9d3b4", "1e5f66 04151c", "fff1b8 ffd37a c8fff0"),
    ("22203f 6b3e57 d9704c ffc27a", "8f4d55 1c1528", "ffe9ae ffcf7a ffffff"),
    ("0a0618 24124a 5a2a8a c07ad0", "472878 0b0620", "ffd0f0 ffe2a0 a8d8ff"),
]


def skylines(rng, size, turn):
    """Paint a city at night, its windows lit, above dark water."""
    width, height = size
    sky, towers, lights = (colours(text) for text in CITY_LIGHT[turn % len(CITY_LIGHT)])
    level = int(height * rng.uniform(0.72, 0.84))
    image = gradient(size, sky)
    image.paste(gradient((width, level), sky))
    stars(image, rng, 110, 0.4)
    clouds(image, rng, sky[-1], 0.35)
    moon = (width * rng.uniform(0.15, 0.85), height * rng.uniform(0.1, 0.26))
    glow(image, moon, height * 0.24, mix(sky[-1], (255, 255, 255), 0.5), 0.5)
    disc(ImageDraw.Draw(image), moon, height * rng.uniform(0.025, 0.055), (255, 248, 228))
    glow(image, (width / 2, level), width * 0.65, lights[1], 0.35)
    lamps = Image.new("RGB", size)
    for layer in range(3):
        depth = layer / 2
        tone = mix(towers[0], towers[1], depth)
        tone = mix(tone, sky[-1], 0.25 * (1 - depth))
        peak = height * rng.uniform(0.5, 0.62) * (1 - 0.27 * depth)
        row_of_towers(image, lamps, rng, level, peak, tone, lights, depth)
    image = ImageChops.add(image, lamps)
    image = ImageChops.screen(image, blur(lamps, 14).point(lambda value: min(255, value * 2)))
    reflect(image, level, towers[1], 0.42, rng)
    return image


def row_of_towers(image, lamps, rng, level, peak, tone, lights, depth):
    """Stand towers side by side, the highest near a chosen centre."""
    width, _ = image.size
    draw, lamp_draw = ImageDraw.Draw(image), ImageDraw.Draw(lamps)
    centre, x = width * rng.uniform(0.3, 0.7), -rng.uniform(0, 40)
    while x < width:
        wide = rng.uniform(0.045, 0.1) * width * (0.75 + 0.35 * depth)
        near_centre = np.exp(-(((x + wide / 2 - centre) / (width * 0.3)) ** 2))
        tall = peak * (0.25 + 0.75 * near_centre * rng.uniform(0.45, 1)) * rng.uniform(0.75, 1)
        top = level - tall
        own = vary(rng, tone, 5)
        lamp_draw.rectangle((x, top, x + wide, level), fill=(0, 0, 0))
        draw.rectangle((x, top, x + wide, level), fill=own)
        draw.rectangle((x, top, x + wide * 0.22, level), fill=mix(own, (255, 255, 255), 0.05))
        roof(draw, lamp_draw, rng, (x, top, wide), own)
        windows(lamp_draw, rng, (x, top, wide, level), lights, 0.35 + 0.65 * depth)
        x += wide * rng.uniform(0.85, 1.25)


def roof(draw, lamp_draw, rng, place, tone):
    """Top a tower with a step, a spire, a slope or nothing."""
    x, top, wide = place
    kind = rng.integers(5)
    middle = x + wide / 2
    if kind == 0:
        outline = [(x + wide * 0.2, top), (middle, top - wide * 0.9), (x + wide * 0.8, top)]
        polygon(lamp_draw, outline, (0, 0, 0))
        polygon(draw, outline, tone)
        draw.line((middle, top - wide * 1.5, middle, top), fill=tone, width=3)
    elif kind == 1:
        for inset, rise in ((0.14, 0.16), (0.3, 0.34)):
            box = (x + wide * inset, top - wide * rise, x + wide * (1 - inset), top + 2)
            lamp_draw.rectangle(box, fill=(0, 0, 0))
            draw.rectangle(box, fill=tone)
    elif kind == 2:
        outline = [(x, top + 1), (x, top - wide * 0.3), (x + wide, top + 1)]
        polygon(lamp_draw, outline, (0, 0, 0))
        polygon(draw, outline, tone)
    elif kind == 3:
        draw.line((middle, top - wide * 0.8, middle, top), fill=tone, width=4)
        disc(lamp_draw, (middle, top - wide * 0.8), 4, (255, 70, 60))


def windows(draw, rng, box, lights, brightness):
    """Light some of the windows of one tower."""
    x, top, wide, bottom = box
    columns = max(3, int(wide / 13))
    pitch = wide / (columns + 0.6)
    tall = pitch * rng.uniform(1.1, 1.5)
    share, tone = rng.uniform(0.2, 0.55), pick(rng, lights)
    rows = int((bottom - top - pitch) / tall)
    if rows < 1:
        return
    lit = rng.random((rows, columns)) < share * rng.uniform(0.4, 1.4, (rows, 1))
    strength = rng.uniform(0.45, 1.0, lit.shape) * brightness
    for row, column in np.argwhere(lit).tolist():
        left = x + pitch * (column + 0.5)
        upper = top + pitch * 0.7 + tall * row
        fill = mix((0, 0, 0), tone, strength[row, column])
        draw.rectangle((left, upper, left + pitch * 0.55, upper + tall * 0.5), fill=fill)


# --- Hot-air balloons ----------------------------------------------------------------------

BALLOON_SKY = [
    ("5aa9e6 a9d6f5 fdf0d5", "8fb98b 3f7d5a"),
    ("f78d6b fbb98a ffe8c2", "a2667a 4d2f52"),
    ("6d83c9 c3a6d8 fcd5ce", "7c86a8 39496f"),
    ("2b5d8c 7fb5c9 f9e0ae", "6f9a8d 1f4d54"),
    ("89cfd0 d3eedd fff6dc", "b7bf7a 5f8350"),
]
BALLOON_CLOTH = [
    "e63946 f1faee 1d3557",
    "ffb703 fb8500 d62828",
    "2a9d8f e9c46a e76f51",
    "7b2cbf e0aaff ffd166",
    "118ab2 ffd166 ef476f",
    "f4f1de e07a5f 3d405b",
    "ff6b6b ffe66d 4ecdc4",
    "264653 2a9d8f f4a261",
]


def balloons(rng, size, turn):
    """Paint striped balloons drifting over hills."""
    width, height = size
    sky, land = (colours(text) for text in BALLOON_SKY[turn % len(BALLOON_SKY)])
    image = gradient(size, sky)
    glow(image, (width * rng.uniform(0.1, 0.9), height * 0.7), width * 0.6, (255, 250, 225), 0.5)
    clouds(image, rng, (255, 255, 255), 0.8, bottom=0.8)
    for layer in range(3):
        depth = layer / 2
        tops = height * (0.84 + 0.07 * layer) - height * 0.09 * hills(rng, width, 1.2 + depth)
        tone = mix(mix(land[0], sky[2], 0.45), land[1], depth)
        fill_below(image, tops, [mix(tone, sky[2], 0.25), tone])
    count = int(pick(rng, [1, 3, 4, 5, 7]))
    reach = min(width, height)
    largest = reach * (0.62 if count == 1 else 0.46 if count < 5 else 0.36)
    sizes = largest * np.geomspace(1, 0.3, count) if count > 1 else [largest]
    spots = []
    for tall in sizes:
        free = [
            point
            for point in spread(rng, size, 25, 10, tall * 0.5)
            if point[1] < height * 0.68
            and all(np.hypot(*(point - at)) > (tall + other) * 0.52 for at, other in spots)
        ]
        if free:
            spots.append((free[0], tall))
    for at, tall in reversed(spots):
        cloth = colours(pick(rng, BALLOON_CLOTH))
        haze = 0.45 * (1 - tall / largest)
        stick(image, balloon(rng, int(tall), cloth, sky[1], haze), at)
    return image


def balloon(rng, tall, cloth, haze_colour, haze):
    """Make a cut-out balloon: gores of cloth around a lit, bulging envelope."""
    rows, half = int(tall * 0.8), int(tall * 0.34)
    y = np.linspace(0, 1, rows)[:, None]
    x = np.linspace(-1, 1, 2 * half)[None]
    crown = np.sqrt(np.clip(1 - (1 - y / 0.42) ** 2, 0, 1))
    skirt = 0.17 + 0.83 * np.cos(np.clip((y - 0.42) / 0.58, 0, 1) * np.pi / 2) ** 0.9
    radius = np.where(y < 0.42, crown, skirt) + 1e-6
    across = np.clip(x / radius, -1, 1)
    gores = int(pick(rng, [8, 10, 12]))
    around = (np.arcsin(across) / np.pi + rng.uniform(0, 1)) * gores
    fold = around % 1
    pattern = rng.integers(5)
    if pattern == 0:
        index = around
    elif pattern == 1:
        index = y * 6 + 0 * around
    elif pattern == 2:
        index = y * 7 + np.abs(fold - 0.5) * 1.6
    elif pattern == 3:
        index = around + y * 5
    else:
        index = np.where((y > 0.3) & (y < 0.52), np.floor(around) + 1, y * 3)
    pixels = np.array(cloth, float)[np.floor(index).astype(int) % len(cloth)]
    facing = np.sqrt(1 - across**2)
    light = 0.5 + 0.36 * facing - 0.22 * across + 0.24 * (0.55 - y)
    light = light * (1 - 0.16 * np.abs(2 * fold - 1) ** 6)
    pixels = pixels * light[..., None] + 34 * np.clip(light[..., None] - 0.75, 0, 1)
    alpha = np.clip((radius - np.abs(x)) * half, 0, 1)
    envelope = sprite(pixels, alpha)
    layer = Image.new("RGBA", (2 * half, tall))
    draw = ImageDraw.Draw(layer)
    top, bottom, basket = rows * 0.97, tall * 0.9, tall * 0.055
    for start, end in ((-0.16, -0.9), (-0.05, -0.4), (0.05, 0.4), (0.16, 0.9)):
        draw.line(
            (half + start * half, top, half + end * basket, bottom),
            fill=(70, 50, 42),
            width=max(1, tall // 240),
        )
    box = (half - basket, bottom, half + basket, bottom + basket * 1.5)
    draw.rounded_rectangle(box, basket * 0.35, fill=(122, 78, 48))
    draw.rectangle((box[0], box[1], box[2], box[1] + basket * 0.3), fill=(84, 50, 34))
    layer.paste(envelope, (0, 0), envelope)
    veil = Image.new("RGB", layer.size, haze_colour)
    veiled = Image.blend(layer.convert("RGB"), veil, haze)
    veiled.putalpha(layer.getchannel(3))
    return veiled


# --- Flowers -------------------------------------------------------------------------------

# Petal at the tip, middle and base | heart of the flower | background.
FLOWER_COLOURS = [
    ("ffd9e4 f58fb0 b83268", "f7c948 a8641c", "20402f 48785a 8fb58a"),
    ("fff8ec fbe6c4 e9b96e", "f2b632 8a4b12", "3b5a7d 7fa3c4 c4d9e6"),
    ("ffb347 f2762e a8321c", "5a2a18 2a120c", "2c3b2a 5f7a45 a9b46a"),
    ("d9c8ff 9a78e0 4e2f9c", "ffe08a c98f2a", "2a2f4a 5d6a94 a7b4d0"),
    ("ff8a80 e0353f 8a0f2a", "3a1420 160810", "f1e4d3 dcc7ae c7d1b5"),
    ("ffffff eef0ff b9c2ea", "ffd34d c4841c", "4a7a4a 86b06a c9dca0"),
    ("fff3a6 ffcf3f e08a10", "6b3a16 321808", "4f86b0 96c0da dcecf2"),
    ("ffe3d6 ffae9a d9606a", "fff0b8 d99a4a", "e8eef0 cfdde0 b5cdc8"),
]


def flowers(rng, size, turn):
    """Paint open flowers seen from above."""
    palette = FLOWER_COLOURS[turn % len(FLOWER_COLOURS)]
    petals, heart, ground = (colours(text) for text in palette)
    image = bokeh(rng, size, ground)
    reach = min(size)
    count = int(pick(rng, [1, 1, 3, 4, 6]))
    if count == 1:
        spots = [np.array(size) * rng.uniform(0.44, 0.56, 2)]
        radius = reach * rng.uniform(0.4, 0.47)
    else:
        radius = reach * (0.42 / count**0.36)
        spots = spread(rng, size, count, radius * 1.55, radius * 0.75)
    kind = pick(rng, ["daisy", "dahlia", "cosmos", "dahlia", "daisy"])
    for at in spots:
        own = radius * rng.uniform(0.85, 1.0)
        leaves(image, rng, at, own, mix(ground[0], (40, 92, 52), 0.7))
        flower(image, rng, at, own, kind, petals, heart)
    return image


def leaves(image, rng, at, radius, colour):
    """Let a few leaves look out from under a flower."""
    draw = ImageDraw.Draw(image)
    for angle in rng.uniform(0, TURN, int(rng.integers(3, 6))):
        tone = vary(rng, colour, 12)
        long = radius * rng.uniform(1.2, 1.42)
        shaded_petal(draw, at, long, 0.19, angle, [tone, mix(tone, (215, 230, 160), 0.4)], 0.3)
        line(
            draw,
            placed([(0, 0), (0.97, 0)], at, long, angle),
            mix(tone, (225, 240, 190), 0.4),
            radius * 0.012,
        )
        for place in (0.62, 0.69, 0.76, 0.83):
            for side in (-1, 1):
                rib = [(place, 0), (place + 0.05, side * 0.19 * (1 - place))]
                line(
                    draw,
                    placed(rib, at, long, angle),
                    mix(tone, (225, 240, 190), 0.2),
                    radius * 0.007,
                )


def petal_outline(plump, tip):
    """Outline a petal of length 1 that starts at 0, 0 and points to the right."""
    upper = [(0.02, 0.05), (0.3, plump * 0.68), (0.65, plump), (0.9, plump * 0.72 * tip)]
    lower = [(x, -y) for x, y in reversed(upper)]
    return curve([(0, 0), *upper, (1.0 if tip > 0.7 else 1.04, 0), *lower], 6)


def shaded_petal(draw, at, long, plump, angle, stops, tip):
    """Draw a petal as nested outlines that run through the colours from tip to base."""
    outline = petal_outline(plump, tip)
    steps = 9 + int(long * plump / 5)
    for step in range(steps):
        share = step / (steps - 1) * (len(stops) - 1)
        index = min(int(share), len(stops) - 2)
        tone = mix(stops[index], stops[index + 1], share - index)
        shrink = np.array([1 - 0.85 * step / steps, 1 - step / steps])
        polygon(draw, placed(outline * shrink, at, long, angle), tone)


def flower(image, rng, at, radius, kind, petals, heart):
    """Lay rings of petals from the outside in, each with a shadow on the ring below."""
    count, plump, tip, rings, core = {
        "daisy": (int(rng.integers(18, 26)), 0.11, 0.85, 2, 0.25),
        "dahlia": (int(rng.integers(13, 18)), 0.2, 0.6, 7, 0.1),
        "cosmos": (int(rng.integers(7, 10)), 0.3, 1.2, 2, 0.17),
    }[kind]
    at = np.asarray(at)
    for ring in range(rings):
        depth = ring / max(1, rings - 1)
        long = radius * (1 - (0.82 if rings > 2 else 0.12) * depth)
        angles = (np.arange(count) + 0.5 * ring + rng.normal(0, 0.09, count)) / count * TURN
        lengths = long * rng.uniform(0.93, 1.0, count)
        mask = Image.new("L", image.size)
        mask_draw = ImageDraw.Draw(mask)
        for angle, each in zip(angles, lengths):
            polygon(mask_draw, placed(petal_outline(plump, tip), at, each, angle), 255)
        below = mix(petals[2], (16, 22, 20), 0.75) if ring == 0 else petals[2]
        shadow(image, mask, (radius * 0.02, radius * 0.035), radius * 0.035, 0.5, below)
        draw = ImageDraw.Draw(image)
        for angle, each in zip(rng.permutation(angles), lengths):
            tone = [vary(rng, mix(stop, petals[2], 0.22 * depth), 7) for stop in petals]
            rim = placed(petal_outline(plump, tip), at, each * 1.012, angle)
            polygon(draw, rim, mix(petals[1], petals[2], 0.55))
            shaded_petal(draw, at, each, plump, angle, tone, tip)
            for bend in (-0.35, 0.0, 0.35):
                vein = [(0.2, bend * plump * 0.4), (0.6, bend * plump), (0.86, bend * plump)]
                line(
                    draw, placed(vein, at, each, angle), mix(tone[0], tone[1], 0.75), radius * 0.005
                )
    heart_of_flower(image, rng, at, radius * core, heart)


def heart_of_flower(image, rng, at, radius, heart):
    """Fill the middle with florets in a sunflower spiral."""
    mask = Image.new("L", image.size)
    disc(ImageDraw.Draw(mask), at, radius, 255)
    shadow(image, mask, (radius * 0.06, radius * 0.1), radius * 0.16, 0.55)
    draw = ImageDraw.Draw(image)
    disc(draw, at, radius, heart[1])
    for index in np.arange(220):
        distance = np.sqrt(index / 220)
        angle = index * 2.39996
        spot = at + radius * distance * np.array([np.cos(angle), np.sin(angle)])
        lift = 0.75 - 0.5 * distance - 0.25 * np.sin(angle + 0.8) + rng.normal(0, 0.1)
        disc(draw, spot, radius * 0.06, mix(heart[1], heart[0], np.clip(lift, 0, 1)))


# --- Forests -------------------------------------------------------------------------------

# Leaves | mist, ground | trunks far, near.
FOREST_SEASON = [
    ("f6b73c ef8a2e d9542b b8362c ffd56b", "fdeccb 8a4a26", "c9a58a 3a2320"),
    ("7fb24a 4f8f3f a9cf5f 2f6b3c d4e58a", "eef5d6 4b6b33", "a5b59a 2b3325"),
    ("f7c5d5 f2a0bd e57fa3 ffe3ea d0648f", "fdf1f0 9aa86a", "c9aab0 4a3038"),
    ("3f8f8a 2c6b73 6fb8a8 1f4d5c a8d8c4", "dcefe8 2f5550", "93b5b0 132b33"),
    ("e8c547 c9d15a f2e08a 9fb03f ffefa8", "fff9df 8a8440", "d6cfb0 f4efe2"),
    ("c8455a a32f52 e0706a 7a234a f09a7f", "f8ddd6 5f2a3a", "b98f96 2a1522"),
]


def forests(rng, size, turn):
    """Paint a path of light between trees, leaf by leaf."""
    width, height = size
    leaf, air, trunk = (colours(text) for text in FOREST_SEASON[turn % len(FOREST_SEASON)])
    image = gradient(size, [mix(air[0], leaf[0], 0.45), air[0], mix(air[0], air[1], 0.4)])
    ground = height * rng.uniform(0.62, 0.72)
    light = (width * rng.uniform(0.35, 0.65), ground - height * 0.16)
    glow(image, light, width * 0.5, mix(air[0], (255, 255, 255), 0.7), 0.9)
    floor = ground - height * 0.03 * hills(rng, width, 1.5)
    fill_below(image, floor, [mix(air[0], air[1], 0.35), air[1], mix(air[1], trunk[1], 0.35)])
    path(image, rng, light[0], ground, air)
    fallen(image, rng, ground, leaf, 700)
    for layer in range(4):
        depth = layer / 3
        mist = mix(air[0], trunk[0], 0.35 + 0.4 * depth)
        bark = mix(mist, trunk[1], depth**1.3)
        foot = ground + (height - ground) * 0.55 * depth**1.6
        gap = width * (0.02 + 0.1 * depth)
        tones = [mix(air[0], tone, 0.35 + 0.65 * depth) for tone in leaf]
        for _ in range([16, 11, 7, 4][layer]):
            x = rng.uniform(-0.02, 1.02) * width
            # The light stays open: near trees keep clear of the middle of the path.
            if abs(x - light[0]) < gap:
                x = light[0] + np.sign(x - light[0] + 0.1) * gap * rng.uniform(1, 2)
            tree_trunk(image, rng, (x, foot), width * (0.006 + 0.02 * depth), bark)
        canopy(image, rng, light, ground, depth, tones)
    glow(image, light, width * 0.45, mix(air[0], (255, 255, 255), 0.6), 0.45)
    return image


def path(image, rng, x, top, air):
    """Lay a pale path that widens toward the viewer."""
    width, height = image.size
    mask = Image.new("L", image.size)
    y = np.linspace(0, 1, 20)
    bend = x + width * (rng.uniform(-0.2, 0.2) * y**1.5 + 0.035 * np.sin(y**0.6 * 8))
    half = width * (0.014 + 0.17 * y**1.4)
    rows = top + (height - top) * y
    sides = [np.stack([bend - half, rows], 1), np.stack([bend + half, rows], 1)[::-1]]
    polygon(ImageDraw.Draw(mask), np.concatenate(sides), 125)
    image.paste(mix(air[0], air[1], 0.22), mask=blur(mask, 9))


def fallen(image, rng, ground, leaf, count):
    """Scatter leaves on the ground, larger toward the viewer."""
    width, height = image.size
    draw = ImageDraw.Draw(image)
    for near in np.sort(rng.random(count) ** 0.8):
        x, y = rng.uniform(0, width), ground + (height - ground) * near
        long = 2 + 9 * near * rng.uniform(0.6, 1.2)
        under = image.getpixel((int(x), int(min(y, height - 1))))
        draw.ellipse(
            (x - long, y - long * 0.4, x + long, y + long * 0.4),
            fill=mix(under, vary(rng, pick(rng, leaf)), 0.6),
        )


def tree_trunk(image, rng, foot, thick, bark):
    """Raise a trunk that leaves the picture at the top, with a few boughs."""
    draw = ImageDraw.Draw(image)
    x, y = foot
    lean = rng.normal(0, thick * 2)
    glow(image, (x + thick, y), thick * 4, mix(bark, (20, 12, 16), 0.3), 0.5)
    rise = np.array([0, 0.02, 0.06, 0.14, 1])
    half = thick * np.array([1.9, 1.25, 0.95, 0.82, 0.45])
    right = np.stack([x + lean * rise + half, y * (1 - rise)], 1)
    left = np.stack([x + lean * rise - half, y * (1 - rise)], 1)[::-1]
    polygon(draw, [*right, *left, (x, y + thick * 0.5)], bark)
    shade = np.stack([x + lean * rise + half * 0.15, y * (1 - rise)], 1)[::-1]
    polygon(draw, [*right, *shade], mix(bark, (20, 12, 16), 0.16))
    for _ in range(5):
        level = rng.uniform(0.15, 0.6)
        start = np.array([x + lean * (1 - level), y * level])
        reach = rng.choice([-1, 1]) * thick * rng.uniform(5, 10)
        line(
            draw,
            [start, start + (reach * 0.5, -thick * 2), start + (reach, -thick * 6)],
            bark,
            thick * 0.4,
        )


def canopy(image, rng, light, ground, depth, tones):
    """Dab leaves in clusters over the upper part, thinner around the light."""
    width = image.width
    draw = ImageDraw.Draw(image)
    for _ in range(int(26 - 8 * depth)):
        x = rng.uniform(0, width)
        away = min(1, abs(x - light[0]) / (width * 0.5))
        y = rng.uniform(-0.05, 0.26 + 0.32 * away) * ground
        radius = width * rng.uniform(0.05, 0.1) * (0.7 + 0.5 * depth)
        tone = pick(rng, tones)
        for across, down in rng.normal(0, 0.5, (70, 2)).tolist():
            dab = (2.5 + 5.5 * depth) * rng.uniform(0.6, 1.3)
            shade = mix(tone, (255, 255, 240), 0.18) if down < -0.3 else tone
            shade = mix(tone, (30, 20, 40), 0.16) if down > 0.45 else shade
            left, upper = x + across * radius * 1.3, y + down * radius
            draw.ellipse(
                (left - dab, upper - dab * 0.7, left + dab, upper + dab * 0.7),
                fill=vary(rng, shade, 9),
            )


# --- Butterflies ---------------------------------------------------------------------------

# Wing at the base, middle and edge | margin, spots | background.
BUTTERFLY_COLOURS = [
    ("ffb347 f58220 d9531e", "221418 fff3e0", "5f8f4f a9c77f e4eec0"),
    ("4fc3f7 1e88e5 1a4fb0", "0c1230 e8f4ff", "3f6f5a 86b58a d8e8b8"),
    ("fff6b0 ffe04d f2b21c", "4a3416 fffbe6", "7f6fb0 b8a8dc efe2f5"),
    ("f8bbd0 ec6a9c b02a70", "2c0f2a ffe9f2", "4d8f8a 9fd0c0 e6f3e2"),
    ("b2f2bb 38b27a 0b6b5a", "06211f f0ffe8", "d98f6a f2c39a fdeed2"),
    ("ffffff f3f0e6 d8d2c0", "3a3a44 ffffff", "c2557a eda0b0 fbe0dc"),
    ("d0bfff 845ef7 4a2bb0", "160a38 f6f0ff", "d9a441 f0cf7f fdf3d0"),
]


def butterflies(rng, size, turn):
    """Paint butterflies with open wings before a blurred meadow."""
    palette = BUTTERFLY_COLOURS[turn % len(BUTTERFLY_COLOURS)]
    wing, edge, ground = (colours(text) for text in palette)
    image = bokeh(rng, size, ground)
    reach = min(size)
    count = int(pick(rng, [1, 1, 1, 2, 3]))
    span = reach * {1: 0.8, 2: 0.54, 3: 0.44}[count]
    if count == 1:
        spots = [np.array(size) * rng.uniform(0.47, 0.53, 2)]
    else:
        spots = spread(rng, size, count, span * 0.95, span * 0.5)
    for at in spots:
        cutout = butterfly(rng, int(span * rng.uniform(0.9, 1.0)), wing, edge)
        angle = rng.uniform(-0.6, 0.6)
        cutout = cutout.rotate(np.degrees(-angle), Image.Resampling.BILINEAR, expand=True)
        mask = Image.new("L", size)
        mask.paste(cutout.getchannel(3), tuple((at - np.array(cutout.size) / 2).astype(int)))
        dark = mix(ground[0], (0, 0, 0), 0.6)
        shadow(image, mask, (span * 0.03, span * 0.07), span * 0.03, 0.4, dark)
        stick(image, cutout, at)
    return image


def butterfly(rng, span, wing, edge):
    """Make a cut-out butterfly: one side is drawn and mirrored."""
    half = Image.new("RGBA", (span // 2, span))
    scale = span * 0.49
    root = np.array([0, span * 0.5])
    tall, broad, tail = rng.uniform(0.7, 0.97), rng.uniform(-0.08, 0.1), rng.uniform(0, 0.24)
    hind = [
        (0.02, 0.0),
        (0.4, -0.06),
        (0.74, 0.06 + broad),
        (0.8, 0.34),
        (0.66, 0.6),
        (0.5 - tail * 0.3, 0.72 + tail),
        (0.38, 0.6),
        (0.1, 0.36),
    ]
    fore = [
        (0.02, -0.04),
        (0.22, -0.42),
        (0.6, -tall * 0.9),
        (0.93, -tall),
        (0.97, -tall * 0.8),
        (0.86 - broad * 0.8, -0.42),
        (0.8, -0.1 + broad),
        (0.42, 0.04),
    ]
    spots = int(rng.integers(1, 3))
    eye, band = rng.random() < 0.5, rng.random() < 0.35
    for knots in (hind, fore):
        draw_wing(half, curve(knots, 12), root, scale, wing, edge, spots, eye, band)
    sheen = noise_mask(rng, half.size, 8, 0.3, 0.9, 0.16, octaves=5)
    bright = Image.new("RGB", half.size, (255, 255, 255))
    lit = Image.composite(bright, half.convert("RGB"), sheen)
    lit.putalpha(half.getchannel(3))
    whole = Image.new("RGBA", (span, span))
    whole.paste(lit, (span - span // 2, 0))
    whole.paste(lit.transpose(Image.Transpose.FLIP_LEFT_RIGHT), (0, 0))
    draw = ImageDraw.Draw(whole)
    middle, dark = span / 2, mix(edge[0], (40, 26, 20), 0.4)
    for side in (-1, 1):
        t = np.linspace(0, 1, 14)
        feeler = np.stack([side * 0.15 * t**1.7, -0.12 - 0.27 * t**0.85], 1) * span
        line(draw, feeler + (middle, span * 0.5), dark, span * 0.006)
        disc(draw, feeler[-1] + (middle, span * 0.5), span * 0.009, dark)
    for shade, wide in ((dark, 0.022), (mix(dark, wing[0], 0.3), 0.01)):
        for centre, long in ((0.6, 0.14), (0.47, 0.075), (0.38, 0.025)):
            draw.ellipse(
                (
                    middle - span * wide,
                    span * (centre - long),
                    middle + span * wide,
                    span * (centre + long),
                ),
                fill=shade,
            )
    return whole


def draw_wing(half, outline, root, scale, wing, edge, spots, eye, band):
    """Draw a wing: dark margin, glowing cells, veins, and pale spots along the rim."""
    draw = ImageDraw.Draw(half)
    centre = outline.mean(axis=0)
    polygon(draw, placed(outline, root, scale), edge[0])
    inner = centre + (outline - centre) * 0.86
    inner = inner * 0.95
    steps = 24
    for step in range(steps):
        share = step / (steps - 1) * 2
        tone = mix(wing[2], wing[1], share) if share < 1 else mix(wing[1], wing[0], share - 1)
        polygon(draw, placed(inner * (1 - step / steps), root, scale), tone)
    if band:
        for reach, tone in ((0.78, edge[1]), (0.62, wing[1])):
            polygon(draw, placed(inner * reach, root, scale), mix(tone, wing[1], 0.25))
        for step in range(steps):
            tone = mix(wing[1], wing[0], step / steps)
            polygon(draw, placed(inner * 0.61 * (1 - step / steps), root, scale), tone)
    far = np.hypot(*outline.T)
    rim = np.flatnonzero(far > np.percentile(far, 45))
    for index in rim[:: max(1, len(rim) // 7)]:
        bent = np.stack(
            [outline[index] * 0.1, outline[index] * 0.5 + centre * 0.06, outline[index] * 0.97]
        )
        line(draw, placed(bent, root, scale), edge[0], scale * 0.011)
    for index in rim[3 :: max(1, len(rim) // 9)]:
        for row in range(spots):
            spot = centre + (outline[index] - centre) * (0.94 - 0.075 * row)
            disc(draw, placed(spot[None], root, scale)[0], scale * (0.017 - 0.006 * row), edge[1])
    if eye:
        spot = placed((centre * 1.22)[None], root, scale)[0]
        for size, tone in ((0.085, edge[0]), (0.066, wing[0]), (0.046, edge[0]), (0.018, edge[1])):
            disc(draw, spot, scale * size, tone)


# --- Fish ----------------------------------------------------------------------------------

# Water from the surface down | plants.
WATER = [
    ("a8ecf0 38b3cc 0b6a9a 06375f", "1f7a5c 0f4f4a"),
    ("c8f7e0 4fc9b0 14807f 053f4c", "2f8f4f 12523c"),
    ("8fc8f5 3f7fd0 1f3f94 0c1a4f", "6a3f8f 33246a"),
    ("f7e6b5 8fc9b0 2f8089 0f3d55", "b0623f 6a3344"),
]
FISH_COLOURS = [
    "ff8a1f ffffff 1f1a24",
    "ffe03a f5b81c 2a2a5a",
    "3a86ff 8ecbff ffd23f",
    "ff5d73 ffd0c2 8a1f4a",
    "f5f5f5 f2542d 2a2a2a",
    "b47cff ffe08a 3a1f7a",
    "2ec4b6 e8fff5 0b5563",
]


def fish(rng, size, turn):
    """Paint fish in a shaft of light under water."""
    width, height = size
    water, plants = (colours(text) for text in WATER[turn % len(WATER)])
    coat = colours(FISH_COLOURS[turn % len(FISH_COLOURS)])
    image = gradient(size, water)
    rays(image, rng, water[0])
    for layer in range(2):
        seabed = height * (0.9 + 0.05 * layer) - height * 0.07 * hills(rng, width, 1.5)
        weeds(image, rng, seabed, mix(plants[layer], water[2 + layer], 0.55 - 0.4 * layer))
        sand = mix(water[3], water[1], 0.35 - 0.25 * layer)
        fill_below(image, seabed, [mix(sand, water[0], 0.15), sand])
    far_shoal(image, rng, mix(water[1], water[2], 0.75))
    bubbles(image, rng, water[0])
    count = int(pick(rng, [1, 2, 3, 5, 8, 12]))
    reach = min(width, height)
    long = reach * {1: 0.68, 2: 0.5, 3: 0.42, 5: 0.32, 8: 0.26, 12: 0.21}[count]
    heading, build = rng.choice([-1, 1]), rng.uniform(0.2, 0.34)
    pattern = int(rng.integers(4))
    spots = spread(rng, (width, int(height * 0.92)), count, long * 0.72, long * 0.42)
    if count == 1:
        spots = [np.array([width * rng.uniform(0.45, 0.55), height * rng.uniform(0.4, 0.55)])]
    for at in spots:
        own = long * rng.uniform(0.75, 1.05)
        cutout = one_fish(rng, int(own), build, coat, pattern)
        if heading < 0:
            cutout = cutout.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        stick(image, cutout, at, rng.normal(0, 0.12))
    return image


def rays(image, rng, colour):
    """Let light fall aslant from the surface."""
    width, height = image.size
    mask = Image.new("L", image.size)
    draw = ImageDraw.Draw(mask)
    source, lean = rng.uniform(0.2, 0.8) * width, rng.uniform(-0.3, 0.3) * width
    for _ in range(9):
        top = source + rng.normal(0, width * 0.22)
        foot, wide = top + lean + (top - source) * 0.9, width * rng.uniform(0.02, 0.07)
        polygon(
            draw,
            [
                (top, -10),
                (top + wide * 0.5, -10),
                (foot + wide * 2, height * 0.95),
                (foot, height * 0.95),
            ],
            int(rng.uniform(40, 110)),
        )
    fade = gradient(image.size, [(230, 0, 0), (120, 0, 0), (0, 0, 0)]).getchannel(0)
    image.paste(colour, mask=ImageChops.multiply(blur(mask, 18), fade))
    glow(image, (source, 0), height * 0.6, mix(colour, (255, 255, 255), 0.6), 0.6)


def weeds(image, rng, seabed, colour):
    """Grow swaying ribbons of weed from the sea bed."""
    width, height = image.size
    draw = ImageDraw.Draw(image)
    for clump in rng.uniform(0, width, int(rng.integers(4, 8))):
        for _ in range(int(rng.integers(4, 9))):
            x = float(np.clip(clump + rng.normal(0, width * 0.03), 0, width - 1))
            tall, sway = height * rng.uniform(0.08, 0.3), rng.uniform(4, 22)
            t = np.linspace(0, 1, 24)
            spine = x + sway * t * np.sin(t * 6 + rng.uniform(0, TURN))
            y = seabed[int(x)] + 12 - tall * t
            half = (3 + height * 0.009 * np.sin(np.pi * (0.15 + 0.85 * t))) * (1 - t**4)
            sides = [np.stack([spine - half, y], 1), np.stack([spine + half, y], 1)[::-1]]
            polygon(draw, np.concatenate(sides), vary(rng, colour, 10))


def far_shoal(image, rng, colour):
    """Let a shoal pass far off, little more than shadows."""
    width, height = image.size
    draw = ImageDraw.Draw(image)
    outline = bulged(
        [(0.5, 0), (-0.3, 0), (-0.55, -0.17), (-0.48, 0), (-0.55, 0.17), (-0.3, 0)],
        [0.17, 0, 0, 0, 0, 0.17],
    )
    middle = np.array([rng.uniform(0.15, 0.85) * width, rng.uniform(0.15, 0.6) * height])
    heading = rng.choice([0, np.pi])
    for offset in rng.normal(0, (width * 0.13, height * 0.07), (14, 2)):
        polygon(
            draw,
            placed(outline, middle + offset, width * rng.uniform(0.02, 0.035), heading),
            colour,
        )


def bubbles(image, rng, colour):
    """Send up strings of bubbles."""
    width, height = image.size
    for start in rng.uniform(0.05, 0.95, 3) * width:
        for _ in range(int(rng.integers(4, 9))):
            x, y = start + rng.normal(0, 14), rng.uniform(0.05, 0.9) * height
            radius = rng.uniform(3, 13)
            glow(image, (x, y), radius * 1.3, colour, 0.35)
            draw = ImageDraw.Draw(image)
            draw.ellipse(
                (x - radius, y - radius, x + radius, y + radius),
                outline=mix(colour, (255, 255, 255), 0.5),
                width=2,
            )
            disc(draw, (x - radius * 0.35, y - radius * 0.35), radius * 0.2, (255, 255, 255))


def one_fish(rng, long, build, coat, pattern):
    """Make a cut-out fish that swims to the right."""
    tall = int(long * 0.8)
    layer = Image.new("RGBA", (long, tall))
    draw = ImageDraw.Draw(layer)
    fin, fin_edge = mix(coat[0], coat[2], 0.12), mix(coat[0], (255, 255, 255), 0.35)
    height = build * long
    middle = tall / 2
    tail = curve([(0.27, 0), (0.12, -0.17), (0.0, -0.25), (0.06, 0), (0.0, 0.25), (0.12, 0.17)])
    back = curve(
        [
            (0.36, -build * 0.6),
            (0.42, -build * 1.32),
            (0.6, -build * 1.36),
            (0.74, -build * 0.7),
            (0.55, -build * 0.5),
        ]
    )
    belly = curve(
        [(0.4, build * 0.6), (0.36, build * 1.3), (0.5, build * 1.15), (0.6, build * 0.7)]
    )
    for outline in (tail, back, belly):
        polygon(draw, outline * long + (0, middle), fin_edge)
        centre = outline.mean(axis=0)
        for step in range(6):
            shrunk = centre + (outline - centre) * (0.94 - 0.13 * step)
            polygon(draw, shrunk * long + (0, middle), mix(fin_edge, fin, 0.4 + 0.12 * step))
        root = np.array([0.36, centre[1] * 0.3])
        for knot in outline[::4]:
            line(
                draw,
                np.stack([root, knot * 0.97 + centre * 0.03]) * long + (0, middle),
                mix(fin, fin_edge, 0.6),
                long * 0.003,
            )
    x = np.linspace(0, 1, long)[None]
    y = np.linspace(-middle, middle, tall)[:, None]
    along = np.clip((x - 0.2) / 0.78, 0, 1)
    girth = height * (np.sin(np.pi * along**0.72) ** 0.8 * 0.93 + 0.09 * (1 - along)) + 1e-6
    girth = np.where((x < 0.2) | (x > 0.98), 1e-6, girth)
    across = y / girth
    pixels = np.array(coat, float)[fish_pattern(rng, along, across, pattern)]
    light = 1.06 - 0.2 * across - 0.32 * np.clip(across, 0, 1) ** 2 - 0.3 * np.abs(across) ** 6
    scales = np.sin(along * 95 + np.sin(across * 22) * 1.3) * np.sin(across * 22)
    light = light + 0.035 * scales * (along < 0.72)
    pixels = pixels * light[..., None]
    shine = np.exp(-(((across + 0.45) / 0.2) ** 2)) * smoothstep(along, 0.1, 0.5)
    pixels = pixels + 46 * shine[..., None]
    body = sprite(pixels, np.clip(girth - np.abs(y), 0, 1))
    layer.paste(body, (0, 0), body)
    t = np.linspace(-0.95, 0.95, 16)
    gill = np.stack([0.745 + 0.035 * np.cos(t * np.pi / 2), t * build * 0.52], 1)
    line(draw, gill * long + (0, middle), mix(coat[0], coat[2], 0.45), long * 0.006)
    mouth = np.array([(0.955, 0.012), (0.935, 0.026), (0.905, 0.03)])
    line(draw, mouth * long + (0, middle), mix(coat[0], coat[2], 0.55), long * 0.006)
    side_fin = curve([(0.66, 0.02), (0.55, -0.03), (0.5, 0.06), (0.56, 0.12)])
    polygon(draw, side_fin * long + (0, middle), fin_edge)
    polygon(draw, (side_fin * 0.9 + (0.058, 0.004)) * long + (0, middle), fin)
    eye = (long * 0.845, middle - height * 0.2)
    for size, tone in ((0.032, (255, 255, 250)), (0.024, (18, 16, 24))):
        disc(draw, eye, long * size, tone)
    disc(draw, (eye[0] + long * 0.007, eye[1] - long * 0.009), long * 0.008, (255, 255, 255))
    return layer


def fish_pattern(rng, along, across, pattern):
    """Say which colour of its coat a fish has where."""
    shift = rng.uniform(-0.02, 0.02)
    if pattern == 0:
        band = np.minimum(
            np.abs(along + 0.04 * across**2 - 0.38 - shift),
            np.abs(along - 0.05 * across**2 - 0.74 - shift),
        )
        return np.where(band < 0.055, 1, np.where(band < 0.075, 2, 0))
    if pattern == 1:
        return np.where(across + 0.25 * np.sin(along * 9) > 0.28, 1, 0)
    if pattern == 2:
        stripe = np.abs(((along + shift) * 6) % 1 - 0.5 + 0.1 * across)
        return np.where(stripe < 0.13, 2, np.where(stripe < 0.22, 1, 0))
    return np.where(np.abs(across + 0.1) < 0.13 + 0.1 * along, 2, np.where(across > 0.35, 1, 0))


# --- Planets -------------------------------------------------------------------------------

# Surface colours from low to high | glow of the air | nebula.
PLANET_COLOURS = [
    ("f3dcb8 d9a066 b5653c f0e4d0 8a4a32", "ffcf9a", "5a2f4a 2a3f6f"),
    ("12366f 2b6cb0 4fa3d9 7fb069 f2ead0", "8fd0ff", "1f2f6a 0f4f5f"),
    ("3a0f1f 8a1f2a d9483a f59a4a ffd98a", "ff8a5a", "5f1f2f 3a1f5a"),
    ("d8f0f0 8fd0d8 4fa0c0 b8e8e0 2f6f9f", "b0f0ff", "0f3f5f 3f2f7f"),
    ("e8d0f5 b088d8 7a50b0 f0b8d0 4a2f80", "e0a8ff", "4a1f6f 1f2f6f"),
    ("c9c0b0 8f8678 5f584f aaa090 3f3a36", "d8d8e8", "1f2f4f 2f2f3f"),
    ("f7e8a8 d8c060 8fa850 4f8060 f5f5e0", "e8f5a0", "2f4f3f 1f3f5f"),
]


def planets(rng, size, turn):
    """Paint a planet among stars, some with rings and moons."""
    surface, air, nebula = (colours(text) for text in PLANET_COLOURS[turn % len(PLANET_COLOURS)])
    image = gradient(size, colours("05060f 0a0d1f 05060f"))
    for tone in nebula:
        image.paste(tone, mask=noise_mask(rng, size, 3, 0.42, 0.95, 0.85, octaves=5))
    image.paste((230, 210, 235), mask=noise_mask(rng, size, 3, 0.7, 1.2, 0.4, octaves=6))
    stars(image, rng, 420)
    reach = min(size)
    radius = reach * rng.uniform(0.24, 0.36)
    at = np.array(size) * rng.uniform(0.46, 0.54, 2)
    sun = rng.uniform(0, TURN)
    banded, ringed = turn % 2 == 0, turn % 3 != 1
    radius = radius * 0.78 if ringed else radius
    glow(image, at, radius * 1.5, air[0], 0.75)
    tilt, flat = rng.uniform(-0.6, 0.6), rng.uniform(0.2, 0.4)
    band = ring_disc(rng, radius, surface, flat) if ringed else None
    if band:
        stick(image, band, at, tilt)
    stick(image, globe(rng, radius, surface, air[0], sun, banded, tilt), at)
    if band:
        front = band.copy()
        front.paste((0, 0, 0, 0), (0, 0, band.width, band.height // 2))
        stick(image, front, at, tilt)
    for _ in range(int(rng.integers(0, 4))):
        away = radius * rng.uniform(1.5, 2.3)
        angle = rng.uniform(0, TURN)
        moon = at + away * np.array([np.cos(angle), np.sin(angle)])
        tones = pick(rng, [surface, colours("d8d0c8 a09890 706860 e8e0d8 504840")])
        ball = globe(rng, radius * rng.uniform(0.07, 0.2), tones, air[0], sun, False, 0)
        stick(image, ball, moon)
    return image


def globe(rng, radius, surface, air, sun, banded, tilt):
    """Make a cut-out ball with clouds or land, lit from one side."""
    half = max(8, int(radius / SCALE))
    axis = (np.arange(2 * half) + 0.5) / half - 1
    x, y = np.meshgrid(axis, axis)
    square = x * x + y * y
    z = np.sqrt(np.clip(1 - square, 0, 1))
    turned_x, turned_y = x * np.cos(tilt) + y * np.sin(tilt), y * np.cos(tilt) - x * np.sin(tilt)
    # Bulge the texture like a map on a ball, so that it crowds together at the rim.
    bulge = 0.5 + 0.5 * np.arcsin(np.clip(np.hypot(x, y), 0, 1)) / (np.pi / 2)
    side = max(64, 2 * half)
    chart = noise(rng, (side, side), 5 if banded else 4, octaves=6, stretch=3.0 if banded else 1.0)
    column = np.clip((turned_x * bulge * 0.5 + 0.5) * (side - 1), 0, side - 1).astype(int)
    row = np.clip((turned_y * bulge * 0.5 + 0.5) * (side - 1), 0, side - 1).astype(int)
    height = chart[row, column]
    if banded:
        phase = rng.uniform(0, TURN)
        sweep = turned_y * rng.uniform(7, 12) + height * 2.2 + phase
        height = 0.5 + 0.33 * np.sin(sweep) + 0.17 * np.sin(sweep * 2.7 + 1)
    else:
        height = smoothstep(height, 0.15, 0.85)
    where = np.linspace(0, 1, len(surface))
    pixels = np.stack([np.interp(height, where, part) for part in zip(*surface)], axis=-1)
    lit = x * np.cos(sun) * 0.72 + y * np.sin(sun) * 0.72 + z * 0.62
    day = smoothstep(lit, -0.25, 0.85)[..., None]
    haze = ((1 - z) ** 3)[..., None] * day
    pixels = pixels * (0.04 + 1.08 * day) * (1 - 0.6 * haze) + np.array(air) * 0.8 * haze
    alpha = np.clip((1 - np.sqrt(square)) * half, 0, 1)
    ball = sprite(pixels, alpha)
    return ball.resize((2 * half * SCALE, 2 * half * SCALE), Image.Resampling.BILINEAR)


def ring_disc(rng, radius, surface, flat):
    """Make a cut-out disc of rings, seen aslant."""
    half = int(radius * 2.2 / SCALE)
    rows = int(half * flat)
    x, y = np.meshgrid(np.linspace(-1, 1, 2 * half), np.linspace(-1, 1, 2 * rows))
    distance = np.hypot(x, y)
    table = np.repeat(rng.uniform(0.25, 1.0, 34), 3)
    table = np.convolve(table, np.ones(4) / 4, "same")
    grain = np.interp(distance, np.linspace(0.5, 1, len(table)), table)
    alpha = grain * smoothstep(distance, 0.54, 0.58) * (1 - smoothstep(distance, 0.95, 0.99))
    tone = np.array(mix(surface[0], surface[3], 0.5), float) * (0.65 + 0.4 * grain[..., None])
    return sprite(tone, alpha * 0.85).resize((4 * half, 4 * rows), Image.Resampling.BILINEAR)


# --- Coffee --------------------------------------------------------------------------------

# Cup and its shade | table, its grain.
COFFEE_TABLE = [
    ("fbf7f0 cfc5b8", "8a5a3a 5a3622", "wood"),
    ("3f6f8f 24465f", "e8e2d8 c4bcb0", "marble"),
    ("e8a598 b86f66", "f3ece2 ddd0bf", "linen"),
    ("2f3a40 161d22", "c89a6a 9a6c42", "wood"),
    ("f5f2ea c9c8c0", "4a7a78 35605f", "linen"),
    ("e9c46a b88f38", "54504f 383535", "wood"),
    ("fdfdfb d0d4d8", "e9b7a8 d59a8a", "linen"),
]


def coffee(rng, size, turn):
    """Paint a cup of coffee seen from above."""
    cup, table, kind = COFFEE_TABLE[turn % len(COFFEE_TABLE)]
    cup = colours(cup)
    image = tabletop(rng, size, colours(table), kind)
    reach = min(size)
    at = np.array(size) * rng.uniform(0.45, 0.55, 2)
    saucer = reach * rng.uniform(0.36, 0.43)
    beans(image, rng, at, saucer)
    plate(image, at, saucer, cup, 0.35)
    plate(image, at, saucer * 0.9, [mix(*cup, 0.18), cup[0]], 0.0)
    plate(image, at, saucer * 0.64, [mix(*cup, 0.3), mix(*cup, 0.1)], 0.0)
    angle = rng.uniform(0, TURN)
    if rng.random() < 0.6:
        spoon(image, at, saucer, angle + rng.uniform(1.5, 2.6))
    rim = saucer * rng.uniform(0.56, 0.62)
    handle(image, at, rim, angle, cup)
    plate(image, at, rim, cup, 0.55)
    plate(image, at, rim * 0.93, [mix(cup[1], (30, 18, 12), 0.45), mix(*cup, 0.6)], 0.0)
    drink(image, rng, at, rim * 0.88, turn)
    return image


def tabletop(rng, size, tones, kind):
    """Paint a table of boards, of marble or covered with linen."""
    width, height = size
    image = Image.new("RGB", size, tones[0])
    if kind == "wood":
        image.paste(tones[1], mask=noise_mask(rng, size, 2, 0.25, 0.9, 0.85, stretch=24.0))
        draw = ImageDraw.Draw(image)
        for y in np.arange(rng.uniform(0.05, 0.2), 1, 0.24) * height:
            draw.line((0, y, width, y), fill=mix(tones[1], (20, 10, 8), 0.5), width=5)
            draw.line((0, y + 5, width, y + 5), fill=mix(tones[0], (255, 240, 220), 0.2), width=2)
    elif kind == "marble":
        veins = 1 - np.abs(noise(rng, (width // 4, height // 4), 3, octaves=6) - 0.5) * 9
        veins = as_mask(np.clip(veins, 0, 1) ** 2 * 0.55)
        image.paste(tones[1], mask=noise_mask(rng, size, 3, 0.3, 1, 0.5))
        image.paste((120, 116, 120), mask=veins.resize(size, Image.Resampling.BILINEAR))
    else:
        weave = np.add.outer(np.sin(np.arange(height) * 0.9), np.sin(np.arange(width) * 0.9))
        image.paste(tones[1], mask=as_mask(0.22 + 0.11 * weave))
        image.paste(tones[1], mask=noise_mask(rng, size, 3, 0.3, 0.9, 0.6))
    glow(image, (width * 0.1, 0), width * 0.9, (255, 246, 228), 0.4)
    return image


def plate(image, at, radius, tones, cast):
    """Lay down a round thing lit from the upper left, with a shadow if it casts one."""
    side = round(radius * 2)
    mask = Image.new("L", image.size)
    disc(ImageDraw.Draw(mask), at, radius, 255)
    if cast:
        shadow(image, mask, (radius * 0.09, radius * 0.13), radius * 0.1, cast)
    face = gradient((256, 256), tones).rotate(45, Image.Resampling.BILINEAR)
    face = face.crop((64, 64, 192, 192)).resize((side, side), Image.Resampling.BILINEAR)
    place = (round(at[0] - radius), round(at[1] - radius))
    image.paste(face, place, mask.crop((*place, place[0] + side, place[1] + side)))


def handle(image, at, rim, angle, cup):
    """Draw the handle of the cup."""
    ring = curve([(0.9, -0.2), (1.25, -0.2), (1.45, 0), (1.25, 0.2), (0.9, 0.2)])
    mask = Image.new("L", image.size)
    polygon(ImageDraw.Draw(mask), placed(ring, at, rim, angle), 255)
    hole = np.array([1.14, 0]) + (ring - (1.14, 0)) * 0.5
    polygon(ImageDraw.Draw(mask), placed(hole, at, rim, angle), 0)
    shadow(image, mask, (rim * 0.07, rim * 0.1), rim * 0.07, 0.45)
    image.paste(mix(*cup, 0.3), mask=mask)
    image.paste(cup[0], mask=ImageChops.multiply(mask, ImageChops.offset(blur(mask, 6), -6, -8)))


def spoon(image, at, saucer, angle):
    """Rest a spoon on the saucer."""
    middle = at + saucer * 0.77 * np.array([np.cos(angle), np.sin(angle)])
    bowl = curve(
        [
            (-0.48, 0),
            (-0.4, 0.075),
            (-0.27, 0.085),
            (-0.16, 0.02),
            (-0.16, -0.02),
            (-0.27, -0.085),
            (-0.4, -0.075),
        ]
    )
    shaft = bulged(
        [(-0.18, -0.017), (0.56, -0.024), (0.56, 0.024), (-0.18, 0.017)], [-0.01, 0.5, -0.01, 0]
    )
    mask = Image.new("L", image.size)
    for outline in (bowl, shaft):
        polygon(ImageDraw.Draw(mask), placed(outline, middle, saucer, angle + np.pi / 2), 255)
    shadow(image, mask, (saucer * 0.02, saucer * 0.035), saucer * 0.02, 0.5)
    image.paste((222, 218, 212), mask=mask)
    draw = ImageDraw.Draw(image)
    hollow = np.array([-0.31, 0]) + (bowl - (-0.31, 0)) * 0.8
    for step in range(8):
        shape = placed(hollow * (1, 1 - 0.1 * step), middle, saucer, angle + np.pi / 2)
        polygon(draw, shape, mix((150, 144, 140), (244, 240, 234), step / 7))
    ridge_line = placed([(-0.12, 0), (0.53, 0)], middle, saucer, angle + np.pi / 2)
    line(draw, ridge_line, (250, 248, 244), saucer * 0.01)


def drink(image, rng, at, radius, turn):
    """Fill the cup, and pour a figure of milk into the crema."""
    side = int(radius * 2)
    dark, crema, milk = colours("3a1c0e a8642f f7e6cc")
    axis = np.linspace(-1, 1, side // 2)
    distance = np.hypot(*np.meshgrid(axis, axis))
    swirl = noise(rng, distance.shape[::-1], 4, octaves=5)
    share = np.clip(smoothstep(distance, 1.0, 0.55) * 0.8 + (swirl - 0.5) * 0.35, 0, 1)[..., None]
    black = turn % 6 == 5
    if black:
        share = 1 - smoothstep(distance + (swirl - 0.5) * 0.16, 1.02, 0.84)[..., None]
    pixels = np.array(dark) * (1 - share) + np.array(crema) * share
    face = sprite(pixels, np.ones_like(distance)).convert("RGB").resize((side, side))
    if not black:
        figure = Image.new("L", (side, side))
        MILK_FIGURES[turn % len(MILK_FIGURES)](ImageDraw.Draw(figure), side / 2)
        figure = blur(figure.rotate(np.degrees(rng.uniform(-0.5, 0.5))), side * 0.006)
        face.paste(milk, mask=figure)
    glow(face, (side * 0.3, side * 0.25), side * 0.35, (255, 240, 215), 0.3)
    mask = Image.new("L", (side, side))
    disc(ImageDraw.Draw(mask), (side / 2, side / 2), radius, 255)
    # The rim throws its shadow on the drink from the side of the light.
    rim = ImageChops.offset(blur(mask, radius * 0.08), round(radius * 0.07), round(radius * 0.1))
    face = Image.composite(face, Image.new("RGB", face.size, (28, 12, 6)), faded(rim, 0.94))
    image.paste(face, (round(at[0] - radius), round(at[1] - radius)), mask)


def heart_outline():
    """Outline a heart about 2 wide around 0, 0."""
    t = np.linspace(0, TURN, 60)
    x = 16 * np.sin(t) ** 3
    y = -13 * np.cos(t) + 5 * np.cos(2 * t) + 2 * np.cos(3 * t) + np.cos(4 * t)
    return np.stack([x, y], axis=1) / 16


def milk_heart(draw, half):
    """Draw a heart with an inner ring."""
    for size, tone in ((0.62, 255), (0.5, 120), (0.44, 255)):
        polygon(draw, placed(heart_outline(), (half, half), half * size), tone)


def milk_rosetta(draw, half):
    """Draw a fern: leaf above leaf, parted by a stem."""
    for step in range(8):
        y, wide = half * (1.34 - 0.12 * step), half * (0.6 - 0.052 * step)
        for size, tone in ((1.0, 255), (0.86, 60)):
            blade = bulged(
                [(-wide, -wide * 0.55), (0, wide * 0.3), (wide, -wide * 0.55), (0, -wide * 0.12)],
                [-0.16, -0.16, 0.1, 0.1],
            )
            lift = wide * (0 if tone == 255 else 0.3)
            polygon(draw, blade * size + (half, y - lift), tone)
    polygon(draw, placed(heart_outline(), (half, half * 0.44), half * 0.2), 255)
    line(draw, [(half, half * 0.4), (half, half * 1.62)], 150, half * 0.03)


def milk_tulip(draw, half):
    """Draw a stack of hearts, one growing from the other."""
    for y, size in ((1.3, 0.52), (1.02, 0.43), (0.76, 0.34), (0.52, 0.24)):
        polygon(draw, placed(heart_outline(), (half, half * y), half * size * 1.16), 60)
        polygon(draw, placed(heart_outline(), (half, half * y), half * size), 255)


def milk_swirl(draw, half):
    """Draw a spiral of foam."""
    t = np.linspace(0.6, 16, 160)
    points = np.stack([np.cos(t), np.sin(t)], axis=1) * (t * half * 0.042)[:, None]
    line(draw, points + half, 245, half * 0.1)
    disc(draw, (half, half), half * 0.1, 245)


MILK_FIGURES = [milk_rosetta, milk_heart, milk_tulip, milk_swirl, milk_rosetta]


def beans(image, rng, at, saucer):
    """Scatter coffee beans around the saucer."""
    long = saucer * 0.085
    for spot in spread(rng, image.size, int(rng.integers(4, 22)), long * 2.4, long):
        if np.hypot(*(spot - at)) < saucer + long * 1.6:
            continue
        angle = rng.uniform(0, TURN)
        draw = ImageDraw.Draw(image)
        oval = curve([(-1, 0), (0, -0.66), (1, 0), (0, 0.66)])
        glow(image, spot + long * 0.25, long * 2.2, (20, 10, 8), 0.7)
        tone = vary(rng, (84, 48, 28), 10)
        for step in range(5):
            polygon(
                draw,
                placed(oval * (1 - 0.15 * step), spot - step * long * 0.05, long, angle),
                mix(tone, (150, 98, 62), 0.15 * step),
            )
        crease = placed([(-0.9, 0.05), (-0.3, -0.12), (0.3, 0.12), (0.9, -0.05)], spot, long, angle)
        line(draw, crease, (44, 22, 12), long * 0.13)


# --- Citrus --------------------------------------------------------------------------------

# Rind | flesh, its light, its deep.
CITRUS_KINDS = [
    ("f28c1e", "f9a12e ffc86a e0701a"),
    ("f2cf2e", "f8e27a fff5b8 e3bf3a"),
    ("6fae3a", "b9d96a e3f2a8 8ab83f"),
    ("f0994f", "ee6a5a ffa890 c93a3f"),
    ("d9602e", "b5283a e0605a 7a1228"),
]
CITRUS_CLOTH = [
    "2f5d62 4a8087",
    "f4ede0 e2d6c2",
    "e9c7b5 d8a892",
    "263a4f 3a5470",
    "f2d06b e6b94a",
    "b9d2c4 9abfae",
    "8a4f5c 70394a",
]


def citrus(rng, size, turn):
    """Paint slices of orange, lemon, lime and grapefruit with whole fruit and leaves."""
    cloth = colours(CITRUS_CLOTH[turn % len(CITRUS_CLOTH)])
    image = tabletop(rng, size, cloth, "marble" if turn % 14 == 8 else "linen")
    first = CITRUS_KINDS[turn % len(CITRUS_KINDS)]
    second = pick(rng, CITRUS_KINDS) if turn % 2 else first
    reach = min(size)
    count = int(pick(rng, [3, 5, 8, 12]))
    radius = reach * {3: 0.27, 5: 0.215, 8: 0.17, 12: 0.14}[count]
    half = int(radius / SCALE * 1.2)
    slices = [(kind, citrus_slice(rng, half, kind)) for kind in (first, second)]
    for spot in spread(rng, size, count, radius * 1.85, radius * 0.35):
        own = radius * rng.uniform(0.82, 1.0)
        kind, cut = slices[int(rng.integers(2))]
        whole = rng.random() < 0.28
        if whole:
            sprig(image, rng, spot, own)
            cut = whole_fruit(rng, int(own / SCALE), kind)
        angle = 0 if whole else rng.uniform(0, TURN)
        cut = cut.resize((round(own * 2), round(own * 2)), Image.Resampling.BILINEAR)
        shape = cut.getchannel("A").rotate(-np.degrees(angle))
        mask = Image.new("L", size)
        mask.paste(shape, (round(spot[0] - own), round(spot[1] - own)))
        shadow(image, mask, (own * 0.1, own * 0.15), own * 0.1, 0.5)
        stick(image, cut, spot, angle)
    return image


def citrus_slice(rng, half, kind):
    """Make a cut-out slice: rind, pith and segments full of pulp."""
    rind, flesh = colours(kind[0])[0], np.array(colours(kind[1]), float)
    axis = (np.arange(2 * half) + 0.5) / half - 1
    x, y = np.meshgrid(axis, axis)
    radius, angle = np.hypot(x, y), np.arctan2(y, x) / TURN + 0.5
    parts = int(rng.integers(9, 12))
    edges = np.sort((np.arange(parts) + rng.normal(0, 0.09, parts)) / parts % 1)
    edges = np.concatenate([[edges[-1] - 1], edges, [edges[0] + 1]])
    part = np.searchsorted(edges, angle) - 1
    to_wall = np.minimum(angle - edges[part], edges[part + 1] - angle) * TURN * radius
    inside = np.minimum(np.minimum(to_wall - 0.016, 0.84 - radius), radius - 0.07)
    # Round the corners of the segments where wall and pith meet.
    inside = inside - 0.02 * np.exp(-(((0.84 - radius) + to_wall) / 0.09))
    pulp = smoothstep(inside, 0, 0.025)[..., None]
    fibres = np.asarray(noise(rng, (240, 24), 90, octaves=2, stretch=1.0))
    streak = fibres[np.clip(radius * 20, 0, 23).astype(int), (angle * 239).astype(int)]
    depth = np.clip(0.3 + 0.9 * (streak - 0.5) + 0.45 * radius, 0, 1)[..., None]
    meat = flesh[2] * depth + flesh[0] * (1 - depth)
    bright = (np.exp(-inside / 0.05) * 0.5 + 0.35 * (streak > 0.72))[..., None]
    meat = meat * (1 - bright) + flesh[1] * bright
    pith = np.array([253, 244, 222]) * 0.86 + flesh[1] * 0.14
    pixels = pith * (1 - pulp) + meat * pulp
    skin = smoothstep(radius, 0.915, 0.945)[..., None]
    pixels = (
        pixels * (1 - skin)
        + np.array(rind) * (1.04 - 0.2 * smoothstep(radius, 0.95, 1))[..., None] * skin
    )
    pixels = pixels * (1.03 - 0.05 * (x + y)[..., None])
    return sprite(pixels, np.clip((1 - radius) * half, 0, 1))


def whole_fruit(rng, half, kind):
    """Make a cut-out fruit, round and pored."""
    tone = np.array(colours(kind[0])[0], float)
    axis = (np.arange(2 * half) + 0.5) / half - 1
    x, y = np.meshgrid(axis, axis)
    # Lemons and limes are longer than wide and come to a point; the others are round.
    angle, long = rng.uniform(0, np.pi), kind in CITRUS_KINDS[1:3]
    along, aside = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    square = np.abs(along) ** 1.65 + (aside / 0.78) ** 2 if long else x * x + y * y
    z = np.sqrt(np.clip(1 - square, 0, 1))
    lit = np.clip(-0.45 * x - 0.5 * y + 0.74 * z, 0, 1)
    pores = noise(rng, x.shape, half * 0.55, octaves=1) - 0.5
    light = (0.42 + 0.68 * lit + 0.1 * pores * z)[..., None]
    # Red fades least toward the shade: dark yellow turns warm instead of olive.
    pixels = tone * light ** np.array([0.7, 1.0, 1.25])
    pixels = pixels + 150 * np.clip(lit - 0.86, 0, 1)[..., None] ** 1.2
    pixels = pixels + np.array([255, 150, 60]) * (0.12 * (1 - z) * (x + y > 0))[..., None]
    return sprite(pixels, np.clip((1 - np.sqrt(square)) * half, 0, 1))


def sprig(image, rng, at, radius):
    """Lay a pair of leaves beside a fruit."""
    start = rng.uniform(0, TURN)
    for angle in (start, start + rng.uniform(0.6, 1.0)):
        mask = Image.new("L", image.size)
        outline = placed(petal_outline(0.2, 0.4), at, radius * 1.75, angle)
        polygon(ImageDraw.Draw(mask), outline, 255)
        shadow(image, mask, (radius * 0.06, radius * 0.1), radius * 0.06, 0.45)
        tone = vary(rng, (52, 104, 52), 10)
        draw = ImageDraw.Draw(image)
        stops = [tone, mix(tone, (150, 190, 90), 0.5)]
        shaded_petal(draw, at, radius * 1.75, 0.2, angle, stops, 0.4)
        tip = at + radius * 1.7 * np.array([np.cos(angle), np.sin(angle)])
        line(draw, [at, tip], mix(tone, (190, 215, 130), 0.55), radius * 0.018)


# --- Stained glass -------------------------------------------------------------------------

# Sky or rim | sun or heart | land or petals | deep.
GLASS = [
    ("1d4ed8 3b82f6 60a5fa 93c5fd", "fde047 facc15 fb923c", "15803d 22c55e 84cc16 0f766e"),
    ("7c2d92 a855f7 d946ef f0abfc", "fbbf24 f97316 ef4444", "1e3a8a 1d4ed8 0e7490 155e75"),
    ("ea580c f97316 fb923c fdba74", "fef9c3 fde047 fff7ed", "7f1d1d b91c1c 9f1239 be123c"),
    ("0f766e 14b8a6 5eead4 99f6e4", "fff7ed fdba74 fb7185", "1e3a8a 3730a3 4f46e5 6366f1"),
    ("be123c e11d48 fb7185 fda4af", "fef3c7 fcd34d f59e0b", "14532d 15803d 4d7c0f 65a30d"),
    ("1e1b4b 312e81 3730a3 4f46e5", "f8fafc e0f2fe bae6fd", "064e3b 0f766e 0e7490 155e75"),
]
LEAD = (22, 20, 24)


def stained_glass(rng, size, turn):
    """Paint a leaded window: a rose, or the sun over hills."""
    sky, sun, land = (colours(text) for text in GLASS[turn % len(GLASS)])
    image = Image.new("RGB", size, LEAD)
    lead = Image.new("L", size)
    if turn % 2:
        rose_window(image, lead, rng, sky, sun, land)
    else:
        sunrise_window(image, lead, rng, sky, sun, land)
    pane = noise(rng, (size[0] // 4, size[1] // 4), 9, octaves=4, stretch=0.6)
    pane = as_mask(0.72 + 0.28 * pane).resize(size, Image.Resampling.BILINEAR)
    image = ImageChops.multiply(image, Image.merge("RGB", [pane] * 3))
    bloom = blur(image, 26)
    image = ImageChops.screen(image, bloom.point(lambda value: value * 0.4))
    image.paste(LEAD, mask=lead)
    shine = ImageChops.subtract(lead, ImageChops.offset(lead, 2, 2))
    image.paste((150, 148, 156), mask=faded(shine, 0.5))
    return image


def pane_of(draw, lead_draw, outline, tone, wide):
    """Set one piece of glass in lead."""
    polygon(draw, outline, tone)
    outline = np.asarray(outline, float)
    line(lead_draw, np.concatenate([outline, outline[:2]]), 255, wide)


def arc_pane(centre, inner, outer, start, end):
    """Outline a piece of a ring."""
    angles = np.linspace(start, end, 8)
    ray = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return np.concatenate([ray * inner, ray[::-1] * outer]) + centre


def sunrise_window(image, lead, rng, sky, sun, land):
    """Set rays of glass around a sun above hills of glass."""
    width, height = image.size
    draw, lead_draw = ImageDraw.Draw(image), ImageDraw.Draw(lead)
    reach, wide = min(width, height), min(width, height) * 0.009
    centre = np.array([width * rng.uniform(0.25, 0.75), height * rng.uniform(0.3, 0.55)])
    core = reach * rng.uniform(0.1, 0.16)
    rings = np.cumsum([core, *(reach * rng.uniform(0.09, 0.2, 9))])
    for index, (inner, outer) in enumerate(pairwise(rings)):
        parts = int(10 + 3 * index)
        turns = (np.arange(parts + 1) + rng.uniform(0, 1)) / parts * TURN
        turns[1:-1] += rng.normal(0, 0.06, parts - 1)
        for start, end in pairwise(turns):
            near = np.exp(-index / 2.0)
            tone = pick(rng, sun if rng.random() < near * 0.9 else sky)
            piece = arc_pane(centre, inner, outer, start, end)
            pane_of(draw, lead_draw, piece, vary(rng, tone), wide)
    petals = int(rng.integers(6, 9))
    for index in range(petals):
        piece = arc_pane(centre, 0, core, index / petals * TURN, (index + 1) / petals * TURN)
        pane_of(draw, lead_draw, piece, vary(rng, sun[index % 2], 10), wide)
    levels = int(rng.integers(3, 5))
    for level in range(levels):
        base = height * (0.68 + 0.36 * level / levels)
        tops = base - height * 0.13 * hills(rng, width, rng.uniform(0.7, 1.4))
        step = int(width / rng.integers(5, 9))
        lead_draw.polygon(
            [
                (0, height),
                *zip(range(0, width, 8), tops[::8].tolist()),
                (width, tops[-1]),
                (width, height),
            ],
            fill=0,
        )
        slant, next_slant = 0.0, 0.0
        for left in range(-step // 2, width, step):
            columns = np.arange(max(0, left), min(width, left + step + 8), 8)
            crest = np.stack([columns, tops[np.minimum(columns, width - 1)]], axis=1)
            slant, next_slant = next_slant, rng.normal(0, step * 0.18)
            foot = [(columns[-1] + next_slant, height + 9), (columns[0] + slant, height + 9)]
            tone = mix(pick(rng, land), land[level % len(land)], 0.5)
            pane_of(draw, lead_draw, np.concatenate([crest, foot]), vary(rng, tone), wide)


def rose_window(image, lead, rng, sky, sun, land):
    """Set rings of glass around a heart, as in a church."""
    width, height = image.size
    draw, lead_draw = ImageDraw.Draw(image), ImageDraw.Draw(lead)
    reach = min(width, height) * 0.48
    centre, wide = np.array([width / 2, height / 2]), reach * 0.017
    fold = int(rng.choice([6, 8, 10, 12]))
    cell = reach * 0.22
    for row in np.arange(-1, height / cell + 1):
        for column in np.arange(-1, width / cell + 1):
            corner = (np.array([column, row]) + 0.5 * (row % 2) * np.array([1, 0])) * cell
            diamond = np.array([(0.5, 0), (1, 0.5), (0.5, 1), (0, 0.5)]) * (cell, cell * 2) + corner
            tone = mix(pick(rng, land), (20, 18, 50), 0.45)
            pane_of(draw, lead_draw, diamond, vary(rng, tone, 8), wide)
    disc(lead_draw, centre, reach * 1.03, 255)
    disc(lead_draw, centre, reach, 0)
    bands = [(1.0, 0.84, sky, 2), (0.84, 0.5, land, 1), (0.5, 0.2, sky, 1), (0.2, 0.0, sun, 1)]
    for outer, inner, tones, times in bands:
        parts = fold * times
        offset = 0.5 * (times == 2)
        pair = [pick(rng, tones), pick(rng, tones)]
        for index in range(parts):
            start, end = ((index + offset + extra) / parts * TURN for extra in (0, 1))
            piece = arc_pane(centre, inner * reach, outer * reach, start, end)
            pane_of(draw, lead_draw, piece, vary(rng, pair[index % 2], 9), wide)
    round_ = bulged([(-1, 0), (0, -1), (1, 0), (0, 1)], [0.207] * 4)
    jewel = pick(
        rng,
        [
            round_ * (1.25, 1),
            bulged([(-1.25, 0), (1.25, 0)], [0.3, 0.3]),
            bulged([(-1.25, 0), (1.1, -0.1), (1.1, 0.1)], [0.26, 0.8, 0.26]),
        ],
    )
    for radius, size, tones in ((0.67, 0.13, sun), (0.37, 0.09, land), (0.92, 0.05, sun)):
        size = min(size, radius * np.pi / fold * 0.82)
        for index in range(fold):
            angle = (index + 0.5) / fold * TURN
            at = centre + reach * radius * np.array([np.cos(angle), np.sin(angle)])
            shape = placed(jewel if size > 0.06 else round_, at, reach * size, angle)
            polygon(lead_draw, shape, 0)
            pane_of(draw, lead_draw, shape, vary(rng, tones[index % 2], 9), wide)
    hub = placed(
        curve([(np.cos(a), np.sin(a)) for a in np.linspace(0, TURN, 9)[:-1]]), centre, reach * 0.1
    )
    polygon(lead_draw, hub, 0)
    pane_of(draw, lead_draw, hub, sun[0], wide)


# --- The whole set -------------------------------------------------------------------------

GROUPS = {
    "balloons": balloons,
    "butterflies": butterflies,
    "citrus": citrus,
    "coffee": coffee,
    "fish": fish,
    "flowers": flowers,
    "forests": forests,
    "mountains": mountains,
    "planets": planets,
    "sailing": sailing,
    "skylines": skylines,
    "stained-glass": stained_glass,
}


def finish(rng, image):
    """Shrink to the final size, darken the corners a little and add a touch of grain."""
    image = image.reduce(SCALE)
    width, height = image.size
    x, y = np.linspace(-1, 1, width)[None], np.linspace(-1, 1, height)[:, None]
    corners = (1 - 0.13 * smoothstep(x * x + y * y, 0.7, 2.0)).astype(np.float32)
    grain = rng.standard_normal((height, width), dtype=np.float32) * 1.6
    pixels = np.asarray(image, np.float32) * corners[..., None] + grain[..., None]
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def draw_picture(group, number, seed):
    """Draw one picture; the same group, number and seed always give the same one."""
    rng = np.random.default_rng([seed, zlib.crc32(group.encode()), number])
    width, height = pick(rng, SIZES)
    return finish(rng, GROUPS[group](rng, (width * SCALE, height * SCALE), number - 1))


def draw_all(folder, count, seed):
    """Draw every picture that the set calls for; return how many, or 0 if all were there."""
    files = {
        (group, number): folder / group / f"{group}-{number:02}.jpg"
        for group in GROUPS
        for number in range(1, count + 1)
    }
    if all(file.exists() for file in files.values()):
        return 0
    for (group, number), file in files.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        draw_picture(group, number, seed).save(file, quality=JPEG_QUALITY)
    return len(files)


def main():
    """Read the command line and draw."""
    parser = argparse.ArgumentParser(
        description="Draw pictures into FOLDER/<group>/, a folder for each of "
        f"{len(GROUPS)} subjects, to try datasette-imgsim on; the same seed gives the same files."
    )
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="where the pictures go")
    parser.add_argument("--count", type=int, default=17, help="pictures per group (default 17)")
    parser.add_argument("--seed", type=int, default=1, help="number that chooses the set")
    options = parser.parse_args()
    drawn = draw_all(options.folder, options.count, options.seed)
    if drawn:
        print(f"Drew {drawn} pictures in {len(GROUPS)} groups in {options.folder}")
    else:
        print(f"{options.folder} has all its pictures already; nothing drawn")


if __name__ == "__main__":
    main()
