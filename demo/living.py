"""Living things: flowers, butterflies and fish."""

import numpy as np
from colour import TURN, WHITE, arranged, colours, mix, palette, pick, vary
from light import bokeh, glow, shadow, stick
from PIL import Image, ImageDraw
from shapes import (
    curve,
    disc,
    fill_below,
    hills,
    line,
    placed,
    polygon,
    shaded,
    shape_mask,
    strip,
    toward,
)
from texture import gradient, smoothstep, sprite

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
    petals, heart, ground = palette(FLOWER_COLOURS, turn)
    image = bokeh(rng, size, ground)
    count = int(pick(rng, [1, 1, 3, 4, 6]))
    radius = min(size) * (0.42 / count**0.36)
    kind = pick(rng, ["daisy", "dahlia", "cosmos", "dahlia", "daisy"])
    for at in arranged(rng, size, count, radius * 1.55, radius * 0.75):
        own = radius * rng.uniform(0.85, 1.0)
        leaves(image, rng, at, own, mix(ground[0], (40, 92, 52), 0.7))
        flower(image, rng, at, own, kind, petals, heart)
    return image


def petal(plump, tip):
    """Outline a petal of length 1 that starts at 0, 0 and points to the right."""
    upper = [(0.02, 0.05), (0.3, plump * 0.68), (0.65, plump), (0.9, plump * 0.72 * tip)]
    lower = [(x, -y) for x, y in reversed(upper)]
    return curve([(0, 0), *upper, (1.0 if tip > 0.7 else 1.04, 0), *lower], 6)


def leaves(image, rng, at, radius, colour):
    """Let a few leaves look out from under a flower."""
    draw = ImageDraw.Draw(image)
    for angle in rng.uniform(0, TURN, int(rng.integers(3, 6))):
        tone, long = vary(rng, colour, 12), radius * rng.uniform(1.2, 1.42)
        pale = mix(tone, (215, 230, 160), 0.4)
        shaded(draw, placed(petal(0.19, 0.3), at, long, angle), [tone, pale], at, 24)
        line(draw, placed([(0, 0), (0.97, 0)], at, long, angle), pale, radius * 0.012)


def flower(image, rng, at, radius, kind, petals, heart):
    """Lay rings of petals from the outside in, each with a shadow on the ring below."""
    count, plump, tip, rings, core = {
        "daisy": (int(rng.integers(18, 26)), 0.11, 0.85, 2, 0.25),
        "dahlia": (int(rng.integers(13, 18)), 0.2, 0.6, 7, 0.1),
        "cosmos": (int(rng.integers(7, 10)), 0.3, 1.2, 2, 0.17),
    }[kind]
    draw, outline = ImageDraw.Draw(image), petal(plump, tip)
    for ring in range(rings):
        depth = ring / (rings - 1)
        angles = (np.arange(count) + 0.5 * ring + rng.normal(0, 0.09, count)) / count * TURN
        lengths = radius * (1 - (0.82 if rings > 2 else 0.12) * depth) * rng.uniform(0.93, 1, count)
        shapes = [placed(outline, at, *each) for each in zip(lengths, rng.permutation(angles))]
        below = petals[2] if ring else mix(petals[2], (16, 22, 20), 0.75)
        shadow(image, shape_mask(image.size, *shapes), radius * 0.03, 0.5, below)
        for shape in shapes:
            tones = [vary(rng, mix(tone, petals[2], 0.22 * depth), 7) for tone in petals]
            polygon(draw, at + (shape - at) * 1.012, mix(petals[1], petals[2], 0.55))
            shaded(draw, shape, tones, at, 20)
    core = radius * core
    shadow(
        image, shape_mask(image.size, at + core * toward(np.linspace(0, TURN, 60))), core / 8, 0.5
    )
    disc(draw, at, core, heart[1])
    # Florets in a sunflower spiral.
    for index in range(220):
        away, angle = np.sqrt(index / 220), index * 2.39996
        light = np.clip(0.75 - away / 2 - 0.25 * np.sin(angle + 0.8) + rng.normal(0, 0.1), 0, 1)
        disc(draw, at + core * away * toward(angle), core * 0.06, mix(heart[1], heart[0], light))


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
BODY = [(0, -0.15), (0.02, -0.13), (0.015, -0.09), (0.022, -0.03), (0.018, 0.07), (0, 0.24)]
BODY = curve([*BODY, *((-x, y) for x, y in BODY[-2:0:-1])])


def butterflies(rng, size, turn):
    """Paint butterflies with open wings before a blurred meadow."""
    wing, edge, ground = palette(BUTTERFLY_COLOURS, turn)
    image = bokeh(rng, size, ground)
    count = int(pick(rng, [1, 1, 1, 2, 3]))
    span = min(size) * {1: 0.8, 2: 0.54, 3: 0.44}[count]
    for at in arranged(rng, size, count, span * 0.95, span * 0.5):
        cutout = butterfly(rng, int(span * rng.uniform(0.9, 1.0)), wing, edge)
        stick(image, cutout, at, rng.uniform(-0.6, 0.6), 0.4, span * 0.03)
    return image


