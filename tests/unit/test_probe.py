from dataclasses import replace

import numpy as np
import pytest

from zeroshot_al.base.pool import Pool
from zeroshot_al.embedding.probe import EmbedParams, knn_accuracy, linear_accuracy, probe, probe_all
from zeroshot_al.process import memory

PARAMS = EmbedParams(linear_c=1.0, linear_max_iter=200, knn_k=10, knn_temperature=0.1, onnx=None)
PROBES = [linear_accuracy, knn_accuracy]


def clusters(n, seed, n_classes=4, n_dims=8, spread=0.1):
    """Features around one axis a class, and the classes."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, n_classes, n)
    features = np.eye(n_dims)[labels] + spread * rng.standard_normal((n, n_dims))
    return features.astype(np.float32), labels


def knn_by_hand(train, train_labels, test, k, temperature):
    """Wu et al., 2018, section 3.4, one test sample at a time."""
    predicted = []
    for query in test.astype(np.float64):
        bank = train.astype(np.float64)
        similarity = bank @ query / (np.linalg.norm(bank, axis=1) * np.linalg.norm(query))
        votes = np.zeros(train_labels.max() + 1)
        for i in np.argsort(-similarity)[:k]:
            votes[train_labels[i]] += np.exp(similarity[i] / temperature)
        predicted.append(votes.argmax())
    return np.array(predicted)


@pytest.mark.parametrize("probe", PROBES)
def test_separable_features_score_one_and_are_left_as_they_are(probe):
    arrays = (*clusters(200, 0), *clusters(100, 1))
    before = [array.tobytes() for array in arrays]
    assert probe(*arrays, PARAMS) == 1.0
    assert [array.tobytes() for array in arrays] == before
    # With fewer samples than neighbours.
    assert probe(*clusters(40, 0), *clusters(30, 1), replace(PARAMS, knn_k=500)) == 1.0


@pytest.mark.parametrize("probe", PROBES)
def test_shuffled_labels_score_about_chance(probe):
    # The test labels too: else whole clusters are hits or misses, which is far from an average.
    rng = np.random.default_rng(2)
    (train, train_labels), (test, test_labels) = clusters(400, 0), clusters(400, 1)
    accuracy = probe(
        train, rng.permutation(train_labels), test, rng.permutation(test_labels), PARAMS
    )
    assert accuracy == pytest.approx(0.25, abs=0.09)  # 4 standard deviations


@pytest.mark.parametrize(("k", "temperature"), [(1, 0.1), (5, 0.07), (20, 0.5), (60, 1.0)])
def test_knn_equals_a_plain_reference(k, temperature):
    train, train_labels = clusters(60, 0, spread=0.8)
    test, test_labels = clusters(300, 1, spread=0.8)
    params = EmbedParams(1.0, 100, k, temperature, None)
    expected = (knn_by_hand(train, train_labels, test, k, temperature) == test_labels).mean()
    assert 0.3 < expected < 0.95  # neither easy nor hopeless: the comparison means something
    accuracy = knn_accuracy(train, train_labels, test, test_labels, params)
    assert accuracy == pytest.approx(expected, abs=1e-9)


LENGTHS = np.random.default_rng(3).uniform(0.1, 9, (200, 1)).astype(np.float32)
SCALE = np.float32([1e-3, 1, 1e3, 1, 10, 1, 0.1, 1])


@pytest.mark.parametrize(
    ("probe", "by_train", "by_test"), [(knn_accuracy, LENGTHS, 5), (linear_accuracy, SCALE, SCALE)]
)
def test_knn_goes_by_direction_and_the_linear_probe_minds_no_scale(probe, by_train, by_test):
    train, train_labels = clusters(200, 0, spread=0.8)
    test, test_labels = clusters(200, 1, spread=0.8)
    expected = probe(train, train_labels, test, test_labels, PARAMS)
    scaled = probe(train * by_train, train_labels, test * by_test, test_labels, PARAMS)
    assert scaled == pytest.approx(expected, abs=0.011)


def test_a_probe_is_left_out_without_the_memory(tmp_path, monkeypatch, caplog):
    rows, labels = clusters(100, 0)
    images = np.zeros((100, 8, 8, 3), dtype=np.uint8)
    names = [str(label) for label in labels]
    splits = ("train",) * 60 + ("test",) * 40
    pool = Pool(images, [str(i) for i in range(100)], splits, names)
    np.save(tmp_path / "moco.npy", rows, allow_pickle=False)
    files = {"moco": str(tmp_path / "moco.npy")}
    both = probe_all(files, pool, PARAMS)
    assert list(both) == ["moco", "pixels"]
    assert both["moco"] == probe(rows, pool, PARAMS)
    assert not [record for record in caplog.records if record.levelname == "WARNING"]
    monkeypatch.setattr(memory, "available_memory", lambda: 100_000)
    assert probe_all(files, pool, PARAMS) == {"moco": both["moco"]}
    assert (
        "the probe of pixels, 100 x 192, needs 0.2 MiB of memory and 0.1 are available; it is "
        "left out" in caplog.text
    )
