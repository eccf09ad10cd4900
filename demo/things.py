"""Things seen from near: cups of coffee, citrus fruit and stained glass."""

from itertools import pairwise

import numpy as np
from colour import TURN, colours, mix, palette, pick, spread, vary
from light import glow, shadow, stick
from PIL import Image, ImageChops, ImageDraw
from shapes import bulged, curve, disc, line, placed, polygon, shaded, shape_mask, toward
from texture import as_mask, blur, faded, noise, noise_mask, smoothstep, sprite, square

ANGLES = np.linspace(0, TURN, 120)
CIRCLE = toward(ANGLES)


def tabletop(rng, size, tones, boards):
    """Paint a table of boards, or one covered with linen."""
    width, height = size
    image = Image.new("RGB", size, tones[0])
    if boards:
        image.paste(tones[1], mask=noise_mask(rng, size, 2, 0.25, 0.9, 0.85, stretch=24.0))
        draw = ImageDraw.Draw(image)
        for y in np.arange(rng.uniform(0.05, 0.2), 1, 0.24) * height:
            draw.line((0, y, width, y), fill=mix(tones[1], (20, 10, 8), 0.5), width=5)
            draw.line((0, y + 5, width, y + 5), fill=mix(tones[0], (255, 240, 220), 0.2), width=2)
    else:
        weave = np.add.outer(np.sin(np.arange(height) * 0.9), np.sin(np.arange(width) * 0.9))
        image.paste(tones[1], mask=as_mask(0.22 + 0.11 * weave))
        image.paste(tones[1], mask=noise_mask(rng, size, 3, 0.3, 0.9, 0.6))
    glow(image, (width * 0.1, 0), width * 0.9, (255, 246, 228), 0.4)
    return image


# Cup and its shade | table and its grain; the 1st, 4th and 6th table are of wood.
COFFEE_TABLE = [
    ("fbf7f0 cfc5b8", "8a5a3a 5a3622"),
    ("3f6f8f 24465f", "e8e2d8 c4bcb0"),
    ("e8a598 b86f66", "f3ece2 ddd0bf"),
    ("2f3a40 161d22", "c89a6a 9a6c42"),
    ("f5f2ea c9c8c0", "4a7a78 35605f"),
    ("e9c46a b88f38", "54504f 383535"),
    ("fdfdfb d0d4d8", "e9b7a8 d59a8a"),
]
COFFEE, CREMA, MILK = colours("3a1c0e a8642f f7e6cc")
HANDLE = curve([(0.9, -0.2), (1.25, -0.2), (1.45, 0), (1.25, 0.2), (0.9, 0.2)])
BEAN = curve([(-1, 0), (0, -0.66), (1, 0), (0, 0.66)])
WAVES = np.cos(np.outer((1, 2, 3, 4), ANGLES))
HEART = np.stack([np.sin(ANGLES) ** 3, (-13, 5, 2, 1) @ WAVES / 16], axis=1)
# What milk draws into the crema: outlines, and how much of it shows.
MILK_FIGURES = [
    [(HEART * 0.62, 255), (HEART * 0.5, 120), (HEART * 0.44, 255)],
    [(CIRCLE * (0.7 - step / 12), 60 + step % 2 * 195) for step in range(1, 8)],
    [
        (HEART * size * more + (0, y), tone)
        for y, size in ((0.3, 0.52), (0.02, 0.43), (-0.24, 0.34), (-0.48, 0.24))
        for more, tone in ((1.16, 60), (1, 255))
    ],
]


def coffee(rng, size, turn):
    """Paint a cup of coffee seen from above."""
    cup, table = palette(COFFEE_TABLE, turn)
    image = tabletop(rng, size, table, turn % 7 in (0, 3, 5))
    at = np.array(size) * rng.uniform(0.45, 0.55, 2)
    saucer = min(size) * rng.uniform(0.36, 0.43)
    rim = saucer * rng.uniform(0.56, 0.62)
    beans(image, rng, at, saucer)
    plate(image, at, saucer, cup, 0.35)
    plate(image, at, saucer * 0.9, [mix(*cup, 0.18), cup[0]])
    plate(image, at, saucer * 0.64, [mix(*cup, 0.3), mix(*cup, 0.1)])
    handle(image, placed(HANDLE, at, rim, rng.uniform(0, TURN)), rim, cup)
    plate(image, at, rim, cup, 0.55)
    plate(image, at, rim * 0.93, [mix(cup[1], (30, 18, 12), 0.45), mix(*cup, 0.6)])
    drink(image, rng, at, rim * 0.88, turn)
    return image


