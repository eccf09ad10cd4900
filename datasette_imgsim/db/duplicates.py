"""The tables imgsim_duplicates and imgsim_verdicts: groups of images that show one picture."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import combinations, groupby
from typing import NamedTuple

from ..errors import ImgsimError
from ..progress import Progress, silent
from . import replacing, schema
from .connect import Writer, batches, utc_now
from .facts import fact_sql
from .spaces import Space, all_spaces, read_numbers, save_numbers
from .tables import SourceTable, column_names

EXACT, NEAR, BURST = "exact", "near", "burst"
KINDS = (EXACT, NEAR, BURST)
"""The same bytes; the same picture, changed; other shots of the same moment."""
DIFFERENT, SETTLED = "different", "settled"
VERDICTS = (DIFFERENT, SETTLED)
"""What people say of images: they are not the same, or they are and all of them stay."""
COLUMNS = ("space_id", "group_id", "kind", "image_key", "keep", "note")
KEY = ("group_id", "image_key")
RULES = 1
"""Raised when other groups would be found: then the next run looks anew."""
ROWS_A_TRANSACTION = 5_000
IDS_A_QUERY = 500
FACTS = ("path", "width", "height", "bytes", "taken_at", "camera", "mtime_ns", "sha256")
TOLD = ("id", "path", "width", "height", "bytes", "taken_at")


class Facts(NamedTuple):
    """What is known of an image; None where it is not."""

    id: int | str
    path: str | None
    width: int | None
    height: int | None
    bytes: int | None
    taken_at: str | None
    camera: str | None
    mtime_ns: int | None
    sha256: str | None

    @property
    def pixels(self) -> int:
        return (self.width or 0) * (self.height or 0)


@dataclass(frozen=True)
class Member:
    """An image of a group."""

    facts: Facts
    keep: bool
    """Whether it is the one that is proposed to be kept."""
    note: str
    """Of the one to keep, a sentence that says why; of others, in words how they differ from it."""


@dataclass(frozen=True)
class Group:
    """Images that are one picture, or one moment; the one to keep comes first."""

    number: int
    """From 1 in each space, best first; another run may number groups in another way."""
    kind: str
    members: list[Member]

    @property
    def keep(self) -> Member:
        return self.members[0]

    @property
    def others(self) -> list[Member]:
        return self.members[1:]

    def json(self) -> dict:
        """As the command and the page give it. `differs` says how others differ from the kept."""
        return {
            "kind": self.kind,
            "images": [
                {
                    **{name: getattr(member.facts, name) for name in TOLD},
                    "differs": None if member.keep else member.note,
                }
                for member in self.members
            ],
            "keep": self.keep.facts.id,
            "why": self.keep.note,
        }


@dataclass(frozen=True)
class Stamp:
    """What the stored groups of a space were found from."""

    generation: int
    """The generation of the space."""
    verdicts: int
    """How many verdicts there were."""
    rules: int
    """The version of the rules by which they were found; 0 if that is unknown."""


def read_stamp(conn: sqlite3.Connection, space: Space) -> Stamp | None:
    """The stamp of the stored groups; None if none were looked for, or it is damaged."""
    numbers = read_numbers(conn, space, "duplicates", ("generation", "verdicts"))
    rules = read_numbers(conn, space, "duplicates", ("rules",)) or [0]  # 0: an older version
    return Stamp(*numbers, *rules) if numbers else None


def present_stamp(conn: sqlite3.Connection, space: Space) -> Stamp:
    """The stamp that groups get which are found now."""
    (count,) = conn.execute(
        "select count(*) from imgsim_verdicts where source_table = ?", [space.source_table]
    ).fetchone()
    return Stamp(space.generation, count, RULES)


def all_facts(
    conn: sqlite3.Connection, table: SourceTable, ids: Sequence | None = None
) -> Iterator[Facts]:
    """The facts of all images of a source table, or of those with `ids`, in no order.

    Those of a table of the user's own come from the columns of that name, if it has them.
    """
    if ids is None:
        yield from _facts(conn, table, "1", [])
        return
    for batch in batches(list(ids), IDS_A_QUERY):
        marks = ", ".join("?" * len(batch))
        yield from _facts(conn, table, f"{table.key_sql} in ({marks})", batch)


def _facts(
    conn: sqlite3.Connection, table: SourceTable, condition: str, values: list
) -> Iterator[Facts]:
    there = {name.lower(): name for name in column_names(conn, table.name)}
    columns = [fact_sql(there, name) for name in FACTS]
    # Without "+", the key's affinity would keep SQLite from using the index.
    sql = (
        f"select {table.key_sql}, {', '.join(columns)} from {table.rows_sql} "
        f"left join imgsim_contents c on c.source_table = ? and c.image_key = +{table.key_sql}"
    )
    for id, *row in conn.execute(f"{sql} where {condition}", [table.name, *values]):
        yield Facts(id, *(_sound(name, value) for name, value in zip(FACTS, row)))


def _sound(name: str, value):
    """A value of a column of this name, which in a user's table may be anything."""
    if name in ("path", "taken_at", "camera", "sha256"):
        errors = "surrogateescape" if name == "path" else "replace"
        return value.decode(errors=errors) if isinstance(value, bytes) else None
    return value if type(value) is int and value >= 0 else None


