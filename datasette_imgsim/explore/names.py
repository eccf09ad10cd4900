"""Names for groups of images: the words that their rows have more than others, else their looks."""

from __future__ import annotations

import functools
import json
import re
import sqlite3
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from ..db.connect import batches
from ..db.schema import IMAGES_COLUMNS, SOURCE_TABLE, is_ours
from ..db.spaces import Space
from ..db.tables import SourceTable, column_names, quoted
from ..progress import Progress, silent
from .looks import Looks, looks_of

ROWS = 300
"""The rows of so many images of a group are read, from all parts of it."""
COLUMNS, CHARACTERS, WORDS_A_ROW = 30, 500, 80
"""So many columns of a row are read, so much of each text, and so many words of them all."""
ROWS_A_READ = 100
WORDS_A_PHRASE, WORDS_A_NAME = 3, 3
LONGEST = 25
"""Longer words are not read, such as encoded data."""
PRIOR = 10
"""A word counts in each group as if so many more rows had it as often as all rows have."""
TELLING = 1.96
"""A word is over-represented if its log-odds ratio is so many standard deviations above 0."""
OFTENER = 1.5
"""And if its share of the rows is so many times that of the others': "with" is not."""
COMMON, ENOUGH, WHOLE = 0.15, 0.3, 0.75
"""Which share of a group has a word of its name at least, has any of them, and has the first of
them if no other is needed."""
LONGER = 0.75
"""A longer phrase is taken if so many of the rows with the shorter one have it."""
AS_TELLING = 0.6
"""Each of its words must be nearly as telling, and so must a second word beside a first one."""
LIKELIER = 2
"""Of two groups of one name, a word tells one apart that has it so many times as often."""

NO_WORDS = re.compile(r"\w+://\S+|\bwww\.\S+|\S+@\S+", re.IGNORECASE)
"""Addresses of pages and people."""
PARTS = re.compile(r"[/\\.,;:!?()\[\]{}\"|\n\r\t]+")
"""What stands between parts of a text whose words do not belong together."""
SAY_NOTHING = frozenset(
    "img imgs dsc dscn dscf dcim pict imgp pxl mvi gopr dji vid cimg image images photo photos "
    "picture pictures pic pics file files untitled unnamed copy jpg jpeg png webp gif heic heif "
    "tif tiff bmp avif jfif http https www com null none nan true false".split()
)
"""Words of cameras and programs."""


def names_of(
    conn: sqlite3.Connection,
    space: Space,
    groups: Sequence[Sequence],
    wanted: Sequence[int],
    taken: dict[str, int],
    progress: Progress = silent,
) -> list[str]:
    """Names for those of the groups whose places are `wanted`, in this order; all are different.

    `groups` are the keys of the images of each group, and of those in none, as one group more. No
    name is one of those that are `taken`, each by the group in a place.
    """
    table = SourceTable.read(conn, space.source_table)
    columns = _columns(conn, table)
    read = []
    with progress(len(groups), " groups", "Naming") as advance:
        for keys in groups:
            read.append([*_rows(conn, table, columns, keys)])
            advance(1)
    common = set[Phrase]().union(*(_common(read[place]) for place in wanted))
    texts = [Texts.of(rows, common) for rows in read]
    everywhere = sum((text.counts for text in texts), Counter[Phrase]())
    rows = sum(len(text.rows) for text in texts)

    @functools.cache
    def looks() -> list[Looks]:
        return [looks_of(conn, table, keys) for keys in groups]

    def names_by_looks(place: int) -> list[str]:
        return looks()[place].names(np.mean([each.shares for each in looks()], axis=0))

    used = {name.casefold(): texts[place] for name, place in taken.items()}
    names = []
    for place in wanted:
        phrases = over_represented(texts[place], everywhere, rows)
        by_looks = functools.partial(names_by_looks, place)
        fitting = _fitting(texts[place], phrases, by_looks, used)
        names.append(next(name for name in fitting if name.casefold() not in used))
        used[names[-1].casefold()] = texts[place]
    return names


Row: TypeAlias = list[list[str]]
"""The words of the texts of a row, by parts of these."""
Phrase: TypeAlias = tuple[str, ...]
"""Words that follow each other, without regard to case."""


