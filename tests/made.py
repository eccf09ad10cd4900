"""Databases with vectors made by hand, an independent account of scores, and ways to query."""

import json
import sqlite3
from contextlib import closing, contextmanager

import numpy as np
import sqlite_utils
from datasette.app import Datasette

from datasette_imgsim.db import schema
from datasette_imgsim.db.spaces import all_spaces, choose_space, raise_generation
from datasette_imgsim.db.tables import quoted
from datasette_imgsim.limits import LIMITS

LEVELS = {"pool4": 6, "pool5": 4}


def random_vectors(count, dimensions=10, seed=0):
    return np.abs(np.random.default_rng(seed).standard_normal((count, dimensions)))


def make_space(
    path, vectors, ids=None, *, levels=None, name="toy", table="images", key="integer primary key",
    dtype="float32", level_weights=None, centre=True,
):  # fmt: skip
    """Adds a source table and a space of raw (n, dimensions) level vectors, as `embed` would."""
    levels = levels or LEVELS
    with closing(sqlite3.connect(path)) as conn, conn:
        with sqlite_utils.Database(path) as db:
            schema.migrations.apply(db)
        name_sql = quoted(table)
        conn.execute(f"create table if not exists {name_sql} (id {key}, year integer)")
        conn.execute(
            """
            insert into imgsim_spaces (name, source_table, is_default, model, weights_sha256,
            levels, pooling, preprocess, dtype, precision, dimensions, level_weights, versions,
            created_at) values (?, ?, not exists (select 1 from imgsim_spaces where source_table
            = ?), 'toy', '0', ?, 'avg', '{}', ?, 'float32', ?, ?, '{}', datetime())
            """,
            [
                name,
                table,
                table,
                json.dumps(levels),
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
    (space,) = [space for space in all_spaces(conn) if space.name == name]
    return space


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
                "insert into imgsim_vectors (space_id, image_id, vector, norms) "
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


def reload_at_once(monkeypatch):
    monkeypatch.setattr(LIMITS, "seconds_between_reloads", 0)
    monkeypatch.setattr(LIMITS, "share_of_reloads", 1e9)


def newest_load(indexes, space):
    """The load of a space that began last; None where there was none yet."""
    return indexes.cache.newest_load(space.identity)


def loads_begun(indexes):
    return [entry.load for entry in indexes.cache.entries.values() if entry.load]


def values_held(cached):
    """What is in memory of the spaces or maps of a database."""
    entries = cached.cache.entries.values()
    return [entry.loaded[1] for entry in entries if entry.loaded is not None]


class Told:
    """A Progress that calls `tell` with the share that is done whenever some more is."""

    def __init__(self, tell):
        self.tell, self.done = tell, 0

    @contextmanager
    def __call__(self, total, unit="", what=None):
        def advance(count):
            self.done += count
            self.tell(self.done / total)

        yield advance


def stand_at(progress, share):
    """Makes it known that so much is done."""
    with progress(100) as advance:
        advance(round(100 * share))


def change(path, sql, *parameters):
    """Changes a database by hand, from another connection."""
    with closing(sqlite3.connect(path)) as conn, conn:
        conn.execute(sql, parameters)


def set_source(path, table):
    """Makes what was made of images that of another table, which has rows with their keys."""
    for name in ("imgsim_spaces", "imgsim_thumbnails"):
        change(path, f"update {name} set source_table = ?", table)


def expected_scores(path, level_weights=None, name="toy"):
    """{id: {id: score}} in float64, straight from what is stored."""
    with closing(sqlite3.connect(path)) as conn:
        id, levels, dtype, centre, own = conn.execute(
            "select id, levels, dtype, centre, level_weights from imgsim_spaces where name = ?",
            [name],
        ).fetchone()
        rows = conn.execute(
            "select image_id, vector from imgsim_vectors where space_id = ?", [id]
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
    return [id for id, _ in found(text)]


async def served(paths, **options):
    """A Datasette of these files that has started."""
    paths = [paths] if not isinstance(paths, list) else paths
    ds = Datasette([str(path) for path in paths], **options)
    await ds.invoke_startup()
    return ds


async def ask(ds, sql, database="photos", **parameters):
    """(status, JSON) of a query over HTTP."""
    response = await ds.client.get(
        f"/{database}.json",
        params={"sql": sql, "_shape": "arrays", **parameters},
        follow_redirects=True,
    )
    return response.status_code, response.json()


async def ask_one(ds, sql, database="photos", **parameters):
    """The one value of a query over HTTP."""
    status, body = await ask(ds, sql, database, **parameters)
    assert status == 200, body
    return body["rows"][0][0]


def lay_out(path, places, placed="fitted"):
    """Puts images on the map of the default space: {id: (x, y)}; raises the generation."""
    with closing(sqlite3.connect(path)) as conn, conn:
        space = choose_space(conn)
        conn.executemany(
            "insert or replace into imgsim_atlas values (?, ?, ?, ?, ?)",
            [(space.id, id, x, y, placed) for id, (x, y) in places.items()],
        )
        raise_generation(conn, space)
