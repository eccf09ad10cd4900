"""Files that are no pictures, damaged or odd: a reason for each, and the run goes on."""

import io
import os
import random
import shutil
import socket
import struct
import zlib

import pytest
from helpers.commands import embed_toy, ordinary_user, run
from helpers.databases import rows
from helpers.files import quarters
from helpers.needs import needed
from helpers.pictures import draw
from PIL import Image, TiffImagePlugin, features

from datasette_imgsim.ingest import decode


@pytest.fixture
def folder(tmp_path, toy):
    """A folder whose images/good.jpg can be embedded."""
    draw(tmp_path / "images/good.jpg")
    return tmp_path


def failures(folder):
    """File name -> reason."""
    sql = "select source, error from imgsim_failures"
    return {source.split("/")[-1]: error for source, error in rows(folder / "photos.db", sql)}


def embedded(folder):
    sql = "select path from images join imgsim_vectors on image_key = images.id order by path"
    return [path.split("/", 1)[1] for path in rows(folder / "photos.db", sql)]


def corrupt(file):
    data = bytearray(draw(file, "stripes").read_bytes())
    table = data.index(b"\xff\xc4") + 4
    data[table : table + 20] = bytes([0x7F] * 20)
    file.write_bytes(data)


def cut_off(file):
    data = draw(file, "stripes").read_bytes()
    file.write_bytes(data[: len(data) // 2])


def bomb(file):
    """A PNG of 60,000 x 60,000 white pixels, 3.6 GB once decoded, in a few kilobytes."""

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    file.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 9999))
    )