def save_groups(
    conn: Writer,
    space: Space,
    stamp: Stamp,
    groups: Sequence[Group],
    progress: Progress = silent,
) -> None:
    """Replaces the stored groups of a space; a reader sees the old ones or the new ones."""
    table = replacing.Table("imgsim_duplicates", COLUMNS, KEY, ROWS_A_TRANSACTION)
    rows = (
        (space.id, group.number, group.kind, member.facts.id, int(member.keep), member.note)
        for group in groups
        for member in group.members
    )
    count = sum(len(group.members) for group in groups)

    def finish() -> None:
        save_numbers(conn, space, "duplicates", vars(stamp))

    with progress(count, " images", "Storing") as advance:
        replacing.replace(conn, table, space, rows, count, finish, advance)


def _whole(conn: sqlite3.Connection, table: SourceTable, more: str = "") -> str:
    """SQL for the groups of a space of which the one to keep and another are still there."""
    return f"""
        select d.group_id, d.kind, count(*) as images {_rows(conn, table)} {more}
        group by d.group_id having count(*) > 1 and max(d.keep)
    """


def _rows(conn: sqlite3.Connection, table: SourceTable) -> str:
    """SQL from "from" on, for the images in groups: that are still there, and are not decided."""
    sql = "select 1 from imgsim_verdicts where source_table = ? limit 1"
    decided = ""
    if conn.execute(sql, [table.name]).fetchone():
        decided = """
            and not exists (
                select 1 from imgsim_duplicates before join imgsim_verdicts v
                on v.source_table = :table and v.image_key = before.image_key
                and v.other_key = d.image_key
                where before.space_id = d.space_id and before.group_id = d.group_id
                and (before.keep > d.keep or
                    before.keep = d.keep and before.image_key < d.image_key)
            )
        """
    # "cross join" keeps SQLite from reading the whole source table first.
    return f"""
        from imgsim_duplicates d
        cross join {table.rows_sql} on {table.key_sql} = d.image_key
        where d.space_id = :space {decided}
    """


def count_groups(conn: sqlite3.Connection, space: Space) -> dict[str, tuple[int, int]]:
    """{kind: (groups, images in them that are not the ones to keep)}, of all three kinds."""
    table = SourceTable.read(conn, space.source_table)
    rows = conn.execute(
        f"select kind, count(*), sum(images - 1) from ({_whole(conn, table)}) group by kind",
        {"space": space.id, "table": table.name},
    )
    found = {kind: (groups, images) for kind, groups, images in rows}
    return {kind: found.get(kind, (0, 0)) for kind in KINDS}


def counts_json(counts: dict[str, tuple[int, int]]) -> dict:
    """What `count_groups` gives, as the command and the page give it."""
    return {kind: {"groups": groups, "others": others} for kind, (groups, others) in counts.items()}


def read_groups(
    conn: sqlite3.Connection,
    space: Space,
    kinds: Iterable[str] = KINDS,
    after: int = 0,
    count: int = -1,
) -> list[Group]:
    """Up to `count` of the stored groups of some kinds, those numbered above `after`; -1 for all.

    Images whose row is gone are left out, and groups of which nothing is left to be decided.
    """
    table = SourceTable.read(conn, space.source_table)
    marks = ", ".join(f"'{kind}'" for kind in KINDS if kind in set(kinds))
    more = f"and d.group_id > :after and d.kind in ({marks})"
    values = {"space": space.id, "table": table.name, "after": after, "count": count}
    whole = f"{_whole(conn, table, more)} order by d.group_id limit :count"
    numbers = [number for number, _, _ in conn.execute(whole, values)]
    groups = []
    for batch in batches(numbers, IDS_A_QUERY):
        rows = conn.execute(
            f"select d.group_id, d.kind, d.image_key, d.keep, d.note {_rows(conn, table)} "
            "and d.group_id in (select value from json_each(:numbers)) "
            "order by d.group_id, d.keep desc, d.image_key",
            {**values, "numbers": json.dumps(batch)},
        ).fetchall()
        facts = {each.id: each for each in all_facts(conn, table, [row[2] for row in rows])}
        for (number, kind), members in groupby(rows, lambda row: row[:2]):
            found = [Member(facts[key], bool(keep), str(note)) for _, _, key, keep, note in members]
            groups.append(Group(number, kind, found))
    return groups


def has_groups(conn: sqlite3.Connection, space: Space) -> bool:
    """Whether any groups of a space are stored."""
    rows = conn.execute("select 1 from imgsim_duplicates where space_id = ? limit 1", [space.id])
    return rows.fetchone() is not None


def has_groups_of(conn: sqlite3.Connection, table: str) -> bool:
    """Whether any groups of a source table are stored, in any of its spaces."""
    if "imgsim_duplicates" not in schema.tables(conn):
        return False  # made by an older version
    with suppress(ImgsimError):  # a damaged space; our own pages say so
        return any(has_groups(conn, space) for space in all_spaces(conn, table))
    return False


def read_verdicts(conn: sqlite3.Connection, table: str) -> set[tuple]:
    """The pairs of keys of a source table that were decided upon, in both orders."""
    rows = conn.execute(
        "select image_key, other_key from imgsim_verdicts where source_table = ?", [table]
    )
    return set(rows.fetchall())


def save_verdicts(conn: Writer, table: str, keys: Sequence, verdict: str) -> None:
    """Remembers a verdict on all pairs of these images, in place of earlier ones."""
    now = utc_now()
    with conn.transaction():
        conn.executemany(
            "insert or replace into imgsim_verdicts "
            "(source_table, image_key, other_key, verdict, decided_at) values (?, ?, ?, ?, ?)",
            [
                (table, *pair, verdict, now)
                for one, other in combinations(keys, 2)
                for pair in ((one, other), (other, one))
            ],
        )
