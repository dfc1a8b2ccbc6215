import numpy as np
import pytest

from pools import write_pool
from tiny_training import Stop, classifier_params, noise, stop_at, tinted
from zeroshot_al.base.files import read_json
from zeroshot_al.base.pool import Pool, load_pool
from zeroshot_al.classifier import training as module
from zeroshot_al.classifier.training import Training, random_order
from zeroshot_al.methods.coreset import CoresetChain

N_TRAIN, N_TEST, BUDGETS, SEED = 60, 200, (12, 18, 24), 3
PARAMS = classifier_params(steps=10, batch_size=8)


@pytest.fixture(scope="module")
def pool_dir(tmp_path_factory):
    """A hard problem with many test images, so that no two models score the same by chance."""
    images, labels = tinted(N_TRAIN + N_TEST)
    images = images // 3 + noise(len(images), seed=9) // 3
    splits = ["train"] * N_TRAIN + ["test"] * N_TEST
    ids = [f"{split}/{i}" for i, split in enumerate(splits)]
    directory = tmp_path_factory.mktemp("data") / "pool"
    write_pool(Pool(images, ids, splits, ["abc"[label] for label in labels]), directory)
    return str(directory)


@pytest.fixture(scope="module")
def chain(pool_dir, tmp_path_factory):
    return run_chain(pool_dir, tmp_path_factory.mktemp("chain"))


def run_chain(pool_dir, directory, on_step=lambda n: None, seed=SEED):
    return CoresetChain(BUDGETS, seed, PARAMS, pool_dir).run(directory, on_step)


def score(pool_dir, picks, seed, directory, on_step=lambda n: None):
    return Training(tuple(picks), seed, PARAMS, pool_dir).run(directory, on_step)


def test_a_random_order_is_a_permutation_and_a_function_of_its_seed():
    order = random_order(50, 0)
    assert order.dtype == np.int64
    assert sorted(order) == list(range(50))
    assert np.array_equal(order, random_order(50, 0))
    assert not np.array_equal(order, random_order(50, 1))


def test_the_chain_picks_distinct_images_and_starts_at_random(chain):
    picks, accuracies = chain
    assert len(picks) == len(set(picks)) == max(BUDGETS)
    assert set(picks) <= set(range(N_TRAIN))
    assert all(type(pick) is int for pick in picks)
    assert picks[: BUDGETS[0]] == random_order(N_TRAIN, SEED)[: BUDGETS[0]].tolist()
    assert len(accuracies) == len(BUDGETS)
    assert all(0 <= accuracy <= 1 for accuracy in accuracies)


def test_each_budget_is_scored_on_its_prefix_as_any_other_picks_are(chain, pool_dir, tmp_path):
    picks, accuracies = chain
    first = random_order(N_TRAIN, SEED)[: BUDGETS[0]]
    scores = [
        score(pool_dir, subset, SEED, tmp_path / str(turn))
        for turn, subset in enumerate((first, picks[: BUDGETS[1]], picks))
    ]
    assert scores == accuracies


def test_a_round_extends_by_the_image_farthest_from_all_that_are_labelled(
    chain, pool_dir, tmp_path, monkeypatch
):
    picks, _ = chain
    pool = load_pool(pool_dir)
    labelled = np.sort(picks[: BUDGETS[0]])
    classifier = module.train_classifier(
        pool.train_images[labelled],
        pool.train_labels[labelled],
        3,
        PARAMS,
        SEED,
        tmp_path,
        lambda n: None,
    )
    embedded = classifier.embed(pool.train_images).astype(np.float64)
    embedded /= np.linalg.norm(embedded, axis=1, keepdims=True)
    distance = ((embedded[:, None] - embedded[None]) ** 2).sum(axis=2)
    for n in range(BUDGETS[0], BUDGETS[1]):
        nearest = distance[:, picks[:n]].min(axis=1)
        assert nearest[picks[n]] == pytest.approx(nearest.max(), rel=1e-5)


@pytest.mark.parametrize("last", [4, 10, 15, 29])
def test_a_chain_resumes_where_it_was_interrupted(chain, pool_dir, tmp_path, last):
    with pytest.raises(Stop):
        run_chain(pool_dir, tmp_path, stop_at(last))
    reported = []
    assert run_chain(pool_dir, tmp_path, reported.append) == chain
    assert sum(reported) == PARAMS.steps * len(BUDGETS)
    finished_rounds = (last - 1) // PARAMS.steps
    assert reported[0] == PARAMS.steps * finished_rounds


def test_a_chain_is_a_function_of_its_seed_and_not_repeated(chain, pool_dir, tmp_path):
    assert run_chain(pool_dir, tmp_path / "same") == chain
    reported = []
    assert run_chain(pool_dir, tmp_path / "same", reported.append) == chain
    assert reported == [PARAMS.steps * len(BUDGETS)]
    assert run_chain(pool_dir, tmp_path / "other", seed=4)[0] != chain[0]


def test_a_score_depends_on_seed_and_picks_but_not_on_their_order(pool_dir, tmp_path):
    picks = random_order(N_TRAIN, 5)
    cases = {
        "drawn": (picks[:20], 0),
        "sorted": (np.sort(picks[:20]), 0),
        "backwards": (picks[19::-1], 0),
        "of another seed": (picks[:20], 1),
        "others": (picks[20:40], 0),
    }
    scores = [score(pool_dir, *case, tmp_path / name) for name, case in cases.items()]
    assert len(set(scores[:3])) == 1
    assert len(set(scores)) > 1


def test_a_finished_training_is_not_repeated(pool_dir, tmp_path):
    picks = random_order(N_TRAIN, 5)[:20]
    first, again = [], []
    accuracy = score(pool_dir, picks, SEED, tmp_path, first.append)
    assert score(pool_dir, picks, SEED, tmp_path, again.append) == accuracy
    assert sum(first) == PARAMS.steps
    assert again == [PARAMS.steps]
    assert read_json(tmp_path / "accuracy.json") == {"accuracy": accuracy}
