"""Trains vgg-mini: it learns to see likeness as its teachers do, without any labels.

python -m training.distill WORK checkpoint.safetensors --start START.safetensors
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional

from datasette_imgsim import evaluate
from datasette_imgsim.models.network import NORMALISE, keep_memory

from . import export
from .student import WIDTHS, Student
from .teacher import COMPONENTS, HELD_OUT, INT8_STEPS, SIDE, Prepared

TEMPERATURE = 0.1
CELL_POWER = 0.5
COLOUR_POWER = 0.25
RISE = 0.03
ADAMW_RATE = 0.01
GROWS_AT = (0.5, 0.85)
SMALLEST_SOURCE = 60
CHECK_BATCH = 100
WEIGHTS = {
    "embedding_avg5": 1.0,
    "embedding_gem5": 1.0,
    "embedding_gem4": 0.3,
    "embedding_gem3": 0.1,
    "pairs_gem5": 10.0,
    "pairs_avg5": 5.0,
    "pairs_gem4": 2.0,
    "pairs_gem2": 5.0,
    "neighbours_gem5": 1.0,
    "neighbours_avg5": 0.5,
    "neighbours_gem4": 0.2,
    "neighbours_gem2": 0.5,
    "cells": 0.5,
}
"""How much each part of the loss counts; the number is the block."""


def gem(maps: torch.Tensor) -> torch.Tensor:
    """As `models.pooling.gem`, but with a gradient where a channel is nowhere active."""
    return (maps.float().pow(3).mean(dim=(2, 3)) + 1e-7).pow(1 / 3)


def centred(vectors: torch.Tensor) -> torch.Tensor:
    """Unit vectors less their mean, made unit again: what search does with a space."""
    unit = functional.normalize(vectors.float())
    return functional.normalize(unit - unit.mean(0))


class Distillation(nn.Module):
    """How far a student is from its teachers. The linear maps in it are thrown away afterwards."""

    def __init__(self, channels: list[int], mean: torch.Tensor, deviation: torch.Tensor):
        """`mean` (sum of channels,) of the teachers' unit embeddings, `deviation` (256,) of the
        components of the first one's map."""
        super().__init__()
        self.channels, total = channels, sum(channels)
        self.register_buffer("mean", mean)
        self.register_buffer("importance", deviation**CELL_POWER)
        self.cells = nn.Conv2d(WIDTHS[4], COMPONENTS, 1)
        self.heads = nn.ModuleDict(
            {
                "avg5": nn.Linear(WIDTHS[4], total),
                "gem5": nn.Linear(WIDTHS[4], total),
                "gem4": nn.Linear(WIDTHS[3], total),
                "gem3": nn.Linear(WIDTHS[2], total),
            }
        )

    def forward(self, maps, embeddings, teacher_maps, histograms) -> dict[str, torch.Tensor]:
        """The parts of the loss, each a number, of one batch.

        - embedding: 1 - cosine of the teachers' centred embedding and a linear map of ours
        - pairs: squared difference of all pairwise cosines, of centred vectors
          (Tung & Mori 2019, arXiv 1907.09682)
        - neighbours: how differently the batch's pictures are near to each other (`divergence`)
        - cells: squared difference of the first teacher's last map and a linear map of ours, cell
          by cell (Romero et al. 2015, arXiv 1412.6550), relative to the teacher's variance

        Of block 2, pairs and neighbours are those of the colour histograms: colour tells apart
        what the teachers find alike.
        """
        target = self.target(embeddings)
        pooled = {
            "avg5": maps[4].float().mean(dim=(2, 3)),
            "gem5": gem(maps[4]),
            "gem4": gem(maps[3]),
            "gem3": gem(maps[2]),
            "gem2": gem(functional.max_pool2d(maps[1], 2)),
        }
        losses = {
            f"embedding_{name}": 1 - functional.cosine_similarity(head(pooled[name]), target).mean()
            for name, head in self.heads.items()
        }
        alike = {"gem5": target, "avg5": target, "gem4": target, "gem2": centred(histograms)}
        for name, teachers in alike.items():
            ours, teachers = centred(pooled[name]), teachers @ teachers.T
            ours = ours @ ours.T
            losses[f"pairs_{name}"] = functional.mse_loss(ours, teachers)
            losses[f"neighbours_{name}"] = divergence(ours, teachers)
        seen = self.cells(maps[4]).float().permute(0, 2, 3, 1) * self.importance
        wanted = teacher_maps * self.importance
        losses["cells"] = functional.mse_loss(seen, wanted) / wanted.square().mean()
        return losses

    def target(self, embeddings: torch.Tensor) -> torch.Tensor:
        """(N, sum of channels) -> unit vectors whose cosine is the mean of the teachers' cosines,
        each of centred unit embeddings."""
        parts = zip(embeddings.split(self.channels, 1), self.mean.split(self.channels))
        centred = [functional.normalize(functional.normalize(part) - mean) for part, mean in parts]
        return torch.cat(centred, 1) / len(centred) ** 0.5


