"""What the package survives: killed runs, damaged files, many clients beside a run that writes.

python benchmarks/reliability.py kill FOLDER                # 200 runs of `embed`, each killed
python benchmarks/reliability.py mutate FOLDER              # 1,000 damaged files of each format
python benchmarks/reliability.py clients FOLDER             # 50 clients for two minutes

FOLDER holds ordinary photos, which are only read. All that is random has a seed.
"""

from __future__ import annotations

import io
import random
import resource
import shutil
import signal
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from contextlib import closing
from pathlib import Path

import click
from PIL import Image

MODEL = ("--model", "efficientnet-lite")
LONGEST_START, LONGEST_RUN = 4.0, 9.0
"""Seconds after which a run is killed: between these two, and so in all of its parts."""
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF")


def command(*arguments) -> list[str]:
    return [sys.executable, "-m", "datasette", "imgsim", *map(str, arguments)]


def photos_of(folder: Path, count: int) -> list[Path]:
    """`count` of the picture files of a folder, chosen at random with a fixed seed."""
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    return random.Random(0).sample(files, min(count, len(files)))


def vectors_of(database: Path) -> dict[str, bytes]:
    """{path: stored vector}"""
    with closing(sqlite3.connect(database)) as conn:
        sql = "select path, vector from images join imgsim_vectors on image_key = id"
        return dict(conn.execute(sql))


@click.group()
def cli():
    """See the first lines of this file."""


@cli.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--kills", default=200, show_default=True)
@click.option("--images", default=1000, show_default=True)
def kill(folder, kills, images):
    """Kills `embed` again and again; at last a run goes through undisturbed."""
    chance = random.Random(1)
    with tempfile.TemporaryDirectory() as temporary:
        pictures, database = Path(temporary, "images"), Path(temporary, "killed.db")
        pictures.mkdir()
        for number, photo in enumerate(photos_of(folder, images)):
            shutil.copy(photo, pictures / f"{number}{photo.suffix}")
        embed = command("embed", database, pictures, *MODEL, "--batch-size", 8, "--quiet")
        wrong = Counter()
        for _ in range(kills):
            process = subprocess.Popen(embed, stderr=subprocess.DEVNULL)
            try:
                process.wait(chance.uniform(LONGEST_START, LONGEST_RUN))
                # It went through: most of what it did is taken away, so that the next has work.
                with closing(sqlite3.connect(database)) as conn, conn:
                    conn.execute("delete from imgsim_vectors where image_key % 4")
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
                wrong["killed"] += 1
            if database.exists():
                with closing(sqlite3.connect(database)) as conn:
                    (answer,) = conn.execute("pragma integrity_check").fetchone()
                    wrong["damaged"] += answer != "ok"
        subprocess.run(embed, check=True)
        whole = Path(temporary, "whole.db")
        subprocess.run(command("embed", whole, pictures, *MODEL, "--batch-size", 8, "--quiet"))
        checked = subprocess.run(command("verify", database), capture_output=True, text=True)
        after, undisturbed = vectors_of(database), vectors_of(whole)
        equal = sum(after.get(path) == vector for path, vector in undisturbed.items())
        print(f"{kills} runs, {wrong['killed']} killed, {wrong['damaged']} damaged databases")
        print(f"{equal} of {len(undisturbed)} vectors are those of an undisturbed run, to the bit")
        print(checked.stdout)


def mutated(data: bytes, chance: random.Random) -> bytes:
    """A file with some bytes changed, cut off, doubled or left out."""
    data = bytearray(data)
    for _ in range(chance.choice([1, 1, 2, 5, 20])):
        place = chance.randrange(len(data))
        length = min(chance.choice([1, 2, 4, 64, 1024]), len(data) - place)
        kind = chance.randrange(5)
        if kind == 0:
            data[place : place + length] = chance.randbytes(length)
        elif kind == 1:
            data[place : place + length] = bytes([chance.choice([0, 255])]) * length
        elif kind == 2:
            del data[place:]
        elif kind == 3:
            data[place:place] = data[place : place + length]
        else:
            del data[place : place + length]
        if not data:
            return b""
    return bytes(data)


