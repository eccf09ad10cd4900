"""The page of groups, the cards above the gallery, and what leads to them."""

import re
from html import unescape

import pytest
from helpers.databases import change, copy_space, rows
from helpers.grouped import by_folder, fill_groups
from helpers.serving import GALLERY, get_json, links, serve

# Groups that have changed are read again at once.
pytestmark = [pytest.mark.datasette, pytest.mark.asyncio, pytest.mark.usefixtures("quick")]

PAGE = f"{GALLERY}/groups"
COMMAND = "datasette imgsim groups photos.db"


@pytest.fixture
def grouped(mapped):
    """(a server of `mapped`, its file, {name: id} of its groups): six circles, five squares."""
    database = mapped / "photos.db"
    folders = by_folder(database)
    ids = fill_groups(database, {"five": folders["squares"][1:], "round & six": folders["circles"]})
    return serve(database), database, ids


async def page(ds, path=PAGE):
    return unescape((await ds.client.get(path)).text)


def cards(html):
    """[(address, whether it is chosen, name, count)] of the cards above the gallery."""
    found = re.findall(
        r'<li><a href="([^"]+)"( aria-current="true")?>.*?imgsim-group-name">([^<]+)</span> '
        r'<span class="imgsim-quiet">([\d,]+)',
        html[html.index('class="imgsim-cards"') :],
        re.DOTALL,
    )
    return [(href, bool(chosen), name, int(count)) for href, chosen, name, count in found]


async def test_groups_are_told_largest_first(grouped):
    ds, database, ids = grouped
    answer = await get_json(ds, f"{PAGE}.json")
    assert [(each["id"], each["name"], each["images"]) for each in answer["groups"]] == [
        (ids["round & six"], "round & six", 6),
        (ids["five"], "five", 5),
    ]
    first = answer["groups"][0]
    assert first["cover"] == by_folder(database)["circles"][0]
    assert first["href"] == f"{GALLERY}?_in_group={first['id']}"
    assert first["thumbnail"] == f"{GALLERY}/thumbnail/{first['cover']}.jpg"
    assert answer["ungrouped"] == 13
    assert answer["is_current"] is True and answer["note"] is None


async def test_each_group_leads_to_its_images_on_each_view(grouped):
    ds, database, ids = grouped
    html = await page(ds)
    assert "13 images are in none" in html and html.index("round & six") < html.index(">five<")
    for name, id in ids.items():
        count = 6 if name == "round & six" else 5
        for base in ("/photos/images", GALLERY, f"{GALLERY}/map"):
            link = f"{base}?_in_group={id}"
            assert f'href="{link}"' in html
            assert f"picture is in the group {name}" in await page(ds, link)
        assert (await get_json(ds, f"{GALLERY}.json?_in_group={id}"))["filtered"] == count
    assert html.count(f"{GALLERY}/thumbnail/") == 11  # of so few images, all
    assert {(await ds.client.get(link)).status_code for link in links(html)} == {200}


async def test_where_there_is_no_map_none_is_linked(copy_photos):
    database = copy_photos / "photos.db"
    fill_groups(database, by_folder(database))
    html = await page(serve(database))
    assert "4 groups" in html and "/map" not in html and "in none" not in html


async def test_where_nobody_has_made_groups_the_command_is_named(photos):
    ds = serve(photos / "photos.db")
    answer = await get_json(ds, f"{PAGE}.json")
    assert (answer["groups"], answer["is_current"], answer["ungrouped"]) == ([], False, 24)
    assert answer["note"].endswith(f"yet: run '{COMMAND}'")
    assert f"run '{COMMAND}'" in await page(ds)
    for path in (GALLERY, "/", "/photos", "/photos/images", f"{GALLERY}/similar/3"):
        html = await page(ds, path)
        assert PAGE not in html and "imgsim-cards" not in html and "(likeness)" not in html


async def test_where_no_images_make_a_group_the_page_says_so(mapped):
    fill_groups(mapped / "photos.db", {})
    ds = serve(mapped / "photos.db")
    answer = await get_json(ds, f"{PAGE}.json")
    assert answer["groups"] == [] and answer["is_current"] and answer["note"] is None
    assert "No images of this space are alike enough" in await page(ds)


async def test_older_groups_are_shown_with_the_command_that_renews_them(grouped):
    ds, database, _ids = grouped
    change(database, "update imgsim_spaces set generation = generation + 1")
    answer = await get_json(ds, f"{PAGE}.json")
    assert len(answer["groups"]) == 2 and answer["is_current"] is False
    assert f"'{COMMAND}' renews them" in answer["note"]
    assert answer["note"] in await page(ds)


