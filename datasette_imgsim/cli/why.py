"""The command `why`: where two pictures are alike."""

from __future__ import annotations

import json
from pathlib import Path

import click

from ..errors import ImgsimError
from .group import database_argument, imgsim, reports_errors, space_option, table_option
from .report import printable
from .terminal import Terminal

FROM = {"blob": "in its row", "thumbnail": "in its thumbnail"}
"""Where a picture was looked at that is no file."""


@imgsim.command()
@database_argument
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@space_option
@table_option
@click.option("--level-weights", help="Such as pool5=1,pool3=.5")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object, with all numbers")
@click.option(
    "--png",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="Draw both pictures into this file, with heat over what is alike",
)
@reports_errors
def why(database, first, second, space_name, table, level_weights, as_json, png):
    """Show why A and B are alike: where in each picture their score comes from.

    Each is a picture file or the id of an image, as for 'similar'. An image whose file is gone is
    looked at in its thumbnail, where the score may differ a little.
    """
    from ..collection import Collection
    from ..search.ranking import parse_level_weights

    weights = parse_level_weights(level_weights) if level_weights else None
    collection = Collection(database, space_name, table, Terminal(database, quiet=as_json))
    found = collection.why(first, second, weights)
    if png:
        try:
            png.write_bytes(found.drawn())
        except OSError as ex:
            raise ImgsimError(f"{png} cannot be written: {ex.strerror}") from ex
    names = (first, second)
    if as_json:
        pictures = [
            {"name": name, **found.json_of_picture(number)} for number, name in enumerate(names)
        ]
        body = {
            "ok": True,
            "score": round(found.score, 9),
            "levels": found.json_of_levels(),
            "query": pictures[0],
            "other": pictures[1],
        }
        click.echo(printable(json.dumps(body, ensure_ascii=False)))
        return
    click.echo(f"score {found.score:.3f}")
    for name, picture in zip(names, found.pictures):
        kind = f", {FROM[picture.kind]}" if picture.kind in FROM else ""
        click.echo(printable(f"{name}{kind}: {picture.where}"))
    if len(found.levels) > 1:
        for each in found.levels:
            click.echo(
                f"{each.level}: adds {each.share:.3f} (alike {each.cosine:.3f}, "
                f"weight {100 * each.weight:.0f} %)"
            )
