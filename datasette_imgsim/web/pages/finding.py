"""Finds images of the map by their id, or by text in their columns."""

from __future__ import annotations

import re
from collections import Counter

from datasette.database import QueryInterrupted
from datasette.utils import detect_fts, escape_fts

from ... import sqlite_errors
from ...db import tables
from ...db.tables import SourceTable, quoted, without_blobs
from .. import compat
from ..refused import Refused
from ..selection import Selection
from ..source import Source

MOST_FOUND = 50
EXCERPT = 70
"""The most characters that are shown of a value in which the text was found."""
TOO_LONG = (
    "To look for text in all rows takes too long here: search by id, or make a full-text index "
    "with 'sqlite-utils enable-fts {} {} COLUMN'"
)
CHECKSUM = re.compile("[0-9a-fA-F]{8,}")


async def find(
    source: Source, text: str, selection: Selection | None = None, limit: int = MOST_FOUND
) -> dict:
    """{key: where the text was found, such as "artist: Rembrandt", or None for id and name}.

    First the image with this id, then what the full-text index of the table finds, if it has one,
    then images with the text in a column of text, those with it in their name first. Of many, the
    selected ones are found first. Raises Refused if nothing was found in Datasette's time limit.
    """
    found: dict = {}
    id = await source.db.execute_fn(lambda conn: source.table.find(conn, text))
    if id is not None:
        found[id] = None
    try:
        for search in (_in_index, _in_columns):
            if len(found) < limit:
                for key, detail in (await search(source, text, selection, limit)).items():
                    found.setdefault(key, detail)
    except QueryInterrupted:
        if not found:
            raise Refused(400, TOO_LONG.format(source.file, source.table.name)) from None
    return dict(list(found.items())[:limit])


async def _in_index(source: Source, text: str, selection: Selection | None, limit: int) -> dict:
    """What the full-text index finds, which is the one that Datasette's own search uses."""
    name = source.table.name
    setting = await compat.table_config(source.datasette, source.db.name, name)
    index = setting.get("fts_table") or await source.db.execute_fn(
        lambda conn: detect_fts(conn, name)
    )
    if not index:
        return {}
    is_fts5, columns = await source.db.execute_fn(lambda conn: _about(conn, index))
    table, pk = source.table, quoted(setting.get("fts_pk", "rowid"))
    sql = (
        f"where t.{pk} in (select rowid from {quoted(index)} "
        f"where {quoted(index)} match :match limit 1000)"
    )
    own = [name for name in await _text_columns(source, "") if name in columns]
    match = _match(text, is_fts5)
    return await _search(source, table, own, sql, text, selection, limit, match=match)


def _about(conn, index: str) -> tuple[bool, list[str]]:
    """(whether a full-text index is of FTS5, its columns)"""
    row = conn.execute("select sql from sqlite_master where name = ?", [index]).fetchone()
    columns = conn.execute("select name from pragma_table_info(?)", [index]).fetchall()
    return bool(row and "fts5" in row[0].lower()), [name for (name,) in columns]


def _match(text: str, is_fts5: bool) -> str:
    """The words of a text, the last of which may go on: one is still typing."""
    words = escape_fts(text)
    if not words.endswith('"'):
        return words
    return f"{words}*" if is_fts5 else f'{words[:-1]}*"'


async def _in_columns(source: Source, text: str, selection: Selection | None, limit: int) -> dict:
    columns = await _text_columns(source, text)
    if not columns:
        return {}
    anywhere = " or ".join(_has_text(sql) for sql in _expressions(source.table, columns))
    return await _search(source, source.table, columns, f"where {anywhere}", text, selection, limit)


async def _text_columns(source: Source, text: str) -> list[str]:
    """The columns of text, the label first; checksums only for what may be one."""
    table = source.table
    rows = await source.db.execute_fn(
        lambda conn: conn.execute(
            "select name from pragma_table_xinfo(?) where hidden <> 1 and (type = '' or "
            "type like '%char%' or type like '%clob%' or type like '%text%')",
            [table.name],
        ).fetchall()
    )
    names = [name for (name,) in rows if name != "sha256" or CHECKSUM.fullmatch(text)]
    if table.label:
        names = [table.label, *(name for name in names if name != table.label)]
    return names


