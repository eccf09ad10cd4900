"""Colours, and choices left to chance."""

import numpy as np
from PIL import ImageColor

TURN = 2 * np.pi
BLACK, WHITE = (0, 0, 0), (255, 255, 255)


def colours(text):
    """Turn "ff8800 0044aa" into a list of RGB triples."""
    return [ImageColor.getrgb("#" + word) for word in text.split()]


def palette(table, turn):
    """Give the lists of colours of one line of a table; each picture takes the next line."""
    return [colours(text) for text in table[turn % len(table)]]


def blend(stops, share):
    """Give the colour that lies `share` of the way through evenly spaced colours."""
    places = np.linspace(0, 1, len(stops))
    return tuple(round(np.interp(share, places, part)) for part in zip(*stops))


def mix(first, second, share):
    """Give the colour that lies `share` of the way from the first to the second."""
    return tuple(round(a + (b - a) * share) for a, b in zip(first, second))


def sheer(colour, share):
    """Give a colour that covers only that share of what lies under it."""
    return (*colour, round(255 * share))


def vary(rng, colour, amount=14):
    """Give a colour near this one, a little lighter or darker and shifted in hue."""
    shift = rng.normal(0, amount) + rng.normal(0, amount / 3, 3)
    return tuple(int(value) for value in np.clip(np.add(colour, shift), 0, 255))


def pick(rng, items):
    """Choose one item; unlike rng.choice it leaves tuples and strings as they are."""
    return items[int(rng.integers(len(items)))]


def spread(rng, size, count, gap, margin):
    """Choose up to `count` points, at least `gap` apart, that fill the picture evenly."""
    points = []
    for _ in range(count):
        tries = rng.uniform(margin, np.subtract(size, margin), (14, 2))
        away = [min((np.hypot(*(at - other)) for other in points), default=gap) for at in tries]
        if max(away) >= gap:
            points.append(tries[np.argmax(away)])
    return points


def arranged(rng, size, count, gap, margin):
    """Spread points; a single one comes near the middle."""
    if count == 1:
        return [np.array(size) * rng.uniform(0.46, 0.54, 2)]
    return spread(rng, size, count, gap, margin)
