"""What `embed` prints: summary, progress, forecast, and what is wrong with options."""

import re

import pytest
import torch
from helpers.commands import TOY, at_a_terminal, embed, embed_toy, run
from helpers.networks import random_weights
from helpers.pictures import draw


def test_the_summary(folder):
    (folder / "images/bad.jpg").write_bytes(b"")
    (folder / "images/copy.jpg").write_bytes((folder / "images/0.jpg").read_bytes())
    printed = embed_toy(folder)
    assert "3 embedded, 0 unchanged, 0 renamed, 1 copied, 0 pruned, 1 failed; " in printed
    size = (folder / "photos.db").stat().st_size / 1e6
    assert f" images/s; {folder / 'photos.db'} is {size:.1f} MB." in printed


def test_quiet_prints_only_what_failed(folder):
    assert embed_toy(folder, "--quiet") == ""
    (folder / "images/bad.jpg").write_bytes(b"")
    assert "1 image could not be embedded" in embed_toy(folder, "--quiet", exit_code=1)


def with_failures(folder, *options):
    """What a terminal shows of `embed` over three files that fail."""
    embed_toy(folder)
    for number in range(3):
        (folder / f"images/bad{number}.jpg").touch()
    arguments = ("embed", folder / "photos.db", folder / "images", *options)
    with at_a_terminal(*arguments) as (_, shown):
        return shown()


def test_a_terminal_shows_progress_with_speed_and_time_left(folder):
    printed = with_failures(folder)
    assert "3/3" in printed and re.search(r"\[\d\d:\d\d<00:00, .+ images/s\]", printed)


def at_terminal(folder, *options):
    """What a terminal shows of `embed` that has its output, too."""
    arguments = ("embed", folder / "photos.db", folder / "images", *TOY, *options)
    with at_a_terminal(*arguments, with_output=True) as (_, shown):
        return shown().replace("\r\n", "\n")


def test_the_first_run_tells_once_how_pictures_are_shown_large(folder):
    line = 'plugins: {datasette-imgsim: {images_root: "images"}}\n'
    assert line in at_terminal(folder)
    draw(folder / "images/new.jpg", seed=99)
    assert "images_root" not in at_terminal(folder)


def test_only_a_terminal_is_told_and_not_when_quiet(folder):
    assert "images_root" not in embed_toy(folder)
    (folder / "photos.db").unlink()
    assert at_terminal(folder, "--quiet") == ""


def test_no_progress_when_quiet(folder):
    assert with_failures(folder, "--quiet").startswith("3 images could not be embedded")


def forecast_of(folder, *options):
    """What a terminal shows of a slow run up to its forecast."""
    arguments = ("embed", folder / "photos.db", folder / "images", "--batch-size", 2, *options)
    with at_a_terminal(*arguments, seconds_a_batch=250) as (_, shown):
        return shown(until="minutes for")


def test_a_long_run_says_how_long_it_takes_and_what_is_faster(tmp_path, toy):
    for number in range(40):
        draw(tmp_path / f"images/{number}.png", seed=number)
    found = re.search(
        r"About (\d+) minutes for 40 images with toy; "
        r"--model efficientnet-lite takes about (\d+) minutes?\.",
        forecast_of(tmp_path, *TOY),
    )
    # 20 batches of 250 seconds are 83 minutes; what the machine really takes is added.
    slow, fast = map(int, found.groups())
    assert 83 <= slow < 100 and 1 <= fast < slow / 2
    # Who goes on in a space has chosen already.
    embed_toy(tmp_path)
    for number in range(40):
        draw(tmp_path / f"images/{number}.png", "dots", seed=number)
    assert "minutes for 40 images with toy." in forecast_of(tmp_path)


def test_nothing_is_said_of_a_short_run_or_where_nobody_looks(folder):
    assert "About" not in with_failures(folder)
    arguments = ("embed", folder / "other.db", folder / "images", *TOY)
    _, _, err = run(*arguments, seconds_a_batch=10_000)
    assert "About" not in err


def no_weights(folder):
    (folder / "w.pth").write_text("no weights")
    return "--model", "vgg11", "--weights", folder / "w.pth"


def missing_layer(folder):
    file = random_weights("vgg11", ["pool2"], folder / "w.pth")
    return "--model", "vgg11", "--levels", "pool4", "--weights", file


def another_network(folder):
    file = random_weights("vgg11", ["pool1"], folder / "w.pth")
    torch.save(torch.load(file) | {"features.0.weight": torch.zeros(32, 3, 3, 3)}, file)
    return "--model", "vgg11", "--levels", "pool1", "--weights", file


WRONG = {
    "level": (lambda _: ("--levels", "pool9"), 2, "no level 'pool9': there is conv1_1,"),
    "model": (lambda _: ("--model", "vgg99"), 2, "No model 'vgg99': there is vgg16-oxford"),
    "pooling": (lambda _: ("--pooling", "sum"), 2, "Invalid value for '--pooling'"),
    "size": (lambda _: ("--size", "0"), 2, "Invalid value for '--size'"),
    "too small": (lambda _: ("--size", "8"), 1, "too small for the level"),
    "device": (lambda _: ("--device", "cuda:99x"), 1, "no device 'cuda:99x'"),
    "no weights": (no_weights, 1, "w.pth cannot be read"),
    "weights absent": (lambda _: ("--weights", "gone.pth"), 2, "'gone.pth' does not exist"),
    "missing layer": (missing_layer, 1, "has no layer 'features.6.weight'"),
    "another network": (another_network, 1, "is of another network: 'features.0.weight' has"),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_wrong_options_end_with_a_sentence_and_no_database(folder, what):
    options, code, sentence = WRONG[what]
    assert sentence in embed(folder, *options(folder), exit_code=code)
    assert not (folder / "photos.db").exists()