def _expressions(table: SourceTable, columns: list[str]) -> list[str]:
    return [
        table.label_sql if name == table.label else without_blobs(f"t.{quoted(name)}")
        for name in columns
    ]


def _has_text(sql: str) -> str:
    return f"instr(lower({sql}), lower(:text))"


async def _search(
    source: Source,
    table: SourceTable,
    columns: list[str],
    where: str,
    text: str,
    selection: Selection | None,
    limit: int,
    **more,
) -> dict:
    """{key: the column and value with the text} of rows.

    First those that are selected, and among them those with the text in their label.
    """
    expressions = _expressions(table, columns)
    # FTS finds words that are not next to each other: then no column has the text as it is.
    column = " ".join(
        f"when {_has_text(sql)} then {place}" for place, sql in enumerate(expressions)
    )
    value = " ".join(f"when {_has_text(sql)} then {sql}" for sql in expressions)
    columns_sql = (
        f"case {column} end found_in, case {value} end" if columns else "null found_in, null"
    )
    label = table.label_sql
    first = f"{table.key_sql} not in ({selection.sql}), " if selection else ""
    parameters = {"text": text, **more, **(selection.parameters if selection else {})}
    sql = (
        f"select {table.key_sql}, {columns_sql} from {table.rows_sql} {where} "
        f"order by {first}found_in is null, found_in, length({label}), {label} limit {limit}"
    )
    try:
        # This reads all rows, so Datasette's time limit must apply.
        rows = await source.db.execute(sql, parameters)
    except sqlite_errors.OperationalError:  # a full-text index that cannot be asked
        return {}
    return {
        key: None
        if place is None or columns[place] == table.label
        else f"{columns[place]}: {_excerpt(str(value), text)}"
        for key, place, value in rows.rows
    }


def _excerpt(value: str, text: str) -> str:
    """The part of a value around a text."""
    value = " ".join(value.split())
    place = value.lower().find(" ".join(text.lower().split()))
    start = max(0, place - EXCERPT // 2) if len(value) > EXCERPT else 0
    part = value[start : start + EXCERPT]
    return f"{'…' if start else ''}{part}{'…' if start + EXCERPT < len(value) else ''}"


async def told_apart(source: Source, images: list[dict]) -> None:
    """Adds what tells images apart to the "detail" of those with equal names and details."""
    seen = Counter((image["name"], image["detail"]) for image in images)
    alike = [image for image in images if seen[image["name"], image["detail"]] > 1]
    paths = await source.db.execute_fn(
        lambda conn: _paths(conn, source, [image["id"] for image in alike])
    )
    groups: dict = {}
    for image in alike:
        groups.setdefault((image["name"], image["detail"]), []).append(image)
    for group in groups.values():
        ends = shortest_ends([paths.get(image["id"]) or "" for image in group])
        for image, end in zip(group, ends):
            apart = end or f"{source.table.key} {image['key']}"
            image["detail"] = " · ".join(filter(None, [image["detail"], apart]))


def _paths(conn, source: Source, ids: list) -> dict:
    """{key: its path} of images, if the table has paths."""
    if not (ids and source.has_paths):
        return {}
    table, path = source.table, without_blobs(f"t.{quoted('path')}")
    sql = (
        f"select {table.key_sql}, {path} from {table.rows_sql} "
        f"where {table.key_sql} in ({', '.join('?' * len(ids))})"
    )
    return dict(conn.execute(sql, ids).fetchall())


def shortest_ends(paths: list[str]) -> list[str | None]:
    """For each path, its shortest end from a "/" on that no other has; None if there is none."""
    ends = list(tables.told_apart(dict(enumerate(paths))).values())
    seen = Counter(ends)
    return [end if end and seen[end] == 1 else None for end in ends]
