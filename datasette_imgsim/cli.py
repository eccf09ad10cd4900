"""The commands: parse, call, print."""

from __future__ import annotations

import functools
import json
import os
import shlex
import sys
from contextlib import closing, contextmanager
from pathlib import Path

import click

from .db import schema
from .db.connect import errors_named, open_reader, open_writer
from .db.spaces import (
    DTYPES,
    all_spaces,
    choose_space,
    count_vectors,
    drop_space,
    set_default_space,
)
from .db.tables import SourceTable, column_names
from .errors import ImgsimError
from .models.pooling import POOLINGS

MODEL_OPTIONS = (
    "model", "levels", "pooling", "weights", "preprocess", "resize", "size", "dtype",
)  # fmt: skip
SWEPT_SHOWN = 12

database_argument = click.argument(
    "database", metavar="DB", type=click.Path(dir_okay=False, path_type=Path)
)
space_option = click.option("--space", "space_name", metavar="NAME", help="Which space to use")


@contextmanager
def sentences(exit_code: int = 1):
    """Ends the command with the text of an ImgsimError."""
    try:
        yield
    except ImgsimError as ex:
        error = click.ClickException(_printable(str(ex)))
        error.exit_code = exit_code
        raise error from ex


def _printable(text: str) -> str:
    """Names of files need not be UTF-8, and what is printed must be."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def speaks(function):
    """A command whose errors are sentences."""

    @functools.wraps(function)
    def inner(*args, **kwargs):
        with sentences():
            return function(*args, **kwargs)

    return inner


@click.group()
def imgsim():
    """Find similar pictures: embed them with a truncated VGG and rank them by likeness."""


@imgsim.command()
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
@click.option("--size", type=click.IntRange(1, 4096), help="Side of that square in pixels")
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
    "--workers", type=click.IntRange(1), help="Threads that decode  [default: one a processor]"
)
@click.option("--thumbnail-size", type=click.IntRange(16, 2048), default=256, show_default=True)
@click.option(
    "--max-pixels",
    type=click.IntRange(1),
    default=250_000_000,
    show_default=True,
    help="Refuse larger pictures",
)
@click.option("--gps", is_flag=True, help="Store where pictures were taken; off, for privacy")
@click.option("--prune", is_flag=True, help="Remove images below IMAGES whose file is gone")
@click.option("--retry-failed", is_flag=True, help="Try again files that failed and are unchanged")
@click.option("--quiet", is_flag=True, help="No progress bar and no summary")
@speaks
def embed(
    database, images, table, column, space_name, device, precision, quiet, retry_failed, prune,
    **options,
):  # fmt: skip
    """Embed picture files and folders into the SQLite database DB.

    Folders are searched recursively; the database is made where there is none. Run it again after
    pictures were added, changed, renamed or removed: it does only what is new. Without model
    options it goes on in the default space.

    With --table and --column, the pictures are those of a table that is there already.

    Exit code: 0 when something was embedded or there was nothing to do, 1 when nothing could be
    embedded, 2 for wrong usage, 130 after Ctrl-C.
    """
    from .ingest import pipeline, settings
    from .search import calibration

    _check_what(images, table, column, prune or options["gps"])
    model_options = {name: options.pop(name) for name in MODEL_OPTIONS}
    wanted = None
    if any(value is not None for value in model_options.values()):
        with sentences(exit_code=2):
            wanted = settings.from_options(**model_options)
    run = (wanted, space_name, pipeline.Choices(**options), Terminal(database, quiet))
    how = (device, precision, retry_failed)
    if table:
        summary = pipeline.embed_table(database, table, column, *run, *how)
    else:
        summary = pipeline.embed_folder(database, list(images), *run, *how, prune)
    usual = None
    if summary.space:
        with closing(_writer(database)) as conn, errors_named(database):
            space = choose_space(conn, summary.space)
            calibration.renew(conn, space)
            usual = choose_space(conn, table=space.source_table)
    if not quiet:
        click.echo(_printable(_report(summary, database)))
        if usual and usual.name != summary.space:
            click.echo(_printable(_another_default(usual.name, summary.space, database)))
    if summary.failed:
        click.echo(
            f"{_images(summary.failed)} could not be embedded; the reasons are in the table "
            "imgsim_failures.",
            err=True,
        )
    if summary.without_key:
        click.echo(f"{_images(summary.without_key)} passed over: the row's key is null.", err=True)
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
        raise click.UsageError("--prune and --gps are for files, not for the rows of a table")


class Terminal:
    """Tells the user of a run what happens, on standard error."""

    def __init__(self, database: Path, quiet: bool):
        self.database, self.quiet = database, quiet
        self.write = click.echo

    @contextmanager
    def progress(self, total: int, unit: str = " images", what: str | None = None):
        if not total or not self.is_watched():
            yield lambda count: None
            return
        try:
            from tqdm import tqdm
        except ImportError:  # comes with what a network needs, and that will be missed by name
            yield lambda count: None
            return
        with tqdm(total=total, unit=unit, desc=what, dynamic_ncols=True) as bar:
            self.write = bar.write  # above the bar
            yield bar.update

    def waiting(self) -> None:
        _say_waiting(self.database)

    def is_watched(self) -> bool:
        return sys.stderr.isatty() and not self.quiet

    def forecast(self, forecast) -> None:
        text = (
            f"About {_duration(forecast.seconds)} for {_images(forecast.images)} with "
            f"{forecast.model}"
        )
        if forecast.faster:
            text += f"; --model {forecast.faster} takes about {_duration(forecast.faster_seconds)}"
        self.write(f"{text}.", file=sys.stderr)


def _say_waiting(database: Path) -> None:
    text = f"Waiting for another program that has {database} locked …"
    click.echo(_printable(text), err=True)


def _duration(seconds: float) -> str:
    minutes = max(1, round(seconds / 60))
    if minutes < 100:
        return "1 minute" if minutes == 1 else f"{minutes} minutes"
    return f"{round(minutes / 60)} hours"


def _report(summary, database: Path) -> str:
    parts = [f"{summary.embedded:,} embedded", f"{summary.unchanged:,} unchanged"]
    for count, what in (
        (summary.renamed, "renamed"),
        (summary.copied, "copied"),
        (summary.pruned, "pruned"),
        (summary.failed, "failed"),
    ):
        parts.append(f"{count:,} {what}")
    if summary.failed_before:
        parts.append(f"{summary.failed_before:,} failed before (--retry-failed tries them again)")
    text = ", ".join(parts)
    if summary.embedded:
        text += f"; {summary.embedded / summary.seconds:.1f} images/s"
    if database.exists():
        text += f"; {database} is {database.stat().st_size / 1e6:.1f} MB"
    else:
        text = "No pictures found; nothing was written"
    if summary.interrupted:
        text = f"Stopped; the same command goes on from here. So far: {text}"
    return text + "."


def _another_default(usual: str, name: str, database: Path) -> str:
    words = ["datasette", "imgsim", "spaces", str(database), "--default", name]
    return (
        f"The default space is still {usual!r}; '{shlex.join(words)}' makes this one the default."
    )


def _images(count: int) -> str:
    return "1 image" if count == 1 else f"{count:,} images"


@imgsim.command()
@database_argument
@click.argument("query")
@click.option("-k", type=click.IntRange(1), default=10, show_default=True, help="How many")
@space_option
@click.option("--level-weights", help="Such as pool5=1,pool3=.5")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array")
@speaks
def similar(database, query, k, space_name, level_weights, as_json):
    """Show the images most like QUERY: a picture file, or the id of an image.

    A file that exists is taken as a file, whether or not it is in the database.
    """
    from .search import indexes, ranking, results
    from .search.calibration import shortened

    with closing(open_reader(database)) as conn, errors_named(database):
        space = choose_space(conn, space_name)
        given = ranking.parse_level_weights(level_weights) if level_weights else None
        weights = ranking.weights(space, given)
        index = indexes.load(conn, space)
        if os.path.isfile(query):
            vector = _embed_file(space, database, query)
            wanted = ranking.query_of_vector(index, vector, weights)
        else:
            id = index.table.find(conn, query)
            row = None if id is None else index.row(id)
            if row is None:
                raise ImgsimError(f"{query} is neither a file nor the id of an image in {database}")
            wanted = ranking.query_of_image(conn, index, row, weights)
        hits = results.best(conn, index, wanted, k)
        names = _names(conn, index.table, [hit.id for hit in hits])
    rows = [{**vars(hit), "path": names.get(hit.id)} for hit in hits]
    if as_json:
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    has_percentiles = bool(rows) and rows[0]["percentile"] is not None
    if has_percentiles:
        click.echo(f"{'score':>7}  {'closer than':16}  {'id':>6}  path")
    for row in rows:
        share = f"{shortened(row['percentile']):>5} % of pairs  " if has_percentiles else ""
        click.echo(f"{row['score']:7.3f}  {share}{row['id']:>6}  {row['path'] or ''}".rstrip())


def _embed_file(space, database: Path, query: str):
    from .ingest import decode, pipeline

    base = database.absolute().parent
    try:
        data = Path(query).read_bytes()
        return pipeline.embed_picture(space, base, data, decode.MAX_PIXELS).vector
    except (OSError, decode.NotAPicture, decode.TooLarge) as ex:
        raise ImgsimError(f"{query}: {ex}") from ex


def _names(conn, table: SourceTable, ids: list) -> dict:
    """What to call images, by id: their path, where the table has one."""
    if "path" not in column_names(conn, table.name):
        return {}
    return {id: path for id, path in table.values(conn, "path", ids) if isinstance(path, str)}


@imgsim.command("eval")
@database_argument
@click.option("--label", metavar="COLUMN", help="The column that says what a picture shows")
@click.option("--label-from-folder", is_flag=True, help="The folder of a picture says it")
@space_option
@click.option("--sweep", is_flag=True, help="Try other level weights, with centring and without")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object")
@speaks
def evaluate_space(database, label, label_from_folder, space_name, sweep, as_json):
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
    from . import evaluate

    if (label is not None) == label_from_folder:
        raise click.UsageError("Say where labels are: --label COLUMN or --label-from-folder")
    with closing(open_reader(database)) as conn, errors_named(database):
        space = choose_space(conn, space_name)
        labels = evaluate.labels_of(conn, space, label)
        evaluation = evaluate.Evaluation(conn, space, labels)
        with Terminal(database, as_json).progress(evaluation.work(sweep), " rankings") as progress:
            results = evaluation.results(progress)
            swept = evaluation.sweep(progress) if sweep else []
    if as_json:
        report = {"space": space.name, **evaluation.sizes, "results": [*map(vars, results)]}
        if sweep:
            report["sweep_queries"] = len(evaluation.swept.queries)
            report["sweep"] = [*map(vars, swept)]
        click.echo(json.dumps(report, indent=2, ensure_ascii=False))
        return
    click.echo(_sizes(space.name, evaluation.sizes))
    click.echo(_table("mean over queries", results, "over_queries"))
    click.echo(_table("mean over labels", results, "over_classes"))
    if sweep:
        if len(evaluation.swept.queries) < len(evaluation.task.queries):
            click.echo(
                f"\nBelow: {len(evaluation.swept.queries):,} of the queries, chosen at random"
            )
        for is_centred, how in ((True, "with centring"), (False, "without centring")):
            some = [result for result in swept if result.centred is is_centred]
            if not some:
                continue
            click.echo(_table(f"level weights, {how}", some[:SWEPT_SHOWN], "over_queries"))
            if len(some) > SWEPT_SHOWN:
                click.echo(f"  … and {len(some) - SWEPT_SHOWN} more, which --json shows")


def _sizes(name: str, sizes: dict) -> str:
    left_out, damaged = sizes["without_label"], sizes["damaged"]
    return (
        f"{name}: {_images(sizes['images'])} of {sizes['classes']:,} labels, "
        f"{sizes['queries']:,} queries"
        + (f"; {_images(left_out)} without a label left out" if left_out else "")
        + (f"; {_images(damaged)} left out: the vector is damaged" if damaged else "")
    )


def _table(title: str, results: list, means: str) -> str:
    metrics = list(getattr(results[0], means))
    width = max(len(title), *(len(result.name) for result in results))
    lines = [f"\n{title:{width}}" + "".join(f"  {metric:>7}" for metric in metrics)]
    for result in results:
        values = getattr(result, means)
        lines.append(f"{result.name:{width}}" + "".join(f"  {values[m]:7.3f}" for m in metrics))
    return "\n".join(lines)


@imgsim.command("map")
@database_argument
@space_option
@click.option("--refit", is_flag=True, help="Lay all images out anew, starting from the old map")
@click.option(
    "--png",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="Also draw the whole map into this file",
)
@click.option(
    "--size",
    type=click.IntRange(64, 10_000),
    default=4000,
    show_default=True,
    help="Side of that picture in pixels",
)
@speaks
def map_space(database, space_name, refit, png, size):
    """Lay the images of a space out as a map, like ones side by side.

    Run it again after images were added: it places them among those they are like and moves
    nothing else. --refit gives all of them the places they would have now; the map keeps its shape.

    Exit code: 0 when the map is made or was up to date, 1 when it could not be made, 130 after
    Ctrl-C, which leaves the map as it was.
    """
    from .atlas import layout, poster
    from .search import calibration

    terminal = Terminal(database, quiet=False)
    with closing(_writer(database)) as conn, errors_named(database):
        space = choose_space(conn, space_name)
        try:
            summary = layout.update(conn, space, refit, terminal.progress)
        except KeyboardInterrupt:
            click.echo(_printable(f"Stopped; the map in {database} is as it was."), err=True)
            sys.exit(130)
        calibration.renew(conn, choose_space(conn, space.name))
        click.echo(_printable(_map_report(summary, database, space_name)))
        if summary.damaged:
            click.echo(f"{_images(summary.damaged)} left out: the vector is damaged.", err=True)
        if png:
            shown = poster.save(conn, space, png, size)
            click.echo(_printable(f"{png} shows {shown:,} of {_images(summary.total)}."))


def _map_report(summary, database: Path, space_name: str | None) -> str:
    if summary.laid_out:
        return f"{_images(summary.laid_out)} laid out."
    if summary.placed:
        text = f"{_images(summary.placed)} placed, "
    else:
        text = "No new images: the map is as it was, "
    text += f"{summary.interpolated:,} of {summary.total:,} interpolated"
    if not summary.interpolated:
        return f"{text}."
    option = ["--space", space_name] if space_name else []
    command = shlex.join(["datasette", "imgsim", "map", str(database), *option, "--refit"])
    return f"{text}; '{command}' lays all of them out anew."


@imgsim.command()
@click.argument("names", metavar="[NAME]...", nargs=-1)
@speaks
def models(names):
    """List the networks that can be used, their levels and licences; or say it of NAME.

    NAME may also be a network of timm, such as timm:resnet50.
    """
    from .models import registry

    found = [registry.get(name) for name in names] or registry.models().values()
    for model in found:
        click.echo(_about(model, model.description.name == registry.DEFAULT))
    if not names:
        click.echo(
            "timm:NAME: nearly any network of timm (https://huggingface.co/timm); 'models "
            "timm:resnet50' says the same of one"
        )


def _about(model, is_default: bool) -> str:
    from .models import registry

    about = model.description
    usual = " (the default)" if is_default else ""
    version = f", version {about.version}" if about.version else ""
    levels = ", ".join(f"{level} {channels}" for level, channels in about.channels.items())
    missing = registry.missing_package(model) or model.unavailable()
    return (
        f"{about.name}{usual}: {about.about}{version}\n"
        f"    levels and dimensions: {levels}\n"
        f"    by default: {','.join(about.default_levels)}, {about.default_pooling}, "
        f"{about.size} x {about.size} pixels\n"
        f"    licence of the weights: {about.licence or 'unknown'}\n"
        f"    weights: {missing or 'here'}"
    )


@imgsim.command()
@database_argument
@click.option("--default", metavar="NAME", help="Make this the default space of its table")
@speaks
def spaces(database, default):
    """List the spaces of a database; choose the default one."""
    if default is not None:
        _set_default(database, default)
    with closing(_open_upgraded(database)) as conn, errors_named(database):
        counts = count_vectors(conn)
        for space in all_spaces(conn):
            usual = " (the default)" if space.is_default else ""
            levels = ",".join(space.levels)
            click.echo(
                f"{space.name}{usual}: {counts.get(space.id, 0):,} images of "
                f"{space.source_table!r}; {space.model}, {levels}, {space.pooling}, "
                f"{space.preprocess['size']} px {space.preprocess['resize']}; "
                f"{space.dimensions:,} x {space.dtype}"
            )


def _set_default(database: Path, name: str) -> None:
    with closing(_writer(database)) as conn, errors_named(database):
        set_default_space(conn, choose_space(conn, name))


def _writer(database: Path):
    return open_writer(database, lambda: _say_waiting(database))


def _open_upgraded(database: Path):
    """A connection to an existing database; an older one is brought up to date."""
    try:
        return open_reader(database)
    except schema.OlderDatabase:
        return _writer(database)


@imgsim.command()
@database_argument
@click.argument("space")
@speaks
def drop(database, space):
    """Remove SPACE and its vectors; images and other spaces stay."""
    with closing(_writer(database)) as conn, errors_named(database):
        chosen = choose_space(conn, space)
        count = count_vectors(conn).get(chosen.id, 0)
        drop_space(conn, chosen)
    text = (
        f"Removed the space {space!r} with {count:,} vectors; 'sqlite-utils vacuum {database}' "
        "gives the disk space back."
    )
    click.echo(_printable(text))
