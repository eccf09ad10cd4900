"""What images are called, and what a cell shows beside its thumbnail."""

import re

import pytest
from datasette import hookimpl
from datasette.plugins import pm
from helpers.databases import change, rows
from helpers.serving import GALLERY, cookies, serve
from markupsafe import Markup

from datasette_imgsim.limits import LIMITS

pytestmark = pytest.mark.datasette


def labelled(folder, label, **tables):
    """A Datasette whose table `images` has this label column."""
    tables = {"images": {"label_column": label}, **tables}
    return serve(folder / "photos.db", databases={"photos": {"tables": tables}})


def titled(folder, title, kind="text"):
    """Gives each image a title, an SQL expression."""
    change(folder / "photos.db", f"alter table images add column title {kind}")
    change(folder / "photos.db", f"update images set title = {title}")


async def names(ds):
    """The names of all images, as their similar pages show them."""
    html = (await ds.client.get(GALLERY)).text
    return re.findall('class="imgsim-name" aria-hidden="true">([^<]*)', html)


async def cell(ds, id=3, path="/photos/images"):
    """What a table page has in the cell with the thumbnail of an image, after it."""
    html = (await ds.client.get(path)).text
    return html.split(f"/thumbnail/{id}.jpg")[1].split("</a>", 1)[1].split("</td>")[0]


@pytest.mark.asyncio
async def test_the_label_column_of_datasette_is_used(copy_photos):
    titled(copy_photos, "'Picture ' || id")
    ds = labelled(copy_photos, "title")
    assert await names(ds) == [f"Picture {id}" for id in range(1, 25)]
    assert await cell(ds) == "Picture 3"
    assert "Similar to Picture 3" in (await ds.client.get(f"{GALLERY}/similar/3")).text
    assert "Picture 3," in (await ds.client.get("/photos/images?_similar_to=3")).text


@pytest.mark.asyncio
@pytest.mark.parametrize("label", ["nope", "id"])
async def test_a_label_column_that_cannot_be_used_is_none(copy_photos, label):
    paths = rows(copy_photos / "photos.db", "select path from images order by id")
    found = await names(labelled(copy_photos, label))
    # Each of four folders has a 0.jpg.
    assert found == [path.removeprefix("images/") for path in paths]


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
async def test_a_label_that_is_a_foreign_key_is_expanded(copy_photos):
    with_kinds(copy_photos)
    ds = labelled(copy_photos, "kind", kinds={"allow": {"id": "ann"}})
    path, jar = "/photos/images", cookies(ds, "ann")
    html = (await ds.client.get(path, cookies=jar)).text
    assert html.count('class="imgsim-cell"') == 24
    assert '<a href="/photos/kinds/1">Circle &lt;1&gt;</a>&nbsp;<em>1</em>' in html
    assert "imgsim-cell-score" in (await ds.client.get(f"{path}?_similar_to=3")).text
    html = (await ds.client.get(GALLERY, cookies=jar)).text
    assert html.count('aria-hidden="true">Circle &lt;1&gt;<') == 22
    assert 'aria-hidden="true">9<' in html and 'aria-hidden="true">2<' in html
    # Who may not view the other table sees its keys.
    html = (await ds.client.get(GALLERY)).text
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
            'class="blob-download" href="/photos/images/3.blob?_blob_column=title"',
        ),
        ("null", "text", ""),
        ("12.5", "real", "12.5"),
    ],
)
async def test_a_cell_keeps_what_datasette_shows(copy_photos, title, kind, shown):
    titled(copy_photos, title, kind)
    found = await cell(labelled(copy_photos, "title"))
    assert shown in found and (shown or not found.replace("&nbsp;", "").strip())


@pytest.mark.asyncio
async def test_a_cell_keeps_what_other_plugins_show(copy_photos):
    class Other:
        __name__ = "other"

        @hookimpl
        def render_cell(self, value, column):
            async def shown():
                return Markup("<i>{}</i>").format(value) if column == "title" else None

            return shown()

    titled(copy_photos, "id")
    pm.register(Other(), name="other")
    try:
        assert await cell(labelled(copy_photos, "title")) == "<i>3</i>"
    finally:
        pm.unregister(name="other")


@pytest.mark.asyncio
async def test_long_names_are_shortened(copy_photos):
    titled(copy_photos, "replace(hex(zeroblob(10000)), '00', 'long ')")
    ds = labelled(copy_photos, "title")
    short = ("long " * 20)[: LIMITS.characters_of_name] + "…"
    assert set(await names(ds)) == {short}
    for path in (GALLERY, f"{GALLERY}/similar/3", f"{GALLERY}.json"):
        assert len((await ds.client.get(path)).text) < 150_000
    # Datasette's own length in its table, and all of it in its page of the row.
    assert await cell(ds) == ("long " * 10_000)[:2048] + "…"
    assert await cell(ds, path="/photos/images/3") == "long " * 10_000
    assert f'alt="Similar to {short}"' in (await ds.client.get("/photos/images/3")).text
