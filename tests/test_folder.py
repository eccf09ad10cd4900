"""The column `folder` of `images`, and the order of its columns."""

import pytest
import sqlite_utils
from helpers.commands import embed_toy
from helpers.databases import change, rows
from helpers.pictures import draw
from helpers.serving import IS_1, serve


@pytest.mark.parametrize(
    "path, expected",
    [
        ("images/2020/a.jpg", "images/2020"),
        ("a.jpg", "."),
        ("D:/pictures/a.jpg", "D:/pictures"),
        ("aaa/aaa.aaa", "aaa"),
        ("ä ö/IMG (1).jpg", "ä ö"),
    ],
)
def test_it_is_what_stands_before_the_name(folder, path, expected):
    embed_toy(folder)
    change(folder / "photos.db", "update images set path = ? where id = 1", path)
    assert rows(folder / "photos.db", "select folder from images where id = 1") == [expected]


def test_it_follows_a_renamed_file(folder):
    embed_toy(folder)
    (folder / "images/2020").mkdir()
    (folder / "images/0.jpg").rename(folder / "images/2020/new.jpg")
    assert "1 renamed" in embed_toy(folder)
    assert sorted(rows(folder / "photos.db", "select folder from images")) == [
        "images",
        "images",
        "images/2020",
    ]


def test_what_people_look_at_stands_before_what_only_embed_needs(folder):
    embed_toy(folder)
    columns = rows(folder / "photos.db", "select name from pragma_table_xinfo('images')")
    assert columns[:5] == ["id", "path", "folder", "taken_at", "camera"]
    assert columns[-3:] == ["bytes", "mtime_ns", "sha256"]


def test_other_tools_may_write_rows_and_change_the_table(folder):
    embed_toy(folder)
    draw(folder / "images/3.jpg", "dots")
    with sqlite_utils.Database(folder / "photos.db") as db:
        db["images"].insert({"path": "images/3.jpg"})
        db["images"].transform(column_order=["path"])
    assert "1 embedded" in embed_toy(folder)
    assert rows(folder / "photos.db", "select count(*) from images where sha256 is null") == [0]


@pytest.mark.datasette
@pytest.mark.asyncio
async def test_datasette_shows_it_and_suggests_it_as_a_facet(photos):
    ds = serve(photos / "photos.db")
    extra = "&_extra=suggested_facets" if IS_1 else ""
    answer = (await ds.client.get(f"/photos/images.json?_size=1{extra}")).json()
    assert "folder" in [facet["name"] for facet in answer["suggested_facets"]]
    answer = await ds.client.get("/photos/images.json?_shape=array&folder=images/dots")
    assert len(answer.json()) == 6
