"""Databases whose vectors are made by hand, and an independent account of their scores."""

import ctypes
import ctypes.util
import json
import sqlite3
from contextlib import closing

import numpy as np
import sqlite_utils

from datasette_imgsim.db import versions
from datasette_imgsim.db.spaces import all_spaces, choose_space, raise_generation
from datasette_imgsim.db.tables import quoted

LEVELS = {"pool4": 6, "pool5": 4}
LEVELS_OF_KINDS = {"pool4": 24, "pool5": 16}
ONLY_POOL5 = '{"level_weights": {"pool5": 1}}'
KEYS = {
    "integer primary key": list(range(1, 31)),
    "int primary key": list(range(1, 31)),
    "int primary key, mixed": [*range(1, 16), *(f"x{n}" for n in range(16, 31))],
    "numeric primary key": list(range(1, 31)),
    "primary key": list(range(1, 31)),
    "primary key, text": [str(n) for n in range(1, 31)],
    "text primary key": [str(n) for n in range(1, 31)],
    "varchar(9) primary key": [f"a/{n} é'" for n in range(1, 31)],
    "blob primary key": [f"k{n}" for n in range(1, 31)],
    "real primary key, text": [f"k{n}" for n in range(1, 31)],
}
"""Thirty keys of each kind that a source table may have; how a key is declared, before a comma."""
FAILED = "user-defined function raised exception"
DEFENSIVE = 1010  # SQLITE_DBCONFIG_DEFENSIVE


def random_vectors(count, dimensions=10, seed=0):
    """Raw vectors (count, dimensions), the same for the same seed."""
    return np.abs(np.random.default_rng(seed).standard_normal((count, dimensions)))


def kinds_of_vectors(*kinds, each, seed=0):
    """Raw vectors (kinds x each, 40), those of each kind, a number below 12, alike."""
    centres = random_vectors(12, 40, seed=9)[list(kinds)]
    noise = random_vectors(len(kinds) * each, 40, seed=seed)
    return np.repeat(4 * centres, each, axis=0) + noise


def make_space(
    path, vectors, ids=None, *, levels=None, name="toy", table="images", key="integer primary key",
    dtype="float32", level_weights=None, centre=True,
):  # fmt: skip
    """Adds a source table and a space of raw (n, dimensions) level vectors, as `embed` would."""
    levels = levels or LEVELS
    with closing(sqlite3.connect(path)) as conn, conn:
        with sqlite_utils.Database(path) as db:
            versions.migrations.apply(db)
        name_sql = quoted(table)
        conn.execute(f"create table if not exists {name_sql} (id {key}, year integer)")
        conn.execute(
            """
            insert into imgsim_spaces (name, source_table, is_default, model, weights_sha256,
            levels, pooling, preprocess, dtype, precision, dimensions, level_weights, versions,
            created_at) values (?, ?, not exists (select 1 from imgsim_spaces where source_table
            = ?), 'toy', '0', ?, 'avg', ?, ?, 'float32', ?, ?, '{}', datetime())
            """,
            [
                name,
                table,
                table,
                json.dumps(levels),
                json.dumps({"normalise": "torchvision", "resize": "squash", "size": 8}),
                dtype,
                sum(levels.values()),
                json.dumps(level_weights or dict.fromkeys(levels, 1)),
            ],
        )
    add_images(path, vectors, ids, name)
    if centre and len(vectors) > 2:
        set_centre(path, name)
    return path


def space_of(conn, name="toy"):
    """The space of a name."""
    (space,) = [space for space in all_spaces(conn) if space.name == name]
    return space


def spaces(folder):
    """The names of the spaces of folder/photos.db, the oldest first."""
    return rows(folder / "photos.db", "select name from imgsim_spaces order by id")


