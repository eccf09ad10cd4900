"""Pictures are decoded in processes that can be ended: each costs a bounded time and memory."""

import io
import mmap
import os
import signal
import struct
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from helpers.commands import embed_toy, end, imgsim, python, start
from helpers.databases import rows
from helpers.files import quarters
from helpers.pictures import draw
from helpers.serving import GALLERY, serve
from helpers.waiting import wait_until
from PIL import Image

from datasette_imgsim.ingest import apart, decode, mark
from datasette_imgsim.limits import LIMITS

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits memory like this")


def png(size=(64, 48)):
    file = io.BytesIO()
    quarters(size).save(file, "PNG")
    return file.getvalue()


def bitmap(content):
    """A BMP picture of 240 megapixels, compressed by run lengths."""
    header = struct.pack("<IiiHHIIiiII", 40, 15_000, 16_000, 1, 8, 1, 0, 0, 0, 256, 0) + bytes(1024)
    return b"BM" + struct.pack("<IHHI", 0, 0, 0, 14 + len(header)) + header + content


# Pillow reads these runs one by one: it takes far longer than any limit of a test.
SLOW = bitmap(b"\1\1" * 20_000_000)
# Each of these commands stands for 65,280 pixels, of which Pillow makes a list.
HUNGRY = bitmap(b"\0\2\0\xff" * 5_000_000)


@pytest.fixture
def decoders():
    with apart.Decoders() as found:
        yield found


def processes(*options):
    """What `ps` prints."""
    return subprocess.run(["ps", *options], capture_output=True, text=True).stdout


def is_running(pid):
    """Whether there is a process that has not ended, even if nobody has taken note of its end."""
    return processes("-o", "stat=", "-p", str(pid)).strip()[:1] not in ("", "Z")


def pid_of(decoders):
    (process,) = decoders.all
    return process.process.pid


def test_the_same_as_in_place(decoders, tmp_path):
    file = draw(tmp_path / "a.jpg")
    expected = decode.decode(io.BytesIO(file.read_bytes()), 32, "pad", 20)
    for source in (str(file), file.read_bytes()):
        found = decoders.decode(source, 32, "pad", 20)
        assert (found.pixels == expected.pixels).all() and found.pixels.flags.writeable
        assert (found.thumbnail, found.facts) == (expected.thumbnail, expected.facts)


def test_a_process_stays_for_the_next_picture(decoders):
    decoders.decode(png(), 8)
    first = pid_of(decoders)
    for data, refused in ((b"", decode.NotAPicture), (png((6_000, 4_000)), decode.TooLarge)):
        with pytest.raises(refused):
            decoders.decode(data, 8, max_pixels=1_000_000)
    with pytest.raises(FileNotFoundError):
        decoders.decode("/nothing/here.jpg", 8)
    decoders.decode(png(), 8)
    assert pid_of(decoders) == first


