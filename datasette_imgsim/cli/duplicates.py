"""The command `duplicates`: what it prints, and what people decide about it."""

from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import ImgsimError
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

if TYPE_CHECKING:
    from ..collection import Duplicates
    from ..db.duplicates import Facts

KINDS = ("exact", "near", "burst")
REMOVABLE = ("exact", "near")
"""The kinds that --paths lists unless told otherwise: shots of a burst are different pictures."""
GROUPS_SHOWN = 20
COLUMNS = ("group", "kind", "keep", "id", "path", "width", "height", "bytes", "taken_at", "note")


@imgsim.command()
@database_argument
@click.argument("ids", metavar="[ID]...", nargs=-1)
@click.option(
    "--kind",
    "kinds",
    multiple=True,
    type=click.Choice(KINDS),
    help="Only this kind; may be given more than once  [default: all; for --paths exact, near]",
)
@click.option("--json", "output", flag_value="json", help="Print a JSON object")
@click.option("--csv", "output", flag_value="csv", help="Print a CSV file, a line an image")
@click.option("--paths", "output", flag_value="paths", help="Print the files not to keep, only")
@click.option("-0", "--null", is_flag=True, help="End each of --paths with NUL, for xargs -0")
@click.option("--not-same", is_flag=True, help="Remember that the images ID… are not the same")
@click.option("--settled", is_flag=True, help="Remember that the images ID… are to stay, all")
@space_option
@table_option
@reports_errors
def duplicates(database, ids, kinds, output, null, not_same, settled, space_name, table):
    """Find images that are one picture, and say which one to keep and why.

    \b
    exact   the same bytes
    near    the same picture: resized, compressed again, lightly cropped, turned
            by 90°, mirrored, greyed or written on
    burst   other shots of one moment: seconds apart, and much alike

    No file is ever deleted: --paths prints the files not to keep. What was decided with --not-same
    or --settled is in no group again.

    Exit code: 0 when all was found, 1 when something failed, 130 after Ctrl-C.
    """
    from ..collection import Collection

    if bool(ids) != (not_same or settled) or (not_same and settled):
        raise click.UsageError("IDs go with --not-same, or with --settled")
    if null and output != "paths":
        raise click.UsageError("-0 is about --paths")
    collection = Collection(database, space_name, table, Terminal(database, quiet=False))
    if ids:
        count = collection.decide(ids, "different" if not_same else "settled")
        what = "are not the same" if not_same else "are settled: all stay"
        click.echo(f"Remembered: {count_of_images(count)} {what}.")
        return
    with ends_at_ctrl_c(f"Stopped; the groups in {database} are as they were."):
        found = collection.duplicates(kinds or (REMOVABLE if output == "paths" else KINDS))
    if output == "json":
        click.echo(printable(json.dumps(as_json(found), indent=2, ensure_ascii=False)))
    elif output == "csv":
        click.echo(printable(as_csv(found)), nl=False)
    elif output == "paths":
        _print_paths(found, database, b"\0" if null else b"\n")
    else:
        click.echo(printable(as_text(found, kinds or KINDS)))


def as_json(found: Duplicates) -> dict:
    from ..db.duplicates import counts_json

    return {
        "ok": True,
        "space": found.space,
        "counts": counts_json(found.counts),
        "groups": [group.json() for group in found.groups],
    }


def as_csv(found: Duplicates) -> str:
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow(COLUMNS)
    for group in found.groups:
        for member in group.members:
            facts = member.facts
            writer.writerow(
                [group.number, group.kind, int(member.keep), facts.id, facts.path, facts.width,
                 facts.height, facts.bytes, facts.taken_at, member.note]
            )  # fmt: skip
    return lines.getvalue()


def as_text(found: Duplicates, kinds) -> str:
    lines = []
    for kind in kinds:
        groups, others = found.counts[kind]
        number = "1 group" if groups == 1 else f"{groups:,} groups"
        lines.append(f"{kind}: {number}; {count_of_images(others)} beside those to keep")
    for group in found.groups[:GROUPS_SHOWN]:
        lines += ["", f"{group.kind} {group.number}: {group.keep.note}", *map(_line, group.members)]
    if len(found.groups) > GROUPS_SHOWN:
        left = len(found.groups) - GROUPS_SHOWN
        lines += ["", f"… and {left:,} more, which --json, --csv and the page of duplicates show."]
    return "\n".join(lines)


def _line(member) -> str:
    facts = member.facts
    parts = []
    if facts.pixels:
        parts.append(f"{facts.width:,} x {facts.height:,}")
    if facts.bytes is not None:
        parts.append(f"{facts.bytes:,} bytes")
    if facts.taken_at:
        parts.append(facts.taken_at)
    if not member.keep:
        parts.append(member.note)
    return f"  {'keep' if member.keep else '':4} {facts.id:>6}  {facts.path or ''}  " + ", ".join(
        parts
    )


def _print_paths(found: Duplicates, database: Path, end: bytes) -> None:
    """Prints the files not to keep, as they are found from the current folder.

    Where the file to keep is not as it was, the others are not printed.
    """
    folder = database.parent
    printed: dict[str, None] = {}
    without_path = unsafe = 0
    for group in found.groups:
        if not _is_there(folder, group.keep.facts):
            unsafe += 1
            continue
        for member in group.others:
            if member.facts.path is None:
                without_path += 1
            else:
                printed[_from_here(folder, member.facts.path)] = None
    if without_path and not printed:
        raise ImgsimError("These images are not files: --csv and --json have their keys")
    for path in printed:
        click.echo(os.fsencode(path) + end, nl=False)
    if unsafe:
        click.echo(
            f"{unsafe:,} group{'' if unsafe == 1 else 's'} left out: the file to keep is not as it "
            "was; run 'datasette imgsim embed' again.",
            err=True,
        )


def _is_there(folder: Path, facts: Facts) -> bool:
    """Whether a file has the bytes that it had; True for what is no file."""
    if facts.path is None:
        return True
    try:
        return os.stat(folder / facts.path).st_size == facts.bytes
    except (OSError, ValueError):
        return False


def _from_here(folder: Path, path: str) -> str:
    """A path relative to the folder of the database, as seen from the current folder."""
    seen = path if folder == Path() else os.path.join(folder, path)
    # A name like -rf must not be taken for an option.
    return seen if os.path.isabs(seen) or not seen.startswith("-") else os.path.join(".", seen)
