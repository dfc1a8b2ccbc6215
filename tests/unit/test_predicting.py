"""A model of few labels: the head, its probabilities, and what is said of its accuracy."""

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression

from pools import write_pool
from zeroshot_al.base.errors import InputError
from zeroshot_al.base.files import write_csv
from zeroshot_al.base.pool import HEADER, Pool
from zeroshot_al.predicting.accuracy import density, difference, share, weighted, weights_for
from zeroshot_al.predicting.assessment import (
    HeldOut,
    PoolLikeness,
    assess,
    compare_with_random,
    gains,
)
from zeroshot_al.predicting.calibration import calibration_error, fit_temperature
from zeroshot_al.predicting.head import (
    STRENGTHS,
    UNTRIED,
    choose_strength,
    fit_head,
    logits_out_of_fold,
    stratified_folds,
)
from zeroshot_al.predicting.labelled import Labelled, read_labels
from zeroshot_al.predicting.report import Guesses, sentences
from zeroshot_al.probing.heads import centred


def blobs(n_samples, n_classes=3, noise=1.0, seed=0):
    """Make centred float32 (n_samples, 8) rows around a centre a class, and their classes."""
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, n_classes, n_samples)
    centres = np.random.default_rng(9).normal(size=(n_classes, 8))
    rows = centres[labels] + noise * draw.normal(size=(n_samples, 8))
    return centred(rows, np.zeros(8)), labels


def labels_of(codes, rounds=None, is_random=None):
    n = len(codes)
    return Labelled(
        indices=np.arange(n),
        codes=codes,
        classes=tuple("abcdefgh"[: codes.max() + 1]),
        rounds=np.ones(n, dtype=np.int64) if rounds is None else rounds,
        is_random=np.zeros(n, dtype=bool) if is_random is None else is_random,
        test_images=np.empty((0, 1, 1, 3), np.uint8),
        test_codes=np.empty(0, dtype=np.int64),
    )


@pytest.mark.parametrize("counts", [[1, 2, 30], [1, 1, 2], [7, 7], [40, 3, 1, 9]])
@pytest.mark.parametrize("n_folds", [2, 5, 10])
def test_folds_leave_each_class_in_training(counts, n_folds):
    labels = np.repeat(np.arange(len(counts)), counts)
    folds = stratified_folds(labels, n_folds, seed=3)
    assert set(folds[labels == counts.index(1)]) == {-1} if 1 in counts else -1 not in folds
    for fold in range(n_folds):
        assert set(labels[folds != fold]) == set(labels)
        sizes = np.bincount(labels[folds == fold], minlength=len(counts))
        assert all(abs(sizes - np.array(counts) / n_folds) < 1)
    assert np.array_equal(folds, stratified_folds(labels, n_folds, seed=3))


@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_head_answers_as_scikit_learn_does(n_classes):
    rows, labels = blobs(90, n_classes)
    expected = LogisticRegression(C=10.0, max_iter=1000).fit(rows, labels).predict_proba(rows)
    found = softmax(fit_head(rows, labels, n_classes, 10.0).logits(rows), axis=1)
    assert np.allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("known", [[1], [0, 2]])
def test_a_class_without_a_label_is_never_guessed(known):
    rows, labels = blobs(90)
    kept = np.isin(labels, known)
    guesses = fit_head(rows[kept], labels[kept], 3, 10.0).logits(rows).argmax(axis=1)
    assert set(guesses) == set(known)


def test_held_out_answers_do_not_know_their_label():
    # Labels by chance: a head that has seen them is right on them, and else by chance.
    rows = centred(np.random.default_rng(4).normal(size=(90, 60)), np.zeros(60))
    labels = np.arange(90) % 3
    logits, _ = logits_out_of_fold(rows, labels, stratified_folds(labels, 10, 0), 3, 100.0)
    assert (logits.argmax(axis=1) == labels).mean() < 0.5
    assert (fit_head(rows, labels, 3, 100.0).logits(rows).argmax(axis=1) == labels).mean() > 0.9


def test_the_strength_has_the_best_calibrated_probabilities():
    rows, labels = blobs(60, noise=0.8)
    folds = stratified_folds(labels, 10, 0)
    losses = {}
    for strength in STRENGTHS:
        logits, _ = logits_out_of_fold(rows, labels, folds, 3, strength)
        scaled = [logits / t for t in np.geomspace(0.05, 20, 200)]
        losses[strength] = min(
            -np.log(softmax(x, axis=1)[np.arange(60), labels]).mean() for x in scaled
        )
    assert choose_strength(rows, labels, folds, 3)[0] == min(losses, key=losses.get)


def test_without_a_label_to_hold_out_no_strength_is_tried():
    strength, logits, _ = choose_strength(np.eye(2), np.array([0, 1]), np.array([-1, -1]), 2)
    assert strength == UNTRIED and np.isnan(logits).all()


@pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
def test_the_temperature_of_drawn_labels_is_found(temperature):
    draw = np.random.default_rng(0)
    logits = draw.normal(size=(20000, 4)) * 2
    shares = softmax(logits, axis=1).cumsum(axis=1)
    labels = (draw.random((20000, 1)) > shares).sum(axis=1)
    assert fit_temperature(logits * temperature, labels) == pytest.approx(temperature, rel=0.05)
    assert fit_temperature(logits[:0], labels[:0]) == 1.0


def test_the_calibration_error_is_that_of_overconfidence():
    draw = np.random.default_rng(1)
    sure = draw.uniform(0.5, 1, 50000)
    right = (draw.random(50000) < sure).astype(float)
    even = np.ones(50000)
    assert calibration_error(sure, right, even) < 0.01
    assert calibration_error(sure + 0.1, right, even) == pytest.approx(0.1, abs=0.01)
    # The weights count: on the half that is sure, all is as it says.
    wrong = np.where(np.arange(50000) < 25000, 1 - right, right)
    assert calibration_error(sure[:25000], wrong[:25000], even[:25000]) > 0.3
    assert calibration_error(sure, wrong, np.where(np.arange(50000) < 25000, 0.0, 1)) < 0.02


def test_weighted_labels_are_as_the_pool():
    draw = np.random.default_rng(0)
    labelled = draw.normal(size=(50, 2))
    weights = weights_for(labelled, np.array([0.4, -0.2]))
    assert weights.sum() == pytest.approx(1)
    assert weights @ labelled == pytest.approx([0.4, -0.2])
    assert weights_for(labelled, labelled.mean(axis=0)) == pytest.approx(np.full(50, 1 / 50))
    # Labels that are all alike in it cannot be weighted by it.
    assert weights_for(np.ones((4, 1)), np.array([2.0])) == pytest.approx(np.full(4, 0.25))


def test_the_interval_holds_where_the_labels_were_chosen_to_be_hard():
    draw = np.random.default_rng(0)
    n_inside, n_plain = 0, 0
    for _ in range(200):
        ease = draw.uniform(0, 1, 4000)
        right = (draw.random(4000) < 0.2 + 0.7 * ease).astype(float)
        # A hard image is four times as likely to be labelled as an easy one.
        chance = 1.6 - 1.2 * ease
        picks = draw.choice(4000, 200, replace=False, p=chance / chance.sum())
        properties = ease[picks, None]
        weights = weights_for(properties, ease[None].mean(axis=1))
        found = weighted(right[picks], weights, properties)
        n_inside += found.low <= right.mean() <= found.high
        plain = share(int(right[picks].sum()), 200)
        n_plain += plain.low <= right.mean() <= plain.high
    assert n_inside >= 184 and n_plain < 150


def test_shares_and_differences_have_their_textbook_intervals():
    found = share(8, 10)  # Wilson: 0.490 to 0.943
    assert (found.value, found.n) == (0.8, 10)
    assert (found.low, found.high) == pytest.approx((0.490, 0.943), abs=5e-4)
    found = difference(np.array([1.0, 0, 0, -1, 1, 0, 0, 1]))
    assert found.value == 0.25
    assert found.high - found.value == pytest.approx(1.96 * np.sqrt(0.5 / 8))


def test_density_is_the_similarity_to_others():
    rows = centred(np.random.default_rng(0).normal(size=(40, 5)), np.zeros(5))
    similarity = rows @ rows.T
    np.fill_diagonal(similarity, -2)
    expected = np.sort(similarity, axis=1)[:, -10:].mean(axis=1)
    assert density(rows, rows) == pytest.approx(expected, abs=1e-5)
    # An image that is not in the sample has as many neighbours.
    expected = np.sort(rows[:1] @ rows[1:].T, axis=1)[:, -10:].mean(axis=1)
    assert density(rows[:1], rows[1:]) == pytest.approx(expected, abs=1e-5)


def fitted(rows, labelled):
    n_classes = len(labelled.classes)
    folds = stratified_folds(labelled.codes, 10, 0)
    _, logits, heads = choose_strength(rows, labelled.codes, folds, n_classes)
    of_sample = np.array([head.logits(rows) for head in heads]).reshape(-1, len(rows), n_classes)
    held = HeldOut.of(logits, labelled.codes, of_sample)
    properties = np.column_stack([held.confidence, density(rows[held.places], rows)])
    return folds, held, PoolLikeness(properties, properties.mean(axis=0))


