"""`groups`: what belongs together, covers, what stays as images come and go, odd databases."""

import json
from contextlib import closing

import numpy as np
import pytest
from helpers.commands import imgsim
from helpers.databases import (
    KEYS,
    add_images,
    change,
    expected_scores,
    make_space,
    random_vectors,
    rows,
)
from helpers.databases import (
    LEVELS_OF_KINDS as LEVELS,
)
from helpers.databases import (
    kinds_of_vectors as vectors,
)

from datasette_imgsim import Collection
from datasette_imgsim.db.connect import Writer, open_writer
from datasette_imgsim.db.groups import Group
from datasette_imgsim.db.images import forget_images
from datasette_imgsim.explore import communities
from datasette_imgsim.explore.groups import Grouped, _matched
from datasette_imgsim.limits import LIMITS

KINDS, EACH = 6, 30


def made(folder, *kinds, each=EACH):
    return make_space(folder / "photos.db", vectors(*kinds, each=each), levels=LEVELS)


@pytest.fixture(scope="module")
def grouped_once(tmp_path_factory):
    path = made(tmp_path_factory.mktemp("groups"), *range(KINDS))
    imgsim("groups", path)
    return path


@pytest.fixture
def path(grouped_once, tmp_path):
    """A database with six groups of thirty images, 1 to 30, 31 to 60 and so on."""
    (tmp_path / "photos.db").write_bytes(grouped_once.read_bytes())
    return tmp_path / "photos.db"


def groups(path, *options):
    return json.loads(imgsim("groups", path, "--json", *options))


def members(path):
    """{id of a group: the keys of its images}"""
    found = {}
    sql = "select group_id, image_key from imgsim_group_members order by space_id, 1, 2"
    for group, key in rows(path, sql):
        found.setdefault(group, []).append(key)
    return found


def stored(path):
    sql = "select id, space_id, name, images, cover_key from imgsim_groups order by id"
    return rows(path, sql), members(path)


def forget(path, keys):
    with closing(open_writer(path)) as conn, conn.transaction():
        forget_images(conn, "images", keys)


def test_images_that_are_alike_are_a_group(path):
    kinds = [range(1 + EACH * kind, 1 + EACH * (kind + 1)) for kind in range(KINDS)]
    assert sorted(members(path).values()) == [[*kind] for kind in kinds]


def test_what_belongs_nowhere_is_in_none():
    """An image whose neighbours are of three groups, and one with most of them in the first."""
    circle = np.arange(20)[:, None] + np.array([1, -1, 2, -2, 3, -3, 4, -4, 5, -5])
    rows = np.concatenate([circle % 20 + 20 * kind for kind in range(3)])
    between = [[1, 2, 3, 4, 21, 22, 23, 41, 42, 43], [1, 2, 3, 4, 5, 6, 22, 23, 41, 42]]
    rows = np.concatenate([rows, between]).astype(np.int32)
    of = communities.find(rows, communities.shared(rows))
    assert of.tolist() == [of[0]] * 20 + [of[20]] * 20 + [of[40]] * 20 + [-1, of[0]]
    assert {*of.tolist()} == {-1, 0, 1, 2}


def test_images_without_any_likeness_have_no_groups(tmp_path):
    path = make_space(tmp_path / "photos.db", random_vectors(300, 40), levels=LEVELS)
    assert imgsim("groups", path) == "No groups: 300 images belong nowhere.\n"


@pytest.mark.parametrize(
    ("kinds", "each", "expected"), [(2, 3, 0), (1, 11, 0), (2, 6, 2), (3, 8, 3), (5, 12, 5)]
)
def test_small_collections(tmp_path, kinds, each, expected):
    path = made(tmp_path, *range(kinds), each=each)
    assert len(groups(path)["groups"]) == expected


