"""The tables of this package as SQL, as the newest migrations of each have made them."""

# image_key is the key exactly as the source table has it; image_id is the same as text, since
# Datasette passes all values in addresses and parameters as text. There is no declared primary key,
# so that Datasette finds rows by rowid. SQLite compares names of tables without regard to case.
TABLES_5 = {
    "imgsim_spaces": """CREATE TABLE imgsim_spaces (
    id integer primary key autoincrement,
    name text not null unique,
    source_table text not null collate nocase,
    is_default integer not null,
    model text not null,
    weights_sha256 text not null,
    levels text not null,
    pooling text not null,
    preprocess text not null,
    dtype text not null,
    precision text not null,
    dimensions integer not null,
    generation integer not null default 0,
    centre blob,
    centred_on integer not null default 0,
    level_weights text not null,
    calibration text,
    versions text not null,
    created_at text not null,
    source_key text
)""",
    "imgsim_vectors": """CREATE TABLE imgsim_vectors (
    space_id integer not null references imgsim_spaces(id),
    image_id text generated always as (cast(image_key as text)) virtual,
    image_key not null,
    vector blob not null,
    norms blob not null,
    unique (space_id, image_key)
)""",
    "imgsim_thumbnails": """CREATE TABLE imgsim_thumbnails (
    source_table text not null collate nocase,
    image_id text generated always as (cast(image_key as text)) virtual,
    image_key not null,
    jpeg blob not null,
    unique (source_table, image_key)
)""",
    "imgsim_failures": """CREATE TABLE imgsim_failures (
    source_table text not null collate nocase,
    source text not null,
    error text not null,
    bytes integer,
    mtime_ns integer,
    tried_at text not null,
    path text,
    primary key (source_table, source)
)""",
    "imgsim_atlas": """CREATE TABLE imgsim_atlas (
    space_id integer not null references imgsim_spaces(id),
    image_id text generated always as (cast(image_key as text)) virtual,
    image_key not null,
    x real not null check (x >= 0 and x < 256),
    y real not null check (y >= 0 and y < 256),
    placed text not null check (placed in ('fitted', 'interpolated')),
    unique (space_id, image_key)
)""",
    "imgsim_contents": """CREATE TABLE imgsim_contents (
    source_table text not null collate nocase,
    image_id text generated always as (cast(image_key as text)) virtual,
    image_key not null,
    sha256 text not null,
    bytes integer,
    mtime_ns integer,
    path text,
    unique (source_table, image_key)
)""",
    "imgsim_readings": """CREATE TABLE imgsim_readings (
    source_table text not null collate nocase,
    image_id text generated always as (cast(image_key as text)) virtual,
    image_key not null,
    thumbnail_size integer,
    gps integer not null default 0,
    unique (source_table, image_key)
)""",
}

# The indexes are constraints, since SQLite renames those with their table, which is filled under
# another name. None is on neighbour_key: its entries lie scattered, and would take long to write.
NEIGHBOURS_SQL = """CREATE TABLE imgsim_neighbours (
    space_id integer not null references imgsim_spaces(id),
    image_id text generated always as (cast(image_key as text)) virtual,
    image_key not null,
    rank integer not null,
    neighbour_id text generated always as (cast(neighbour_key as text)) virtual,
    neighbour_key not null,
    score real not null,
    unique (space_id, image_key, rank),
    unique (image_id, space_id, image_key, rank)
)"""

DUPLICATES_SQL = """CREATE TABLE imgsim_duplicates (
    space_id integer not null references imgsim_spaces(id),
    group_id integer not null,
    kind text not null,
    image_id text generated always as (cast(image_key as text)) virtual,
    image_key not null,
    keep integer not null,
    note text not null,
    unique (space_id, group_id, image_key),
    unique (space_id, image_key, group_id),
    unique (image_id, space_id, group_id, image_key)
)"""

# Each pair is there in both orders, so that it is found, and forgotten, by either of its images.
VERDICTS_SQL = """CREATE TABLE imgsim_verdicts (
    source_table text not null collate nocase,
    image_id text generated always as (cast(image_key as text)) virtual,
    image_key not null,
    other_id text generated always as (cast(other_key as text)) virtual,
    other_key not null,
    verdict text not null,
    decided_at text not null,
    unique (source_table, image_key, other_key),
    unique (source_table, other_key, image_key),
    unique (image_id, source_table, other_key, image_key)
)"""

# An id is never given twice, so that an address with one never shows another group.
GROUPS_SQL = """CREATE TABLE imgsim_groups (
    id integer primary key autoincrement,
    space_id integer not null references imgsim_spaces(id),
    name text not null,
    images integer not null,
    cover_id text generated always as (cast(cover_key as text)) virtual,
    cover_key not null
)"""

MEMBERS_SQL = """CREATE TABLE imgsim_group_members (
    space_id integer not null references imgsim_spaces(id),
    group_id integer not null references imgsim_groups(id),
    image_id text generated always as (cast(image_key as text)) virtual,
    image_key not null,
    unique (space_id, image_key),
    unique (space_id, group_id, image_key),
    unique (image_id, space_id, image_key)
)"""
