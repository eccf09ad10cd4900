"""Outlines, and what is drawn from them."""

import numpy as np
from colour import TURN, blend
from PIL import Image, ImageDraw
from texture import gradient


def toward(angle):
    """Give the point at distance 1 in a direction (or the points, one for each angle)."""
    return np.stack([np.cos(angle), np.sin(angle)], axis=-1)


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


def strip(x, y, half):
    """Outline what lies up to `half` on either side of a line that runs up or down."""
    return np.concatenate([np.stack([x + half, y], 1), np.stack([x - half, y], 1)[::-1]])


def placed(outline, at=(0, 0), size=1.0, angle=0.0):
    """Scale an outline, turn it and move it."""
    along = toward(angle)
    return np.asarray(outline) * size @ np.array([along, [-along[1], along[0]]]) + at


def polygon(draw, outline, fill):
    """Fill an outline given as an array of points."""
    draw.polygon(np.asarray(outline, float).ravel().tolist(), fill=fill)


def shaded(draw, outline, stops, centre=(0, 0), steps=14):
    """Shade a shape through colours, from its rim to a point: outlines within outlines."""
    for step in range(steps):
        inner = centre + (outline - centre) * (1 - step / steps)
        polygon(draw, inner, blend(stops, step / (steps - 1)))


def shape_mask(size, *outlines):
    """Make a mask of outlines."""
    mask = Image.new("L", size)
    for outline in outlines:
        polygon(ImageDraw.Draw(mask), outline, 255)
    return mask


def line(draw, points, fill, width):
    """Draw a line through an array of points."""
    points = np.asarray(points, float).ravel().tolist()
    draw.line(points, fill=fill, width=max(1, round(width)), joint="curve")


def oval(draw, centre, across, down, fill):
    """Draw a filled ellipse, given half its width and half its height."""
    x, y = centre
    draw.ellipse((x - across, y - down, x + across, y + down), fill=fill)


def disc(draw, centre, radius, fill):
    """Draw a filled circle."""
    oval(draw, centre, radius, radius, fill)


def ridge(rng, width, peaks=4):
    """Make a jagged line of hills: one height 0..1 for each column."""
    total, knots, weight = np.zeros(width), peaks, 1.0
    while knots < width / 4:
        where = np.linspace(0, width, knots + 1)
        total += weight * np.interp(np.arange(width), where, rng.random(knots + 1))
        knots, weight = knots * 2, weight * 0.47
    total -= total.min()
    return total / total.max()


def hills(rng, width, waves=2.0):
    """Make a rolling line of hills: one height 0..1 for each column."""
    x = np.linspace(0, TURN * waves, width)
    total = sum(np.sin(x * pace + rng.uniform(0, TURN)) / pace for pace in (0.6, 1.0, 1.7))
    total -= total.min()
    return total / total.max()


def fill_below(image, tops, stops):
    """Fill all below a line of hills with a gradient; return where it starts and its mask."""
    width, height = image.size
    start = int(np.clip(tops.min(), 0, height - 2))
    crest = np.stack([np.arange(width), tops - start], axis=1)[::2]
    bottom = [(width, height), (0, height)]
    mask = shape_mask((width, height - start), np.concatenate([crest, bottom]))
    image.paste(gradient(mask.size, stops), (0, start), mask)
    return start, mask
