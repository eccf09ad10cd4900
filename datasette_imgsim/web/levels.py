"""Levels in words: what a level of a network looks at, from colour to subject."""

from __future__ import annotations

import re
from collections import Counter

from ..db.spaces import Space

# What the blocks of a network respond to (Zeiler & Fergus 2014, arXiv 1311.2901, figure 2).
WORDS = ("colour", "colour and texture", "texture", "parts", "subject")
_BLOCK = re.compile(r"(?:conv|pool|stage|block|layer)(\d+)")


def level_words(levels: list[str]) -> dict[str, str]:
    """Each level's name -> what it looks at; levels that share a word have their name behind it.

    `levels` are in network order. Levels that are not numbered are taken for the last ones, which
    see the subject: `fc6`, `head`, `embedding`.
    """
    words = {}
    for level in levels:
        block = _BLOCK.match(level)
        number = int(block[1]) if block else len(WORDS)
        words[level] = WORDS[min(max(number, 1), len(WORDS)) - 1]
    shared = Counter(words.values())
    return {
        level: f"{word} ({level})" if shared[word] > 1 else word for level, word in words.items()
    }


def presets(space: Space) -> dict[str, str]:
    """Names of kinds of likeness -> level weights for them, as in a URL."""
    names = ("colour and texture", "texture and parts", "subject")
    levels = list(space.levels)
    if len(levels) < 2:
        return {}
    if len(levels) == 2:
        names = (names[0], names[2])
    size = len(levels) / len(names)
    parts = [levels[round(n * size) : round((n + 1) * size)] for n in range(len(names))]
    return {name: ",".join(f"{level}:1" for level in part) for name, part in zip(names, parts)}
