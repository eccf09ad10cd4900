"""The key of a source table and the case of its name: what changes is told, or changes nothing."""

import json
import sqlite3
from contextlib import closing

import pytest
import sqlite_utils
from helpers.commands import imgsim
from helpers.databases import answer, change, rows
from helpers.pictures import draw
from helpers.serving import ask, get_json, serve

pytestmark = pytest.mark.datasette


@pytest.fixture
def shop(tmp_path, toy):
    """shop.db with four pictures in a table whose key is `id`; its column `code` is another key."""
    path = tmp_path / "shop.db"
    change(path, "create table items (id integer primary key, code integer, photo blob)")
    for id, shape in enumerate(("circle", "square", "stripes", "dots"), 1):
        draw(tmp_path / f"{id}.jpg", shape)
        picture = (tmp_path / f"{id}.jpg").read_bytes()
        change(path, "insert into items values (?, ?, ?)", id, 5 - id, picture)
    embed(path)
    return path


def embed(path, table="items", **options):
    return imgsim("embed", path, "--table", table, "--column", "photo", "--model", "toy", **options)


def transform(path, **options):
    with sqlite_utils.Database(path) as db:
        db["items"].transform(**options)


CHANGES = {
    "another key": ({"pk": "code"}, "sqlite-utils transform DB items --pk id", {"pk": "id"}),
    "renamed": (
        {"rename": {"id": "number"}},
        "sqlite-utils transform DB items --rename number id",
        {"rename": {"number": "id"}},
    ),
}


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", CHANGES)
async def test_another_key_is_told_with_the_way_back(shop, kind):
    changed, way_back, back = CHANGES[kind]
    before = imgsim("similar", shop, 1, "--json")
    transform(shop, **changed)
    for command in (
        ("similar", shop, 1),
        ("map", shop),
        ("eval", shop, "--label", "code"),
        ("embed", shop, "--table", "items", "--column", "photo"),
    ):
        printed = imgsim(*command, exit_code=1)
        assert "The key of the table 'items' was 'id' when its images were" in printed
        assert way_back in printed
    assert way_back in imgsim("verify", shop, exit_code=1)
    ds = serve(shop)
    for page in (".json", "/similar/1.json", "/thumbnail/1.jpg", "/map.json"):
        assert way_back in (await get_json(ds, f"/shop/items/-/imgsim{page}", 503))["error"]
    assert way_back in (await ask(ds, "select imgsim_status()", "shop"))[1]["rows"][0][0]
    _, body = await ask(ds, "select similar_to(1)", "shop")
    assert not body.get("rows")
    assert "imgsim-cell" not in (await ds.client.get("/shop/items")).text
    transform(shop, **back)
    assert imgsim("similar", shop, 1, "--json") == before


def test_after_a_drop_the_table_is_embedded_under_its_new_key(shop):
    like = [hit["id"] for hit in json.loads(imgsim("similar", shop, 1, "--json"))]
    before = dict(rows(shop, "select image_key, jpeg from imgsim_thumbnails"))
    transform(shop, pk="code")
    imgsim("drop", shop, "items toy")
    assert "4 embedded" in embed(shop)
    found = json.loads(imgsim("similar", shop, 4, "--json"))
    assert [5 - hit["id"] for hit in found] == like
    after = dict(rows(shop, "select image_key, jpeg from imgsim_thumbnails"))
    assert {5 - key: jpeg for key, jpeg in after.items()} == before


@pytest.mark.asyncio
@pytest.mark.parametrize("name", ["Items", "ITEMS"])
async def test_a_table_renamed_in_case_is_the_same_table(shop, name):
    before = imgsim("similar", shop, 1, "--json")
    with closing(sqlite3.connect(shop)) as conn, conn:
        conn.execute("alter table items rename to x")
        conn.execute(f"alter table x rename to {name}")
    assert imgsim("similar", shop, 1, "--json") == before
    ds = serve(shop)
    base = f"/shop/{name}/-/imgsim"
    found = await get_json(ds, f"{base}.json")
    assert found["counts"]["vectors"] == 4 and found["rows"][0]["thumbnail"]
    assert len((await get_json(ds, f"{base}/similar/1.json"))["rows"]) == 3
    assert (await ds.client.get(f"{base}/thumbnail/1.jpg")).status_code == 200
    assert (await ds.client.get("/shop/items/-/imgsim.json")).status_code == 404
    assert base in (await ds.client.get("/shop")).text
    assert "imgsim-cell" in (await ds.client.get(f"/shop/{name}")).text
    for table in ("items", name):
        assert "0 embedded, 4 unchanged" in embed(shop, table)
    assert rows(shop, "select count(*) from imgsim_spaces") == [1]
    assert rows(shop, "select count(*) from imgsim_thumbnails") == [4]
    change(shop, f"delete from {name} where id = 2")
    assert "3 unchanged" in embed(shop, "iTEMS")
    for table in ("imgsim_vectors", "imgsim_thumbnails", "imgsim_contents"):
        assert rows(shop, f"select image_key from {table}") == [1, 3, 4]
    assert len(json.loads(answer(shop, "select similar_to(1)"))) == 2


def test_images_renamed_in_case_goes_on(copy_photos):
    path = copy_photos / "photos.db"
    change(path, "alter table images rename to x")
    change(path, "alter table x rename to Images")
    for options in ((), ("--model", "vgg16-oxford")):
        printed = imgsim("embed", path, copy_photos / "images", *options)
        assert "0 embedded, 24 unchanged" in printed
    assert rows(path, "select count(*) from imgsim_spaces") == [1]
    assert "Nothing is wrong" in imgsim("verify", path)
