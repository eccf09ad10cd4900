"""Names of groups: the words of their rows, else what their pictures look like."""

import json
from collections import Counter

import numpy as np
import pytest
import sqlite_utils
from helpers.commands import imgsim
from helpers.databases import LEVELS_OF_KINDS, kinds_of_vectors, make_space, rows
from helpers.pictures import as_jpeg
from PIL import Image

from datasette_imgsim.explore.names import Texts, over_represented, words_of

EACH = 20


@pytest.fixture
def named(tmp_path):
    """A function that gives the names of three groups of twenty images.

    It takes a function of (the number of the group, that of the image in it) that gives columns of
    its row, and a function of the id that gives its thumbnail.
    """

    def names(row, thumbnail=None):
        path = tmp_path / "shop.db"
        vectors = kinds_of_vectors(0, 1, 2, each=EACH)
        make_space(path, vectors, levels=LEVELS_OF_KINDS, table="things")
        with sqlite_utils.Database(path) as db:
            for id in range(1, 1 + 3 * EACH):
                db["things"].update(id, row(*divmod(id - 1, EACH)), alter=True)
                if thumbnail:
                    record = {"source_table": "things", "image_key": id, "jpeg": thumbnail(id)}
                    db["imgsim_thumbnails"].insert(record)
        printed = json.loads(imgsim("groups", path, "--json"))
        assert len(printed["groups"]) == 3
        firsts = [1 + kind * EACH for kind in range(3)]
        sql = (
            "select name from imgsim_groups g join imgsim_group_members m on group_id = g.id "
            "where image_key = ?"
        )
        return [rows(path, sql, first)[0] for first in firsts]

    return names


ANIMALS = "cats", "dogs", "birds"
LONG = "It is one of the many pictures of the collection. "


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        # folders, and file names of cameras
        (lambda g, n: {"path": f"photos/2024/{ANIMALS[g]}/IMG_{n:04}.JPG"}, ANIMALS),
        (lambda g, n: {"path": f"DCIM\\100CANON\\{ANIMALS[g]}\\DSC0{n}.jpg"}, ANIMALS),
        (lambda g, n: {"path": f"C:/{ANIMALS[g]}_{n}.jpeg"}, ANIMALS),
        (lambda g, n: {"path": f"{n}{ANIMALS[g].upper()}{n}.png"}, ("CATS", "DOGS", "BIRDS")),
        # a phrase, and words in any order
        (
            lambda g, n: {"title": ("The red house", "The red car", "Grand piano, old")[g]},
            ("house", "car", "Grand piano"),
        ),
        (
            lambda g, n: {"title": LONG + f"Number {n} shows {ANIMALS[g]} and {n % 7}."},
            ANIMALS,
        ),
        (
            lambda g, n: {
                "caption": f"{('The', 'One')[n % 2]} of the {ANIMALS[g]} in {('the', 'a')[n % 2]} "
                f"{('house', 'garden', 'street', 'city')[(n + g) % 4]} with some other things"
            },
            ANIMALS,
        ),
        # two words, if none is in most rows
        (
            lambda g, n: {"tag": (("oak", "elm")[n % 2], "lake", "sea")[g]},
            ("elm, oak", "lake", "sea"),
        ),
        # any script
        (lambda g, n: {"title": ("кошки", "सूर्यास्त", "白い猫")[g]}, ("кошки", "सूर्यास्त", "白い猫")),
        (lambda g, n: {"title": ("cafe\u0301", "naïve", "Straße")[g]}, ("café", "naïve", "Straße")),
        # what is no word is passed over
        (
            lambda g, n: {
                "sha256": f"{(g + 1) * 7919 + n:064x}",
                "email": f"{ANIMALS[2 - g]}@example.org",
                "url": f"https://{ANIMALS[2 - g]}.example.org/{ANIMALS[2 - g]}?q=1",
                "code": f"a{g}b{g}c",
                "number": str(g),
                "empty": "",
                "kind": ANIMALS[g],
            },
            ANIMALS,
        ),
        (lambda g, n: {"photo": ANIMALS[2 - g].encode(), "kind": ANIMALS[g]}, ANIMALS),
        (lambda g, n: {"text": ANIMALS[g] + " x" * 5_000 + f" {ANIMALS[2 - g]}"}, ANIMALS),
        (lambda g, n: {"kind": ANIMALS[g] if n % 2 else None, "note": None}, ANIMALS),
    ],
)
def test_words_of_the_rows(named, row, expected):
    assert named(row) == list(expected)


