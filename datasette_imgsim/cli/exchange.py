"""The commands that bring a space into other programs' files or engines, and take one from them."""

from __future__ import annotations

import os
import sys

import click

from ..search.engine import DEFAULT
from . import report
from .group import (
    database_argument,
    ends_at_ctrl_c,
    imgsim,
    reports_errors,
    space_option,
    table_option,
)
from .report import printable
from .terminal import Terminal


@imgsim.command("export")
@database_argument
@click.argument("uri")
@space_option
@table_option
@reports_errors
def export_space(database, uri, space_name, table):
    """Write the images of a space into shards: Parquet files with vectors, thumbnails and facts.

    URI is a folder without shards, or a file NAME.parquet. NAME.npy gets the vectors alone, as an
    array of numpy, and NAME.txt the paths of their images, a line each. It may be anywhere that
    fsspec can write to, such as s3://bucket/folder (with the package s3fs).

    Exit code: 0 when all was written, 1 when that failed, 130 after Ctrl-C.
    """
    from ..collection import Collection

    collection = Collection(database, space_name, table, Terminal(database, quiet=False))
    with ends_at_ctrl_c(f"Stopped; what {uri} has is not all: remove it, or name another folder."):
        done = collection.export(uri)
    click.echo(printable(report.export_report(done, uri)))


@imgsim.command("push")
@database_argument
@click.argument("uri")
@space_option
@table_option
@click.option(
    "--index", metavar="KIND", help="ivf_sq8, hnsw or diskann  [default: as it is, else ivf_sq8]"
)
@click.option("--engine", default=DEFAULT, show_default=True, help="An engine of another package")
@reports_errors
def push_space(database, uri, space_name, table, index, engine):
    """Bring the vectors of a space into Milvus, a database for very many vectors.

    URI is the address of a server, such as http://localhost:19530, or NAME.milvus.db for Milvus
    Lite, which needs no server. A token for the server is read from the environment variable
    MILVUS_TOKEN. Servers of the database then search there, if their configuration names the
    engine.

    Run it again after a change: only what is new, changed or gone is brought. Where the centre of
    the space or the index has changed, all is brought anew, and servers use the old version until
    the new one is complete.

    Exit code: 0 when all is there, 1 when that failed, 2 for wrong usage, 130 after Ctrl-C.
    """
    from ..collection import Collection

    collection = Collection(database, space_name, table, Terminal(database, quiet=False))
    with ends_at_ctrl_c("Stopped; the same command goes on from here or begins again."):
        done = collection.push(uri, index, os.environ.get("MILVUS_TOKEN"), engine)
    click.echo(printable(report.push_report(done, uri)))


@imgsim.command("import")
@database_argument
@click.argument("uri")
@click.option("--no-vectors", is_flag=True, help="Take rows, facts and thumbnails only")
@click.option(
    "--paths", metavar="FILE", help="URI is NAME.npy: a file with the path of an image a line"
)
@click.option(
    "--space", "space_name", metavar="NAME", help="The space; needed for vectors of other programs"
)
@reports_errors
def import_space(database, uri, no_vectors, paths, space_name):
    """Take images with their vectors from shards, as 'export' writes them, into the table images.

    URI is a shard, or a folder with shards, anywhere that fsspec can read. The database is made
    where there is none. Run it again after shards were added: what is there already stays as it is.

    Vectors that another program has made come as Parquet files with the columns path and vector,
    or as NAME.npy with --paths; the space for them is called --space.

    Exit code: 0 when something was taken or all was there, 1 when nothing could be taken, 2 for
    wrong usage, 130 after Ctrl-C.
    """
    from ..collection import Collection

    if bool(paths) != uri.endswith(".npy"):
        raise click.UsageError("--paths FILE and a file NAME.npy go together")
    if paths and not space_name:
        raise click.UsageError("Name a space for these vectors with --space")
    if paths and no_vectors:
        raise click.UsageError("NAME.npy holds nothing but vectors: leave out --no-vectors")
    collection = Collection(database, space_name, interface=Terminal(database, quiet=False))
    with ends_at_ctrl_c("Stopped; the same command goes on from here."):
        if paths:
            done = collection.import_array(uri, paths)
        else:
            done = collection.import_shards(uri, vectors=not no_vectors)
    click.echo(printable(report.import_report(done)))
    if done.unknown:
        click.echo(report.unknown_report(done), err=True)
    sys.exit(1 if done.nothing_worked else 0)
