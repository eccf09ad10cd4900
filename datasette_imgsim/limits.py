"""Limits that depend on the size of a collection or of the machine."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Limits:
    """Limits on sizes, counts and times. Vectors are counted as float32, 4 bytes a number."""

    # A picture, in `embed` and in uploads alike
    pixels: int = 250_000_000
    """The most pixels of a picture, unless `embed --max-pixels` says otherwise."""
    side: int = 4096
    """The most pixels of a side of the square that a network gets."""
    pixels_of_upload: int = 50_000_000
    """The same for an upload: others wait while it is decoded."""
    bytes_to_decode: int = 2_500_000_000
    """A picture is refused if its decoder would allocate more."""
    bytes_of_large: int = 250_000_000
    """Of pictures that need more than this, one is decoded at a time."""
    seconds_to_decode: float = 60
    """A decoder is ended after this time. 48 megapixels of noise as AVIF take 7 s on two cores."""
    seconds_of_upload: float = 15
    """The same for an upload: others wait while it is decoded."""
    bytes_of_ordinary: int = 50_000_000
    """A larger file is never decoded in the process of `embed` itself, but apart."""
    bytes_beside_pixels: int = 300_000_000
    """What a decoder may allocate beside the pixels and its file."""
    png_chunks: int = 10_000
    """The most small chunks of a PNG. With more, it is decoded without those beside its pixels."""
    tiff_pages: int = 100
    """Among so many pages of a TIFF the largest is looked for."""
    tiff_parts: int = 100_000
    """The most tiles or strips of a TIFF: 250 megapixels have 61,000 tiles of 64 x 64."""
    bytes_of_tile: int = 100_000_000
    """A TIFF picture with larger tiles is refused if they are larger than itself, too."""
    bytes_of_file: int = 1_000_000_000
    """A larger file is refused if its format is read as a whole: JPEG, WebP, AVIF and HEIC."""
    jpeg_scans: int = 500
    """Progressive JPEG files of known programs have at most 200 scans, ordinary ones about 10."""
    jpeg_pixels_of_scans: int = 5_000_000_000
    """The most pixels of a JPEG times its scans: decoding so many takes about 3 s."""
    jpeg_segments: int = 5_000
    """The most segments of a JPEG: long metadata has some hundreds of 64 KB each."""
    jpeg_filling: int = 10_000
    """The most bytes between segments. Files with more are decoded without them."""
    bytes_of_profile: int = 4_000_000
    """A larger colour profile is ignored. Those of printing presses have up to 3 MB."""

    bytes_to_mend: int = 250_000_000
    """A larger file with damaged metadata is not mended, for which it is read into memory."""

    side_of_thumbnail: int = 2048
    """The most pixels of a thumbnail's longer side."""
    bytes_of_thumbnail: int = 4_000_000
    """A larger one in a database from elsewhere is not drawn on the map."""

    # The form of an index
    bytes_scanned: int = 100_000_000
    """In a space of up to this size, every query is compared with all vectors."""
    bytes_in_memory: int = 1_000_000_000
    """Of a larger space only reduced vectors are in memory; whole ones stay in the database."""
    bytes_a_read: int = 4_000_000
    """Bytes of vectors read from the database at once: a long read keeps writers waiting."""

    # Metadata of pictures
    bytes_of_xmp: int = 1_000_000
    """A longer XMP packet is not read: parsing this one takes a quarter of a second."""
    characters_of_metadata: int = 1_000
    """What a text of the metadata holds after this many characters is not read."""
    characters_of_camera: int = 100
    """The longest name of a camera: no real one has half as many."""

    # Search
    rescored: int = 800
    """At least this many candidates of a reduction are scored with their whole vectors."""
    most_hits_from_database: int = 50_000
    """The most results in a space that is not in memory, where each vector must be read."""
    first_hits: int = 200
    """A search for all images that are like enough first ranks this many, and so does a page that
    says how many are."""
    most_examples: int = 1_000
    """The most images that `plus` or `minus` may name: the vectors of all are read at once."""
    characters_of_options: int = 4_000_000
    """The longest options of a SQL function: reading JSON cannot be interrupted."""
    seconds_between_checks: float = 0.05
    """After so long in SQL functions, the time limit of the connection is looked at."""
    bytes_of_rankings: int = 32_000_000
    """The last rankings of an index that are kept: the pages of a filtered table need the same."""
    bytes_of_answers: int = 16_000_000
    """Answers of `similar_to` that are kept while a statement runs, which may ask again."""
    seconds_between_statements: float = 0.2
    """Calls of SQL functions with shorter pauses between them count as one statement."""
    seconds_a_statement: float = 5
    """For this long, a statement keeps the vectors it began with, even after a reload."""

    # Reloading
    seconds_between_reloads: float = 10
    """The shortest time between the beginnings of two loads of one value."""
    seconds_of_old_version: float = 30
    """For so long, a version in an engine stays after servers could know the next one."""
    share_of_reloads: float = 0.2
    """The largest share of the time that reloads of one value may take."""

    # Calibration
    calibration_images: int = 20_000
    """The most images from which random pairs are drawn."""
    calibration_pairs: int = 200_000
    """The most random pairs that are scored."""

    # The map
    most_laid_out: int = 200_000
    """Of more different images, only a sample is laid out by t-SNE."""
    laid_out_of_many: int = 100_000
    """How many images such a sample has; the others are placed among them."""
    compared_with_all: int = 20_000
    """Placed among more images, an image is only compared with groups of them near to it."""
    rows_of_atlas: int = 5_000
    """The most rows of a map that one transaction writes."""

    # Neighbours
    most_neighbours: int = 1_000
    """The most neighbours that are stored of each image."""
    compared_exactly: int = 100_000
    """Of more images, neighbours are looked for among those of groups near to each."""
    rows_of_neighbours: int = 50_000
    """The most rows of neighbours that one transaction writes."""

    # Evaluation
    vectors_at_once: int = 1_000
    """How many vectors are read from an index at once."""
    sweep_queries: int = 2_000
    """The most queries of a sweep."""

    # Pages
    characters_of_name: int = 100
    """Longer names of images are shortened: a page repeats each name several times."""
    most_thumbnails_known: int = 20_000
    """With more thumbnails, the cells of a table page do not check which rows have one."""
    rows_for_facets: int = 10_000
    """Of more rows, facets are not counted before somebody asks: Datasette reads all values."""
    seconds_of_selection: float = 5
    """The longest time for reading which rows a filter selects, of which there may be millions."""
    seconds_of_masks: float = 60
    bytes_of_masks: int = 16_000_000
    """Which images of a map pass a filter is kept so long, a byte an image."""
    bytes_of_tiles: int = 64_000_000
    """Bytes of drawn map tiles that are kept for one database."""
    seconds_a_body: float = 60
    """The time in which an upload must be complete."""
    bytes_a_piece: int = 25_000
    """So much of an upload must arrive in each time of `seconds_a_piece`, but for its end."""
    seconds_a_piece: float = 5
    """A line of 40 kbit/s is fast enough, and nobody keeps a request by a byte now and then."""
    bytes_of_held: int = 32_000_000
    """The pictures that visitors have sent, held for their pages: some 250 of ordinary
    photos, for each database. With more, the one that was used least recently gives way."""
    seconds_of_held: float = 3600
    """A picture of a visitor is held so long after its last use: for a pause, not for a day."""
    bytes_of_parts: int = 4_000_000
    """The vectors of parts of pictures that were searched with last, for each database."""
    bytes_of_whys: int = 16_000_000
    """What was found last of why two pictures are alike, for each database."""
    bytes_of_bodies: int = 200_000_000
    """The most bytes of uploads that are arriving at one time. With more, the oldest gives way."""


LIMITS = Limits()
"""The limits in force."""
