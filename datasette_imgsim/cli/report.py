"""The texts that commands print."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..atlas.layout import Summary as MapSummary
    from ..db.spaces import Space
    from ..evaluate import Evaluation, Result
    from ..explore.answers import Groups, Match, Step
    from ..explore.neighbours import Summary as NeighboursSummary
    from ..ingest.exporting import Exported
    from ..ingest.importing import Imported
    from ..ingest.outcomes import Summary
    from ..models.base import Model
    from ..search.pushing import Pushed
    from ..verify import Report

LEFT_OUT_SHOWN = 10
"""How many kinds of files that are no pictures are printed."""
SWEPT_SHOWN = 12
"""How many results of a sweep are printed."""


def printable(text: str) -> str:
    """The text as valid UTF-8, which names of files need not be."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def duration(seconds: float) -> str:
    minutes = max(1, round(seconds / 60))
    if minutes < 100:
        return "1 minute" if minutes == 1 else f"{minutes} minutes"
    return f"{round(minutes / 60)} hours"


def embed_report(summary: Summary, database: Path) -> str:
    parts = [f"{summary.embedded:,} embedded", f"{summary.unchanged:,} unchanged"]
    if summary.read_again:
        parts[-1] += f" ({summary.read_again:,} of them read again)"
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


def ray_report(summary: Summary, out: str) -> str:
    if not (summary.embedded or summary.unchanged or summary.failed):
        return "No pictures found; nothing was written."
    rate = f"; {summary.embedded / summary.seconds:.1f} images/s" if summary.embedded else ""
    return (
        f"{summary.embedded:,} embedded, {summary.unchanged:,} unchanged, {summary.failed:,} "
        f"failed{rate}; the shards are in {out}."
    )


def large_pictures(paths: tuple[Path, ...], database: Path) -> str:
    """The setting with which Datasette shows the pictures of these files and folders large."""
    base = os.path.abspath(database.parent)
    folders = [os.path.abspath(path if path.is_dir() else path.parent) for path in paths]
    try:
        root = os.path.relpath(os.path.commonpath(folders), base)
    except ValueError:  # on different drives
        root = folders[0]
    line = f"plugins: {{datasette-imgsim: {{images_root: {json.dumps(root, ensure_ascii=False)}}}}}"
    return (
        "Datasette shows these pictures large with this line in a file datasette.yaml, and "
        f"'-c datasette.yaml' (Datasette 0.65: '-m datasette.yaml'):\n  {line}"
    )


def another_default(default: str, name: str, database: Path) -> str:
    words = ["datasette", "imgsim", "spaces", str(database), "--default", name]
    return (
        f"The default space is still {default!r}; '{shlex.join(words)}' makes this one the default."
    )


def kept_report(summary: Summary) -> str:
    return (
        f"{images(summary.kept)} kept, since nothing is left of the whole folder (such as "
        f"{summary.missing_folder}): it may be on a drive that is away. "
        "--prune-missing-folders removes them."
    )


def ended_report(summary: Summary) -> str:
    return (
        f"The run before was ended while it decoded {summary.ended_before}, perhaps for want of "
        "memory: it is left out now. --retry-failed tries it again."
    )


def left_out_report(summary: Summary) -> str:
    shown = dict(summary.left_out.most_common(LEFT_OUT_SHOWN))
    others = summary.left_out.total() - sum(shown.values())
    parts = [f"{count:,} {name}" for name, count in shown.items()]
    return f"Left out: {', '.join(parts)}{f' and {others:,} others' if others else ''}."


def export_report(done: Exported, uri: str) -> str:
    parts = [f"{images(done.images)} of the space {done.space!r} written"]
    if done.failed:
        parts.append(f"{done.failed:,} that could not be embedded, with the reasons")
    if done.left_out:
        parts.append(f"{done.left_out:,} left out: the row is gone or the vector is damaged")
    files = "1 file" if done.files == 1 else f"{done.files:,} files"
    return f"{', '.join(parts)}; {uri} has {files}."


