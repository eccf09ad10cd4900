"""similar, models, spaces, drop; databases that cannot be read or written; other versions."""

import json
import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from helpers.commands import TOY, embed_toy, imgsim, ordinary_user, run, small_files
from helpers.databases import change, rows
from helpers.pictures import draw, draw_groups

from datasette_imgsim.db import versions
from datasette_imgsim.search import likeness


@pytest.fixture
def folder(tmp_path, toy):
    """Twelve pictures in four groups, in two spaces: `toy`, the default, and `fine`."""
    draw_groups(tmp_path / "images", 3)
    imgsim("embed", tmp_path / "photos.db", tmp_path / "images", "--model", "toy", "--quiet")
    embed_toy(tmp_path, "--space", "fine", "--quiet")
    return tmp_path


def similar(folder, query, *options):
    """(path, score) of each result."""
    printed = imgsim("similar", folder / "photos.db", query, *options, "--json")
    return [(row["path"], row["score"]) for row in json.loads(printed)]


# similar


def test_similar_to_an_id_leaves_it_out(folder):
    (id,) = rows(folder / "photos.db", "select id from images where path like '%squares/0.jpg'")
    found = similar(folder, id, "-k", 2, "--space", "fine")
    assert {path.split("/")[1] for path, _ in found} == {"squares"}
    assert len(found) == 2 and 1 > found[0][1] >= found[1][1]


def test_similar_to_a_file_that_is_in_the_database_finds_it_first(folder):
    found = similar(folder, folder / "images/dots/1.jpg", "--space", "fine")
    assert found[0] == ("images/dots/1.jpg", 1.0)
    assert len(found) == 10


def test_similar_to_a_file_that_is_not_in_the_database(folder, tmp_path_factory):
    new = draw(tmp_path_factory.mktemp("else") / "new.png", "stripes", "green", seed=1)
    found = similar(folder, new, "-k", 3, "--space", "fine")
    assert {path.split("/")[1] for path, _ in found} == {"stripes"}


def test_a_query_goes_through_the_preprocessing_of_the_space(folder):
    draw(folder / "images/wide.jpg", size=(300, 60))
    embed_toy(folder, "--resize", "pad", "--space", "pad", "--dtype", "float16")
    found = similar(folder, folder / "images/wide.jpg", "-k", 1, "--space", "pad")
    assert found == [("images/wide.jpg", 1.0)]


def test_a_file_wins_over_an_id(folder, monkeypatch):
    monkeypatch.chdir(folder)
    shutil.copy("images/dots/1.jpg", "7")
    assert similar(folder, "7", "--space", "fine")[0] == ("images/dots/1.jpg", 1.0)


def test_level_weights_decide(folder):
    levels = ("--model", "toy", "--levels", "pool1,pool2", "--pooling", "flatten")
    imgsim("embed", folder / "photos.db", folder / "images", *levels, "--space", "two", "--quiet")

    def scores(weights):
        return similar(folder, 1, "--space", "two", "--level-weights", weights)

    assert scores("pool1=1") == scores("pool1:5,pool2=0") != scores("pool2=1")
    assert scores("pool1=1,pool2=1") == similar(folder, 1, "--space", "two")


def test_similar_for_people(folder):
    printed = imgsim("similar", folder / "photos.db", 1, "-k", 1, "--space", "fine")
    score, *word, id, path = printed.splitlines()[-1].split()
    assert float(score) < 1 and " ".join(word) in likeness.WORDS
    assert id in ("2", "3") and path.startswith("images/circles/")


@pytest.mark.parametrize(
    "query, options, sentence",
    [
        ("999", (), "999 is neither a file nor the id of an image in"),
        ("gone.jpg", (), "gone.jpg is neither a file nor the id"),
        ("1", ("--space", "none"), "No space 'none': there is toy and fine"),
        ("1", ("--level-weights", "pool9=1"), "has no level 'pool9': there is pool2"),
        ("1", ("--level-weights", "pool2"), "Level weights are written pool5:1,pool3:.5"),
        ("1", ("--level-weights", "pool2=0"), "All level weights are 0"),
        (__file__, (), "test_cli.py: not a picture"),
    ],
)
def test_wrong_queries(folder, query, options, sentence):
    assert sentence in imgsim("similar", folder / "photos.db", query, *options, exit_code=1)


