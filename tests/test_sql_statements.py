"""One SQL statement, one generation of a space."""

import json
import sqlite3
import time
import weakref
from contextlib import closing

import numpy as np
import pytest
from helpers.databases import FAILED, change, expected_scores, found, rows, space_of
from helpers.loading import finish, reload_at_once, values_held
from helpers.waiting import LONG, wait_until

from datasette_imgsim.limits import LIMITS
from datasette_imgsim.search import functions

# A function that raises is told on the server's stderr, which pytest makes a warning.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture
def reloading(path, cache, monkeypatch):
    """A connection whose function reload() changes all vectors and has them loaded again."""
    reload_at_once(monkeypatch)
    # Whatever else this machine does.
    monkeypatch.setattr(LIMITS, "seconds_between_statements", LONG)
    monkeypatch.setattr(LIMITS, "seconds_a_statement", LONG)
    with closing(sqlite3.connect(path)) as conn:
        conn.execute("pragma journal_mode = wal")
        functions.register(conn, cache)

        def reload():
            turned = np.random.default_rng().permutation(30).tolist()
            with closing(sqlite3.connect(path)) as other, other:
                blobs = rows(path, "select vector from imgsim_vectors order by image_key")
                for id, place in enumerate(turned, 1):
                    statement = "update imgsim_vectors set vector = ? where image_key = ?"
                    other.execute(statement, [blobs[place], id])
                other.execute("update imgsim_spaces set generation = generation + 1")
            with closing(sqlite3.connect(path)) as other:
                space = space_of(other)
                cache.get(other, space, wait=LONG)
                finish(cache, space)
                assert cache.cache.held(space.identity, space.generation)
            return 0

        conn.create_function("reload", 0, reload)
        cache.get(conn, space_of(conn), wait=LONG)
        yield conn


def test_a_statement_stays_with_one_generation(path, reloading, monkeypatch):
    before = expected_scores(path)[7]
    statement = """
        select id, imgsim_score(id, 7) + 0 * case id when 15 then reload() else 0 end from images
    """
    assert dict(reloading.execute(statement)) == pytest.approx(before, abs=1e-5)
    monkeypatch.setattr(LIMITS, "seconds_between_statements", -1)
    after = expected_scores(path)[7]
    assert after != pytest.approx(before, abs=1e-3)
    now = reloading.execute("select id, imgsim_score(id, 7) from images")
    assert dict(now) == pytest.approx(after, abs=1e-5)


def test_all_functions_of_a_statement_use_one_generation(path, reloading):
    statement = """
        select similar_to(7, 99), case when reload() = 0 then
            (select json_group_object(id, imgsim_score(id, 7, :same)) from images) end
    """
    options = {"same": '{"space": "toy"}'}
    ranked, scored = reloading.execute(statement, options).fetchone()
    scored = {int(id): score for id, score in json.loads(scored).items()}
    assert dict(found(ranked)) | {7: 1} == scored


def test_a_busy_connection_looks_for_changes_now_and_then(path, reloading, monkeypatch):
    monkeypatch.setattr(LIMITS, "seconds_a_statement", 0.1)
    assert reloading.execute("select imgsim_score(1, 2)").fetchone()
    change(path, "delete from imgsim_spaces")
    time.sleep(0.11)
    with pytest.raises(sqlite3.OperationalError, match=FAILED):
        reloading.execute("select imgsim_score(1, 2)")


def test_an_idle_connection_does_not_keep_old_vectors(cache, reloading, monkeypatch):
    monkeypatch.setattr(LIMITS, "seconds_a_statement", 0)
    reloading.execute("select imgsim_score(1, 2)").fetchone()
    (held,) = map(weakref.ref, values_held(cache))
    reloading.execute("select reload()").fetchone()
    wait_until(lambda: held() is None)
