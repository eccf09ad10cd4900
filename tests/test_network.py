"""A network at work: levels, batches, sizes, devices and poolings."""

import numpy as np
import pytest
from helpers.commands import python
from helpers.networks import distance, noise, random_weights

from datasette_imgsim.errors import ImgsimError
from datasette_imgsim.models import registry
from datasette_imgsim.models.network import Network
from datasette_imgsim.models.pooling import POOLINGS, pooled
from datasette_imgsim.models.vgg import torchvision_vgg


def test_levels_are_laid_in_network_order_each_of_unit_length(tmp_path):
    path = random_weights("vgg11", ["pool3"], tmp_path / "weights.pth")
    network = Network(
        torchvision_vgg("vgg11"),
        ["pool3", "pool1", "pool3"],
        "gem",
        "torchvision",
        32,
        path,
        "cpu",
        "float32",
    )
    assert network.dimensions == {"pool1": 64, "pool3": 256}
    units, norms = network.vectors(noise(32))
    assert units.shape == (3, 320) and norms.shape == (3, 2)
    assert np.allclose(np.linalg.norm(units[:, :64], axis=1), 1, atol=1e-5)
    assert np.allclose(np.linalg.norm(units[:, 64:], axis=1), 1, atol=1e-5)


def test_a_batch_gives_what_one_by_one_gives():
    network = Network(
        registry.get("vgg16-oxford"), ["conv5_3"], "gem", "torchvision", 64, precision="float32"
    )
    batch = noise(64)
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


@pytest.mark.parametrize("own, expected", [(None, "passive"), ("active", "active")])
def test_waiting_threads_sleep_unless_the_user_says_otherwise(own, expected, monkeypatch):
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    if own:
        monkeypatch.setenv("OMP_WAIT_POLICY", own)
    show = "import os, datasette_imgsim.models; print(os.environ['OMP_WAIT_POLICY'])"
    assert python(show).strip() == expected