def beans(image, rng, at, saucer):
    """Scatter coffee beans around the saucer."""
    draw, long = ImageDraw.Draw(image), saucer * 0.085
    for spot in spread(rng, image.size, int(rng.integers(4, 22)), long * 2.4, long):
        if np.hypot(*(spot - at)) < saucer + long * 1.6:
            continue
        angle, tone = rng.uniform(0, TURN), vary(rng, (84, 48, 28), 10)
        glow(image, spot + long * 0.25, long * 2.2, (20, 10, 8), 0.7)
        light = [tone, mix(tone, (150, 98, 62), 0.6)]
        shaded(draw, placed(BEAN, spot, long, angle), light, spot - long * 0.25, 5)
        crease = [(-0.9, 0.05), (-0.3, -0.12), (0.3, 0.12), (0.9, -0.05)]
        line(draw, placed(crease, spot, long, angle), (44, 22, 12), long * 0.13)


def plate(image, at, radius, tones, cast=0.0):
    """Lay down a round thing lit from the upper left, with a shadow if it casts one."""
    half = int(radius / 2)
    x, y = square(half)
    light = np.clip(0.5 + 0.5 * (x + y), 0, 1)
    pixels = np.stack([a + (b - a) * light for a, b in zip(*tones)], axis=-1)
    stick(image, sprite(pixels, (1 - np.hypot(x, y)) * half, 2), at, 0, cast, radius * 0.1)


def handle(image, outline, rim, cup):
    """Draw the handle of the cup."""
    mask = shape_mask(image.size, outline)
    middle = outline.mean(axis=0)
    polygon(ImageDraw.Draw(mask), middle + (outline - middle) * 0.5, 0)
    shadow(image, mask, rim * 0.07, 0.45)
    image.paste(mix(*cup, 0.3), mask=mask)
    image.paste(cup[0], mask=ImageChops.multiply(mask, ImageChops.offset(blur(mask, 6), -6, -8)))


def drink(image, rng, at, radius, turn):
    """Fill the cup, and pour a figure of milk into the crema."""
    half = int(radius / 2)
    side = 4 * half
    distance = np.hypot(*square(half))
    swirl = noise(rng, distance.shape, 4, octaves=5) - 0.5
    black = turn % 6 == 5
    if black:
        share = smoothstep(distance + swirl * 0.16, 0.84, 1.02)
    else:
        share = np.clip(smoothstep(distance, 1.0, 0.55) * 0.8 + swirl * 0.35, 0, 1)
    pixels = np.array(COFFEE) + np.subtract(CREMA, COFFEE) * share[..., None]
    face = sprite(pixels, np.ones_like(share), 2).convert("RGB")
    if not black:
        figure = Image.new("L", face.size)
        for outline, tone in pick(rng, MILK_FIGURES):
            polygon(ImageDraw.Draw(figure), (outline + 1) * side / 2, tone)
        face.paste(MILK, mask=blur(figure.rotate(rng.uniform(-30, 30)), side * 0.006))
    glow(face, (side * 0.3, side * 0.25), side * 0.35, (255, 240, 215), 0.3)
    mask = shape_mask(face.size, CIRCLE * side / 2 + side / 2)
    # The rim throws its shadow on the drink from the side of the light.
    rim = ImageChops.offset(blur(mask, radius * 0.08), round(radius * 0.07), round(radius * 0.1))
    face = Image.composite(face, Image.new("RGB", face.size, (28, 12, 6)), faded(rim, 0.94))
    face.putalpha(mask)
    stick(image, face, at)


# Rind | flesh, its light, its deep. The second and the third are longer than wide.
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
]


