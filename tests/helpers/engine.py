"""An engine of another package: dictionaries, which are there as long as the test."""

import copy

import numpy as np
from datasette import hookimpl


class Kept:
    """A version."""

    kind = "dictionary"
    generation = 0

    def __init__(self, name, centre, has_integers):
        self.name, self.centre, self.has_integers = name, centre, has_integers
        self.rows = {}

    def count(self):
        return len(self.rows)

    def candidates(self, query, k):
        return sorted(self.rows, key=lambda id: -(self.rows[id][1] @ query))[:k]

    def vectors(self, ids):
        return {id: self.rows[id][1] for id in ids if id in self.rows}

    def marks(self, ids):
        return {id: self.rows[id][0] for id in ids if id in self.rows}

    def ids(self):
        yield list(self.rows)

    def put(self, ids, marks, vectors):
        self.rows |= {id: row for id, *row in zip(ids, marks, vectors)}

    def delete(self, ids):
        for id in ids:
            del self.rows[id]


class Dictionaries:
    """All connections to one URI see the same."""

    most, reserved, writers, is_shared = 100, -1, 2, False
    kinds = ("dictionary",)
    places: dict = {}

    def __init__(self, uri, token, timeout):
        self.versions = self.places.setdefault((uri, token), {})

    def published(self, key):
        return copy.copy(self.versions.get(key))  # a later push must not change its generation

    def create(self, key, kind, count, centre, has_integers):
        return Kept(f"{key}{np.random.default_rng().integers(2**60)}", centre, has_integers)

    def publish(self, key, version, generation):
        version.generation = generation
        self.versions[key] = version

    def drop_others(self, key, version):
        """There are no others."""

    def close(self):
        """Nothing was opened."""


@hookimpl
def register_imgsim_engines(register):
    register("dictionaries", Dictionaries)
