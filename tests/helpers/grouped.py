"""Groups of images, stored as `datasette imgsim groups` would store them."""

from contextlib import closing

import numpy as np

from datasette_imgsim.db.connect import open_writer
from datasette_imgsim.db.groups import Group, Stamp, save_groups
from datasette_imgsim.db.spaces import choose_space

from .databases import rows


def fill_groups(path, members, space=None, table="images"):
    """Replaces the groups of a space by {name: keys}, the cover of each first; gives {name: id}."""
    with closing(open_writer(path, images=table == "images")) as conn:
        found = choose_space(conn, space, table)
        groups = [Group(None, name, keys[0], len(keys)) for name, keys in members.items()]
        keys = [key for each in members.values() for key in each]
        of = np.repeat(np.arange(len(groups)), [len(each) for each in members.values()])
        save_groups(conn, found, Stamp(found.generation, 1), groups, keys, of)
    ids = rows(path, "select id, name from imgsim_groups where space_id = ?", found.id)
    return {name: id for id, name in ids}


def by_folder(path):
    """{name of the folder: ids} of the images of a database made by `embed`."""
    found = {}
    for id, name in rows(path, "select id, path from images order by path"):
        found.setdefault(name.split("/")[-2], []).append(id)
    return found
