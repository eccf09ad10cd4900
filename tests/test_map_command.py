"""`map`: what it writes, says and keeps; growth, refits, Ctrl-C and databases that are odd."""

import json
import re
import signal
import sqlite3
import sys
from contextlib import closing

import numpy as np
import pytest
from helpers.commands import at_a_terminal, imgsim
from helpers.databases import add_images, change, make_space, random_vectors, rows, space_of
from helpers.waiting import LONG

from datasette_imgsim.db.atlas import read_atlas, save_atlas
from datasette_imgsim.db.connect import Writer, open_reader, open_writer
from datasette_imgsim.limits import LIMITS

GROUPS, EACH = 5, 30
COUNT = GROUPS * EACH


def grouped(seed=0):
    """Raw vectors (150, 10) of five groups, one after the other."""
    centres = random_vectors(GROUPS, seed=9)
    return np.repeat(4 * centres, EACH, axis=0) + random_vectors(COUNT, seed=seed)


@pytest.fixture
def path(tmp_path):
    return make_space(tmp_path / "photos.db", grouped())


@pytest.fixture(scope="module")
def mapped_once(tmp_path_factory):
    path = make_space(tmp_path_factory.mktemp("mapped") / "photos.db", grouped())
    imgsim("map", path)
    return path


@pytest.fixture
def mapped(mapped_once, tmp_path):
    (tmp_path / "photos.db").write_bytes(mapped_once.read_bytes())
    return tmp_path / "photos.db"


def points(path, where="1"):
    columns = "space_id, image_key, x, y, placed"
    return rows(path, f"select {columns} from imgsim_atlas where {where} order by 1, 2")


def generation(path):
    return rows(path, "select generation from imgsim_spaces")


def atlas(path, name="toy"):
    with closing(open_reader(path)) as conn:
        return read_atlas(conn, space_of(conn, name))


