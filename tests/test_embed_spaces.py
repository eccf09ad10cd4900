"""Which space `embed` works on, and the network and weights of one that is there."""

import json
import shutil

import numpy as np
from helpers.commands import embed, imgsim
from helpers.databases import change, rows, spaces, stored_vectors
from helpers.networks import random_weights
from helpers.pictures import draw

from datasette_imgsim.models import vgg


def test_the_file_of_weights_is_remembered_relative_to_the_database(tmp_path, weights):
    draw(tmp_path / "one/images/a.jpg")
    (tmp_path / "one/vgg.pth").write_bytes(weights.read_bytes())
    options = ("--model", "vgg11", "--levels", "pool1", "--size", 32)
    embed(tmp_path / "one", *options, "--weights", tmp_path / "one/vgg.pth")
    (tmp_path / "one").rename(tmp_path / "two")
    draw(tmp_path / "two/images/b.jpg", "square")
    assert "1 embedded, 1 unchanged" in embed(tmp_path / "two")
    (tmp_path / "two/vgg.pth").unlink()
    draw(tmp_path / "two/images/c.jpg", "dots")
    printed = embed(tmp_path / "two", exit_code=1)
    assert f"The weights file {tmp_path / 'two/vgg.pth'} is not there" in printed
    random_weights("vgg11", ["pool1"], tmp_path / "two/vgg.pth", seed=1)
    assert "is not the one that made the space" in embed(tmp_path / "two", exit_code=1)


def test_a_full_and_a_cut_file_of_weights_make_one_space(folder, weights):
    options = ("--model", "vgg11", "--levels", "pool1", "--size", 32, "--weights")
    embed(folder, *options, weights)
    embed(folder, *options, random_weights("vgg11", ["pool2"], folder / "cut.pth"))
    assert spaces(folder) == ["vgg11 pool1 gem"]


def test_new_options_make_a_new_space_and_the_first_stays_the_default(folder):
    embed(folder, "--model", "toy")
    embed(folder, "--model", "toy", "--levels", "pool1")
    embed(folder, "--model", "toy", "--levels", "pool1", "--dtype", "float32")
    embed(folder, "--model", "toy", "--resize", "pad", "--space", "mine")
    assert spaces(folder) == ["toy", "toy pool1 avg", "toy pool1 avg 2", "mine"]
    assert rows(folder / "photos.db", "select name from imgsim_spaces where is_default") == ["toy"]
    assert rows(folder / "photos.db", "select count(*) from images") == [3]
    draw(folder / "images/new.jpg", "dots")
    assert "1 embedded, 3 unchanged" in embed(folder)
    assert "1 embedded, 3 unchanged" in embed(folder, "--space", "mine")
    counts = "select space_id, count(*) from imgsim_vectors group by 1"
    assert rows(folder / "photos.db", counts) == [(1, 4), (2, 3), (3, 3), (4, 4)]


def test_equal_options_go_on_in_the_space_they_equal(folder):
    embed(folder, "--model", "toy")
    assert "3 unchanged" in embed(
        folder, "--model", "toy", "--levels", "pool2", "--precision", "float32"
    )
    assert spaces(folder) == ["toy"]


def test_options_that_do_not_fit_the_space_that_is_named(folder):
    embed(folder, "--model", "toy", "--space", "mine")
    printed = embed(folder, "--model", "toy", "--levels", "pool1", "--space", "mine", exit_code=1)
    assert "The space 'mine' was made with other options" in printed


def test_changed_bundled_weights_are_named_and_nothing_is_embedded_again(
    folder, weights, monkeypatch
):
    embed(folder)
    before = stored_vectors(folder)
    (was,) = rows(folder / "photos.db", "select versions ->> 'weights' from imgsim_spaces")
    monkeypatch.setattr(vgg, "OXFORD_VERSION", "99")
    monkeypatch.setattr(
        vgg, "read", lambda path, read=vgg.read: {k: 2 * v for k, v in read(path).items()}
    )
    assert "3 unchanged" in embed(folder)
    draw(folder / "images/new.jpg", "dots")
    printed = embed(folder, exit_code=1)
    assert f"weights version {was} and this package has version 99" in printed
    assert "--model vgg16-oxford --space NAME" in printed
    assert np.array_equal(stored_vectors(folder), before)
    assert "4 embedded" in embed(folder, "--model", "vgg16-oxford", "--space", "new")
    assert np.array_equal(stored_vectors(folder), before)


def test_weights_that_were_moved_are_found_again(folder, weights):
    first, second = folder / "one.pth", folder / "two.pth"
    first.write_bytes(weights.read_bytes())
    options = ("--model", "vgg11", "--levels", "pool1", "--size", 32, "--weights")
    embed(folder, *options, first)
    first.rename(second)
    embed(folder, *options, second)
    draw(folder / "images/new.jpg", "dots")
    assert "1 embedded" in embed(folder)


def test_another_default_space_is_named(folder):
    assert "default space" not in embed(folder, "--model", "toy")
    printed = embed(folder, "--model", "toy", "--levels", "pool1")
    assert "The default space is still 'toy'" in printed
    command = f"datasette imgsim spaces {folder / 'photos.db'} --default 'toy pool1 avg'"
    assert command in printed


GONE = "The network vgg-mini is no longer part of this package"


def test_a_space_whose_network_is_gone_still_ranks_and_names_the_way_on(photos, tmp_path):
    shutil.copytree(photos, tmp_path, dirs_exist_ok=True)
    database = tmp_path / "photos.db"
    change(database, "update imgsim_spaces set name = 'vgg-mini', model = 'vgg-mini'")
    assert "24 unchanged" in embed(tmp_path)
    assert len(json.loads(imgsim("similar", database, 1, "--json"))) == 10
    assert "laid out" in imgsim("map", database)
    assert GONE in imgsim("similar", database, tmp_path / "images/dots/0.jpg", exit_code=1)
    draw(tmp_path / "images/new.jpg", colour="orange")
    printed = embed(tmp_path, exit_code=1)
    assert GONE in printed and "--model vgg16-oxford" in printed
    assert "25 embedded" in embed(tmp_path, "--model", "vgg16-oxford")