@cli.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--files", default=1000, show_default=True, help="Of each format")
def mutate(folder, files):
    """Embeds damaged files of each format: none may end the run, or hold it up."""
    chance = random.Random(2)
    photos = photos_of(folder, 40)
    for kind in FORMATS:
        with tempfile.TemporaryDirectory() as temporary:
            pictures, database = Path(temporary, "images"), Path(temporary, "photos.db")
            pictures.mkdir()
            for number in range(files):
                with Image.open(chance.choice(photos)) as image:
                    image.thumbnail((320, 320))
                    buffer = io.BytesIO()
                    image.convert("RGB").save(buffer, kind)
                name = f"{number}.{kind.lower()}"
                (pictures / name).write_bytes(mutated(buffer.getvalue(), chance))
            started = time.monotonic()
            process = subprocess.run(
                command("embed", database, pictures, *MODEL, "--quiet"),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )
            seconds = time.monotonic() - started
            with closing(sqlite3.connect(database)) as conn:
                (good,) = conn.execute("select count(*) from imgsim_vectors").fetchone()
                (bad,) = conn.execute("select count(*) from imgsim_failures").fetchone()
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1000
        traceback = "Traceback" in process.stderr
        print(
            f"{kind}: exit code {process.returncode}, {good} embedded, {bad} failures of {files}, "
            f"{seconds:.0f} s, peak of all runs so far {peak:,.0f} MB"
            + (", TRACEBACK" if traceback else ""),
            flush=True,
        )


@cli.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--images", default=500, show_default=True)
@click.option("--clients", "count", default=50, show_default=True)
@click.option("--seconds", default=120, show_default=True)
def clients(folder, images, count, seconds):
    """Many clients ask for everything, while `embed` adds pictures."""
    with tempfile.TemporaryDirectory() as temporary:
        pictures, database = Path(temporary, "images"), Path(temporary, "photos.db")
        pictures.mkdir()
        photos = photos_of(folder, 2 * images)
        for number, photo in enumerate(photos[:images]):
            shutil.copy(photo, pictures / f"{number}{photo.suffix}")
        embed = command("embed", database, pictures, *MODEL, "--quiet")
        subprocess.run(embed, check=True)
        subprocess.run(command("map", database), check=True)
        with closing(socket.socket()) as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        server = subprocess.Popen(
            [sys.executable, "-m", "datasette", str(database), "-p", str(port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            base = f"http://127.0.0.1:{port}/photos"
            wait_for(base)
            before = resident(server.pid)
            times, answers, stop = [], Counter(), time.monotonic() + seconds
            upload = photos[0].read_bytes()
            threads = [
                threading.Thread(target=ask, args=(base, images, upload, n, stop, times, answers))
                for n in range(count)
            ]
            for thread in threads:
                thread.start()
            for number, photo in enumerate(photos[images:], images):
                if time.monotonic() > stop:
                    break
                shutil.copy(photo, pictures / f"{number}{photo.suffix}")
                if number % 50 == 0:
                    subprocess.run(embed, check=True)
            for thread in threads:
                thread.join()
            times.sort()
            print(f"{count} clients, {seconds} s, {len(times):,} answers: {dict(answers)}")
            print(
                f"p50 {1000 * statistics.median(times):.0f} ms, "
                f"p99 {1000 * times[int(0.99 * len(times))]:.0f} ms; "
                f"memory {before:.0f} MB at the start, {resident(server.pid):.0f} MB at the end"
            )
        finally:
            server.terminate()


def ask(base: str, images: int, upload: bytes, number: int, stop: float, times, answers) -> None:
    """One client: a page, JSON, a thumbnail, a tile, SQL or an upload, one after the other."""
    chance = random.Random(number)
    while time.monotonic() < stop:
        id, gallery = chance.randrange(1, images + 1), f"{base}/images/-/imgsim"
        place = f"{chance.randrange(4)}/{chance.randrange(2)}/{chance.randrange(2)}"
        url, data = chance.choice(
            [
                (gallery, None),
                (f"{gallery}/similar/{id}", None),
                (f"{gallery}/similar/{id}.json", None),
                (f"{gallery}/thumbnail/{id}.jpg", None),
                (f"{gallery}/tiles/{place}.jpg", None),
                (f"{base}/images?_similar_to={id}", None),
                (f"{base}.json?sql=select+similar_to({id})", None),
                (f"{gallery}/search", upload),
            ]
        )
        started = time.monotonic()
        try:
            with urllib.request.urlopen(urllib.request.Request(url, data), timeout=60) as answer:
                answer.read()
                answers[answer.status] += 1
        except urllib.error.HTTPError as ex:
            answers[ex.code] += 1
        except OSError as ex:
            answers[type(ex).__name__] += 1
        times.append(time.monotonic() - started)


def wait_for(url: str) -> None:
    for _ in range(300):
        try:
            urllib.request.urlopen(url + ".json").close()
            return
        except OSError:
            time.sleep(0.1)
    raise SystemExit("the server did not start")


def resident(pid: int) -> float:
    """Megabytes."""
    (line,) = [
        line
        for line in Path(f"/proc/{pid}/status").read_text().splitlines()
        if line.startswith("VmRSS")
    ]
    return int(line.split()[1]) / 1000


if __name__ == "__main__":
    cli()
