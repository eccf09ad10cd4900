"""`import`: odd and damaged shards end in sentences, and cost nothing that is stored."""

import json

import pytest
from helpers.commands import imgsim
from helpers.databases import rows
from helpers.needs import package
from helpers.shards import make_database, stored

from datasette_imgsim.ingest import shards

pyarrow, parquet = package("pyarrow"), package("pyarrow.parquet")


@pytest.fixture
def database(tmp_path, toy):
    return make_database(tmp_path)


def rewritten(database, tmp_path, change):
    """A shard of the database, changed by a function of a table of Arrow."""
    imgsim("export", database, tmp_path / "one.parquet")
    table = change(parquet.read_table(tmp_path / "one.parquet"))
    parquet.write_table(table, tmp_path / "one.parquet")
    return tmp_path / "one.parquet"


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


def test_a_damaged_vector_says_nothing_against_what_is_here(database, tmp_path):
    def spoiled(table):
        place = table.schema.get_field_index("vector")
        kind = table.field("vector").type
        numbers = [[float("nan")] * kind.list_size] * len(table)
        return table.set_column(place, table.field("vector"), pyarrow.array(numbers, kind))

    before = stored(database)
    said = imgsim("import", database, rewritten(database, tmp_path, spoiled), exit_code=1)
    assert "13 failed" in said and stored(database) == before


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


def test_what_fails_leaves_no_new_database(tmp_path):
    imgsim("import", tmp_path / "new.db", tmp_path / "none", exit_code=1)
    assert not (tmp_path / "new.db").exists()
