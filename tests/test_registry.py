"""Which networks there are: the bundled ones, and those of other packages."""

import json
from pathlib import Path

import pytest
from helpers.commands import imgsim, python
from helpers.databases import rows
from helpers.networks import BUNDLED
from helpers.pictures import draw

from datasette_imgsim.models import registry
from datasette_imgsim.models.timm import LITE_WEIGHTS
from datasette_imgsim.models.vgg import OXFORD_WEIGHTS


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


def test_a_network_without_torch_needs_no_torch(tmp_path):
    draw(tmp_path / "images/red.png", colour="red")
    draw(tmp_path / "images/blue.png", "square", "blue")
    code = f"""
import sys
for package in ("torch", "torchvision", "timm", "safetensors"):
    sys.modules[package] = None
sys.path.insert(0, {str(Path(__file__).parent)!r})
from datasette.cli import cli
from datasette.plugins import pm
from helpers import toy
pm.register(toy)
cli(["imgsim", "embed", "photos.db", "images", "--model", "toy"])
"""
    assert "2 embedded" in python(code, cwd=tmp_path)


@pytest.mark.parametrize("options", [("--device", "cuda"), ("--precision", "bfloat16")])
def test_a_network_without_torch_works_on_the_processor_only(tmp_path, toy, options):
    draw(tmp_path / "images/a.png")
    arguments = (tmp_path / "photos.db", tmp_path / "images", "--model", "toy", *options)
    assert "on the processor and in float32 only" in imgsim("embed", *arguments, exit_code=1)
