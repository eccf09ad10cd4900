"""Pictures that lie anywhere, in units of work; `embed --ray` without a cluster."""

import tarfile
from contextlib import closing

import numpy as np
import pytest
from helpers.commands import imgsim
from helpers.needs import package
from helpers.pictures import draw

from datasette_imgsim.db.exchange import Record
from datasette_imgsim.errors import ImgsimError
from datasette_imgsim.ingest import remote, settings, shards, units
from datasette_imgsim.ingest.folders import Search
from datasette_imgsim.ingest.recipe import Recipe

pyarrow, parquet = package("pyarrow"), package("pyarrow.parquet")


@pytest.fixture
def small_units(monkeypatch):
    monkeypatch.setattr(units, "LEAST", 4)
    monkeypatch.setattr(units, "USUAL", 4)
    monkeypatch.setattr(units, "MOST", 8)


@pytest.mark.parametrize(
    "name, content, sentence",
    [
        ("none", None, "none does not exist"),
        ("memory://none", None, "memory://none has no files, or does not exist"),
        ("nope://none", None, "Protocol not known: nope"),
        ("a.tar", b"no archive" * 100, "is no tar file, or is damaged or compressed"),
        ("a.parquet", b"no table", "is no Parquet file, or is incomplete"),
        ("a.txt", b"nowhere.jpg", "nowhere.jpg does not exist"),
    ],
)
def test_sources_that_cannot_be_used_are_named(tmp_path, name, content, sentence):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    source = name if "://" in name else str(tmp_path / name)
    with pytest.raises(ImgsimError, match=sentence):
        list(remote.find([source], Search()))


def test_pictures_in_object_storage(tmp_path):
    fs = package("fsspec").filesystem("memory")
    with closing(fs.open("/bucket/deep/a.jpg", "wb")) as file:
        file.write(draw(tmp_path / "a.jpg").read_bytes())
    fs.pipe("/bucket/notes.md", b"x")
    (place,) = remote.find(["memory://bucket"], Search())
    assert place.name == "memory:///bucket/deep/a.jpg"
    assert remote.Reader().read(place) == (tmp_path / "a.jpg").read_bytes()


@pytest.mark.parametrize("option", ["--prune", "--rehash", "--space=x", "--table=t"])
def test_options_that_mean_nothing_there(option):
    said = imgsim("embed", "--ray", "photos", "--out", "x", option, exit_code=2)
    assert "No such option" in said and option.partition("=")[0] in said


def test_a_new_picture_changes_few_units(small_units):
    order = units.Order(
        settings.from_options(),
        Recipe.elsewhere("x", 3, "float16"),
        "out",
        "cpu",
        32,
        256,
        10**8,
        False,
        threads=1,
    )

    def names(numbers):
        places = [remote.Place(f"/{number:05d}.jpg", 1, 1, "") for number in numbers]
        return [unit.name for unit in units.units(places, order, "abcdefgh")]

    before = names(range(1000))
    for numbers in ([*range(500), *range(501, 1000)], [-1, *range(1000)], range(1001)):
        assert len(set(before) - set(names(numbers))) <= 3
    assert len(set(before)) == len(before) > 100


def found(source, *exclude):
    """(name, error) of the pictures of a source."""
    search = Search(exclude, suffixes=remote.SUFFIXES)
    return [(place.name, place.error) for place in remote.find([str(source)], search)]


def test_a_broken_file_in_a_folder_ends_nothing(tmp_path):
    draw(tmp_path / "photos/a.jpg")
    (tmp_path / "photos/x.tar").write_bytes(b"no archive" * 100)
    (tmp_path / "photos/x.parquet").write_bytes(b"no table")
    (tmp_path / "photos/d.tar").mkdir()
    places = dict(found(tmp_path / "photos"))
    assert len(places) == 3 and places[str(tmp_path / "photos/a.jpg")] is None
    assert "is no tar file" in places[str(tmp_path / "photos/x.tar")]
    assert "is no Parquet file" in places[str(tmp_path / "photos/x.parquet")]


def test_what_is_hidden_or_excluded_is_left_out(tmp_path):
    for name in ("a.tar", ".hidden/b.tar", "c.tar"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        with tarfile.open(tmp_path / name, "w") as archive:
            archive.add(draw(tmp_path.parent / "x.jpg"), "x.jpg")
    assert found(tmp_path, "c.*") == [(f"{tmp_path}/a.tar#x.jpg", None)]


def test_lists_name_files_and_no_other_lists(tmp_path, monkeypatch):
    draw(tmp_path / "a.jpg")
    (tmp_path / "list.txt").write_bytes(b"\xef\xbb\xbfa.jpg\n\nlist.txt\n")
    monkeypatch.chdir(tmp_path)
    names = [name for name, _ in found("list.txt")]
    assert names[0] == str(tmp_path / "a.jpg")
    assert len(names) == 2  # a list in a list is a file that is no picture


def test_shards_are_no_pictures(tmp_path):
    draw(tmp_path / "photos/a.jpg")
    record = Record("x", bytes=3, vector=np.ones(3), norms=np.ones(1))
    with shards.located(str(tmp_path / "photos")) as (fs, path):
        recipe = Recipe.elsewhere("x", 3, "float16")
        shards.write(fs, f"{path}/out.parquet", recipe, [[record]])
    assert [name for name, _ in found(tmp_path / "photos")] == [str(tmp_path / "photos/a.jpg")]


def test_the_column_with_pictures_is_taken(tmp_path):
    table = pyarrow.table({"bytes": [7], "picture": ["x"], "jpg": [b"the picture"]})
    parquet.write_table(table, tmp_path / "a.parquet")
    (place,) = remote.find([str(tmp_path / "a.parquet")], Search())
    assert remote.Reader().read(place) == b"the picture"


def test_a_unit_that_could_not_be_read_is_made_again(tmp_path, small_units):
    files = [draw(tmp_path / f"{number}.jpg", size=(60 + number, 50)) for number in range(4)]
    network = settings.from_options(model="efficientnet-lite", size=32)
    recipe = network.recipe(network.network(), None)
    order = units.Order(
        network, recipe, str(tmp_path / "out"), "cpu", 32, 256, 10**8, False, threads=1
    )
    places = [*remote.find(map(str, files), Search())]
    (unit,) = units.units(places, order, "abcdefgh")
    (tmp_path / "out").mkdir()
    embedder = units.Embedder(order)
    read = embedder.reader.read

    def fails_once(place):
        if place is places[2]:
            raise RuntimeError("503, slow down")
        return read(place)

    embedder.reader.read = fails_once
    assert embedder.embed(unit) == (3, 1)
    assert [file.name for file in (tmp_path / "out").iterdir()] == [unit.again]
    embedder.reader.read = read
    assert embedder.embed(unit) == (4, 0)
    assert (tmp_path / "out" / unit.name).exists()
    embedder.worker.close()
