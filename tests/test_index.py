import sqlite3
import threading
import time
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
from made import (
    Told,
    add_images,
    answer,
    answers,
    change,
    expected_scores,
    found,
    found_ids,
    loads_begun,
    make_space,
    newest_load,
    random_vectors,
    reload_at_once,
    space_of,
    stand_at,
    values_held,
)

from datasette_imgsim.errors import ImgsimError
from datasette_imgsim.limits import LIMITS
from datasette_imgsim.search import indexes, ranking
from datasette_imgsim.search.vectors import sample

FEW_AT_A_TIME = 4 * 10 * 7  # seven vectors of ten numbers


@pytest.fixture
def path(tmp_path):
    return make_space(tmp_path / "photos.db", random_vectors(20))


@pytest.fixture
def conn(path):
    with closing(sqlite3.connect(path)) as conn:
        yield conn


@pytest.fixture
def cache(path):
    return indexes.Indexes(lambda: sqlite3.connect(path, check_same_thread=False))


@pytest.fixture
def slow(monkeypatch):
    """Lets loads go on only when the event is set; gives it and the list of loads begun."""
    go, begun, load = threading.Event(), [], indexes.load

    def slow_load(conn, space, progress):
        begun.append(space)
        stand_at(progress, 0.4)
        assert go.wait(10)
        return load(conn, space, progress)

    monkeypatch.setattr(indexes, "load", slow_load)
    yield go, begun
    go.set()


def finish(cache, space):
    assert newest_load(cache, space).done.wait(10)


# Reading