def test_labels_that_contradict_a_confident_guess_are_doubtful():
    rows, labels = blobs(300, noise=0.2)
    wrong = np.arange(0, 300, 50)
    labels[wrong] = (labels[wrong] + 1) % 3
    _, held, _ = fitted(rows, labels_of(labels))
    assert sorted(held.doubtful()[:6].tolist()) == wrong.tolist()
    assert held.confusion().sum() == 300
    assert np.trace(held.confusion()) == held.right.sum()


def test_rounds_are_compared_on_the_same_labels():
    rows, labels = blobs(200, noise=1.5)
    rounds = np.repeat([1, 2, 3], [10, 90, 100])
    labelled = labels_of(labels, rounds)
    folds, held, like = fitted(rows, labelled)
    found = gains(rows, labelled, folds, held, like)
    assert [(row["round"], row["labels"]) for row in found] == [(1, 10), (2, 100), (3, 200)]
    first, second, third = found
    assert first["gain"] is None and second["gain"].low > 0
    assert second["gain"].value == pytest.approx(second["accuracy"].value - first["accuracy"].value)
    assert abs(third["gain"].value) < 0.05
    assert third["accuracy"].n == 200
    figures = ("accuracy", "accuracy_test", "accuracy_random", "order_and_random")
    summary = {"labels": 200, "single_label_classes": [], **dict.fromkeys(figures)}
    advice = [sentences(summary | {"rounds": found[:n]})[-1].split("; ")[-1] for n in (2, 3)]
    assert advice == [
        "the next of that size will hardly add more than that.",
        "that may be nothing, so stop or take a larger batch.",
    ]


def test_an_order_that_leaves_classes_out_is_worse_than_random():
    rows, labels = blobs(300, noise=0.5)
    one_class = np.argsort(labels == 0, kind="stable")[::-1]  # the first class comes first
    rows, labels = rows[one_class], labels[one_class]
    is_random = np.zeros(300, dtype=bool)
    is_random[np.random.default_rng(0).permutation(300)[:60]] = True
    labelled = labels_of(labels, is_random=is_random)
    found = compare_with_random(rows, labelled, stratified_folds(labels, 10, 0))
    assert found["labels"] == 54
    assert found["difference"].high < 0 and found["order"] < 0.5 < found["random"]
    # As many random labels as picks at least, else there is nothing to compare.
    assert compare_with_random(rows, labels_of(labels), stratified_folds(labels, 10, 0)) is None


def test_too_few_labels_are_said_to_be_too_few():
    labelled = labels_of(np.array([0, 1, 1]))
    _, held, like = fitted(blobs(3)[0], labelled)
    summary = {
        "labels": 3,
        "single_label_classes": labelled.single_classes,
        "accuracy_test": None,
        "order_and_random": None,
        "rounds": [],
    }
    said = sentences(summary | assess(held, like, labelled))
    assert said[0].startswith("3 labels are too few to say how good")
    assert said[1] == "Of a there is one label: it is trained on, and never tested."


def test_guesses_have_the_margin_to_the_next_class():
    guesses = Guesses.of(np.log([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]]), 1.0)
    rows = list(guesses.rows(["x", "y"], ["a", "b", "c"], ["", "b"]))
    assert rows == [("x", "a", "0.5000", "0.2000", ""), ("y", "c", "0.8000", "0.7000", "b")]


@pytest.fixture
def small_pool(tmp_path):
    images = np.zeros((5, 2, 2, 3), np.uint8)
    pool = Pool.unlabelled(images, ("a", "b", "c", "d", "e"))
    write_pool(pool, tmp_path / "pool")
    return pool


def write_labels(tmp_path, *rows):
    write_csv(tmp_path / "labels.csv", HEADER, rows)
    return tmp_path


def test_labels_come_in_the_order_in_which_they_were_given_out(small_pool, tmp_path):
    rows = [(name, "train", label) for name, label in zip("abcd", "xyxz", strict=True)]
    directory = write_labels(tmp_path, *rows)
    batches = {1: {"c": "far", "e": "random"}, 2: {"a": "random"}}
    found = read_labels(small_pool, directory, batches)
    assert found.indices.tolist() == [1, 3, 2, 0]
    assert [found.classes[code] for code in found.codes] == ["y", "z", "x", "x"]
    assert found.rounds.tolist() == [0, 0, 1, 2]
    assert found.is_random.tolist() == [False, False, False, True]
    assert found.single_classes == ["y", "z"]
    assert read_labels(small_pool, write_labels(tmp_path), batches) is None


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([("a", "train", "x"), ("b", "train", "x")], "all 2 labels are of the class 'x'"),
        ([("a", "train", "x"), ("q", "train", "y")], "'q', which the pool lacks; run labels"),
    ],
)
def test_labels_that_make_no_model_are_refused(small_pool, tmp_path, rows, words):
    with pytest.raises(InputError, match=words):
        read_labels(small_pool, write_labels(tmp_path, *rows), {})
