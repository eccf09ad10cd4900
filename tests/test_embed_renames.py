"""Files whose names went round: a row stays with the content of its file."""

import os
import shutil
from pathlib import Path

import pytest
from helpers.commands import embed_toy
from helpers.databases import change, rows
from helpers.pictures import draw

COLOURS = ["red", "green", "blue", "black", "orange", "purple"]


def page(folder, number):
    return folder / f"images/page_{number:02}.{folder.suffix[1:] or 'jpg'}"


@pytest.fixture(params=["jpg", "bmp"])
def folder(request, tmp_path, toy):
    """Five pages with notes that name their colours; BMP files are all of one size."""
    folder = tmp_path / f"book.{request.param}"
    for number in range(1, 6):
        draw(page(folder, number), "square", COLOURS[number - 1], seed=3 * number)
        os.utime(page(folder, number), ns=(number, 10**18 + number))
    embed_toy(folder)
    change(folder / "photos.db", "alter table images add column note text")
    for number in range(1, 6):
        sql = "update images set note = ? where id = ?"
        change(folder / "photos.db", sql, COLOURS[number - 1], number)
    return folder


def notes(folder):
    """The notes by the number of their page."""
    found = rows(folder / "photos.db", "select path, note from images order by path")
    return {int(Path(path).stem[-2:]): note for path, note in found}


def rename(folder, names):
    """Gives pages new numbers at once."""
    for old in names:
        page(folder, old).rename(folder / f"images/{old}.tmp")
    for old, new in names.items():
        (folder / f"images/{old}.tmp").rename(page(folder, new))


def new_page(folder, number):
    draw(page(folder, number), "dots", "purple")


def assert_vectors_fit(folder):
    """All that is stored is what a new database would have."""
    sql = "select path, vector from images join imgsim_vectors on image_key = id order by path"
    now = [row for row in rows(folder / "photos.db", sql) if (folder / row[0]).exists()]
    (folder / "photos.db").rename(folder / "old.db")
    embed_toy(folder)
    assert rows(folder / "photos.db", sql) == now


def test_a_page_that_is_put_in_between(folder):
    rename(folder, {2: 3, 3: 4, 4: 5, 5: 6})
    new_page(folder, 2)
    assert "1 embedded, 1 unchanged, 4 renamed, 0 copied" in embed_toy(folder)
    assert notes(folder) == {1: "red", 2: None, 3: "green", 4: "blue", 5: "black", 6: "orange"}
    assert "6 unchanged" in embed_toy(folder)
    assert_vectors_fit(folder)


def test_a_page_that_is_taken_out(folder):
    page(folder, 1).unlink()
    rename(folder, {2: 1, 3: 2, 4: 3, 5: 4})
    assert "0 embedded, 0 unchanged, 4 renamed" in embed_toy(folder)
    # The row of the page that is gone has the path that became free.
    assert notes(folder) == {1: "green", 2: "blue", 3: "black", 4: "orange", 5: "red"}
    assert "1 pruned" in embed_toy(folder, "--prune")
    assert_vectors_fit(folder)


@pytest.mark.parametrize("names", [{1: 2, 2: 1}, {1: 2, 2: 3, 3: 1}, {1: 5, 2: 4, 4: 2, 5: 1}])
def test_pages_in_another_order(folder, names):
    rename(folder, names)
    assert f"{len(names)} renamed" in embed_toy(folder)
    expected = {names.get(n, n): COLOURS[n - 1] for n in range(1, 6)}
    assert notes(folder) == expected
    assert_vectors_fit(folder)


def test_files_that_were_renamed_and_touched(folder):
    rename(folder, {2: 3, 3: 4, 4: 5, 5: 6})
    new_page(folder, 2)
    for number in range(1, 7):
        os.utime(page(folder, number))
    assert "1 embedded, 1 unchanged, 4 renamed" in embed_toy(folder)
    assert notes(folder)[6] == "orange"


def test_a_page_that_replaces_another(folder):
    """Page 3 is overwritten by page 2, and there is a new page 2."""
    rename(folder, {2: 3})
    new_page(folder, 2)
    embed_toy(folder)
    # Whose content is gone has the path that became free.
    assert notes(folder) == {1: "red", 2: "blue", 3: "green", 4: "black", 5: "orange"}
    assert_vectors_fit(folder)


def test_copies_do_not_move(folder):
    shutil.copy2(page(folder, 2), page(folder, 3))
    shutil.copy2(page(folder, 2), page(folder, 6))
    assert "2 copied" in embed_toy(folder)
    assert notes(folder) == {**dict(enumerate(COLOURS[:5], 1)), 6: None}
    assert_vectors_fit(folder)


def test_a_copy_that_changes_places_with_its_like(folder):
    shutil.copy(page(folder, 2), page(folder, 6))
    embed_toy(folder)
    rename(folder, {2: 6, 6: 2})
    before = notes(folder)
    assert "6 unchanged, 0 renamed" in embed_toy(folder)
    assert notes(folder) == before


def test_another_space_follows_too(folder):
    rename(folder, {1: 2, 2: 1})
    embed_toy(folder, "--levels", "pool2")
    assert notes(folder)[1] == "green" and notes(folder)[2] == "red"
    assert len(rows(folder / "photos.db", "select 1 from imgsim_vectors")) == 10


def test_a_rule_that_keeps_paths_stops_nothing(folder):
    sql = "create trigger keep before update of path on images begin select raise(abort, 'no'); end"
    change(folder / "photos.db", sql)
    rename(folder, {1: 2, 2: 1})
    embed_toy(folder, exit_code=1)
    assert notes(folder) == {n: COLOURS[n - 1] for n in range(1, 6)}
