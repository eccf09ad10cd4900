"""The spaces of a database in memory: when they are loaded, and loaded again."""

import sqlite3
import threading
import time
from contextlib import closing

import pytest
from helpers.databases import add_images, change, make_space, random_vectors, space_of
from helpers.loading import finish, loads_begun, newest_load, reload_at_once, values_held
from helpers.waiting import LONG, wait_until

from datasette_imgsim.errors import ImgsimError
from datasette_imgsim.limits import LIMITS
from datasette_imgsim.search import indexes


@pytest.fixture
def path(tmp_path):
    """photos.db with one space of 20 images."""
    return make_space(tmp_path / "photos.db", random_vectors(20))


def test_a_space_is_loaded_once(cache, conn):
    first = cache.get(conn, space_of(conn), wait=LONG)
    assert cache.get(conn, space_of(conn)) is first


def test_parallel_first_calls_make_one_load(path, cache, gate):
    results = []

    def call():
        with closing(sqlite3.connect(path)) as conn:
            results.append(cache.get(conn, space_of(conn), wait=LONG))

    threads = [threading.Thread(target=call) for _ in range(20)]
    for thread in threads:
        thread.start()
    wait_until(lambda: gate.begun)
    time.sleep(0.05)  # so that others come while it stands
    gate.set()
    for thread in threads:
        thread.join()
    assert len(gate.begun) == 1 and len(results) == 20 and len(set(map(id, results))) == 1


def test_a_slow_load_says_how_far_it_is(cache, conn, gate):
    start = time.monotonic()
    with pytest.raises(indexes.Loading, match="^The space 'toy' is loading, 40 %$"):
        cache.get(conn, space_of(conn), wait=0.1)
    # The load goes on for much longer.
    assert 0.1 <= time.monotonic() - start < LONG / 2
    gate.set()
    assert len(cache.get(conn, space_of(conn), wait=LONG)) == 20


@pytest.mark.parametrize(
    "configured,names",
    [(None, ["third", "toy"]), ("second", ["second", "third"]), ("nope", ["third", "toy"])],
)
def test_warming_loads_what_is_used_by_default(path, cache, configured, names):
    make_space(path, random_vectors(4), name="second")
    make_space(path, random_vectors(4), name="third", table="others")
    cache.warm(configured)
    wait_until(lambda: len(values_held(cache)) >= 2)
    assert sorted(held.space.name for held in values_held(cache)) == names


@pytest.mark.parametrize("make", (lambda path: None, lambda path: path.write_text("no database")))
def test_warming_a_database_without_vectors_is_quiet(tmp_path, make, recwarn):
    path = tmp_path / "other.db"
    make(path)
    cache = indexes.Indexes(lambda: sqlite3.connect(path, check_same_thread=False))
    cache._warm(cache.connect)
    assert not loads_begun(cache) and not recwarn.list


def test_the_old_one_answers_while_a_newer_is_loaded(path, cache, conn, monkeypatch, gate):
    gate.set()
    reload_at_once(monkeypatch)
    old = cache.get(conn, space_of(conn), wait=LONG)
    gate.clear()
    add_images(path, random_vectors(1), [99])
    assert cache.get(conn, space_of(conn)) is old
    gate.set()
    finish(cache, space_of(conn))
    assert list(cache.get(conn, space_of(conn)).ids) == [*old.ids, 99]


def test_there_is_one_reload_in_ten_seconds(path, cache, conn, monkeypatch, gate):
    gate.set()
    assert LIMITS.seconds_between_reloads == 10
    old = cache.get(conn, space_of(conn), wait=LONG)
    add_images(path, random_vectors(1), [99])
    for _ in range(5):
        assert cache.get(conn, space_of(conn)) is old
    assert len(gate.begun) == 1
    newest_load(cache, old.space).started -= 10
    for _ in range(5):
        cache.get(conn, space_of(conn))
    finish(cache, old.space)
    assert len(gate.begun) == 2 and 99 in cache.get(conn, space_of(conn)).ids


def test_a_long_load_is_not_begun_again_soon(path, cache, conn):
    old = cache.get(conn, space_of(conn), wait=LONG)
    load = newest_load(cache, old.space)
    load.seconds = 60
    load.started -= 60 + 4 * 60 - 50
    add_images(path, random_vectors(1), [99])
    cache.get(conn, space_of(conn))
    assert newest_load(cache, old.space) is load
    load.started -= 60
    cache.get(conn, space_of(conn))
    finish(cache, old.space)
    assert 99 in cache.get(conn, space_of(conn)).ids


def test_a_load_that_fails_is_told_and_tried_again(path, cache, conn, monkeypatch):
    change(path, "alter table images rename to elsewhere")
    space = space_of(conn)
    for _ in range(2):
        with pytest.raises(ImgsimError, match="'toy' cannot be loaded: The table 'images' is gone"):
            cache.get(conn, space)
    change(path, "alter table elsewhere rename to images")
    with pytest.raises(ImgsimError):
        cache.get(conn, space)
    reload_at_once(monkeypatch)
    assert len(cache.get(conn, space, wait=LONG)) == 20


def test_a_reload_that_fails_leaves_the_old_one(path, cache, conn, monkeypatch):
    reload_at_once(monkeypatch)
    old = cache.get(conn, space_of(conn), wait=LONG)
    change(path, "update imgsim_spaces set centre = x'00', generation = generation + 1")
    assert cache.get(conn, space_of(conn)) is old
    finish(cache, old.space)
    assert cache.get(conn, space_of(conn)) is old


def test_a_dropped_space_is_let_go_by_the_next_load(path, cache, conn):
    first = space_of(conn)
    make_space(path, random_vectors(4), name="second")
    cache.get(conn, first, wait=LONG)
    change(path, "delete from imgsim_spaces where name = 'toy'")
    cache.get(conn, space_of(conn, "second"), wait=LONG)
    assert [held.space.name for held in values_held(cache)] == ["second"]


def test_a_replaced_file_is_another_space(path, tmp_path, cache, conn):
    old = cache.get(conn, space_of(conn), wait=LONG)
    new = make_space(tmp_path / "new.db", random_vectors(5, 3), levels={"pool3": 3}, name="toy")
    path.write_bytes(new.read_bytes())
    with closing(sqlite3.connect(path)) as conn:
        space = space_of(conn)
        assert (space.id, space.generation) == (old.space.id, old.space.generation)
        assert len(cache.get(conn, space, wait=LONG)) == 5


def test_a_space_that_is_gone_cannot_be_loaded(path, cache, conn):
    space = space_of(conn)
    change(path, "delete from imgsim_spaces")
    with pytest.raises(ImgsimError, match="cannot be loaded: it was removed, or the database file"):
        cache.get(conn, space, wait=LONG)
