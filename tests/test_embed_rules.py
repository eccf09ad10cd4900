"""Unique indexes, triggers and constraints of the user's own in the table `images`."""

import re
import shutil

import pytest
from helpers.commands import embed_toy
from helpers.databases import change, rows
from helpers.pictures import draw

from datasette_imgsim.db.schema import IMAGES_COLUMNS, IMAGES_SQL


@pytest.fixture
def folder(tmp_path, toy):
    """images/a.jpg is embedded; b.jpg is new, and so is bad.jpg, which is a copy of a.jpg."""
    draw(tmp_path / "images/a.jpg")
    embed_toy(tmp_path)
    draw(tmp_path / "images/b.jpg", "square")
    shutil.copy(tmp_path / "images/a.jpg", tmp_path / "images/bad.jpg")
    return tmp_path


def remade_with(constraint):
    """Statements that make `images` anew with one more constraint."""
    columns = ", ".join(IMAGES_COLUMNS)
    return [
        "create table copy as select * from images",
        "drop table images",
        f"{IMAGES_SQL[:-1]}, {constraint})",
        f"insert into images ({columns}) select {columns} from copy",
    ]


def trigger(when, action):
    return [f"create trigger guard {when} on images when new.path like '%bad%' begin {action}; end"]


RULES = {
    "index": (["create unique index one on images (sha256)"], "images.sha256; index 'one'"),
    "index of two": (
        ["create unique index one on images (sha256, bytes)"],
        "images.sha256, images.bytes; index 'one'",
    ),
    "expression": (["create unique index one on images (lower(sha256))"], "index 'one'"),
    "check": (
        remade_with("constraint good check (path not like '%bad%')"),
        "CHECK constraint failed: good",
    ),
    "trigger": (
        trigger("before insert", "select raise(abort, 'no bad ones')"),
        "no bad ones; trigger 'guard'",
    ),
    "trigger that fails": (
        trigger("after insert", "select raise(fail, 'no bad ones')"),
        "no bad ones; trigger 'guard'",
    ),
    "trigger that ignores": (
        trigger("before insert", "select raise(ignore)"),
        "left out; trigger 'guard'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", RULES)
def test_a_rule_costs_only_the_picture_that_it_refuses(folder, what):
    statements, named = RULES[what]
    for sql in statements:
        change(folder / "photos.db", sql)
    printed = embed_toy(folder)
    assert "1 embedded, 1 unchanged" in printed and "1 failed" in printed
    sql = "select path from images join imgsim_vectors on image_key = id order by 1"
    assert rows(folder / "photos.db", sql) == ["images/a.jpg", "images/b.jpg"]
    ((source, error),) = rows(folder / "photos.db", "select source, error from imgsim_failures")
    assert source == "images/bad.jpg"
    assert (
        error.startswith("an index, trigger or constraint of yours refuses it (") and named in error
    )
    assert "change or drop that, and run it with --retry-failed" in error
    assert "1 failed before" in embed_toy(folder)


def test_a_picture_comes_when_its_rule_is_gone(folder):
    change(folder / "photos.db", "create unique index one on images (sha256)")
    embed_toy(folder)
    change(folder / "photos.db", "drop index one")
    assert "1 copied" in embed_toy(folder, "--retry-failed")


def test_a_copy_of_what_was_refused_is_stored(folder):
    """The first of two equal pictures is refused, so the second one gets the vector."""
    draw(folder / "images/bad.jpg", "dots")
    shutil.copy(folder / "images/bad.jpg", folder / "images/later.jpg")
    for sql in trigger("before insert", "select raise(abort, 'no')"):
        change(folder / "photos.db", sql)
    assert "2 embedded, 1 unchanged" in embed_toy(folder)


def test_what_was_stored_stays_where_a_change_is_refused(folder):
    embed_toy(folder)
    change(
        folder / "photos.db", "create unique index one on images (sha256) where path like '%b.%'"
    )
    change(folder / "photos.db", trigger("before update", "select raise(abort, 'no')")[0])
    kept = "select sha256, vector from images join imgsim_vectors on image_key = id order by id"
    before = rows(folder / "photos.db", kept)
    draw(folder / "images/bad.jpg", "stripes")
    embed_toy(folder, exit_code=1)
    assert rows(folder / "photos.db", kept) == before


@pytest.mark.parametrize(
    "action, sentence",
    [
        ("select raise(rollback, 'all of it')", r"all of it; trigger 'guard'.*ended the run"),
        ("insert into gone values (1)", "no such table: main.gone; trigger 'guard'"),
    ],
)
def test_a_trigger_that_cannot_work_is_named(folder, action, sentence):
    change(folder / "photos.db", trigger("after insert", action)[0])
    printed = embed_toy(folder, exit_code=1)
    errors = rows(folder / "photos.db", "select error from imgsim_failures")
    assert re.search(sentence, printed + " ".join(errors), re.DOTALL)


def test_a_trigger_that_keeps_rows_is_named_by_prune(folder):
    embed_toy(folder)
    sql = "create trigger keep before delete on images begin select raise(abort, 'kept'); end"
    change(folder / "photos.db", sql)
    (folder / "images/b.jpg").unlink()
    printed = embed_toy(folder, "--prune", exit_code=1)
    assert (
        "Error: an index, trigger or constraint of yours refuses it (kept; trigger 'keep')"
        in printed
    )
    assert len(rows(folder / "photos.db", "select 1 from imgsim_vectors")) == 3


def test_a_rule_in_our_own_tables_is_a_sentence(folder):
    change(
        folder / "photos.db",
        "create trigger guard before update on imgsim_spaces "
        "begin select raise(abort, 'no more'); end",
    )
    assert "photos.db refuses what is to be stored (no more)" in embed_toy(folder, exit_code=1)