# models, spaces, drop


def test_models_says_what_can_be_used(toy):
    printed = imgsim("models")
    assert "vgg16-oxford (the default)" in printed and "toy: mean colours" in printed
    assert "conv1_1 64" in printed and "licence of the weights: CC0" in printed


def test_spaces_lists_and_chooses_the_default(folder):
    assert imgsim("spaces", folder / "photos.db") == (
        "toy (the default): 12 images of 'images'; toy, pool2, avg, 8 px squash; 3 x float16\n"
        "fine: 12 images of 'images'; toy, pool1, flatten, 8 px squash; 48 x float32\n"
    )
    assert imgsim("spaces", folder / "photos.db", "--default", "fine").startswith("fine (the")
    assert "No space 'x': there is fine and toy" in imgsim(
        "spaces", folder / "photos.db", "--default", "x", exit_code=1
    )


def test_drop_removes_one_space_and_no_image(folder):
    change(folder / "photos.db", "insert into imgsim_atlas values (1, 1, 0, 0, 'fitted')")
    assert "Removed the space 'toy' with 12 vectors" in imgsim("drop", folder / "photos.db", "toy")
    assert rows(folder / "photos.db", "select distinct space_id from imgsim_vectors") == [2]
    assert rows(folder / "photos.db", "select * from imgsim_atlas") == []
    assert rows(folder / "photos.db", "select count(*) from images") == [12]
    assert imgsim("spaces", folder / "photos.db").startswith("fine (the default)")
    assert "No space 'toy'" in imgsim("drop", folder / "photos.db", "toy", exit_code=1)


def test_after_the_last_space_is_dropped_a_new_one_can_be_made(folder):
    for space in ("toy", "fine"):
        imgsim("drop", folder / "photos.db", space)
    assert imgsim("spaces", folder / "photos.db") == ""
    assert "There are no vectors" in imgsim("similar", folder / "photos.db", 1, exit_code=1)
    assert "12 embedded" in embed_toy(folder)


# Databases that cannot be used

COMMANDS = {
    "embed": ["images", *TOY],
    "similar": ["1"],
    "spaces": [],
    "spaces --default": ["toy"],
    "drop": ["toy"],
}


def call(command, database, *, exit_code=1):
    """Calls a command on a database; gives what it printed."""
    name, *option = command.split()
    return imgsim(name, database, *option, *COMMANDS[command], exit_code=exit_code)


@pytest.fixture(params=COMMANDS)
def command(request, folder, monkeypatch):
    monkeypatch.chdir(folder)
    return request.param


def test_a_file_that_is_no_database(command):
    with open("notes.txt", "w") as file:
        file.write("no database " * 100)
    assert "notes.txt is not a SQLite database" in call(command, "notes.txt")
    assert os.path.getsize("notes.txt") == 1200


def test_a_damaged_database(command):
    with open("photos.db", "r+b") as file:
        file.seek(100)
        file.write(b"\xff" * 5000)
    assert "photos.db is damaged" in call(command, "photos.db")


def test_a_folder_in_place_of_the_database(command):
    assert "File 'images' is a directory" in call(command, "images", exit_code=2)


def test_database_and_images_the_wrong_way_round(folder):
    printed = imgsim("embed", folder / "images", folder / "photos.db", exit_code=2)
    assert "is a directory" in printed


def test_a_folder_that_does_not_exist(command):
    printed = call(command, "none/photos.db")
    assert "does not exist" in printed
    assert not os.path.exists("none")


def test_a_database_that_does_not_exist(command):
    if command != "embed":
        assert "new.db does not exist: make it with 'datasette" in call(command, "new.db")
        assert not os.path.exists("new.db")


