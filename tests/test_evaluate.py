"""`eval`: the metrics against independent accounts of them, and the command as a user sees it."""

import json
from contextlib import closing

import numpy as np
import pytest
from helpers.commands import imgsim
from helpers.databases import change, expected_scores, make_space, random_vectors, rows
from helpers.pictures import as_jpeg
from PIL import Image
from sklearn.metrics import average_precision_score, ndcg_score

from datasette_imgsim import evaluate
from datasette_imgsim.db.connect import open_reader
from datasette_imgsim.db.spaces import choose_space
from datasette_imgsim.limits import LIMITS

KINDS = ["cat", "dog", "bird"]


@pytest.fixture
def labelled(tmp_path):
    """Thirty random vectors of two levels; `kind` is cat, dog or bird, `alone` only once."""
    path = make_space(
        tmp_path / "toy.db", random_vectors(30), level_weights={"pool4": 1, "pool5": 3}
    )
    change(path, "alter table images add column kind text")
    for id in range(1, 29):
        change(path, "update images set kind = ? where id = ?", KINDS[id % 3], id)
    change(path, "update images set kind = 'alone' where id = 29")
    return path


def report(path, *options):
    return json.loads(imgsim("eval", path, "--label", "kind", "--json", *options))


def result(path, name, *options):
    (found,) = [r for r in report(path, *options)["results"] if r["name"] == name]
    return found


# The metrics


def test_metrics_of_an_example_worked_by_hand():
    # Ranked: relevant, not, relevant, not, not, not, relevant.
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3], np.float32)
    relevant = np.array([True, False, True, False, False, False, True])
    ap, p1, p5, r10, ndcg = evaluate.rank_metrics(scores, relevant)
    assert ap == pytest.approx((1 / 1 + 2 / 3 + 3 / 7) / 3)
    assert (p1, p5, r10) == (1, 2 / 5, 1)
    ideal = 1 / np.log2(2) + 1 / np.log2(3) + 1 / np.log2(4)
    assert ndcg == pytest.approx((1 / np.log2(2) + 1 / np.log2(4) + 1 / np.log2(8)) / ideal)


@pytest.mark.parametrize("seed", range(20))
def test_metrics_agree_with_scikit_learn(seed):
    random = np.random.default_rng(seed)
    scores = random.standard_normal(200).astype(np.float32)
    relevant = random.random(200) < random.uniform(0.01, 0.6)
    relevant[random.integers(200)] = True
    ap, _, _, _, ndcg = evaluate.rank_metrics(scores, relevant)
    assert ap == pytest.approx(average_precision_score(relevant, scores))
    assert ndcg == pytest.approx(ndcg_score([relevant], [scores], k=10))


def test_recall_counts_all_that_are_relevant():
    scores = np.arange(40, 0, -1, dtype=np.float32)
    relevant = np.zeros(40, bool)
    relevant[[0, 3, 9, 10, 30]] = True
    assert evaluate.rank_metrics(scores, relevant)[3] == 3 / 5


def test_of_equal_scores_the_irrelevant_come_first():
    same = np.zeros(10, np.float32)
    relevant = np.arange(10) < 2
    ap, p1, *_ = evaluate.rank_metrics(same, relevant)
    assert ap == pytest.approx((1 / 9 + 2 / 10) / 2)
    assert p1 == 0


def test_chance_is_what_random_orders_give_on_average():
    random = np.random.default_rng(0)
    task = evaluate.Task.of(["a"] * 4 + ["b"] * 9 + ["c"])
    drawn = []
    for _ in range(4000):
        scores = random.random((14, 14), np.float32)
        drawn.append(
            [
                evaluate.rank_metrics(
                    np.delete(scores[q], q), np.delete(task.classes == task.classes[q], q)
                )
                for q in (0, 5)
            ]
        )
    expected = evaluate.by_chance(task)[[0, 5]]
    assert np.mean(drawn, axis=0) == pytest.approx(expected, abs=0.02)