def _phrases(row: Row) -> set[Phrase]:
    """The phrases of up to three words in a row."""
    parts = [[word.casefold() for word in words] for words in row]
    return {
        tuple(words[start : start + length])
        for words in parts
        for length in range(1, WORDS_A_PHRASE + 1)
        for start in range(len(words) - length + 1)
    }


def _common(rows: list[Row]) -> list[Phrase]:
    """The phrases that enough rows of a group have."""
    counts = Counter(phrase for row in rows for phrase in _phrases(row))
    least = max(2, COMMON * len(rows))
    return [phrase for phrase, count in counts.items() if count >= least]


@dataclass
class Texts:
    """Which of the common phrases the rows of a group have."""

    rows: list[set[Phrase]]
    counts: Counter[Phrase]
    """How many rows have each phrase."""
    written: dict[str, Counter[str]]
    """How each word is written in them."""

    @classmethod
    def of(cls, rows: list[Row], common: set[Phrase]) -> Texts:
        """The texts of a group; phrases that are not common in any group are left out."""
        found = [_phrases(row) & common for row in rows]
        written: dict[str, Counter[str]] = {}
        for word in (word for row in rows for words in row for word in words):
            if (word.casefold(),) in common:
                written.setdefault(word.casefold(), Counter())[word] += 1
        return cls(found, Counter(phrase for row in found for phrase in row), written)

    def text(self, phrase: Phrase) -> str:
        """A phrase as it is mostly written."""
        return " ".join(self.written[word].most_common(1)[0][0] for word in phrase)

    def share(self, *phrases: Phrase) -> float:
        """The share of the rows that have any of these phrases."""
        return sum(not row.isdisjoint(phrases) for row in self.rows) / max(1, len(self.rows))


def over_represented(texts: Texts, everywhere: Counter, rows: int) -> dict[Phrase, float]:
    """The phrases that a group has clearly more than the others, the most telling first.

    They are those of the highest log-odds ratio with an informative Dirichlet prior (Monroe,
    Colaresi and Quinn 2008, Fightin' Words, equations 16 to 22), as low as it may well be. What is
    counted are rows: `everywhere` has how many of all `rows` have each phrase.
    """
    own = len(texts.rows)
    others = rows - own
    scores = {}
    for phrase, count in texts.counts.items():
        if count < max(2, COMMON * own):
            continue
        # The halves keep a word of all rows from being certain.
        beside = everywhere[phrase] - count
        if count * others < OFTENER * beside * own:
            continue
        prior = PRIOR * (everywhere[phrase] + 0.5) / (rows + 1)
        rest = PRIOR - prior
        ratio = np.log((count + prior) / (own - count + rest)) - np.log(
            (beside + prior) / (others - beside + rest)
        )
        deviation = np.sqrt(1 / (count + prior) + 1 / (beside + prior))
        if ratio >= TELLING * deviation:
            scores[phrase] = ratio - TELLING * deviation
    order = sorted(scores, key=lambda phrase: (-scores[phrase], len(phrase), phrase))
    return {phrase: float(scores[phrase]) for phrase in order}


def _fitting(
    texts: Texts,
    phrases: dict[Phrase, float],
    names_by_looks: Callable[[], list[str]],
    used: dict[str, Texts],
) -> Iterator[str]:
    """Names that fit a group, the best first; `used` has the texts of groups by their names."""
    first = _longest(texts, phrases)
    others = [
        phrase
        for phrase in phrases
        if len(first) + len(phrase) <= WORDS_A_NAME and not set(first) & set(phrase)
    ]
    name = ""
    if first:
        chosen = [first]
        if texts.share(first) < WHOLE:
            telling = [each for each in others if phrases[each] >= phrases[first] * AS_TELLING]
            more = {phrase: texts.share(first, phrase) - texts.share(first) for phrase in telling}
            chosen += [phrase for phrase in telling if more[phrase] >= COMMON][:1]
        if texts.share(*chosen) >= ENOUGH:
            name = ", ".join(map(texts.text, chosen))
            yield name
            rival = used.get(name.casefold())
            if len(chosen) == 1 and rival:
                for phrase in others:
                    if texts.share(phrase) > LIKELIER * rival.share(phrase):
                        yield f"{name}, {texts.text(phrase)}"
    looks = names_by_looks()
    yield from (f"{name}, {look}" if name else look for look in looks)
    stem = name or (looks[0] if looks else "group")
    number = 2 if name or looks else 1
    while True:
        yield f"{stem} {number}"
        number += 1


