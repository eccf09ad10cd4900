"""The page of duplicates, as HTML and as JSON, and what leads to it."""

import pytest
from helpers.browser import running
from helpers.commands import imgsim
from helpers.copies import embed, save, scene
from helpers.databases import change, rows
from helpers.serving import GALLERY, below, get_json, serve

PAGE = f"{GALLERY}/duplicates"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """photos.db with an exact group, a near one of three and a burst; not to be changed."""
    from datasette.plugins import pm
    from helpers import toy

    folder = tmp_path_factory.mktemp("duplicates")
    images = folder / "images"
    for seed in range(8):
        save(scene(seed), images / f"{seed}.jpg")
    save(scene(0), images / "0 again.jpg")
    for number, side in enumerate((120, 80)):
        save(scene(1).resize((side, side * 3 // 4)), images / f"1 small {number}.jpg")
    for second in (0, 3):
        shot = scene(99).crop((second, 0, 200 + second, 150))
        save(shot, images / f"shot {second}.jpg", f"2024:05:01 10:00:0{second}", 90)
    pm.register(toy, name="toy")
    try:
        imgsim("duplicates", embed(folder))
    finally:
        pm.unregister(toy)
    return folder


@pytest.fixture
def database(folder, tmp_path):
    (tmp_path / "photos.db").write_bytes((folder / "photos.db").read_bytes())
    return tmp_path / "photos.db"


pytestmark = pytest.mark.datasette


@pytest.mark.asyncio
async def test_groups_stand_side_by_side_with_the_one_to_keep(folder):
    html = (await serve(folder / "photos.db").client.get(PAGE)).text
    assert html.count('class="imgsim-group"') == html.count("<strong>Keep.</strong>") >= 3
    assert "240 x 180 · " in html and "50 % of its size" in html
    assert "images/0 again.jpg" in html
    assert "datasette imgsim duplicates photos.db --paths" in html


@pytest.mark.asyncio
async def test_json_has_the_groups_of_a_kind(folder):
    ds = serve(folder / "photos.db")
    answer = await get_json(ds, f"{PAGE}.json")
    assert {"exact", "near", "burst"} == {group["kind"] for group in answer["groups"]}
    near = await get_json(ds, f"{PAGE}.json?kind=near")
    assert near["counts"] == answer["counts"] and near["note"] is None
    (group,) = [g for g in near["groups"] if len(g["images"]) == 3]
    kept = next(image for image in group["images"] if image["id"] == group["keep"])
    assert kept["width"] == 240 and kept["differs"] is None
    assert kept["thumbnail"] == f"{GALLERY}/thumbnail/{kept['id']}.jpg"
    assert group["why"] == "It has the most pixels (240 x 180)."


@pytest.mark.asyncio
async def test_pages_follow_each_other(folder):
    ds = serve(folder / "photos.db")
    whole = (await get_json(ds, f"{PAGE}.json"))["groups"]
    path, found = f"{PAGE}.json?_size=1", []
    while path:
        answer = await get_json(ds, path)
        found += answer["groups"]
        path = answer["next_url"] and below(answer["next_url"])
    assert found == whole
    html = (await ds.client.get(f"{PAGE}?_size=1")).text
    assert f'rel="next" href="{PAGE}?_size=1&amp;_next=' in html


@pytest.mark.asyncio
async def test_a_wrong_kind_is_refused(folder):
    answer = await get_json(serve(folder / "photos.db"), f"{PAGE}.json?kind=far", 400)
    assert answer["error"] == "kind is one of exact, near, burst, not 'far'"


@pytest.mark.asyncio
async def test_where_nobody_has_looked_the_command_is_named(photos):
    ds = serve(photos / "photos.db")
    answer = await get_json(ds, f"{PAGE}.json")
    assert answer["groups"] == []
    assert answer["note"].endswith("run 'datasette imgsim duplicates photos.db'")
    assert "Nobody has looked for duplicates yet" in (await ds.client.get(PAGE)).text
    for path in (GALLERY, "/", "/photos", "/photos/images"):
        assert PAGE not in (await ds.client.get(path)).text


@pytest.mark.asyncio
@pytest.mark.parametrize("path", [GALLERY, "/", "/photos", "/photos/images"])
async def test_where_there_are_groups_something_leads_to_them(folder, path):
    assert f'href="{PAGE}' in (await serve(folder / "photos.db").client.get(path)).text


@pytest.mark.asyncio
async def test_older_groups_are_shown_with_the_command_that_finds_them_anew(database):
    change(database, "update imgsim_spaces set generation = generation + 1")
    answer = await get_json(serve(database), f"{PAGE}.json")
    assert answer["groups"] and "finds them anew" in answer["note"]


@pytest.mark.asyncio
async def test_what_was_decided_or_removed_is_not_shown(database):
    before = (await get_json(serve(database), f"{PAGE}.json?kind=exact"))["groups"]
    imgsim("duplicates", database, *(image["id"] for image in before[0]["images"]), "--settled")
    answer = await get_json(serve(database), f"{PAGE}.json?kind=exact")
    assert answer["groups"] == before[1:]
    assert answer["counts"]["exact"]["groups"] == len(before) - 1
    change(database, "delete from images where path like '%small%'")
    sizes = [len(g["images"]) for g in (await get_json(serve(database), f"{PAGE}.json"))["groups"]]
    assert 3 not in sizes


@pytest.mark.asyncio
async def test_the_csv_is_that_of_the_table(folder):
    ds = serve(folder / "photos.db")
    html = (await ds.client.get(PAGE)).text
    assert "/photos/imgsim_duplicates.csv?space_id__exact=1" in html
    csv = (await ds.client.get("/photos/imgsim_duplicates.csv?space_id__exact=1&_stream=on")).text
    count = rows(folder / "photos.db", "select count(*) from imgsim_duplicates")[0]
    assert len(csv.strip().splitlines()) == count + 1


def test_a_slider_lays_the_one_to_keep_over_another(folder, plugins, page):
    with running(folder, plugins) as url:
        page.goto(url + PAGE)
        slider = page.locator(".imgsim-slider input").first
        over = page.locator(".imgsim-over").first
        assert not over.is_visible()
        slider.focus()
        for _ in range(10):
            page.keyboard.press("ArrowRight")
        assert over.is_visible()
        assert over.evaluate("each => each.style.clipPath") == "inset(0px 50% 0px 0px)"
        assert slider.get_attribute("aria-valuetext") == "50 % of it"
        width = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert width <= 0
