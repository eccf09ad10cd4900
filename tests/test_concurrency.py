"""Several programs at one database, and programs that are stopped halfway."""

import itertools
import os
import shutil
import signal
import sqlite3
import threading
import time
from contextlib import closing, contextmanager
from dataclasses import replace

import pytest
from helpers.commands import TOY, Hold, embed_toy, end, imgsim, start
from helpers.databases import change, expected_scores, make_space, random_vectors, rows, space_of
from helpers.loading import reload_at_once
from helpers.pictures import draw, draw_groups
from helpers.waiting import LONG, wait_until

from datasette_imgsim.db.connect import open_writer
from datasette_imgsim.db.spaces import raise_generation
from datasette_imgsim.ingest.run import Run
from datasette_imgsim.limits import LIMITS
from datasette_imgsim.search import indexes, ranking

# 3 * 512 * 512 numbers a picture, 1.5 MB.
LARGE = ("--model", "toy", "--levels", "pool1", "--pooling", "flatten", "--size", 1024)


@pytest.fixture
def folder(tmp_path, toy):
    """A folder with 24 pictures in images/."""
    draw_groups(tmp_path / "images")
    return tmp_path


def start_embed(folder, *options, **process):
    """Starts `embed` of the folder."""
    return start("embed", folder / "photos.db", folder / "images", *options, **process)


def stored(folder):
    """How many vectors there are; 0 before the database is made."""
    try:
        return rows(folder / "photos.db", "select count(*) from imgsim_vectors")[0]
    except sqlite3.OperationalError:
        return 0


def assert_whole(folder, count=24):
    """Every picture is there once, with all that belongs to it."""
    database = folder / "photos.db"
    assert rows(database, "pragma integrity_check") == ["ok"]
    for table in ("images", "imgsim_vectors", "imgsim_thumbnails"):
        assert rows(database, f"select count(*) from {table}") == [count]
    assert rows(database, "select count(*) from imgsim_spaces") == [1]


def test_kill_loses_no_more_than_the_batch_in_flight(folder):
    hold = Hold(folder, before=3)
    with start_embed(folder, *TOY, "--batch-size", 3, hold=hold) as process:
        hold.wait()
        process.kill()
    before = stored(folder)
    assert before == 6
    assert embed_toy(folder).startswith(f"{24 - before} embedded, {before} unchanged")
    assert_whole(folder)


def test_ctrl_c_ends_after_the_batch_with_a_summary(folder):
    hold = Hold(folder, before=2)
    process = start_embed(folder, *TOY, "--batch-size", 3, hold=hold)
    hold.wait()
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)  # it ends later anyway
    assert process.poll() is None
    hold.let_go()
    code, out, err = end(process)
    before = stored(folder)
    assert (code, err) == (130, "")
    assert out.startswith(f"Stopped; the same command goes on from here. So far: {before} embedded")
    assert before == 6
    assert embed_toy(folder).startswith(f"{24 - before} embedded, {before} unchanged")
    assert_whole(folder)


def test_a_second_ctrl_c_ends_at_once(folder):
    hold = Hold(folder, before=1)
    process = start_embed(folder, *TOY, "--batch-size", 3, hold=hold)
    hold.wait()

    def has_ended():
        # Two that come too close to each other are one to the program.
        process.send_signal(signal.SIGINT)
        return process.poll() is not None

    wait_until(has_ended, pause=0.5)
    code, out, err = end(process)
    assert code != 0 and "Traceback" not in err


def test_two_runs_at_once_make_one_database(folder):
    hold = Hold(folder, before=1)
    both = [start_embed(folder, *TOY, "--batch-size", 2, hold=hold) for _ in range(2)]
    hold.wait(processes=2)
    hold.let_go()
    for process in both:
        code, out, err = end(process)
        assert code == 0, err
    assert_whole(folder)


