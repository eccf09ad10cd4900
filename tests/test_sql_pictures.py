"""imgsim_picture(): the picture in the result of a query."""

import pytest
from helpers.databases import answer, change, copy_space, set_source
from helpers.serving import GALLERY, ask, ask_one, cookies, serve, started

pytestmark = [
    pytest.mark.datasette,
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

QUERY = "/photos?sql=select+id,+imgsim_picture(id)+as+picture+from+images+where+id+<+4"
CELL = (
    f'<a class="imgsim-cell" href="{GALLERY}/similar/3"><img src="{GALLERY}/thumbnail/3.jpg" '
    'alt="Similar to 3" loading="lazy"></a>'
)


async def text_of(ds, path):
    response = await ds.client.get(path, follow_redirects=True)
    assert response.status_code == 200, response.text
    return response.text


@pytest.mark.asyncio
async def test_a_query_shows_pictures_that_lead_to_similar_images(photos):
    html = await text_of(serve(photos / "photos.db"), QUERY)
    assert html.count('class="imgsim-cell"') == 3 and CELL in html
    assert "table-cells.css" in html


@pytest.mark.asyncio
async def test_so_do_views_and_queries_of_the_configuration(copy_photos):
    sql = "select id, imgsim_picture(id) as picture from images"
    change(copy_photos / "photos.db", f"create view pictures as {sql}")
    queries = {"canned": {"sql": sql}}
    ds = serve(copy_photos / "photos.db", databases={"photos": {"queries": queries}})
    for name in ("pictures", "canned"):
        html = await text_of(ds, f"/photos/{name}")
        assert html.count('class="imgsim-cell"') == 24 and CELL in html
        assert "table-cells.css" in html


@pytest.mark.asyncio
async def test_data_has_the_address_of_the_thumbnail(photos):
    ds = serve(photos / "photos.db")
    address = await ask_one(ds, "select imgsim_picture('3')")
    assert address == f"{GALLERY}/thumbnail/3.jpg"
    assert (await ds.client.get(address)).headers["content-type"] == "image/jpeg"
    csv = await text_of(ds, "/photos.csv?sql=select+imgsim_picture(3)")
    assert csv.split() == ["imgsim_picture(3)", address]
    ds = serve(photos / "photos.db", settings={"base_url": "/pre/"})
    assert await ask_one(ds, "select imgsim_picture(3)") == f"/pre{address}"


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "value",
    [
        "'/photos/other/-/imgsim/thumbnail/3.jpg'",
        "'/more/images/-/imgsim/thumbnail/3.jpg'",
        "'https://example.com' || imgsim_picture(3)",
        "imgsim_picture(3) || '?x'",
        "replace(imgsim_picture(3), '3.jpg', '\"><script>.jpg')",
        "replace(imgsim_picture(3), '3.jpg', '../large/3.jpg')",
    ],
)
async def test_any_other_text_stays_text(photos, value):
    html = (
        await serve(photos / "photos.db").client.get(
            "/photos", params={"sql": f"select {value}"}, follow_redirects=True
        )
    ).text
    assert 'class="imgsim-cell"' not in html and "<script>.jpg" not in html


@pytest.mark.asyncio
async def test_the_picture_is_only_for_those_who_may_view_its_table(photos):
    tables = {"images": {"allow": {"id": "ann"}}}
    ds = serve(photos / "photos.db", databases={"photos": {"tables": tables}})
    address = await ask_one(ds, "select imgsim_picture(3)")
    assert (await ds.client.get(address)).status_code == 403
    assert (await ds.client.get(address, cookies=cookies(ds, "ann"))).status_code == 200


@pytest.mark.asyncio
@pytest.mark.parametrize("sql", ["99", "null", "4", "1, null"])
async def test_there_may_be_no_picture(copy_photos, sql):
    change(copy_photos / "photos.db", "delete from imgsim_thumbnails where image_id = 4")
    ds = serve(copy_photos / "photos.db")
    assert await ask_one(ds, f"select imgsim_picture({sql})") is None


@pytest.mark.asyncio
async def test_its_options_name_the_space(copy_photos):
    database = copy_photos / "photos.db"
    change(database, "create table goods (id integer primary key)")
    change(database, "insert into goods values (3)")
    change(
        database,
        "insert into imgsim_thumbnails (source_table, image_key, jpeg) "
        "select 'goods', image_key, jpeg from imgsim_thumbnails",
    )
    copy_space(database, "of goods", "goods")
    ds = serve(database)
    sql = """select imgsim_picture(3, '{"space": "of goods"}')"""
    assert await ask_one(ds, sql) == "/photos/goods/-/imgsim/thumbnail/3.jpg"
    status, _body = await ask(ds, "select imgsim_picture(3, '{\"ranked\": true}')")
    assert status == 400


@pytest.mark.asyncio
async def test_it_needs_no_vectors_in_memory(photos, gate):
    ds = await started(photos / "photos.db")
    assert await ask_one(ds, "select imgsim_picture(3)")


def test_where_there_are_no_pages_it_is_the_path(copy_photos):
    database = copy_photos / "photos.db"
    assert answer(database, "select imgsim_picture(3)") == "images/circles/2.jpg"
    assert answer(database, "select imgsim_picture(99)") is None
    change(database, "create table goods as select id, path as file from images")
    change(database, "create table pictures (id integer primary key, file text)")
    change(database, "insert into pictures select * from goods")
    set_source(database, "pictures")
    assert answer(database, "select imgsim_picture(3)") is None
