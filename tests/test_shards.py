"""`export` and `import`: shards give back what was stored, to the bit; odd files are sentences."""

import json
import sys

import numpy as np
import pytest
from helpers.commands import TOY, embed_toy, imgsim
from helpers.databases import KEYS, change, make_space, random_vectors, rows, spaces
from helpers.needs import package
from helpers.pictures import draw

from datasette_imgsim import Collection
from datasette_imgsim.errors import ImgsimError
from datasette_imgsim.ingest import exporting, importing, shards

pyarrow, parquet = package("pyarrow"), package("pyarrow.parquet")

COUNT = 12
STORED = {
    "images": "select path, sha256, bytes, mtime_ns, width, height, format, taken_at, camera, "
    "latitude, longitude from images order by path",
    "vectors": "select path, vector, norms from imgsim_vectors "
    "join images on images.id = image_key where space_id = 1 order by path",
    "thumbnails": "select path, jpeg from imgsim_thumbnails join images on images.id = image_key "
    "order by path",
    "failures": "select source, error, bytes, mtime_ns from imgsim_failures order by source",
    "spaces": "select name, source_table, is_default, model, weights_sha256, levels, pooling, "
    "preprocess, dtype, precision, dimensions, centre, centred_on, level_weights "
    "from imgsim_spaces",
}


@pytest.fixture
def database(tmp_path, toy):
    """photos.db with the pictures of images/, of which one is damaged."""
    for number in range(COUNT):
        draw(tmp_path / f"images/{number:02d}.jpg", "stripes", size=(80 + number, 60))
    (tmp_path / "images/broken.jpg").write_bytes(b"no picture")
    embed_toy(tmp_path)
    return tmp_path / "photos.db"


def stored(database, but=()):
    """All that is stored but ids and times."""
    return {name: rows(database, sql) for name, sql in STORED.items() if name not in but}


def small(monkeypatch):
    """Small groups and shards, so that there are several."""
    monkeypatch.setattr(shards, "ROWS_A_GROUP", 3)
    monkeypatch.setattr(exporting, "GROUPS_A_SHARD", 2)


@pytest.mark.parametrize("name", ["shards", "one.parquet", "memory://shards"])
def test_what_was_stored_comes_back_to_the_bit(database, tmp_path, monkeypatch, name):
    small(monkeypatch)
    uri = name if "://" in name else tmp_path / name
    said = imgsim("export", database, uri)
    assert "12 images of the space 'toy pool1 flatten' written, 1 that could not" in said
    new = tmp_path / "new.db"
    said = imgsim("import", new, uri)
    assert said.endswith(
        "12 added, 0 changed, 0 unchanged, 1 failed (imgsim_failures has the "
        "reasons); the space is 'toy pool1 flatten'.\n"
    )
    assert stored(new) == stored(database)
    assert "Nothing is wrong" in imgsim("verify", new)


def test_shards_are_not_too_large(database, tmp_path, monkeypatch):
    small(monkeypatch)
    imgsim("export", database, tmp_path / "shards")
    files = sorted(file.name for file in (tmp_path / "shards").iterdir())
    assert files == ["images-00000.parquet", "images-00001.parquet", "images-00002.parquet"]
    sizes = [parquet.ParquetFile(tmp_path / "shards" / name).metadata.num_rows for name in files]
    assert sizes == [6, 6, 1]


def test_a_second_import_changes_nothing(database, tmp_path):
    imgsim("export", database, tmp_path / "shards")
    new = tmp_path / "new.db"
    imgsim("import", new, tmp_path / "shards")
    sql = "select generation from imgsim_spaces"
    before, generation = stored(new), rows(new, sql)
    assert "0 added, 0 changed, 12 unchanged" in imgsim("import", new, tmp_path / "shards")
    assert (stored(new), rows(new, sql)) == (before, generation)
    assert "12 unchanged" in imgsim("import", database, tmp_path / "shards")
    assert spaces(tmp_path) == ["toy pool1 flatten"]


def test_embed_goes_on_where_an_import_has_ended(database, tmp_path):
    imgsim("export", database, tmp_path / "shards")
    new = tmp_path / "new.db"
    imgsim("import", new, tmp_path / "shards")
    draw(tmp_path / "images/later.jpg", "square")
    said = imgsim("embed", new, tmp_path / "images")
    assert said.startswith("1 embedded, 12 unchanged") and "1 failed before" in said