def test_chance_with_fewer_images_than_metrics_look_at():
    expected = evaluate.by_chance(evaluate.Task.of(["a", "a", "b"]))
    assert expected[0] == pytest.approx([3 / 4, 1 / 2, 1 / 5, 1, (1 + 1 / np.log2(3)) / 2])


def jpeg(*colours):
    """A picture of stripes."""
    image = Image.new("RGB", (90, 60))
    for number, colour in enumerate(colours):
        image.paste(colour, (30 * number, 0, 30 * number + 30, 60))
    return as_jpeg(image, quality=95)


def test_colour_histograms_know_colours_and_not_places():
    pictures = [jpeg("red", "red", "blue"), jpeg("blue", "red", "red"), jpeg("red", "blue", "blue")]
    found = evaluate.histograms(iter([*pictures, None, b"damaged", pictures[0][:300]]), 6)
    assert np.linalg.norm(found[:3], axis=1) == pytest.approx(1)
    assert not found[3:].any()
    # Compression blurs the borders a little.
    assert found[0] @ found[1] == pytest.approx(1, abs=0.1)
    assert found[0] @ found[2] == pytest.approx(2 * (2 / 9) ** 0.5, abs=0.1)


@pytest.mark.parametrize("levels,count", [(1, 1), (2, 5), (3, 15), (5, 70), (18, 18 + 153)])
def test_the_grid_holds_all_weights_in_quarters_of_few_levels(levels, count):
    grid = np.array(evaluate.weight_grid(levels))
    assert len({tuple(weights) for weights in grid}) == count
    assert (grid.sum(1) == 1).all()
    assert {tuple(row) for row in np.eye(levels)} <= {tuple(row) for row in grid}


# The command


def by_hand(path, metric, level_weights=None, over="queries"):
    """A metric from the scores as an independent account has them."""
    scores = expected_scores(path, level_weights)
    kinds = dict(rows(path, "select id, kind from images where kind is not null"))
    per_class = {}
    for query, kind in kinds.items():
        others = [id for id in kinds if id != query]
        relevant = [kinds[id] == kind for id in others]
        if any(relevant):
            value = metric(relevant, [scores[query][id] for id in others])
            per_class.setdefault(kind, []).append(value)
    if over == "queries":
        return np.mean([value for values in per_class.values() for value in values])
    return np.mean([np.mean(values) for values in per_class.values()])


@pytest.mark.parametrize("over", ["queries", "classes"])
def test_default_level_weights(labelled, over):
    found = result(labelled, "pool4=0.25,pool5=0.75 (default)")
    assert found["level_weights"] == {"pool4": 0.25, "pool5": 0.75}
    expected = by_hand(labelled, average_precision_score, over=over)
    assert found[f"over_{over}"]["mAP"] == pytest.approx(expected, abs=1e-4)


def test_equal_vectors_have_equal_scores():
    # Products of matrices need not be alike for equal rows.
    vectors = np.random.default_rng(0).standard_normal((1, 333)).astype(np.float32)
    vectors = np.repeat(vectors / np.linalg.norm(vectors), 301, axis=0)
    task = evaluate.Task.of([number % 7 for number in range(301)])
    (found,) = evaluate.measure([vectors], np.ones((1, 1)), task)
    # All others of another label come first.
    last = np.arange(1, 43) / np.arange(259, 301)
    assert found[:, 0] == pytest.approx(np.full(301, last.mean()))


def test_each_level(labelled):
    for level in ("pool4", "pool5"):
        expected = by_hand(labelled, average_precision_score, {level: 1})
        assert result(labelled, level)["over_queries"]["mAP"] == pytest.approx(expected, abs=1e-4)


