"""`import`: vectors that other programs have made, as arrays and as Parquet files."""

import numpy as np
import pytest
from helpers.commands import imgsim
from helpers.databases import random_vectors, rows
from helpers.needs import package
from helpers.pictures import draw
from helpers.shards import COUNT, make_database

from datasette_imgsim import Collection

pyarrow, parquet = package("pyarrow"), package("pyarrow.parquet")


@pytest.fixture
def database(tmp_path, toy):
    return make_database(tmp_path)


def clip(tmp_path, database, dtype="float32", count=COUNT):
    """(a file of vectors that another program has made, a file of their paths, the vectors)."""
    vectors = 7 * random_vectors(count, 5).astype(dtype)
    np.save(tmp_path / "clip.npy", vectors)
    paths = rows(database, "select path from images order by path")
    (tmp_path / "clip.txt").write_text("\n".join(paths[:count]))
    return tmp_path / "clip.npy", tmp_path / "clip.txt", vectors


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_vectors_of_another_program(database, tmp_path, dtype):
    array, paths, vectors = clip(tmp_path, database, dtype)
    said = imgsim("import", database, array, "--paths", paths, "--space", "clip")
    assert said == "0 added, 12 changed, 0 unchanged; the space is 'clip'.\n"
    assert rows(database, "select name, is_default, dtype from imgsim_spaces where id = 2") == [
        ("clip", 0, "float16" if dtype == "float16" else "float32")
    ]
    hits = Collection(database, "clip").similar(1, k=11)
    centred = vectors.astype(float)
    centred /= np.linalg.norm(centred, axis=1, keepdims=True)
    centred -= centred.mean(axis=0)
    centred /= np.linalg.norm(centred, axis=1, keepdims=True)
    expected = {id: centred[0] @ centred[id - 1] for id in range(2, 13)}
    assert {hit.id: hit.score for hit in hits} == pytest.approx(expected, abs=2e-3)
    norms = [
        np.frombuffer(n, "<f4")[0]
        for n in rows(
            database, "select norms from imgsim_vectors where space_id = 2 order by image_key"
        )
    ]
    assert norms == pytest.approx(np.linalg.norm(vectors.astype(float), axis=1), rel=1e-3)
    again = imgsim("import", database, array, "--paths", paths, "--space", "clip")
    assert "12 unchanged" in again


def test_pictures_cannot_be_embedded_beside_them(database, tmp_path):
    array, paths, _ = clip(tmp_path, database)
    imgsim("import", database, array, "--paths", paths, "--space", "clip")
    photo = draw(tmp_path / "later.jpg", "square")
    for command in (["similar", database, photo], ["embed", database, photo]):
        said = imgsim(*command, "--space", "clip", exit_code=1)
        assert said.startswith("Error: These vectors were imported, so no picture can be embedded")


def test_paths_that_are_not_there_are_counted(database, tmp_path):
    array, paths, _ = clip(tmp_path, database)
    paths.write_text(paths.read_text().replace("03.jpg", "33.jpg"))
    said = imgsim("import", database, array, "--paths", paths, "--space", "clip")
    assert said.startswith("0 added, 11 changed") and "1 image left out: images has no such" in said


def test_shards_of_another_program(database, tmp_path):
    """Only path and vector are needed; other columns count if they are of the right kind."""
    paths = rows(database, "select path from images order by path")
    table = pyarrow.table(
        {
            "path": [*paths, None, "new.jpg", "without.jpg"],
            "vector": [[1.0, 2.0 + n] for n in range(COUNT + 3)],
            "width": ["wide"] * (COUNT + 3),
            "thumbnail": [None] * COUNT + [b"\xff\xd8\xff\xd9"] + [b"\xff\xd8\xff\xd9", b"<html>"],
            "tags": ["x"] * (COUNT + 3),
        }
    )
    parquet.write_table(table, tmp_path / "clip.parquet")
    said = imgsim("import", database, tmp_path / "clip.parquet", exit_code=1)
    assert "does not say how its vectors were made: name a space for them with --space" in said
    said = imgsim("import", database, tmp_path / "clip.parquet", "--space", "clip")
    assert said.startswith("1 added, 12 changed") and "2 images left out" in said
    assert rows(
        database,
        "select width, jpeg from images join imgsim_thumbnails on image_id = "
        "images.id where path = 'new.jpg'",
    ) == [(None, b"\xff\xd8\xff\xd9")]


@pytest.mark.parametrize(
    "array, lines, sentence",
    [
        (np.zeros((3, 2), int), 3, "must hold floats"),
        (np.zeros(3), 3, "must hold floats"),
        (np.zeros((3, 0)), 3, "must hold floats"),
        (np.zeros((3, 2)), 2, "has 2 lines and"),
        (None, 2, "is no array of numpy"),
    ],
)
def test_arrays_that_cannot_be_used_are_named(database, tmp_path, array, lines, sentence):
    (tmp_path / "a.npy").write_bytes(b"nothing")
    if array is not None:
        np.save(tmp_path / "a.npy", array)
    (tmp_path / "a.txt").write_text("x\n" * lines)
    arguments = [tmp_path / "a.npy", "--paths", tmp_path / "a.txt", "--space", "x"]
    assert sentence in imgsim("import", database, *arguments, exit_code=1)


def test_several_arrays_are_refused(database, tmp_path):
    np.savez(tmp_path / "a.npz", np.zeros((1, 2)))
    (tmp_path / "a.npz").rename(tmp_path / "a.npy")
    (tmp_path / "a.txt").write_text("x")
    arguments = [tmp_path / "a.npy", "--paths", tmp_path / "a.txt", "--space", "x"]
    assert "holds several arrays" in imgsim("import", database, *arguments, exit_code=1)


FIRST_OF_CLIP = "select vector from imgsim_vectors where space_id = 2 and image_key = 1"


def test_large_numbers_are_vectors_too(database, tmp_path):
    array, paths, vectors = clip(tmp_path, database, "float64")
    np.save(array, 1e30 * vectors)
    imgsim("import", database, array, "--paths", paths, "--space", "clip")
    (blob,) = rows(
        database, "select vector from imgsim_vectors where space_id = 2 and image_key = 1"
    )
    expected = vectors[0] / np.linalg.norm(vectors[0])
    assert np.frombuffer(blob, "<f4") == pytest.approx(expected, rel=1e-5)
    np.save(array, 1e200 * vectors)
    said = imgsim("import", database, array, "--paths", paths, "--space", "huge", exit_code=1)
    assert "12 failed" in said


def test_norms_of_other_programs_are_not_trusted(database, tmp_path):
    paths = rows(database, "select path from images order by path")
    vectors = [[3.0, 4.0]] * COUNT
    table = pyarrow.table({"path": paths, "vector": vectors, "norms": [[1.0]] * COUNT})
    parquet.write_table(table, tmp_path / "clip.parquet")
    imgsim("import", database, tmp_path / "clip.parquet", "--space", "clip")
    (blob,) = rows(
        database, "select vector from imgsim_vectors where space_id = 2 and image_key = 1"
    )
    assert np.frombuffer(blob, "<f4") == pytest.approx([0.6, 0.8])
