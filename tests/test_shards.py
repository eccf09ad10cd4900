"""`export` and `import`: shards give back what was stored, to the bit."""

import sys

import numpy as np
import pytest
from helpers.commands import TOY, embed_toy, imgsim
from helpers.databases import KEYS, change, make_space, random_vectors, rows, spaces
from helpers.needs import package
from helpers.pictures import draw
from helpers.shards import COUNT, make_database, small, stored

from datasette_imgsim import Collection
from datasette_imgsim.errors import ImgsimError
from datasette_imgsim.ingest import importing

pyarrow, parquet = package("pyarrow"), package("pyarrow.parquet")


@pytest.fixture
def database(tmp_path, toy):
    return make_database(tmp_path)


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


def test_what_failed_elsewhere_may_be_an_image_here(database, tmp_path):
    imgsim("export", database, tmp_path / "shards")
    draw(tmp_path / "images/broken.jpg", "square")
    embed_toy(tmp_path)
    before = stored(database)
    said = imgsim("import", database, tmp_path / "shards")
    assert said.startswith("0 added, 0 changed, 12 unchanged, 1 kept")
    assert stored(database) == before


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


def test_a_space_of_another_table_is_not_taken(tmp_path, toy):
    database = own_table(tmp_path, [(1, "a"), (2, "b")])
    imgsim("export", database, tmp_path / "shards")
    (name,) = spaces_of(database)
    said = imgsim("import", database, tmp_path / "shards", "--space", name, exit_code=1)
    assert f"The space {name!r} is of another table" in said


def spaces_of(database):
    return rows(database, "select name from imgsim_spaces")


def test_an_image_without_vector_is_named(database, tmp_path):
    imgsim("export", database, tmp_path / "shards")
    imgsim("import", tmp_path / "new.db", tmp_path / "shards", "--no-vectors")
    said = imgsim("similar", tmp_path / "new.db", 1, exit_code=1)
    assert "The image 1 has no vector in the space" in said
