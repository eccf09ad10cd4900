"""The training scripts: what they read and write, that they learn and resume."""

import io
import json
import tarfile

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from conftest import shared
from PIL import Image
from safetensors.torch import load_file, save_file

from datasette_imgsim.models.mini import Mini, read_metadata
from datasette_imgsim.models.vgg import build, load
from training import distill, export, photos, teacher
from training.student import Student, as_kernel, as_matrix

PHOTOS = 24
CHANNELS = [50, 30]


def run(command, *arguments, exit_code=0):
    result = CliRunner().invoke(command, [*map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == exit_code, result.output
    return result.output


def tar_of(path, members):
    """A tar file of {name: (width, height)} in plain colours."""
    with tarfile.open(path, "w") as archive:
        for name, size in members.items():
            buffer = io.BytesIO()
            Image.new("RGB", size, "teal").save(buffer, "WEBP")
            entry = tarfile.TarInfo(name)
            entry.size = buffer.tell()
            archive.addfile(entry, io.BytesIO(buffer.getvalue()))


def randomised(student):
    """Batch norm as after some training: with statistics that do something."""
    for name, value in student.state_dict().items():
        if "bn" in name and value.is_floating_point():
            value.uniform_(0.5, 1.5)
    return student.eval()


@pytest.fixture
def work(tmp_path, monkeypatch):
    """A work folder of random crops, whose teachers tell two kinds of photos apart."""
    monkeypatch.setattr(distill, "HELD_OUT", 8)
    monkeypatch.setattr(distill, "CHECK_BATCH", 4)
    monkeypatch.setattr(distill, "SMALLEST_SOURCE", 8)
    random = np.random.default_rng(0)
    prepared = teacher.Prepared.create(tmp_path / "work", PHOTOS, CHANNELS)
    kinds = np.arange(PHOTOS * teacher.VIEWS) % 2
    prepared.pixels[:] = random.integers(0, 128, prepared.pixels.shape, dtype=np.uint8)
    prepared.pixels[kinds == 1] += 100
    prepared.embeddings[:] = random.random((2, sum(CHANNELS)))[kinds]
    prepared.maps[:] = random.integers(-50, 50, (2, 1, 1, teacher.COMPONENTS))[kinds]
    labels = [f"source/{kind}" for kind in kinds[:PHOTOS]]
    prepared.finish(labels, np.linspace(1, 0.1, teacher.COMPONENTS))
    return tmp_path / "work"


OPTIONS = ("--batch", 16, "--sides", "32,64", "--warm-up", 0, "--check", 4)


def test_photos_come_with_the_folder_they_lay_in(tmp_path):
    tar_of(tmp_path / "b.tar", {"two.webp": (30, 20), "x/y/one.webp": (20, 30), "x/readme": (1, 1)})
    tar_of(tmp_path / "a.tar", {"three.webp": (9, 9)})
    found = photos.read(tmp_path)
    assert [(photo.label, photo.image.size) for photo in found] == [
        ("a", (9, 9)),
        ("b", (30, 20)),
        ("b/x/y", (20, 30)),
    ]


def test_packed_photos_are_smaller_and_keep_their_labels(tmp_path):
    (tmp_path / "big").mkdir()
    tar_of(tmp_path / "big" / "b.tar", {"x/one.webp": (400, 200), "small.webp": (50, 60)})
    assert "MB" in run(photos.pack, tmp_path / "big", tmp_path / "packed.tar")
    found = photos.read(tmp_path)
    assert sorted((photo.label, photo.image.size) for photo in found) == [
        ("b", (50, 60)),
        ("b/x", (200, 100)),
    ]


def test_a_folder_without_tar_files_is_a_sentence(tmp_path):
    assert "There are no .tar files" in run(
        photos.pack, tmp_path, tmp_path / "packed.tar", exit_code=1
    )


def test_tar_files_without_pictures_are_a_sentence(tmp_path):
    tar_of(tmp_path / "a.tar", {"x/one.jpg": (9, 9)})
    output = run(photos.pack, tmp_path, tmp_path / "packed.tar", exit_code=1)
    assert "hold no .webp pictures" in output


def test_a_damaged_picture_is_named(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        entry = tarfile.TarInfo("x/one.webp")
        entry.size = 4
        archive.addfile(entry, io.BytesIO(b"RIFF"))
    output = run(photos.pack, tmp_path, tmp_path / "packed.tar", exit_code=1)
    assert "a.tar: x/one.webp is damaged" in output


def test_crops_lie_within_the_picture():
    random = np.random.default_rng(0)
    assert photos.crop_box((200, 100), 0, random) == (0, 0, 200, 100)
    for _ in range(500):
        left, top, right, bottom = photos.crop_box((200, 100), 1, random)
        assert 0 <= left < right <= 200 + 1e-9 and 0 <= top < bottom <= 100 + 1e-9
        assert (right - left) * (bottom - top) >= photos.SMALLEST_SHARE * 20000 * 0.6


def test_kernels_survive_being_matrices():
    kernel = torch.randn(5, 4, 3, 3)
    assert torch.equal(as_kernel(as_matrix(kernel)), kernel)


def test_the_student_is_a_plain_vgg(tmp_path):
    student = randomised(Student())
    checkpoint, bundled = tmp_path / "student.safetensors", tmp_path / "mini.safetensors"
    save_file(student.tensors(), checkpoint)
    levels = ["conv3_2", "conv4_2", "conv5_2"]
    run(export.export, checkpoint, bundled, "--version", "7", "--levels", "pool4=0.5,conv5_2=1")
    about = read_metadata(bundled)
    assert (about["version"], about["levels"]) == ("7", ["pool4", "conv5_2"])
    assert about["level_weights"] == {"pool4": 0.5, "conv5_2": 1}
    module = build(tuple(about["layers"]), batch_norm=False, levels=levels)
    load(module, {k: v.float() for k, v in load_file(bundled).items()}, bundled)
    pixels = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        for ours, folded in zip(student(pixels)[2:], module(pixels)):
            assert torch.allclose(ours, folded, rtol=0.02, atol=0.02 * ours.abs().max())


def test_the_bundled_file_can_be_trained_further(tmp_path):
    student = randomised(Student())
    folded = export.fold(student.tensors())
    save_file(folded, tmp_path / "bundled.safetensors")
    again = Student()
    taken = again.load(export.read(tmp_path / "bundled.safetensors"))
    assert len(taken) == 5
    for name, value in student.tensors().items():
        assert torch.allclose(again.tensors()[name], value, rtol=2e-3, atol=1e-4), name


@pytest.mark.parametrize(
    "options,sentence",
    [
        (["--levels", "pool9=1"], "There is no level 'pool9': there is conv1_1, pool1"),
        (["--levels", "pool5"], "Level weights are written pool5:1,pool3:.5"),
        (["--pooling", "most"], "'most' is not one of 'avg'"),
    ],
)
def test_what_cannot_be_exported_leaves_the_old_file(tmp_path, options, sentence):
    save_file(Student().tensors(), tmp_path / "student.safetensors")
    (tmp_path / "mini.safetensors").write_text("the old one")
    paths = (tmp_path / "student.safetensors", tmp_path / "mini.safetensors")
    result = CliRunner().invoke(export.export, [*map(str, paths), "--version", "1", *options])
    assert result.exit_code and sentence in result.output
    assert paths[1].read_text() == "the old one"


def test_the_bundled_file_is_what_the_student_exports():
    assert tuple(export.layers(Student().tensors())) == Mini().layers


def test_a_start_gives_the_blocks_that_fit():
    start = Student(convolutions=(2, 2, 2, 2, 2))
    student = Student()
    assert student.load(start.tensors()) == ["block3", "block4", "block5"]
    assert torch.equal(student.block5.conv2.weight, start.block5.conv2.weight)


def test_it_learns_to_tell_apart_what_the_teachers_tell_apart(work, tmp_path):
    output = run(distill.distill, work, tmp_path / "out.safetensors", "--crops", 160, *OPTIONS)
    *_, last = output.splitlines()
    assert last.startswith("100.0%  160 crops") and "64 px" in last
    assert float(last.split("mAP ")[1].split(";")[0]) == 1


def test_it_goes_on_where_it_was(work, tmp_path):
    arguments = [work, tmp_path / "out.safetensors", *OPTIONS]
    run(distill.distill, *arguments, "--crops", 64)
    before = load_file(tmp_path / "out.safetensors")
    output = run(distill.distill, *arguments, "--crops", 96)
    assert "Going on after 64 crops" in output and "96 crops" in output
    after = load_file(tmp_path / "out.safetensors")
    assert not torch.equal(before["block5.conv2.weight"], after["block5.conv2.weight"])


def test_a_run_that_is_over_writes_its_output_again(work, tmp_path):
    arguments = [work, tmp_path / "a.1.safetensors", *OPTIONS, "--crops", 32]
    run(distill.distill, *arguments)
    before = load_file(tmp_path / "a.1.safetensors")
    (tmp_path / "a.1.safetensors").unlink()
    run(distill.distill, *arguments)
    after = load_file(tmp_path / "a.1.safetensors")
    assert torch.equal(before["block5.conv2.weight"], after["block5.conv2.weight"])
    assert (tmp_path / "a.1.safetensors.state").exists()


@pytest.mark.parametrize(
    "options,sentence",
    [
        (["--sides", "abc"], "'abc': give multiples of 16"),
        (["--sides", "32,40"], "'32,40': give multiples of 16"),
        (["--crops", "0"], "0 is not in the range x>=1"),
        (["--check", "0"], "0 is not in the range x>=1"),
        (["--minutes", "0"], "0.0 is not in the range x>0"),
    ],
)
def test_a_run_that_makes_no_sense_is_refused(work, tmp_path, options, sentence):
    output = run(distill.distill, work, tmp_path / "out.safetensors", *options, exit_code=2)
    assert sentence in output


@pytest.mark.parametrize(
    "tensors,sentence",
    [
        (None, "start.safetensors is not a .safetensors file"),
        ({"block1.conv1.weight": torch.zeros(8, 3, 3, 3)}, "has no block with the layers"),
    ],
)
def test_a_start_that_gives_nothing_is_refused(work, tmp_path, tensors, sentence):
    start = tmp_path / "start.safetensors"
    save_file(tensors, start) if tensors else start.write_text("something else")
    output = run(
        distill.distill, work, tmp_path / "out.safetensors", *OPTIONS, "--start", start, exit_code=1
    )
    assert sentence in output


def test_the_state_of_other_teachers_is_refused(work, tmp_path):
    arguments = [work, tmp_path / "out.safetensors", *OPTIONS, "--crops", 32]
    run(distill.distill, *arguments)
    about = json.loads((work / "about.json").read_text())
    (work / "about.json").write_text(json.dumps(about | {"channels": [60]}))
    output = run(distill.distill, *arguments, exit_code=1)
    assert "out.safetensors.state is of another network or of other teachers" in output


def test_help_says_how_to_go_on():
    output = " ".join(run(distill.distill, "--help").split())
    assert "the same command goes on from there" in output
    assert "`python -m training.teacher`" in output


def test_a_minute_can_end_it(work, tmp_path):
    output = run(distill.distill, work, tmp_path / "out.safetensors", *OPTIONS, "--minutes", 0.001)
    assert output.startswith("100.0%  16 crops")


def test_too_few_photos_are_a_sentence(work, tmp_path, monkeypatch):
    monkeypatch.setattr(distill, "HELD_OUT", 2000)
    output = run(distill.distill, work, tmp_path / "out.safetensors", exit_code=1)
    assert "24 photos are too few: 2,000 are held out" in output


def test_an_unfinished_work_folder_is_a_sentence(tmp_path):
    teacher.Prepared.create(tmp_path / "work", 2, CHANNELS)
    assert "run python -m training.teacher first" in run(
        distill.distill, tmp_path / "work", tmp_path / "out.safetensors", exit_code=1
    )


def test_the_target_is_the_mean_likeness_of_the_teachers():
    embeddings, mean = torch.rand(5, 80), torch.rand(80) / 10
    distillation = distill.Distillation(CHANNELS, mean, torch.ones(teacher.COMPONENTS))
    target = distillation.target(embeddings)
    parts = [
        torch.nn.functional.normalize(
            torch.nn.functional.normalize(embeddings[:, part]) - mean[part]
        )
        for part in (slice(0, 50), slice(50, 80))
    ]
    wanted = (parts[0] @ parts[0].T + parts[1] @ parts[1].T) / 2
    assert torch.allclose(target @ target.T, wanted, atol=1e-6)


def test_a_histogram_counts_colours_and_lets_small_areas_count():
    pixels = torch.zeros(1, 16, 16, 3, dtype=torch.uint8)
    pixels[:, :4, :4] = torch.tensor([255, 31, 32])
    (found,) = distill.histograms(pixels)
    assert {n: round(v, 3) for n, v in enumerate(found.tolist()) if v} == {
        0: round(60**0.25, 3),
        7 * 64 + 0 * 8 + 1: round(4**0.25, 3),
    }


def test_every_part_of_the_loss_has_a_weight():
    distillation = distill.Distillation(
        CHANNELS, torch.rand(80) / 10, torch.ones(teacher.COMPONENTS)
    )
    maps = Student()(torch.rand(8, 3, 32, 32))
    losses = distillation(
        maps, torch.rand(8, 80), torch.rand(8, 2, 2, teacher.COMPONENTS), torch.rand(8, 512)
    )
    assert losses.keys() == distill.WEIGHTS.keys()
    assert all(loss.isfinite() and loss > 0 for loss in losses.values())


def test_the_teachers_see_every_crop(tmp_path):
    networks = [
        shared(f"weights/{name}")
        for name in (
            "mobilenet_v2_1.0_224_quant.tflite",
            "mobilenet_v1_1.0_224_quant_embedding_extractor.tflite",
        )
    ]
    pytest.importorskip("openvino")
    tar_of(tmp_path / "a.tar", {f"x/{n}.webp": (40 + n, 50) for n in range(3)})
    run(teacher.prepare, tmp_path, tmp_path / "work", *networks)
    prepared = teacher.Prepared.open(tmp_path / "work")
    assert prepared.labels == ["a/x"] * 3
    assert prepared.channels == [1280, 1024]
    # WebP keeps a colour nearly.
    assert np.abs(prepared.pixels - np.array([0, 128, 128])).max() < 8
    # All crops show one colour, so each teacher says nearly the same of all.
    for part in np.split(prepared.embeddings[:].astype(float), [1280], axis=1):
        units = part / np.linalg.norm(part, axis=1, keepdims=True)
        assert (units @ units.T).min() > 0.9
    whole = prepared.mean()
    assert np.linalg.norm(whole[:1280]) == pytest.approx(1, abs=0.1)
    assert np.linalg.norm(whole[1280:]) == pytest.approx(1, abs=0.1)
