"""Pictures by key: thumbnails, large pictures, and thumbnails in Datasette's own tables."""

import io
import sqlite3

import pytest
from conftest import draw, imgsim
from made import change, set_source
from PIL import Image
from serving import GALLERY, IS_1, get_json, serve

from datasette_imgsim.limits import LIMITS

pytestmark = pytest.mark.datasette

SIMILAR = f"{GALLERY}/similar/3"


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
    conn = sqlite3.connect(copy_photos / "photos.db")
    conn.execute("delete from images where id = 3")
    conn.commit()
    conn.close()
    await get_json(serve(copy_photos / "photos.db"), f"{GALLERY}/thumbnail/3.jpg", 404)


# Datasette's own pages; datasette-render-images is installed beside us


@pytest.mark.asyncio
async def test_the_source_table_shows_thumbnails_that_lead_to_similar_images(photos):
    ds = serve(photos / "photos.db")
    html = (await ds.client.get("/photos/images")).text
    assert html.count('class="imgsim-cell"') == 24
    assert f'<a class="imgsim-cell" href="{SIMILAR}"><img src="{GALLERY}/thumbnail/3.jpg"' in html
    assert "table-cells.css" in html


@pytest.mark.asyncio
async def test_the_row_page_shows_the_thumbnail(photos):
    html = (await serve(photos / "photos.db").client.get("/photos/images/3")).text
    assert html.count('class="imgsim-cell"') == 1 and "table-cells.css" in html


@pytest.mark.asyncio
@pytest.mark.parametrize("most, shown", [(20_000, 22), (5, 24)])
async def test_a_row_without_a_thumbnail_stays_as_it_is(copy_photos, monkeypatch, most, shown):
    monkeypatch.setattr(LIMITS, "most_thumbnails_known", most)
    database = copy_photos / "photos.db"
    change(database, "delete from imgsim_thumbnails where image_id in (3, 5)")
    html = (await serve(database).client.get("/photos/images")).text
    assert html.count('class="imgsim-cell"') == shown
    assert (f"{GALLERY}/thumbnail/3.jpg" in html) == (shown == 24)
    assert ">images/circles/2.jpg</td>" in html or shown == 24


@pytest.mark.asyncio
async def test_other_tables_and_formats_stay_as_they_are(photos):
    ds = serve(photos / "photos.db")
    assert "imgsim-cell" not in (await ds.client.get("/photos/imgsim_spaces")).text
    assert "imgsim-cell" not in (await ds.client.get("/photos/images.json?_shape=array")).text
    assert "imgsim-cell" not in (await ds.client.get("/photos/images.csv")).text
    query = await ds.client.get("/photos?sql=select+*+from+images", follow_redirects=True)
    assert "imgsim-cell" not in query.text


@pytest.mark.asyncio
async def test_cells_keep_their_text_escaped(copy_photos):
    conn = sqlite3.connect(copy_photos / "photos.db")
    conn.execute("update images set path = 'images/<b>&\"x.jpg' where id = 3")
    conn.commit()
    conn.close()
    ds = serve(copy_photos / "photos.db")
    for path in ("/photos/images", GALLERY, SIMILAR):
        html = (await ds.client.get(path)).text
        assert "<b>" not in html and "&lt;b&gt;" in html


@pytest.mark.asyncio
async def test_action_menus_lead_to_the_pages(photos):
    ds = serve(photos / "photos.db")
    for path in ("/photos", "/photos/images"):
        assert f'href="{GALLERY}"' in (await ds.client.get(path)).text
    assert f'href="{GALLERY}"' not in (await ds.client.get("/photos/imgsim_spaces")).text


@pytest.mark.asyncio
@pytest.mark.skipif(not IS_1, reason="Datasette 0.65 has no row actions")
async def test_row_actions_lead_to_similar_images(photos):
    html = (await serve(photos / "photos.db").client.get("/photos/images/3")).text
    assert "Similar images" in html


# Large pictures


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
    conn = sqlite3.connect(database)
    conn.execute("update images set path = ?", [path.format(big)])
    conn.commit()
    conn.close()
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