def test_only_what_is_missing_is_added(database, tmp_path):
    imgsim("export", database, tmp_path / "shards")
    change(database, "delete from images where path like '%3.jpg'")
    imgsim("neighbours", database, "-k", 1)  # removes what belonged to it
    change(
        database, "update imgsim_vectors set vector = zeroblob(length(vector)) where image_key = 1"
    )
    said = imgsim("import", database, tmp_path / "shards")
    assert said.startswith("1 added, 1 changed, 10 unchanged")


def test_a_file_that_is_newer_here_stays(database, tmp_path):
    imgsim("export", database, tmp_path / "shards")
    change(database, "update images set sha256 = 'x', mtime_ns = mtime_ns + 1 where id = 1")
    change(database, "update images set sha256 = 'x', mtime_ns = mtime_ns - 1 where id = 2")
    said = imgsim("import", database, tmp_path / "shards")
    assert said.startswith("0 added, 1 changed, 10 unchanged, 1 kept, since the file here is newer")
    assert rows(database, "select count(*) from images where sha256 = 'x'") == [1]


def test_everything_but_the_vectors(database, tmp_path):
    imgsim("export", database, tmp_path / "shards")
    new = tmp_path / "new.db"
    assert "12 added" in imgsim("import", new, tmp_path / "shards", "--no-vectors")
    empty = ("vectors", "spaces")
    assert stored(new, empty) == stored(database, empty)
    assert rows(new, "select count(*) from imgsim_vectors") == [0]
    assert "12 changed" in imgsim("import", new, tmp_path / "shards")
    assert stored(new) == stored(database)


@pytest.mark.parametrize("kind", ["integer primary key", "primary key", "varchar(9) primary key"])
def test_rows_of_ones_own_table_become_images(tmp_path, kind):
    database = make_space(
        tmp_path / "shop.db", random_vectors(30), KEYS[kind], table="goods", key=kind, name="goods"
    )
    change(
        database,
        "insert into imgsim_thumbnails (source_table, image_key, jpeg) "
        "select 'goods', id, x'ffd8ffd9' from goods",
    )
    imgsim("export", database, tmp_path / "shards")
    imgsim("import", tmp_path / "new.db", tmp_path / "shards")
    paths = rows(tmp_path / "new.db", "select path from images order by id")
    assert sorted(paths) == sorted(f"goods/{key}" for key in KEYS[kind])
    sql = "select vector from imgsim_vectors order by vector"
    assert rows(tmp_path / "new.db", sql) == rows(database, sql)


def test_damaged_vectors_are_left_out(database, tmp_path):
    change(database, "update imgsim_vectors set vector = x'00' where image_key = 1")
    change(database, "update imgsim_vectors set vector = zeroblob(2) where image_key = 2")
    assert "2 left out" in imgsim("export", database, tmp_path / "shards")
    assert "10 added" in imgsim("import", tmp_path / "new.db", tmp_path / "shards")


def test_other_programs_read_shards(database, tmp_path):
    imgsim("export", database, tmp_path / "one.parquet")
    table = parquet.read_table(tmp_path / "one.parquet")
    (dimensions,) = rows(database, "select dimensions from imgsim_spaces")
    assert table.schema.field("vector").type == pyarrow.list_(pyarrow.float32(), dimensions)
    found = {row["path"]: row["vector"] for row in table.to_pylist() if not row["error"]}
    for path, blob, _ in stored(database)["vectors"]:
        assert found[path] == np.frombuffer(blob, "<f4").tolist()


def test_vectors_as_an_array(database, tmp_path):
    said = imgsim("export", database, tmp_path / "vectors.npy")
    assert said.endswith("vectors.npy has 2 files.\n")
    array = np.load(tmp_path / "vectors.npy")
    paths = (tmp_path / "vectors.txt").read_text().splitlines()
    assert list(zip(paths, [row.tobytes() for row in array])) == [
        (path, vector) for path, vector, _ in stored(database)["vectors"]
    ]


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


def rewritten(database, tmp_path, change):
    """A shard of the database, changed by a function of a table of Arrow."""
    imgsim("export", database, tmp_path / "one.parquet")
    table = change(parquet.read_table(tmp_path / "one.parquet"))
    parquet.write_table(table, tmp_path / "one.parquet")
    return tmp_path / "one.parquet"


def test_what_failed_elsewhere_may_be_an_image_here(database, tmp_path):
    imgsim("export", database, tmp_path / "shards")
    draw(tmp_path / "images/broken.jpg", "square")
    embed_toy(tmp_path)
    before = stored(database)
    said = imgsim("import", database, tmp_path / "shards")
    assert said.startswith("0 added, 0 changed, 12 unchanged, 1 kept")
    assert stored(database) == before


