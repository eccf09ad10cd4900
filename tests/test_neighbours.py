"""The table of neighbours: what a search finds, kept up to date, and never half of it."""

import json
from contextlib import closing

import pytest
from helpers.commands import imgsim
from helpers.databases import (
    KEYS,
    add_images,
    answers,
    change,
    found,
    make_space,
    random_vectors,
    rows,
    space_of,
)
from helpers.serving import cookies, serve

from datasette_imgsim import Collection
from datasette_imgsim.db import replacing
from datasette_imgsim.db.connect import Writer, open_writer
from datasette_imgsim.db.images import forget_images
from datasette_imgsim.errors import ImgsimError
from datasette_imgsim.explore import blocks, nearest
from datasette_imgsim.explore.neighbours import ensure_neighbours
from datasette_imgsim.limits import LIMITS

COUNT, K = 120, 5
INSERT = replacing.Table.insert
COLUMNS = "space_id, image_key, rank, neighbour_key, score"


def vectors(seed=0):
    """Raw vectors (120, 10), among them copies: some in pairs, and one ten times."""
    made = random_vectors(COUNT, seed=seed)
    made[5], made[80] = made[40], made[41]
    made[50:60] = made[50]
    return made


@pytest.fixture(scope="module")
def made_once(tmp_path_factory):
    path = make_space(tmp_path_factory.mktemp("neighbours") / "photos.db", vectors())
    imgsim("neighbours", path, "-k", K)
    return path


@pytest.fixture
def path(made_once, tmp_path):
    """A database with neighbours."""
    (tmp_path / "photos.db").write_bytes(made_once.read_bytes())
    return tmp_path / "photos.db"


@pytest.fixture
def small_steps(monkeypatch):
    """All that is done in steps takes several of them."""
    monkeypatch.setattr(blocks, "ROWS_AT_ONCE", 16)
    monkeypatch.setattr(nearest, "BYTES_OF_PAIRS", 400)
    monkeypatch.setattr(nearest, "SCORES_AT_ONCE", 200)
    monkeypatch.setattr(LIMITS, "rows_of_neighbours", 150)


def stored(path, where="1"):
    sql = f"select {COLUMNS} from imgsim_neighbours where {where} order by 1, 2, 3"
    return rows(path, sql)


def lists(path):
    """{key: [(neighbour, score), …]} as stored."""
    lists = {}
    for _, key, rank, other, score in stored(path):
        lists.setdefault(key, []).append((other, score))
        assert rank == len(lists[key])
    return lists


def searched(path, k):
    """The same as a search finds it."""
    found_by_id = {
        id: found(text) for id, text in answers(path, "select id, similar_to(id, ?) from images", k)
    }
    return {id: hits for id, hits in found_by_id.items() if hits}


def unfinished(path):
    """Tables in which a run has begun to store neighbours."""
    return rows(path, "select name from sqlite_master where name like 'imgsim_neighbours_new%'")


def from_scratch(path):
    """What is stored if nothing was stored before."""
    copy = path.with_name("copy.db")
    copy.write_bytes(path.read_bytes())
    change(copy, "update imgsim_spaces set neighbours = null")
    imgsim("neighbours", copy, "-k", K)
    return stored(copy)


def test_they_are_what_a_search_finds(path, small_steps):
    assert lists(path) == searched(path, K)
    change(path, "update imgsim_spaces set neighbours = null")
    assert imgsim("neighbours", path, "-k", 7) == "Found the 7 nearest of each of 120 images.\n"
    assert lists(path) == searched(path, 7)


@pytest.mark.parametrize(
    "limits",
    [
        {"bytes_scanned": 0},
        {"bytes_in_memory": 0},
        {"compared_exactly": 0},
        {"compared_exactly": 0, "bytes_scanned": 0},
    ],
    ids=["with a reduction", "a reduction alone", "very many", "very many, with a reduction"],
)
def test_they_are_so_in_every_form_of_an_index(path, small_steps, monkeypatch, limits):
    for name, value in limits.items():
        monkeypatch.setattr(LIMITS, name, value)
    change(path, "update imgsim_spaces set neighbours = null")
    imgsim("neighbours", path, "-k", K)
    assert lists(path) == searched(path, K)
    add_images(path, random_vectors(4, seed=7), range(200, 204))
    imgsim("neighbours", path)
    assert lists(path) == searched(path, K)