def test_a_database_without_images(command):
    change("other.db", "create table notes (text)")
    if command != "embed":
        assert "other.db holds no images yet" in call(command, "other.db")
        assert rows("other.db", "select name from sqlite_master") == ["notes"]


def test_a_database_of_a_newer_package_is_refused(command):
    sql = "insert into _sqlite_migrations (migration_set, name) values ('datasette-imgsim', 'm999')"
    change("photos.db", sql)
    before = open("photos.db", "rb").read()
    assert "written by a newer datasette-imgsim: pip install -U" in call(command, "photos.db")
    assert open("photos.db", "rb").read() == before


@pytest.fixture
def newer_package():
    """As if this package had one more migration than the one that made the database."""

    @versions.migrations(name="m999_later")
    def later(db):
        db.execute("create table imgsim_later (id integer)")

    yield
    versions.migrations._migrations.pop()


def test_an_older_database_is_upgraded(command, newer_package):
    if command == "similar":  # only reads
        assert "run 'datasette imgsim spaces DATABASE'" in call(command, "photos.db")
        imgsim("spaces", "photos.db")
    call(command, "photos.db", exit_code=0)
    assert rows("photos.db", "select count(*) from imgsim_later") == [0]
    assert rows("photos.db", "select count(*) from images") == [12]


def test_a_read_only_database(command):
    Path("images/bad.jpg").touch()  # so that there is something to write
    os.chmod("photos.db", 0o444)
    before = open("photos.db", "rb").read()
    name, *option = command.split()
    given = ["images"] if command == "embed" else COMMANDS[command]
    code, out, err = run(name, "photos.db", *option, *given, preexec_fn=ordinary_user)
    if command in ("similar", "spaces"):
        assert code == 0 and out
    else:
        sentence = "Error: photos.db is read-only: make the file and its folder writable\n"
        assert (code, err) == (1, sentence)
    assert open("photos.db", "rb").read() == before


def test_a_folder_without_permission(folder):
    secret = folder / "secret"
    secret.mkdir(0o000)
    arguments = ("embed", secret / "photos.db", folder / "images", *TOY)
    code, _, err = run(*arguments, preexec_fn=ordinary_user)
    assert code == 1 and "cannot be opened: check that" in err
    assert os.listdir(secret) == []


def test_a_disk_that_is_full_at_once(folder):
    arguments = ("embed", folder / "new.db", folder / "images", *TOY)
    code, _, err = run(*arguments, preexec_fn=small_files(20_000))
    assert code == 1 and "the disk may be full" in err and "Traceback" not in err
    assert sorted(os.listdir(folder)) == ["images", "photos.db"]


def test_a_disk_that_fills_up_keeps_what_was_stored(folder):
    for number in range(20):
        draw(folder / f"images/new/{number}.jpg", "dots", "blue", size=(400, 300), seed=number)
    limit = (folder / "photos.db").stat().st_size + 30_000
    arguments = ("embed", folder / "photos.db", folder / "images", "--batch-size", 1)
    code, _, err = run(*arguments, preexec_fn=small_files(limit))
    assert code == 1 and "what was stored before is safe; run the command again" in err
    assert rows(folder / "photos.db", "pragma integrity_check") == ["ok"]
    (stored,) = rows(folder / "photos.db", "select count(*) from imgsim_vectors where space_id = 1")
    assert 12 < stored < 32
    assert imgsim(*arguments).startswith(f"{32 - stored} embedded, {stored} unchanged")


def test_a_database_name_with_odd_characters(folder, monkeypatch):
    monkeypatch.chdir(folder)
    for name in ("a b%20?x=1#y.db", "caf\udce9.db", "'\"日.db"):
        imgsim("embed", name, "images", *TOY)
        assert json.loads(imgsim("similar", name, 1, "-k", 1, "--json"))
        assert "space 'no'" in imgsim("similar", name, 1, "--space", "no", exit_code=1)
        imgsim("drop", name, "toy pool1 flatten")


