"""Recipes: what determines the numbers of vectors, also where they go to another machine."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields, replace

from ..db.connect import Writer
from ..db.schema import SOURCE_TABLE
from ..db.spaces import SOUND, Space, all_spaces, create_space, save_versions
from ..errors import ImgsimError
from ..models.registry import ELSEWHERE


@dataclass(frozen=True)
class Recipe:
    """How vectors were made. Vectors of equal recipes may be compared."""

    name: str
    """Of a space for them, where that is not chosen."""
    model: str
    weights_sha256: str
    """The digest of the model's weights, as `models.network.digest` computes it."""
    levels: dict[str, int]
    """Each level, in network order, and how many numbers of a vector it has."""
    pooling: str
    preprocess: dict
    """How pictures are prepared for the model: normalise, resize and size."""
    dtype: str
    precision: str
    """How the network computed; it does not distinguish recipes."""
    level_weights: dict[str, float]
    """The default level weights of a new space."""
    versions: dict
    """The packages, and the version or file of the weights; they do not distinguish recipes."""

    @classmethod
    def of(cls, space: Space) -> Recipe:
        """The recipe of a space, for another machine: the path of its weights is left out."""
        names = [field.name for field in fields(cls)]
        versions = {key: value for key, value in space.versions.items() if key != "weights_file"}
        return replace(cls(**{name: getattr(space, name) for name in names}), versions=versions)

    @classmethod
    def elsewhere(cls, name: str, dimensions: int, dtype: str) -> Recipe:
        """The recipe of vectors of which nothing is known but their length and dtype."""
        preprocess = {"normalise": "unknown", "resize": "squash", "size": 1}
        return cls(
            name, ELSEWHERE, "", {"vector": dimensions}, "unknown", preprocess, dtype, "unknown",
            {"vector": 1}, {},
        )  # fmt: skip

    @classmethod
    def from_json(cls, text: str | bytes) -> Recipe:
        """The recipe that `json` has written. Raises ImgsimError if it is none."""
        try:
            values = {field.name: json.loads(text)[field.name] for field in fields(cls)}
            row = values | {"dimensions": sum(values["levels"].values())}
            for name in values.keys() & SOUND.keys():
                if not SOUND[name](values[name], row):
                    raise ValueError(name)
            # A file of weights is one of another machine.
            values["versions"] = {
                name: text
                for name, text in values["versions"].items()
                if isinstance(text, str) and name != "weights_file"
            }
            return cls(**values)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as ex:
            raise ImgsimError(f"its recipe is damaged ({str(ex):.60})") from ex

    def json(self) -> str:
        return json.dumps(asdict(self))

    @property
    def dimensions(self) -> int:
        return sum(self.levels.values())

    def describes(self, space: Space) -> bool:
        """Whether the vectors of a space were made by this recipe."""
        return self._identity == Recipe.of(space)._identity

    @property
    def _identity(self) -> tuple:
        return (
            self.model, self.weights_sha256, list(self.levels.items()), self.pooling,
            self.preprocess, self.dtype,
        )  # fmt: skip


def find_or_create(conn: Writer, recipe: Recipe, table: str, name: str | None = None) -> Space:
    """The space of a source table with this recipe, or a new one.

    Raises ImgsimError if the space called `name` has another recipe.
    """
    with conn.transaction():
        present = {space.name: space for space in all_spaces(conn)}
        equal = [space for space in all_spaces(conn, table) if recipe.describes(space)]
        if name in present and present[name] not in equal:
            raise ImgsimError(
                f"The space {name!r} was made with other options: leave the model's options out "
                "to go on in it, or give another --space"
            )
        space = present[name] if name in present else equal[0] if equal and name is None else None
        if space is not None:
            _remember_weights(conn, space, recipe)
            return space
        values = asdict(recipe)
        values["name"] = name or _unused(_space_name(recipe, table), present)
        return create_space(conn, source_table=table, dimensions=recipe.dimensions, **values)


def _remember_weights(conn: Writer, space: Space, recipe: Recipe) -> None:
    """Stores where the weights file is, if it was moved since the space was made."""
    file = recipe.versions.get("weights_file")
    if file and file != space.versions.get("weights_file"):
        save_versions(conn, space, space.versions | {"weights_file": file})


def _space_name(recipe: Recipe, table: str) -> str:
    """The name of a new space; that of another table than `images` begins with the table's."""
    return recipe.name if table.lower() == SOURCE_TABLE else f"{table} {recipe.name}"


def _unused(name: str, taken) -> str:
    number, candidate = 1, name
    while candidate in taken:
        number += 1
        candidate = f"{name} {number}"
    return candidate
