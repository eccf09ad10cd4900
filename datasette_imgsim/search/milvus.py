"""Milvus as an engine: a server, or Milvus Lite, which keeps the vectors in a folder.

A version is a collection, and the key of a space an alias. Beside the images, a collection has one
row with the centre as its vector and the generation as its mark.
"""

from __future__ import annotations

import json
import logging
import os
import time
import uuid
import weakref
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from ..db.connect import batches
from ..errors import ImgsimError, check_choice
from .engine import EngineError, Version

CENTRE, CENTRE_AS_TEXT = -(2**53), "centre"
"""The key of the centre, among whole numbers and among text."""
FIELDS = ("id", "mark", "vector")
MOST_DIMENSIONS = 32_768
MOST = 16_384
"""The most results of a search in Milvus."""
IDS_A_READ, BYTES_A_CALL = 1_000, 16_000_000
SECONDS_OF_WRITER = 600
"""The longest time that a call of a push may take."""
SECONDS_A_LOOK = 0.2
NOT_FOUND = (100, 1600)
"""The codes of errors for an alias that is not there."""
MOST_CELLS, IMAGES_A_CELL = 16_384, 39
"""How many cells an IVF index has, at most, and how many images each of them, at least."""
ALL_CELLS = 65_536
"""As Milvus allows; it looks into those that there are."""
SHARE_OF_CELLS, FEWEST_CELLS = 4, 64
"""A search looks into one of so many cells, and at least into so many: level weights make other
images near than those of its cell."""


class Milvus:
    """A connection to Milvus. See `engine.Engine`."""

    most: int = MOST - 1
    reserved: int = CENTRE
    kinds: tuple[str, ...] = ("ivf_sq8", "hnsw", "diskann")

    def __init__(self, uri: str, token: str | None, timeout: float):
        """`uri` is http(s)://host:port, with /NAME for a database there, or a path NAME.db."""
        self.timeout = timeout
        self.is_shared = "://" in uri
        if not self.is_shared:
            uri = _path(uri)
        client_class = _client_class()
        _open[uri] += 1
        try:
            with sentences(timeout):
                self.client = client_class(uri, token=token or "", timeout=timeout)
                version = self.client.get_server_version(timeout=timeout)
        except BaseException as ex:
            _release(uri)
            if self.is_shared or not isinstance(ex, EngineError):
                raise
            raise EngineError(
                f"{uri} cannot be opened: only one program at a time may have it open. End the "
                "other one, such as a server; or run a Milvus server, which several may use"
            ) from ex
        # Milvus Lite says of itself that only one may write at a time.
        self.writers = 1 if "lite" in version else 4
        self._finish = weakref.finalize(self, _close, self.client, uri)

    def close(self) -> None:
        """Ends the connection, and Milvus Lite if nothing else in this program uses it."""
        self._finish()

    def published(self, key: str) -> Version | None:
        """The version of a space that readers see."""
        from pymilvus.exceptions import MilvusException

        with sentences(self.timeout):
            try:
                found = self.client.describe_alias(key, timeout=self.timeout)
            except MilvusException as ex:
                if ex.code in NOT_FOUND:
                    return None
                raise
            return self._version(found["collection_name"])

    def _version(self, name: str) -> Collection:
        if "NotLoad" in str(self.client.get_load_state(name, timeout=self.timeout)["state"]):
            self.client.load_collection(name, timeout=SECONDS_OF_WRITER)
        version = Collection(self, name, np.empty(0, np.float32))
        rows = version.query([version.centre_key], ["mark", "vector"])
        if not rows:
            raise EngineError("What Milvus has of this space is not whole: push it again")
        version.generation = rows[0]["mark"]
        version.centre = np.array(rows[0]["vector"], np.float32)
        return version

    def create(
        self, key: str, kind: str, count: int, centre: np.ndarray, has_integers: bool
    ) -> Version:
        """A new collection, empty."""
        check_choice("The index", kind, self.kinds)
        if len(centre) > MOST_DIMENSIONS:
            raise EngineError(
                f"Milvus holds vectors of up to {MOST_DIMENSIONS:,} numbers, not {len(centre):,}: "
                "pool the levels, or choose fewer"
            )
        from pymilvus import DataType

        cells = max(1, min(MOST_CELLS, round(4 * count**0.5), count // IMAGES_A_CELL))
        keys = "integer" if has_integers else "text"
        name = f"{key}__{keys}__{kind}__{cells}__{uuid.uuid4().hex[:12]}"
        schema = self.client.create_schema(auto_id=False, enable_dynamic_field=False)
        if has_integers:
            schema.add_field("id", DataType.INT64, is_primary=True)
        else:
            schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=65_535)
        schema.add_field("mark", DataType.INT64)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=len(centre))
        with sentences(SECONDS_OF_WRITER):
            self.client.create_collection(
                name, schema=schema, consistency_level="Strong", timeout=SECONDS_OF_WRITER
            )
        return Collection(self, name, centre)

    def publish(self, key: str, version: Version, generation: int) -> None:
        """Stores the centre, builds the index, and moves the alias."""
        assert isinstance(version, Collection)
        name = version.name
        version.put_centre(generation)
        with sentences(SECONDS_OF_WRITER):
            self.client.flush(name, timeout=SECONDS_OF_WRITER)
            if not self.client.list_indexes(name):
                params = self.client.prepare_index_params()
                params.add_index("vector", metric_type="IP", **version.index)
                self.client.create_index(name, params, sync=False, timeout=SECONDS_OF_WRITER)
            # Its state alone: the counters of rows beside it can stay behind for good.
            while (state := self.client.describe_index(name, "vector")["state"]) != "Finished":
                if state == "Failed":
                    raise EngineError(f"Milvus could not build the index {version.kind}")
                time.sleep(SECONDS_A_LOOK)
            self.client.load_collection(name, timeout=SECONDS_OF_WRITER)
            aliases = self.client.list_aliases(name)["aliases"]
            if key not in aliases:
                self._move(key, name)

    def _move(self, key: str, name: str) -> None:
        if self.published(key) is None:
            self.client.create_alias(name, key, timeout=SECONDS_OF_WRITER)
        else:
            self.client.alter_alias(name, key, timeout=SECONDS_OF_WRITER)

    def drop_others(self, key: str, version: Version | None) -> None:
        """Drops the other collections of a space."""
        with sentences(SECONDS_OF_WRITER):
            for name in self.client.list_collections(timeout=SECONDS_OF_WRITER):
                if name.startswith(f"{key}__") and (version is None or name != version.name):
                    self.client.drop_collection(name, timeout=SECONDS_OF_WRITER)


