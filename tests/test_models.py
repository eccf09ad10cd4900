"""Networks: where they are cut, what they compute, what is said of wrong weights."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import draw, imgsim, rows, shared
from PIL import Image

from datasette_imgsim.errors import ImgsimError
from datasette_imgsim.models import fusing, registry
from datasette_imgsim.models.network import Network
from datasette_imgsim.models.pooling import POOLINGS, pooled
from datasette_imgsim.models.timm import LITE_WEIGHTS
from datasette_imgsim.models.vgg import (
    LAYERS,
    OXFORD_WEIGHTS,
    build,
    convolution_levels,
    of_torchvision,
)

PICTURES = ("burger", "salad", "asparagus")
# A pooling's name in the reference file, and how many of its numbers stand there.
REFERENCE = {"avg": "avg", "max": "max", "gem": "gem3", "flatten": "flatten_first8"}
TOLERANCE = {"float32": 1e-4, "bfloat16": 1e-2}


def random_weights(name, levels, path, seed=0):
    """Saves seeded random weights of a torchvision network, up to the deepest of `levels`."""
    import torch

    model = of_torchvision(name)
    module = build(model.layers, model.batch_norm, levels).to_empty(device="cpu")
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for key, tensor in module.state_dict().items():
        if key.endswith("running_var"):
            state[key] = torch.ones_like(tensor)
        elif tensor.dim() > 1:
            deviation = (2 / tensor[0].numel()) ** 0.5
            state[key] = deviation * torch.randn(tensor.shape, generator=generator)
        elif tensor.is_floating_point():
            state[key] = 0.1 * torch.rand(tensor.shape, generator=generator)
    torch.save(state, path)
    return path


def pictures(size, count=3):
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def distance(a, b):
    return np.linalg.norm(a - b) / np.linalg.norm(b)


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
    model = registry.get(name)
    network = Network(model, levels, pooling, "oxford", 224, weights, "cpu", precision)
    for name in PICTURES:
        pixels = np.array(Image.open(shared(f"golden/{name}_224.png")).convert("RGB"))
        (unit,), (norms,) = network.vectors(pixels[None])
        start = 0
        for level, norm in zip(levels, norms):
            end = start + network.dimensions[level]
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


@pytest.mark.parametrize(
    "name,levels",
    [
        ("vgg11", "conv1_1 pool1 conv2_1 pool2 conv3_1 conv3_2 pool3 conv4_1 conv4_2 pool4"),
        ("vgg16", "conv1_1 conv1_2 pool1 conv2_1 conv2_2 pool2 conv3_1 conv3_2 conv3_3 pool3"),
        ("vgg19", "conv1_1 conv1_2 pool1 conv2_1 conv2_2 pool2 conv3_1 conv3_2 conv3_3 conv3_4"),
    ],
)
def test_levels_have_the_names_of_the_paper(name, levels):
    assert list(of_torchvision(name).description.channels)[: len(levels.split())] == levels.split()
    assert list(of_torchvision(name).description.channels)[-3:] == ["pool5", "fc6", "fc7"]


@pytest.mark.parametrize("name", [n + suffix for n in LAYERS for suffix in ("", "_bn")])
def test_every_vgg_computes_what_torchvision_computes(name, tmp_path):
    import torch
    import torchvision

    levels = ["conv3_1", "pool5"]
    path = random_weights(name, levels, tmp_path / "weights.pth")
    whole = torchvision.models.get_model(name, weights=None).features.eval()
    state = {key.removeprefix("features."): value for key, value in torch.load(path).items()}
    whole.load_state_dict(state)
    pixels = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        found = of_torchvision(name).cut(levels, path, 64)(pixels)[1]
        torch.testing.assert_close(found, whole(pixels))


def test_fully_connected_levels_compute_what_torchvision_computes(tmp_path):
    import torch
    import torchvision

    torch.manual_seed(0)
    whole = torchvision.models.vgg11(weights=None).eval()
    torch.save(whole.state_dict(), tmp_path / "whole.pth")
    pixels = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        fc6, fc7 = of_torchvision("vgg11").cut(["fc6", "fc7"], tmp_path / "whole.pth", 64)(pixels)
        flat = whole.avgpool(whole.features(pixels)).flatten(1)
        torch.testing.assert_close(fc6[:, :, 0, 0], whole.classifier[:2](flat))
        torch.testing.assert_close(fc7[:, :, 0, 0], whole.classifier[:5](flat))


def test_only_the_layers_up_to_the_deepest_level_are_built():
    tensors = list(build(LAYERS["vgg16"], False, ["conv3_2", "pool1"]).parameters())
    assert len(tensors) == 2 * 6


def test_a_full_and_a_truncated_file_are_the_same_weights(tmp_path):
    import torch

    full = random_weights("vgg11", ["pool5"], tmp_path / "full.pth")
    state = torch.load(full)
    kept = {key: value for key, value in state.items() if int(key.split(".")[1]) < 6}
    torch.save(kept, tmp_path / "cut.pth")
    found = {
        Network(of_torchvision("vgg11"), ["pool2"], "avg", "torchvision", 32, path).weights_sha256
        for path in (full, tmp_path / "cut.pth")
    }
    assert len(found) == 1


@pytest.mark.parametrize("suffix", ["safetensors", "pt"])
def test_formats_of_weights(tmp_path, suffix):
    import torch
    from safetensors.torch import save_file

    path = random_weights("vgg11", ["pool2"], tmp_path / "weights.pth")
    state = torch.load(path)
    other = tmp_path / f"weights.{suffix}"
    save_file(state, other) if suffix == "safetensors" else torch.save({"state_dict": state}, other)
    pixels = pictures(32)
    first, second = (
        Network(of_torchvision("vgg11"), ["pool2"], "avg", "torchvision", 32, p).vectors(pixels)[0]
        for p in (path, other)
    )
    assert np.array_equal(first, second)


@pytest.mark.parametrize(
    "change,message",
    [
        (lambda state: state.pop("features.3.weight"), "no layer 'features.3.weight'"),
        (lambda state: state.update({"features.3.weight": state["features.0.weight"]}), "shape"),
        (lambda state: state.clear(), "no layer 'features.0.weight'"),
    ],
)
def test_wrong_weights_are_named(tmp_path, change, message):
    import torch

    path = random_weights("vgg11", ["pool2"], tmp_path / "weights.pth")
    state = torch.load(path)
    change(state)
    torch.save(state, path)
    with pytest.raises(ImgsimError, match=message):
        of_torchvision("vgg11").cut(["pool2"], path, 32)


def test_weights_that_could_run_code_are_refused(tmp_path):
    import pickle

    path = tmp_path / "evil.pth"
    path.write_bytes(pickle.dumps(print))
    with pytest.raises(ImgsimError, match="cannot be read"):
        of_torchvision("vgg11").cut(["pool1"], path, 32)


def test_levels_are_laid_in_network_order_each_of_unit_length(tmp_path):
    path = random_weights("vgg11", ["pool3"], tmp_path / "weights.pth")
    network = Network(
        of_torchvision("vgg11"),
        ["pool3", "pool1", "pool3"],
        "gem",
        "torchvision",
        32,
        path,
        "cpu",
        "float32",
    )
    assert network.dimensions == {"pool1": 64, "pool3": 256}
    units, norms = network.vectors(pictures(32))
    assert units.shape == (3, 320) and norms.shape == (3, 2)
    assert np.allclose(np.linalg.norm(units[:, :64], axis=1), 1, atol=1e-5)
    assert np.allclose(np.linalg.norm(units[:, 64:], axis=1), 1, atol=1e-5)


def test_a_batch_gives_what_one_by_one_gives():
    network = Network(
        registry.get("vgg16-oxford"), ["conv5_3"], "gem", "torchvision", 64, precision="float32"
    )
    batch = pictures(64)
    together, _ = network.vectors(batch)
    for picture, vector in zip(batch, together):
        assert distance(network.vectors(picture[None])[0][0], vector) < 1e-4


def test_poolings_by_hand():
    import torch

    maps = torch.tensor([[[[0.0, 2.0], [4.0, 2.0]]]])
    found = {name: pool(maps).tolist() for name, pool in POOLINGS.items()}
    assert found["avg"] == [[2.0]]
    assert found["max"] == [[4.0]]
    assert found["gem"][0][0] == pytest.approx(((8 + 64 + 8) / 4) ** (1 / 3))
    assert found["flatten"] == [[0.0, 2.0, 4.0, 2.0]]


def test_too_small_a_picture_is_a_sentence(tmp_path):
    with pytest.raises(ImgsimError, match="larger --size"):
        Network(registry.get("vgg16-oxford"), ["pool5"], "gem", "torchvision", 16)


@pytest.mark.parametrize("device", ["tpu", "cuda:99", "cpu:1", "cuda:x"])
def test_a_device_that_is_not_there_is_a_sentence(device):
    with pytest.raises(ImgsimError, match=f"no device '{device}'"):
        Network(registry.get("vgg16-oxford"), ["pool1"], "gem", "torchvision", 32, device=device)


def test_a_failed_download_says_how_to_go_on(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    draw(tmp_path / "images" / "a.jpg")
    output = imgsim(
        "embed", tmp_path / "a.db", tmp_path / "images", "--model", "vgg16", exit_code=1
    )
    assert "--weights FILE" in output and "leave --model out" in output
    assert not (tmp_path / "a.db").exists()


def test_a_damaged_download_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    path = tmp_path / "hub" / "checkpoints" / "vgg16-397923af.pth"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"half of it")
    draw(tmp_path / "images" / "a.jpg")
    output = imgsim(
        "embed", tmp_path / "a.db", tmp_path / "images", "--model", "vgg16", exit_code=1
    )
    assert f"{path} is damaged" in output and "remove it" in output


BUNDLED = ("vgg16-oxford", "efficientnet-lite")


def test_the_default_network_describes_itself():
    about = registry.get(registry.DEFAULT).description
    assert (about.name, about.normalise) == ("vgg16-oxford", "oxford")
    assert [*about.channels][0] == "conv1_1" and [*about.channels][-1] == "pool5"
    assert about.licence == "CC BY 4.0, Visual Geometry Group, University of Oxford"


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_networks_are_here_with_licence_and_version(name):
    model = registry.get(name)
    assert model.unavailable() is None
    assert model.description.licence and model.description.version


def drawn(size):
    """A slope of colours, a chessboard and rings: (3, size, size, 3) uint8, the same everywhere."""
    y, x = np.mgrid[:size, :size] / size
    board = (np.floor(8 * x) + np.floor(8 * y)) % 2
    rings = np.sin(40 * np.hypot(x - 0.5, y - 0.4)) > 0
    pictures = [
        np.stack([x, y, 1 - x], -1),
        np.stack([board, board, 1 - board / 2], -1),
        np.stack([0.9 * rings, 0.2 + 0.5 * y, 0.1 + 0.3 * rings], -1),
    ]
    return np.floor(255 * np.stack(pictures)).astype(np.uint8)


# Of the bundled networks' vectors of `drawn`, at their defaults, as `projected` gives them.
CANONICAL = {
    "vgg16-oxford": [
        [0.27162, 0.34471, 0.50867, 0.18654, 0.33842, 0.50163, 0.04107, 0.54231],
        [0.39838, -0.07241, 0.23506, 0.40141, -0.21675, 0.20363, 0.81694, -0.44440],
        [0.42989, -0.24754, 0.86791, 0.50273, 0.19826, -0.48369, 0.91040, 1.34748],
    ],
    "efficientnet-lite": [
        [-0.84724, -0.49691, 0.64676, 0.24358],
        [-0.31901, 0.16760, 0.16232, -0.24360],
        [-1.08776, 0.64631, 0.67372, 0.44328],
    ],
}  # fmt: skip


def projected(units, dimensions):
    """Four numbers a level, in which each of its own takes part: (n, 4 * levels)."""
    parts = np.split(units, np.cumsum([*dimensions.values()])[:-1], axis=1)
    waves = [np.cos(np.outer(np.arange(part.shape[1]), [1, 2, 3, 4])) for part in parts]
    return np.concatenate([part @ wave for part, wave in zip(parts, waves)], axis=1)


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_networks_give_their_canonical_vectors(name):
    network = default_network(name, "float32")
    units, _ = network.vectors(drawn(network.size))
    found = projected(units, network.dimensions)
    for ours, expected in zip(found, np.array(CANONICAL[name]), strict=True):
        assert distance(ours, expected) < 1e-3


# Networks with one filter a channel keep fewer digits.
@pytest.mark.parametrize("name,tolerance", [("vgg16-oxford", 0.01), ("efficientnet-lite", 0.2)])
def test_precisions_agree(name, tolerance):
    exact, fast = (default_network(name, precision) for precision in ("float32", "bfloat16"))
    for one, other in zip(fast.vectors(drawn(fast.size))[0], exact.vectors(drawn(fast.size))[0]):
        assert distance(one, other) < tolerance


def default_network(name, precision):
    about = registry.get(name).description
    return Network(
        registry.get(name), list(about.default_levels), about.default_pooling,
        about.normalise, about.size, None, "cpu", precision,
    )  # fmt: skip


def test_bundled_weights_are_small():
    assert OXFORD_WEIGHTS.stat().st_size < 30e6 and LITE_WEIGHTS.stat().st_size < 10e6


def test_a_registered_model_embeds_and_finds(tmp_path, toy):
    for name, colour in (("red", "red"), ("pink", "salmon"), ("blue", "blue"), ("sky", "skyblue")):
        draw(tmp_path / "images" / f"{name}.png", "square", colour)
    imgsim("embed", tmp_path / "toy.db", tmp_path / "images", "--model", "toy")
    assert rows(tmp_path / "toy.db", "select model, pooling, levels from imgsim_spaces") == [
        ("toy", "avg", '{"pool2": 3}')
    ]
    (red,) = rows(tmp_path / "toy.db", "select id from images where path = 'images/red.png'")
    best = json.loads(imgsim("similar", tmp_path / "toy.db", red, "--json"))
    assert best[0]["path"] == "images/pink.png"
    assert "toy: mean colours" in imgsim("models")


def test_convolution_levels_of_a_small_network():
    assert convolution_levels((4, "M", 8)) == {
        "conv1_1": (1, 4),
        "pool1": (2, 4),
        "conv2_1": (3, 8),
    }


# Networks without torch


def test_a_network_without_torch_needs_no_torch(tmp_path):
    draw(tmp_path / "images/red.png", colour="red")
    draw(tmp_path / "images/blue.png", "square", "blue")
    code = f"""
