"""`embed --ray`: embeds on a Ray cluster, into shards."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import click

from . import report
from .group import ends_at_ctrl_c, reports_errors, sentences
from .report import images as count_of_images
from .report import printable
from .terminal import Terminal

ADDRESS = re.compile(r"auto|local|ray://.+|[\w.-]+:\d+")
NOT_ON_RAY = (
    "database", "images", "table", "column", "space_name",
    "prune", "prune_missing_folders", "rehash", "retry_failed",
)  # fmt: skip


class Embed(click.Command):
    """The command `embed`, of which --ray makes another one."""

    def make_context(self, info_name, args, parent=None, **extra):
        if any(arg == "--ray" or arg.startswith("--ray=") for arg in args):
            return _on_ray(self).make_context(info_name, args, parent, **extra)
        return super().make_context(info_name, args, parent, **extra)


def _on_ray(embed: click.Command) -> click.Command:
    """The command with those options of `embed` that mean something on a cluster."""
    shared = [param for param in embed.params if param.name not in NOT_ON_RAY]
    own = [
        click.Argument(["sources"], nargs=-1, metavar="SOURCE..."),
        click.Option(
            ["--ray", "address"],
            is_flag=False,
            flag_value="local",
            metavar="[ADDRESS]",
            help="A cluster: auto or HOST:PORT  [default: one on this machine]",
        ),
        click.Option(["--out"], required=True, metavar="URI", help="The folder of the shards"),
    ]
    return click.Command(
        "embed", params=[*own, *shared], callback=reports_errors(embed_on_ray), help=HELP
    )


HELP = """Embed pictures on a Ray cluster, into shards in the folder URI.

A SOURCE is a file, a folder, a URI such as s3://bucket/photos/, a tar file of pictures
(WebDataset), a Parquet file with a column of pictures, or a .txt file that lists such. All workers
must be able to read it, and to write to URI.

Run it again after it was ended, or after pictures were added or changed: only their shards are
written anew. 'datasette imgsim import DB URI' then makes a database of the shards.

--workers is the number of processors of a worker. Exit code: 0 when something was embedded or there
was nothing to do, 1 when nothing could be embedded, 2 for wrong usage, 130 after Ctrl-C.
"""


def embed_on_ray(address, sources, out, quiet, **options):
    from ..ingest import ray_runner
    from ..ingest.settings import parsed

    if not ADDRESS.fullmatch(address):  # --ray stands before the first source
        address, sources = "local", (address, *sources)
    if not sources:
        raise click.UsageError("Say which pictures: files, folders or URIs")
    with sentences(exit_code=2):
        settings, run_options = parsed(options)
    terminal = Terminal(Path(out), quiet)
    with ends_at_ctrl_c("Stopped; the same command goes on from here."):
        summary = ray_runner.embed(sources, out, settings, run_options, address, terminal.progress)
    if not quiet:
        click.echo(printable(report.ray_report(summary, out)))
        if summary.left_out:
            click.echo(printable(report.left_out_report(summary)))
    if summary.failed:
        click.echo(
            f"{count_of_images(summary.failed)} could not be embedded; the reasons are in the "
            "shards.",
            err=True,
        )
    sys.exit(1 if summary.nothing_worked else 0)
