"""The Python API refuses what the command line refuses, in one sentence and before it writes."""

import pytest
from helpers.pictures import draw

from datasette_imgsim import Collection
from datasette_imgsim.errors import ImgsimError


@pytest.fixture
def collection(tmp_path, toy):
    draw(tmp_path / "images/a.jpg")
    return Collection(tmp_path / "photos.db")


@pytest.mark.parametrize(
    "options, sentence",
    [
        ({"size": 0}, "size is a whole number from 1 to 4096, not 0"),
        ({"size": 5000}, "size is a whole number from 1 to 4096, not 5000"),
        ({"size": "8"}, "size is a whole number from 1 to 4096, not '8'"),
        ({"pooling": "mean"}, "pooling is one of avg, max, gem and flatten, not 'mean'"),
        ({"resize": "stretch"}, "resize is one of squash, crop and pad, not 'stretch'"),
        ({"dtype": "int8"}, "dtype is one of float16 and float32, not 'int8'"),
        ({"preprocess": "caffe"}, "preprocess is one of torchvision and oxford, not 'caffe'"),
        ({"precision": "half"}, "precision is one of auto, float32, bfloat16 and int8, not 'half'"),
        ({"batch_size": 0}, "batch_size is a whole number from 1 up, not 0"),
        ({"batch_size": True}, "batch_size is a whole number from 1 up, not True"),
        ({"workers": -1}, "workers is a whole number from 1 up, not -1"),
        ({"thumbnail_size": 15}, "thumbnail_size is a whole number from 16 to 2048, not 15"),
        ({"max_pixels": 1.5}, "max_pixels is a whole number from 1 up, not 1.5"),
        ({"colour": "red"}, "embed has no option 'colour'"),
        ({"exclude": ""}, "An empty pattern excludes nothing"),
    ],
)
def test_options_that_make_no_sense(collection, options, sentence):
    with pytest.raises(ImgsimError) as error:
        collection.embed(collection.database.parent / "images", **options)
    assert sentence in str(error.value)
    assert not collection.database.exists()


def test_a_linked_database_is_verified_beside_its_files(tmp_path, toy):
    draw(tmp_path / "pictures/a.jpg")
    for folder in ("databases", "elsewhere"):
        (tmp_path / folder).mkdir()
    Collection(tmp_path / "databases/photos.db").embed(tmp_path / "pictures", model="toy")
    (tmp_path / "elsewhere/here").symlink_to(tmp_path / "databases", target_is_directory=True)
    report = Collection(tmp_path / "elsewhere/here/photos.db").verify()
    assert [drift.images for drift in report.drifts] == [1] and not report.problems
