"""Networks of timm: stages, head and embedding, what they say of themselves, their weights."""

import importlib.util
import sys

import numpy as np
import pytest
import timm
import torch
from helpers.commands import imgsim
from helpers.databases import rows
from helpers.networks import network, noise
from helpers.pictures import draw
from safetensors.torch import save_file

from datasette_imgsim.errors import ImgsimError
from datasette_imgsim.ingest import settings
from datasette_imgsim.models import registry
from datasette_imgsim.models.timm import LITE_WEIGHTS, EfficientNetLite, Timm
from datasette_imgsim.models.vgg import OXFORD_WEIGHTS

CNN, TRANSFORMER = "test_resnet", "test_vit"


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """{name: a file of seeded random weights, as timm names the tensors}."""
    folder, found = tmp_path_factory.mktemp("weights"), {}
    for name in (CNN, TRANSFORMER):
        torch.manual_seed(0)
        found[name] = folder / f"{name}.safetensors"
        save_file(timm.create_model(name).state_dict(), found[name])
    return found


def as_timm(name, weights, size):
    """timm's own network and the pixels that it would be given."""
    whole = timm.create_model(name, num_classes=0).eval()
    state = {
        k: v for k, v in timm.models.load_state_dict(weights).items() if k in whole.state_dict()
    }
    whole.load_state_dict(state)
    config = timm.get_pretrained_cfg(name)
    pixels = torch.from_numpy(noise(size, 2)).permute(0, 3, 1, 2) / 255
    mean, deviation = (torch.tensor(x)[:, None, None] for x in (config.mean, config.std))
    return whole, (pixels - mean) / deviation


def unit(values):
    values = values.numpy()
    return values / np.linalg.norm(values, axis=1, keepdims=True)


@pytest.mark.parametrize(
    "name, channels",
    [
        (CNN, "stage1 32, stage2 32, stage3 48, stage4 192, stage5 96, head 96"),
        (
            TRANSFORMER,
            "stage1 64, stage2 64, stage3 64, stage4 64, stage5 64, stage6 64, embedding 64",
        ),
        ("swin_tiny_patch4_window7_224", "stage1 96, stage2 192, stage3 384, stage4 768, head 768"),
        ("crossvit_9_240", None),
    ],
)
def test_levels(name, channels):
    found = registry.get(f"timm:{name}").description.channels
    if channels:
        assert ", ".join(f"{level} {count}" for level, count in found.items()) == channels
    assert [*found][-1] in ("head", "embedding")


@pytest.mark.parametrize("precision, tolerance", [("float32", 1e-4), ("bfloat16", 5e-2)])
def test_stages_and_head_are_what_timm_computes(weights, precision, tolerance):
    levels = ["stage2", "stage5", "head"]
    found = network(f"timm:{CNN}", levels, weights=weights[CNN], pooling="avg", precision=precision)
    units, _ = found.vectors(noise(160, 2))
    whole, pixels = as_timm(CNN, weights[CNN], 160)
    with torch.inference_mode():
        last, maps = whole.forward_intermediates(pixels, [1, 4])
        expected = [unit(level.mean((2, 3))) for level in (*maps, last)]
    assert np.linalg.norm(units - np.concatenate(expected, 1)) < tolerance


@pytest.mark.parametrize("pooling", ["avg", "gem"])
def test_an_embedding_is_what_the_transformer_makes_of_it(weights, pooling):
    units, _ = network(
        f"timm:{TRANSFORMER}", ["embedding"], weights=weights[TRANSFORMER], pooling=pooling
    ).vectors(noise(160, 2))
    whole, pixels = as_timm(TRANSFORMER, weights[TRANSFORMER], 160)
    with torch.inference_mode():
        expected = unit(whole(pixels))
    assert (expected < 0).any()  # which no pooling may lose
    assert np.abs(units - expected).max() < 1e-4


def test_only_the_layers_up_to_the_deepest_level_are_kept(weights):
    model = registry.get(f"timm:{CNN}")
    counts = [
        sum(
            tensor.numel() for tensor in model.cut([level], weights[CNN], 160).state_dict().values()
        )
        for level in ("stage2", "stage4", "head")
    ]
    assert counts == sorted(counts) and counts[0] < counts[2] / 2


def test_a_transformer_takes_pictures_of_another_size(weights):
    found = network(f"timm:{TRANSFORMER}", ["embedding"], weights=weights[TRANSFORMER], size=224)
    units, _ = found.vectors(noise(224, 2))
    assert units.shape == (2, 64) and np.isfinite(units).all()