def stored_vectors(folder, space=1):
    """The vectors (images, dimensions) of folder/photos.db, in the space's dtype."""
    (dtype,) = rows(folder / "photos.db", "select dtype from imgsim_spaces where id = ?", space)
    sql = "select vector from imgsim_vectors where space_id = ? order by image_key"
    return np.stack([np.frombuffer(v, dtype) for v in rows(folder / "photos.db", sql, space)])


def add_images(path, vectors, ids=None, name="toy"):
    """Adds images with raw vectors to a space in one batch."""
    vectors = np.asarray(vectors, np.float64)
    ids = range(1, len(vectors) + 1) if ids is None else ids
    with closing(sqlite3.connect(path)) as conn, conn:
        space = space_of(conn, name)
        sizes = list(space.levels.values())
        assert vectors.shape == (len(ids), sum(sizes))
        for id, vector in zip(ids, vectors):
            norms = np.array([np.linalg.norm(vector[part]) for part in space.slices.values()])
            unit = vector / np.repeat(np.where(norms, norms, 1), sizes)
            conn.execute(
                f"insert or ignore into {quoted(space.source_table)} values (?, 2000)", [id]
            )
            conn.execute(
                "insert into imgsim_vectors (space_id, image_key, vector, norms) "
                "values (?, ?, ?, ?)",
                [space.id, id, space.encode(unit), norms.astype("<f4").tobytes()],
            )
        conn.execute(
            "update imgsim_spaces set generation = generation + 1 where id = ?", [space.id]
        )


def set_centre(path, name="toy"):
    """Makes the mean of what is there the centre."""
    with closing(sqlite3.connect(path)) as conn, conn:
        space = space_of(conn, name)
        rows = conn.execute("select vector from imgsim_vectors where space_id = ?", [space.id])
        mean = np.mean([space.decode(blob) for (blob,) in rows], axis=0, dtype=np.float64)
        conn.execute(
            "update imgsim_spaces set generation = generation + 1, centre = ?, centred_on = 1 "
            "where id = ?",
            [mean.astype("<f4").tobytes(), space.id],
        )


def rows(database, sql, *parameters):
    """The rows of a query, each a tuple; a single column comes as plain values."""
    conn = sqlite3.connect(database)
    try:
        found = conn.execute(sql, parameters).fetchall()
    finally:
        conn.close()
    return [row[0] if len(row) == 1 else row for row in found]


def our_tables(database):
    """The names of the imgsim_* tables."""
    tables = rows(database, "select name from sqlite_master where type = 'table'")
    return [name for name in tables if name.startswith("imgsim_")]


def change(path, sql, *parameters):
    """Changes a database by hand, from another connection."""
    with closing(sqlite3.connect(path)) as conn, conn:
        conn.execute(sql, parameters)


def set_source(path, table):
    """Makes what was made of images that of another table, which has rows with their keys."""
    for name in ("imgsim_spaces", "imgsim_thumbnails"):
        change(path, f"update {name} set source_table = ?", table)
    change(path, "update imgsim_spaces set source_key = null")


def copy_space(path, name, table):
    """Adds a copy of the only space, under another name and of another table."""
    columns = rows(path, "select name from pragma_table_info('imgsim_spaces')")
    copied = {"id": "id + 1", "name": f"'{name}'", "source_table": f"'{table}'"}
    values = ", ".join(copied.get(column, column) for column in columns)
    change(path, f"insert into imgsim_spaces select {values} from imgsim_spaces")


def renamed(database, table, key_of):
    """Makes `images` another table, with other keys: a dict of the old to the new ones."""
    with closing(sqlite3.connect(database)) as conn, conn:
        keys = {id: key_of(id) for (id,) in conn.execute("select id from images")}
        kind = "text" if isinstance(next(iter(keys.values())), str) else "integer"
        name = quoted(table)
        conn.execute(f'create table {name} ("the key" {kind} primary key, path text)')
        for id, key in keys.items():
            conn.execute(f"insert into {name} select ?, path from images where id = ?", [key, id])
        # From the last one on, so that no new key meets an old one.
        for id, key in sorted(keys.items(), reverse=True):
            for ours in ("imgsim_vectors", "imgsim_thumbnails"):
                conn.execute(f"update {ours} set image_key = ? where image_key = ?", [key, id])
        conn.execute("drop table images")
        conn.execute("update imgsim_spaces set source_key = 'the key'")
    set_source(database, table)
    return keys


