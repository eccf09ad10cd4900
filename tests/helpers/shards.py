"""A database to be exported, and all that is stored in one."""

from datasette_imgsim.ingest import exporting, shards

from .commands import embed_toy
from .databases import rows
from .pictures import draw

COUNT = 12
STORED = {
    "images": "select path, sha256, bytes, mtime_ns, width, height, format, taken_at, camera, "
    "latitude, longitude from images order by path",
    "vectors": "select path, vector, norms from imgsim_vectors "
    "join images on images.id = image_key where space_id = 1 order by path",
    "thumbnails": "select path, jpeg from imgsim_thumbnails join images on images.id = image_key "
    "order by path",
    "failures": "select source, error, bytes, mtime_ns from imgsim_failures order by source",
    "spaces": "select name, source_table, is_default, model, weights_sha256, levels, pooling, "
    "preprocess, dtype, precision, dimensions, centre, centred_on, level_weights "
    "from imgsim_spaces",
}


def make_database(folder):
    """folder/photos.db with the pictures of images/, of which one is damaged."""
    for number in range(COUNT):
        draw(folder / f"images/{number:02d}.jpg", "stripes", size=(80 + number, 60))
    (folder / "images/broken.jpg").write_bytes(b"no picture")
    embed_toy(folder)
    return folder / "photos.db"


def stored(database, but=()):
    """All that is stored but ids and times."""
    return {name: rows(database, sql) for name, sql in STORED.items() if name not in but}


def small(monkeypatch):
    """Small groups and shards, so that there are several."""
    monkeypatch.setattr(shards, "ROWS_A_GROUP", 3)
    monkeypatch.setattr(exporting, "GROUPS_A_SHARD", 2)