@pytest.mark.parametrize("quick", [False, True])
def test_many_copies_and_products_with_few_digits(tmp_path, small_steps, monkeypatch, quick):
    if quick:
        pytest.importorskip("torch")
        monkeypatch.setattr(blocks, "QUICK_FROM", 0)
        monkeypatch.setattr(blocks.network, "has_bfloat16", lambda: True)
    made = vectors()
    made[::2] = made[50]
    path = make_space(tmp_path / "photos.db", made)
    imgsim("neighbours", path, "-k", K)
    assert lists(path) == searched(path, K)
    add_images(path, made[[50, 51, 51]], [130, 131, 140])
    imgsim("neighbours", path)
    assert lists(path) == searched(path, K)


@pytest.mark.parametrize("key", KEYS)
def test_keys_of_every_kind(tmp_path, key):
    keys = KEYS[key]
    path = make_space(tmp_path / "photos.db", random_vectors(30), keys, key=key.split(",")[0])
    imgsim("neighbours", path)
    assert lists(path) == searched(path, 20)
    joined = rows(
        path,
        "select images.id from imgsim_neighbours join images on images.id = neighbour_key "
        "where image_id = ? order by rank",
        str(keys[3]),
    )
    assert joined == [id for id, _ in searched(path, 20)[keys[3]]]


def forget(path, ids):
    with closing(open_writer(path)) as conn, conn.transaction():
        forget_images(conn, "images", ids)


def new_content(path):
    forget(path, [3, 41])
    add_images(path, random_vectors(2, seed=3), [3, 41])