def add(path, count, first=1000):
    """Adds images, the first ones of each group's kind."""
    add_images(path, grouped(seed=1)[:: COUNT // count][:count], range(first, first + count))


def test_groups_come_out_as_groups(mapped):
    ids, positions, fitted = atlas(mapped)
    assert ids == list(range(1, COUNT + 1)) and fitted.all()
    groups = np.arange(COUNT) // EACH
    apart = np.linalg.norm(positions[:, None] - positions, axis=2)
    nearest = np.argsort(apart, axis=1)[:, 1:6]
    assert (groups[nearest] == groups[:, None]).mean() > 0.9


def test_a_first_map_says_how_many_it_holds_and_tells_readers(path):
    (before,) = generation(path)
    said = "150 images laid out.\n5 groups of 148 images; 2 images in none.\n"
    assert imgsim("map", path) == said
    assert generation(path) == [before + 1]


def test_the_same_vectors_give_the_same_map(mapped, tmp_path_factory):
    other = make_space(tmp_path_factory.mktemp("other") / "photos.db", grouped())
    imgsim("map", other)
    assert points(other) == points(mapped)


def test_nothing_new_writes_nothing(mapped):
    before = mapped.read_bytes()
    assert "No new images: the map is as it was, 0 of 150 interpolated.\n" in imgsim("map", mapped)
    assert mapped.read_bytes() == before


@pytest.mark.parametrize(
    "stamp, later",
    [(0, 1), (-1, -1), (None, None), ("no JSON", "no JSON"), ("[]", "[]")],
)
def test_what_was_made_from_the_vectors_stays_up_to_date(mapped, stamp, later):
    """A stamp of this generation is raised with it; others stay as they are."""
    (now,) = generation(mapped)
    text, expected = (
        json.dumps({"generation": now + each, "k": 3}) if isinstance(each, int) else each
        for each in (stamp, later)
    )
    change(mapped, "update imgsim_spaces set duplicates = ?", text)
    imgsim("map", mapped, "--refit")
    (stored,) = rows(mapped, "select duplicates from imgsim_spaces")
    assert generation(mapped) == [now + 1]
    if isinstance(stamp, int):
        assert json.loads(stored) == json.loads(expected)
    else:
        assert stored == expected


def test_new_images_are_placed_and_nothing_else_moves(mapped):
    before, (raised,) = points(mapped), generation(mapped)
    add(mapped, 10)
    said = imgsim("map", mapped)
    assert said.startswith(
        f"10 images placed, 10 of 160 interpolated; 'datasette imgsim map {mapped} --refit' "
        "lays all of them out anew.\n"
    )
    assert points(mapped, "placed = 'fitted'") == before
    ids, positions, fitted = atlas(mapped)
    assert ids[COUNT:] == list(range(1000, 1010)) and not fitted[COUNT:].any()
    of_group = positions[:COUNT].reshape(GROUPS, EACH, 2)
    for place, group in zip(positions[COUNT:], np.arange(10) // 2):
        apart = np.linalg.norm(of_group - place, axis=2).min(axis=1)
        assert apart.argmin() == group
    assert generation(mapped) == [raised + 2]  # one for the images, one for their places
    assert "10 of 160 interpolated" in imgsim("map", mapped)


def test_the_command_that_lays_out_anew_can_be_copied(tmp_path):
    path = make_space(tmp_path / "my photos.db", grouped(), name="toy pool1 avg")
    imgsim("map", path)
    add_images(path, grouped(seed=1)[:10], range(1000, 1010), "toy pool1 avg")
    said = imgsim("map", path, "--space", "toy pool1 avg")
    assert f"datasette imgsim map '{path}' --space 'toy pool1 avg' --refit" in said


def test_later_images_are_placed_by_fitted_ones_alone(mapped):
    add(mapped, 10)
    imgsim("map", mapped)
    change(mapped, "update imgsim_atlas set x = 1, y = 1 where placed = 'interpolated'")
    add(mapped, 10, first=2000)
    imgsim("map", mapped)
    _, positions, _ = atlas(mapped)
    assert (np.linalg.norm(positions[-10:] - 1, axis=1) > 3).all()


def test_a_refit_lays_all_out_and_keeps_the_shape(mapped):
    add(mapped, 10)
    imgsim("map", mapped)
    _, before, _ = atlas(mapped)
    assert imgsim("map", mapped, "--refit").startswith("160 images laid out.\n")
    _, positions, fitted = atlas(mapped)
    assert fitted.all() and (positions != before).any()
    assert np.median(np.linalg.norm(positions - before, axis=1)) < 25


def test_points_of_images_that_are_gone_go(mapped):
    kept = points(mapped, "image_key not in (3, 7)")
    change(mapped, "delete from images where id in (3, 7)")
    assert 3 not in atlas(mapped)[0]
    assert "0 of 148 interpolated" in imgsim("map", mapped)
    assert points(mapped) == kept


def test_a_point_whose_image_has_no_vector_any_more_goes_too(mapped):
    change(mapped, "delete from imgsim_vectors where image_key = 3")
    change(mapped, "delete from images where id = 3")
    imgsim("map", mapped)
    assert points(mapped, "image_key = 3") == []


def test_a_map_all_of_whose_fitted_images_are_gone_is_laid_out_anew(mapped):
    add(mapped, 10)
    imgsim("map", mapped)
    change(mapped, "delete from images where id < 1000")
    assert imgsim("map", mapped).startswith("10 images laid out.\n")


@pytest.mark.parametrize("count", [1, 2, 3, 5, 30])
def test_few_images(tmp_path, count):
    path = make_space(tmp_path / "photos.db", random_vectors(count))
    imgsim("map", path)
    ids, positions, _ = atlas(path)
    assert len(ids) == count == len(np.unique(positions, axis=0))


def test_ids_that_are_text(tmp_path):
    names = ["7", "007", "ä b/c", "Z"]
    path = make_space(tmp_path / "photos.db", random_vectors(4), names, key="text primary key")
    imgsim("map", path)
    add_images(path, random_vectors(1, seed=3), ["new"])
    assert "1 image placed, 1 of 5 interpolated" in imgsim("map", path)
    assert atlas(path)[0] == sorted([*names, "new"])


def test_each_space_has_a_map_of_its_own(mapped):
    make_space(mapped, random_vectors(20, seed=5), name="other")
    before = points(mapped)
    imgsim("map", mapped, "--space", "other")
    assert points(mapped, "space_id = 1") == before
    add_images(mapped, random_vectors(2, seed=6), [500, 501], name="other")
    assert "--space other --refit" in imgsim("map", mapped, "--space", "other")
    assert len(atlas(mapped, "other")[0]) == 22


def test_levels_that_weigh_nothing_do_not_count(tmp_path):
    vectors = random_vectors(40)
    weights = {"pool4": 1, "pool5": 0}
    path = make_space(tmp_path / "a.db", vectors, level_weights=weights)
    other = make_space(
        tmp_path / "b.db",
        np.hstack([vectors[:, :6], random_vectors(40, 4, seed=8)]),
        level_weights=weights,
    )
    imgsim("map", path)
    imgsim("map", other)
    assert np.allclose(atlas(path)[1], atlas(other)[1])


def test_damaged_vectors_are_left_out(mapped):
    add(mapped, 3)
    change(mapped, "update imgsim_vectors set vector = x'00' where image_key = 1001")
    said = imgsim("map", mapped)
    assert "2 images placed, 2 of 152 interpolated" in said
    assert "1 image left out: the vector is damaged.\n" in said


def test_an_empty_space_is_a_sentence(tmp_path):
    path = make_space(tmp_path / "photos.db", np.empty((0, 10)))
    said = imgsim("map", path, exit_code=1)
    assert said == "Error: The space 'toy' holds no vectors: embed pictures first\n"


def test_what_is_missing_is_named(path, monkeypatch):
    monkeypatch.setitem(sys.modules, "openTSNE", None)
    said = imgsim("map", path, exit_code=1)
    assert said == "Error: This needs openTSNE: pip install 'datasette-imgsim[embed]'\n"
    assert points(path) == []


def test_a_reader_sees_one_map_or_the_other(mapped):
    _, before, _ = atlas(mapped)
    with closing(open_writer(mapped)) as conn:
        space, fitted = space_of(conn), np.ones(2, bool)
        with pytest.raises(sqlite3.IntegrityError):  # the last one lies outside
            save_atlas(conn, space, [1, 2], np.array([[0, 0], [0, 256]]), fitted, replace=True)
    assert (atlas(mapped)[1] == before).all()


@pytest.fixture
def many(monkeypatch):
    """Of more than 100 images t-SNE lays out 60, and a transaction writes 40 points."""
    for name, limit in (("most_laid_out", 100), ("laid_out_of_many", 60), ("rows_of_atlas", 40)):
        monkeypatch.setattr(LIMITS, name, limit)


def test_of_very_many_images_a_sample_is_laid_out(path, many):
    said = imgsim("map", path)
    assert said.startswith("150 images laid out: 60 by t-SNE, the others placed among them.\n")
    ids, positions, fitted = atlas(path)
    assert len(ids) == COUNT and fitted.sum() == 60
    groups = np.arange(COUNT) // EACH
    apart = np.linalg.norm(positions[:, None] - positions, axis=2)
    nearest = np.argsort(apart, axis=1)[:, 1:6]
    assert (groups[nearest] == groups[:, None]).mean() > 0.8
    # Nothing could be truer, so nothing is said of --refit.
    assert "the map is as it was, 90 of 150 interpolated.\n" in imgsim("map", path)
    add(path, 10)
    assert imgsim("map", path).startswith("10 images placed, 100 of 160 interpolated.\n")
    assert imgsim("map", path, "--refit").startswith("160 images laid out: 60 by t-SNE")


def test_a_map_of_a_few_that_grew_very_large_could_be_truer(tmp_path, monkeypatch, many):
    path = make_space(tmp_path / "photos.db", grouped()[:30])
    imgsim("map", path)
    add(path, 75)
    said = imgsim("map", path)
    assert "75 images placed, 75 of 105 interpolated; 'datasette imgsim map" in said


def test_a_large_map_leaves_other_maps_and_what_is_the_users_own(mapped, many):
    make_space(mapped, random_vectors(95, seed=5), name="other")
    imgsim("map", mapped, "--space", "other")
    other = points(mapped, "space_id = 2")
    own = [
        "create index by_x on imgsim_atlas (x)",
        "create view fitted as select space_id, x from imgsim_atlas where placed = 'fitted'",
        "create table log (id)",
        "create trigger logged after delete on imgsim_atlas begin "
        "insert into log values (old.image_key); end",
    ]
    for sql in own:
        change(mapped, sql)
    schema = "select name, tbl_name from sqlite_master where name not like 'sqlite_%' order by 1"
    before, raised = rows(mapped, schema), generation(mapped)
    imgsim("map", mapped, "--refit", "--space", "toy")
    assert rows(mapped, schema) == before
    assert points(mapped, "space_id = 2") == other
    assert len(points(mapped, "space_id = 1")) == COUNT
    assert rows(mapped, "select count(*) from fitted where space_id = 1") == [60]
    assert generation(mapped) == [raised[0] + 1, raised[1]]
    change(mapped, "delete from imgsim_atlas where image_key = 3 and space_id = 1")
    assert rows(mapped, "select id from log") == [3]
    assert rows(mapped, "pragma integrity_check") == ["ok"]
    # It is the table that it was.
    for wrong in ("256, 0, 'fitted'", "0, -1, 'fitted'", "0, 0, 'guessed'", "0, null, 'fitted'"):
        with pytest.raises(sqlite3.IntegrityError):
            change(mapped, f"insert into imgsim_atlas values (1, 3, {wrong})")
    with pytest.raises(sqlite3.IntegrityError):
        change(
            mapped,
            "insert into imgsim_atlas (space_id, image_key, x, y, placed) "
            "select space_id, image_key, x, y, placed from imgsim_atlas limit 1",
        )


def test_readers_see_one_large_map_or_the_other(mapped, many, monkeypatch):
    """A reader looks between all transactions of a writer, which changes another map meanwhile."""
    make_space(mapped, random_vectors(50, seed=5), name="other")
    imgsim("map", mapped, "--space", "other")
    ids = [id for id, *_ in points(mapped, "space_id = 1")] or list(range(1, COUNT + 1))
    seen, transaction = [], Writer.transaction

    def watched(conn):
        seen.append(rows(mapped, "select x from imgsim_atlas where space_id = 1"))
        if len(seen) == 7:  # all of the other map is copied by then
            change(mapped, "update imgsim_atlas set x = 9 where space_id = 2 and image_key = 1")
            change(mapped, "update imgsim_spaces set generation = generation + 1 where id = 2")
        return transaction(conn)

    before = rows(mapped, "select x from imgsim_atlas where space_id = 1")
    with closing(open_writer(mapped)) as conn:
        monkeypatch.setattr(Writer, "transaction", watched)
        places, fitted = np.full((len(ids), 2), 5.0), np.ones(len(ids), bool)
        save_atlas(conn, space_of(conn), ids, places, fitted, replace=True)
    assert len(seen) > 6 and all(xs == before for xs in seen)
    assert rows(mapped, "select distinct x from imgsim_atlas where space_id = 1") == [5]
    assert rows(mapped, "select x from imgsim_atlas where space_id = 2 and image_key = 1") == [9]
    assert len(points(mapped, "space_id = 2")) == 50


def test_a_large_map_that_cannot_be_stored_leaves_the_old_one(mapped, many):
    before = mapped.read_bytes()
    places = np.vstack([np.zeros((99, 2)), [[0, 256]]])  # the last one lies outside
    with closing(open_writer(mapped)) as conn:
        space = space_of(conn)
        with pytest.raises(sqlite3.IntegrityError):
            save_atlas(conn, space, range(1, 101), places, np.ones(100, bool), replace=True)
    assert not rows(mapped, "select name from sqlite_master where name like 'imgsim_atlas_new%'")
    change(mapped, "vacuum")
    assert points(mapped) and len(mapped.read_bytes()) <= len(before)


def test_ctrl_c_keeps_the_old_map_and_a_terminal_shows_progress(tmp_path):
    path = make_space(tmp_path / "photos.db", random_vectors(300))
    change(path, "insert into imgsim_atlas values (1, 1, 5, 6, 'fitted')")
    with at_a_terminal("map", path, "--refit", endless_map=True) as (process, shown):
        printed = shown(until="steps/s")
        assert "Finding neighbours" in printed
        while not re.search(r"\d steps/s", printed):  # it is on its way
            printed = shown(until="steps/s")
            assert printed, "the process ended"
        process.send_signal(signal.SIGINT)
        assert f"Stopped; the map in {path} is whole: the old one, or the new." in shown()
        assert process.wait(LONG) == 130
        assert process.stdout.read() == ""
    assert points(path) == [(1, 1, 5.0, 6.0, "fitted")]


def test_percentiles_stay_those_of_all_pairs(copy_photos):
    database = copy_photos / "photos.db"
    stored = "select json_extract(calibration, '$.generation') = generation from imgsim_spaces"
    assert rows(database, stored) == [1]
    imgsim("map", database)
    assert rows(database, stored) == [1]