def test_a_vector_that_is_not_finite_is_a_failure(database, tmp_path):
    def spoiled(table):
        vectors = table["vector"].to_pylist()
        vectors[2] = [float("nan")] * len(vectors[2])
        place = table.schema.get_field_index("vector")
        return table.set_column(
            place, table.field("vector"), pyarrow.array(vectors, table.field("vector").type)
        )

    said = imgsim("import", tmp_path / "new.db", rewritten(database, tmp_path, spoiled))
    assert said.startswith("11 added") and "2 failed" in said


@pytest.mark.parametrize(
    "name, recipe",
    [
        ("no JSON", "{"),
        ("a list", "[]"),
        ("no levels", json.dumps({"name": "x"})),
        ("a wrong size", '{"levels": {"pool1": -4}}'),
    ],
)
def test_a_damaged_recipe_is_a_sentence(database, tmp_path, name, recipe):
    def spoiled(table):
        text = json.loads(table.schema.metadata[shards.RECIPE])
        made = json.dumps(text | json.loads(recipe)) if name == "a wrong size" else recipe
        return table.replace_schema_metadata({shards.RECIPE: made})

    file = rewritten(database, tmp_path, spoiled)
    said = imgsim("import", tmp_path / "new.db", file, exit_code=1)
    assert said.count("\n") == 1 and "one.parquet: its recipe is damaged" in said


@pytest.mark.parametrize(
    "uri, content, sentence",
    [
        ("none", None, "is no shard and no folder with shards"),
        ("one.parquet", b"PAR1 and more", "is no Parquet file, or is incomplete"),
        ("one.parquet", b"", "is no Parquet file, or is incomplete"),
        ("nope://bucket/x", None, "nope://bucket/x: Protocol not known: nope"),
    ],
)
def test_what_is_no_shard_is_a_sentence(tmp_path, uri, content, sentence):
    if content is not None:
        (tmp_path / uri).write_bytes(content)
    place = uri if "://" in uri else tmp_path / uri
    said = imgsim("import", tmp_path / "new.db", place, exit_code=1)
    assert said.startswith("Error: ") and said.count("\n") == 1 and sentence in said


@pytest.mark.parametrize(
    "columns, sentence",
    [
        ({"path": ["a"]}, "has no column vector"),
        ({"vector": [[1.0]]}, "has no column path"),
        ({"path": ["a"], "vector": [1.0]}, "the column 'vector' has no lists of numbers"),
        ({"path": ["a"], "vector": [["x"]]}, "the column 'vector' has no lists of numbers"),
        (
            {"path": ["a"], "vector": pyarrow.array([[]], pyarrow.list_(pyarrow.float64()))},
            "holds no vectors",
        ),
    ],
)
def test_columns_that_cannot_be_used_are_named(database, tmp_path, columns, sentence):
    parquet.write_table(pyarrow.table(columns), tmp_path / "odd.parquet")
    said = imgsim("import", database, tmp_path / "odd.parquet", "--space", "x", exit_code=1)
    assert said.startswith("Error: ") and sentence in said


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


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (["a.npy", "--space", "x"], "go together"),
        (["shards", "--paths", "a.txt"], "go together"),
        (["a.npy", "--paths", "a.txt"], "Name a space"),
        (["a.npy", "--paths", "a.txt", "--space", "x", "--no-vectors"], "nothing but vectors"),
    ],
)
def test_options_that_do_not_fit(tmp_path, arguments, sentence):
    assert sentence in imgsim("import", tmp_path / "new.db", *arguments, exit_code=2)


def test_shards_of_two_kinds_are_not_mixed(database, tmp_path):
    imgsim("export", database, tmp_path / "shards")
    other = tmp_path / "other.db"
    imgsim("embed", other, tmp_path / "images", "--model", "toy", "--levels", "pool2")
    imgsim("export", other, tmp_path / "shards/other.parquet")
    said = imgsim("import", tmp_path / "new.db", tmp_path / "shards", exit_code=1)
    assert "other.parquet was made in another way than the shards before it" in said


def test_a_folder_that_holds_shards_is_not_written_to(database, tmp_path):
    imgsim("export", database, tmp_path / "shards")
    said = imgsim("export", database, tmp_path / "shards", exit_code=1)
    assert said == f"Error: {tmp_path}/shards holds shards already: name a folder without any\n"


def test_a_rule_of_ones_own_costs_only_its_row(database, tmp_path):
    imgsim("export", database, tmp_path / "shards")
    new = tmp_path / "new.db"
    imgsim("import", new, tmp_path / "shards", "--no-vectors")
    change(new, "delete from images")
    change(
        new,
        "create trigger no_threes before insert on images when new.path like '%03.jpg' "
        "begin select raise(abort, 'no threes'); end",
    )
    said = imgsim("import", new, tmp_path / "shards")
    assert said.startswith("11 added") and "2 failed" in said
    assert "no threes" in "".join(rows(new, "select error from imgsim_failures"))