def test_what_timm_says_of_a_network_is_taken_over():
    about = registry.get("timm:vit_small_patch14_dinov2").description
    assert about.name == "timm:vit_small_patch14_dinov2.lvd142m"
    assert (about.size, about.licence) == (518, "apache-2.0")
    clip = registry.get("timm:vit_base_patch16_clip_224.openai").description
    assert clip.normalise["mean"] == [0.48145466, 0.4578275, 0.40821073]
    assert clip.default_levels == ("embedding",)


def test_models_describes_one_network():
    printed = imgsim("models", "timm:vit_small_patch14_dinov2")
    assert printed.startswith("timm:vit_small_patch14_dinov2.lvd142m: a network of timm")
    assert "licence of the weights: apache-2.0" in printed and "embedding 384" in printed
    assert "timm has no network 'x'" in imgsim("models", "timm:x", exit_code=1)


def test_a_space_says_which_weights_were_meant():
    """timm may change which weights a plain name means."""
    assert settings.from_options(model="timm:resnet50").model.startswith("timm:resnet50.")


def test_embed_and_go_on_with_a_network_of_timm(tmp_path, weights):
    for number in range(4):
        draw(tmp_path / f"images/{number}.png", "dots" if number % 2 else "square", seed=number)
    database, images = tmp_path / "photos.db", tmp_path / "images"
    options = ("--model", f"timm:{CNN}", "--weights", weights[CNN])
    assert "4 embedded" in imgsim("embed", database, images, *options)
    assert rows(database, "select model, pooling, levels from imgsim_spaces") == [
        ("timm:test_resnet.r160_in1k", "avg", '{"head": 96}')
    ]
    draw(tmp_path / "images/new.png", "stripes")
    assert "1 embedded, 4 unchanged" in imgsim("embed", database, images)
    assert "0.png" in imgsim("similar", database, images / "0.png")


WRONG = {
    "no such network": (("resnet5000",), "timm has no network 'resnet5000': there is resnet50"),
    "no such weights": (("resnet50.mine",), "timm has no such weights"),
    "level": ((CNN, "--levels", "pool5"), "there is stage1, stage2"),
    "another network's file": (
        (TRANSFORMER, "--weights", LITE_WEIGHTS),
        "The weights do not fit timm:test_vit",
    ),
    "a network built in another way": (("hiera_tiny_224",), "cannot be cut into levels"),
    "a file of VGG's": (
        (TRANSFORMER, "--weights", OXFORD_WEIGHTS),
        "The weights do not fit timm:test_vit",
    ),
    "no weights at all": (("mixer_s32_224",), "timm has no weights for timm:mixer_s32_224"),
}


OF_OPTIONS = [
    WRONG[each][1]
    for each in ("no such network", "no such weights", "level", "a network built in another way")
]


@pytest.mark.parametrize("options, sentence", WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_a_sentence(tmp_path, options, sentence):
    draw(tmp_path / "images/a.png")
    name, *options = options
    arguments = (tmp_path / "photos.db", tmp_path / "images", "--model", f"timm:{name}", *options)
    printed = imgsim(
        "embed",
        *arguments,
        exit_code=1 if " weights " in sentence and "such" not in sentence else 2,
    )
    assert sentence in printed
    assert not (tmp_path / "photos.db").exists()


def test_a_size_that_a_transformer_cannot_divide_is_a_sentence(weights):
    with pytest.raises(ImgsimError, match="cannot take pictures of 230 x 230 pixels"):
        network(f"timm:{TRANSFORMER}", ["embedding"], weights=weights[TRANSFORMER], size=230)


def test_a_failed_download_says_how_to_go_on(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    draw(tmp_path / "images/a.png")
    printed = imgsim(
        "embed", tmp_path / "a.db", tmp_path / "images", "--model", f"timm:{CNN}", exit_code=1
    )
    assert "The weights of timm:test_resnet" in printed and "--weights FILE" in printed
    assert "not on this machine" in registry.get(f"timm:{CNN}").unavailable()


def test_without_timm_the_package_to_install_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    find = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name == "timm" else find(name)
    )
    with pytest.raises(ImgsimError, match=r"pip install 'datasette-imgsim\[embed\]'"):
        settings.from_options(model=f"timm:{CNN}").network()


def test_efficientnet_lite_is_what_it_says():
    ours = EfficientNetLite().description
    theirs = Timm("tf_efficientnet_lite2").description
    assert ours.channels == theirs.channels and ours.normalise == theirs.normalise


def test_efficientnet_lite_gives_what_timm_gives():
    size = 192
    units, _ = network("efficientnet-lite", ["head"], size=size).vectors(noise(size, 2))
    whole, pixels = as_timm("tf_efficientnet_lite2", LITE_WEIGHTS, size)
    with torch.inference_mode():
        expected = unit(whole(pixels))
    assert np.linalg.norm(units - expected) < 1e-4
