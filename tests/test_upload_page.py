"""Images that are sent: what is refused, their limits, and what they must not disturb."""

import asyncio
import hashlib
import io
import threading

import pytest
from helpers.commands import imgsim
from helpers.networks import random_weights
from helpers.pictures import draw
from helpers.serving import GALLERY, IS_1, ROW_KEYS, cookies, serve
from helpers.waiting import LONG, eventually
from PIL import Image

from datasette_imgsim.ingest import query
from datasette_imgsim.limits import LIMITS
from datasette_imgsim.models.base import Model
from datasette_imgsim.web import compat, worker
from datasette_imgsim.web.pages import upload

pytestmark = pytest.mark.datasette

SEARCH, UPLOAD = f"{GALLERY}/search", f"{GALLERY}/upload"


async def post(ds, data, path=SEARCH, **options):
    return await ds.client.post(path, content=data, **options)


@pytest.fixture
def picture(photos):
    return next((photos / "images" / "circles").iterdir()).read_bytes()


@pytest.mark.asyncio
async def test_an_image_finds_itself_and_its_like(photos, picture):
    response = await post(serve(photos / "photos.db"), picture, f"{SEARCH}?_size=5")
    assert response.status_code == 200, response.text
    answer = response.json()
    assert set(answer) == {"ok", "space", "query", "cut", "rows", "next", "next_url"}
    assert answer["query"] == {
        "width": 120,
        "height": 90,
        "format": "JPEG",
        "level_weights": answer["query"]["level_weights"],
        "rerank": False,
    }
    assert len(answer["rows"]) == 5 and all(set(row) == ROW_KEYS for row in answer["rows"])
    assert answer["rows"][0]["score"] > 0.99
    assert answer["next"] == "5" and answer["next_url"].endswith(f"{SEARCH}?_size=5&_next=5")


@pytest.mark.asyncio
async def test_the_pages_after_the_first(photos, picture):
    ds = serve(photos / "photos.db")
    whole = (await post(ds, picture)).json()["rows"]
    second = (await post(ds, picture, f"{SEARCH}?_size=5&_next=5")).json()
    assert second["rows"] == whole[5:10] and len(whole) == 24


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "query,sentence",
    [
        ("?space=nope", "No space 'nope'"),
        ("?level_weights=pool9:1", "no level 'pool9'"),
        ("?_size=0", "_size"),
        ("?_next=x", "_next"),
    ],
)
async def test_wrong_parameters(photos, picture, query, sentence):
    response = await post(serve(photos / "photos.db"), picture, SEARCH + query)
    assert response.status_code == 400 and sentence in response.json()["error"]


def many_pixels():
    file = io.BytesIO()
    Image.new("1", (10_000, 6_000)).save(file, "PNG")
    return file.getvalue()


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "data,status,sentence",
    [
        (b"", 400, "no image in the request"),
        (b"plain text", 415, "cannot be read"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415, "cannot be read"),
        (b"\xff\xd8\xff\xe0 cut off", 415, "cannot be read"),
        (many_pixels(), 413, "60,000,000 pixels"),
        (b"x" * 100_001, 413, "larger than 0.1 MB"),
    ],
    ids=["empty", "text", "svg", "damaged", "pixels", "bytes"],
)
async def test_what_is_refused(photos, data, status, sentence):
    response = await post(serve(photos / "photos.db", {"max_upload_mb": 0.1}), data)
    assert response.status_code == status
    answer = response.json()
    assert set(answer) == {"ok", "error"} and sentence in answer["error"]
    assert "Traceback" not in response.text


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "method,path,allowed", [("GET", SEARCH, "POST"), ("PUT", UPLOAD, "GET, HEAD, POST")]
)
async def test_other_methods_are_refused(photos, method, path, allowed):
    response = await serve(photos / "photos.db").client.request(method, path)
    assert response.status_code == 405 and response.headers["allow"] == allowed


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "uploads,anonymous,ann",
    [(True, 200, 200), (False, 403, 403), ({"id": "ann"}, 403, 200), ({"id": "*"}, 403, 200)],
)
async def test_who_may_upload(photos, picture, uploads, anonymous, ann):
    ds = serve(photos / "photos.db", {"uploads": uploads})
    for expected, options in ((anonymous, {}), (ann, {"cookies": cookies(ds, "ann")})):
        page = await ds.client.get(GALLERY, **options)
        assert ("data-upload=" in page.text) == (expected == 200)
        asked = await ds.client.get(UPLOAD, **options)
        assert asked.status_code == expected
        headers = {}
        if options and not IS_1:
            cookie = asked.cookies.get("ds_csrftoken", "none")
            assert asked.json().get("csrftoken", "none") == cookie
            options["cookies"]["ds_csrftoken"] = headers["x-csrftoken"] = cookie
        for path in (SEARCH, UPLOAD):
            response = await post(ds, picture, path, headers=headers, **options)
            if expected == 403 and options and not IS_1:
                assert response.status_code == 403  # without a token, before anything of ours
            else:
                assert response.status_code == expected, response.text