def citrus(rng, size, turn):
    """Paint slices of orange, lemon, lime and grapefruit among whole fruit."""
    image = tabletop(rng, size, colours(CITRUS_CLOTH[turn % len(CITRUS_CLOTH)]), False)
    count = int(pick(rng, [3, 5, 8, 12]))
    radius = min(size) * {3: 0.27, 5: 0.215, 8: 0.17, 12: 0.14}[count]
    kinds = [turn % len(CITRUS_KINDS), int(rng.integers(len(CITRUS_KINDS)))]
    for at in spread(rng, size, count, radius * 1.85, radius * 0.35):
        half, kind = int(radius * rng.uniform(0.41, 0.5)), kinds[int(rng.random() < 0.3)]
        (rind,), flesh = palette(CITRUS_KINDS, kind)
        if rng.random() < 0.28:
            cut, angle = whole_fruit(rng, half, rind, kind in (1, 2)), 0
        else:
            cut, angle = citrus_slice(rng, half, rind, flesh), rng.uniform(0, TURN)
        stick(image, cut, at, angle, 0.5, half * 0.2)
    return image


def citrus_slice(rng, half, rind, flesh):
    """Make a cut-out slice: rind, pith and segments full of pulp."""
    flesh, (x, y) = np.array(flesh, float), square(half)
    radius, angle = np.hypot(x, y), np.arctan2(y, x) / TURN + 0.5
    parts = int(rng.integers(9, 12))
    edges = (np.arange(parts + 1) + rng.uniform(0, 1)) / parts - 1 / parts
    edges = np.append(edges, edges[1] + 1)
    part = np.searchsorted(edges, angle) - 1
    to_wall = np.minimum(angle - edges[part], edges[part + 1] - angle) * TURN * radius
    inside = np.minimum(np.minimum(to_wall - 0.016, 0.84 - radius), radius - 0.07)
    # Round the corners of the segments where wall and pith meet.
    inside = inside - 0.02 * np.exp(-(((0.84 - radius) + to_wall) / 0.09))
    pulp = smoothstep(inside, 0, 0.025)[..., None]
    fibres = noise(rng, (240, 24), 90, octaves=2)
    streak = fibres[np.clip(radius * 20, 0, 23).astype(int), (angle * 239).astype(int)]
    depth = np.clip(0.3 + 0.9 * (streak - 0.5) + 0.45 * radius, 0, 1)[..., None]
    meat = flesh[2] * depth + flesh[0] * (1 - depth)
    bright = (np.exp(-inside / 0.05) * 0.5 + 0.35 * (streak > 0.72))[..., None]
    meat = meat * (1 - bright) + flesh[1] * bright
    pith = np.array([253, 244, 222]) * 0.86 + flesh[1] * 0.14
    skin = smoothstep(radius, 0.915, 0.945)[..., None]
    shade = 1.04 - 0.2 * smoothstep(radius, 0.95, 1)[..., None]
    pixels = (pith * (1 - pulp) + meat * pulp) * (1 - skin) + np.array(rind) * shade * skin
    return sprite(pixels * (1.03 - 0.05 * (x + y)[..., None]), (1 - radius) * half, 2)


def whole_fruit(rng, half, rind, long):
    """Make a cut-out fruit, round and pored; one that is long comes to a point."""
    x, y = square(half)
    angle = rng.uniform(0, np.pi)
    along, aside = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    away = np.abs(along) ** 1.65 + (aside / 0.78) ** 2 if long else x * x + y * y
    z = np.sqrt(np.clip(1 - away, 0, 1))
    lit = np.clip(-0.45 * x - 0.5 * y + 0.74 * z, 0, 1)
    pores = noise(rng, x.shape, half * 0.55, octaves=1) - 0.5
    light = (0.42 + 0.68 * lit + 0.1 * pores * z)[..., None]
    # Red fades least toward the shade: dark yellow turns warm instead of olive.
    pixels = np.array(rind) * light ** np.array([0.7, 1.0, 1.25])
    pixels = pixels + 150 * np.clip(lit - 0.86, 0, 1)[..., None] ** 1.2
    return sprite(pixels, (1 - np.sqrt(away)) * half, 2)


