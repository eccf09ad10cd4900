"""What images are called, and what a cell shows beside its thumbnail."""

import json
import re

import pytest
from datasette import hookimpl
from datasette.plugins import pm
from helpers.commands import imgsim
from helpers.databases import change, rows, set_source
from helpers.serving import GALLERY, cookies, gallery_of, ready, serve
from markupsafe import Markup

from datasette_imgsim.db.tables import told_apart
from datasette_imgsim.limits import LIMITS

pytestmark = pytest.mark.datasette

# A table (its columns, the values of a row), and the column that names its rows everywhere.
TABLES = {
    "the other column": ("id integer primary key, code text", "id, 'c' || id", "code"),
    "the other column, a number": ("id integer primary key, n int", "id, 100 + id", "n"),
    "name before text": ("id integer primary key, a text, Name int", "id, 'a', 100 + id", "Name"),
    "title": ("id integer primary key, a text, title text", "id, 'a', 't' || id", "title"),
    "varchar": ("id integer primary key, b blob, a varchar(9)", "id, x'00', 'a' || id", "a"),
    "the first text": ("id integer primary key, a text, b text", "id, 'a' || id, 'b'", "a"),
    "a key called name": ("name integer primary key, a text", "id, 'a' || id", "a"),
}


def labelled(folder, label, table="images", **tables):
    """A Datasette whose source table has this label column."""
    tables = {table: {"label_column": label}, **tables}
    return serve(folder / "photos.db", databases={"photos": {"tables": tables}})


def titled(folder, title, kind="text"):
    """Gives each image a title, an SQL expression."""
    change(folder / "photos.db", f"alter table images add column title {kind}")
    change(folder / "photos.db", f"update images set title = {title}")


@pytest.fixture
def own(copy_photos):
    """The images in a table `pictures` of the user's own; which column they are in is unknown."""

    def made(label, title=None, kind="text", **tables):
        if title:
            titled(copy_photos, title, kind)
        change(copy_photos / "photos.db", "alter table images rename to pictures")
        set_source(copy_photos / "photos.db", "pictures")
        return labelled(copy_photos, label, "pictures", **tables)

    return made


async def names(ds, gallery=GALLERY):
    """The names of all images, as the gallery shows them."""
    html = (await ds.client.get(gallery)).text
    return re.findall('class="imgsim-name" aria-hidden="true">([^<]*)', html)


async def cell(ds, id=3, path="/photos/pictures"):
    """What a table page has in the cell with the thumbnail of an image, after it."""
    html = (await ds.client.get(path)).text
    return html.split(f'/thumbnail/{id}.jpg" alt="Similar')[1].split("</a>", 1)[1].split("</td>")[0]


@pytest.mark.asyncio
async def test_the_label_column_of_datasette_is_used(copy_photos):
    titled(copy_photos, "'Picture ' || id")
    ds = labelled(copy_photos, "title")
    assert await names(ds) == [f"Picture {id}" for id in range(1, 25)]
    assert "Similar to Picture 3" in (await ds.client.get(f"{GALLERY}/similar/3")).text
    assert "alike to Picture 3<" in (await ds.client.get("/photos/images?_similar_to=3")).text


@pytest.mark.asyncio
@pytest.mark.parametrize("label", ["nope", "id"])
async def test_a_label_column_that_cannot_be_used_is_none(copy_photos, label):
    paths = rows(copy_photos / "photos.db", "select path from images order by id")
    found = await names(labelled(copy_photos, label))
    # Each of four folders has a 0.jpg.
    assert found == [path.removeprefix("images/") for path in paths]


@pytest.mark.parametrize(
    "paths, expected",
    [
        (["a/1.jpg", "a/2.jpg"], ["1.jpg", "2.jpg"]),
        (["x/2019/1.jpg", "x/2020/1.jpg", "x/2.jpg"], ["2019/1.jpg", "2020/1.jpg", "2.jpg"]),
        (["a/x/1.jpg", "b/x/1.jpg", "b/y/1.jpg"], ["a/x/1.jpg", "b/x/1.jpg", "y/1.jpg"]),
        (["1.jpg", "a/1.jpg", "b/a/1.jpg"], ["1.jpg", "a/1.jpg", "b/a/1.jpg"]),
        (["a/1.jpg", "a/1.jpg"], ["1.jpg", "1.jpg"]),  # a table of the user's own
        (["", "/"], ["", ""]),
    ],
)
def test_equal_names_are_told_apart_by_as_few_folders_as_do(paths, expected):
    assert list(told_apart(dict(enumerate(paths))).values()) == expected


@pytest.mark.asyncio
async def test_a_query_is_told_apart_from_its_results(photos):
    ds = await ready(serve(photos / "photos.db"))
    html = (await ds.client.get(f"{GALLERY}/similar/1?_size=1")).text
    assert "<h1>Similar to 0.jpg</h1>" in html
    html = (await ds.client.get(f"{GALLERY}/similar/1?_size=23&_weaker=1")).text
    assert "<h1>Similar to circles/0.jpg</h1>" in html


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", ["varchar(100)", "nvarchar(20)", "character varying", "clob"])
async def test_any_text_column_is_a_label(copy_photos, kind):
    database = copy_photos / "photos.db"
    change(database, f"create table goods (id integer primary key, a blob, b int, code {kind})")
    change(database, "insert into goods select id, x'00', 7, 'c' || id from images")
    for table in ("imgsim_spaces", "imgsim_thumbnails"):
        change(database, f"update {table} set source_table = 'goods'")
    answer = await serve(database).client.get("/photos/goods/-/imgsim")
    assert 'aria-hidden="true">c3<' in answer.text


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", TABLES)
async def test_the_command_line_has_the_names_of_the_pages(copy_photos, kind):
    database = copy_photos / "photos.db"
    columns, values, label = TABLES[kind]
    change(database, f"create table goods ({columns})")
    change(database, f"insert into goods select {values} from images")
    for table in ("imgsim_spaces", "imgsim_thumbnails"):
        change(database, f"update {table} set source_table = 'goods'")
    change(database, "update imgsim_spaces set source_key = null")
    named = dict(rows(database, f"select rowid, cast({label} as text) from goods"))
    html = (await serve(database).client.get("/photos/goods/-/imgsim")).text
    assert re.findall('class="imgsim-name" aria-hidden="true">([^<]*)', html) == [*named.values()]
    hits = json.loads(imgsim("similar", database, 3, "--json"))
    assert hits and all(hit["name"] == named[hit["id"]] for hit in hits)
    first, *_ = imgsim("similar", database, 3).splitlines()
    assert first.endswith(hits[0]["name"])