async def test_rows_that_are_gone_are_not_counted(grouped):
    ds, database, ids = grouped
    before = await get_json(ds, f"{PAGE}.json")
    change(database, "delete from images where id = ?", before["groups"][0]["cover"])
    after = await get_json(ds, f"{PAGE}.json")
    assert [each["images"] for each in after["groups"]] == [5, 5]
    assert before["groups"][0]["cover"] not in [each["cover"] for each in after["groups"]]
    assert after["ungrouped"] == 13
    folder = by_folder(database)["squares"]
    change(database, f"delete from images where id in ({', '.join(map(str, folder))})")
    (left,) = (await get_json(ds, f"{PAGE}.json"))["groups"]
    assert left["name"] == "round & six"
    assert (await get_json(ds, f"{GALLERY}.json?_in_group={ids['five']}"))["filtered"] == 0


async def test_each_space_has_groups_of_its_own(grouped):
    ds, database, ids = grouped
    copy_space(database, "other", "images")
    change(database, "update imgsim_spaces set is_default = 0, groups = null where name = 'other'")
    assert (await get_json(ds, f"{PAGE}.json?space=other"))["groups"] == []
    assert f"run '{COMMAND} --space other'" in await page(ds, f"{PAGE}?space=other")
    found = fill_groups(database, {"all": [*range(1, 25)]}, "other")
    (group,) = (await get_json(ds, f"{PAGE}.json?space=other"))["groups"]
    assert group["href"] == f"{GALLERY}?space=other&_in_group={found['all']}"
    assert "24</strong> of 24 images" in await page(ds, group["href"])
    assert f"{GALLERY}?space=other&_in_group=" in await page(ds, f"{PAGE}?space=other")
    html = await page(ds)
    assert f'href="{PAGE}?space=other"' in html
    answer = await get_json(ds, f"{GALLERY}.json?space=other&_in_group={ids['five']}", 404)
    assert answer["error"] == f"There is no group {ids['five']} in the space 'other'"


@pytest.mark.parametrize("path", [GALLERY, "/", "/photos", "/photos/images", f"{GALLERY}/map"])
async def test_where_there_are_groups_something_leads_to_them(grouped, path):
    assert f'href="{PAGE}"' in await page(grouped[0], path)


async def test_cards_stand_above_the_gallery_until_another_filter_is_on(grouped):
    ds, _database, ids = grouped
    six, five = ids["round & six"], ids["five"]
    assert cards(await page(ds, GALLERY)) == [
        (f"{GALLERY}?_in_group={six}", False, "round & six", 6),
        (f"{GALLERY}?_in_group={five}", False, "five", 5),
    ]
    assert cards(await page(ds, f"{GALLERY}?_in_group={five}&_facet=format")) == [
        (f"{GALLERY}?_facet=format", True, "five", 5),
        (f"{GALLERY}?_facet=format&_in_group={six}", False, "round & six", 6),
    ]
    for query in ("format=PNG", f"_in_group={five}&format=PNG", "_similar_to=3", "_next=3"):
        html = await page(ds, f"{GALLERY}?{query}")
        assert 'class="imgsim-cards"' not in html
        assert f'href="{PAGE}"' in html


async def test_a_group_with_a_damaged_name_is_shown(grouped):
    ds, database, _ids = grouped
    change(database, "update imgsim_groups set name = 7 where name = 'five'")
    assert [each["name"] for each in (await get_json(ds, f"{PAGE}.json"))["groups"]][1] == "7"


async def test_an_older_database_is_as_it_was(photos, tmp_path):
    (tmp_path / "photos.db").write_bytes((photos / "photos.db").read_bytes())
    change(tmp_path / "photos.db", "delete from _sqlite_migrations where name like 'm009%'")
    for table in ("imgsim_group_members", "imgsim_groups"):
        change(tmp_path / "photos.db", f"drop table {table}")
    ds = serve(tmp_path / "photos.db", immutable=True)
    for path in ("/photos/images", "/photos", "/"):
        assert (await ds.client.get(path)).status_code == 200
    assert rows(tmp_path / "photos.db", "select count(*) from images") == [24]


MAP = "/photos/images/-/imgsim/map.json?groups=1"


@pytest.mark.parametrize(
    "sql",
    [
        "update imgsim_groups set name = cast(x'ff41' as text)",
        "update imgsim_groups set name = x'ff'",
        "update imgsim_group_members set group_id = 'abc' where image_key = 3",
    ],
)
async def test_damaged_groups_break_no_page(grouped, sql):
    ds, database, _ids = grouped
    change(database, sql)
    table = "/photos/images?_facet_likeness=group"
    for path in (PAGE, f"{PAGE}.json", GALLERY, MAP, table):
        assert (await ds.client.get(path)).status_code == 200, path


async def test_a_database_of_an_older_version_names_the_upgrade(grouped):
    _, database, _ids = grouped
    change(database, "drop table imgsim_groups")
    change(database, "drop table imgsim_group_members")
    change(database, "delete from _sqlite_migrations where name = 'm009_groups'")
    change(database, "alter table imgsim_spaces drop column groups")
    ds = serve(database)
    for path in (PAGE, GALLERY, MAP, "/photos/images?_facet_likeness=group"):
        answer = await ds.client.get(path)
        assert "written by an older datasette-imgsim: run" in unescape(answer.text), path
