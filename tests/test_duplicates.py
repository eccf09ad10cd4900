"""Duplicates: which images are one picture, which one to keep, and what people decide."""

import csv
import io
import json
import shutil

import pytest
import sqlite_utils
from helpers.commands import TOY, imgsim
from helpers.copies import CHANGES, embed, save, scene, written_on
from helpers.databases import change, rows
from helpers.pictures import as_jpeg
from PIL import Image, ImageOps

from datasette_imgsim import Collection
from datasette_imgsim.db.duplicates import Facts
from datasette_imgsim.errors import ImgsimError
from datasette_imgsim.explore.keeping import preference, why

pytestmark = pytest.mark.usefixtures("toy")


@pytest.fixture
def others(tmp_path):
    """A folder with twelve pictures in images/ of which no two are one."""
    for seed in range(12):
        save(scene(seed), tmp_path / f"images/other{seed}.jpg")
    return tmp_path


def found(database, *options):
    """The groups as (kind, the path to keep, {other path: how it differs})."""
    printed = json.loads(imgsim("duplicates", database, "--json", *options))
    return [
        (
            group["kind"],
            *(name(each["path"]) for each in group["images"] if each["id"] == group["keep"]),
            {name(each["path"]): each["differs"] for each in group["images"] if each["differs"]},
        )
        for group in printed["groups"]
    ]


def together(groups):
    return [{kept, *copies} for _, kept, copies in groups]


def name(path):
    return path.removeprefix("images/").removesuffix(".jpg")


def ids(database, *names):
    sql = "select id from images where path = ?"
    return [id for each in names for id in rows(database, sql, f"images/{each}.jpg")]


@pytest.mark.parametrize("differs", CHANGES)
def test_a_changed_copy_is_found(others, differs):
    save(scene(100), others / "images/a.jpg")
    save(CHANGES[differs](scene(100)), others / "images/copy.jpg", quality=70)
    assert found(embed(others)) == [("near", "a", {"copy": differs})]


def test_what_is_written_over_it_or_around_it_does_not_hide_a_copy(others):
    save(scene(100), others / "images/a.jpg", quality=95)
    save(written_on(scene(100)), others / "images/text.jpg", quality=60)
    save(ImageOps.expand(scene(100), 12, "black"), others / "images/border.jpg")
    ((kind, kept, copies),) = found(embed(others))
    assert (kind, kept) == ("near", "border")
    assert copies == {"a": "a part of it", "text": "a part of it"}


def test_pictures_that_are_only_alike_are_no_copies(others):
    red = scene(100)
    save(red, others / "images/red.jpg")
    save(Image.merge("RGB", red.split()[::-1]), others / "images/blue.jpg")
    assert found(embed(others)) == []


def test_equal_bytes_are_exact_and_only_the_one_to_keep_is_in_a_near_group(others):
    save(scene(100), others / "images/a.jpg")
    (others / "images/deep").mkdir()
    for copy in ("deep/a copy.jpg", "a copy.jpg"):
        shutil.copy2(others / "images/a.jpg", others / "images" / copy)
    save(scene(100).resize((120, 90)), others / "images/small.jpg")
    assert found(embed(others)) == [
        ("exact", "a", {"a copy": "the same bytes", "deep/a copy": "the same bytes"}),
        ("near", "a", {"small": "50 % of its size"}),
    ]


def shots(folder, *seconds, first=100):
    """Shots of one scene, each moved a little, with these seconds in their times."""
    for number, second in enumerate(seconds):
        image = scene(first).crop((4 * number, 3 * number, 220 + 4 * number, 165 + 3 * number))
        save(
            image, folder / f"images/shot{number}.jpg", f"2024:05:01 10:00:{second:02}", 90 - number
        )


def test_shots_of_one_moment_are_a_burst(others):
    shots(others, 0, 2, 5)
    expected = {"shot1": "2 s later", "shot2": "5 s later"}
    ((kind, kept, burst),) = found(embed(others))
    assert kind == "burst" and {kept, *burst} == {"shot0", *expected}
    assert kept == "shot0" and burst == expected


def test_shots_of_other_moments_are_not(others):
    shots(others, 0, 30)
    assert [kind for kind, _, _ in found(embed(others))] == ["near"]