def test_a_run_that_is_ended_goes_on(database, tmp_path, monkeypatch):
    small(monkeypatch)
    imgsim("export", database, tmp_path / "shards")
    store, calls = importing._Importer.store, []

    def ended(self, records):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        store(self, records)

    monkeypatch.setattr(importing._Importer, "store", ended)
    said = imgsim("import", tmp_path / "new.db", tmp_path / "shards", exit_code=130)
    assert "Stopped; the same command goes on from here." in said
    monkeypatch.setattr(importing._Importer, "store", store)
    assert "6 added, 0 changed, 6 unchanged" in imgsim(
        "import", tmp_path / "new.db", tmp_path / "shards"
    )
    assert stored(tmp_path / "new.db") == stored(database)


def test_without_the_packages_they_are_named(database, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    said = imgsim("export", database, tmp_path / "shards", exit_code=1)
    assert "pip install 'datasette-imgsim[shards]'" in said


def test_the_python_api(database, tmp_path):
    done = Collection(database).export(tmp_path / "shards")
    assert (done.images, done.failed, done.files) == (COUNT, 1, 1)
    taken = Collection(tmp_path / "new.db").import_shards(tmp_path / "shards")
    assert (taken.added, taken.failed, taken.space) == (COUNT, 1, "toy pool1 flatten")
    with pytest.raises(ImgsimError, match="Name a space"):
        Collection(database).import_array("a.npy", "a.txt")


FIRST_OF_CLIP = "select vector from imgsim_vectors where space_id = 2 and image_key = 1"


def own_table(tmp_path, rows_of):
    """A table of the user's own, of BLOBs, whose rows are (id, album)."""
    database = tmp_path / "shop.db"
    change(database, "create table photos (id primary key, path text, data blob)")
    for number, (id, album) in enumerate(rows_of):
        file = draw(tmp_path / f"drawn/{number}.jpg", "stripes", size=(60 + number, 50))
        change(database, "insert into photos values (?, ?, ?)", id, album, file.read_bytes())
    imgsim("embed", database, "--table", "photos", "--column", "data", *TOY)
    return database


@pytest.mark.parametrize(
    "rows_of",
    [[(1, "album"), (2, "album"), (3, "album")], [(7, None), ("7", None), ("007", None)]],
    ids=["a column path of another kind", "keys that look alike"],
)
def test_no_two_rows_become_one_image(tmp_path, toy, rows_of):
    database = own_table(tmp_path, rows_of)
    imgsim("export", database, tmp_path / "shards")
    assert "3 added" in imgsim("import", tmp_path / "new.db", tmp_path / "shards")


def test_rows_with_one_file_stay_several(tmp_path, toy):
    database = tmp_path / "shop.db"
    draw(tmp_path / "a.jpg")
    change(database, "create table goods (id integer primary key, photo text)")
    change(database, "insert into goods values (1, 'a.jpg'), (2, 'a.jpg')")
    imgsim("embed", database, "--table", "goods", "--column", "photo", *TOY)
    imgsim("export", database, tmp_path / "shards")
    assert "2 added" in imgsim("import", tmp_path / "new.db", tmp_path / "shards")


def test_rows_that_were_deleted_are_left_out(database, tmp_path, monkeypatch):
    small(monkeypatch)
    change(database, "delete from images where id <= 4")
    said = imgsim("export", database, tmp_path / "shards")
    assert said.startswith("8 images") and "4 left out" in said
    change(database, "delete from images")
    for name in ("other", "one.parquet", "all.npy"):
        said = imgsim("export", database, tmp_path / name, exit_code=1)
        assert "has no usable vector of an image" in said
    assert not [*tmp_path.rglob("*.part")]


@pytest.mark.parametrize("name, other", [("x.parquet",) * 2, ("x.npy",) * 2, ("x.npy", "x.txt")])
def test_no_file_is_overwritten(database, tmp_path, name, other):
    (tmp_path / other).write_text("mine")
    said = imgsim("export", database, tmp_path / name, exit_code=1)
    assert f"{other} is there already: name another file" in said
    assert (tmp_path / other).read_text() == "mine"


def test_names_with_brackets(database):
    imgsim("export", database, "memory://out[1]")
    fs = package("fsspec").filesystem("memory")
    assert [name.rsplit("/", 1)[1] for name in fs.find("/out[1]")] == ["images-00000.parquet"]


def test_what_is_missing_here_is_taken(database, tmp_path):
    imgsim("export", database, tmp_path / "shards")
    before = stored(database)
    change(database, "delete from imgsim_thumbnails where image_key < 4")
    change(database, "update images set width = null where id = 5")
    change(database, "update images set camera = 'mine' where id = 5")
    said = imgsim("import", database, tmp_path / "shards", "--no-vectors")
    assert said.startswith("0 added, 4 changed, 8 unchanged")
    assert rows(database, "select camera from images where id = 5") == ["mine"]
    change(database, "update images set camera = null")
    assert stored(database) == before


def test_a_damaged_vector_says_nothing_against_what_is_here(database, tmp_path):
    def spoiled(table):
        place = table.schema.get_field_index("vector")
        kind = table.field("vector").type
        numbers = [[float("nan")] * kind.list_size] * len(table)
        return table.set_column(place, table.field("vector"), pyarrow.array(numbers, kind))

    before = stored(database)
    said = imgsim("import", database, rewritten(database, tmp_path, spoiled), exit_code=1)
    assert "13 failed" in said and stored(database) == before


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


@pytest.mark.parametrize(
    "columns, sentence",
    [
        (
            [("path", ["a"]), ("vector", [{"x": 1.0}])],
            "the column 'vector' has no lists of numbers",
        ),
        ([("path", ["a"]), ("path", ["b"]), ("vector", [[1.0]])], "has two columns 'path'"),
    ],
)
def test_odd_columns_are_named(database, tmp_path, columns, sentence):
    names, values = zip(*columns)
    parquet.write_table(
        pyarrow.table([*map(pyarrow.array, values)], names), tmp_path / "odd.parquet"
    )
    said = imgsim("import", database, tmp_path / "odd.parquet", "--space", "x", exit_code=1)
    assert sentence in said


def test_numbers_that_sqlite_cannot_hold_are_null(database, tmp_path):
    sizes = pyarrow.array([2**64 - 1], pyarrow.uint64())
    table = pyarrow.table(
        {"path": ["a"], "vector": [[1.0]], "thumbnail": [b"\xff\xd8\xff\xd9"], "bytes": sizes}
    )
    parquet.write_table(table, tmp_path / "odd.parquet")
    imgsim("import", database, tmp_path / "odd.parquet", "--space", "x")
    assert rows(database, "select bytes from images where path = 'a'") == [None]


def test_several_arrays_are_refused(database, tmp_path):
    np.savez(tmp_path / "a.npz", np.zeros((1, 2)))
    (tmp_path / "a.npz").rename(tmp_path / "a.npy")
    (tmp_path / "a.txt").write_text("x")
    arguments = [tmp_path / "a.npy", "--paths", tmp_path / "a.txt", "--space", "x"]
    assert "holds several arrays" in imgsim("import", database, *arguments, exit_code=1)


@pytest.mark.parametrize("versions", [[], "x", {"weights_file": "/etc/passwd", "torch": 2}])
def test_what_a_recipe_tells_of_versions_is_checked(database, tmp_path, versions):
    def changed(table):
        recipe = json.loads(table.schema.metadata[shards.RECIPE]) | {"versions": versions}
        return table.replace_schema_metadata({shards.RECIPE: json.dumps(recipe)})

    file, new = rewritten(database, tmp_path, changed), tmp_path / "new.db"
    if isinstance(versions, dict):
        imgsim("import", new, file)
        assert rows(new, "select versions from imgsim_spaces") == ["{}"]
    else:
        assert "its recipe is damaged" in imgsim("import", new, file, exit_code=1)


def test_a_space_of_another_table_is_not_taken(tmp_path, toy):
    database = own_table(tmp_path, [(1, "a"), (2, "b")])
    imgsim("export", database, tmp_path / "shards")
    (name,) = spaces_of(database)
    said = imgsim("import", database, tmp_path / "shards", "--space", name, exit_code=1)
    assert f"The space {name!r} is of another table" in said


def spaces_of(database):
    return rows(database, "select name from imgsim_spaces")


def test_what_fails_leaves_no_new_database(tmp_path):
    imgsim("import", tmp_path / "new.db", tmp_path / "none", exit_code=1)
    assert not (tmp_path / "new.db").exists()


def test_an_image_without_vector_is_named(database, tmp_path):
    imgsim("export", database, tmp_path / "shards")
    imgsim("import", tmp_path / "new.db", tmp_path / "shards", "--no-vectors")
    said = imgsim("similar", tmp_path / "new.db", 1, exit_code=1)
    assert "The image 1 has no vector in the space" in said