def butterfly(rng, span, wing, edge):
    """Make a cut-out butterfly: one side is drawn and mirrored."""
    tall, broad, tail = rng.uniform(0.7, 0.97), rng.uniform(-0.08, 0.1), rng.uniform(0, 0.24)
    hind = [(0.02, 0.0), (0.4, -0.06), (0.74, 0.06 + broad), (0.8, 0.34), (0.66, 0.6)]
    hind += [(0.5 - tail * 0.3, 0.72 + tail), (0.38, 0.6), (0.1, 0.36)]
    fore = [(0.02, -0.04), (0.22, -0.42), (0.6, -tall * 0.9), (0.93, -tall), (0.97, -tall * 0.8)]
    fore += [(0.86 - broad * 0.8, -0.42), (0.8, -0.1 + broad), (0.42, 0.04)]
    half = Image.new("RGBA", (span // 2, span))
    spots, eye = int(rng.integers(1, 3)), rng.random() < 0.5
    for knots in (hind, fore):
        draw_wing(ImageDraw.Draw(half), curve(knots, 12), span, wing, edge, spots, eye)
    whole = Image.new("RGBA", (span, span))
    whole.paste(half, (span - span // 2, 0))
    whole.paste(half.transpose(Image.Transpose.FLIP_LEFT_RIGHT), (0, 0))
    draw, dark, middle = ImageDraw.Draw(whole), mix(edge[0], (40, 26, 20), 0.4), span / 2
    t = np.linspace(0, 1, 14)
    for side in (-1, 1):
        feeler = middle + np.stack([side * 0.15 * t**1.7, -0.12 - 0.27 * t**0.85], 1) * span
        line(draw, feeler, dark, span * 0.006)
        disc(draw, feeler[-1], span * 0.009, dark)
    polygon(draw, BODY * span + middle, dark)
    return whole


def draw_wing(draw, outline, span, wing, edge, spots, eye):
    """Draw a wing: dark margin, glowing cells, veins, and pale spots along the rim."""
    root, scale, centre = (0, span * 0.5), span * 0.49, outline.mean(axis=0)
    polygon(draw, placed(outline, root, scale), edge[0])
    inner = placed((centre + (outline - centre) * 0.86) * 0.95, root, scale)
    shaded(draw, inner, wing[::-1], root, 24)
    far = np.hypot(*outline.T)
    rim = np.flatnonzero(far > np.percentile(far, 45))
    for knot in outline[rim[:: max(1, len(rim) // 7)]]:
        vein = [knot * 0.1, knot * 0.5 + centre * 0.06, knot * 0.97]
        line(draw, placed(vein, root, scale), edge[0], scale * 0.011)
    for knot in outline[rim[3 :: max(1, len(rim) // 9)]]:
        for row in range(spots):
            at = placed(centre + (knot - centre) * (0.94 - 0.075 * row), root, scale)
            disc(draw, at, scale * (0.017 - 0.006 * row), edge[1])
    if eye:
        at = placed(centre * 1.22, root, scale)
        for size, tone in ((0.085, edge[0]), (0.066, wing[0]), (0.046, edge[0]), (0.018, edge[1])):
            disc(draw, at, scale * size, tone)


# Water from the surface down | plants far, near.
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
    water, plants = palette(WATER, turn)
    coat = colours(FISH_COLOURS[turn % len(FISH_COLOURS)])
    image = gradient(size, water)
    glow(image, (width * rng.uniform(0.2, 0.8), 0), height, mix(water[0], WHITE, 0.6), 0.7)
    for layer in range(2):
        seabed = height * (0.9 + 0.05 * layer) - height * 0.07 * hills(rng, width, 1.5)
        weeds(image, rng, seabed, mix(plants[layer], water[2 + layer], 0.55 - 0.4 * layer))
        sand = mix(water[3], water[1], 0.35 - 0.25 * layer)
        fill_below(image, seabed, [mix(sand, water[0], 0.15), sand])
    count = int(pick(rng, [1, 2, 3, 5, 8, 12]))
    long = min(size) * {1: 0.68, 2: 0.5, 3: 0.42, 5: 0.32, 8: 0.26, 12: 0.21}[count]
    to_left, build, pattern = rng.random() < 0.5, rng.uniform(0.2, 0.34), int(rng.integers(4))
    for at in arranged(rng, (width, height * 0.92), count, long * 0.72, long * 0.42):
        cutout = one_fish(int(long * rng.uniform(0.75, 1.05)), build, coat, pattern)
        if to_left:
            cutout = cutout.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        stick(image, cutout, at, rng.normal(0, 0.12))
    return image


def weeds(image, rng, seabed, colour):
    """Grow swaying ribbons of weed from the sea bed."""
    width, height = image.size
    t = np.linspace(0, 1, 24)
    half = (3 + height * 0.009 * np.sin(np.pi * (0.15 + 0.85 * t))) * (1 - t**4)
    for clump in rng.uniform(0, width, int(rng.integers(4, 8))):
        for x in clump + rng.normal(0, width * 0.03, int(rng.integers(4, 9))):
            spine = x + rng.uniform(4, 22) * t * np.sin(t * 6 + rng.uniform(0, TURN))
            foot = seabed[int(np.clip(x, 0, width - 1))] + 12
            blade = strip(spine, foot - height * rng.uniform(0.08, 0.3) * t, half)
            polygon(ImageDraw.Draw(image), blade, vary(rng, colour, 10))


def one_fish(long, build, coat, pattern):
    """Make a cut-out fish that swims to the right."""
    tall = int(long * 0.8)
    layer = Image.new("RGBA", (long, tall))
    draw, middle = ImageDraw.Draw(layer), np.array([0, tall / 2])
    fin, rim, dark = mix(coat[0], coat[2], 0.12), mix(coat[0], WHITE, 0.35), mix(*coat[::2], 0.5)
    tail = [(0.27, 0), (0.12, -0.17), (0.0, -0.25), (0.06, 0), (0.0, 0.25), (0.12, 0.17)]
    back = [(0.36, -0.6), (0.42, -1.32), (0.6, -1.36), (0.74, -0.7), (0.55, -0.5)]
    belly = [(0.4, 0.6), (0.36, 1.3), (0.5, 1.15), (0.6, 0.7)]
    for outline in (curve(tail), curve(back) * (1, build), curve(belly) * (1, build)):
        centre = outline.mean(axis=0)
        shape = outline * long + middle
        shaded(draw, shape, [rim, fin, fin], centre * long + middle, 8)
        for knot in shape[::4]:
            line(draw, [np.array([0.36, centre[1] * 0.3]) * long + middle, knot], fin, long * 0.003)
    body = fish_body(long, tall, build, coat, pattern)
    layer.paste(body, (0, 0), body)
    t = np.linspace(-0.95, 0.95, 16)
    gill = np.stack([0.745 + 0.035 * np.cos(t * np.pi / 2), t * build * 0.52], 1)
    mouth = np.array([(0.955, 0.012), (0.935, 0.026), (0.905, 0.03)])
    for stroke in (gill, mouth):
        line(draw, stroke * long + middle, dark, long * 0.006)
    side_fin = curve([(0.66, 0.02), (0.55, -0.03), (0.5, 0.06), (0.56, 0.12)]) * long + middle
    shaded(draw, side_fin, [rim, fin, fin], side_fin.mean(axis=0), 8)
    eye = np.array([0.845, -build * 0.2]) * long + middle
    for size, tone, aside in ((0.032, WHITE, 0), (0.024, (18, 16, 24), 0), (0.008, WHITE, 0.008)):
        disc(draw, eye + np.array([aside, -aside]) * long, long * size, tone)
    return layer


def fish_body(long, tall, build, coat, pattern):
    """Make the cut-out body, rounded by light and scaled."""
    x, y = np.linspace(0, 1, long)[None], (np.arange(tall)[:, None] - tall / 2) / long
    along = np.clip((x - 0.2) / 0.78, 0, 1)
    girth = build * (np.sin(np.pi * along**0.72) ** 0.8 * 0.93 + 0.09 * (1 - along))
    girth = np.where((x < 0.2) | (x > 0.98), 0, girth) + 1e-6
    across = y / girth
    # Bands or stripes from back to belly, a pale belly, or a stripe along the side.
    edge = np.abs(along * (2.8, 6, 0, 0)[pattern] % 1 - 0.5 + 0.1 * across)
    if pattern < 2:
        coat_there = np.where(edge < 0.13, 2, np.where(edge < 0.22, 1, 0))
    elif pattern == 2:
        coat_there = np.where(across + 0.25 * np.sin(along * 9) > 0.28, 1, 0)
    else:
        edge = np.abs(across + 0.1) - 0.1 * along
        coat_there = np.where(edge < 0.13, 2, np.where(across > 0.35, 1, 0))
    pixels = np.array(coat, float)[coat_there]
    light = 1.06 - 0.2 * across - 0.32 * np.clip(across, 0, 1) ** 2 - 0.3 * np.abs(across) ** 6
    scales = np.sin(along * 95 + np.sin(across * 22) * 1.3) * np.sin(across * 22)
    light = light + 0.035 * scales * (along < 0.72)
    shine = np.exp(-(((across + 0.45) / 0.2) ** 2)) * smoothstep(along, 0.1, 0.5)
    pixels = pixels * light[..., None] + 46 * shine[..., None]
    return sprite(pixels, (girth - np.abs(y)) * long)
