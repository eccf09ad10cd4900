"""Networks give the vectors that they are known to give."""

import json

import numpy as np
import pytest
from helpers.canonical import FIRST, canonical, numbers
from helpers.needs import shared
from helpers.networks import BUNDLED, distance, drawn, network
from PIL import Image

from datasette_imgsim.models import registry
from datasette_imgsim.models.network import Network
from datasette_imgsim.models.vgg import OXFORD_WEIGHTS

PICTURES = ("burger", "salad", "asparagus")
# A pooling's name in the reference file, and how many of its numbers stand there.
REFERENCE = {"avg": "avg", "max": "max", "gem": "gem3", "flatten": "flatten_first8"}
TOLERANCE = {"float32": 1e-4, "bfloat16": 1e-2}
# Networks with one filter a channel keep fewer digits in bfloat16.
FEW_DIGITS = 0.2
VGG19_WEIGHTS = "weights/vgg19_oxford_bgr255_features0-16.pth"
GOLDEN = {
    "vgg16-oxford": ("pool1 pool2 pool3 pool4 conv5_3 pool5", "vgg16_oxford.json", None),
    "vgg19": ("pool1 pool2 pool3", "vgg19_oxford.json", VGG19_WEIGHTS),
}


@pytest.mark.parametrize("precision", TOLERANCE)
@pytest.mark.parametrize("pooling", REFERENCE)
@pytest.mark.parametrize("name", GOLDEN)
def test_oxford_networks_agree_with_the_reference(name, pooling, precision):
    levels, reference, weights = GOLDEN[name]
    levels = levels.split()
    reference = json.loads(shared(f"golden/{reference}").read_text())
    weights = weights and shared(weights)
    ours = Network(registry.get(name), levels, pooling, "oxford", 224, weights, "cpu", precision)
    for name in PICTURES:
        pixels = np.array(Image.open(shared(f"golden/{name}_224.png")).convert("RGB"))
        (unit,), (norms,) = ours.vectors(pixels[None])
        start = 0
        for level, norm in zip(levels, norms):
            end = start + ours.dimensions[level]
            expected = np.array(reference[name][level][REFERENCE[pooling]])
            raw = unit[start:end][: len(expected)] * norm
            length = np.linalg.norm(expected)
            if pooling == "flatten":
                whole = reference[name][level]["flatten_l2"]
                assert abs(norm - whole) / whole <= TOLERANCE[precision]
                # Its first numbers may all be 0: then what eight numbers usually are must do.
                length = max(length, whole * (len(expected) / (end - start)) ** 0.5)
            assert np.linalg.norm(raw - expected) <= TOLERANCE[precision] * length, level
            start = end


def test_the_bundled_vgg16_is_oxfords_own_file():
    ours, theirs = OXFORD_WEIGHTS, shared("weights/vgg16_oxford_bgr255_conv_f16.safetensors")
    assert ours.read_bytes() == theirs.read_bytes()


@pytest.mark.parametrize("precision", TOLERANCE)
@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_networks_give_their_canonical_vectors(name, precision):
    found = network(name, all_levels=True, precision=precision)
    expected, tolerance = canonical(name), TOLERANCE[precision]
    if (name, precision) == ("efficientnet-lite", "bfloat16"):
        tolerance = FEW_DIGITS
    assert [*expected] == [*registry.get(name).description.channels] == found.levels
    for level, values in numbers(found, drawn(found.size)).items():
        norms, first, waves = (np.array(expected[level][what]) for what in values)
        assert np.abs(values["norm"] / norms - 1).max() <= tolerance, level
        for picture, norm in enumerate(norms):
            # The first numbers may all be 0: then what eight numbers usually are must do.
            usual = norm * (FIRST / found.dimensions[level]) ** 0.5
            length = max(np.linalg.norm(first[picture]), usual)
            assert np.linalg.norm(values["first"][picture] - first[picture]) <= tolerance * length
            if precision == "float32":
                assert distance(values["waves"][picture], waves[picture]) < 1e-3, level


@pytest.mark.parametrize(
    "name,tolerance", [("vgg16-oxford", 0.01), ("efficientnet-lite", FEW_DIGITS)]
)
def test_precisions_agree(name, tolerance):
    exact, fast = (network(name, precision=precision) for precision in ("float32", "bfloat16"))
    for one, other in zip(fast.vectors(drawn(fast.size))[0], exact.vectors(drawn(fast.size))[0]):
        assert distance(one, other) < tolerance