def test_a_file_renamed_while_two_runs_go_on(folder):
    embed_toy(folder)
    for group in os.listdir(folder / "images"):
        (folder / "images" / group).rename(folder / f"images/new-{group}")
    for process in [start_embed(folder) for _ in range(2)]:
        code, out, err = end(process)
        assert code == 0, err
    assert_whole(folder)


@contextmanager
def locked(database, how):
    """Another program's lock on a database."""
    with closing(sqlite3.connect(database, isolation_level=None)) as conn:
        conn.execute(f"begin {how}")
        conn.execute("select count(*) from sqlite_master").fetchone()
        yield
        conn.execute("rollback")


@pytest.mark.parametrize("how", ["immediate", "exclusive", "deferred"])
def test_embed_waits_for_a_lock_and_says_so(folder, how):
    embed_toy(folder)
    with locked(folder / "photos.db", how):
        process = start_embed(folder)
        said = process.stderr.readline()
        assert said == f"Waiting for another program that has {folder / 'photos.db'} locked …\n"
        time.sleep(0.3)
        # Waiting for a reader must not lock the others out.
        if how != "exclusive":
            with closing(sqlite3.connect(folder / "photos.db", timeout=LONG / 2)) as other:
                other.execute("select count(*) from images").fetchone()
    code, out, err = end(process)
    assert (code, err) == (0, ""), err
    assert_whole(folder)


def test_waiting_can_be_ended(folder):
    embed_toy(folder)
    with locked(folder / "photos.db", "exclusive"):
        process = start_embed(folder)
        process.stderr.readline()
        process.send_signal(signal.SIGINT)
        code, out, err = end(process)
    assert code == 1 and "Traceback" not in err


def test_readers_are_never_locked_out(folder):
    groups = [folder / "images/circles", folder / "images/dots"]
    process = start("embed", folder / "photos.db", *groups, *LARGE, "--batch-size", 6)
    wait_until(lambda: (folder / "photos.db").exists())
    waits, done, started = [], threading.Event(), time.monotonic()

    def poll():
        while not done.is_set():
            began = time.monotonic()
            with closing(sqlite3.connect(folder / "photos.db", timeout=LONG)) as conn:
                conn.execute("select count(*) from sqlite_master").fetchone()
            waits.append(time.monotonic() - began)
            time.sleep(0.005)

    reader = threading.Thread(target=poll)
    reader.start()
    code, out, err = end(process)
    done.set()
    reader.join()
    assert code == 0, err
    # A second, or on a slow machine a small part of the whole run.
    assert len(waits) > 20 and max(waits) < max(1, (time.monotonic() - started) / 5)
    assert_whole(folder, 12)


def test_a_space_dropped_during_a_run_ends_it(folder):
    hold = Hold(folder, before=2)
    process = start_embed(folder, *TOY, "--batch-size", 2, hold=hold)
    hold.wait()
    imgsim("drop", folder / "photos.db", "toy pool1 flatten")
    hold.let_go()
    code, out, err = end(process)
    assert code == 1
    assert err == "Error: The space 'toy pool1 flatten' was removed by another program meanwhile\n"
    assert stored(folder) == 0


def drop_after(monkeypatch, folder, function, name="toy pool1 flatten"):
    """Another program removes the only space as soon as a function of `Run` has come to its end."""
    whole = getattr(Run, function)

    def then_drop(*args):
        whole(*args)
        imgsim("drop", folder / "photos.db", name)

    monkeypatch.setattr(Run, function, then_drop)


REMOVED = "Error: The space 'toy pool1 flatten' was removed by another program meanwhile\n"


@pytest.mark.parametrize("options", [(), ("--prune",)])
def test_a_space_dropped_after_the_last_picture(folder, monkeypatch, options):
    embed_toy(folder)
    for id in (1, 2):
        (path,) = rows(folder / "photos.db", "select path from images where id = ?", id)
        (folder / path).unlink()
    change(folder / "photos.db", "delete from images where id = 2")
    drop_after(monkeypatch, folder, "go")
    assert embed_toy(folder, *options, exit_code=1) == REMOVED
    count = 22 if options else 23
    for table in ("images", "imgsim_thumbnails"):
        assert rows(folder / "photos.db", f"select count(*) from {table}") == [count]