def divergence(ours: torch.Tensor, teachers: torch.Tensor) -> torch.Tensor:
    """Kullback-Leibler divergence of each picture's softmax over the cosines to all others.

    Fang et al. 2021 (SEED), arXiv 2101.04731, with the batch in place of a queue.
    """
    others = ~torch.eye(len(ours), dtype=torch.bool)
    ours, teachers = (
        (cosines[others].view(len(cosines), -1) / TEMPERATURE).log_softmax(1)
        for cosines in (ours, teachers)
    )
    return functional.kl_div(ours, teachers, log_target=True, reduction="batchmean")


class Crops:
    """Batches of prepared crops, half of them mirrored, in a random order that a seed decides."""

    def __init__(self, prepared: Prepared, batch: int, seed: int):
        self.prepared, self.batch, self.random = prepared, batch, np.random.default_rng(seed)
        position = np.arange(len(prepared.pixels)) % prepared.photos
        self.numbers = np.flatnonzero(position < prepared.photos - HELD_OUT)
        if len(self.numbers) < batch:
            raise click.ClickException(
                f"{prepared.photos:,} photos are too few: {HELD_OUT:,} are held out"
            )
        self.left = np.empty(0, int)

    def next(self, side: int) -> tuple[torch.Tensor, ...]:
        """Pixels (N, 3, side, side); what `Distillation` wants of them: embeddings, maps with
        side / 16 cells a side, histograms."""
        if len(self.left) < self.batch:
            self.left = self.random.permutation(self.numbers)
        # In order of their place on disk.
        chosen, self.left = np.sort(self.left[: self.batch]), self.left[self.batch :]
        mirrored = torch.from_numpy(self.random.random(self.batch) < 0.5)[:, None, None, None]
        pixels = torch.from_numpy(self.prepared.pixels[chosen])
        maps = torch.from_numpy(self.prepared.maps[chosen]).float() / INT8_STEPS
        pixels, maps = (torch.where(mirrored, v.flip(2), v) for v in (pixels, maps))
        embeddings = torch.from_numpy(self.prepared.embeddings[chosen]).float()
        cells = with_cells(maps, side // 16)
        return normalised(pixels, side), embeddings, cells, histograms(pixels)


def histograms(pixels: torch.Tensor) -> torch.Tensor:
    """(N, H, W, 3) uint8 -> (N, 512), the fourth root of how often each colour occurs.

    Every fourth pixel counts. The root lets small areas count, too: on the held-out photos it
    finds more than the square root.
    """
    counted = [evaluate.colours(picture) for picture in pixels[:, ::2, ::2].numpy()]
    return torch.from_numpy(np.stack(counted)).float() ** COLOUR_POWER


def normalised(pixels: torch.Tensor, side: int) -> torch.Tensor:
    """(N, 128, 128, 3) uint8 -> (N, 3, side, side) float32, channels last."""
    _, _, mean, deviation = NORMALISE["torchvision"]
    pixels = pixels.permute(0, 3, 1, 2)
    if side != SIDE:
        pixels = functional.interpolate(pixels, (side, side), mode="bilinear", antialias=True)
    shift, scale = torch.tensor(mean) * 255, 1 / (torch.tensor(deviation) * 255)
    return ((pixels.permute(0, 2, 3, 1) - shift) * scale).permute(0, 3, 1, 2)


def with_cells(maps: torch.Tensor, cells: int) -> torch.Tensor:
    """Maps (N, 7, 7, C) with as many cells as the student has."""
    if maps.shape[1] == cells:
        return maps
    resized = functional.interpolate(maps.permute(0, 3, 1, 2), (cells, cells), mode="bilinear")
    return resized.permute(0, 2, 3, 1)


@dataclass(frozen=True)
class Recipe:
    """What decides how a run goes."""

    crops: int
    minutes: float | None
    batch: int
    rate: float
    decay: float
    sides: tuple[int, ...]
    warm_up: int
    seed: int


class Run:
    """A student in training, with everything that must be saved to go on later."""

    def __init__(self, prepared: Prepared, recipe: Recipe, start: Path | None):
        torch.manual_seed(recipe.seed)
        self.recipe, self.prepared = recipe, prepared
        self.crops = Crops(prepared, recipe.batch, recipe.seed)
        self.student = Student().to(memory_format=torch.channels_last)
        self.distillation = Distillation(
            prepared.channels,
            torch.from_numpy(prepared.mean()),
            torch.from_numpy(prepared.deviation),
        )
        self.taken = self.student.load(export.read(start)) if start else []
        if start and not self.taken:
            raise click.ClickException(f"{start} has no block with the layers that are trained")
        self.optimisers = self._optimisers()
        self.seen, self.spent = 0, 0.0

    def _optimisers(self) -> list[torch.optim.Optimizer]:
        """Muon (Jordan et al. 2024) for the convolutions, AdamW for everything else."""
        matrices, others = [], list(self.distillation.parameters())
        for name, parameter in self.student.named_parameters():
            is_matrix = parameter.dim() == 2 and not name.startswith("block1")
            (matrices if is_matrix else others).append(parameter)
        rate, decay = self.recipe.rate, self.recipe.decay
        return [
            torch.optim.Muon(matrices, rate, decay, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(others, ADAMW_RATE, betas=(0.9, 0.98)),
        ]

    @property
    def share(self) -> float:
        """How far the run is, 0 to 1: by crops or by minutes, whichever is further."""
        recipe = self.recipe
        by_time = self.spent / 60 / recipe.minutes if recipe.minutes else 0
        return min(1, max(self.seen / recipe.crops, by_time))

    @property
    def factor(self) -> float:
        """What the learning rates are multiplied with."""
        return min(self.share / RISE, (1 - self.share) / (1 - RISE))

    @property
    def side(self) -> int:
        passed = sum(self.share >= bound for bound in GROWS_AT)
        return self.recipe.sides[min(passed, len(self.recipe.sides) - 1)]

    def step(self) -> dict[str, float]:
        """One batch; gives the parts of the loss."""
        started = time.monotonic()
        warming_up = self.seen < self.recipe.warm_up
        for name, parameter in self.student.named_parameters():
            # Until the new layers fit them, what was taken over must not be spoilt.
            parameter.requires_grad_(not (warming_up and name.split(".")[0] in self.taken))
        for optimiser, highest in zip(self.optimisers, (self.recipe.rate, ADAMW_RATE)):
            for group in optimiser.param_groups:
                group["lr"] = highest * self.factor
        pixels, *wanted = self.crops.next(self.side)
        with torch.autocast("cpu", torch.bfloat16):
            losses = self.distillation(self.student(pixels), *wanted)
        sum(WEIGHTS[name] * loss for name, loss in losses.items()).backward()
        for optimiser in self.optimisers:
            optimiser.step()
            optimiser.zero_grad()
        self.seen += len(pixels)
        self.spent += time.monotonic() - started
        return {name: loss.item() for name, loss in losses.items()}

    def save(self, path: Path) -> None:
        state = {
            "student": self.student.state_dict(),
            "distillation": self.distillation.state_dict(),
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
            "seen": self.seen,
            "spent": self.spent,
        }
        with export.aside(path) as unfinished:
            torch.save(state, unfinished)

    def resume(self, path: Path) -> None:
        state = torch.load(path, weights_only=True)
        try:
            self.student.load_state_dict(state["student"])
            self.distillation.load_state_dict(state["distillation"])
        except RuntimeError as ex:
            raise click.ClickException(
                f"{path} is of another network or of other teachers: remove it to start again"
            ) from ex
        for optimiser, values in zip(self.optimisers, state["optimisers"]):
            optimiser.load_state_dict(values)
        self.seen, self.spent = state["seen"], state["spent"]
        self.crops.random = np.random.default_rng([self.recipe.seed, self.seen])

    def likeness(self) -> float:
        """mAP over the held-out photos of each source with labels, mean over sources.

        Block 5, gem, centred, whole pictures of 128 px. The labels serve only here.
        """
        photos = self.prepared.photos
        pixels = np.array(self.prepared.pixels[photos - HELD_OUT : photos])
        self.student.eval()
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            vectors = torch.cat(
                [
                    gem(self.student(normalised(torch.from_numpy(some), SIDE))[4])
                    for some in np.split(pixels, HELD_OUT // CHECK_BATCH)
                ]
            )
        self.student.train()
        labels = np.array(self.prepared.labels[-HELD_OUT:])
        sources = np.array([label.partition("/")[0] for label in labels])
        found = []
        for source in np.unique(sources):
            rows = np.flatnonzero(sources == source)
            if len(rows) >= SMALLEST_SOURCE and 1 < len(np.unique(labels[rows])) < len(rows):
                task = evaluate.Task.of(labels[rows].tolist())
                matrix = centred(vectors[rows]).numpy()
                found.append(evaluate.measure([matrix], np.ones((1, 1)), task)[0, :, 0].mean())
        return float(np.mean(found))

    def write(self, path: Path) -> None:
        """The student as a checkpoint."""
        with export.aside(path) as unfinished:
            save_file(self.student.tensors(), unfinished)


def as_sides(context, parameter, text: str) -> tuple[int, ...]:
    """What --sides says: multiples of 16, so that all maps are whole."""
    sides = text.split(",")
    if not all(side.isdecimal() and int(side) > 0 and int(side) % 16 == 0 for side in sides):
        raise click.BadParameter(f"{text!r}: give multiples of 16, such as 96,112,144")
    return tuple(map(int, sides))


COUNT = click.IntRange(1)


@click.command()
@click.argument("work", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("output", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--start",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A checkpoint, or a bundled file: blocks are taken over that have the same layers",
)
@click.option(
    "--crops", type=COUNT, default=1_000_000, show_default=True, help="The length of the run"
)
@click.option(
    "--minutes",
    type=click.FloatRange(0, min_open=True),
    help="End it after so long, if that comes first",
)
@click.option(
    "--batch", type=click.IntRange(2), default=256, show_default=True, help="Crops at once"
)
@click.option("--rate", default=1e-2, show_default=True, help="Highest, of the convolutions")
@click.option("--decay", default=0.05, show_default=True, help="Weight decay of convolutions")
@click.option(
    "--sides",
    default="96,112,144",
    show_default=True,
    callback=as_sides,
    help="Pixels of the crops: at first, from half of the run on, at the end",
)
@click.option(
    "--warm-up", default=8_000, show_default=True, help="Crops before START's blocks may change"
)
@click.option("--seed", default=0, show_default=True, help="Decides the order of the crops")
@click.option(
    "--check", type=COUNT, default=200, show_default=True, help="Save every so many batches"
)
def distill(work, output, start, check, **options):
    """Train a student on the crops in WORK and write OUTPUT, a .safetensors checkpoint.

    WORK is what `python -m training.teacher` made of photos. The learning rate rises in the first
    3 % of the run and falls in a straight line to 0; crops grow from small ones, which are quick
    to learn from.

    The state is saved every few minutes, as OUTPUT.state: stop it as you like, the same command
    goes on from there. Make a bundled file of OUTPUT with `python -m training.export`.
    """
    keep_memory()
    recipe = Recipe(**options)
    output.parent.mkdir(parents=True, exist_ok=True)
    run, state = Run(Prepared.open(work), recipe, start), output.with_name(f"{output.name}.state")
    if run.taken:
        click.echo(f"Took over {', '.join(run.taken)} of {start}")
    if state.exists():
        run.resume(state)
        click.echo(f"Going on after {run.seen:,} crops; remove {state} to start again")
    steps, parts = 0, {}
    while run.share < 1:
        parts = {k: 0.9 * parts.get(k, v) + 0.1 * v for k, v in run.step().items()}
        steps += 1
        if steps % check == 0 or run.share == 1:
            run.save(state)
            run.write(output)
            click.echo(
                f"{run.share:6.1%}  {run.seen:,} crops, {run.spent / 60:.1f} min, {run.side} px, "
                f"held-out mAP {run.likeness():.4f}; "
                + ", ".join(f"{name} {value:.3f}" for name, value in parts.items())
            )
    run.write(output)  # also where it was stopped between this and saving the state


if __name__ == "__main__":
    distill()