def test_a_database_behind_a_link(folder):
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    (folder / "photos.db").rename(elsewhere / "real.db")
    (folder / "photos.db").symlink_to(elsewhere / "real.db")
    draw(folder / "images/new.jpg", "square", "green")
    assert "1 embedded, 12 unchanged" in imgsim("embed", folder / "photos.db", folder / "images")
    assert not (elsewhere / "photos.db").exists()


def test_a_database_left_in_the_middle_of_a_commit_can_be_read(folder):
    """As after kill -9: the journal beside it is rolled back."""
    with closing(sqlite3.connect(folder / "photos.db", isolation_level=None)) as conn:
        conn.execute("pragma cache_size = 1")
        conn.execute("begin")
        conn.execute("update imgsim_vectors set vector = zeroblob(9999)")
        for name in ("photos.db", "photos.db-journal"):
            shutil.copy(folder / name, folder / f"copy-{name}".replace("photos", "of"))
        conn.execute("rollback")
    printed = imgsim("similar", folder / "copy-of.db", 1, "--json")
    assert printed == imgsim("similar", folder / "photos.db", 1, "--json")


# Odd databases and terminals


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "utf-8"])
def test_names_that_a_terminal_cannot_show_are_printed(folder, encoding, monkeypatch):
    database = folder / "photos.db"
    change(database, "update images set path = 'images/\U0001f923.jpg' where id = 2")
    monkeypatch.setenv("PYTHONIOENCODING", encoding)
    status, out, err = run("similar", database, 1, "-k", 11)
    assert status == 0 and out.count("\n") == 12 and "Traceback" not in err


@pytest.mark.parametrize(
    "sql, sentence",
    [
        ("rename column camera to kamera", "no column 'camera' any more: rename it back, or add"),
        ("drop column width", "'sqlite-utils add-column photos.db images width integer'"),
        ("rename column path to file", "no column 'path' any more: rename it back\n"),
    ],
)
def test_a_column_that_was_taken_away_is_named(folder, sql, sentence, monkeypatch):
    monkeypatch.chdir(folder)
    change("photos.db", f"alter table images {sql}")
    assert sentence in imgsim("embed", "photos.db", "images", exit_code=1)


def test_the_command_that_is_named_brings_a_column_back(folder):
    database = folder / "photos.db"
    change(database, "alter table images drop column width")
    change(database, "alter table images add column width integer")
    assert "12 unchanged" in imgsim("embed", database, folder / "images")


def test_a_small_collection_is_a_small_file(tmp_path, toy):
    draw(tmp_path / "images/a.jpg")
    embed_toy(tmp_path)
    assert (tmp_path / "photos.db").stat().st_size < 350_000


@pytest.fixture
def museum(tmp_path, toy):
    """Two tables of pictures, each with a space."""
    for name in ("paintings", "prints"):
        draw_groups(tmp_path / name, 2)
        change(tmp_path / "museum.db", f"create table {name} (id integer primary key, photo text)")
        for number, path in enumerate(sorted((tmp_path / name).rglob("*.jpg")), 1):
            sql = f"insert into {name} values (?, ?)"
            change(tmp_path / "museum.db", sql, number, str(path.relative_to(tmp_path)))
        imgsim("embed", tmp_path / "museum.db", "--table", name, "--column", "photo", *TOY)
    return tmp_path / "museum.db"


def test_spaces_are_named_after_their_table(museum):
    printed = imgsim("spaces", museum)
    assert "paintings toy pool1 flatten (the default)" in printed
    assert "prints toy pool1 flatten (the default)" in printed


@pytest.mark.parametrize("command", [("similar", 1), ("map",), ("eval", "--label", "photo")])
def test_a_table_chooses_its_space(museum, command):
    name, *rest = command
    assert "name a space, one of" in imgsim(name, museum, *rest, exit_code=1)
    exit_code = 1 if name == "eval" else 0  # each photo is a label of its own
    printed = imgsim(name, museum, *rest, "--table", "prints", exit_code=exit_code)
    assert "name a space" not in printed
    sentence = "There are no vectors for the table 'coins' yet"
    assert sentence in imgsim(name, museum, *rest, "--table", "coins", exit_code=1)
