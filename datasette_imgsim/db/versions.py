"""Versions of the tables: migrations, and whether this package can read a given database."""

from __future__ import annotations

import sqlite3

from sqlite_utils import Migrations

from ..errors import ImgsimError
from .definitions import (
    DUPLICATES_SQL,
    GROUPS_SQL,
    MEMBERS_SQL,
    NEIGHBOURS_SQL,
    TABLES_5,
    VERDICTS_SQL,
)
from .redefine import redefine
from .schema import FOLDER_SQL, SOURCE_TABLE, is_ours, tables

migrations = Migrations("datasette-imgsim")


@migrations()
def m001_spaces_vectors_thumbnails_failures(db):
    """The tables of version 1."""
    # image_id has no declared type, so it has BLOB affinity: 7, '7' and '007' stay what they are.
    for statement in (
        """
        create table imgsim_spaces (
            id integer primary key autoincrement,
            name text not null unique,
            source_table text not null,
            is_default integer not null,
            model text not null,
            weights_sha256 text not null,
            levels text not null,
            pooling text not null,
            preprocess text not null,
            dtype text not null,
            precision text not null,
            dimensions integer not null,
            generation integer not null default 0,
            centre blob,
            centred_on integer not null default 0,
            level_weights text not null,
            calibration text,
            versions text not null,
            created_at text not null
        )""",
        """
        create table imgsim_vectors (
            space_id integer not null references imgsim_spaces(id),
            image_id not null,
            vector blob not null,
            norms blob not null,
            primary key (space_id, image_id)
        )""",
        """
        create table imgsim_thumbnails (
            source_table text not null,
            image_id not null,
            jpeg blob not null,
            primary key (source_table, image_id)
        )""",
        """
        create table imgsim_failures (
            source_table text not null,
            source text not null,
            error text not null,
            bytes integer,
            mtime_ns integer,
            tried_at text not null,
            primary key (source_table, source)
        )""",
        """
        create table imgsim_atlas (
            space_id integer not null references imgsim_spaces(id),
            image_id not null,
            x real not null check (x >= 0 and x < 256),
            y real not null check (y >= 0 and y < 256),
            placed text not null check (placed in ('fitted', 'interpolated')),
            primary key (space_id, image_id)
        )""",
    ):
        db.conn.execute(statement)


@migrations()
def m002_contents(db):
    """The hash, size and mtime of pictures in users' own tables when they were embedded."""
    db.conn.execute(
        """
        create table imgsim_contents (
            source_table text not null,
            image_id not null,
            sha256 text not null,
            bytes integer,
            mtime_ns integer,
            primary key (source_table, image_id)
        )"""
    )


@migrations()
def m003_readings(db):
    """What was read of the pictures of images, so that a later run can read the rest."""
    db.conn.execute(
        """
        create table imgsim_readings (
            source_table text not null,
            image_id not null,
            thumbnail_size integer,
            gps integer not null default 0,
            primary key (source_table, image_id)
        )"""
    )


@migrations()
def m004_paths_of_pictures(db):
    """The path of a picture in a row of a user's own table, to notice that it was changed."""
    db.conn.execute("alter table imgsim_contents add column path text")
    db.conn.execute("alter table imgsim_failures add column path text")


@migrations()
def m005_ids_as_text(db):
    """Ids as text beside keys as they are; the key of each source table; its name in any case."""
    for name, statement in TABLES_5.items():
        if "source_table" in statement:
            _merge_spellings(db.conn, name)
        redefine(db.conn, name, statement)
        if "image_id" in statement:
            owner = "space_id" if "space_id" in statement else "source_table"
            db.conn.execute(f"create index {name}_image_id on {name} (image_id, {owner})")
    db.conn.execute(
        """
        update imgsim_spaces set
        source_key = (select name from pragma_table_info(imgsim_spaces.source_table) where pk),
        is_default = is_default and not exists (
            select 1 from imgsim_spaces as older where older.is_default
            and older.source_table = imgsim_spaces.source_table and older.id < imgsim_spaces.id
        )
        """
    )


def _merge_spellings(conn: sqlite3.Connection, name: str) -> None:
    """Gives rows of one source table the same spelling of its name."""
    spellings: dict[str, str] = {}
    for source, folded in conn.execute(
        f"select source_table, lower(source_table) from {name} group by source_table"
    ).fetchall():
        kept = spellings.setdefault(folded, source)
        if kept != source:
            conn.execute(
                f"update or replace {name} set source_table = ? where source_table = ?",
                [kept, source],
            )


@migrations()
def m006_folder(db):
    """The folder of a picture, in a table `images` that is ours and has no such column."""
    columns = db.conn.execute("select lower(name) from pragma_table_xinfo(?)", [SOURCE_TABLE])
    if is_ours(db.conn) and ("folder",) not in columns.fetchall():
        db.conn.execute(f"alter table images add column folder {FOLDER_SQL}")


@migrations()
def m007_neighbours(db):
    """The images most like each image, and what they were computed from."""
    db.conn.execute("alter table imgsim_spaces add column neighbours text")
    db.conn.execute(NEIGHBOURS_SQL)


@migrations()
def m008_duplicates(db):
    """Groups of images that show one picture, and what people say of them."""
    db.conn.execute(DUPLICATES_SQL)
    db.conn.execute(VERDICTS_SQL)
    db.conn.execute("alter table imgsim_spaces add column duplicates text")


@migrations()
def m009_groups(db):
    """Groups of images that belong together, by what they show."""
    db.conn.execute(GROUPS_SQL)
    db.conn.execute(MEMBERS_SQL)
    db.conn.execute("alter table imgsim_spaces add column groups text")


class OlderDatabase(ImgsimError):
    """The tables are of an older version, which the command line can upgrade."""


def plumbing(conn: sqlite3.Connection) -> list[str]:
    """The tables that nobody who looks at pictures needs to see; none in a database without ours.

    They are ours but `images`, those in which sqlite-utils and SQLite keep count, and no source
    table of the user's own, whatever its name is.
    """
    if not {"imgsim_spaces", migrations.migrations_table} <= tables(conn):
        return []
    rows = conn.execute(
        f"""
        select name from sqlite_master
        where type = 'table' and name not in (select source_table from imgsim_spaces)
        and (name like 'imgsim!_%' escape '!' or name in ('sqlite_sequence', ?))
        and exists (select 1 from {migrations.migrations_table} where migration_set = ?)
        """,
        [migrations.migrations_table, migrations.name],
    )
    return [name for (name,) in rows]


def check_version(conn: sqlite3.Connection) -> None:
    """Raises ImgsimError if the tables are of another version than this package.

    It is OlderDatabase if they are older. A database without our tables is accepted.
    """
    names = tables(conn)
    if "imgsim_spaces" not in names:
        return
    # Every query comes here, and Migrations.applied and pending take half a millisecond.
    applied = set()
    if migrations.migrations_table in names:
        rows = conn.execute(
            f"select name from {migrations.migrations_table} where migration_set = ?",
            [migrations.name],
        )
        applied = {name for (name,) in rows}
    known = {migration.name for migration in migrations._migrations}
    if applied - known:
        raise ImgsimError(
            "This database was written by a newer datasette-imgsim: pip install -U datasette-imgsim"
        )
    if known - applied:
        raise OlderDatabase(
            "This database was written by an older datasette-imgsim: run "
            "'datasette imgsim spaces DATABASE', which upgrades its tables"
        )