def import_report(done: Imported) -> str:
    parts = [f"{done.added:,} added", f"{done.changed:,} changed", f"{done.unchanged:,} unchanged"]
    if done.newer:
        parts.append(f"{done.newer:,} kept, since the file here is newer")
    if done.failed:
        parts.append(f"{done.failed:,} failed (imgsim_failures has the reasons)")
    return f"{', '.join(parts)}; the space is {done.space!r}."


def push_report(done: Pushed, uri: str) -> str:
    parts = [f"{done.put:,} brought", f"{done.unchanged:,} unchanged", f"{done.deleted:,} removed"]
    if done.is_new:
        parts = [f"{images(done.put)} brought"]
    if done.damaged:
        parts.append(f"{done.damaged:,} left out, since their vectors are damaged")
    version = "a new version" if done.is_new else "the version"
    return (
        f"{', '.join(parts)}; {uri} has {version} of the space {done.space!r}, with the index "
        f"{done.kind}."
    )


def unknown_report(done: Imported) -> str:
    return (
        f"{images(done.unknown)} left out: images has no such path, and without a picture it gets "
        "none. Embed the pictures first, with any model, then import again."
    )


def images(count: int) -> str:
    return "1 image" if count == 1 else f"{count:,} images"


def sizes(name: str, sizes: dict) -> str:
    left_out, damaged = sizes["without_label"], sizes["damaged"]
    return (
        f"{name}: {images(sizes['images'])} of {sizes['classes']:,} labels, "
        f"{sizes['queries']:,} queries"
        + (f"; {images(left_out)} without a label left out" if left_out else "")
        + (f"; {images(damaged)} left out: the vector is damaged" if damaged else "")
    )


def metrics_table(title: str, results: list, means: str) -> str:
    metrics = list(getattr(results[0], means))
    width = max(len(title), *(len(result.name) for result in results))
    lines = [f"\n{title:{width}}" + "".join(f"  {metric:>7}" for metric in metrics)]
    for result in results:
        values = getattr(result, means)
        lines.append(f"{result.name:{width}}" + "".join(f"  {values[m]:7.3f}" for m in metrics))
    return "\n".join(lines)


def map_report(summary: MapSummary, database: Path, space_name: str | None) -> str:
    if summary.laid_out == summary.total:
        return f"{images(summary.laid_out)} laid out."
    if summary.laid_out:
        return (
            f"{images(summary.total)} laid out: {summary.laid_out:,} by t-SNE, the others placed "
            "among them."
        )
    if summary.placed:
        text = f"{images(summary.placed)} placed, "
    else:
        text = "No new images: the map is as it was, "
    text += f"{summary.interpolated:,} of {summary.total:,} interpolated"
    if not summary.could_be_truer:
        return f"{text}."
    option = ["--space", space_name] if space_name else []
    command = shlex.join(["datasette", "imgsim", "map", str(database), *option, "--refit"])
    return f"{text}; '{command}' lays all of them out anew."


def neighbours_report(summary: NeighboursSummary) -> str:
    each = min(summary.k, summary.total - 1)
    if each == 0:
        return "There is one image: it has no neighbours."
    nearest = f"the {each} nearest" if each > 1 else "the nearest"
    if summary.computed == summary.total:
        return f"Found {nearest} of each of {images(summary.total)}."
    if summary.computed == 0:
        return f"No new images: {nearest} of each of {images(summary.total)} are as they were."
    text = f"Found {nearest} of {images(summary.computed)} among {summary.total:,}"
    if summary.joined:
        text += f"; new ones are now among those of {summary.joined:,} others"
    return f"{text}."


def groups_line(found: Groups) -> str:
    count = len(found.groups)
    if not count:
        return f"No groups: {images(found.ungrouped)} belong nowhere."
    text = f"{'1 group' if count == 1 else f'{count:,} groups'} of "
    text += images(sum(group.images for group in found.groups))
    return f"{text}; {images(found.ungrouped)} in none." if found.ungrouped else f"{text}."


def groups_report(found: Groups) -> str:
    lines = [groups_line(found)]
    width = max((len(group.name) for group in found.groups), default=0)
    for group in found.groups:
        cover = found.covers.get(group.cover, "")
        lines.append(f"{group.images:7,}  {group.name:{width}}  {cover}".rstrip())
    return "\n".join(lines)


