"""Networks: where they are cut, what they compute, what is said of wrong weights."""

import json

import numpy as np
import pytest
from conftest import draw, imgsim, rows, shared
from PIL import Image

from datasette_imgsim.errors import ImgsimError
from datasette_imgsim.models import registry
from datasette_imgsim.models.network import Network
from datasette_imgsim.models.pooling import POOLINGS
from datasette_imgsim.models.vgg import LAYERS, VGG, build, convolution_levels

PICTURES = ("burger", "salad", "asparagus")
# A pooling's name in the reference file, and how many of its numbers stand there.
REFERENCE = {"avg": "avg", "max": "max", "gem": "gem3", "flatten": "flatten_first8"}
TOLERANCE = {"float32": 1e-4, "bfloat16": 1e-2}


def random_weights(name, levels, path, seed=0):
    """Saves seeded random weights of a torchvision network, up to the deepest of `levels`."""
    import torch

    model = VGG(name)
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


@pytest.mark.parametrize("precision", TOLERANCE)
@pytest.mark.parametrize("pooling", REFERENCE)
def test_oxford_vgg19_agrees_with_the_reference(pooling, precision):
    reference = json.loads(shared("golden/vgg19_oxford.json").read_text())
    levels = ["pool1", "pool2", "pool3"]
    weights = shared("weights/vgg19_oxford_bgr255_features0-16.pth")
    network = Network(VGG("vgg19"), levels, pooling, "oxford", 224, weights, "cpu", precision)
    for name in PICTURES:
        pixels = np.array(Image.open(shared(f"golden/{name}_224.png")).convert("RGB"))
        (unit,), (norms,) = network.vectors(pixels[None])
        start = 0
        for level, norm in zip(levels, norms):
            end = start + network.dimensions[level]
            expected = np.array(reference[name][level][REFERENCE[pooling]])
            raw = unit[start:end][: len(expected)] * norm
            assert distance(raw, expected) <= TOLERANCE[precision]
            if pooling == "flatten":
                length = reference[name][level]["flatten_l2"]
                assert abs(norm - length) / length <= TOLERANCE[precision]
            start = end


@pytest.mark.parametrize(
    "name,levels",
    [
        ("vgg11", "conv1_1 pool1 conv2_1 pool2 conv3_1 conv3_2 pool3 conv4_1 conv4_2 pool4"),
        ("vgg16", "conv1_1 conv1_2 pool1 conv2_1 conv2_2 pool2 conv3_1 conv3_2 conv3_3 pool3"),
        ("vgg19", "conv1_1 conv1_2 pool1 conv2_1 conv2_2 pool2 conv3_1 conv3_2 conv3_3 conv3_4"),
    ],
)
def test_levels_have_the_names_of_the_paper(name, levels):
    assert list(VGG(name).description.channels)[: len(levels.split())] == levels.split()
    assert list(VGG(name).description.channels)[-3:] == ["pool5", "fc6", "fc7"]


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
        found = VGG(name).cut(levels, path)(pixels)[1]
        torch.testing.assert_close(found, whole(pixels))


def test_fully_connected_levels_compute_what_torchvision_computes(tmp_path):
    import torch
    import torchvision

    torch.manual_seed(0)
    whole = torchvision.models.vgg11(weights=None).eval()
    torch.save(whole.state_dict(), tmp_path / "whole.pth")
    pixels = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        fc6, fc7 = VGG("vgg11").cut(["fc6", "fc7"], tmp_path / "whole.pth")(pixels)
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
        Network(VGG("vgg11"), ["pool2"], "avg", "torchvision", 32, path).weights_sha256
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
        Network(VGG("vgg11"), ["pool2"], "avg", "torchvision", 32, p).vectors(pixels)[0]
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
        VGG("vgg11").cut(["pool2"], path)


def test_weights_that_could_run_code_are_refused(tmp_path):
    import pickle

    path = tmp_path / "evil.pth"
    path.write_bytes(pickle.dumps(print))
    with pytest.raises(ImgsimError, match="cannot be read"):
        VGG("vgg11").cut(["pool1"], path)