@pytest.mark.parametrize("count", [1, 2, 12, 60])
def test_copies_of_one_picture(tmp_path, count):
    path = make_space(tmp_path / "photos.db", np.ones((count, 10)))
    found = groups(path)
    assert sum(group["images"] for group in found["groups"]) + found["ungrouped"] == count


@pytest.mark.parametrize(("count", "range_"), [(30, (2, 5)), (1_000, (12, 30)), (9_000, (12, 60))])
def test_how_many_groups_are_wanted(count, range_):
    assert (communities.fewest_groups(count), communities.most_groups(count)) == range_


def test_there_are_at_most_sixty(tmp_path):
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((150, 40))
    made_of = np.repeat(6 * centres, 20, axis=0) + rng.standard_normal((3_000, 40))
    path = make_space(tmp_path / "photos.db", made_of, levels=LEVELS)
    assert 12 <= len(groups(path)["groups"]) <= communities.most_groups(3_000)


def test_the_cover_is_most_like_the_others_of_its_group(path):
    scores = expected_scores(path)
    for id, cover in rows(path, "select id, cover_key from imgsim_groups"):
        keys = members(path)[id]
        mean = {key: np.mean([scores[key][other] for other in keys]) for key in keys}
        assert mean[cover] > max(mean.values()) - 1e-6


def test_a_second_run_writes_nothing(path):
    before = path.read_bytes()
    first, second = imgsim("groups", path), imgsim("groups", path)
    assert first == second
    assert path.read_bytes() == before


def test_what_is_printed(path):
    change(path, "alter table images add path text")
    change(path, "update images set path = 'photos/' || id || '.jpg'")
    change(path, "update imgsim_groups set name = 'cats', cover_key = 3 where id = 1")
    lines = imgsim("groups", path).splitlines()
    assert lines[0] == "6 groups of 180 images."
    assert lines[1].split() == ["30", "cats", "photos/3.jpg"]
    assert len(lines) == 7
    found = groups(path)
    assert found.keys() == {"ok", "space", "groups", "ungrouped"}
    assert (found["ok"], found["space"], found["ungrouped"]) == (True, "toy", 0)
    assert found["groups"][0] == {"id": 1, "name": "cats", "images": 30, "cover": 3}


def test_in_python(path):
    found = Collection(path).groups()
    assert (found.space, found.ungrouped) == ("toy", 0)
    assert [group.images for group in found.groups] == [EACH] * KINDS
    assert found.covers[found.groups[0].cover] == "2000"  # the label of these rows is their year


def test_the_map_makes_them_too(tmp_path):
    path = made(tmp_path, *range(KINDS))
    assert imgsim("map", path).endswith("6 groups of 180 images.\n")
    assert [*map(len, members(path).values())] == [EACH] * KINDS


def test_of_very_many_images_the_map_makes_none(tmp_path, monkeypatch):
    path = made(tmp_path, *range(KINDS))
    monkeypatch.setattr(LIMITS, "compared_exactly", 100)
    assert "groups" not in imgsim("map", path)
    assert len(groups(path)["groups"]) == KINDS


# Images come and go


def test_new_images_join_and_nothing_else_changes(path):
    before, of = stored(path)
    add_images(path, vectors(1, each=5, seed=3), range(1000, 1005))
    groups(path)
    after, now = stored(path)
    (joined,) = [id for id in of if of[id] != now[id]]
    assert now[joined] == [*of[joined], *range(1000, 1005)] and 31 in now[joined]
    unchanged = [(id, space, name, cover) for id, space, name, _, cover in before]
    assert [(id, space, name, cover) for id, space, name, _, cover in after] == unchanged


def test_new_images_of_another_kind_are_a_new_group(path):
    before, of = stored(path)
    add_images(path, vectors(8, each=12, seed=3), range(1000, 1012))
    groups(path)
    after, now = stored(path)
    assert after[:KINDS] == before and len(after) == KINDS + 1
    assert now.pop(after[-1][0]) == [*range(1000, 1012)]
    assert now == of


