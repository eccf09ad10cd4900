"""The commands about a whole collection: its map, who is near to whom, and its groups."""

from __future__ import annotations

import json
from pathlib import Path

import click

from ..limits import LIMITS
from . import report
from .group import (
    database_argument,
    ends_at_ctrl_c,
    imgsim,
    reports_errors,
    space_option,
    table_option,
)
from .report import images as count_of_images
from .report import printable
from .terminal import Terminal


@imgsim.command("map")
@database_argument
@space_option
@table_option
@click.option("--refit", is_flag=True, help="Lay all images out anew, starting from the old map")
@click.option(
    "--png",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="Also draw the whole map into this file",
)
@click.option("--wall", is_flag=True, help="Draw the wall there: pictures side by side, no gaps")
@click.option(
    "--size",
    type=click.IntRange(64, 10_000),
    default=4000,
    show_default=True,
    help="Side of that picture in pixels",
)
@reports_errors
def map_space(database, space_name, table, refit, png, wall, size):
    """Lay the images of a space out as a map, like ones side by side.

    Run it again after images were added: it places them among those they are like and moves
    nothing else. --refit gives all of them the places they would have now; the map keeps its shape.
    Then it brings the neighbours and the groups of up to 100,000 images up to date, as 'neighbours'
    and 'groups' do.

    Exit code: 0 when the map is made or was up to date, 1 when it could not be made, 130 after
    Ctrl-C, which leaves the old map or the new one.
    """
    from ..collection import Collection

    if wall and not png:
        raise click.UsageError("--wall is about the picture of the map: name it with --png FILE")
    collection = Collection(database, space_name, table, Terminal(database, quiet=False))
    with ends_at_ctrl_c(f"Stopped; the map in {database} is whole: the old one, or the new."):
        summary = collection.map(refit)
    click.echo(printable(report.map_report(summary, database, space_name)))
    tell_damaged(summary.damaged)
    if png:
        shown = collection.draw_map(png, size, wall)
        click.echo(printable(f"{png} shows {shown:,} of {count_of_images(summary.total)}."))
    if summary.total <= LIMITS.compared_exactly:
        find_neighbours(collection, None)
        click.echo(printable(report.groups_line(find_groups(collection))))


@imgsim.command("neighbours")
@database_argument
@click.option(
    "-k",
    type=click.IntRange(1, LIMITS.most_neighbours),
    help="How many of each image  [default: as many as before, at first 20]",
)
@space_option
@table_option
@reports_errors
def store_neighbours(database, k, space_name, table):
    """Store which images each image is most like, in the table imgsim_neighbours.

    Run it again after images were added, changed or removed: only what that changes is computed.
    'map' does it, too, for up to 100,000 images.

    Exit code: 0 when the neighbours are stored or were up to date, 1 when that failed, 130 after
    Ctrl-C.
    """
    from ..collection import Collection

    collection = Collection(database, space_name, table, Terminal(database, quiet=False))
    summary = find_neighbours(collection, k)
    click.echo(report.neighbours_report(summary))
    tell_damaged(summary.damaged)


@imgsim.command("path")
@database_argument
@click.argument("a")
@click.argument("b")
@space_option
@table_option
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array")
@reports_errors
def walk(database, a, b, space_name, table, as_json):
    """Walk from image A to image B, both given by their ids, from neighbour to neighbour.

    Prints the images on the shortest way, each with its score with the one before. It needs what
    'neighbours' stores.
    """
    from ..collection import Collection

    steps = Collection(database, space_name, table, Terminal(database, as_json)).path(a, b)
    if as_json:
        click.echo(json.dumps([vars(step) for step in steps], indent=2, ensure_ascii=False))
    elif steps:
        click.echo(report.path_table(steps))
    else:
        click.echo(printable(f"No chain of neighbours leads from {a} to {b}."))


@imgsim.command("groups")
@database_argument
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object")
@space_option
@table_option
@reports_errors
def store_groups(database, as_json, space_name, table):
    """Group the images that belong together, and name each group.

    A group is stored with its images in the tables imgsim_groups and imgsim_group_members. Images
    that belong nowhere are in none. The name comes from words in folders, file names and other
    texts of its rows, else from colours and shape.

    Run it again after images were added, changed or removed: new images join the groups or form new
    ones, and groups that are still there keep their names. 'map' does it, too, for up to 100,000
    images.

    Exit code: 0 when the groups are stored or were up to date, 1 when that failed, 130 after
    Ctrl-C.
    """
    from ..collection import Collection

    found = find_groups(Collection(database, space_name, table, Terminal(database, quiet=False)))
    if as_json:
        text = json.dumps(report.groups_json(found), indent=2, ensure_ascii=False)
    else:
        text = report.groups_report(found)
    click.echo(printable(text))


def find_groups(collection):
    """Brings the groups up to date and gives them; Ctrl-C ends the command."""
    with ends_at_ctrl_c(f"Stopped; the groups in {collection.database} are as they were."):
        return collection.groups()


def find_neighbours(collection, k: int | None):
    """Brings the neighbours up to date and gives what was done; Ctrl-C ends the command."""
    done = f"Stopped; each list in {collection.database} is as it was, or done: run it again."
    with ends_at_ctrl_c(done):
        return collection.neighbours(k)


def tell_damaged(count: int) -> None:
    if count:
        click.echo(f"{count_of_images(count)} left out: the vector is damaged.", err=True)
