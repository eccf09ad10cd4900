"""Wide views: mountains, boats under sail, cities, balloons, forests and planets."""

import numpy as np
from colour import BLACK, TURN, WHITE, arranged, colours, mix, palette, pick, sheer, spread, vary
from light import clouds, glow, lamp, reflect, stars, stick
from PIL import Image, ImageChops, ImageDraw
from shapes import bulged, fill_below, hills, line, oval, polygon, ridge, shape_mask, strip, toward
from texture import as_mask, blur, fade, gradient, noise, noise_mask, smoothstep, sprite, square

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
# A fir 1 high, its foot at 0, 0.
TIERS = np.linspace(0, 1, 9)
FIR = strip(0 * TIERS, TIERS - 1, 0.2 * TIERS * np.where(np.arange(9) % 2, 1.0, 0.62))


def mountains(rng, size, turn):
    """Paint ridges one behind another in haze, at some hour of the day."""
    width, height = size
    sky, ground, (sun,) = palette(MOUNTAIN_LIGHT, turn)
    horizon = height * rng.uniform(0.5, 0.62)
    image = gradient(size, [*sky, sky[-1]])
    if sum(sky[0]) < 80:
        stars(image, rng, 160, 0.5)
    clouds(image, rng, mix(sky[-1], sun, 0.5), 0.5)
    spot = (width * rng.uniform(0.2, 0.8), horizon - height * rng.uniform(0.12, 0.3))
    lamp(image, spot, height * rng.uniform(0.03, 0.055), sun, width * 0.5)
    for depth in np.linspace(0, 1, int(rng.integers(4, 7))):
        base = horizon + (height * 0.96 - horizon) * depth**1.2
        rise = height * rng.uniform(0.2, 0.3) * (1 - 0.45 * depth)
        tops = base - rise * ridge(rng, width, int(rng.integers(3, 6)))
        tone = mix(*ground, depth**1.1)
        haze = mix(tone, sky[-1], 0.55 * (1 - depth) + 0.08)
        start, mask = fill_below(image, tops, [tone, haze, haze])
        if depth < 1:
            light_slopes(image, tops, start, mask, mix(tone, sun, 0.45), spot[0])
    draw = ImageDraw.Draw(image)
    for x in rng.uniform(0, width, int(rng.integers(30, 90))):
        polygon(draw, FIR * height * rng.uniform(0.035, 0.11) + (x, tops[int(x)] + 6), ground[1])
    if turn % 3 == 1:
        reflect(image, int(height * rng.uniform(0.72, 0.8)), mix(ground[1], sky[1], 0.5), 0.3, rng)
    return image


