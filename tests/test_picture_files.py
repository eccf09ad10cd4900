"""Pictures by key over HTTP: thumbnails and large pictures."""

import io
import sqlite3
from contextlib import closing

import pytest
from helpers.commands import imgsim
from helpers.databases import change, set_source
from helpers.pictures import draw
from helpers.serving import GALLERY, get_json, serve
from PIL import Image

pytestmark = pytest.mark.datasette


@pytest.mark.asyncio
async def test_a_thumbnail_is_a_small_jpeg(photos):
    response = await serve(photos / "photos.db").client.get(f"{GALLERY}/thumbnail/3.jpg")
    assert response.status_code == 200
    assert response.headers["content-type"] == "image/jpeg"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["cache-control"].startswith("max-age=")
    image = Image.open(io.BytesIO(response.content))
    assert image.format == "JPEG" and max(image.size) <= 256


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "if_none_match,status",
    [("{}", 304), ("W/{}", 304), ('"other", {}', 304), ("*", 304), ('"other"', 200), ("", 200)],
)
async def test_an_unchanged_thumbnail_is_not_sent_again(photos, if_none_match, status):
    ds, path = serve(photos / "photos.db"), f"{GALLERY}/thumbnail/3.jpg"
    etag = (await ds.client.get(path)).headers["etag"]
    headers = {"if-none-match": if_none_match.format(etag)}
    response = await ds.client.get(path, headers=headers)
    assert response.status_code == status and response.headers["etag"] == etag
    assert bool(response.content) == (status == 200)


@pytest.mark.asyncio
async def test_other_images_have_other_etags(photos):
    ds = serve(photos / "photos.db")
    responses = [await ds.client.get(f"{GALLERY}/thumbnail/{id}.jpg") for id in (3, 4)]
    assert responses[0].headers["etag"] != responses[1].headers["etag"]


@pytest.mark.asyncio
@pytest.mark.parametrize("id", ["99", "x", "--5", "-", "~2E~2E~2Fphotos~2Edb"])
async def test_thumbnails_that_are_not_there(photos, id):
    ds = serve(photos / "photos.db")
    assert (await get_json(ds, f"{GALLERY}/thumbnail/{id}.jpg", 404))["error"]


@pytest.mark.asyncio
async def test_a_row_deleted_by_hand_has_no_thumbnail(copy_photos):
    change(copy_photos / "photos.db", "delete from images where id = 3")
    await get_json(serve(copy_photos / "photos.db"), f"{GALLERY}/thumbnail/3.jpg", 404)


@pytest.fixture(scope="module")
def big(tmp_path_factory):
    """A folder with one photo taken sideways by a phone, and a file outside the images."""
    folder = tmp_path_factory.mktemp("big")
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "Secret camera"
    draw(folder / "images" / "phone.jpg", size=(3000, 1000), exif=exif)
    imgsim("embed", folder / "photos.db", folder / "images", "--quiet")
    draw(folder / "outside.jpg")
    (folder / "images" / "link.jpg").symlink_to(folder / "outside.jpg")
    (folder / "images-2").mkdir()
    draw(folder / "images-2" / "beside.jpg")
    return folder


@pytest.mark.asyncio
async def test_a_large_picture_is_upright_bounded_and_without_metadata(big):
    ds = serve(big / "photos.db", {"images_root": str(big / "images")})
    response = await ds.client.get(f"{GALLERY}/large/1.jpg")
    image = Image.open(io.BytesIO(response.content))
    assert image.format == "JPEG" and image.size[1] == 2048 and image.size[0] < 700
    assert not image.getexif() and b"Secret" not in response.content
    assert response.headers["x-content-type-options"] == "nosniff"
    again = await ds.client.get(
        f"{GALLERY}/large/1.jpg", headers={"if-none-match": response.headers["etag"]}
    )
    assert again.status_code == 304


@pytest.mark.asyncio
async def test_the_similar_page_shows_the_large_picture_where_there_is_one(big):
    large = f'src="{GALLERY}/large/1.jpg"'
    with_root = serve(big / "photos.db", {"images_root": str(big / "images")})
    html = (await with_root.client.get(f"{GALLERY}/similar/1")).text
    assert large in html and f'data-fallback="{GALLERY}/thumbnail/1.jpg"' in html
    assert large not in (await serve(big / "photos.db").client.get(f"{GALLERY}/similar/1")).text


@pytest.mark.asyncio
async def test_no_large_picture_is_offered_of_a_column_that_is_no_path_of_ours(copy_photos):
    database = copy_photos / "photos.db"
    change(database, "alter table images rename column path to photo")
    change(database, "alter table images rename to products")
    set_source(database, "products")
    ds = serve(database, {"images_root": str(copy_photos / "images")})
    html = (await ds.client.get("/photos/products/-/imgsim/similar/3")).text
    assert "/thumbnail/3.jpg" in html and "/large/" not in html


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "path",
    [
        "images/link.jpg",
        "images/../outside.jpg",
        "outside.jpg",
        "images-2/beside.jpg",
        "{}/outside.jpg",
        "images/gone.jpg",
        "images",
        "images/a\0b.jpg",
        "images/text.jpg",
        "",
    ],
)
async def test_nothing_else_can_be_had_as_a_large_picture(big, tmp_path, path):
    (big / "images" / "text.jpg").write_text("secret")
    database = big / f"{tmp_path.name}.db"
    database.write_bytes((big / "photos.db").read_bytes())
    change(database, "update images set path = ?", path.format(big))
    ds = serve(database, {"images_root": str(big / "images")})
    answer = await get_json(ds, f"/{database.stem}/images/-/imgsim/large/1.jpg", 404)
    assert answer["ok"] is False and str(big) not in answer["error"]


@pytest.mark.asyncio
async def test_no_large_picture_of_what_looks_like_a_number(photos):
    ds = serve(photos / "photos.db", {"images_root": str(photos / "images")})
    answer = await get_json(ds, f"{GALLERY}/large/--5.jpg", 404)
    assert "no image '--5'" in answer["error"]


@pytest.mark.asyncio
async def test_without_a_root_there_are_no_large_pictures(photos):
    answer = await get_json(serve(photos / "photos.db"), f"{GALLERY}/large/3.jpg", 404)
    assert "images_root" in answer["error"]


@pytest.mark.asyncio
async def test_a_picture_in_a_column_is_shown_large_without_a_root(tmp_path):
    database = tmp_path / "photos.db"
    picture = draw(tmp_path / "a.png", size=(3000, 500)).read_bytes()
    with closing(sqlite3.connect(database)) as conn, conn:
        conn.execute("create table products (id integer primary key, photo blob)")
        conn.executemany("insert into products (photo) values (?)", [[picture], [picture[:-9]]])
    imgsim("embed", database, "--table", "products", "--column", "photo", "--quiet")
    change(database, "insert into products values (3, 'no picture'), (4, x'00')")
    ds, gallery = serve(database), "/photos/products/-/imgsim"
    response = await ds.client.get(f"{gallery}/large/1.jpg")
    image = Image.open(io.BytesIO(response.content))
    assert image.format == "JPEG" and image.size[0] == 2048
    headers = {"if-none-match": response.headers["etag"]}
    assert (await ds.client.get(f"{gallery}/large/1.jpg", headers=headers)).status_code == 304
    for id in (3, 4, 5):
        assert (await get_json(ds, f"{gallery}/large/{id}.jpg", 404))["error"]
    html = (await ds.client.get(gallery)).text
    assert f'data-large="{gallery}/large/1.jpg"' in html