def test_levels_are_laid_in_network_order_each_of_unit_length(tmp_path):
    path = random_weights("vgg11", ["pool3"], tmp_path / "weights.pth")
    network = Network(
        VGG("vgg11"), ["pool3", "pool1", "pool3"], "gem", "torchvision", 32, path, "cpu", "float32"
    )
    assert network.dimensions == {"pool1": 64, "pool3": 256}
    units, norms = network.vectors(pictures(32))
    assert units.shape == (3, 320) and norms.shape == (3, 2)
    assert np.allclose(np.linalg.norm(units[:, :64], axis=1), 1, atol=1e-5)
    assert np.allclose(np.linalg.norm(units[:, 64:], axis=1), 1, atol=1e-5)


def test_a_batch_gives_what_one_by_one_gives():
    network = Network(
        registry.get("vgg-mini"), ["conv5_2"], "gem", "torchvision", 64, precision="float32"
    )
    batch = pictures(64)
    together, _ = network.vectors(batch)
    for picture, vector in zip(batch, together):
        assert distance(network.vectors(picture[None])[0][0], vector) < 1e-4


def test_precisions_agree():
    found = [
        Network(
            registry.get("vgg-mini"), ["conv5_2"], "gem", "torchvision", 160, None, "cpu", p
        ).vectors(pictures(160))[0]
        for p in ("float32", "bfloat16")
    ]
    assert distance(*found) < 3e-2


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
        Network(registry.get("vgg-mini"), ["pool5"], "gem", "torchvision", 16)


@pytest.mark.parametrize("device", ["tpu", "cuda:99", "cpu:1", "cuda:x"])
def test_a_device_that_is_not_there_is_a_sentence(device):
    with pytest.raises(ImgsimError, match=f"no device '{device}'"):
        Network(registry.get("vgg-mini"), ["pool1"], "gem", "torchvision", 32, device=device)


def test_a_failed_download_says_how_to_go_on(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    draw(tmp_path / "images" / "a.jpg")
    output = imgsim(
        "embed", tmp_path / "a.db", tmp_path / "images", "--model", "vgg16", exit_code=1
    )
    assert "--weights FILE" in output and "vgg-mini" in output
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


def test_bundled_network_describes_itself():
    description = registry.get("vgg-mini").description
    assert description.default_levels == ("pool2", "pool4", "conv5_2")
    assert description.level_weights == {"pool2": 0.3, "pool4": 1, "conv5_2": 3}
    assert (description.default_pooling, description.size) == ("gem", 176)
    assert description.licence == "Apache-2.0" and description.version


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


# Of the bundled network's vectors of `drawn`, at its defaults, as `projected` gives them.
CANONICAL = [
    [
        0.38879, 0.33111, -0.11672, -0.02644,
        -0.31836, 0.64597, -0.06257, -0.18282,
        1.60033, 0.43873, -0.35437, -0.31726,
    ],
    [
        0.59559, 0.10487, -0.37505, -0.44469,
        -0.55973, -0.21832, 0.65577, -0.14635,
        0.02904, -0.41541, -0.36024, 0.63348,
    ],
    [
        0.29965, 0.78309, -0.26087, 0.12834,
        -0.71872, 0.19836, -0.05605, 0.03399,
        0.96276, -0.88139, -0.27170, 0.97531,
    ],
]  # fmt: skip


def projected(units, dimensions):
    """Four numbers a level, in which each of its own takes part: (n, 4 * levels)."""
    parts = np.split(units, np.cumsum([*dimensions.values()])[:-1], axis=1)
    waves = [np.cos(np.outer(np.arange(part.shape[1]), [1, 2, 3, 4])) for part in parts]
    return np.concatenate([part @ wave for part, wave in zip(parts, waves)], axis=1)


@pytest.mark.parametrize("precision,tolerance", [("float32", 1e-3), ("bfloat16", 3e-2)])
def test_bundled_network_gives_its_canonical_vectors(precision, tolerance):
    about = registry.get("vgg-mini").description
    network = Network(
        registry.get("vgg-mini"), list(about.default_levels), about.default_pooling,
        about.normalise, about.size, None, "cpu", precision,
    )  # fmt: skip
    units, _ = network.vectors(drawn(about.size))
    found = projected(units, network.dimensions)
    for ours, expected in zip(found, np.array(CANONICAL), strict=True):
        assert distance(ours, expected) < tolerance


def test_bundled_network_is_no_larger_than_10_mb():
    from datasette_imgsim.models.mini import WEIGHTS

    assert WEIGHTS.stat().st_size <= 10_000_000


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