def test_what_takes_part(labelled):
    found = report(labelled)
    assert found["space"] == "toy"
    # 30 has no label; 29 is alone with its own and so no query.
    assert (found["images"], found["without_label"]) == (29, 1)
    assert (found["classes"], found["queries"]) == (4, 28)
    assert found["damaged"] == 0


def test_images_whose_vector_is_damaged_are_counted(labelled):
    change(labelled, "update imgsim_vectors set vector = x'00' where image_key = 3")
    assert (report(labelled)["images"], report(labelled)["damaged"]) == (28, 1)
    text = imgsim("eval", labelled, "--label", "kind")
    assert "1 image left out: the vector is damaged" in text


def test_a_space_of_one_level_has_one_row_for_it(tmp_path):
    path = make_space(tmp_path / "toy.db", random_vectors(8, 4), levels={"pool5": 4})
    change(path, "update images set year = 2000 + id % 2")
    found = json.loads(imgsim("eval", path, "--label", "year", "--json"))
    assert [r["name"] for r in found["results"]] == ["pool5 (default)", "random order"]


def test_real_pictures_beat_colours_and_colours_beat_chance(photos):
    found = json.loads(imgsim("eval", photos / "photos.db", "--label-from-folder", "--json"))
    *levels, network, colours, chance = (r["over_queries"]["mAP"] for r in found["results"])
    assert len(levels) == 2
    assert found["classes"] == 4 and found["queries"] == 24
    assert 1 >= network > chance and colours > chance
    assert chance == pytest.approx(
        evaluate.by_chance(evaluate.Task.of(list("abcd") * 6))[0, 0], abs=1e-6
    )


def test_sweep_tries_levels_weights_and_centring(labelled):
    swept = report(labelled, "--sweep")["sweep"]
    assert len(swept) == 2 * 5
    maps = [r["over_queries"]["mAP"] for r in swept]
    assert maps == sorted(maps, reverse=True)
    (half,) = [r for r in swept if r["name"] == "pool4=0.5,pool5=0.5" and r["centred"]]
    expected = by_hand(labelled, average_precision_score, {"pool4": 1, "pool5": 1})
    assert half["over_queries"]["mAP"] == pytest.approx(expected, abs=1e-4)


def test_sweep_without_centring(labelled):
    swept = report(labelled, "--sweep")["sweep"]
    (found,) = [r for r in swept if r["name"] == "pool5" and not r["centred"]]
    change(labelled, "update imgsim_spaces set centre = null")
    expected = by_hand(labelled, average_precision_score, {"pool5": 1})
    assert found["over_queries"]["mAP"] == pytest.approx(expected, abs=1e-4)


def test_vectors_that_are_not_in_memory_are_read(labelled, monkeypatch):
    expected = report(labelled, "--sweep")
    monkeypatch.setattr(LIMITS, "bytes_in_memory", 0)
    monkeypatch.setattr(LIMITS, "vectors_at_once", 7)
    assert report(labelled, "--sweep") == expected


def test_a_sweep_without_a_centre_has_no_results_with_centring(labelled):
    change(labelled, "update imgsim_spaces set centre = null")
    assert {r["centred"] for r in report(labelled, "--sweep")["sweep"]} == {False}
    assert result(labelled, "pool5")["centred"] is False
    assert "with centring" not in imgsim("eval", labelled, "--label", "kind", "--sweep")


def test_a_sweep_says_that_it_asks_a_sample(labelled, monkeypatch):
    assert report(labelled, "--sweep")["sweep_queries"] == 28
    monkeypatch.setattr(LIMITS, "sweep_queries", 20)
    assert report(labelled, "--sweep")["sweep_queries"] == 20
    text = imgsim("eval", labelled, "--label", "kind", "--sweep")
    assert "Below: 20 of the queries, chosen at random" in text