@pytest.mark.asyncio
@pytest.mark.parametrize("path", [SEARCH, UPLOAD])
async def test_another_site_cannot_send_on_behalf_of_a_visitor(photos, picture, path):
    ds = serve(photos / "photos.db")
    response = await post(
        ds,
        picture,
        path,
        cookies={**cookies(ds, "ann"), "ds_csrftoken": "x"},
        headers={"origin": "https://evil.example", "sec-fetch-site": "cross-site"},
    )
    assert response.status_code == 403


@pytest.mark.asyncio
async def test_without_torch_the_page_says_so_and_the_rest_works(photos, picture, monkeypatch):
    sentence = "This needs torch: pip install 'datasette-imgsim[embed]'"
    monkeypatch.setattr(Model, "missing_package", lambda model: sentence)
    ds = serve(photos / "photos.db")
    page = await ds.client.get(GALLERY)
    assert page.status_code == 200 and "This needs torch" in page.text
    assert "data-upload=" not in page.text and page.text.count('class="imgsim-tile"') == 24
    response = await post(ds, picture)
    assert response.status_code == 503 and response.json()["error"] == sentence
    assert (await ds.client.get(f"{GALLERY}/similar/3.json")).status_code == 200


@pytest.mark.asyncio
@pytest.mark.parametrize("path", [SEARCH, UPLOAD])
async def test_nothing_is_stored(copy_photos, picture, path):
    database = copy_photos / "photos.db"
    before = hashlib.sha256(database.read_bytes()).digest()
    assert (await post(serve(database), picture, path)).status_code == 200
    assert hashlib.sha256(database.read_bytes()).digest() == before
    assert {path.name for path in copy_photos.iterdir()} == {"images", "photos.db"}


class Busy:
    """Stands for a model that is at work until it is told to go on."""

    def __init__(self, monkeypatch):
        self.running, self.most, self.go_on = 0, 0, threading.Event()
        self.embed = query.embed_picture
        monkeypatch.setattr(query, "embed_picture", self)

    def __call__(self, *args):
        self.running += 1
        self.most = max(self.most, self.running)
        assert self.go_on.wait(LONG)
        try:
            return self.embed(*args)
        finally:
            self.running -= 1


@pytest.fixture
def busy(monkeypatch):
    found = Busy(monkeypatch)
    yield found
    found.go_on.set()


@pytest.mark.asyncio
async def test_one_inference_at_a_time_and_a_short_queue(photos, picture, busy):
    ds = serve(photos / "photos.db")
    await ds.client.get(GALLERY)
    posts = [asyncio.ensure_future(post(ds, picture)) for _ in range(worker.WAITING + 3)]
    done, pending = await asyncio.wait(posts, return_when=asyncio.FIRST_COMPLETED)
    while len(done) < 2:
        more, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        done |= more
    for refused in done:
        assert refused.result().status_code == 429
        assert refused.result().headers["retry-after"]
    busy.go_on.set()
    assert [(await each).status_code for each in pending] == [200] * (worker.WAITING + 1)
    assert busy.most == 1
    assert (await post(ds, picture)).status_code == 200


