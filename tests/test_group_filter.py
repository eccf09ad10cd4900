"""`?_in_group=` and `?_facet_likeness=group` on Datasette's own page of a table, and on ours."""

import json
from html import unescape

import pytest
from helpers.databases import change, lay_out, renamed, rows
from helpers.grouped import by_folder, fill_groups
from helpers.maps import places_of
from helpers.serving import GALLERY, get_json, serve

# Groups that have changed are read again at once.
pytestmark = [pytest.mark.datasette, pytest.mark.asyncio, pytest.mark.usefixtures("quick")]

TABLE = "/photos/images"
FACET = "_facet_likeness=group"


@pytest.fixture
def grouped(mapped):
    """(a server, its file, {name: ids} of its groups, {name: id} of the groups)"""
    database = mapped / "photos.db"
    members = by_folder(database)
    members.pop("stripes")
    return serve(database), database, members, fill_groups(database, members)


async def facet(ds, path):
    """{name: (count, whether it is chosen)} of the facet by group on a page of the table."""
    answer = await get_json(ds, f"{path}&_size=0&_extra=facet_results")
    results = answer["facet_results"]
    (found,) = results.get("results", results).values()
    assert (found["name"], found["type"]) == ("group", "likeness")
    return {each["label"]: (each["count"], each["selected"]) for each in found["results"]}


async def test_only_images_of_the_group_pass_on_all_views(grouped):
    ds, _database, members, ids = grouped
    wanted, query = members["squares"], f"_in_group={ids['squares']}"
    table = await get_json(ds, f"{TABLE}.json?_shape=array&{query}")
    assert sorted(row["id"] for row in table) == sorted(wanted)
    gallery = await get_json(ds, f"{GALLERY}.json?{query}")
    assert sorted(row["id"] for row in gallery["rows"]) == sorted(wanted)
    map = await get_json(ds, f"{GALLERY}/map.json?{query}&z=5")
    assert sum(row["wanted"] for row in map["rows"]) == 6 and map["count"] > 6
    csv = (await ds.client.get(f"{TABLE}.csv?{query}&_stream=on")).text
    assert len(csv.strip().splitlines()) == 7
    plain = await ds.client.get(f"{GALLERY}/tiles/1/0/0.jpg")
    assert (await ds.client.get(f"{GALLERY}/tiles/1/0/0.jpg?{query}")).content != plain.content


async def test_it_goes_with_other_filters(grouped):
    ds, database, members, ids = grouped
    change(database, "update images set format = 'PNG' where id % 2")
    odd = [id for id in members["dots"] if id % 2]
    both = f"_in_group={ids['dots']}&format=PNG&_in_atlas=0,0,256,256"
    answer = await get_json(ds, f"{GALLERY}.json?{both}&_facet=format")
    assert sorted(row["id"] for row in answer["rows"]) == sorted(odd) and odd
    assert answer["facets"][0]["values"][0] == {"label": "PNG", "count": len(odd), "selected": True}
    html = unescape((await ds.client.get(f"{TABLE}?{both}")).text)
    assert "where the picture is in the group dots, the picture is on the map" in html


async def test_the_facet_counts_and_toggles(grouped):
    ds, database, _members, ids = grouped
    counts = dict.fromkeys(ids, (6, False))
    assert await facet(ds, f"{TABLE}.json?{FACET}") == counts  # of all rows, as they are known
    change(database, "update images set format = 'PNG' where path like '%dots%'")
    assert await facet(ds, f"{TABLE}.json?{FACET}&format=JPEG") == {
        "circles": (6, False),
        "squares": (6, False),
    }
    html = unescape((await ds.client.get(f"{TABLE}?{FACET}")).text)
    chosen = f"{TABLE}?{FACET}&_in_group={ids['dots']}"
    assert f'href="http://localhost{chosen}"' in html
    assert await facet(ds, chosen.replace("?", ".json?")) == {"dots": (6, True)}
    assert f'href="http://localhost{TABLE}?{FACET}"' in (await ds.client.get(chosen)).text.replace(
        "&amp;", "&"
    )


async def test_the_gallery_has_the_facet_beside_it(grouped):
    ds, _database, _members, ids = grouped
    html = unescape((await ds.client.get(f"{GALLERY}?{FACET}")).text)
    part = html[html.index("data-facets>") :]
    assert "group (likeness)" in part
    assert f'<a href="{GALLERY}?{FACET}&_in_group={ids["dots"]}">dots</a>' in part
    (found,) = (await get_json(ds, f"{GALLERY}.json?{FACET}&format=JPEG"))["facets"]
    assert found["type"] == "likeness" and len(found["values"]) == 3


@pytest.mark.parametrize(
    "query, is_there",
    [
        ("", True),
        ("format=JPEG", True),
        (FACET, False),
        ("_in_group=1", False),
        ("_space=x", False),
    ],
)
async def test_it_is_suggested_where_it_tells_something(grouped, query, is_there):
    answer = await get_json(grouped[0], f"{TABLE}.json?_extra=suggested_facets&{query}")
    names = [(each["name"], each.get("type")) for each in answer["suggested_facets"]]
    assert (("group", "likeness") in names) == is_there
    other = await get_json(grouped[0], "/photos/imgsim_spaces.json?_extra=suggested_facets")
    assert "likeness" not in json.dumps(other["suggested_facets"])