def _longest(texts: Texts, phrases: dict[Phrase, float]) -> Phrase:
    """The most telling phrase, or a longer one with it that nearly all of the same rows have."""
    if not phrases:
        return ()
    best = next(iter(phrases))
    longer = [
        phrase
        for phrase in phrases
        if set(best) <= set(phrase)
        and texts.counts[phrase] >= LONGER * texts.counts[best]
        and all(phrases.get((word,), 0) >= phrases[best] * AS_TELLING for word in phrase)
    ]
    return max([best, *longer], key=lambda phrase: (len(phrase), texts.counts[phrase]))


# Words


class _Letters(dict):
    """For str.translate: what is no letter, mark or digit becomes a space."""

    def __missing__(self, code: int) -> int:
        character = chr(code)
        is_kept = unicodedata.category(character)[0] in "LMN" or PARTS.match(character)
        self[code] = code if is_kept else ord(" ")
        return self[code]


LETTERS = _Letters()


def words_of(text: str) -> Row:
    """The words of a text that may be part of a name, by parts of the text."""
    text = unicodedata.normalize("NFC", NO_WORDS.sub(" ", text)).translate(LETTERS)
    parts = ([word for each in part.split() if (word := _word(each))] for part in PARTS.split(text))
    return [words for words in parts if words]


def _word(text: str) -> str | None:
    """The letters of a word, without numbers around them; None if it says nothing.

    That is so of numbers, hashes, counters such as DSC01234, single letters of an alphabet, and two
    small ones, which mostly are words like "of".
    """
    word = re.sub(r"^\d+|\d+$", "", text)
    has_digits = len(word) < len(text)
    is_short = len(word) < 3 and (has_digits or not (len(word) == 2 and word.isupper()))
    is_short = is_short and not _is_syllabic(word)
    if is_short or len(word) > LONGEST or word.casefold() in SAY_NOTHING:
        return None
    return word if not any(unicodedata.category(each)[0] == "N" for each in word) else None


def _is_syllabic(word: str) -> bool:
    """Whether a word is of a script, such as Chinese, in which one sign can be a word."""
    return bool(word) and all(unicodedata.category(each) == "Lo" for each in word)


# Rows


def _columns(conn: sqlite3.Connection, table: SourceTable) -> list[str]:
    """The columns whose texts may name a group."""
    names = column_names(conn, table.name)
    if table.name.lower() == SOURCE_TABLE and is_ours(conn):
        facts = {*IMAGES_COLUMNS, "folder"} - {"path"}
        names = [name for name in names if name not in facts]
    return names[:COLUMNS]


def _rows(
    conn: sqlite3.Connection, table: SourceTable, columns: list[str], keys: Sequence
) -> Iterator[Row]:
    """The words of the rows of some of the images."""
    # Text is read as bytes, since it need not be UTF-8. A BLOB, which may be a picture, is not.
    texts = [f"t.{quoted(name)}" for name in columns]
    selected = ", ".join(
        f"case typeof({text}) when 'text' then cast(substr({text}, 1, {CHARACTERS}) as blob) end"
        for text in texts
    )
    if not selected:
        return
    step = max(1, -(-len(keys) // ROWS))
    for batch in batches(list(keys[::step]), ROWS_A_READ):
        rows = conn.execute(
            f"select {selected} from {table.rows_sql} "
            f"where {table.key_sql} in (select value from json_each(?))",
            [json.dumps(batch)],
        )
        for row in rows.fetchall():
            parts = [words_of(text.decode(errors="replace")) for text in row if text]
            yield _first([words for part in parts for words in part], WORDS_A_ROW)


def _first(parts: Row, count: int) -> Row:
    """The parts of a row up to so many words."""
    kept = []
    for words in parts:
        kept.append(words[:count])
        count -= len(words)
        if count <= 0:
            break
    return kept
