"""`embed` into new databases and new spaces: what is stored, what is said of wrong options."""

import fcntl
import json
import os
import pty
import re
import shutil
import sqlite3
import struct
import termios
from contextlib import closing

import numpy as np
import pytest
import torch
from command import start
from conftest import TOY, draw, embed_toy, imgsim, rows
from test_models import random_weights
from toy import Toy

from datasette_imgsim.db.schema import IMAGES_COLUMNS
from datasette_imgsim.models import vgg
from datasette_imgsim.models.network import Network


@pytest.fixture
def folder(tmp_path, toy):
    """A folder with three pictures in images/."""
    for number, shape in enumerate(("circle", "square", "stripes")):
        draw(tmp_path / f"images/{number}.jpg", shape)
    return tmp_path


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Weights of a VGG-11 up to pool4."""
    return random_weights("vgg11", ["pool4"], tmp_path_factory.mktemp("weights") / "vgg11.pth")


def embed(folder, *options, exit_code=0):
    return imgsim("embed", folder / "photos.db", folder / "images", *options, exit_code=exit_code)


def spaces(folder):
    return rows(folder / "photos.db", "select name from imgsim_spaces order by id")


def vectors(folder, space=1):
    """(images, dimensions) in the space's dtype."""
    (dtype,) = rows(folder / "photos.db", "select dtype from imgsim_spaces where id = ?", space)
    sql = "select vector from imgsim_vectors where space_id = ? order by image_id"
    return np.stack([np.frombuffer(v, dtype) for v in rows(folder / "photos.db", sql, space)])


def test_the_bundled_network_makes_a_database(photos):
    database = photos / "photos.db"
    assert rows(database, "select count(*) from images") == [24]
    assert rows(database, "select name, is_default, model from imgsim_spaces") == [
        ("vgg16-oxford", 1, "vgg16-oxford")
    ]
    sql = "select count(*), min(typeof(image_id)), max(typeof(image_id)) from imgsim_vectors"
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
    found = vectors(folder).reshape(3, 2, 3)
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
    assert vectors(tmp_path).shape == (3, 100_352)
    # It is centred like any other.
    (centre,) = rows(tmp_path / "photos.db", "select centre from imgsim_spaces")
    expected = vectors(tmp_path).astype(np.float64).mean(axis=0)
    assert np.frombuffer(centre, "<f4") == pytest.approx(expected, abs=1e-6)
    # The weights' file is remembered, so that nothing has to be said to go on.
    draw(tmp_path / "images/new.jpg", "dots")
    assert "1 embedded, 3 unchanged" in embed(tmp_path)


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
    before = vectors(folder)
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
    assert np.array_equal(vectors(folder), before)
    assert "4 embedded" in embed(folder, "--model", "vgg16-oxford", "--space", "new")
    assert np.array_equal(vectors(folder), before)


def test_centring_when_three_are_there_and_again_when_they_have_doubled(tmp_path, toy):
    def centred_on(count):
        for number in range(count):
            draw(tmp_path / f"images/{number}.jpg", seed=number)
        embed_toy(tmp_path)
        return rows(tmp_path / "photos.db", "select centred_on from imgsim_spaces")[0]

    assert [centred_on(n) for n in (2, 3, 5, 6, 7, 12)] == [0, 3, 3, 6, 6, 12]
    (centre,) = rows(tmp_path / "photos.db", "select centre from imgsim_spaces")
    expected = vectors(tmp_path).astype(np.float64).mean(axis=0)
    assert np.frombuffer(centre, "<f4") == pytest.approx(expected, abs=1e-6)


def test_the_summary(folder):
    (folder / "images/bad.jpg").write_bytes(b"")
    (folder / "images/copy.jpg").write_bytes((folder / "images/0.jpg").read_bytes())
    printed = embed_toy(folder)
    assert "3 embedded, 0 unchanged, 0 renamed, 1 copied, 0 pruned, 1 failed; " in printed
    size = (folder / "photos.db").stat().st_size / 1e6
    assert f" images/s; {folder / 'photos.db'} is {size:.1f} MB." in printed


def test_quiet_prints_only_what_failed(folder):
    assert embed_toy(folder, "--quiet") == ""
    (folder / "images/bad.jpg").write_bytes(b"")
    assert "1 image could not be embedded" in embed_toy(folder, "--quiet", exit_code=1)


def on_a_terminal(folder, *options):
    """What `embed` prints where standard error is a terminal, over three files that fail."""
    embed_toy(folder)
    for number in range(3):
        (folder / f"images/bad{number}.jpg").touch()
    terminal, end = pty.openpty()
    fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    process = start("embed", folder / "photos.db", folder / "images", *options, stderr=end)
    os.close(end)
    process.communicate()
    printed = os.read(terminal, 4096).decode()
    os.close(terminal)
    return printed


def test_a_terminal_shows_progress_with_speed_and_time_left(folder):
    printed = on_a_terminal(folder)
    assert "3/3" in printed and " images/s]" in printed and "[00:00<00:00" in printed


def test_no_progress_when_quiet(folder):
    assert on_a_terminal(folder, "--quiet").startswith("3 images could not be embedded")


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