def test_a_copy_that_lost_its_time_goes_with_its_shot(others):
    shots(others, 0, 2)
    copy = scene(100).crop((4, 3, 224, 168)).resize((110, 82))
    save(copy, others / "images/copy.jpg")
    assert found(embed(others)) == [
        ("near", "shot1", {"copy": "50 % of its size"}),
        ("burst", "shot0", {"shot1": "2 s later"}),
    ]


FACTS = Facts(1, "b.jpg", 400, 300, 5_000, None, None, 7, "x")


@pytest.mark.parametrize(
    ("others", "reason"),
    [
        ([{"width": 200}], "It has the most pixels (400 x 300)."),
        ([{"bytes": 4_000}], "It has the largest file (5,000 bytes)."),
        (
            [{"bytes": 4_000}, {"width": 200, "bytes": 9_000}],
            "Of those with the most pixels it has the largest file (5,000 bytes).",
        ),
        ([{"mtime_ns": 8}], "Its file is the oldest."),
        ([{"path": "a longer/b.jpg"}], "Its path is the shortest."),
        ([{"id": 2}], "Nothing tells them apart, and it came first."),
        ([{"width": None, "height": None, "bytes": None}], "It has the most pixels (400 x 300)."),
    ],
)
def test_why_one_is_kept(others, reason):
    candidates = [FACTS._replace(**{"id": 3, **other}) for other in others]
    kept, *rest = sorted([*candidates, FACTS], key=preference)
    assert kept == FACTS
    assert why(kept, rest) == reason


def test_one_that_knows_its_time_is_kept():
    knowing = FACTS._replace(taken_at="2024-05-01T10:00:00")
    assert why(knowing, [FACTS]) == "It knows best when and with what it was taken."


@pytest.fixture
def copied(others):
    """photos.db with a near group: a.jpg, half its size as b.jpg, a quarter as c.jpg."""
    for number, each in enumerate("abc"):
        image = scene(100)
        image = image.resize((240 >> number, 180 >> number))
        save(image, others / f"images/{each}.jpg")
    return embed(others)


@pytest.mark.parametrize("option", ["--not-same", "--settled"])
def test_what_was_decided_is_in_no_group_again(copied, option):
    assert found(copied) == [("near", "a", {"b": "50 % of its size", "c": "25 % of its size"})]
    printed = imgsim("duplicates", copied, *ids(copied, "a", "b"), option)
    assert printed.startswith("Remembered: 2 images are")
    assert together(found(copied)) in ([{"a", "c"}], [{"b", "c"}])
    save(scene(100).resize((160, 120)), copied.parent / "images/d.jpg")
    embed(copied.parent)
    groups = together(found(copied))
    assert set().union(*groups) >= {"c", "d"}
    assert not any({"a", "b"} <= group for group in groups)


def test_a_decision_is_about_pictures_not_about_names(copied):
    imgsim("duplicates", copied, *ids(copied, "a", "b", "c"), "--settled")
    assert found(copied) == []
    save(scene(100).resize((200, 150)), copied.parent / "images/b.jpg")
    embed(copied.parent)
    ((_, _, copies),) = found(copied)
    assert set(copies) == {"b"}
    assert rows(copied, "select count(*) from imgsim_verdicts") == [2]


def test_rows_that_were_deleted_by_hand_are_in_no_group(copied):
    assert len(found(copied)) == 1
    change(copied, "delete from images where path = 'images/c.jpg'")
    assert found(copied) == [("near", "a", {"b": "50 % of its size"})]
    change(copied, "delete from images where path = 'images/a.jpg'")
    # What is to be kept is gone: the groups are made anew once the space has changed.
    assert found(copied) in ([], [("near", "b", {})])


def test_paths_are_those_not_to_keep(copied, monkeypatch):
    monkeypatch.chdir(copied.parent)
    assert imgsim("duplicates", "photos.db", "--paths").split() == ["images/b.jpg", "images/c.jpg"]
    printed = imgsim("duplicates", "photos.db", "--paths", "-0")
    assert printed == "images/b.jpg\0images/c.jpg\0"
    assert imgsim("duplicates", "photos.db", "--paths", "--kind", "burst") == ""
    monkeypatch.chdir("/")
    first = imgsim("duplicates", copied, "--paths").splitlines()[0]
    assert first == str(copied.parent / "images/b.jpg")


def test_nothing_is_listed_where_the_one_to_keep_is_gone(copied):
    found(copied)
    (copied.parent / "images/a.jpg").unlink()
    printed = imgsim("duplicates", copied, "--paths")
    assert printed.startswith("1 group left out: the file to keep is not as it was")


