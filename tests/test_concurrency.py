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
from command import start, wait_until
from conftest import TOY, draw_groups, embed_toy, imgsim, rows
from made import expected_scores, make_space, random_vectors, reload_at_once, space_of

from datasette_imgsim.db.connect import open_writer
from datasette_imgsim.db.spaces import raise_generation
from datasette_imgsim.limits import LIMITS
from datasette_imgsim.search import indexes, ranking

# 3 * 512 * 512 numbers a picture, 1.5 MB.
LARGE = ("--model", "toy", "--levels", "pool1", "--pooling", "flatten", "--size", 1024)


@pytest.fixture
def folder(tmp_path, toy):
    """A folder with 24 pictures in images/."""
    draw_groups(tmp_path / "images", 6)
    return tmp_path


def embed(folder, *options, **process):
    arguments = ("embed", folder / "photos.db", folder / "images", *options)
    return start(*arguments, **process)


def stored(folder):
    """How many vectors there are; 0 before the database is made."""
    try:
        return rows(folder / "photos.db", "select count(*) from imgsim_vectors")[0]
    except sqlite3.OperationalError:
        return 0


def end(process):
    """(exit code, standard output, standard error)"""
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def assert_whole(folder, count=24):
    """Every picture is there once, with all that belongs to it."""
    database = folder / "photos.db"
    assert rows(database, "pragma integrity_check") == ["ok"]
    for table in ("images", "imgsim_vectors", "imgsim_thumbnails"):
        assert rows(database, f"select count(*) from {table}") == [count]
    assert rows(database, "select count(*) from imgsim_spaces") == [1]


def test_kill_loses_no_more_than_the_batch_in_flight(folder):
    process = embed(folder, *TOY, "--batch-size", 3, seconds_a_batch=0.3)
    wait_until(lambda: stored(folder) >= 6)
    process.kill()
    process.communicate()
    before = stored(folder)
    assert before < 24 and before % 3 == 0
    assert embed_toy(folder).startswith(f"{24 - before} embedded, {before} unchanged")
    assert_whole(folder)


def test_ctrl_c_ends_after_the_batch_with_a_summary(folder):
    process = embed(folder, *TOY, "--batch-size", 3, seconds_a_batch=0.3)
    wait_until(lambda: stored(folder) >= 3)
    process.send_signal(signal.SIGINT)
    code, out, err = end(process)
    before = stored(folder)
    assert (code, err) == (130, "")
    assert out.startswith(f"Stopped; the same command goes on from here. So far: {before} embedded")
    assert before < 24
    assert embed_toy(folder).startswith(f"{24 - before} embedded, {before} unchanged")
    assert_whole(folder)


def test_a_second_ctrl_c_ends_at_once(folder):
    process = embed(folder, *TOY, "--batch-size", 3, seconds_a_batch=20)
    wait_until(lambda: (folder / "photos.db").exists())
    time.sleep(1)
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        time.sleep(0.3)
    code, out, err = end(process)
    assert code != 0 and "Traceback" not in err


def test_two_runs_at_once_make_one_database(folder):
    both = [embed(folder, *TOY, "--batch-size", 2, seconds_a_batch=0.05) for _ in range(2)]
    for process in both:
        code, out, err = end(process)
        assert code == 0, err
    assert_whole(folder)


def test_a_file_renamed_while_two_runs_go_on(folder):
    embed_toy(folder)
    for group in os.listdir(folder / "images"):
        (folder / "images" / group).rename(folder / f"images/new-{group}")
    for process in [embed(folder) for _ in range(2)]:
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
        process = embed(folder)
        said = process.stderr.readline()
        assert said == f"Waiting for another program that has {folder / 'photos.db'} locked …\n"
        time.sleep(0.3)
        # Waiting for a reader must not lock the others out.
        if how != "exclusive":
            with closing(sqlite3.connect(folder / "photos.db", timeout=1)) as other:
                other.execute("select count(*) from images").fetchone()
    code, out, err = end(process)
    assert (code, err) == (0, ""), err
    assert_whole(folder)


def test_waiting_can_be_ended(folder):
    embed_toy(folder)
    with locked(folder / "photos.db", "exclusive"):
        process = embed(folder)
        process.stderr.readline()
        process.send_signal(signal.SIGINT)
        code, out, err = end(process)
    assert code == 1 and "Traceback" not in err


def test_readers_are_never_locked_out(folder):
    groups = [folder / "images/circles", folder / "images/dots"]
    process = start("embed", folder / "photos.db", *groups, *LARGE, "--batch-size", 6)
    wait_until(lambda: (folder / "photos.db").exists())
    waits, done = [], threading.Event()

    def poll():
        while not done.is_set():
            began = time.monotonic()
            with closing(sqlite3.connect(folder / "photos.db", timeout=1)) as conn:
                conn.execute("select count(*) from sqlite_master").fetchone()
            waits.append(time.monotonic() - began)
            time.sleep(0.005)

    reader = threading.Thread(target=poll)
    reader.start()
    code, out, err = end(process)
    done.set()
    reader.join()
    assert code == 0, err
    assert len(waits) > 20 and max(waits) < 1
    assert_whole(folder, 12)


def test_a_space_dropped_during_a_run_ends_it(folder):
    process = embed(folder, *TOY, "--batch-size", 2, seconds_a_batch=0.3)
    wait_until(lambda: stored(folder) >= 2)
    imgsim("drop", folder / "photos.db", "toy pool1 flatten")
    code, out, err = end(process)
    assert code == 1
    assert err == "Error: The space 'toy pool1 flatten' was removed by another program meanwhile\n"
    assert stored(folder) == 0


def test_files_that_vanish_or_change_during_a_run(folder):
    process = embed(folder, *TOY, "--batch-size", 2, "--workers", 1, seconds_a_batch=0.15)
    wait_until(lambda: stored(folder) >= 2)
    # Well behind what is decoded ahead.
    (folder / "images/stripes/5.jpg").unlink()
    shutil.copy(folder / "images/squares/5.jpg", folder / "images/stripes/4.jpg")
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
                        "update imgsim_vectors set vector = ? where image_id = ?",
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
            deadline = time.monotonic() + 20
            while len(seen) < 2 and time.monotonic() < deadline:
                vectors = cache.get(conn, space_of(conn), wait=10)
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
