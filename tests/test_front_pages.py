"""Pictures on Datasette's own pages of the instance, of a database and of a row."""

import re

import pytest
from datasette.database import Database
from helpers.commands import imgsim
from helpers.databases import change, copy_space, set_source
from helpers.serving import GALLERY, IS_1, cookies, get_json, ready, serve

from datasette_imgsim.limits import LIMITS
from datasette_imgsim.web.front import pages

pytestmark = pytest.mark.datasette

ANN = {"id": "ann"}
FRONT = ["/", "/photos"]


async def top(ds, path, **options):
    """The strips on a page of Datasette."""
    html = (await ds.client.get(path, **options)).text
    found = re.findall(r'<section class="imgsim-strip.*?</section>', html, re.DOTALL)
    return "".join(found)


def thumbnails(html):
    return re.findall(r'<a href="[^"]+/similar/([^"]+)"><img src="[^"]+/thumbnail/', html)


@pytest.mark.asyncio
@pytest.mark.parametrize("path", FRONT)
async def test_some_pictures_from_all_parts_lead_in(mapped, path):
    html = await top(serve(mapped / "photos.db"), path)
    shown = [int(id) for id in thumbnails(html)]
    assert len(shown) == 12 and shown == sorted(shown)
    assert {(id - 1) // 6 for id in shown} == {0, 1, 2, 3}
    for link in (GALLERY, f"{GALLERY}/map", "/photos/images", f"{GALLERY}/similar/1"):
        assert f'href="{link}"' in html
    assert 'alt="circles/0.jpg"' in html


@pytest.mark.asyncio
@pytest.mark.parametrize("path", FRONT)
async def test_what_is_not_there_is_not_linked(photos, path):
    html = await top(serve(photos / "photos.db"), path)
    assert f'href="{GALLERY}"' in html and "/map" not in html and "duplicates" not in html


@pytest.mark.asyncio
async def test_pages_without_images_have_nothing_on_top(copy_photos, tmp_path):
    change(tmp_path / "plain.db", "create table images (id integer primary key, path text)")
    change(copy_photos / "photos.db", "create table other (id integer primary key)")
    change(copy_photos / "photos.db", "insert into other values (1)")
    ds = serve(tmp_path / "plain.db")
    for path in ("/", "/plain"):
        assert "imgsim" not in (await ds.client.get(path)).text
    ds = serve(copy_photos / "photos.db")
    for path in ("/photos/other/1", "/photos?sql=select+1", "/photos/images"):
        assert not await top(ds, path, follow_redirects=True)


@pytest.mark.asyncio
@pytest.mark.parametrize("level", ["instance", "database", "table"])
async def test_nobody_sees_pictures_that_they_may_not_view(photos, level):
    own = {"databases": {"photos": {"tables": {"images": {"allow": ANN}}}}}
    if level == "database":
        # Whoever may view the table by its address, but not the database, sees no strip either.
        own["databases"]["photos"] = {"allow": ANN, "tables": {"images": {"allow": True}}}
    ds = serve(photos / "photos.db", **(own if level != "instance" else {"allow": ANN}))
    for path in FRONT:
        assert not thumbnails(await top(ds, path))
        assert thumbnails(await top(ds, path, cookies=cookies(ds, "ann")))


@pytest.mark.asyncio
async def test_the_first_tables_of_many_are_at_home(photos, monkeypatch):
    monkeypatch.setattr(pages, "TABLES_AT_HOME", 2)
    ds = serve(photos / "photos.db")
    for name in ("b", "c"):
        ds.add_database(Database(ds, path=str(photos / "photos.db"), is_mutable=True), name=name)
    html = await top(ds, "/")
    assert html.count("<section") == 2 and 'href="/b/images"' in html and "/c/" not in html


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "changes",
    [
        ["delete from imgsim_thumbnails where image_id in (1, 4, 9, 22)"],
        ["update images set id = id * 1000000 where id > 3"],
        ["delete from images where id > 20"],
    ],
)
async def test_gaps_leave_no_hole(copy_photos, changes):
    for sql in changes:
        change(copy_photos / "photos.db", sql)
    if "1000000" in changes[0]:
        change(
            copy_photos / "photos.db",
            "update imgsim_thumbnails set image_key = image_key * 1000000 where image_key > 3",
        )
    shown = thumbnails(await top(serve(copy_photos / "photos.db"), "/photos"))
    assert len(set(shown)) == 12


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "definition", ["(id text primary key) without rowid", "(id integer primary key, _rowid_ text)"]
)
async def test_tables_without_row_numbers_show_their_first_pictures(copy_photos, definition):
    database = copy_photos / "photos.db"
    change(database, f"create table goods {definition}")
    change(database, "insert into goods (id) select id from images")
    if "text primary" in definition:
        change(database, "update imgsim_thumbnails set image_key = cast(image_key as text)")
    set_source(database, "goods")
    shown = thumbnails(await top(serve(database), "/photos"))
    assert len(set(shown)) == 12 and shown[0] == "1"