def test_a_space_of_a_table_dropped_after_the_last_picture(tmp_path, toy, monkeypatch):
    change(tmp_path / "photos.db", "create table items (id integer primary key, path text)")
    for id in (1, 2):
        draw(tmp_path / f"{id}.jpg", seed=id)
        change(tmp_path / "photos.db", "insert into items values (?, ?)", id, f"{id}.jpg")
    options = ("embed", tmp_path / "photos.db", "--table", "items", "--column", "path", *TOY)
    imgsim(*options)
    change(tmp_path / "photos.db", "update items set path = null where id = 1")
    drop_after(monkeypatch, tmp_path, "go", "items toy pool1 flatten")
    assert "'items toy pool1 flatten' was removed" in imgsim(*options, exit_code=1)
    assert rows(tmp_path / "photos.db", "select image_key from imgsim_thumbnails") == [2]


def test_files_that_vanish_or_change_during_a_run(folder):
    hold = Hold(folder, before=2)
    process = start_embed(folder, *TOY, "--batch-size", 2, "--workers", 1, hold=hold)
    hold.wait()
    # Well behind what is decoded ahead.
    (folder / "images/stripes/5.jpg").unlink()
    shutil.copy(folder / "images/squares/5.jpg", folder / "images/stripes/4.jpg")
    hold.let_go()
    code, out, err = end(process)
    assert code == 0, err
    assert rows(folder / "photos.db", "select source, error from imgsim_failures") == [
        ("images/stripes/5.jpg", "the file is gone, or a link that points nowhere")
    ]
    assert embed_toy(folder, "--prune").startswith("0 embedded, 23 unchanged")
    assert rows(folder / "photos.db", "select * from imgsim_failures") == []
    assert_whole(folder, 23)


@pytest.mark.parametrize("bytes_in_memory", [10**9, 0])
def test_an_answer_beside_a_writer_is_of_one_generation(tmp_path, monkeypatch, bytes_in_memory):
    monkeypatch.setattr(LIMITS, "bytes_in_memory", bytes_in_memory)
    reload_at_once(monkeypatch)
    path = make_space(tmp_path / "photos.db", random_vectors(20), centre=False)
    other = make_space(tmp_path / "other.db", random_vectors(20, seed=1), centre=False)
    turns = [rows(each, "select vector from imgsim_vectors") for each in (path, other)]
    expected = [expected_scores(each)[3] for each in (path, other)]
    done, seen = threading.Event(), set()

    def write():
        with closing(open_writer(path, images=False)) as conn:
            for turn in itertools.cycle([1, 0]):
                with conn.transaction():
                    conn.executemany(
                        "update imgsim_vectors set vector = ? where image_key = ?",
                        zip(turns[turn], range(1, 21)),
                    )
                    raise_generation(conn, space_of(conn))
                if done.wait(0.01):
                    return

    def connect():
        return sqlite3.connect(path, check_same_thread=False)

    writer, cache = threading.Thread(target=write), indexes.Indexes(connect)
    writer.start()
    try:
        with closing(connect()) as conn:
            deadline = time.monotonic() + LONG
            while len(seen) < 2 and time.monotonic() < deadline:
                vectors = cache.get(conn, space_of(conn), wait=LONG)
                query = ranking.query_of_image(conn, vectors, 2, ranking.weights(vectors.space))
                query = replace(query, ids=())
                for _ in range(20):
                    found = dict(ranking.rank(conn, vectors, query, 20))
                    (turn,) = [n for n in (0, 1) if found == pytest.approx(expected[n], abs=1e-4)]
                    seen.add(turn)
    finally:
        done.set()
        writer.join()
    assert seen == {0, 1}