def groups_json(found: Groups) -> dict:
    return {
        "ok": True,
        "space": found.space,
        "groups": [
            {name: getattr(group, name) for name in ("id", "name", "images", "cover")}
            for group in found.groups
        ],
        "ungrouped": found.ungrouped,
    }


def model_report(model: Model, is_default: bool, missing: str | None) -> str:
    """`missing` says why the model cannot be used on this machine; None if it can."""
    description = model.description
    default = " (the default)" if is_default else ""
    version = f", version {description.version}" if description.version else ""
    levels = ", ".join(f"{level} {channels}" for level, channels in description.channels.items())
    return (
        f"{description.name}{default}: {description.about}{version}\n"
        f"    levels and dimensions: {levels}\n"
        f"    by default: {','.join(description.default_levels)}, {description.default_pooling}, "
        f"{description.size} x {description.size} pixels\n"
        f"    licence of the weights: {description.licence or 'unknown'}\n"
        f"    weights: {missing or 'here'}"
    )


def matches_table(matches: list[Match]) -> str:
    from ..search.likeness import FAINT  # imports numpy, which --version need not

    lines = []
    for number, match in enumerate(matches):
        if match.word == FAINT and (number == 0 or matches[number - 1].word != FAINT):
            lines.append("-- from here on only faintly alike --")
        word = f"{match.word:14}  " if match.word else ""
        line = f"{match.score:7.3f}  {word}{match.id:>6}  {match.path or _name(match)}"
        lines.append(line.rstrip())
    return "\n".join(lines)


def path_table(steps: list[Step]) -> str:
    return "\n".join(
        f"{'' if step.score is None else f'{step.score:.3f}':>7}  {step.id:>6}  "
        f"{step.path or _name(step)}".rstrip()
        for step in steps
    )


def _name(match: Match | Step) -> str:
    return "" if match.name == str(match.id) else match.name


def evaluation_json(evaluation: Evaluation, measured: list[Result], swept: list[Result]) -> dict:
    """`swept` is empty without --sweep."""
    result = {
        "space": evaluation.space.name,
        **evaluation.sizes,
        "results": [*map(vars, measured)],
    }
    if swept:
        result["sweep_queries"] = len(evaluation.swept.queries)
        result["sweep"] = [*map(vars, swept)]
    return result


def evaluation_report(evaluation: Evaluation, measured: list[Result], swept: list[Result]) -> str:
    parts = [
        sizes(evaluation.space.name, evaluation.sizes),
        metrics_table("mean over queries", measured, "over_queries"),
        metrics_table("mean over labels", measured, "over_classes"),
    ]
    queries, all_queries = evaluation.swept.queries, evaluation.task.queries
    if swept and len(queries) < len(all_queries):
        parts.append(f"\nBelow: {len(queries):,} of the queries, chosen at random")
    for is_centred, how in ((True, "with centring"), (False, "without centring")):
        results = [result for result in swept if result.centred is is_centred]
        if results:
            title = f"level weights, {how}"
            parts.append(metrics_table(title, results[:SWEPT_SHOWN], "over_queries"))
        if len(results) > SWEPT_SHOWN:
            parts.append(f"  … and {len(results) - SWEPT_SHOWN} more, which --json shows")
    return "\n".join(parts)


def space_report(space: Space, count: int) -> str:
    default = " (the default)" if space.is_default else ""
    return (
        f"{space.name}{default}: {count:,} images of {space.source_table!r}; {space.model}, "
        f"{','.join(space.levels)}, {space.pooling}, {space.preprocess['size']} px "
        f"{space.preprocess['resize']}; {space.dimensions:,} x {space.dtype}"
    )


def verify_report(found: Report, database: Path) -> str:
    lines = [f"{database}: {images(found.images)}, {found.vectors:,} vectors"]
    for drift in found.drifts:
        lines.append(
            f"{drift.space}: {images(drift.images)} embedded again; cosines with what is stored: "
            f"median {drift.median:.6f}, smallest {drift.smallest:.6f}"
        )
    lines += found.skipped
    lines += [f"Wrong: {problem}." for problem in found.problems]
    return "\n".join([*lines, *([] if found.problems else ["Nothing is wrong."])])
