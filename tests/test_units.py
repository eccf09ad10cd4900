"""Pictures that lie anywhere, in units of work; `embed --ray` without a cluster."""

from contextlib import closing

import pytest
from helpers.commands import imgsim
from helpers.needs import package
from helpers.pictures import draw

from datasette_imgsim.errors import ImgsimError
from datasette_imgsim.ingest import remote, settings, units
from datasette_imgsim.ingest.folders import Search
from datasette_imgsim.ingest.recipe import Recipe

package("pyarrow")


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