@pytest.mark.asyncio
async def test_other_pages_are_served_while_the_model_computes(photos, picture, busy):
    ds = serve(photos / "photos.db")
    await ds.client.get(GALLERY)
    sent = asyncio.ensure_future(post(ds, picture))
    await eventually(lambda: busy.running)
    for path in (GALLERY, f"{GALLERY}/similar/3", "/photos.json?sql=select+1"):
        response = await asyncio.wait_for(ds.client.get(path, follow_redirects=True), LONG / 2)
        assert response.status_code == 200
    assert not sent.done()
    busy.go_on.set()
    assert (await sent).status_code == 200


@pytest.mark.asyncio
async def test_a_client_that_goes_away_leaves_its_place(photos, picture, busy):
    ds = serve(photos / "photos.db")
    await ds.client.get(GALLERY)
    for _ in range(3):
        gone = [asyncio.ensure_future(post(ds, picture)) for _ in range(worker.WAITING + 1)]
        await eventually(lambda: busy.running)
        await asyncio.sleep(0.1)
        for each in gone:
            each.cancel()
        await asyncio.gather(*gone, return_exceptions=True)
        busy.go_on.set()
        await eventually(lambda: not busy.running)
    assert (await post(ds, picture)).status_code == 200
    assert worker._places._value == worker.WAITING + 1


async def slow(go_on, data=b""):
    """A body whose first byte comes at once and the rest when it is told to."""
    yield data[:1]
    await go_on.wait()
    yield data[1:]


async def taken(count):
    """Waits until so many places are taken."""
    await eventually(lambda: worker._places._value == worker.WAITING + 1 - count)


@pytest.mark.asyncio
async def test_bodies_on_their_way_take_no_places(photos, picture):
    ds, go_on = serve(photos / "photos.db"), asyncio.Event()
    await ds.client.get(GALLERY)
    sent = [
        asyncio.ensure_future(post(ds, slow(go_on, data)))
        for data in (picture, picture, b"x" * 99, b"x" * 30_000_000, picture, picture)
    ]
    await arriving(len(sent))
    assert (await post(ds, picture)).status_code == 200
    sent[0].cancel()
    await arriving(len(sent) - 1)
    go_on.set()
    assert [(await each).status_code for each in sent[1:4]] == [200, 415, 413]
    for each in sent[4:]:
        await each
    await arriving(0)


async def arriving(size):
    """Waits until so many bytes of bodies have arrived and are kept."""
    await eventually(lambda: sum(each.size for each in upload._Arriving.all) == size)


@pytest.mark.asyncio
async def test_bodies_on_their_way_are_bounded_all_together(photos, picture, monkeypatch):
    """The oldest give way, so that nobody is kept out by bodies that do not end."""
    monkeypatch.setattr(LIMITS, "bytes_of_bodies", len(picture) + 2)
    ds, go_on = serve(photos / "photos.db"), asyncio.Event()
    await ds.client.get(GALLERY)
    sent = []
    for count in range(1, 5):
        sent.append(asyncio.ensure_future(post(ds, slow(go_on, picture))))
        await arriving(count)
    assert (await post(ds, picture)).status_code == 200
    for each in sent[:2]:
        response = await each
        assert response.status_code == 429 and response.headers["retry-after"]
    await arriving(2)
    sent.pop().cancel()
    await arriving(1)
    go_on.set()
    assert (await sent.pop()).status_code == 200
    await arriving(0)


@pytest.mark.asyncio
async def test_a_body_that_alone_is_too_much(photos, picture, monkeypatch):
    monkeypatch.setattr(LIMITS, "bytes_of_bodies", len(picture) - 1)
    ds = serve(photos / "photos.db")
    assert (await post(ds, picture)).status_code == 429
    await arriving(0)


async def trickle(data, pause):
    """A body that comes byte by byte."""
    for at in range(len(data)):
        yield data[at : at + 1]
        await asyncio.sleep(pause)


@pytest.mark.asyncio
async def test_a_body_that_trickles_is_given_up(photos, monkeypatch):
    monkeypatch.setattr(LIMITS, "seconds_a_piece", 0.3)
    monkeypatch.setattr(LIMITS, "bytes_a_piece", 1_000)
    ds = serve(photos / "photos.db")
    await ds.client.get(GALLERY)
    began = asyncio.get_running_loop().time()
    response = await post(ds, trickle(bytes(10_000), 0.05))
    assert response.status_code == 408 and "less than 1 kB of it in 0.3 s" in response.text
    assert asyncio.get_running_loop().time() - began < LONG
    await arriving(0)