def light_slopes(image, tops, start, mask, light, sun_x):
    """Catch the light on the slopes that look toward the sun."""
    width, height = mask.size
    tops = tops[::4]
    x = np.arange(len(tops))
    calm = np.convolve(np.pad(tops, 6, "edge"), np.ones(13) / 13, "valid")
    side = np.tanh((x - sun_x / 4) / (width / 30))
    depth = np.arange(height // 4)[:, None] + (start - tops[None]) / 4
    # Faces run aslant down from the crest, so look the slope up a bit to the side.
    source = np.clip(x - side * depth * 0.35, 0, len(x) - 1).astype(int)
    shine = np.clip(-np.gradient(calm) * side, 0, 1)[source]
    shine = shine * np.exp(-np.clip(depth, 0, None) / (height / 12))
    lit = as_mask(shine * 0.5).resize(mask.size, Image.BILINEAR)
    image.paste(light, (0, start), ImageChops.multiply(lit, mask))


# Sky from top to horizon | sea from horizon to shore | sun | sails.
SEA_LIGHT = [
    ("2a4d8f 6f8fc9 f3b08c ffdc9e", "e9a577 5b6d9c 1f345f", "fff2cc", "fff6e6 f0c9a0"),
    ("4aa3df 9ad0f0 e6f5f7", "8fd3d6 2f94b0 0d5379", "ffffff", "ffffff e8eef2"),
    ("f2703f f99b52 fdc777 ffe6ad", "fbb063 d0623f 6b2a3c", "fff6d2", "4d1f33 702c40"),
    ("1a1440 53317c b5507f f59a7a", "d87f82 5a3878 160f38", "ffe2b0", "f5d4d0 c78fa0"),
    ("74b7b0 b5dbcb f6efd3", "a9d6c8 4d9a98 1c5561", "fffdf0", "d9503f f08a5a"),
    ("07122e 12305f 3a6597 8fb0c8", "5d84a8 1b3d69 061229", "f4f8ff", "dfe9f5 9fb6d0"),
]
HULL = bulged(
    [(0.17, 0.835), (0.85, 0.83), (0.74, 0.955), (0.27, 0.955)], [-0.035, 0.08, 0.02, 0.1]
)
MAIN_SAIL = bulged([(0.485, 0.08), (0.487, 0.79), (0.16, 0.785)], [0, 0.03, 0.09])
JIB = bulged([(0.512, 0.14), (0.83, 0.785), (0.53, 0.79)], [0.1, 0.03, 0.03])


def sailing(rng, size, turn):
    """Paint boats under sail, and the sun's path on the water."""
    width, height = size
    sky, sea, (sun,), sails = palette(SEA_LIGHT, turn)
    horizon = int(height * rng.uniform(0.42, 0.62))
    image = gradient((width, horizon), sky).crop((0, 0, *size))
    clouds(image, rng, mix(sky[-1], WHITE, 0.45), 0.75, bottom=horizon / height)
    sun_x = width * rng.uniform(0.2, 0.8)
    spot = (sun_x, horizon - height * rng.uniform(0.06, 0.28))
    lamp(image, spot, height * rng.uniform(0.035, 0.06), sun, width * 0.45, 0.6)
    if rng.random() < 0.5:
        shore = horizon - height * 0.06 * ridge(rng, width, 3) * np.linspace(1, -0.6, width)
        fill_below(image, shore, [mix(sky[-1], sea[1], 0.55), mix(sky[-1], sea[1], 0.35)])
    image.paste(gradient((width, height - horizon), sea), (0, horizon))
    waves(image, rng, horizon, sea, sun, sun_x)
    count = int(pick(rng, [1, 1, 2, 3, 4]))
    lanes = (rng.permutation(count) + rng.uniform(0.35, 0.65, count)) / count
    for lane, near in zip(lanes, np.sort(rng.uniform(0.12, 0.55, count))):
        near = max(near, 0.42) if count == 1 else near
        foot = (width * (0.08 + 0.84 * lane), horizon + (height - horizon) * near)
        tall = min(min(width, height) * (0.16 + 0.75 * near), 0.86 * width / count)
        boat(image, rng, foot, int(tall * 1.3), sails, sea)
    return image


def waves(image, rng, horizon, sea, light, sun_x):
    """Streak the sea with waves, finer toward the horizon, glittering below the sun."""
    width, height = image.size
    draw = ImageDraw.Draw(image, "RGBA")
    for near in rng.random(900) ** 1.4:
        y, long = horizon + 3 + (height - horizon) * near, (6 + 60 * near) * rng.uniform(0.5, 1.3)
        thick = 0.5 + 2.2 * near * rng.uniform(0.4, 1)
        if rng.random() < 0.45:
            x = sun_x + rng.normal(0, width * (0.03 + 0.1 * near))
            oval(draw, (x, y), long, thick, sheer(light, rng.uniform(0.25, 0.75)))
        else:
            tone = sheer(pick(rng, [sea[0], sea[2]]), rng.uniform(0.08, 0.3))
            oval(draw, (rng.uniform(0, width), y), long, thick, tone)


def boat(image, rng, foot, side, sails, sea):
    """Draw a boat whose sails bulge in the wind, with its broken reflection."""
    layer = Image.new("RGBA", (side, side))
    draw = ImageDraw.Draw(layer)
    polygon(draw, HULL * side, mix(sea[2], (24, 18, 30), 0.45))
    line(draw, (HULL[1:13] + (0, 0.018)) * side, mix(sails[0], sea[1], 0.25), side * 0.01)
    line(draw, np.array([(0.5, 0.06), (0.5, 0.86)]) * side, (60, 44, 44), side / 90)
    for outline, (luff, leech) in ((MAIN_SAIL, sails), (JIB, sails[::-1])):
        cloth = gradient(layer.size, [luff, luff, leech], across=True)
        layer.paste(cloth, mask=shape_mask(layer.size, outline * side))
    if rng.random() < 0.5:
        layer = layer.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    layer = layer.rotate(rng.uniform(-3, 3), Image.BILINEAR, center=(side / 2, side * 0.86))
    left = round(foot[0] - side / 2)
    mirrored = layer.transpose(Image.Transpose.FLIP_TOP_BOTTOM).resize((side, side * 6 // 10))
    bands = noise_mask(rng, mirrored.size, 3, 0.3, 0.6, stretch=9.0, octaves=2)
    bands = ImageChops.multiply(bands, fade(mirrored.size, 120, 40, 0))
    bands = ImageChops.multiply(bands, mirrored.getchannel(3))
    image.paste(mirrored.convert("RGB"), (left, round(foot[1] - side * 0.03)), bands)
    image.paste(layer, (left, round(foot[1] - side * 0.955)), layer)


# Sky from top to horizon | far towers, near towers | windows.
CITY_LIGHT = [
    ("050a20 10245a 2f5596 7f9cc4", "2b4a80 070d22", "ffd98a ffe9b8 ffc163"),
    ("140c33 43256b a0447f f08a6c", "6b3a76 120a2b", "ffe0a0 ffb86b fff0cc"),
    ("04161f 0b3a48 1f7a7a a9d3b4", "1e5f66 04151c", "fff1b8 ffd37a c8fff0"),
    ("22203f 6b3e57 d9704c ffc27a", "8f4d55 1c1528", "ffe9ae ffcf7a ffffff"),
    ("0a0618 24124a 5a2a8a c07ad0", "472878 0b0620", "ffd0f0 ffe2a0 a8d8ff"),
]
# The tops of towers 1 wide: flat, sloped, stepped, with a spire, with a mast.
ROOFS = [
    [(0, 0), (1, 0)],
    [(0, 0.3), (1, 0)],
    [(0, 0), (0.14, 0), (0.14, 0.16), (0.3, 0.16), (0.3, 0.34)]
    + [(0.7, 0.34), (0.7, 0.16), (0.86, 0.16), (0.86, 0), (1, 0)],
    [(0, 0), (0.2, 0), (0.49, 0.9), (0.49, 1.5), (0.51, 1.5), (0.51, 0.9), (0.8, 0), (1, 0)],
    [(0, 0), (0.48, 0), (0.48, 0.8), (0.52, 0.8), (0.52, 0), (1, 0)],
]


def skylines(rng, size, turn):
    """Paint a city at night, its windows lit, above dark water."""
    width, height = size
    sky, towers, lights = palette(CITY_LIGHT, turn)
    level = int(height * rng.uniform(0.72, 0.84))
    image = gradient((width, level), sky).crop((0, 0, *size))
    stars(image, rng, 110, 0.4)
    clouds(image, rng, sky[-1], 0.35)
    moon = (width * rng.uniform(0.15, 0.85), height * rng.uniform(0.1, 0.26))
    lamp(image, moon, height * rng.uniform(0.025, 0.055), (255, 248, 228), height * 0.24)
    glow(image, (width / 2, level), width * 0.65, lights[1], 0.35)
    lit = Image.new("RGB", size)
    for depth in (0, 0.5, 1):
        tone = mix(mix(*towers, depth), sky[-1], 0.25 * (1 - depth))
        peak = height * rng.uniform(0.5, 0.62) * (1 - 0.27 * depth)
        row_of_towers(image, lit, rng, level, peak, tone, lights, depth)
    image = ImageChops.add(image, lit)
    image = ImageChops.screen(image, blur(lit, 14).point(lambda value: min(255, value * 2)))
    reflect(image, level, towers[1], 0.42, rng)
    return image


def row_of_towers(image, lit, rng, level, peak, tone, lights, depth):
    """Stand towers side by side, the highest near a chosen centre."""
    draw, lit_draw = ImageDraw.Draw(image), ImageDraw.Draw(lit)
    centre, x = image.width * rng.uniform(0.3, 0.7), -rng.uniform(0, 40)
    while x < image.width:
        wide = rng.uniform(0.045, 0.1) * image.width * (0.75 + 0.35 * depth)
        near_centre = np.exp(-(((x + wide / 2 - centre) / (image.width * 0.3)) ** 2))
        tall = peak * (0.25 + 0.75 * near_centre * rng.uniform(0.45, 1)) * rng.uniform(0.75, 1)
        top, own = level - tall, vary(rng, tone, 5)
        roof = np.array(pick(rng, ROOFS)) * (wide, -wide) + (x, top)
        outline = [(x, level), *roof, (x + wide, level)]
        polygon(draw, outline, own)
        draw.rectangle((x, top, x + wide * 0.22, level), fill=mix(own, WHITE, 0.05))
        polygon(lit_draw, outline, BLACK)
        windows(lit_draw, rng, (x, top), wide, tall, lights, 0.35 + 0.65 * depth)
        x += wide * rng.uniform(0.85, 1.25)


def windows(draw, rng, corner, wide, tall, lights, brightness):
    """Light some of the windows of one tower."""
    columns = max(3, int(wide / 13))
    pitch = wide / (columns + 0.6)
    floor, tone = pitch * rng.uniform(1.1, 1.5), pick(rng, lights)
    rows = max(0, int((tall - pitch) / floor))
    share = rng.uniform(0.2, 0.55) * rng.uniform(0.4, 1.4, (rows, 1))
    for row, column in np.argwhere(rng.random((rows, columns)) < share).tolist():
        left, top = corner[0] + pitch * (column + 0.5), corner[1] + pitch * 0.7 + floor * row
        fill = mix(BLACK, tone, rng.uniform(0.45, 1) * brightness)
        draw.rectangle((left, top, left + pitch * 0.55, top + floor * 0.5), fill=fill)


# Sky from top to horizon | land far, near.
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
]


def balloons(rng, size, turn):
    """Paint striped balloons drifting over hills."""
    width, height = size
    sky, land = palette(BALLOON_SKY, turn)
    image = gradient(size, sky)
    glow(image, (width * rng.uniform(0.1, 0.9), height * 0.7), width * 0.6, (255, 250, 225), 0.5)
    clouds(image, rng, WHITE, 0.8, bottom=0.8)
    for depth in (0, 0.5, 1):
        tops = height * (0.84 + 0.14 * depth) - height * 0.09 * hills(rng, width, 1.2 + depth)
        tone = mix(mix(land[0], sky[2], 0.45), land[1], depth)
        fill_below(image, tops, [mix(tone, sky[2], 0.25), tone])
    count = int(pick(rng, [1, 3, 4, 5, 7]))
    largest = min(width, height) * (0.62 if count == 1 else 0.46 if count < 5 else 0.36)
    spots = spread(rng, (width, height * 0.95), count, largest * 0.85, largest * 0.5)
    # The far ones first, smaller and paler.
    for at, tall in reversed([*zip(spots, largest * np.geomspace(1, 0.3, count))]):
        cutout = balloon(rng, int(tall), colours(pick(rng, BALLOON_CLOTH)))
        veil = Image.new("RGBA", cutout.size, sky[1])
        veil.putalpha(cutout.getchannel(3))
        stick(image, Image.blend(cutout, veil, 0.45 * (1 - tall / largest)), at)
    return image


def balloon(rng, tall, cloth):
    """Make a cut-out balloon: gores of cloth around a lit, bulging envelope."""
    rows, half = int(tall * 0.8), int(tall * 0.34)
    y, x = np.linspace(0, 1, rows)[:, None], np.linspace(-1, 1, 2 * half)[None]
    crown = np.sqrt(np.clip(1 - (1 - y / 0.42) ** 2, 0, 1))
    skirt = 0.17 + 0.83 * np.cos(np.clip((y - 0.42) / 0.58, 0, 1) * np.pi / 2) ** 0.9
    radius = np.where(y < 0.42, crown, skirt) + 1e-6
    across = np.clip(x / radius, -1, 1)
    around = (np.arcsin(across) / np.pi + rng.uniform(0, 1)) * pick(rng, [8, 10, 12])
    fold = np.abs(around % 1 - 0.5)
    checks = np.where((y > 0.3) & (y < 0.52), np.floor(around) + 1, y * 3)
    stripes, hoops, zigzag = around, y * 6 + 0 * around, y * 7 + fold * 1.6
    pattern = pick(rng, [stripes, hoops, zigzag, around + y * 5, checks])
    pixels = np.array(cloth, float)[np.floor(pattern).astype(int) % len(cloth)]
    light = 0.5 + 0.36 * np.sqrt(1 - across**2) - 0.22 * across + 0.24 * (0.55 - y)
    light = (light * (1 - 0.16 * (2 * fold) ** 6))[..., None]
    envelope = sprite(pixels * light + 34 * np.clip(light - 0.75, 0, 1), (radius - abs(x)) * half)
    layer = Image.new("RGBA", (2 * half, tall))
    draw = ImageDraw.Draw(layer)
    bottom, basket = tall * 0.9, tall * 0.055
    for end in (-0.9, -0.4, 0.4, 0.9):
        rope = [(half * (1 + 0.17 * end), rows * 0.97), (half + end * basket, bottom)]
        line(draw, rope, (70, 50, 42), tall // 240)
    box = (half - basket, bottom, half + basket, bottom + basket * 1.5)
    draw.rounded_rectangle(box, basket * 0.35, fill=(122, 78, 48))
    draw.rectangle((*box[:3], bottom + basket * 0.3), fill=(84, 50, 34))
    layer.paste(envelope, (0, 0), envelope)
    return layer


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
    leaf, air, trunk = palette(FOREST_SEASON, turn)
    image = gradient(size, [mix(air[0], leaf[0], 0.45), air[0], mix(*air, 0.4)])
    ground = height * rng.uniform(0.62, 0.72)
    light = (width * rng.uniform(0.35, 0.65), ground - height * 0.16)
    glow(image, light, width * 0.5, mix(air[0], WHITE, 0.7), 0.9)
    floor = ground - height * 0.03 * hills(rng, width, 1.5)
    fill_below(image, floor, [mix(*air, 0.35), air[1], mix(air[1], trunk[1], 0.35)])
    # A pale path that widens toward the viewer.
    y = np.linspace(0, 1, 20)
    bend = light[0] + width * (rng.uniform(-0.2, 0.2) * y**1.5 + 0.035 * np.sin(y**0.6 * 8))
    path = strip(bend, ground + (height - ground) * y, width * (0.014 + 0.17 * y**1.4))
    image.paste(mix(*air, 0.5), mask=blur(shape_mask(size, path), 9))
    for depth, count in zip(np.linspace(0, 1, 4), (16, 11, 7, 4)):
        bark = mix(mix(air[0], trunk[0], 0.35 + 0.4 * depth), trunk[1], depth**1.3)
        foot, gap = ground + (height - ground) * 0.55 * depth**1.6, width * (0.02 + 0.1 * depth)
        for x in rng.uniform(-0.02, 1.02, count) * width:
            # The light stays open: near trees keep clear of the middle of the path.
            if abs(x - light[0]) < gap:
                x = light[0] + np.sign(x - light[0] + 0.1) * gap * rng.uniform(1, 2)
            tree(image, rng, x, foot, width * (0.006 + 0.02 * depth), bark)
        tones = [mix(air[0], tone, 0.35 + 0.65 * depth) for tone in leaf]
        canopy(image, rng, light[0], ground, depth, tones)
    glow(image, light, width * 0.45, mix(air[0], WHITE, 0.6), 0.45)
    return image


def tree(image, rng, x, foot, thick, bark):
    """Raise a trunk that leaves the picture at the top, with a few boughs."""
    draw = ImageDraw.Draw(image)
    lean = rng.normal(0, thick * 2)
    glow(image, (x + thick, foot), thick * 4, mix(bark, (20, 12, 16), 0.3), 0.5)
    rise = np.array([0, 0.02, 0.06, 0.14, 1])
    half = thick * np.array([1.9, 1.25, 0.95, 0.82, 0.45])
    spine, y = x + lean * rise, foot * (1 - rise)
    polygon(draw, strip(spine, y, half), bark)
    polygon(draw, strip(spine + half * 0.6, y, half * 0.4), mix(bark, (20, 12, 16), 0.16))
    for level in rng.uniform(0.15, 0.6, 5):
        start = np.array([x + lean * (1 - level), foot * level])
        reach = rng.choice([-1, 1]) * rng.uniform(5, 10)
        bough = start + np.array([(0, 0), (reach * 0.5, -2), (reach, -6)]) * thick
        line(draw, bough, bark, thick * 0.4)


def canopy(image, rng, light_x, ground, depth, tones):
    """Dab leaves in clusters over the upper part, thinner around the light."""
    draw = ImageDraw.Draw(image)
    for x in rng.uniform(0, image.width, int(26 - 8 * depth)):
        away = min(1, abs(x - light_x) / (image.width * 0.5))
        y = rng.uniform(-0.05, 0.26 + 0.32 * away) * ground
        radius = image.width * rng.uniform(0.05, 0.1) * (0.7 + 0.5 * depth)
        tone = pick(rng, tones)
        for across, down in rng.normal(0, 0.5, (70, 2)):
            dab = (2.5 + 5.5 * depth) * rng.uniform(0.6, 1.3)
            shade = mix(tone, (255, 255, 240), 0.18) if down < -0.3 else tone
            shade = mix(tone, (30, 20, 40), 0.16) if down > 0.45 else shade
            at = (x + across * radius * 1.3, y + down * radius)
            oval(draw, at, dab, dab * 0.7, vary(rng, shade, 9))


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
    surface, (air,), nebula = palette(PLANET_COLOURS, turn)
    image = gradient(size, colours("05060f 0a0d1f 05060f"))
    for tone in nebula:
        image.paste(tone, mask=noise_mask(rng, size, 3, 0.42, 0.95, 0.85, octaves=5))
    image.paste((230, 210, 235), mask=noise_mask(rng, size, 3, 0.7, 1.2, 0.4, octaves=6))
    stars(image, rng, 420)
    (at,) = arranged(rng, size, 1, 0, 0)
    ringed = turn % 3 != 1
    radius = min(size) * rng.uniform(0.24, 0.36) * (0.78 if ringed else 1)
    sun, tilt = rng.uniform(0, TURN), rng.uniform(-0.6, 0.6)
    glow(image, at, radius * 1.5, air, 0.75)
    ball = globe(rng, radius, surface, air, sun, turn % 2 == 0, tilt)
    if ringed:
        ring = ring_disc(rng, radius, surface, rng.uniform(0.2, 0.4))
        stick(image, ring, at, tilt)
        stick(image, ball, at)
        # The nearer half of the ring lies before the planet.
        ring.paste((0, 0, 0, 0), (0, 0, ring.width, ring.height // 2))
        stick(image, ring, at, tilt)
    else:
        stick(image, ball, at)
    for _ in range(int(rng.integers(0, 4))):
        moon = at + radius * rng.uniform(1.5, 2.3) * toward(rng.uniform(0, TURN))
        tones = pick(rng, [surface, colours("d8d0c8 a09890 706860 e8e0d8 504840")])
        stick(image, globe(rng, radius * rng.uniform(0.07, 0.2), tones, air, sun, False, 0), moon)
    return image


def globe(rng, radius, surface, air, sun, banded, tilt):
    """Make a cut-out ball with bands of cloud or with land, lit from one side."""
    half = max(8, int(radius / 2))
    x, y = square(half)
    away = np.hypot(x, y)
    z = np.sqrt(np.clip(1 - away**2, 0, 1))
    along, aside = x * np.cos(tilt) + y * np.sin(tilt), y * np.cos(tilt) - x * np.sin(tilt)
    # Bulge the texture like a map on a ball, so that it crowds together at the rim.
    bulge = 0.5 + np.arcsin(np.clip(away, 0, 1)) / np.pi
    side = max(64, 2 * half)
    chart = noise(rng, (side, side), 5 if banded else 4, octaves=6, stretch=3.0 if banded else 1.0)
    row, column = (
        np.clip((part * bulge * 0.5 + 0.5) * side, 0, side - 1).astype(int)
        for part in (aside, along)
    )
    height = chart[row, column]
    if banded:
        sweep = aside * rng.uniform(7, 12) + height * 2.2 + rng.uniform(0, TURN)
        height = 0.5 + 0.33 * np.sin(sweep) + 0.17 * np.sin(sweep * 2.7 + 1)
    else:
        height = smoothstep(height, 0.15, 0.85)
    where = np.linspace(0, 1, len(surface))
    pixels = np.stack([np.interp(height, where, part) for part in zip(*surface)], axis=-1)
    lit = 0.72 * (x * np.cos(sun) + y * np.sin(sun)) + 0.62 * z
    day = smoothstep(lit, -0.25, 0.85)[..., None]
    haze = ((1 - z) ** 3)[..., None] * day
    pixels = pixels * (0.04 + 1.08 * day) * (1 - 0.6 * haze) + np.array(air) * 0.8 * haze
    return sprite(pixels, (1 - away) * half, 2)


def ring_disc(rng, radius, surface, flat):
    """Make a cut-out disc of rings, seen aslant."""
    half = int(radius * 1.1)
    x, y = np.meshgrid(np.linspace(-1, 1, 2 * half), np.linspace(-1, 1, 2 * int(half * flat)))
    distance = np.hypot(x, y)
    table = np.convolve(np.repeat(rng.uniform(0.25, 1.0, 34), 3), np.ones(4) / 4, "same")
    grain = np.interp(distance, np.linspace(0.5, 1, len(table)), table)
    alpha = grain * smoothstep(distance, 0.54, 0.58) * smoothstep(distance, 0.99, 0.95)
    tone = np.array(mix(surface[0], surface[3], 0.5), float) * (0.65 + 0.4 * grain[..., None])
    return sprite(tone, alpha * 0.85, 2)