CHANGES = {
    "new images": lambda path: add_images(path, random_vectors(4, seed=3), [130, 131, 140, 150]),
    "copies of one": lambda path: add_images(path, vectors()[[50, 50, 5]], [130, 131, 140]),
    "a row deleted": lambda path: change(path, "delete from images where id in (7, 51)"),
    "removed by a run": lambda path: forget(path, [7, 51]),
    "other content": new_content,
    "a vector changed by hand": lambda path: change(
        path,
        "update imgsim_vectors set vector = (select vector from imgsim_vectors "
        "where image_key = 9) where image_key = 20",
    ),
    "the map was made": lambda path: imgsim("map", path),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_where_few_change_only_what_that_changes_is_computed(path, small_steps, kind):
    CHANGES[kind](path)
    change(path, "update imgsim_spaces set generation = generation + 1")
    summary = Collection(path).neighbours()
    assert summary.k == K and summary.computed < summary.total / 4
    assert stored(path) == from_scratch(path)
    assert lists(path) == searched(path, K)
    assert Collection(path).neighbours().computed == 0


def test_many_changes_and_a_new_centre_begin_from_scratch(path):
    change(path, "update imgsim_spaces set centre = zeroblob(40), generation = generation + 1")
    assert imgsim("neighbours", path) == "Found the 5 nearest of each of 120 images.\n"
    assert stored(path) == from_scratch(path)


def test_what_is_printed(path):
    assert "No new images: the 5 nearest of each of 120 images are as they" in imgsim(
        "neighbours", path
    )
    add_images(path, random_vectors(2, seed=3), [130, 140])
    before = stored(path)
    printed = imgsim("neighbours", path)
    others = {row[1] for row in stored(path)} - {130, 140}
    joined = [id for id in others if {r for r in stored(path) if r[1] == id} - {*before}]
    assert printed == (
        f"Found the 5 nearest of 2 images among 122; new ones are now among those of "
        f"{len(joined)} others.\n"
    )


def test_fewer_more_and_as_many_as_before(path):
    imgsim("neighbours", path, "-k", 3)
    assert lists(path) == searched(path, 3)
    imgsim("neighbours", path, "-k", 8)
    assert lists(path) == searched(path, 8)
    imgsim("neighbours", path)
    assert len(lists(path)[1]) == 8


@pytest.mark.parametrize("count", [1, 2, 3, 6])
def test_few_images_have_as_many_as_there_are(tmp_path, count):
    path = make_space(tmp_path / "photos.db", random_vectors(count))
    printed = imgsim("neighbours", path)
    assert lists(path) == searched(path, 20)
    assert ("it has no neighbours" in printed) == (count == 1)
    with closing(open_writer(path)) as conn:
        neighbours = ensure_neighbours(conn, space_of(conn))
    assert neighbours.rows.shape == (count, 20)
    assert ((neighbours.rows >= 0).sum(axis=1) == count - 1).all()


def test_a_space_without_vectors_and_a_senseless_number(tmp_path, path):
    empty = make_space(tmp_path / "empty.db", random_vectors(0))
    assert "holds no vectors" in imgsim("neighbours", empty, exit_code=1)
    for k in (0, 1001):
        assert "1<=x<=1000" in imgsim("neighbours", path, "-k", k, exit_code=2)
        with pytest.raises(ImgsimError, match="k is a whole number from 1 to 1000"):
            Collection(path).neighbours(k)


def test_a_damaged_vector_is_left_out(path):
    change(path, "update imgsim_vectors set vector = x'00' where image_key = 9")
    change(path, "update imgsim_spaces set generation = generation + 1")
    assert "1 image left out: the vector is damaged." in imgsim("neighbours", path)
    assert 9 not in {key for row in stored(path) for key in (row[1], row[3])}
    assert stored(path) == from_scratch(path)


@pytest.mark.parametrize("text", ["7", "[]", '{"k": 5}', '{"generation": 2, "k": "5"}', "{"])
def test_damage_begins_from_scratch(path, text):
    before = stored(path)
    change(path, "update imgsim_spaces set neighbours = ?", text)
    change(
        path,
        "update imgsim_neighbours set neighbour_key = 'x', rank = rank + 70 where image_key < 9",
    )
    assert "each of 120 images" in imgsim("neighbours", path, "-k", K)
    assert stored(path) == before


def test_what_others_read_is_what_is_stored(path):
    with closing(open_writer(path)) as conn:
        neighbours = ensure_neighbours(conn, space_of(conn), 4)
    assert list(neighbours.keys) == list(range(1, COUNT + 1))
    for key, row, scores in zip(neighbours.keys, neighbours.rows, neighbours.scores):
        expected = lists(path)[key][:4]
        assert [neighbours.keys[place] for place in row] == [id for id, _ in expected]
        assert scores == pytest.approx([score for _, score in expected], abs=1e-6)
    assert json.loads(rows(path, "select neighbours from imgsim_spaces")[0])["k"] == K


class Ended(Exception):
    pass


def ended_after(monkeypatch, count, error=Ended):
    """A run ends after so many transactions have written something."""
    insert, calls = replacing.Table.insert, []

    def inner(*arguments):
        calls.append(1)
        if len(calls) > count:
            raise error
        insert(*arguments)

    monkeypatch.setattr(replacing.Table, "insert", inner)


def test_a_run_that_is_ended_leaves_the_old_ones(path, small_steps, monkeypatch):
    before = path.read_bytes(), stored(path)
    ended_after(monkeypatch, 3)
    with pytest.raises(Ended):
        Collection(path).neighbours(8)
    monkeypatch.undo()
    assert stored(path) == before[1]
    assert not unfinished(path)
    assert imgsim("neighbours", path).startswith("No new images: the 5 nearest")


def test_of_two_runs_at_once_the_later_one_is_stored(path, small_steps, monkeypatch):
    make_space(path, random_vectors(30, seed=5), name="other")
    copy = replacing._copy

    def after_another_run(*arguments):
        monkeypatch.setattr(replacing, "_copy", copy)
        for name in (None, "other"):
            Collection(path, space=name).neighbours(6)
        copy(*arguments)

    monkeypatch.setattr(replacing, "_copy", after_another_run)
    with pytest.raises(ImgsimError, match="^Another run has begun to store into imgsim_neighbours"):
        Collection(path).neighbours(8)
    assert not unfinished(path)
    assert len(stored(path, "space_id = 1")) == 6 * COUNT
    assert len(stored(path, "space_id = 2")) == 6 * 30


def test_what_an_ended_process_has_left_is_removed(path, small_steps):
    change(path, "create table imgsim_neighbours_new_0a1b (a)")
    imgsim("neighbours", path, "-k", 8)
    assert not unfinished(path)
    assert lists(path) == searched(path, 8)


def test_ctrl_c(path, small_steps, monkeypatch):
    before = stored(path)
    ended_after(monkeypatch, 3, KeyboardInterrupt)
    assert "Stopped; each list" in imgsim("neighbours", path, "-k", 8, exit_code=130)
    assert stored(path) == before
    add_images(path, random_vectors(1, seed=3), [130])
    monkeypatch.setattr(replacing.Table, "insert", INSERT)
    ended_after(monkeypatch, 1, KeyboardInterrupt)
    printed = imgsim("map", path, exit_code=130)
    assert "images laid out." in printed and "Stopped; each list" in printed


@pytest.mark.parametrize("transactions", [1, 2])
def test_a_run_goes_on_where_another_was_ended(path, small_steps, monkeypatch, transactions):
    add_images(path, random_vectors(20, seed=3), range(200, 220))
    forget(path, [7, 8])
    ended_after(monkeypatch, transactions)
    with pytest.raises(Ended):
        Collection(path).neighbours()
    monkeypatch.undo()
    imgsim("neighbours", path)
    assert stored(path) == from_scratch(path)


def test_readers_see_all_old_ones_or_all_new_ones(path, small_steps, monkeypatch):
    make_space(path, random_vectors(40, seed=5), name="other")
    imgsim("neighbours", path, "--space", "other")
    change(path, "create index mine on imgsim_neighbours (score)")
    change(path, "create view near as select image_id from imgsim_neighbours where rank = 1")
    seen, transaction = [], Writer.transaction

    def watched(conn):
        seen.append(stored(path))
        return transaction(conn)

    monkeypatch.setattr(Writer, "transaction", watched)
    Collection(path, "toy").neighbours(8)
    monkeypatch.undo()
    assert len(seen) > 10 and all(each == seen[0] for each in seen)
    assert len(stored(path, "space_id = 1")) == 8 * COUNT
    assert stored(path, "space_id = 2") == [row for row in seen[0] if row[0] == 2]
    assert "mine" in rows(path, "select name from sqlite_master")
    assert rows(path, "select count(*) from near") == [COUNT + 40]
    assert rows(path, "pragma integrity_check") == ["ok"]


def test_what_is_removed_goes_with_the_image_and_with_the_space(path):
    forget(path, [7])
    assert 7 not in lists(path)
    imgsim("drop", path, "toy")
    assert stored(path) == []


def test_the_map_brings_them_up_to_date(path):
    add_images(path, random_vectors(2, seed=3), [130, 140])
    imgsim("map", path)
    assert lists(path) == searched(path, K)
    assert imgsim("neighbours", path).startswith("No new images")


@pytest.mark.datasette
@pytest.mark.asyncio
async def test_who_may_not_view_the_images_may_not_view_them(path):
    tables = {"images": {"allow": {"id": "ann"}}}
    ds = serve(path, databases={"photos": {"tables": tables}})
    assert (await ds.client.get("/photos/imgsim_neighbours")).status_code == 403
    address = "/photos/imgsim_neighbours.json?_shape=objects&image_id=7&_sort=rank"
    page = await ds.client.get(address, cookies=cookies(ds, "ann"))
    shown = [(int(row["neighbour_id"]), row["score"]) for row in page.json()["rows"]]
    assert shown == lists(path)[7]