@pytest.mark.asyncio
async def test_a_table_without_pictures_has_no_strip(copy_photos):
    change(copy_photos / "photos.db", "delete from imgsim_thumbnails")
    assert not await top(serve(copy_photos / "photos.db"), "/photos")


@pytest.mark.asyncio
async def test_a_damaged_table_leaves_the_others_their_strips(copy_photos):
    database = copy_photos / "photos.db"
    change(database, "create table other (id integer, b integer, primary key (id, b))")
    copy_space(database, "compound", "other")
    html = await top(serve(database), "/photos")
    assert html.count("<section") == 1 and len(thumbnails(html)) == 12


@pytest.mark.asyncio
@pytest.mark.parametrize("text", ["description", "description_html"])
@pytest.mark.skipif(IS_1, reason="Datasette 1.0 has a place of its own for it")
async def test_the_users_own_description_stays(photos, text):
    own = {text: "Ours & <b>theirs</b>", "license": "CC0"}
    ds = serve(
        photos / "photos.db",
        **own,
        databases={"photos": {**own, "tables": {"images": own}}},
    )
    expected = own[text] if text.endswith("html") else "Ours &amp; &lt;b&gt;theirs&lt;/b&gt;"
    for path in ("/", "/photos", "/photos/images/3"):
        html = (await ds.client.get(path)).text
        assert expected in html and "CC0" in html and 'class="imgsim-strip' in html


# The page of a row


@pytest.mark.asyncio
async def test_a_row_shows_its_picture_and_its_likes(mapped):
    ds = await ready(serve(mapped / "photos.db"))
    html = (await ds.client.get("/photos/images/3")).text
    assert (
        f'class="imgsim-large" href="{GALLERY}/similar/3"><img src="{GALLERY}/thumbnail/3' in html
    )
    strip = await top(ds, "/photos/images/3")
    likes = [row["id"] for row in (await get_json(ds, f"{GALLERY}/similar/3.json"))["rows"]]
    assert [int(id) for id in thumbnails(strip)] == likes[:8]
    for link in (f"{GALLERY}/similar/3", f"{GALLERY}/map?id=3", GALLERY):
        assert f'href="{link}"' in strip


@pytest.mark.asyncio
async def test_a_row_shows_the_large_picture_where_that_is_allowed(photos):
    ds = await ready(serve(photos / "photos.db", {"images_root": "images"}))
    html = (await ds.client.get("/photos/images/3")).text
    assert (
        f'href="{GALLERY}/large/3.jpg"><img src="{GALLERY}/large/3.jpg" alt="circles/2.jpg" '
        f'data-fallback="{GALLERY}/thumbnail/3.jpg"'
    ) in html
    assert "/row.js" in html


@pytest.mark.asyncio
async def test_a_row_says_so_while_vectors_are_loaded(photos, gate):
    html = await top(serve(photos / "photos.db"), "/photos/images/3")
    assert "loading" in html and not thumbnails(html)


@pytest.mark.asyncio
async def test_a_row_without_a_vector_still_has_its_picture(copy_photos):
    change(copy_photos / "photos.db", "delete from imgsim_vectors where image_id = 3")
    ds = await ready(serve(copy_photos / "photos.db"))
    html = (await ds.client.get("/photos/images/3")).text
    assert 'class="imgsim-large"' in html and not thumbnails(await top(ds, "/photos/images/3"))


@pytest.mark.asyncio
async def test_a_row_among_very_many_ranks_nothing(photos, monkeypatch):
    monkeypatch.setattr(LIMITS, "bytes_scanned", 0)
    monkeypatch.setattr(LIMITS, "bytes_in_memory", 0)
    ds = await ready(serve(photos / "photos.db"))
    strip = await top(ds, "/photos/images/3")
    assert not thumbnails(strip) and f'href="{GALLERY}/similar/3"' in strip


@pytest.mark.asyncio
async def test_a_row_without_a_picture_stays_as_it_is(copy_photos):
    change(copy_photos / "photos.db", "delete from imgsim_thumbnails where image_id = 3")
    ds = serve(copy_photos / "photos.db")
    assert 'class="imgsim-large"' not in (await ds.client.get("/photos/images/3")).text
    assert (await ds.client.get("/photos/images/99")).status_code == 404


@pytest.mark.asyncio
async def test_under_another_base_url(photos):
    ds = serve(photos / "photos.db", settings={"base_url": "/pre/"})
    html = await top(ds, "/photos")
    assert f'href="/pre{GALLERY}"' in html and f'src="/pre{GALLERY}/thumbnail/' in html


@pytest.mark.asyncio
async def test_an_older_database_is_listed_without_pictures(copy_photos):
    database = copy_photos / "photos.db"
    change(database, "delete from _sqlite_migrations where name = 'm006_folder'")
    ds = serve(database)
    for path in (*FRONT, "/photos/images/3"):
        assert (await ds.client.get(path)).status_code == 200
        assert not await top(ds, path)
    imgsim("spaces", database)
    assert await top(serve(database), "/photos")