def test_as_many_processes_as_threads(decoders):
    threads = [threading.Thread(target=decoders.decode, args=(png(), 8)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 1 <= len(decoders.all) <= 3 and len(decoders.idle) == len(decoders.all)


def test_a_picture_that_takes_too_long_is_given_up(decoders):
    with pytest.raises(decode.TooLarge, match="decoding it took longer than 0.3 s"):
        decoders.decode(SLOW, 8, seconds=0.3)
    assert not decoders.all
    assert decoders.decode(png(), 8).facts.width == 64


@linux
def test_a_picture_that_takes_too_much_memory_is_given_up(decoders):
    decoders.decode(png(), 8)
    first = pid_of(decoders)
    with pytest.raises(decode.TooLarge, match="it took more memory than a picture of its size"):
        decoders.decode(HUNGRY, 8)
    assert decoders.decode(png(), 8).facts.width == 64
    assert pid_of(decoders) == first
    pages = int(Path(f"/proc/{first}/statm").read_text().split()[1])
    assert pages * mmap.PAGESIZE < 150_000_000


ENDS = [
    (signal.SIGSEGV, decode.NotAPicture, "its decoder crashed"),
    (signal.SIGABRT, decode.NotAPicture, "its decoder crashed"),
    (signal.SIGKILL, decode.TooLarge, "ended by the system, which has too little memory"),
]


@pytest.mark.parametrize("signal, refused, sentence", ENDS)
def test_a_decoder_that_dies_costs_one_picture(decoders, signal, refused, sentence):
    decoders.decode(png(), 8)
    pid = pid_of(decoders)
    killer = threading.Timer(0.5, os.kill, (pid, signal))
    killer.start()
    with pytest.raises(refused, match=sentence):
        decoders.decode(SLOW, 8)
    assert decoders.decode(png(), 8).facts.width == 64 and pid_of(decoders) != pid


def test_a_decoder_that_dies_in_its_rest_costs_none(decoders):
    decoders.decode(png(), 8)
    pid = pid_of(decoders)
    os.kill(pid, signal.SIGKILL)
    decoders.idle[0].process.wait()
    assert decoders.decode(png(), 8).facts.width == 64 and pid_of(decoders) != pid


PARENT = """
import sys, threading, time
from datasette_imgsim.ingest import apart
decoders = apart.Decoders()
decoders.decode(sys.argv[1], 8)
if sys.argv[2:]:
    threading.Thread(target=decoders.decode, args=(sys.argv[2], 8)).start()
    time.sleep(0.5)
print(next(iter(decoders.all)).process.pid, flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("is_at_work", [False, True])
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_decoder_ends_with_its_parent(tmp_path, is_at_work, how):
    files = [draw(tmp_path / "a.jpg")]
    if is_at_work:
        files.append(tmp_path / "slow.bmp")
        files[1].write_bytes(SLOW)
    command = [sys.executable, "-c", PARENT, *files]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE)
    pid = int(parent.stdout.readline())
    assert is_running(pid)
    parent.send_signal(how)
    parent.communicate()
    wait_until(lambda: not is_running(pid))


def test_a_decoder_loads_little():
    program = apart.program().removesuffix("main()\n")
    loaded = python(f"{program}print(*sys.modules)").split()
    heavy = {"datasette", "torch", "sqlite3", "sqlite_utils", "click", "asyncio", "timm"}
    assert "PIL" in loaded and not heavy & set(loaded)


ODD = """
import sys
from datasette_imgsim.ingest import apart, decode
where = sys.argv[1]
try:
    if where == "apart":
        apart.SHARED.decode(sys.argv[2], 8)
    elif where == "in place":
        apart._in_place(sys.argv[2], decode.one_at_a_time, {"size": 8})
    else:
        decode.decode(open(sys.argv[2], "rb"), 8)
except decode.NotAPicture:
    pass
"""


def test_nothing_is_printed(tmp_path):
    odd = draw(tmp_path / "a.tif", compression="tiff_adobe_deflate")
    data = odd.read_bytes()
    with Image.open(odd) as image:
        (strip, *_) = image.tag_v2[273]
    odd.write_bytes(data[:strip] + bytes(30) + data[strip + 30 :])
    printed = {}
    for where in ("apart", "in place", "as Pillow does"):
        command = [sys.executable, "-c", ODD, where, odd]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        printed[where] = done.stdout + done.stderr
    assert "ZIPDecode" in printed.pop("as Pillow does")
    assert set(printed.values()) == {""}


@pytest.mark.parametrize("why", ["no processes", "no interpreter", "another program"])
def test_where_no_process_can_start_pictures_are_decoded_in_place(monkeypatch, why):
    def refuse(*args, **options):
        raise OSError("emscripten does not support processes")

    if why == "no processes":
        monkeypatch.setattr(subprocess, "Popen", refuse)
    else:
        monkeypatch.setattr(sys, "executable", "/bin/true" if why == "another program" else None)
    with apart.Decoders() as decoders:
        assert decoders.decode(png(), 8).facts.width == 64
        assert not decoders.all


def test_a_process_that_cannot_start_beside_another(decoders, monkeypatch):
    decoders.decode(png(), 8)
    decoders.idle.clear()
    monkeypatch.setattr(sys, "executable", None)
    with pytest.raises(decode.TooLarge, match="no process can be started to decode it"):
        decoders.decode(png(), 8)


ORDINARY = {
    "JPEG": (("JPEG", {}), True),
    "progressive JPEG": (("JPEG", {"progressive": True}), False),
    "PNG": (("PNG", {}), True),
    "WebP": (("WEBP", {}), True),
    "GIF": (("GIF", {}), False),
    "BMP": (("BMP", {}), False),
    "TIFF": (("TIFF", {}), False),
}


def saved(kind, options):
    file = io.BytesIO()
    quarters().save(file, kind, **options)
    return file.getvalue()


def was_apart(data, decoders):
    """Whether a run decodes a picture in another process."""
    before = [*decoders.all]
    try:
        decoders.decode(data, 8, ordinary_here=True)
    except decode.NotAPicture:
        pass
    return [*decoders.all] != before


@pytest.mark.parametrize("name", ORDINARY)
def test_a_run_decodes_ordinary_pictures_itself(name, decoders):
    saving, is_ordinary = ORDINARY[name]
    assert was_apart(saved(*saving), decoders) is not is_ordinary


@pytest.mark.parametrize("damage", [lambda data: data[:-9], lambda data: data[:20], lambda _: b"x"])
def test_what_is_damaged_is_decoded_apart(damage, decoders):
    assert was_apart(damage(saved("JPEG", {})), decoders)


@pytest.mark.parametrize("limit", ["bytes_of_ordinary", "bytes_of_large", "pixels"])
def test_what_is_large_is_decoded_apart(limit, decoders, monkeypatch):
    assert not was_apart(png(), decoders)
    if limit != "pixels":
        monkeypatch.setattr(LIMITS, limit, 100)
        assert was_apart(png(), decoders)
    else:
        with pytest.raises(decode.TooLarge, match="64 x 48 is 3,072 pixels, over the limit"):
            decoders.decode(png(), 8, max_pixels=3_071, ordinary_here=True)


# Runs

FAILURES = "select source, error from imgsim_failures order by source"


def test_a_run_goes_on_after_slow_pictures(folder, monkeypatch):
    monkeypatch.setattr(LIMITS, "seconds_to_decode", 1)
    (folder / "images/slow.bmp").write_bytes(SLOW)
    assert "3 embedded" in embed_toy(folder)
    failures = [("images/slow.bmp", "decoding it took longer than 1 s")]
    assert rows(folder / "photos.db", FAILURES) == failures


def running(folder, *options):
    """A run over a folder of pictures with a large one; nothing else is decoded after that one."""
    return start("embed", folder / "photos.db", folder / "images", "--model", "toy", *options)


@pytest.fixture
def large(folder):
    """A picture in the folder that needs more memory than others may."""
    file = folder / "images/large.png"
    Image.new("RGB", (9_000, 7_500)).save(file, compress_level=1)
    return file


def test_the_picture_that_ended_a_run_is_named_by_the_next(folder, large):
    marked = folder / f"photos.db{mark.SUFFIX}"
    run = running(folder)
    wait_until(marked.exists, 0.001)
    run.kill()
    end(run)
    assert marked.exists()
    code, out, err = end(running(folder))
    assert code == 0 and "3 embedded" in out
    assert "was ended while it decoded images/large.png" in err and "--retry-failed" in err
    ((source, error),) = rows(folder / "photos.db", FAILURES)
    assert source == "images/large.png" and "was ended while it decoded this" in error
    code, out, err = end(running(folder))
    assert "1 failed before" in out and not err
    assert "1 embedded" in end(running(folder, "--retry-failed"))[1]
    assert not rows(folder / "photos.db", FAILURES) and not marked.exists()


def test_a_mark_that_makes_no_sense_is_ignored(folder):
    marked = folder / f"photos.db{mark.SUFFIX}"
    for content in (b"", b"\xff", b"[1]", b"{}", b"null"):
        marked.write_bytes(content)
        assert "embedded" in embed_toy(folder) and not marked.exists()
    assert not rows(folder / "photos.db", FAILURES)


def test_a_killed_decoder_ends_no_run(folder, large):
    run = running(folder)
    wait_until((folder / f"photos.db{mark.SUFFIX}").exists, 0.001)
    for pid in processes("-A", "-o", "pid=,ppid=").splitlines():
        child, parent = map(int, pid.split())
        if parent == run.pid:
            os.kill(child, signal.SIGKILL)
    code, out, err = end(run)
    assert code == 0
    errors = {error for _, error in rows(folder / "photos.db", FAILURES)}
    assert errors == {"its decoder was ended by the system, which has too little memory"}


def test_ctrl_c_does_not_wait_for_a_slow_picture(folder):
    (folder / "images/slow.bmp").write_bytes(SLOW)
    run = running(folder, "--batch-size", 1)
    database = folder / "photos.db"
    wait_until(lambda: database.exists() and "imgsim_vectors" in tables(database))
    wait_until(lambda: rows(database, "select count(*) from imgsim_vectors") == [3])
    run.send_signal(signal.SIGINT)
    code, out, err = end(run)
    assert code == 130 and "Stopped" in out and "Traceback" not in err
    assert not rows(database, FAILURES)


def tables(database):
    return rows(database, "select name from sqlite_master")


def test_verify_ends_with_a_slow_picture(folder, monkeypatch):
    embed_toy(folder)
    monkeypatch.setattr(LIMITS, "seconds_to_decode", 1)
    monkeypatch.setattr("datasette_imgsim.ingest.sources.digest", lambda file: same)
    ((name, same),) = rows(folder / "photos.db", "select path, sha256 from images limit 1")
    Path(folder, name).write_bytes(SLOW)
    assert "Nothing is wrong" in imgsim("verify", folder / "photos.db")


# Uploads


@pytest.mark.datasette
@pytest.mark.asyncio
async def test_uploads_that_take_too_long(photos, monkeypatch):
    monkeypatch.setattr(LIMITS, "seconds_of_upload", 0.3)
    monkeypatch.setattr(LIMITS, "pixels_of_upload", LIMITS.pixels)
    ds = serve(photos / "photos.db", {"max_upload_mb": 50})
    for _ in range(2):
        response = await ds.client.post(f"{GALLERY}/search", content=SLOW)
        assert response.status_code == 413
        assert "decoding it took longer than 0.3 s" in response.json()["error"]
    monkeypatch.undo()
    assert (await ds.client.post(f"{GALLERY}/search", content=png())).status_code == 200
