"""`embed` into new databases: what is stored, and what stays as it is."""

import numpy as np
import pytest
import torch
from helpers.commands import TOY, embed, embed_toy, imgsim
from helpers.databases import change, rows, stored_vectors
from helpers.pictures import draw
from helpers.toy import Toy

from datasette_imgsim.db.schema import IMAGES_COLUMNS
from datasette_imgsim.models.network import Network


def test_the_bundled_network_makes_a_database(photos):
    database = photos / "photos.db"
    assert rows(database, "select count(*) from images") == [24]
    assert rows(database, "select name, is_default, model from imgsim_spaces") == [
        ("vgg16-oxford", 1, "vgg16-oxford")
    ]
    sql = "select count(*), min(typeof(image_key)), max(typeof(image_key)) from imgsim_vectors"
    assert rows(database, sql) == [(24, "integer", "integer")]
    assert rows(database, "select count(*) from imgsim_thumbnails") == [24]
    assert rows(database, "select distinct width, height, format from images") == [
        (120, 90, "JPEG")
    ]
    assert rows(database, "pragma integrity_check") == ["ok"]


def test_each_level_is_of_unit_length_beside_its_norm(folder):
    embed(folder, "--model", "toy", "--levels", "pool2,pool1", "--dtype", "float32")
    (levels,) = rows(folder / "photos.db", "select levels from imgsim_spaces")
    assert levels == '{"pool1": 3, "pool2": 3}'  # in network order
    found = stored_vectors(folder).reshape(3, 2, 3)
    assert np.linalg.norm(found, axis=2) == pytest.approx(1, abs=1e-5)
    norms = [
        np.frombuffer(n, "<f4")
        for n in rows(folder / "photos.db", "select norms from imgsim_vectors")
    ]
    assert np.shape(norms) == (3, 2) and np.min(norms) > 0


@pytest.mark.parametrize("dtype, size", [("float16", 2), ("float32", 4)])
def test_dtype_decides_how_numbers_are_stored(folder, dtype, size):
    embed(folder, "--model", "toy", "--dtype", dtype)
    assert rows(folder / "photos.db", "select distinct length(vector) from imgsim_vectors") == [
        3 * size
    ]


def test_a_whole_map_of_100352_numbers(tmp_path, weights):
    for number in range(3):
        draw(tmp_path / f"images/{number}.jpg", seed=number)
    options = ("--model", "vgg11", "--weights", weights, "--levels", "pool4", "--size", 224)
    embed(tmp_path, *options, "--pooling", "flatten")
    assert stored_vectors(tmp_path).shape == (3, 100_352)
    # It is centred like any other.
    (centre,) = rows(tmp_path / "photos.db", "select centre from imgsim_spaces")
    expected = stored_vectors(tmp_path).astype(np.float64).mean(axis=0)
    assert np.frombuffer(centre, "<f4") == pytest.approx(expected, abs=1e-6)
    # The weights' file is remembered, so that nothing has to be said to go on.
    draw(tmp_path / "images/new.jpg", "dots")
    assert "1 embedded, 3 unchanged" in embed(tmp_path)


def test_centring_when_three_are_there_and_again_when_they_have_doubled(tmp_path, toy):
    def centred_on(count):
        for number in range(count):
            draw(tmp_path / f"images/{number}.jpg", seed=number)
        embed_toy(tmp_path)
        return rows(tmp_path / "photos.db", "select centred_on from imgsim_spaces")[0]

    assert [centred_on(n) for n in (2, 3, 5, 6, 7, 12)] == [0, 3, 3, 6, 6, 12]
    (centre,) = rows(tmp_path / "photos.db", "select centre from imgsim_spaces")
    expected = stored_vectors(tmp_path).astype(np.float64).mean(axis=0)
    assert np.frombuffer(centre, "<f4") == pytest.approx(expected, abs=1e-6)


def test_files_are_given_by_name_too(folder):
    odd = folder / "picture.dat"
    (folder / "images/0.jpg").rename(odd)
    imgsim("embed", folder / "photos.db", odd, folder / "images/1.jpg", *TOY)
    assert rows(folder / "photos.db", "select path from images order by id") == [
        "picture.dat",
        "images/1.jpg",
    ]


def test_an_empty_folder_makes_no_database(tmp_path):
    (tmp_path / "images").mkdir()
    assert embed(tmp_path) == "No pictures found; nothing was written.\n"
    assert not (tmp_path / "photos.db").exists()


@pytest.mark.parametrize(
    "sql",
    [
        "create table images (id integer primary key, title text)",
        f"create table images ({', '.join(IMAGES_COLUMNS)})",
        f"create table images ({', '.join(IMAGES_COLUMNS)}, primary key (id, path))",
        f"create view images as select {' , '.join('1 as ' + name for name in IMAGES_COLUMNS)}",
    ],
)
def test_a_table_of_another_kind_is_left_alone(folder, sql):
    change(folder / "photos.db", sql)
    before = (folder / "photos.db").read_bytes()
    assert "has a table 'images' that was not made by" in embed_toy(folder, exit_code=1)
    assert (folder / "photos.db").read_bytes() == before


def test_other_tables_of_the_user_stay(folder):
    change(folder / "photos.db", "create table notes as select 'mine' as text")
    embed_toy(folder)
    assert rows(folder / "photos.db", "select text from notes") == ["mine"]


def test_too_large_a_batch_for_the_memory(folder, monkeypatch):
    def vectors(network, pictures):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")

    monkeypatch.setattr(Network, "vectors", vectors)
    printed = embed_toy(folder, exit_code=1)
    assert "not enough memory for 3 pictures of 8 x 8 pixels at a time: give a smaller" in printed


def test_numbers_that_are_not_finite_are_a_failure(folder, monkeypatch):
    def cut(model, levels, weights, size, cut=Toy.cut):
        network = cut(model, levels, weights, size)
        network.scale[:] = float("inf")
        return network

    monkeypatch.setattr(Toy, "cut", cut)
    assert "3 failed" in embed_toy(folder, exit_code=1)
    assert rows(folder / "photos.db", "select distinct error from imgsim_failures") == [
        "the network gives no finite numbers for it"
    ]
    assert rows(folder / "photos.db", "select count(*) from images") == [0]


def test_a_failure_of_one_network_does_not_hold_for_another(folder, monkeypatch):
    def cut(model, levels, weights, size, cut=Toy.cut):
        network = cut(model, levels, weights, size)
        network.scale[:] = float("inf") if "pool1" in levels else 1
        return network

    monkeypatch.setattr(Toy, "cut", cut)
    embed_toy(folder, exit_code=1)
    assert "3 embedded" in embed_toy(folder, "--levels", "pool2")


def test_an_empty_file_becomes_a_database(folder):
    (folder / "photos.db").touch()
    assert "3 embedded" in embed_toy(folder)