def test_the_command_line_has_the_label_of_another_table(copy_photos):
    with_kinds(copy_photos)
    database = copy_photos / "photos.db"
    change(database, "create table goods (id integer primary key, kind int references kinds)")
    change(database, "insert into goods select id, kind from images")
    change(database, "update imgsim_spaces set source_table = 'goods'")
    names = {
        hit["id"]: hit["name"]
        for hit in json.loads(imgsim("similar", database, 3, "-k", 23, "--json"))
    }
    assert names and names == {id: {4: "9", 5: "2"}.get(id, "Circle <1>") for id in names}


@pytest.mark.asyncio
async def test_large_pictures_need_no_label(copy_photos):
    titled(copy_photos, "'Picture ' || id")
    plugin = {"images_root": str(copy_photos / "images")}
    tables = {"images": {"label_column": "title"}}
    ds = serve(copy_photos / "photos.db", plugin, databases={"photos": {"tables": tables}})
    assert "/large/3.jpg" in (await ds.client.get(f"{GALLERY}/similar/3")).text
    assert (await ds.client.get(f"{GALLERY}/large/3.jpg")).status_code == 200


def with_kinds(folder):
    """Gives images a column `kind` that refers to another table."""
    database = folder / "photos.db"
    change(database, "create table kinds (id integer primary key, name text, size int)")
    change(database, "insert into kinds values (1, 'Circle <1>', 0), (2, null, 0)")
    change(database, "alter table images add column kind integer references kinds(id)")
    change(database, "update images set kind = case id when 4 then 9 when 5 then 2 else 1 end")


@pytest.mark.asyncio
async def test_a_label_that_is_a_foreign_key_is_expanded(copy_photos, own):
    with_kinds(copy_photos)
    ds = own("kind", kinds={"allow": {"id": "ann"}})
    path, jar = "/photos/pictures", cookies(ds, "ann")
    gallery = gallery_of("photos", "pictures")
    html = (await ds.client.get(path, cookies=jar)).text
    assert html.count('class="imgsim-cell"') == 24
    assert '<a href="/photos/kinds/1">Circle &lt;1&gt;</a>&nbsp;<em>1</em>' in html
    assert "imgsim-cell-score" in (await ds.client.get(f"{path}?_similar_to=3")).text
    html = (await ds.client.get(gallery, cookies=jar)).text
    assert html.count('aria-hidden="true">Circle &lt;1&gt;<') == 22
    assert 'aria-hidden="true">9<' in html and 'aria-hidden="true">2<' in html
    # Who may not view the other table sees its keys.
    html = (await ds.client.get(gallery)).text
    assert html.count('aria-hidden="true">1<') == 22 and "Circle" not in html


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "title, kind, shown",
    [
        ("'https://example.com/' || id", "text", '<a href="https://example.com/3">'),
        ("'a < b'", "text", "a &lt; b"),
        (
            "x'0102'",
            "blob",
            'class="blob-download" href="/photos/pictures/3.blob?_blob_column=title"',
        ),
        ("null", "text", ""),
        ("12.5", "real", "12.5"),
    ],
)
async def test_a_cell_keeps_what_datasette_shows(own, title, kind, shown):
    found = await cell(own("title", title, kind))
    assert shown in found and (shown or not found.replace("&nbsp;", "").strip())


@pytest.mark.asyncio
async def test_a_cell_keeps_what_other_plugins_show(own):
    class Other:
        __name__ = "other"

        @hookimpl
        def render_cell(self, value, column):
            async def shown():
                return Markup("<i>{}</i>").format(value) if column == "title" else None

            return shown()

    ds = own("title", "id")
    pm.register(Other(), name="other")
    try:
        assert await cell(ds) == "<i>3</i>"
    finally:
        pm.unregister(name="other")


@pytest.mark.asyncio
async def test_long_names_are_shortened(own):
    ds, gallery = (
        own("title", "replace(hex(zeroblob(10000)), '00', 'long ')"),
        gallery_of("photos", "pictures"),
    )
    short = ("long " * 20)[: LIMITS.characters_of_name] + "…"
    assert set(await names(ds, gallery)) == {short}
    for path in (gallery, f"{gallery}/similar/3", f"{gallery}.json"):
        assert len((await ds.client.get(path)).text) < 150_000
    # Datasette's own length in its table, and all of it in its page of the row.
    assert await cell(ds) == ("long " * 10_000)[:2048] + "…"
    assert await cell(ds, path="/photos/pictures/3") == "long " * 10_000
    assert f'alt="Similar to {short}"' in (await ds.client.get("/photos/pictures/3")).text