def no_weights(folder):
    (folder / "w.pth").write_text("no weights")
    return "--model", "vgg11", "--weights", folder / "w.pth"


def missing_layer(folder):
    file = random_weights("vgg11", ["pool2"], folder / "w.pth")
    return "--model", "vgg11", "--levels", "pool4", "--weights", file


def another_network(folder):
    file = random_weights("vgg11", ["pool1"], folder / "w.pth")
    torch.save(torch.load(file) | {"features.0.weight": torch.zeros(32, 3, 3, 3)}, file)
    return "--model", "vgg11", "--levels", "pool1", "--weights", file


WRONG = {
    "level": (lambda _: ("--levels", "pool9"), 2, "no level 'pool9': there is conv1_1,"),
    "model": (lambda _: ("--model", "vgg99"), 2, "No model 'vgg99': there is vgg16-oxford"),
    "pooling": (lambda _: ("--pooling", "sum"), 2, "Invalid value for '--pooling'"),
    "size": (lambda _: ("--size", "0"), 2, "Invalid value for '--size'"),
    "too small": (lambda _: ("--size", "8"), 1, "too small for the level"),
    "device": (lambda _: ("--device", "cuda:99x"), 1, "no device 'cuda:99x'"),
    "no weights": (no_weights, 1, "w.pth cannot be read"),
    "weights absent": (lambda _: ("--weights", "gone.pth"), 2, "'gone.pth' does not exist"),
    "missing layer": (missing_layer, 1, "has no layer 'features.6.weight'"),
    "another network": (another_network, 1, "is of another network: 'features.0.weight' has"),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_wrong_options_end_with_a_sentence_and_no_database(folder, what):
    options, code, sentence = WRONG[what]
    assert sentence in embed(folder, *options(folder), exit_code=code)
    assert not (folder / "photos.db").exists()


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
    with closing(sqlite3.connect(folder / "photos.db")) as conn, conn:
        conn.execute(sql)
    before = (folder / "photos.db").read_bytes()
    assert "has a table 'images' that was not made by" in embed_toy(folder, exit_code=1)
    assert (folder / "photos.db").read_bytes() == before


def test_other_tables_of_the_user_stay(folder):
    with closing(sqlite3.connect(folder / "photos.db")) as conn, conn:
        conn.execute("create table notes as select 'mine' as text")
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


def test_weights_that_were_moved_are_found_again(folder, weights):
    first, second = folder / "one.pth", folder / "two.pth"
    first.write_bytes(weights.read_bytes())
    options = ("--model", "vgg11", "--levels", "pool1", "--size", 32, "--weights")
    embed(folder, *options, first)
    first.rename(second)
    embed(folder, *options, second)
    draw(folder / "images/new.jpg", "dots")
    assert "1 embedded" in embed(folder)


def test_an_empty_file_becomes_a_database(folder):
    (folder / "photos.db").touch()
    assert "3 embedded" in embed_toy(folder)


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
    with closing(sqlite3.connect(database)) as conn, conn:
        conn.execute("update imgsim_spaces set name = 'vgg-mini', model = 'vgg-mini'")
    assert "24 unchanged" in embed(tmp_path)
    assert len(json.loads(imgsim("similar", database, 1, "--json"))) == 10
    assert "laid out" in imgsim("map", database)
    assert GONE in imgsim("similar", database, tmp_path / "images/dots/0.jpg", exit_code=1)
    draw(tmp_path / "images/new.jpg", colour="orange")
    printed = embed(tmp_path, exit_code=1)
    assert GONE in printed and "--model vgg16-oxford" in printed
    assert "25 embedded" in embed(tmp_path, "--model", "vgg16-oxford")


def until_forecast(folder, *options):
    """What a terminal shows of a slow run, up to its forecast or its end."""
    terminal, end = pty.openpty()
    arguments = ("embed", folder / "photos.db", folder / "images", "--batch-size", 2, *options)
    process = start(*arguments, seconds_a_batch=4, stderr=end)
    os.close(end)
    printed = ""
    try:
        while "minutes for" not in printed:
            printed += os.read(terminal, 4096).decode()
    except OSError:  # the other end is closed
        pass
    finally:
        os.close(terminal)
        process.kill()
        process.communicate()
    return printed


def test_a_long_run_says_how_long_it_takes_and_what_is_faster(tmp_path, toy):
    for number in range(400):
        draw(tmp_path / f"images/{number}.png", seed=number)
    printed = until_forecast(tmp_path, *TOY)
    found = re.search(r"About (\d+) minutes for 400 images with toy; (.+)\.", printed)
    assert 12 <= int(found[1]) <= 18
    assert re.fullmatch(r"--model efficientnet-lite takes about [1-6] minutes?", found[2])
    # Who goes on in a space has chosen already.
    embed_toy(tmp_path)
    for number in range(400):
        draw(tmp_path / f"images/{number}.png", "dots", seed=number)
    printed = until_forecast(tmp_path)
    assert "minutes for 400 images with toy." in printed


def test_nothing_is_said_of_a_short_run_or_where_nobody_looks(folder):
    assert "About" not in on_a_terminal(folder)
    process = start("embed", folder / "other.db", folder / "images", *TOY, seconds_a_batch=0)
    assert "About" not in process.communicate()[1]
