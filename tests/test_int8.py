"""VGG16 in int8: near to float32, chosen where it is quick, refused with a sentence elsewhere."""

import os

import numpy as np
import pytest
import torch
from helpers.commands import imgsim
from helpers.databases import rows
from helpers.networks import by_level, drawn
from helpers.pictures import draw

from datasette_imgsim.errors import ImgsimError
from datasette_imgsim.models import network, registry
from datasette_imgsim.models.network import Network
from datasette_imgsim.models.vgg import OXFORD_WEIGHTS

OXFORD = registry.get("vgg16-oxford")
BFLOAT16, VNNI, AVX_VNNI = {"amx_bf16": True}, {"avx512_vnni": True}, {"avx_vnni": True}
OPERATORS = ("qconv_prepack", "qconv_pointwise")
needs_int8 = pytest.mark.skipif(
    not os.environ.get("CI") and not all(hasattr(torch.ops.onednn, name) for name in OPERATORS),
    reason="this torch has no operators for int8",
)


def make(precision, levels="pool1 pool2", size=64, pooling="gem", **options):
    options = {"model": OXFORD, "device": "cpu"} | options
    options.setdefault("normalise", options["model"].description.normalise)
    return Network(
        levels=levels.split(), size=size, pooling=pooling, precision=precision, **options
    )


@needs_int8
@pytest.mark.parametrize(
    "levels, pooling, size",
    [
        ("pool2 pool5", "gem", 208),
        ("pool2 pool5", "gem", 75),  # whose maps have odd sides
        ("conv1_1 conv3_3", "avg", 75),
        ("pool4 conv5_3", "max", 100),
        ("conv1_2 pool3", "flatten", 37),
        ("pool5", "avg", 32),  # a single cell
    ],
)
def test_int8_is_near_to_float32(levels, pooling, size):
    quick, exact = (make(each, levels, size, pooling) for each in ("int8", "float32"))
    assert (quick.precision, exact.precision) == ("int8", "float32")
    assert quick.weights_sha256 == exact.weights_sha256
    (units, norms), (expected, lengths) = (each.vectors(drawn(size)) for each in (quick, exact))
    assert units.shape == expected.shape and units.dtype == np.float32
    for ours, theirs in zip(by_level(quick, units), by_level(exact, expected)):
        assert np.linalg.norm(ours - theirs, axis=1).max() < 0.1
    assert np.abs(norms / lengths - 1).max() < 0.1


@needs_int8
@pytest.mark.parametrize("count", [1, 7, 40])
def test_a_batch_in_int8_gives_what_one_by_one_gives(count):
    quick = make("int8", "pool2 conv3_1")
    pictures = np.resize(drawn(64), (count, 64, 64, 3))
    together, _ = quick.vectors(pictures)
    apart = np.concatenate([quick.vectors(picture[None])[0] for picture in pictures[:3]])
    assert together.shape[0] == count
    assert np.abs(together[:3] - apart).max() < 1e-3


@needs_int8
@pytest.mark.parametrize(
    "able, options, expected",
    [
        (BFLOAT16 | VNNI, {}, "bfloat16"),
        (VNNI, {}, "int8"),
        (AVX_VNNI, {}, "int8"),
        ({}, {}, "float32"),
        (VNNI, {"model": registry.get("efficientnet-lite"), "levels": "stage1"}, "float32"),
        (VNNI, {"weights": OXFORD_WEIGHTS}, "float32"),
        (VNNI, {"normalise": "torchvision"}, "float32"),
    ],
)
def test_what_auto_chooses(monkeypatch, able, options, expected):
    monkeypatch.setattr(network, "capabilities", lambda: able)
    assert make("auto", **options).precision == expected


def absent(maps, *rest):
    raise AttributeError("qconv_pointwise")


def refused(maps, *rest):
    raise RuntimeError("could not create a primitive descriptor")


def wrong(maps, scale, zero, packed, scales, *rest):
    height, width = maps.shape[2:]
    return torch.zeros(len(maps), len(scales), height, width, dtype=torch.uint8)


@pytest.mark.parametrize("operator", [absent, refused, wrong])
def test_where_int8_fails_auto_is_float32(monkeypatch, operator):
    monkeypatch.setattr(network, "capabilities", lambda: VNNI)
    monkeypatch.setattr(torch.ops.onednn, "qconv_pointwise", operator, raising=False)
    found = make("auto")
    assert found.precision == "float32"
    assert np.isfinite(found.vectors(drawn(64))[0]).all()
    with pytest.raises(ImgsimError, match="does not compute well in int8: leave --precision out"):
        make("int8")


@pytest.mark.parametrize(
    "options, message",
    [
        (
            {"model": registry.get("efficientnet-lite"), "levels": "stage1"},
            "efficientnet-lite cannot compute in int8: leave --precision out",
        ),
        ({"weights": OXFORD_WEIGHTS}, "vgg16-oxford with other weights or another --preprocess"),
        ({"normalise": "torchvision"}, "another --preprocess cannot compute in int8"),
        ({"device": "cuda"}, "int8 is for the processor, not for cuda: leave --precision out"),
    ],
)
def test_int8_where_it_cannot_be_is_a_sentence(monkeypatch, options, message):
    monkeypatch.setattr(network, "choose_device", lambda device: device)
    with pytest.raises(ImgsimError, match=message):
        make("int8", **options)


@pytest.mark.parametrize("precision", ["int8", "auto"])
def test_too_small_a_picture_is_a_sentence_in_int8_too(monkeypatch, precision):
    monkeypatch.setattr(network, "capabilities", lambda: VNNI)
    with pytest.raises(ImgsimError, match="larger --size"):
        make(precision, "pool5", 16)


@needs_int8
def test_a_space_records_int8(tmp_path):
    draw(tmp_path / "images" / "a.jpg")
    small = ("--levels", "pool2", "--size", 64, "--precision", "int8")
    imgsim("embed", tmp_path / "photos.db", tmp_path / "images", *small)
    assert rows(tmp_path / "photos.db", "select precision from imgsim_spaces") == ["int8"]
