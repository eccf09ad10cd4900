"""Pages of tables with whatever keys and names."""

import pytest
from datasette.utils import tilde_encode
from helpers.databases import change, renamed, set_source
from helpers.serving import all_pages, below, gallery_of, get_json, links, serve

pytestmark = pytest.mark.datasette


def with_keys(database, kind, keys):
    """Makes the first images those of a table `loose`, with other keys."""
    change(database, f"create table loose (id {kind} primary key, path text)")
    for id, key in enumerate(keys, 1):
        change(database, "insert into loose select ?, path from images where id = ?", key, id)
        for table in ("imgsim_vectors", "imgsim_thumbnails"):
            change(database, f"update {table} set image_key = ? where image_key = ?", key, id)
    set_source(database, "loose")


LOOSE = "/photos/loose/-/imgsim"
MANY = list(range(101, 125))


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "kind, keys",
    [
        ("", MANY),
        ("", [str(key) for key in MANY]),
        ("", [*MANY[:12], *(str(key) for key in MANY[12:])]),
        ("", [2**62 + key for key in MANY]),
        ("int", [f"x{key}" for key in MANY]),
        ("int", [*MANY[:12], *(f"x{key}" for key in MANY[12:])]),
        ("text", [f"0{key}" for key in MANY]),
    ],
)
async def test_all_pages_of_a_gallery_are_reached_whatever_its_keys_are(copy_photos, kind, keys):
    with_keys(copy_photos / "photos.db", kind, keys)
    found = await all_pages(serve(copy_photos / "photos.db"), f"{LOOSE}.json?_size=5")
    assert [row["id"] for row in found] == keys


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "kind, keys",
    [("", MANY), ("", [str(key) for key in MANY]), ("int", [f"x{key}" for key in MANY])],
)
async def test_a_gallery_goes_on_after_an_image_that_is_gone(copy_photos, kind, keys):
    with_keys(copy_photos / "photos.db", kind, keys)
    ds = serve(copy_photos / "photos.db")
    first = await get_json(ds, f"{LOOSE}.json?_size=5")
    change(copy_photos / "photos.db", "delete from loose where id = ?", keys[4])
    after = await get_json(ds, f"{LOOSE}.json?_size=5&_next={first['next']}")
    assert [row["id"] for row in after["rows"]] == keys[5:10]


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "kind, key, asked",
    [
        ("text", "77", "077"),
        ("text", "77", "٧٧"),
        ("integer", 77, "٧٧"),
        ("", 77, "077"),
        ("", 77, "٧٧"),
    ],
)
async def test_an_id_that_is_written_otherwise_is_another(copy_photos, kind, key, asked):
    with_keys(copy_photos / "photos.db", kind, [key, "78" if kind == "text" else 78])
    ds = serve(copy_photos / "photos.db")
    await get_json(ds, f"{LOOSE}/similar/{tilde_encode(str(key))}.json")
    for path in (f"similar/{tilde_encode(asked)}.json", f"similar/78.json?plus={asked}"):
        await get_json(ds, f"{LOOSE}/{path}", 404)
    await get_json(ds, f"/photos/loose.json?_similar_to={asked}&_similar_min=0", 404)


@pytest.mark.asyncio
async def test_an_empty_key_has_pages_and_a_missing_one_a_sentence(copy_photos):
    with_keys(copy_photos / "photos.db", "text", ["", "b", "c"])
    ds = serve(copy_photos / "photos.db")
    answer = await get_json(ds, f"{LOOSE}/similar/.json")
    assert answer["query"]["id"] == "" and len(answer["rows"]) == 2
    for path in ("similar/", "thumbnail/.jpg"):
        assert (await ds.client.get(f"{LOOSE}/{path}")).status_code == 200
    change(copy_photos / "photos.db", "delete from loose where id = ''")
    assert "There is no image ''" in (await get_json(ds, f"{LOOSE}/similar/.json", 404))["error"]


ODD = """my "photos".v2 ü's"""


@pytest.mark.asyncio
@pytest.mark.parametrize("base_url", ["/", "/pre/fix/"])
@pytest.mark.parametrize(
    "key_of",
    [lambda id: id * 10, lambda id: f"a/b.{id}~é '%\"?&#", str],
    ids=["int", "odd", "text"],
)
async def test_odd_names_and_keys(copy_photos, base_url, key_of):
    database = copy_photos / f"{ODD}.db"
    (copy_photos / "photos.db").rename(database)
    table = """im"ages.x 'ü' /1"""
    keys = renamed(database, table, key_of)
    ds = serve(database, settings={"base_url": base_url})
    gallery = gallery_of(ODD, table)
    answer = await get_json(ds, f"{gallery}.json?_size=5&_next=")
    found = answer["rows"]
    assert {row["id"] for row in found} <= set(keys.values()) and len(found) == 5
    whole = {row["id"] for row in await all_pages(ds, f"{gallery}.json?_size=9", base_url)}
    assert whole == set(keys.values())
    html = (await ds.client.get(gallery)).text
    similar = next(link for link in links(html) if "/similar/" in link)
    assert similar.startswith(base_url)
    page = (await ds.client.get(below(similar, base_url))).text
    for link in links(html) | links(page):
        response = await ds.client.get(below(link, base_url), follow_redirects=True)
        assert response.status_code == 200, link