def test_the_other_outputs(copied):
    text = imgsim("duplicates", copied)
    assert "near: 1 group; 2 images beside those to keep" in text
    assert "near 1: It has the most pixels (240 x 180)." in text
    lines = list(csv.DictReader(io.StringIO(imgsim("duplicates", copied, "--csv"))))
    assert [(each["path"], each["keep"], each["width"]) for each in lines] == [
        ("images/a.jpg", "1", "240"), ("images/b.jpg", "0", "120"), ("images/c.jpg", "0", "60")
    ]  # fmt: skip
    printed = json.loads(imgsim("duplicates", copied, "--json", "--kind", "exact"))
    assert printed["groups"] == []
    assert printed["counts"]["near"] == {"groups": 1, "others": 2}
    group = Collection(copied).duplicates(["near"]).groups[0]
    assert group.keep.facts.path == "images/a.jpg"


@pytest.mark.parametrize(
    "changed",
    [
        "generation = generation + 1",
        "duplicates = json_remove(duplicates, '$.rules')",  # found by an older version
        "duplicates = json_set(duplicates, '$.rules', 0)",
        "duplicates = 'damaged'",
    ],
)
def test_what_is_stored_is_read_again(copied, changed):
    found(copied)
    change(copied, "update imgsim_duplicates set note = 'as stored' where not keep")
    assert set(found(copied)[0][2].values()) == {"as stored"}
    change(copied, f"update imgsim_spaces set {changed}")
    assert set(found(copied)[0][2].values()) != {"as stored"}


def test_pictures_in_a_table(tmp_path):
    database = tmp_path / "shop.db"
    table = sqlite_utils.Database(database)["products"]
    pictures = [scene(seed) for seed in range(8)]
    pictures += [pictures[0], pictures[1].rotate(90, expand=True)]
    table.insert_all(
        ({"code": f"p{n}", "photo": as_jpeg(each, quality=90)} for n, each in enumerate(pictures)),
        pk="code",
    )
    imgsim("embed", database, "--table", "products", "--column", "photo", "--quiet", *TOY)
    printed = json.loads(imgsim("duplicates", database, "--json"))
    groups = [(g["kind"], g["keep"], {i["id"] for i in g["images"]}) for g in printed["groups"]]
    assert ("exact", "p0", {"p0", "p8"}) in groups
    assert {"p1", "p9"} in [members for _, _, members in groups]
    error = imgsim("duplicates", database, "--paths", exit_code=1)
    assert error == "Error: These images are not files: --csv and --json have their keys\n"


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["3"], "IDs go with --not-same, or with --settled"),
        (["--settled"], "IDs go with --not-same, or with --settled"),
        (["3", "4", "--settled", "--not-same"], "IDs go with --not-same, or with --settled"),
        (["-0"], "-0 is about --paths"),
        (["--kind", "far"], "Invalid value for '--kind'"),
    ],
)
def test_wrong_usage(copied, arguments, error):
    assert error in imgsim("duplicates", copied, *arguments, exit_code=2)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["3"], "Name two images or more, by their ids"),
        (["3", "3"], "Name two images or more, by their ids"),
        (["3", "99"], "There is no image '99' in the table 'images'"),
    ],
)
def test_unknown_images(copied, arguments, error):
    assert error in imgsim("duplicates", copied, *arguments, "--settled", exit_code=1)


def test_wrong_arguments_in_python(copied):
    with pytest.raises(ImgsimError, match="A kind of duplicates is one of exact, near and burst"):
        Collection(copied).duplicates(["far"])
    with pytest.raises(ImgsimError, match="A verdict is one of different and settled"):
        Collection(copied).decide([1, 2], "same")


def test_damaged_and_missing_thumbnails_are_in_no_near_group(copied):
    change(copied, "update imgsim_thumbnails set jpeg = x'ffd8' where image_key = 1")
    change(copied, "delete from imgsim_thumbnails where image_key = 2")
    assert imgsim("duplicates", copied, "--json")


def test_of_equal_files_those_that_were_decided_are_apart(others):
    for each in "abcd":
        save(scene(100), others / f"images/{each}.jpg")
    database = embed(others)
    assert together(found(database)) == [{"a", "b", "c", "d"}]
    for pair in ("ab", "ac", "ad"):
        imgsim("duplicates", database, *ids(database, *pair), "--not-same")
    assert together(found(database)) == [{"b", "c", "d"}]