# Rim | heart and jewels | petals.
GLASS = [
    ("1d4ed8 3b82f6 60a5fa 93c5fd", "fde047 facc15 fb923c", "15803d 22c55e 84cc16 0f766e"),
    ("7c2d92 a855f7 d946ef f0abfc", "fbbf24 f97316 ef4444", "1e3a8a 1d4ed8 0e7490 155e75"),
    ("ea580c f97316 fb923c fdba74", "fef9c3 fde047 fff7ed", "7f1d1d b91c1c 9f1239 be123c"),
    ("0f766e 14b8a6 5eead4 99f6e4", "fff7ed fdba74 fb7185", "1e3a8a 3730a3 4f46e5 6366f1"),
    ("be123c e11d48 fb7185 fda4af", "fef3c7 fcd34d f59e0b", "14532d 15803d 4d7c0f 65a30d"),
]
LEAD = (22, 20, 24)
JEWELS = [
    CIRCLE * (1.25, 1),
    bulged([(-1.25, 0), (1.25, 0)], [0.3, 0.3]),
    bulged([(-1.25, 0), (1.1, -0.1), (1.1, 0.1)], [0.26, 0.8, 0.26]),
]


class Window:
    """A picture of glass, and a mask of the lead between its pieces."""

    def __init__(self, rng, size):
        self.rng, self.wide = rng, min(size) * 0.009
        self.image, self.lead = Image.new("RGB", size, LEAD), Image.new("L", size)
        self.draw, self.lead_draw = ImageDraw.Draw(self.image), ImageDraw.Draw(self.lead)

    def set(self, outline, tone, amount=9):
        """Set a piece of glass, over what may be there, in a tone near this one."""
        polygon(self.draw, outline, vary(self.rng, tone, amount))
        polygon(self.lead_draw, outline, 0)
        line(self.lead_draw, np.concatenate([outline, outline[:2]]), 255, self.wide)

    def ring(self, centre, inner, outer, turns, tones):
        """Set a ring of pieces between these angles; each takes the next tone."""
        for index, (start, end) in enumerate(pairwise(turns)):
            ray = toward(np.linspace(start, end, 8))
            piece = np.concatenate([ray * inner, ray[::-1] * outer]) + centre
            self.set(piece, tones[index % len(tones)])

    def finished(self):
        """Give the picture: uneven glass with the light behind it, and shining lead."""
        size = self.image.size
        pane = noise(self.rng, (size[0] // 4, size[1] // 4), 9, stretch=0.6)
        pane = as_mask(0.72 + 0.28 * pane).resize(size, Image.BILINEAR)
        image = ImageChops.multiply(self.image, Image.merge("RGB", [pane] * 3))
        image = ImageChops.screen(image, blur(image, 26).point(lambda value: value * 0.4))
        image.paste(LEAD, mask=self.lead)
        shine = ImageChops.subtract(self.lead, ImageChops.offset(self.lead, 2, 2))
        image.paste((150, 148, 156), mask=faded(shine, 0.5))
        return image


def stained_glass(rng, size, turn):
    """Paint a rose window: rings of glass around a heart, set in lead."""
    rim, heart, leaf = palette(GLASS, turn)
    window = Window(rng, size)
    reach, centre = min(size) * 0.48, np.array(size) / 2
    fold = int(pick(rng, [6, 8, 10, 12]))
    cell = reach * 0.22
    for row in range(-1, int(size[1] / cell) + 1):
        for column in range(-1, int(size[0] / cell) + 1):
            diamond = np.array([(0.5, 0), (1, 1), (0.5, 2), (0, 1)])
            tone = mix(pick(rng, leaf), (20, 18, 50), 0.45)
            window.set((diamond + (column + row % 2 / 2, row)) * cell, tone, 8)
    disc(window.lead_draw, centre, reach * 1.03, 255)
    bands = [(0.84, 1.0, rim, 2), (0.5, 0.84, leaf, 1), (0.2, 0.5, rim, 1), (0.0, 0.2, heart, 1)]
    for inner, outer, tones, times in bands:
        turns = (np.arange(fold * times + 1) + (times == 2) / 2) / (fold * times) * TURN
        pair = [pick(rng, tones), pick(rng, tones)]
        window.ring(centre, inner * reach, outer * reach, turns, pair)
    jewel = pick(rng, JEWELS)
    for away, wide, tones in ((0.67, 0.13, heart), (0.37, 0.09, leaf), (0.92, 0.05, heart)):
        wide = min(wide, away * np.pi / fold * 0.82)
        for index in range(fold):
            angle = (index + 0.5) / fold * TURN
            at = centre + reach * away * toward(angle)
            window.set(placed(jewel, at, reach * wide, angle), tones[index % 2])
    window.set(CIRCLE * reach * 0.1 + centre, heart[0])
    return window.finished()