async def test_it_may_be_configured(mapped):
    config = {"databases": {"photos": {"tables": {"images": {"facets": [{"likeness": "group"}]}}}}}
    ds = serve(mapped / "photos.db", **config)
    assert "group (likeness)" not in (await ds.client.get(TABLE)).text  # there are none yet
    fill_groups(mapped / "photos.db", by_folder(mapped / "photos.db"))
    for path in (TABLE, GALLERY):
        html = (await ds.client.get(path)).text
        assert "group (likeness)" in html and "remove the facet group" not in html


async def test_counting_may_take_too_long(grouped):
    _ds, database, _members, _ids = grouped
    ds = serve(database, settings={"facet_time_limit_ms": 1})
    slow = "_where=(with+recursive+n(i)+as+(select+1+union+all+select+i%2B1+from+n+limit+300000)"
    html = (await ds.client.get(f"{TABLE}?{FACET}&{slow}+select+max(i)+from+n)>id")).text
    assert "facets timed out: group" in html.lower()


@pytest.mark.parametrize("kind", ["text", "undeclared"])
async def test_keys_of_any_kind(mapped, kind):
    database = mapped / "photos.db"
    keys = renamed(database, "my photos", (lambda id: f"k/{id}") if kind == "text" else abs)
    if kind == "undeclared":
        change(database, 'create table loose ("the key" primary key, path text)')
        change(database, 'insert into loose select * from "my photos"')
        change(database, 'drop table "my photos"')
        change(database, "alter table loose rename to 'my photos'")
    lay_out(database, places_of(list(keys.values())))
    ids = fill_groups(database, {"one": [keys[3]], "many": [keys[1], keys[2]]}, table="my photos")
    ds, table = serve(database), "/photos/my~20photos"
    answer = await get_json(ds, f"{table}.json?_shape=array&_in_group={ids['many']}")
    assert [row["the key"] for row in answer] == [keys[1], keys[2]]
    wanted = {"many": (2, False), "one": (1, False)}
    assert await facet(ds, f"{table}.json?{FACET}") == wanted
    assert await facet(ds, f"{table}.json?{FACET}&path__contains=jpg") == wanted
    answer = await get_json(ds, f"{table}/-/imgsim/groups.json")
    assert answer["groups"][0]["cover"] == keys[1]
    labels = (await get_json(ds, f"{table}/-/imgsim/map.json?groups=1"))["groups"]
    assert [each["name"] for each in labels] == ["many", "one"]


@pytest.mark.parametrize(
    "query, status, sentence",
    [
        ("_in_group=99", 404, "There is no group 99 in the space"),
        ("_in_group=-1", 400, "_in_group is the id of a group, a whole number, not '-1'"),
        ("_in_group=dots", 400, "_in_group is the id of a group, a whole number, not 'dots'"),
        (f"_in_group={'9' * 30}", 400, "_in_group is the id of a group"),
        ("_in_group=1&_in_group=2", 400, "_in_group is there more than once"),
        ("_in_group=1&_space=nope", 400, "No space 'nope'"),
        ("_facet_likeness=colour", 400, "_facet_likeness is group, not 'colour'"),
        (f"{FACET}&_space=nope", 400, "No space 'nope'"),
    ],
)
async def test_errors_are_one_sentence(grouped, query, status, sentence):
    ds = grouped[0]
    for base in (TABLE, GALLERY):
        answer = await get_json(ds, f"{base}.json?{query}", status)
        assert sentence in answer["error"]
        response = await ds.client.get(f"{base}?{query}")
        assert response.status_code == status and sentence in unescape(response.text)


@pytest.mark.parametrize("query", ["_in_group=1", FACET])
async def test_where_there_are_no_groups_the_command_is_named(photos, query):
    answer = await get_json(serve(photos / "photos.db"), f"{TABLE}.json?{query}", 404)
    assert "yet: run 'datasette imgsim groups photos.db'" in answer["error"]


async def test_the_map_has_labels_in_the_thick_of_each_group(grouped):
    ds, database, members, ids = grouped
    assert (await get_json(ds, f"{GALLERY}/map.json?_size=1"))["groups"] is None
    found = (await get_json(ds, f"{GALLERY}/map.json?_size=1&groups=1"))["groups"]
    assert [(each["id"], each["images"]) for each in found] == [(id, 6) for id in ids.values()]
    for each in found:
        places = rows(
            database,
            "select x, y from imgsim_atlas join json_each(?) on value = image_key",
            json.dumps(members[each["name"]]),
        )
        (left, top), (right, bottom) = (map(f, zip(*places)) for f in (min, max))
        assert left <= each["x"] <= right and top <= each["y"] <= bottom and each["spread"] < 5
    wall = (await get_json(ds, f"{GALLERY}/map.json?_size=1&groups=1&view=wall"))["groups"]
    assert [each["id"] for each in wall] == [*ids.values()] and wall != found
    change(database, "update imgsim_atlas set x = 0, y = 0 where image_key = ?", members["dots"][0])
    change(database, "update imgsim_spaces set generation = generation + 1")
    await get_json(ds, f"{GALLERY}/map.json?_size=1&groups=1")
    one_away = (await get_json(ds, f"{GALLERY}/map.json?_size=1&groups=1"))["groups"]
    assert abs(one_away[1]["x"] - found[1]["x"]) < 3  # one that lies apart does not draw it away


async def test_the_page_of_the_map_says_whether_there_are_groups(grouped, photos):
    assert " data-groups" in (await grouped[0].client.get(f"{GALLERY}/map")).text
