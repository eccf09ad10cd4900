"""`embed --ray`: the vectors of `embed`, each picture once, whatever ends on the way."""

import os
import signal
import subprocess
import sys
import tarfile

import pytest
from helpers.commands import imgsim
from helpers.databases import rows
from helpers.needs import package
from helpers.pictures import draw
from helpers.waiting import LONG, wait_until

from datasette_imgsim.errors import ImgsimError
from datasette_imgsim.ingest import ray_runner, settings, shards, units
from datasette_imgsim.ingest.options import RunOptions

ray = package("ray")
pyarrow, parquet = package("pyarrow"), package("pyarrow.parquet")

COUNT = 120
SMALL = ("--model", "efficientnet-lite", "--size", 32)
STORED = (
    "select path, sha256, bytes, mtime_ns, width, height, format, vector, norms, jpeg from images "
    "join imgsim_vectors v on v.image_key = images.id "
    "join imgsim_thumbnails t on t.image_key = images.id order by path"
)
# A driver whose units are small, so that there are several.
DRIVER = """
from datasette_imgsim.ingest import units
units.LEAST, units.USUAL, units.MOST = 4, 4, 8
from datasette.cli import cli
cli()
"""


@pytest.fixture(scope="module")
def cluster():
    """Two workers on this machine."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.fixture
def small_units(monkeypatch):
    monkeypatch.setattr(units, "LEAST", 4)
    monkeypatch.setattr(units, "USUAL", 4)
    monkeypatch.setattr(units, "MOST", 8)


@pytest.fixture
def folder(tmp_path):
    """Pictures in images/, of which one is damaged."""
    for number in range(COUNT):
        draw(tmp_path / f"images/{number:03d}.jpg", "stripes", size=(60 + number, 50))
    (tmp_path / "images/broken.jpg").write_bytes(b"no picture")
    return tmp_path


def embed(*sources, out, **options):
    chosen = settings.from_options(model="efficientnet-lite", size=32)
    return ray_runner.embed(map(str, sources), str(out), chosen, RunOptions(workers=1, **options))


def paths_in(out):
    """The paths in all shards, in order."""
    with shards.located(str(out)) as (fs, path):
        groups = [group for file in shards.below(fs, path) for group in shards.read(fs, file)[1]]
    return sorted(record.path for group in groups for record in group)


def same_as_embed(folder):
    """Checks that the shards in folder/shards are what `embed` makes of folder/images."""
    imgsim("import", folder / "ray.db", folder / "shards")
    imgsim("embed", folder / "plain.db", folder / "images", *SMALL, "--quiet")
    assert rows(folder / "ray.db", STORED) == rows(folder / "plain.db", STORED)
    failures = "select source, error from imgsim_failures"
    assert rows(folder / "ray.db", failures) == rows(folder / "plain.db", failures)


def test_the_vectors_are_those_of_embed(cluster, small_units, folder):
    done = embed(folder / "images", out=folder / "shards")
    assert (done.embedded, done.failed, done.unchanged) == (COUNT, 1, 0)
    assert len(list((folder / "shards").iterdir())) > 10
    assert len(paths_in(folder / "shards")) == COUNT + 1
    same_as_embed(folder)


def test_only_units_that_changed_are_done_again(cluster, small_units, folder):
    embed(folder / "images", out=folder / "shards")
    before = {file.name for file in (folder / "shards").iterdir()}
    draw(folder / "images/050.jpg", "circle", size=(99, 99))
    draw(folder / "images/0505.jpg", "square")
    (folder / "images/100.jpg").unlink()
    done = embed(folder / "images", out=folder / "shards")
    after = {file.name for file in (folder / "shards").iterdir()}
    assert done.embedded < 40 and done.embedded + done.unchanged + done.failed == COUNT + 1
    assert len(after & before) > len(before) / 2
    found = paths_in(folder / "shards")
    assert found == sorted(map(str, (folder / "images").iterdir()))
    assert embed(folder / "images", out=folder / "shards").embedded == 0
    same_as_embed(folder)


def test_shards_of_other_sources_stay_and_other_options_need_another_folder(
    cluster, small_units, folder
):
    draw(folder / "more/x.jpg")
    embed(folder / "images", out=folder / "shards")
    embed(folder / "more", folder / "images", out=folder / "more-shards")
    embed(folder / "images", folder / "more", out=folder / "more-shards")
    assert len(paths_in(folder / "more-shards")) == COUNT + 2
    embed(folder / "more", out=folder / "shards")
    assert len(paths_in(folder / "shards")) == COUNT + 2
    with pytest.raises(ImgsimError, match="has shards that were made with other options"):
        embed(folder / "more", out=folder / "shards", thumbnail_size=32)


def driver(folder, *address):
    images, out = folder / "images", folder / "shards"
    arguments = ["imgsim", "embed", "--ray", *address, images, "--out", out]
    command = [sys.executable, "-c", DRIVER, *map(str, [*arguments, *SMALL, "--workers", 1])]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def shards_of(folder):
    return [*(folder / "shards").glob("*.parquet")]


def test_a_driver_that_is_killed_loses_only_what_is_in_flight(folder):
    with driver(folder) as process:
        wait_until(lambda: len(shards_of(folder)) >= 3)
        process.kill()
    there = {file: file.stat().st_mtime_ns for file in shards_of(folder)}
    with driver(folder) as process:
        said, _ = process.communicate(timeout=LONG)
    assert process.returncode == 0 and "1 failed" in said
    assert all(file.stat().st_mtime_ns == changed for file, changed in there.items())
    assert paths_in(folder / "shards") == sorted(map(str, (folder / "images").iterdir()))
    assert not [*(folder / "shards").glob("*.part")]
    same_as_embed(folder)


def test_a_worker_that_is_killed_is_replaced(folder):
    with driver(folder) as process:
        wait_until(lambda: len(shards_of(folder)) >= 2)
        killed = kill_a_worker()
        said, _ = process.communicate(timeout=LONG)
    assert killed and process.returncode == 0, said
    assert paths_in(folder / "shards") == sorted(map(str, (folder / "images").iterdir()))
    same_as_embed(folder)


def kill_a_worker():
    """Kills a process of Ray that embeds; returns whether there was one."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                is_worker = file.read().startswith(b"ray::MapWorker")
        except OSError:
            continue
        if is_worker:
            os.kill(int(pid), signal.SIGKILL)
            return True
    return False