def lay_out(path, places, placed="fitted"):
    """Puts images on the map of the default space: {id: (x, y)}; raises the generation."""
    with closing(sqlite3.connect(path)) as conn, conn:
        space = choose_space(conn)
        conn.executemany(
            "insert or replace into imgsim_atlas values (?, ?, ?, ?, ?)",
            [(space.id, id, x, y, placed) for id, (x, y) in places.items()],
        )
        raise_generation(conn, space)


def mapped_space(path, kind):
    """(path, its keys) of thirty images with keys of a kind in KEYS, which lie on a map."""
    keys = KEYS[kind]
    make_space(path, random_vectors(30), keys, key=kind.split(",")[0])
    lay_out(path, {key: (8 * n, 8 * n) for n, key in enumerate(keys)})
    return path, keys


def expected_scores(path, level_weights=None, name="toy"):
    """{id: {id: score}} in float64, straight from what is stored."""
    with closing(sqlite3.connect(path)) as conn:
        id, levels, dtype, centre, own = conn.execute(
            "select id, levels, dtype, centre, level_weights from imgsim_spaces where name = ?",
            [name],
        ).fetchone()
        rows = conn.execute(
            "select image_key, vector from imgsim_vectors where space_id = ?", [id]
        ).fetchall()
    dtype = {"float16": "<f2", "float32": "<f4"}[dtype]
    ids = [image for image, _ in rows]
    vectors = np.array([np.frombuffer(blob, dtype) for _, blob in rows]).astype(np.float64)
    if centre is not None:
        vectors -= np.frombuffer(centre, "<f4").astype(np.float64)
    weights = json.loads(own) if level_weights is None else level_weights
    total, start = 0, 0
    for level, dimensions in json.loads(levels).items():
        part = vectors[:, start : start + dimensions]
        part = part / np.linalg.norm(part, axis=1, keepdims=True)
        total = total + weights.get(level, 0) / sum(weights.values()) * (part @ part.T)
        start += dimensions
    return {a: dict(zip(ids, row)) for a, row in zip(ids, total.tolist())}


def answers(path, sql, *parameters):
    """The rows of a query in sqlite-utils; a single column comes as plain values."""
    with sqlite_utils.Database(path) as db:
        rows = db.execute(sql, parameters).fetchall()
    return [row[0] if len(row) == 1 else row for row in rows]


def answer(path, sql, *parameters):
    """The one value of a query in sqlite-utils."""
    return answers(path, sql, *parameters)[0]


def found(text):
    """The (id, score) pairs of what similar_to gives."""
    return [(row["id"], row["score"]) for row in json.loads(text)]


def found_ids(text):
    """The ids of what similar_to gives, best first."""
    return [id for id, _ in found(text)]


def group(database, id):
    """The folder a drawn picture came from."""
    return rows(database, "select path from images where id = ?", id)[0].split("/")[1]


def make_defensive(conn):
    """Sets SQLite's defensive mode (https://sqlite.org/c3ref/c_dbconfig_defensive.html)."""
    if hasattr(conn, "setconfig"):  # Python 3.12
        return conn.setconfig(DEFENSIVE, True)
    # CPython's object begins with the pointer to SQLite's own.
    handle = ctypes.c_void_p.from_address(id(conn) + object.__basicsize__)
    library = ctypes.CDLL(ctypes.util.find_library("sqlite3"))
    assert library.sqlite3_db_config(handle, DEFENSIVE, ctypes.c_int(1), None) == 0
