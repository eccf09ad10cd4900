"""Spaces are read into memory: in pieces, whole or reduced, without what is damaged."""

import sqlite3
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
from helpers.databases import (
    add_images,
    answer,
    answers,
    change,
    expected_scores,
    found,
    found_ids,
    make_space,
    random_vectors,
    space_of,
)
from helpers.loading import Told

from datasette_imgsim.errors import ImgsimError
from datasette_imgsim.limits import LIMITS
from datasette_imgsim.search import indexes, ranking

FEW_AT_A_TIME = 4 * 10 * 7  # seven vectors of ten numbers


@pytest.fixture
def path(tmp_path):
    """photos.db with one space of 20 images."""
    return make_space(tmp_path / "photos.db", random_vectors(20))


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
    change(path, "update imgsim_vectors set vector = ? where image_key in (3, 20)", damage)
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
    change(path, "update imgsim_vectors set norms = ? where image_key = 3", norms)
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
        assert vectors.row(conn, vectors.table.find(conn, id)) == row
        with pytest.raises(ImgsimError, match="not a BLOB"):
            vectors.table.find(conn, b"7")


def test_an_image_of_the_gallery_page_is_found_by_any_type(path, conn):
    vectors = indexes.load(conn, space_of(conn))
    rows = [vectors.row(conn, vectors.table.find(conn, id)) for id in (2, "2", 2.0, " 2 ")]
    assert rows == [1, 1, 1, 1]
    query = ranking.query_of_image(conn, vectors, 1, ranking.weights(vectors.space))
    with_itself = ranking.rank(conn, vectors, replace(query, ids=()), 20)
    assert dict(with_itself) == pytest.approx(expected_scores(path)[2], abs=1e-5)
    assert found(answer(path, "select similar_to(2, 19)")) == ranking.rank(conn, vectors, query, 19)
