"""The commands: each parses its arguments, calls Collection and prints the result."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import click

from ..db.dtypes import DTYPES
from ..errors import listed
from ..limits import LIMITS
from ..models.pooling import POOLINGS
from . import duplicates, exchange, exploring, report, why
from .group import (
    database_argument,
    imgsim,
    reports_errors,
    sentences,
    space_option,
    table_option,
)
from .ray import Embed
from .report import images as count_of_images
from .report import printable
from .terminal import Terminal

__all__ = [
    "duplicates",
    "exchange",
    "exploring",
    "imgsim",
    "why",
]  # with the commands of the other modules

OF_FILES = ("gps", "exclude", "no_follow", "prune", "prune_missing_folders")
"""Options of `embed` that make no sense for the rows of a table."""


@imgsim.command(cls=Embed)
@database_argument
@click.argument("images", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option("--table", metavar="T", help="Embed the pictures of a table of DB, not files")
@click.option("--column", metavar="C", help="Its column of BLOBs, or of paths relative to DB")
@click.option("--model", help="Which network; 'models' lists them  [default: vgg16-oxford]")
@click.option("--levels", help="Where to cut it: one or more of its levels, such as pool4,pool5")
@click.option(
    "--pooling", type=click.Choice(list(POOLINGS)), help="How a level's map becomes a vector"
)
@click.option(
    "--weights",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Take the weights from a .safetensors, .pth or .pt file",
)
@click.option(
    "--preprocess",
    type=click.Choice(["torchvision", "oxford"]),
    help="What the weights expect: RGB with ImageNet statistics, or Oxford's BGR minus mean",
)
@click.option(
    "--resize",
    type=click.Choice(["squash", "crop", "pad"]),
    help="How a picture becomes a square  [default: squash]",
)
@click.option("--size", type=click.IntRange(1, LIMITS.side), help="Side of that square in pixels")
@click.option(
    "--space", "space_name", metavar="NAME", help="Go on in this space, or name a new one"
)
@click.option(
    "--dtype",
    type=click.Choice(list(DTYPES)),
    help="How the numbers are stored  [default: float16]",
)
@click.option("--device", default="auto", show_default=True, help="cpu, cuda or mps")
@click.option(
    "--precision",
    type=click.Choice(["auto", "float32", "bfloat16", "int8"]),
    default="auto",
    show_default=True,
    help="How the network computes; auto is bfloat16 or int8 where the processor is quick at it",
)
@click.option("--batch-size", type=click.IntRange(1), default=32, show_default=True)
@click.option(
    "--workers",
    type=click.IntRange(1),
    help="Decoders at a time  [default: one a processor]",
)
@click.option(
    "--thumbnail-size",
    type=click.IntRange(16, 2048),
    help="Longer side of thumbnails; makes those of another size anew  [default: 256]",
)
@click.option(
    "--max-pixels",
    type=click.IntRange(1),
    default=LIMITS.pixels,
    show_default=True,
    help="Refuse larger pictures",
)
@click.option(
    "--gps",
    is_flag=True,
    help="Store where pictures were taken, also of those embedded before; off, for privacy",
)
@click.option(
    "--exclude",
    metavar="PATTERN",
    multiple=True,
    help="Leave out files and folders of this name, or path below IMAGES, such as '*-150x150.jpg'; "
    "may be given more than once",
)
@click.option("--no-follow", is_flag=True, help="Leave out links in the folders; else followed")
@click.option("--prune", is_flag=True, help="Remove images below IMAGES whose file is gone")
@click.option(
    "--prune-missing-folders",
    is_flag=True,
    help="The same also where nothing is left of a whole folder; without it, such a folder counts "
    "as away",
)
@click.option(
    "--rehash",
    is_flag=True,
    help="Read all pictures again; else one whose size and time are unchanged counts as unchanged",
)
@click.option("--retry-failed", is_flag=True, help="Try again files that failed and are unchanged")
@click.option("--quiet", is_flag=True, help="No progress bar and no summary")
@reports_errors
def embed(database, images, table, column, space_name, quiet, **options):
    """Embed picture files and folders into the SQLite database DB.

    Folders are searched recursively; the database is made where there is none. Run it again after
    pictures were added, changed, renamed or removed: it does only what is new. Without model
    options it goes on in the default space.

    With --table and --column, the pictures are those of a table that is there already. With --ray
    they are embedded on a cluster, into shards: 'embed --ray --help' has the options for that.

    Exit code: 0 when something was embedded or there was nothing to do, 1 when nothing could be
    embedded, 2 for wrong usage, 130 after Ctrl-C.
    """
    from ..collection import Collection

    _check_what(images, table, column, any(options[name] for name in OF_FILES))
    is_new = not os.path.exists(database)  # False too where it may not be looked for
    collection = Collection(database, space_name, interface=Terminal(database, quiet))
    with sentences(exit_code=2):
        collection.check_options(**options)
    if table:
        summary = collection.embed_table(table, column, **options)
    else:
        summary = collection.embed(*images, **options)
    if not quiet:
        click.echo(printable(report.embed_report(summary, database)))
        if summary.left_out:
            click.echo(printable(report.left_out_report(summary)))
        if summary.default_space != summary.space:
            text = report.another_default(summary.default_space, summary.space, database)
            click.echo(printable(text))
        # Once, to somebody who reads it.
        if is_new and images and summary.embedded and sys.stdout.isatty():
            click.echo(printable(report.large_pictures(images, database)))
    if summary.failed:
        click.echo(
            f"{count_of_images(summary.failed)} could not be embedded; the reasons are in the "
            "table imgsim_failures.",
            err=True,
        )
    if summary.ended_before:
        click.echo(printable(report.ended_report(summary)), err=True)
    if summary.kept:
        click.echo(printable(report.kept_report(summary)), err=True)
    if summary.without_key:
        click.echo(
            f"{count_of_images(summary.without_key)} passed over: the row's key is null.", err=True
        )
    sys.exit(130 if summary.interrupted else 1 if summary.nothing_worked else 0)


def _check_what(images: tuple, table: str | None, column: str | None, of_files: bool) -> None:
    """Raises UsageError unless it is clear which pictures are meant."""
    if bool(images) == bool(table):
        raise click.UsageError(
            "Say which pictures: files and folders, or --table T --column C for those of a table"
        )
    if bool(table) != bool(column):
        raise click.UsageError("--table and --column go together")
    if table and of_files:
        names = [f"--{name.replace('_', '-')}" for name in OF_FILES]
        raise click.UsageError(f"{listed(names)} are for files, not for the rows of a table")


@imgsim.command()
@database_argument
@click.argument("query")
@click.option("-k", type=click.IntRange(1), default=10, show_default=True, help="How many")
@space_option
@table_option
@click.option("--level-weights", help="Such as pool5=1,pool3=.5")
@click.option("--rerank", is_flag=True, help="Those with the same neighbours as QUERY come first")
@click.option("--crop", help="Only this part of QUERY: x0,y0,x1,y1, from 0 to 1")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array")
@reports_errors
def similar(database, query, k, space_name, table, level_weights, rerank, crop, as_json):
    """Show the images most like QUERY: a picture file, or the id of an image.

    A file that exists is taken as a file, whether or not it is in the database. A line says from
    where on the images are only faintly alike. --crop .5,0,1,.25 searches by the upper half of the
    right half: its left, top, right and bottom edge, as shares of the upright picture's sides.
    """
    from ..collection import Collection
    from ..ingest.part import parse_box
    from ..search.ranking import parse_level_weights

    weights = parse_level_weights(level_weights) if level_weights else None
    part = parse_box(crop) if crop else None
    collection = Collection(database, space_name, table)
    matches = collection.similar(query, k, weights, rerank, part)
    if as_json:
        click.echo(json.dumps([vars(match) for match in matches], indent=2, ensure_ascii=False))
    else:
        click.echo(report.matches_table(matches))


@imgsim.command("eval")
@database_argument
@click.option("--label", metavar="COLUMN", help="The column that says what a picture shows")
@click.option("--label-from-folder", is_flag=True, help="The folder of a picture says it")
@space_option
@table_option
@click.option("--sweep", is_flag=True, help="Try other level weights, with centring and without")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object")
@reports_errors
def evaluate_space(database, label, label_from_folder, space_name, table, sweep, as_json):
    """Measure how well a space finds pictures with the same label.

    Each image asks for the others of its label (leave one out); an image without a label is left
    out. Beside it: what colours alone would find, and a random order. 0 is worst, 1 is best.
    --sweep asks 2,000 images at most, chosen at random.

    \b
    mAP       mean average precision: 1 where all others of the label come first
    P@1, P@5  how many of the first 1 and 5 have the label
    R@10      how many of those with the label are among the first 10
    nDCG@10   the first 10, where earlier counts more
    """
    from ..collection import Collection

    if (label is not None) == label_from_folder:
        raise click.UsageError("Say where labels are: --label COLUMN or --label-from-folder")
    terminal = Terminal(database, quiet=as_json)
    with Collection(database, space_name, table, terminal).evaluation(label) as evaluation:
        with terminal.progress(evaluation.work(sweep), " rankings") as advance:
            results = evaluation.results(advance)
            swept = evaluation.sweep(advance) if sweep else []
        if as_json:
            click.echo(json.dumps(report.evaluation_json(evaluation, results, swept), indent=2,
                                  ensure_ascii=False))  # fmt: skip
        else:
            click.echo(report.evaluation_report(evaluation, results, swept))


@imgsim.command()
@database_argument
@click.option(
    "--sample",
    type=click.IntRange(0),
    default=100,
    show_default=True,
    help="How many images of each space to decode and embed again",
)
@reports_errors
def verify(database, sample):
    """Check a database: is the file whole, do its parts belong together?

    A sample of the images is embedded again and compared with what is stored: another processor,
    precision or version of a library may give slightly other numbers.

    Exit code: 0 when nothing is wrong, 1 otherwise. Each problem is a sentence that says how to
    mend it.
    """
    from ..collection import Collection

    found = Collection(database, interface=Terminal(database, quiet=False)).verify(sample)
    click.echo(printable(report.verify_report(found, database)))
    sys.exit(1 if found.problems else 0)


@imgsim.command()
@click.argument("names", metavar="[NAME]...", nargs=-1)
@reports_errors
def models(names):
    """List the networks that can be used, their levels and licences; or say it of NAME.

    NAME may also be a network of timm, such as timm:resnet50.
    """
    from ..models import registry

    for model in [registry.get(name) for name in names] or registry.models().values():
        is_default = model.description.name == registry.DEFAULT
        missing = model.missing_package() or model.unavailable()
        click.echo(report.model_report(model, is_default, missing))
    if not names:
        click.echo(
            "timm:NAME: nearly any network of timm (https://huggingface.co/timm); 'models "
            "timm:resnet50' says the same of one"
        )


@imgsim.command()
@database_argument
@click.option("--default", metavar="NAME", help="Make this the default space of its table")
@reports_errors
def spaces(database, default):
    """List the spaces of a database; choose the default one."""
    from ..collection import Collection

    collection = Collection(database, interface=Terminal(database, quiet=False))
    if default is not None:
        collection.set_default(default)
    counts = collection.counts()
    for name, space in collection.spaces().items():
        click.echo(report.space_report(space, counts[name]))


@imgsim.command()
@database_argument
@click.argument("space")
@reports_errors
def drop(database, space):
    """Remove SPACE and its vectors; images and other spaces stay."""
    from ..collection import Collection

    count = Collection(database, interface=Terminal(database, quiet=False)).drop(space)
    text = (
        f"Removed the space {space!r} with {count:,} vectors; 'sqlite-utils vacuum {database}' "
        "gives the disk space back."
    )
    click.echo(printable(text))