def test_images_that_are_gone_leave_and_a_cover_among_them_is_replaced(path):
    id, cover = rows(path, "select id, cover_key from imgsim_groups")[0]
    change(path, "delete from images where id = ?", cover)
    keys = [key for key in members(path)[id] if key != cover]
    (shown,) = [group for group in groups(path)["groups"] if group["id"] == id]
    assert (shown["images"], shown["cover"]) == (EACH - 1, keys[0])
    forget(path, [keys[1]])  # a run of embed raises the generation
    (kept,) = [group for group in groups(path)["groups"] if group["id"] == id]
    assert kept["images"] == EACH - 2 and kept["cover"] in keys[2:] + keys[:1]
    assert members(path)[id] == [keys[0], *keys[2:]]


def test_a_group_all_of_whose_images_are_gone_goes(path):
    forget(path, range(1, 1 + EACH))
    assert len(groups(path)["groups"]) == KINDS - 1
    assert len(stored(path)[0]) == KINDS - 1


def test_other_rules_make_them_anew_with_their_ids_and_names(path):
    change(path, "update imgsim_groups set name = 'kind ' || id")
    change(path, "update imgsim_spaces set groups = json_set(groups, '$.rules', 0)")
    change(path, "delete from imgsim_group_members where image_key % 3 = 0")
    before, _ = stored(path)
    groups(path)
    after, now = stored(path)
    assert [(id, name) for id, _, name, _, _ in after] == [
        (id, name) for id, _, name, _, _ in before
    ]
    assert [*map(len, now.values())] == [EACH] * KINDS


def test_a_space_that_has_grown_much_is_grouped_anew(path):
    names = [name for _, _, name, _, _ in stored(path)[0]]
    add_images(path, vectors(*range(12), each=20, seed=4), range(1000, 1240))
    found = groups(path)["groups"]
    assert 6 < len(found) <= 12
    assert {group["name"] for group in found} >= {*names}
    assert len({group["name"] for group in found}) == len(found)


@pytest.mark.parametrize(
    ("old", "new", "ids"),
    [
        ("aaaabbbb", "aaaabbbb", [1, 2]),
        ("aaaaaaaa", "aaaaabbb", [1, None]),  # it splits: the larger part
        ("aaaabbbb", "aaaaaaab", [1, None]),
        ("aabbbbbb", "aaaaaaaa", [2]),  # they are one now
        ("abcdefgh", "aaaaaaaa", [None]),
        ("--------", "aaaabbbb", [None, None]),
        ("aaaabbbb", "bbbbaaaa", [1, 2]),
        ("aaaabb--", "-aaaaabb", [1, None]),
    ],
)
def test_which_group_is_which_older_one(old, new, ids):
    def numbers(letters):
        names = sorted({*letters} - {"-"}, key=letters.index)
        return np.array([names.index(each) if each != "-" else -1 for each in letters])

    before = numbers(old)
    olders = [Group(n, str(n), n, 1) for n in range(1, before.max() + 2)]
    after = _matched(Grouped(before, olders), numbers(new))
    assert [group and group.id for group in after.groups] == ids


# Odd databases


@pytest.mark.parametrize("kind", KEYS)
def test_keys_of_all_kinds(tmp_path, kind):
    keys = KEYS[kind]
    path = make_space(
        tmp_path / "photos.db", vectors(0, 1, 2, each=10), keys,
        levels=LEVELS, key=kind.split(",")[0],
    )  # fmt: skip
    found = groups(path)
    assert len(found["groups"]) == 3
    in_groups = [key for each in members(path).values() for key in each]
    assert sorted(in_groups, key=str) == sorted(keys, key=str)
    assert all(group["cover"] in keys for group in found["groups"])


def test_other_spaces_keep_theirs(path):
    before, of = stored(path)
    make_space(path, vectors(0, 1, 2, each=20), levels=LEVELS, name="other")
    assert len(groups(path, "--space", "other")["groups"]) == 3
    after, now = stored(path)
    assert after[:KINDS] == before and len(after) == KINDS + 3
    assert {id: keys for id, keys in now.items() if id in of} == of
    imgsim("drop", path, "other")
    assert stored(path) == (before, of)