def test_the_progress_counts_all_rankings(labelled, monkeypatch):
    monkeypatch.setattr(LIMITS, "sweep_queries", 20)
    with closing(open_reader(labelled)) as conn:
        space = choose_space(conn)
        found = evaluate.Evaluation(conn, space, evaluate.read_labels(conn, space, "kind"))
        done = []
        found.results(done.append)
        assert sum(done) == found.work(sweep=False)
        found.sweep(done.append)
        assert sum(done) == found.work(sweep=True)


def test_a_sweep_of_many_images_takes_a_sample_of_queries():
    task = evaluate.Task.of([number % 7 for number in range(5000)])
    sample = task.sample(LIMITS.sweep_queries)
    assert len(sample.queries) == LIMITS.sweep_queries
    assert np.array_equal(sample.queries, task.sample(LIMITS.sweep_queries).queries)
    assert len(sample.classes) == 5000


def test_for_people(photos):
    text = imgsim("eval", photos / "photos.db", "--label-from-folder", "--sweep")
    assert "24 images of 4 labels, 24 queries" in text
    for part in ("mAP", "nDCG@10", "(default)", "colour histogram", "random order",
                 "mean over labels", "without centring"):  # fmt: skip
        assert part in text


@pytest.mark.parametrize(
    "options,sentence",
    [
        (["--label", "colour"], "The table 'images' has no column 'colour': there is id, year"),
        (["--label-from-folder"], "The table 'images' has no column 'path': there is id, year"),
        (["--label-from-folder"], "Name the column of the labels with --label"),
        (["--label", ""], "The table 'images' has no column ''"),
        (["--label", "kind", "--space", "other"], "No space 'other': there is toy"),
        (["--label", "year"], "All images have the same label"),
        (["--label", "id"], "No label stands at two images"),
        (["--label", "empty"], "No image has a label"),
    ],
)
def test_what_cannot_be_measured_is_a_sentence(labelled, options, sentence):
    change(labelled, "alter table images add column empty text")
    text = imgsim("eval", labelled, *options, exit_code=1)
    assert text.startswith("Error: ") and sentence in text


@pytest.mark.parametrize("options", [[], ["--label", "kind", "--label-from-folder"]])
def test_labels_must_be_said_once(labelled, options):
    assert "--label COLUMN or --label-from-folder" in imgsim(
        "eval", labelled, *options, exit_code=2
    )


def test_a_generated_column_can_be_the_label(labelled):
    change(labelled, "alter table images add column half as (id % 2)")
    assert json.loads(imgsim("eval", labelled, "--label", "half", "--json"))["classes"] == 2


def test_odd_labels(labelled):
    change(labelled, 'alter table images add column "sub-ject"')
    change(labelled, "update images set \"sub-ject\" = iif(id % 2, 7, x'ff00')")
    # Text in another encoding than UTF-8.
    change(labelled, "update images set \"sub-ject\" = cast(x'636166e9' as text) where id > 20")
    found = json.loads(imgsim("eval", labelled, "--label", "sub-ject", "--json"))
    assert (found["images"], found["classes"]) == (30, 3)


def test_folders_of_a_table_with_odd_paths_and_text_keys(tmp_path):
    path = make_space(
        tmp_path / "toy.db",
        random_vectors(8, 4),
        list("abcdefgh"),
        levels={"pool5": 4},
        key="text primary key",
    )
    change(path, "alter table images add column path")
    change(path, "update images set path = iif(id < 'e', 'x/', 'y/') || id || '.jpg'")
    change(path, "update images set path = x'ff' where id = 'a'")
    change(path, "update images set path = 7 where id = 'b'")
    change(path, "update images set path = cast(x'782fe9' as text) where id = 'c'")
    found = json.loads(imgsim("eval", path, "--label-from-folder", "--json"))
    assert (found["images"], found["classes"], found["without_label"]) == (6, 2, 2)
    named = {row["id"]: row["path"] for row in json.loads(imgsim("similar", path, "e", "--json"))}
    assert (named["a"], named["b"], named["c"], named["d"]) == (None, None, "x/\ufffd", "x/d.jpg")