import sys
for package in ("torch", "torchvision", "timm", "safetensors"):
    sys.modules[package] = None
sys.path.insert(0, {str(Path(__file__).parent)!r})
import toy
from datasette.cli import cli
from datasette.plugins import pm
pm.register(toy)
cli(["imgsim", "embed", "photos.db", "images", "--model", "toy"])
"""
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "2 embedded" in run.stdout


@pytest.mark.parametrize("options", [("--device", "cuda"), ("--precision", "bfloat16")])
def test_a_network_without_torch_works_on_the_processor_only(tmp_path, toy, options):
    draw(tmp_path / "images/a.png")
    arguments = (tmp_path / "photos.db", tmp_path / "images", "--model", "toy", *options)
    assert "on the processor and in float32 only" in imgsim("embed", *arguments, exit_code=1)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_poolings_do_the_same_without_torch(pooling):
    import torch

    maps = np.random.default_rng(0).standard_normal((2, 3, 4, 4)).astype(np.float32)
    ours, theirs = (POOLINGS[pooling](values) for values in (maps, torch.from_numpy(maps)))
    assert np.abs(ours - theirs.numpy()).max() < 1e-6


@pytest.mark.parametrize("pooling", POOLINGS)
def test_a_single_cell_is_taken_as_it_is(pooling):
    maps = np.array([-1.0, 2.0]).reshape(1, 2, 1, 1)
    assert pooled(maps, pooling).tolist() == [[-1, 2]]


# Fewer passes


class Parts:
    """Networks whose parts stand in an order; `forward` may use them in another."""

    @staticmethod
    def make(straight, dtype="float32"):
        import torch

        class Network(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.conv = torch.nn.Conv2d(3, 3, 3)
                self.norm = torch.nn.BatchNorm2d(3)
                self.act = torch.nn.ReLU()
                self.other = torch.nn.Conv2d(3, 4, 3)
                self.other_norm = torch.nn.BatchNorm2d(5)
                self.last = torch.nn.Conv2d(3, 4, 3)
                self.six = torch.nn.ReLU6()

            def forward(self, pixels):
                if straight:
                    return [self.six(self.last(self.act(self.norm(self.conv(pixels)))))]
                return [self.last(self.conv(self.norm(self.six(self.act(pixels)))))]

        torch.manual_seed(0)
        module = Network().eval()
        module.norm.running_var.uniform_(0.5, 2)
        module.norm.running_mean.normal_()
        return module.to(getattr(torch, dtype))


@pytest.mark.parametrize("straight", [True, False])
def test_fewer_passes_give_the_same_numbers(straight):
    import torch

    module, same = Parts.make(straight), Parts.make(straight)
    fusing.fold_batch_norms(module, 16)
    assert isinstance(module.norm, torch.nn.BatchNorm2d) is not straight
    fusing.fuse_activations(module, 16, "float32")
    assert isinstance(module.six, torch.nn.Identity) is straight
    pixels = torch.randn(2, 3, 16, 16)
    with torch.inference_mode():
        torch.testing.assert_close(module(pixels)[0], same(pixels)[0], rtol=1e-4, atol=1e-4)


def test_without_the_operator_of_torch_all_is_as_it_was(monkeypatch):
    import torch

    module = Parts.make(True)
    monkeypatch.delattr(torch.ops.mkldnn, "_convolution_pointwise")
    monkeypatch.setattr(type(torch.ops.mkldnn), "__getattr__", missing_operator)
    fusing.fuse_activations(module, 16, "float32")
    assert isinstance(module.six, torch.nn.ReLU6)


def missing_operator(namespace, name):
    raise AttributeError(name)