class Collection:
    """A collection of Milvus, which holds one version. See `engine.Version`."""

    def __init__(self, engine: Milvus, name: str, centre: np.ndarray, generation: int = 0):
        self.engine, self.client = engine, engine.client
        self.name, self.centre, self.generation = name, centre, generation
        _, keys, self.kind, cells, _ = name.split("__")
        self.has_integers, self.cells = keys == "integer", int(cells)
        self.centre_key = CENTRE if self.has_integers else CENTRE_AS_TEXT

    @property
    def index(self) -> dict:
        """Parameters of the index."""
        params = {"ivf_sq8": {"nlist": self.cells}, "hnsw": {"M": 32, "efConstruction": 200}}
        return {"index_type": self.kind.upper(), "params": params.get(self.kind, {})}

    def _efforts(self, k: int) -> Iterator[dict]:
        """Parameters of a search for k, first usual ones, then those that find the most."""
        if self.kind == "ivf_sq8":
            yield {"nprobe": max(FEWEST_CELLS, self.cells // SHARE_OF_CELLS)}
            yield {"nprobe": ALL_CELLS}
        elif self.kind == "hnsw":
            yield {"ef": max(2 * k, 512)}
        else:
            yield {"search_list": max(2 * k, 512)}

    def count(self) -> int:
        """How many images it has."""
        with sentences(self.engine.timeout):
            rows = self.client.query(
                self.name, filter="", output_fields=["count(*)"], timeout=self.engine.timeout
            )
        return rows[0]["count(*)"] - 1

    def candidates(self, query: np.ndarray, k: int) -> list:
        """The ids of about the k best images. Raises EngineError if the engine has lost some."""
        timeout, found = self.engine.timeout, []
        for effort in self._efforts(k):
            with sentences(timeout):
                (hits,) = self.client.search(
                    self.name, [query.tolist()], "", k + 1, ["id"], {"params": effort},
                    anns_field="vector", timeout=timeout,
                )  # fmt: skip
            keys = [hit["id"] for hit in hits if hit["id"] != self.centre_key]
            found = [self._id(key) for key in keys[:k]]
            if len(found) == k:
                return found
        # A search that was not thorough would look like few results.
        if len(found) < min(k, total := self.count()):
            raise EngineError(
                f"Milvus found only {len(found):,} of {min(k, total):,} images: push the space "
                "again, with another --index"
            )
        return found

    def vectors(self, ids: Sequence) -> dict:
        """{id: vector}, for those that it has."""
        rows = self._rows(ids, "vector", max(1, BYTES_A_CALL // (4 * len(self.centre))))
        return {id: np.array(vector, np.float32) for id, vector in rows}

    def marks(self, ids: Sequence) -> dict:
        """{id: mark}, for those that it has."""
        return dict(self._rows(ids, "mark", IDS_A_READ))

    def _rows(self, ids: Sequence, field: str, most: int) -> Iterator[tuple]:
        keys, step = [self._key(id) for id in ids], min(most, IDS_A_READ)
        for batch in batches(keys, step):
            for row in self.query(batch, [field]):
                yield self._id(row["id"]), row[field]

    def query(self, keys: list, fields: list[str]) -> list[dict]:
        """The rows with these keys."""
        timeout = self.engine.timeout
        with sentences(timeout):
            return list(self.client.query(self.name, ids=keys, output_fields=["id", *fields],
                                          timeout=timeout))  # fmt: skip

    def ids(self) -> Iterator[list]:
        """All ids, piece by piece."""
        with sentences(SECONDS_OF_WRITER):
            pieces = self.client.query_iterator(
                self.name, batch_size=IDS_A_READ, output_fields=["id"]
            )
            try:
                while rows := pieces.next():
                    keys = [row["id"] for row in rows]
                    yield [self._id(key) for key in keys if key != self.centre_key]
            finally:
                pieces.close()

    def put(self, ids: Sequence, marks: Sequence[int], vectors: np.ndarray) -> None:
        """Stores vectors, in place of older ones of these images."""
        self._put([self._key(id) for id in ids], marks, vectors)

    def put_centre(self, generation: int) -> None:
        """Stores the centre and the generation."""
        self._put([self.centre_key], [generation], self.centre[None])
        self.generation = generation

    def _put(self, keys: Sequence, marks: Sequence[int], vectors: np.ndarray) -> None:
        rows = [dict(zip(FIELDS, row)) for row in zip(keys, marks, vectors)]
        step = max(1, BYTES_A_CALL // (4 * len(self.centre)))
        with sentences(SECONDS_OF_WRITER):
            for batch in batches(rows, step):
                self.client.upsert(self.name, batch, timeout=SECONDS_OF_WRITER)

    def delete(self, ids: Sequence) -> None:
        """Removes images."""
        keys = [self._key(id) for id in ids]
        with sentences(SECONDS_OF_WRITER):
            self.client.delete(self.name, ids=keys, timeout=SECONDS_OF_WRITER)

    def _key(self, id) -> int | str:
        """The key of an image in Milvus. As hexadecimal digits, text needs no quoting."""
        return id if self.has_integers else json.dumps(id).encode().hex()

    def _id(self, key):
        return key if self.has_integers else json.loads(bytes.fromhex(key))


def _client_class():
    """The client of Milvus, which writes no tracebacks. Raises ImgsimError without it."""
    try:
        from pymilvus import MilvusClient
    except ImportError:
        raise ImgsimError("Milvus needs \"pip install 'datasette-imgsim[milvus]'\"") from None
    for name in ("pymilvus", "milvus_lite"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    return MilvusClient


@contextmanager
def sentences(seconds: float):
    """Turns the errors of Milvus into sentences that name no address."""
    import grpc
    from pymilvus.exceptions import ErrorCode, MilvusException

    try:
        yield
    except (MilvusException, grpc.RpcError) as ex:
        code, text = getattr(ex, "code", None), str(getattr(ex, "message", ex))
        is_away = code == 2 or not isinstance(code, int) or "Retry" in text
        if is_away or code == ErrorCode.UNEXPECTED_ERROR and "connect" in text:
            raise EngineError(f"Milvus does not answer within {seconds:g} s") from ex
        raise EngineError(f"Milvus says: {text:.300}") from ex


_open: Counter[str] = Counter()
"""How many connections this program has to each URI."""


def _path(uri: str) -> str:
    path = Path(uri)
    if path.suffix != ".db" or path.is_file():
        raise ImgsimError(
            f"{uri} is no place for vectors: name a folder NAME.milvus.db, which Milvus Lite "
            "makes, or the address of a server, such as http://localhost:19530"
        )
    if not path.absolute().parent.is_dir():
        raise ImgsimError(f"There is no folder {path.absolute().parent}")
    return os.path.abspath(path)


def _close(client, uri: str) -> None:
    client.close()
    _release(uri)


def _release(uri: str) -> None:
    """Ends Milvus Lite if no connection is left, so that other programs may open the folder."""
    _open[uri] -= 1
    if "://" not in uri and not _open[uri]:
        from milvus_lite import server_manager_instance

        server_manager_instance.release_server(uri)