BAD = {
    "empty.jpg": (lambda file: file.write_bytes(b""), "the file is empty"),
    "one-byte.png": (lambda file: file.write_bytes(b"\x89"), "not a picture"),
    "text.jpg": (lambda file: file.write_text("Hello"), "not a picture"),
    "page.webp": (lambda file: file.write_text("<html><body>Not found"), "not a picture"),
    "corrupt.jpg": (corrupt, "damaged"),
    "cut-off.jpg": (cut_off, "damaged"),
    "cut-off.png": (cut_off, "damaged"),
    "cut-off.webp": (cut_off, "damaged"),
    "cut-off.gif": (cut_off, "damaged"),
    "cut-off.tif": (cut_off, "damaged"),
    "cut-off.bmp": (cut_off, "damaged"),
    "bomb.png": (bomb, "pixels"),
    "link.jpg": (lambda file: file.symlink_to("nowhere.jpg"), "points nowhere"),
    "loop.jpg": (lambda file: file.symlink_to(file.name), "cannot be read"),
    "pipe.jpg": (os.mkfifo, "a pipe, socket or device"),
    "device.jpg": (lambda file: file.symlink_to("/dev/zero"), "a pipe, socket or device"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_named_with_its_reason(folder, name):
    make, reason = BAD[name]
    make(folder / "images" / name)
    printed = embed_toy(folder)
    assert "1 embedded" in printed and "1 failed" in printed
    assert "1 image could not be embedded; the reasons are in the table imgsim_failures" in printed
    assert reason in failures(folder)[name]
    assert embedded(folder) == ["good.jpg"]


def test_a_socket_is_no_picture(folder, monkeypatch):
    monkeypatch.chdir(folder / "images")  # the path of a socket must be short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket.jpg")
        embed_toy(folder)
    assert "socket" in failures(folder)["socket.jpg"]


def test_a_name_that_is_no_text_is_escaped(folder):
    source = os.fsencode(folder / "images/good.jpg")
    shutil.copy(source, os.path.join(os.fsencode(folder / "images"), b"caf\xe9.jpg"))
    embed_toy(folder)
    assert failures(folder) == {
        r"caf\xe9.jpg": "the file's name is not valid UTF-8: rename the file"
    }
    assert "1 failed before" in embed_toy(folder, "--prune")
    assert "1 failed before" in embed_toy(folder)


@pytest.mark.parametrize(
    "name", ["x" * 251 + ".jpg", "a b'c\"d%?#&.jpg", "日本語 📷.jpg", "new\nline.jpg", "-k.jpg"]
)
def test_odd_names_are_fine(folder, name):
    draw(folder / "images" / name, "square")
    embed_toy(folder)
    assert sorted(embedded(folder)) == sorted(["good.jpg", name])


def test_deep_folders_are_fine(folder):
    deep = folder / "images/" / "/".join(["folder" * 10] * 12)
    draw(deep / "a.jpg", "square")
    embed_toy(folder)
    assert len(embedded(folder)) == 2


def test_a_folder_may_be_called_like_a_picture(folder):
    draw(folder / "images/x.jpg/y.jpg", "square")
    embed_toy(folder)
    assert embedded(folder) == ["good.jpg", "x.jpg/y.jpg"]


def test_hidden_files_and_leftovers_of_macos_are_skipped(folder):
    for name in (".a.jpg", ".hidden/a.jpg", "__MACOSX/a.jpg", "a.txt", "jpg"):
        (folder / "images" / name).parent.mkdir(exist_ok=True)
        (folder / "images" / name).write_bytes(b"no picture")
    embed_toy(folder)
    assert embedded(folder) == ["good.jpg"]
    assert failures(folder) == {}


def test_links_to_folders_are_followed_once(folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    draw(elsewhere / "far.jpg", "square")
    draw(folder / "images/sub/near.jpg", "dots")
    (elsewhere / "back").symlink_to(folder / "images")
    (folder / "images/a-link").symlink_to(elsewhere)
    (folder / "images/b-link").symlink_to("sub")
    (folder / "images/loop").symlink_to(".")
    (folder / "images/self").symlink_to("self")
    embed_toy(folder)
    assert embedded(folder) == ["a-link/far.jpg", "good.jpg", "sub/near.jpg"]
    assert failures(folder) == {}


def test_pictures_over_the_limit_are_refused(folder):
    Image.new("RGB", (300, 200)).save(folder / "images/large.png")
    embed_toy(folder, "--max-pixels", 50_000)
    assert failures(folder) == {"large.png": "300 x 200 is 60,000 pixels, over the limit of 50,000"}
    assert "1 embedded" in embed_toy(folder, "--retry-failed")
    assert failures(folder) == {}


def test_the_limit_is_ours_and_not_that_of_pillow(folder, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10_000)
    Image.new("RGB", (300, 200)).save(folder / "images/large.png")
    embed_toy(folder)
    assert failures(folder) == {}


def test_warnings_of_the_decoder_are_not_printed(folder, capfd):
    exif = Image.Exif()
    exif[271] = "Leica"
    draw(folder / "images/a.jpg", exif=exif.tobytes()[:-8])
    embed_toy(folder)
    assert "arning" not in "".join(capfd.readouterr())


def test_libtiff_writes_nothing_past_us(folder, capfd):
    """It knows no file names, and writes to standard error even with --quiet."""
    damaged = folder / "images/a.tif"
    draw(damaged, compression="tiff_adobe_deflate")
    with Image.open(damaged) as image:
        (strip, *_) = image.tag_v2[TiffImagePlugin.STRIPOFFSETS]
    data = bytearray(damaged.read_bytes())
    data[strip : strip + 30] = bytes(30)
    damaged.write_bytes(data)
    embed_toy(folder, "--quiet")
    assert capfd.readouterr().err == ""
    assert "damaged" in failures(folder)["a.tif"]
    # Afterwards it says what it did before.
    with damaged.open("rb") as file, pytest.raises(decode.NotAPicture):
        decode.decode(file, 8)
    assert "ZIPDecode" in capfd.readouterr().err


@pytest.mark.parametrize(
    "kind, options",
    [
        ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", {"compression": "jpeg"}),
        ("TIFF", {"compression": "group4"}),
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("PNG", {}),
        ("WEBP", {}),
        ("GIF", {}),
        ("AVIF", {}),
    ],
    ids=lambda value: " ".join(map(str, value.values())) if isinstance(value, dict) else value,
)
def test_no_decoder_prints(folder, capfd, kind, options):
    """Damaged pictures of every format, and --quiet: nothing but what is in the table."""
    if kind == "AVIF":
        needed(features.check("avif"), "AVIF for Pillow")
    file = io.BytesIO()
    is_fax = options.get("compression") == "group4"
    quarters().convert("1" if is_fax else "RGB").save(file, kind, **options)
    choose = random.Random(0)
    for number in range(12):
        damaged = bytearray(file.getvalue())
        for _ in range(1 + number):
            damaged[choose.randrange(8, len(damaged))] = choose.randrange(256)
        (folder / f"images/{number}.{kind.lower()}").write_bytes(damaged)
    embed_toy(folder, "--quiet")
    assert capfd.readouterr() == ("", "")
    assert failures(folder)
    assert len(failures(folder)) + len(embedded(folder)) == 13


def test_a_failed_picture_keeps_what_was_stored_before(folder):
    embed_toy(folder)
    kept = "select images.id, sha256, vector, jpeg from images join imgsim_vectors v on v.image_key"
    kept += " = images.id join imgsim_thumbnails t on t.image_key = images.id"
    before = rows(folder / "photos.db", kept)
    (folder / "images/good.jpg").write_bytes(b"no picture any more")
    embed_toy(folder, exit_code=1)
    assert rows(folder / "photos.db", kept) == before
    assert "not a picture" in failures(folder)["good.jpg"]


def test_a_failure_is_forgotten_when_the_file_is_mended(folder):
    file = folder / "images/a.jpg"
    file.write_bytes(b"")
    embed_toy(folder)
    draw(file, "square")
    assert "1 embedded" in embed_toy(folder)
    assert failures(folder) == {}


def test_a_failure_is_forgotten_when_the_old_file_is_back(folder):
    file, copy = folder / "images/good.jpg", folder / "copy"
    embed_toy(folder)
    shutil.copy2(file, copy)
    file.write_bytes(b"")
    embed_toy(folder, exit_code=1)
    shutil.copy2(copy, file)
    assert "1 unchanged" in embed_toy(folder)
    assert failures(folder) == {}


def test_failures_are_tried_again_only_when_asked(folder):
    (folder / "images/a.jpg").write_bytes(b"")
    embed_toy(folder)
    assert "1 failed before (--retry-failed tries them again)" in embed_toy(folder)
    assert "1 failed" in embed_toy(folder, "--retry-failed", exit_code=1)


def embed_without_power(folder, *options):
    """Goes on in a process that permissions hold back even where root runs the tests."""
    arguments = ("embed", folder / "photos.db", folder / "images", *options)
    return run(*arguments, preexec_fn=ordinary_user)


def test_a_file_that_may_not_be_read(folder):
    embed_toy(folder)
    secret = draw(folder / "images/secret.jpg", "square")
    secret.chmod(0)
    code, out, err = embed_without_power(folder)
    assert (code, err[:8]) == (1, "1 image ")
    assert failures(folder) == {"secret.jpg": "no permission to read the file"}
    secret.chmod(0o600)
    embed_toy(folder, "--retry-failed")
    assert failures(folder) == {}


def test_a_folder_that_may_not_be_listed(folder):
    draw(folder / "images/sub/a.jpg", "square")
    embed_toy(folder)
    (folder / "images/sub").chmod(0)
    embed_without_power(folder, "--prune")
    assert failures(folder) == {"sub": "no permission to list this folder"}
    # What cannot be seen is not gone.
    assert embedded(folder) == ["good.jpg", "sub/a.jpg"]
    (folder / "images/sub").chmod(0o700)
    embed_toy(folder)
    assert failures(folder) == {}


def test_when_nothing_can_be_embedded_the_exit_code_says_so(folder):
    (folder / "images/good.jpg").write_bytes(b"")
    embed_toy(folder, exit_code=1)
    embed_toy(folder, exit_code=0)  # nothing to do now