@pytest.mark.asyncio
async def test_a_slow_body_that_goes_on_is_taken(photos, picture, monkeypatch):
    monkeypatch.setattr(LIMITS, "seconds_a_piece", LONG)
    monkeypatch.setattr(LIMITS, "bytes_a_piece", 1)
    ds = serve(photos / "photos.db")
    assert (await post(ds, trickle(picture[:200], 0.001))).status_code == 415


@pytest.mark.asyncio
@pytest.mark.parametrize("limit", ["seconds_a_body", "seconds_a_piece"])
async def test_a_body_that_takes_too_long_is_given_up(photos, monkeypatch, limit):
    monkeypatch.setattr(LIMITS, limit, 0.1)
    ds = serve(photos / "photos.db")
    await ds.client.get(GALLERY)
    response = await post(ds, slow(asyncio.Event()))
    assert response.status_code == 408 and "0.1 s" in response.json()["error"]
    await taken(0)
    await arriving(0)


@pytest.fixture
def own_weights(copy_photos):
    """A folder whose database was made with the file own.pth in it."""
    weights = random_weights("vgg11", ["pool1"], copy_photos / "own.pth")
    options = ("--model", "vgg11", "--weights", weights, "--levels", "pool1", "--size", 32)
    imgsim("embed", copy_photos / "own.db", copy_photos / "images", "--quiet", *options)
    return copy_photos


def remove(weights):
    weights.unlink()


def corrupt(weights):
    weights.write_bytes(b"no tensors")


def cut_short(weights):
    weights.write_bytes(weights.read_bytes()[:1000])


def exchange(weights):
    random_weights("vgg11", ["pool1"], weights, seed=1)


@pytest.mark.asyncio
@pytest.mark.parametrize("change", [remove, corrupt, cut_short, exchange])
async def test_wrong_weights_are_told_to_the_log_only(
    own_weights, picture, change, monkeypatch, capsys
):
    change(own_weights / "own.pth")
    # As if the file had gone just now.
    monkeypatch.setattr(worker.settings, "unavailable", lambda *args: None)
    response = await post(serve(own_weights / "own.db"), picture, "/own/images/-/imgsim/search")
    assert response.status_code == 503 and "see the server's log" in response.json()["error"]
    assert str(own_weights) not in response.text and "own.pth" not in response.text
    assert str(own_weights / "own.pth") in capsys.readouterr().err


class Arriving:
    """A request whose body comes in these messages."""

    def __init__(self, messages, headers=()):
        self.messages, self.headers = list(messages), dict(headers)

    async def receive(self):
        return self.messages.pop(0)


def chunk(data, more=True):
    return {"type": "http.request", "body": data, "more_body": more}


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "messages,headers,expected",
    [
        ([chunk(b"ab"), chunk(b"cd", False)], {}, b"abcd"),
        ([{"type": "http.request"}], {}, b""),
        ([chunk(b"abcd"), chunk(b"e", False)], {}, None),
        ([], {"content-length": "5"}, None),
        ([chunk(b"abc", False)], {"content-length": "x"}, b"abc"),
    ],
)
async def test_bodies_are_read_up_to_the_limit(messages, headers, expected):
    assert await compat.body(Arriving(messages, headers), 4) == expected


@pytest.mark.asyncio
async def test_a_body_that_breaks_off_is_no_picture():
    with pytest.raises(compat.BrokenUpload):
        await compat.body(Arriving([chunk(b"ab"), {"type": "http.disconnect"}]), 4)


@pytest.mark.asyncio
async def test_any_format_that_can_be_embedded_can_be_sent(photos, tmp_path):
    ds = serve(photos / "photos.db")
    for suffix in ("png", "webp", "gif", "tiff", "bmp"):
        data = draw(tmp_path / f"a.{suffix}").read_bytes()
        response = await post(ds, data)
        assert response.status_code == 200, suffix
        assert response.json()["query"]["format"] == suffix.upper()