def test_two_groups_of_one_name_are_told_apart_by_other_words(named):
    def row(group, n):
        place = ("sofa", "garden", None)[group] if n % 5 < 2 else None
        return {"kind": ("cats", "cats", "dogs")[group], "place": place}

    found = named(row)
    assert found[2] == "dogs" and "cats" in found
    assert {*found} & {"cats, sofa", "cats, garden"}


def test_without_other_words_by_their_looks(named):
    colours = ["red", "navy", "white"]

    def thumbnail(id):
        return as_jpeg(Image.new("RGB", (40, 30), colours[(id - 1) // EACH]))

    found = named(lambda g, n: {"kind": ("cats", "cats", "dogs")[g]}, thumbnail)
    assert found[2] == "dogs" and {*found[:2]} in (
        {"cats", "cats, red"},
        {"cats", "cats, dark blue"},
    )


def test_else_by_a_number(named):
    found = named(lambda g, n: {"kind": ("cats", "cats", "dogs")[g]})
    assert {*found} == {"cats", "cats 2", "dogs"}


def test_without_words_and_thumbnails(named):
    assert {*named(lambda g, n: {"number": g})} == {"group 1", "group 2", "group 3"}


@pytest.mark.parametrize(
    ("colour", "name"),
    [
        ("red", "red"),
        ("darkred", "dark red"),
        ("blue", "blue"),
        ("navy", "dark blue"),
        ("deepskyblue", "blue"),
        ("limegreen", "green"),
        ("darkgreen", "dark green"),
        ("gold", "yellow"),
        ("orange", "orange"),
        ("saddlebrown", "brown"),
        ("tan", "brown"),
        ("darkturquoise", "teal"),
        ("purple", "dark purple"),
        ("hotpink", "pink"),
        ("white", "black and white"),
        ("black", "black and white"),
    ],
)
def test_looks(named, colour, name):
    others = ["#888888", "#884444"]

    def thumbnail(id):
        return as_jpeg(Image.new("RGB", (40, 30), [colour, *others][(id - 1) // EACH]), quality=95)

    assert named(lambda g, n: {}, thumbnail)[0].removesuffix(" 2") == name


def test_shape(named):
    red = as_jpeg(Image.new("RGB", (30, 40), "red"))
    found = named(
        lambda g, n: {"width": (300, 400, 1600)[g], "height": (400, 300, 400)[g]}, lambda id: red
    )
    assert {*found} >= {"red"} and any(name in found for name in ("red, tall", "red, wide"))


def test_damaged_thumbnails(named):
    assert {*named(lambda g, n: {}, lambda id: b"no JPEG")} == {"group 1", "group 2", "group 3"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a/b c/Grand Canyon_01.JPG", [["Grand", "Canyon"]]),
        ("IMG_20240501_123456.jpg", []),
        ("DSC01234.JPG", []),
        ("P1010023.jpg", []),
        ("e3b0c44298fc1c149afbf4c8996fb924.png", []),
        ("3f2504e0-4f89-11d3-9a0c-0305e82c3301", []),
        ("mail me@example.org or see www.example.org/cats now", [["mail", "see", "now"]]),
        ("Paris, France", [["Paris"], ["France"]]),
        ("rock'n'roll", [["rock", "roll"]]),
        ("猫", [["猫"]]),
        ("TV in an old house", [["TV", "old", "house"]]),
        ("x", []),
        ("2024", []),
        ("n01440764", []),
        ("A" * 40, []),
    ],
)
def test_which_words_may_be_a_name(text, words):
    assert words_of(text) == words


def test_the_log_odds_ratio_is_that_of_the_paper():
    """Against a plain account of equations 16 to 22, for one word."""
    texts = Texts.of([[["cat"]]] * 6 + [[["other"]]] * 4, {("cat",), ("other",)})
    everywhere = Counter({("cat",): 8, ("other",): 32})
    found = over_represented(texts, everywhere, rows=40)
    prior = 10 * 8.5 / 41
    ratio = np.log((6 + prior) / (10 + 10 - 6 - prior)) - np.log(
        (2 + prior) / (30 + 10 - 2 - prior)
    )
    deviation = np.sqrt(1 / (6 + prior) + 1 / (2 + prior))
    assert found == {("cat",): pytest.approx(ratio - 1.96 * deviation)}
