"""VGG: where it is cut, what it computes, its weights and what is said of wrong ones."""

import numpy as np
import pytest
from helpers.commands import imgsim
from helpers.networks import noise, random_weights
from helpers.pictures import draw

from datasette_imgsim.errors import ImgsimError
from datasette_imgsim.models.network import Network
from datasette_imgsim.models.vgg import LAYERS, build, convolution_levels, torchvision_vgg


@pytest.mark.parametrize(
    "name,levels",
    [
        ("vgg11", "conv1_1 pool1 conv2_1 pool2 conv3_1 conv3_2 pool3 conv4_1 conv4_2 pool4"),
        ("vgg16", "conv1_1 conv1_2 pool1 conv2_1 conv2_2 pool2 conv3_1 conv3_2 conv3_3 pool3"),
        ("vgg19", "conv1_1 conv1_2 pool1 conv2_1 conv2_2 pool2 conv3_1 conv3_2 conv3_3 conv3_4"),
    ],
)
def test_levels_have_the_names_of_the_paper(name, levels):
    assert list(torchvision_vgg(name).description.channels)[: len(levels.split())] == levels.split()
    assert list(torchvision_vgg(name).description.channels)[-3:] == ["pool5", "fc6", "fc7"]


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
        found = torchvision_vgg(name).cut(levels, path, 64)(pixels)[1]
        torch.testing.assert_close(found, whole(pixels))


def test_fully_connected_levels_compute_what_torchvision_computes(tmp_path):
    import torch
    import torchvision

    torch.manual_seed(0)
    whole = torchvision.models.vgg11(weights=None).eval()
    torch.save(whole.state_dict(), tmp_path / "whole.pth")
    pixels = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        fc6, fc7 = torchvision_vgg("vgg11").cut(["fc6", "fc7"], tmp_path / "whole.pth", 64)(pixels)
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
        Network(torchvision_vgg("vgg11"), ["pool2"], "avg", "torchvision", 32, path).weights_sha256
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
    pixels = noise(32)
    first, second = (
        Network(torchvision_vgg("vgg11"), ["pool2"], "avg", "torchvision", 32, p).vectors(pixels)[0]
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
        torchvision_vgg("vgg11").cut(["pool2"], path, 32)


def test_weights_that_could_run_code_are_refused(tmp_path):
    import pickle

    path = tmp_path / "evil.pth"
    path.write_bytes(pickle.dumps(print))
    with pytest.raises(ImgsimError, match="cannot be read"):
        torchvision_vgg("vgg11").cut(["pool1"], path, 32)


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


def test_convolution_levels_of_a_small_network():
    assert convolution_levels((4, "M", 8)) == {
        "conv1_1": (1, 4),
        "pool1": (2, 4),
        "conv2_1": (3, 8),
    }