def sources(folder):
    """The same pictures in a tar file, a Parquet file, and a list of URIs."""
    files = sorted((folder / "images").iterdir())[:6]
    with tarfile.open(folder / "some.tar", "w") as archive:
        for file in files:
            archive.add(file, file.name)
            archive.addfile(tarfile.TarInfo(f"{file.stem}.json"))
    data = [file.read_bytes() for file in files]
    table = pyarrow.table({"image": [{"bytes": each, "path": None} for each in data]})
    parquet.write_table(table, folder / "some.parquet", row_group_size=4)
    parquet.write_table(pyarrow.table({"jpg": data}), folder / "plain.parquet")
    (folder / "list.txt").write_text("".join(f"file://{file}\n" for file in files))
    return [folder / name for name in ("some.tar", "some.parquet", "plain.parquet", "list.txt")]


def test_pictures_in_other_files(cluster, folder):
    embed(*sources(folder), out=folder / "shards")
    imgsim("import", folder / "ray.db", folder / "shards")
    imgsim("embed", folder / "plain.db", folder / "images", *SMALL, "--quiet")
    vectors = "select sha256, vector from images join imgsim_vectors on image_key = images.id"
    expected = dict(rows(folder / "plain.db", vectors))
    found = rows(folder / "ray.db", vectors)
    assert len(found) == 4 * 6
    assert all(expected[sha256] == vector for sha256, vector in found)
    paths = rows(folder / "ray.db", "select path from images order by id")
    assert {path.rsplit("/", 1)[-1] for path in paths} >= {"some.tar#000.jpg", "some.parquet#5"}


def test_a_cluster_that_is_not_there_is_a_sentence(folder):
    with driver(folder, "127.0.0.1:1") as process:
        _, said = process.communicate(timeout=LONG)
    assert said.startswith("Error: No Ray cluster can be reached at 127.0.0.1:1")
    assert process.returncode == 1


def test_nothing_is_written_where_there_are_no_pictures(tmp_path):
    (tmp_path / "empty").mkdir()
    said = imgsim("embed", "--ray", tmp_path / "empty", "--out", tmp_path / "out")
    assert said == "No pictures found; nothing was written.\n"
    assert not (tmp_path / "out").exists()