def test_neighbours_stay_as_many_as_they_were(path):
    imgsim("neighbours", path, "-k", 5)
    change(path, "update imgsim_spaces set groups = null")
    assert len(groups(path)["groups"]) == KINDS
    assert rows(path, "select max(rank) from imgsim_neighbours") == [5]


@pytest.mark.parametrize(
    "damage",
    [
        "update imgsim_spaces set groups = 'x'",
        "update imgsim_spaces set groups = null",
        "update imgsim_spaces set groups = '{\"generation\": -1}'",
        "update imgsim_spaces set groups = null; update imgsim_groups set name = x'ff'",
        "update imgsim_spaces set groups = null; update imgsim_groups set cover_key = x'ff'",
        "update imgsim_spaces set groups = null; delete from imgsim_groups where id < 4",
        "update imgsim_spaces set groups = null; update imgsim_group_members set group_id = 1",
        "update imgsim_spaces set groups = null; delete from imgsim_group_members",
    ],
)
def test_what_is_damaged_is_mended(path, damage):
    for sql in damage.split("; "):
        change(path, sql)
    found = groups(path)["groups"]
    assert [group["images"] for group in found] == [EACH] * KINDS
    assert all(group["cover"] in members(path)[group["id"]] for group in found)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--space", "none"], "No space 'none': there is toy"),
        (["--table", "none"], "There are no vectors for the table 'none' yet"),
    ],
)
def test_errors(path, arguments, error):
    assert imgsim("groups", path, *arguments, exit_code=1).startswith(f"Error: {error}")


def test_a_space_without_vectors(tmp_path):
    path = make_space(tmp_path / "photos.db", np.zeros((0, 10)))
    printed = imgsim("groups", path, exit_code=1)
    assert printed == "Error: The space 'toy' holds no vectors: embed pictures first\n"


@pytest.mark.parametrize("module", ["communities.shared", "names.looks_of"])
def test_ctrl_c_leaves_them_as_they_were(path, monkeypatch, module):
    def pressed(*arguments):
        raise KeyboardInterrupt

    before = stored(path)
    add_images(path, vectors(8, each=12, seed=3), range(1000, 1012))
    monkeypatch.setattr(f"datasette_imgsim.explore.{module}", pressed)
    printed = imgsim("groups", path, exit_code=130)
    assert printed == f"Stopped; the groups in {path} are as they were.\n"
    assert stored(path) == before


def test_readers_see_old_ones_or_new_ones(path, monkeypatch):
    """Where they are too many for one transaction."""
    add_images(path, vectors(8, each=12, seed=3), range(1000, 1012))
    monkeypatch.setattr("datasette_imgsim.db.groups.ROWS_A_TRANSACTION", 50)
    seen, transaction = [], Writer.transaction

    def watched(conn):
        seen.append(stored(path))
        return transaction(conn)

    monkeypatch.setattr(Writer, "transaction", watched)
    groups(path)
    assert len(seen) > 4 and all(each == seen[0] for each in seen)
    assert (len(seen[0][0]), len(stored(path)[0])) == (KINDS, KINDS + 1)


def test_verify_tells_of_damaged_ones(path):
    def problems():
        lines = imgsim("verify", path, exit_code=1).splitlines()
        return [line for line in lines if "imgsim_group" in line]

    assert problems() == []
    change(path, "delete from imgsim_groups where id = 1")
    change(path, "delete from imgsim_group_members where group_id = 2")
    of_members, of_groups = problems()
    assert "imgsim_group_members has 30 images of groups that are gone" in of_members
    assert "imgsim_groups has 1 groups without images" in of_groups
    change(path, of_members.split('"')[1])
    groups(path)
    assert problems() == []