def test_ids_come_in_ascending_order_with_vectors_of_unit_levels(tmp_path):
    ids = [30, -7, 2**62, 5]
    path = make_space(tmp_path / "a.db", random_vectors(4), ids)
    with closing(sqlite3.connect(path)) as conn:
        vectors = indexes.load(conn, space_of(conn))
    assert list(vectors.ids) == sorted(ids) and len(vectors) == 4
    assert vectors.matrix.dtype == np.float32
    for part in vectors.space.slices.values():
        np.testing.assert_allclose(np.linalg.norm(vectors.matrix[:, part], axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("key", ("integer primary key", "text primary key", "primary key"))
def test_pieces_join_without_a_seam(tmp_path, monkeypatch, key):
    ids = [f"{number:03}" for number in range(50)] if "integer" not in key else range(50)
    path = make_space(tmp_path / "a.db", random_vectors(50), ids, key=key)
    with closing(sqlite3.connect(path)) as conn:
        whole = indexes.load(conn, space_of(conn))
        monkeypatch.setattr(LIMITS, "bytes_a_read", FEW_AT_A_TIME)
        shares = []
        pieces = indexes.load(conn, space_of(conn), Told(shares.append))
    assert list(pieces.ids) == list(whole.ids) == list(ids)
    assert (pieces.matrix == whole.matrix).all()
    assert shares == [0.14, 0.28, 0.42, 0.56, 0.7, 0.84, 0.98, 1]


def test_a_vector_larger_than_a_piece_is_read(path, conn, monkeypatch):
    monkeypatch.setattr(LIMITS, "bytes_a_read", 1)
    assert len(indexes.load(conn, space_of(conn))) == 20


def test_an_empty_space_has_no_images(tmp_path):
    path = make_space(tmp_path / "a.db", np.empty((0, 10)))
    with closing(sqlite3.connect(path)) as conn:
        assert len(indexes.load(conn, space_of(conn))) == 0
    assert answer(path, "select similar_to(1)") == "[]"
    status = "The space 'toy' of the table 'images' is loaded: 0 images"
    assert answers(path, "select imgsim_status()") == [status]


@pytest.mark.parametrize(
    "damage",
    (
        b"",
        b"\0",
        bytes(39),
        bytes(44),
        "forty characters, as many as bytes......",
        np.array([1] * 9 + [np.nan], "<f4").tobytes(),
        np.array([1] * 9 + [-np.inf], "<f4").tobytes(),
        7,
    ),
)
def test_a_damaged_vector_does_not_take_the_others_down(path, damage):
    change(path, "update imgsim_vectors set vector = ? where image_id in (3, 20)", damage)
    assert set(found_ids(answer(path, "select similar_to(1, 99)"))) == {2, *range(4, 20)}
    assert answer(path, "select similar_to(3)") == "[]"
    assert answer(path, "select imgsim_score(3, 1)") is None
    assert answer(path, "select imgsim_distance(3, 1)") is None
    assert answer(path, "select imgsim_vector(3)") is None
    assert answer(path, "select imgsim_status()") == (
        "The space 'toy' of the table 'images' is loaded: 18 images; "
        "2 damaged vectors are left out, such as of 3 and 20"
    )


@pytest.mark.parametrize("norms", (b"", bytes(7), np.array([1, np.nan], "<f4").tobytes()))
def test_damaged_norms_cost_only_the_distance(path, norms):
    change(path, "update imgsim_vectors set norms = ? where image_id = 3", norms)
    assert answer(path, "select imgsim_distance(3, 1)") is None
    assert answer(path, "select imgsim_score(3, 1)") is not None


@pytest.mark.parametrize("centre", (bytes(36), np.array([1] * 9 + [np.nan], "<f4").tobytes()))
def test_a_damaged_centre_is_told(path, centre):
    change(path, "update imgsim_spaces set centre = ?", centre)
    status = "The space 'toy' cannot be loaded: its centre is damaged"
    assert answer(path, "select imgsim_status()") == status


def test_images_deleted_by_hand_are_not_loaded(path, conn):
    change(path, "delete from images where id in (1, 5)")
    assert list(indexes.load(conn, space_of(conn)).ids) == [2, 3, 4, *range(6, 21)]


def test_a_change_while_reading_starts_again(path, conn, monkeypatch):
    monkeypatch.setattr(LIMITS, "bytes_a_read", FEW_AT_A_TIME)
    new = iter([[random_vectors(2, seed=5), [100, 101]]])

    def progress(share):
        for vectors, ids in new:
            add_images(path, vectors, ids)

    vectors = indexes.load(conn, space_of(conn), Told(progress))
    assert list(vectors.ids) == [*range(1, 21), 100, 101]
    assert vectors.space.generation == space_of(conn).generation


def test_a_space_that_changes_all_the_time_is_read_in_one_transaction(tmp_path, monkeypatch):
    path = make_space(tmp_path / "a.db", random_vectors(20))
    with closing(sqlite3.connect(path)) as conn:
        conn.execute("pragma journal_mode = wal")
    monkeypatch.setattr(LIMITS, "bytes_a_read", FEW_AT_A_TIME)
    fresh = iter(range(1000, 2000))
    with closing(sqlite3.connect(path)) as conn:
        vectors = indexes.load(
            conn,
            space_of(conn),
            Told(lambda share: add_images(path, random_vectors(1), [next(fresh)])),
        )
        assert not conn.in_transaction
    added = vectors.ids[20:]
    assert vectors.space.generation == 2 + len(added) and added[0] == 1000


# Large spaces


@pytest.fixture
def reduced_only(monkeypatch):
    monkeypatch.setattr(LIMITS, "bytes_in_memory", 0)


def best_of(conn, vectors, id, k=20):
    query = ranking.query_of_image(conn, vectors, vectors.row(id), ranking.weights(vectors.space))
    return ranking.rank(conn, vectors, replace(query, ids=()), k)


def test_what_is_in_memory_depends_on_how_much_it_would_be(path, conn, monkeypatch):
    for in_memory, looked_at, whole, reduced in (
        (800, 800, True, False),
        (800, 799, True, True),
        (799, 800, False, True),
    ):
        monkeypatch.setattr(LIMITS, "bytes_in_memory", in_memory)
        monkeypatch.setattr(LIMITS, "bytes_scanned", looked_at)
        vectors = indexes.load(conn, space_of(conn))
        assert (hasattr(vectors, "matrix"), hasattr(vectors, "reduced")) == (whole, reduced)


def test_vectors_that_are_not_in_memory_are_read(path, conn, monkeypatch, reduced_only):
    large = indexes.load(conn, space_of(conn))
    monkeypatch.undo()
    whole = indexes.load(conn, space_of(conn))
    np.testing.assert_array_equal(large.vectors(conn, range(20)), whole.matrix)
    np.testing.assert_array_equal(large.vectors(conn, [7, 3, 7]), whole.matrix[[7, 3, 7]])
    np.testing.assert_array_equal(large.vector(conn, 4), whole.vector(conn, 4))


@pytest.mark.parametrize(
    "change_made",
    (
        "update imgsim_vectors set vector = (select vector from imgsim_vectors where image_id = 9)",
        "update imgsim_vectors set vector = zeroblob(40)",
        "update imgsim_vectors set vector = x'00'",
        "delete from imgsim_vectors",
        "delete from imgsim_spaces",
    ),
)
def test_what_was_written_since_is_not_mixed_in(path, conn, reduced_only, change_made):
    vectors = indexes.load(conn, space_of(conn))
    before, single = best_of(conn, vectors, 2), vectors.vector(conn, 2)
    where = "" if "spaces" in change_made else " where image_id in (2, 5, 7)"
    change(path, change_made + where)
    # So few numbers a level are not reduced at all: what is put in is what was there.
    after = best_of(conn, vectors, 2)
    assert [id for id, _ in after] == [id for id, _ in before]
    assert [score for _, score in after] == pytest.approx([score for _, score in before], abs=1e-5)
    np.testing.assert_allclose(vectors.vector(conn, 2), single, atol=1e-6)


def test_a_new_centre_is_not_mixed_in(path, conn, reduced_only):
    vectors = indexes.load(conn, space_of(conn))
    before = best_of(conn, vectors, 2)
    add_images(path, random_vectors(30, seed=3), range(100, 130))
    change(path, "update imgsim_spaces set centre = zeroblob(40)")
    assert best_of(conn, vectors, 2) == before


def test_a_large_space_with_nothing_usable(path, conn, reduced_only):
    change(path, "update imgsim_vectors set vector = x'00'")
    vectors = indexes.load(conn, space_of(conn))
    assert len(vectors) == 0 and len(vectors.damaged) == 20
    assert vectors.vectors(conn, []).shape == (0, 10)


@pytest.mark.parametrize(
    "sql",
    (
        "select similar_to(3, 7)",
        """select similar_to(3, 7, '{"plus": [4, 9], "minus": [1]}')""",
        """select similar_to(3, 7, '{"level_weights": {"pool5": 1}}')""",
        "select imgsim_score(3, 4)",
        """select imgsim_vector(3, '{"ranked": true}')""",
        "select imgsim_percentile(0.2)",
        "select imgsim_status()",
    ),
)
def test_a_large_space_answers_as_a_small_one(path, monkeypatch, sql):
    expected = answer(path, sql)
    monkeypatch.setattr(LIMITS, "bytes_in_memory", 0)
    assert answer(path, sql) == expected


def test_a_sample_is_spread_evenly(path, conn):
    space = space_of(conn)
    everything = sample(conn, space, None, 20, 10**9)
    assert everything.shape == (20, 10)
    np.testing.assert_array_equal(sample(conn, space, None, 6, 10**9), everything[3::4])
    assert sample(conn, space, None, 20, 4 * 10 * 5).shape == (5, 10)


@pytest.mark.parametrize(
    "key,ids,id,row",
    (
        ("integer primary key", [-3, 2, 2**60], "2", 1),
        ("integer primary key", [-3, 2, 2**60], 2.0, 1),
        ("integer primary key", [-3, 2, 2**60], 2**60, 2),
        ("integer primary key", [-3, 2, 2**60], 2**70, None),
        ("integer primary key", [-3, 2, 2**60], 5, None),
        ("integer primary key", [-3, 2, 2**60], "x", None),
        ("integer primary key", [-3, 2, 2**60], float("nan"), None),
        ("text primary key", ["2", "a", "é"], 2, 0),
        ("text primary key", ["2", "a", "é"], "é", 2),
        ("text primary key", ["2", "a", "é"], 2.0, None),
        ("primary key", [1, 7, "07", "7"], 7, 1),
        ("primary key", [1, 7, "07", "7"], "07", 2),
        ("primary key", [1, 7, "07", "7"], "7", 3),
        ("primary key", [1, 7], "7", 1),
        ("primary key", [1, 7], "07", None),
        ("numeric primary key", [1, 7], "7", 1),
        ("primary key", [1, 7], 7.5, None),
    ),
)
def test_images_are_found_by_their_keys(tmp_path, key, ids, id, row):
    path = make_space(tmp_path / "a.db", random_vectors(len(ids)), ids, key=key)
    with closing(sqlite3.connect(path)) as conn:
        vectors = indexes.load(conn, space_of(conn))
        assert list(vectors.ids) == ids
        assert vectors.row(vectors.table.find(conn, id)) == row
        with pytest.raises(ImgsimError, match="not a BLOB"):
            vectors.table.find(conn, b"7")


# The cache


def test_a_space_is_loaded_once(cache, conn):
    first = cache.get(conn, space_of(conn), wait=10)
    assert cache.get(conn, space_of(conn)) is first


def test_parallel_first_calls_make_one_load(path, cache, slow):
    go, begun = slow
    results = []

    def call():
        with closing(sqlite3.connect(path)) as conn:
            results.append(cache.get(conn, space_of(conn), wait=10))

    threads = [threading.Thread(target=call) for _ in range(20)]
    for thread in threads:
        thread.start()
    time.sleep(0.05)
    go.set()
    for thread in threads:
        thread.join()
    assert len(begun) == 1 and len(results) == 20 and len(set(map(id, results))) == 1


def test_a_slow_load_says_how_far_it_is(cache, conn, slow):
    start = time.monotonic()
    with pytest.raises(indexes.Loading, match="^The space 'toy' is loading, 40 %$"):
        cache.get(conn, space_of(conn), wait=0.1)
    assert 0.1 <= time.monotonic() - start < 1
    slow[0].set()
    assert len(cache.get(conn, space_of(conn), wait=10)) == 20


@pytest.mark.parametrize(
    "configured,names",
    [(None, ["third", "toy"]), ("second", ["second", "third"]), ("nope", ["third", "toy"])],
)
def test_warming_loads_what_is_used_by_default(path, cache, configured, names):
    make_space(path, random_vectors(4), name="second")
    make_space(path, random_vectors(4), name="third", table="others")
    cache.warm(configured)
    deadline = time.monotonic() + 10
    while len(values_held(cache)) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert sorted(held.space.name for held in values_held(cache)) == names


@pytest.mark.parametrize("make", (lambda path: None, lambda path: path.write_text("no database")))
def test_warming_a_database_without_vectors_is_quiet(tmp_path, make, recwarn):
    path = tmp_path / "other.db"
    make(path)
    cache = indexes.Indexes(lambda: sqlite3.connect(path, check_same_thread=False))
    cache._warm(cache.connect)
    assert not loads_begun(cache) and not recwarn.list


def test_the_old_one_answers_while_a_newer_is_loaded(path, cache, conn, monkeypatch, slow):
    slow[0].set()
    reload_at_once(monkeypatch)
    old = cache.get(conn, space_of(conn), wait=10)
    slow[0].clear()
    add_images(path, random_vectors(1), [99])
    assert cache.get(conn, space_of(conn)) is old
    slow[0].set()
    finish(cache, space_of(conn))
    assert list(cache.get(conn, space_of(conn)).ids) == [*old.ids, 99]


def test_there_is_one_reload_in_ten_seconds(path, cache, conn, monkeypatch, slow):
    slow[0].set()
    assert LIMITS.seconds_between_reloads == 10
    old = cache.get(conn, space_of(conn), wait=10)
    add_images(path, random_vectors(1), [99])
    for _ in range(5):
        assert cache.get(conn, space_of(conn)) is old
    assert len(slow[1]) == 1
    newest_load(cache, old.space).started -= 10
    for _ in range(5):
        cache.get(conn, space_of(conn))
    finish(cache, old.space)
    assert len(slow[1]) == 2 and 99 in cache.get(conn, space_of(conn)).ids


def test_a_long_load_is_not_begun_again_soon(path, cache, conn):
    old = cache.get(conn, space_of(conn), wait=10)
    load = newest_load(cache, old.space)
    load.seconds = 60
    load.started -= 60 + 4 * 60 - 5
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
    assert len(cache.get(conn, space, wait=10)) == 20


def test_a_reload_that_fails_leaves_the_old_one(path, cache, conn, monkeypatch):
    reload_at_once(monkeypatch)
    old = cache.get(conn, space_of(conn), wait=10)
    change(path, "update imgsim_spaces set centre = x'00', generation = generation + 1")
    assert cache.get(conn, space_of(conn)) is old
    finish(cache, old.space)
    assert cache.get(conn, space_of(conn)) is old


def test_a_dropped_space_is_let_go_by_the_next_load(path, cache, conn):
    first = space_of(conn)
    make_space(path, random_vectors(4), name="second")
    cache.get(conn, first, wait=10)
    change(path, "delete from imgsim_spaces where name = 'toy'")
    cache.get(conn, space_of(conn, "second"), wait=10)
    assert [held.space.name for held in values_held(cache)] == ["second"]


def test_a_replaced_file_is_another_space(path, tmp_path, cache, conn):
    old = cache.get(conn, space_of(conn), wait=10)
    new = make_space(tmp_path / "new.db", random_vectors(5, 3), levels={"pool3": 3}, name="toy")
    path.write_bytes(new.read_bytes())
    with closing(sqlite3.connect(path)) as conn:
        space = space_of(conn)
        assert (space.id, space.generation) == (old.space.id, old.space.generation)
        assert len(cache.get(conn, space, wait=10)) == 5


def test_a_space_that_is_gone_cannot_be_loaded(path, cache, conn):
    space = space_of(conn)
    change(path, "delete from imgsim_spaces")
    with pytest.raises(ImgsimError, match="cannot be loaded: it was removed, or the database file"):
        cache.get(conn, space, wait=10)


def test_an_image_of_the_gallery_page_is_found_by_any_type(path, conn):
    vectors = indexes.load(conn, space_of(conn))
    rows = [vectors.row(vectors.table.find(conn, id)) for id in (2, "2", 2.0, " 2 ")]
    assert rows == [1, 1, 1, 1]
    query = ranking.query_of_image(conn, vectors, 1, ranking.weights(vectors.space))
    with_itself = ranking.rank(conn, vectors, replace(query, ids=()), 20)
    assert dict(with_itself) == pytest.approx(expected_scores(path)[2], abs=1e-5)
    assert found(answer(path, "select similar_to(2, 19)")) == ranking.rank(conn, vectors, query, 19)
