import functools

import numpy as np
import pytest
import torch

from tiny_training import Stop, classifier_params, kill_when, start, stop_at, tinted, weights
from zeroshot_al.base.errors import InputError
from zeroshot_al.classifier import classifier as module
from zeroshot_al.classifier.augment_supervised import normalize
from zeroshot_al.classifier.classifier import train_classifier
from zeroshot_al.engine.checkpoint import Checkpoint
from zeroshot_al.engine.pixels import pixel_statistics


def train(directory, seed=0, on_step=lambda n: None, n=24, **changes):
    images, labels = tinted(n)
    return train_classifier(
        images, labels, 3, classifier_params(**changes), seed, directory, on_step
    )


@pytest.fixture
def save_every_epoch(monkeypatch):
    monkeypatch.setattr(module, "Checkpoint", functools.partial(Checkpoint, every_s=0.0))


def test_an_easy_problem_is_learnt(tmp_path):
    classifier = train(tmp_path, steps=40, batch_size=16, n=60)
    images, labels = tinted(90, seed=1)
    assert classifier.accuracy(images, labels) > 0.9
    # The complement, so that accuracy is not simply 1 for everything.
    assert classifier.accuracy(images, (labels + 1) % 3) < 0.1


def test_accuracy_is_a_plain_count_over_batches(tmp_path):
    classifier = train(tmp_path, steps=2)
    images, labels = tinted(30, seed=1)
    scores = classifier._apply(classifier.network, images, batch_size=7)
    expected = sum(int(row.argmax()) == label for row, label in zip(scores, labels, strict=True))
    assert classifier.accuracy(images, labels) == expected / 30


def test_weights_are_a_function_of_the_seed_alone(tmp_path):
    networks = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        torch.rand(len(networks) + 1)  # the global generator has no say
        networks.append(weights(train(tmp_path / name, seed, steps=3).network))
    assert networks[0] == networks[1] != networks[2]


def test_the_flip_in_the_test_adds_the_scores_of_the_mirrored_images(tmp_path):
    images, labels = tinted(30, seed=1)
    classifier = train(tmp_path, steps=2, test_flip=True)
    views = (images, np.ascontiguousarray(images[:, :, ::-1]))
    plain, mirrored = (classifier._apply(classifier.network, view) for view in views)
    assert not torch.allclose(plain, mirrored)
    expected = (plain + mirrored).argmax(dim=1).cpu().numpy() == labels
    assert classifier.accuracy(images, labels) == expected.mean()


def test_smoothed_labels_count_in_the_loss(tmp_path, monkeypatch):
    """Szegedy et al., 2016, section 7: a part of each label goes to all classes alike."""
    losses = []
    monkeypatch.setattr(module, "check_finite", lambda loss, *_: losses.append(loss))
    same = {"batch_size": 24, "flip_rate": 0.0, "cutout_px": 0, "pad_px": 0}
    for smoothing in (0.0, 0.2):
        train(tmp_path / str(smoothing), steps=1, label_smoothing=smoothing, **same)
    images, labels = tinted(24)
    classifier = train(tmp_path / "untrained", steps=0, **same)
    views = normalize(torch.from_numpy(images), *pixel_statistics(images)).to(classifier.device)
    with torch.no_grad():
        logs = classifier.network.train()(views).log_softmax(dim=1).cpu()
    plain = -float(logs[range(24), labels].mean())
    assert losses[0] == pytest.approx(plain, abs=0.02)
    assert losses[1] - losses[0] == pytest.approx(0.2 * (-float(logs.mean()) - plain), abs=0.01)


def test_embeddings_are_the_pre_final_layer(tmp_path):
    classifier = train(tmp_path, steps=2)
    images, _ = tinted(9, seed=1)
    before = weights(classifier.network)
    embedded = classifier.embed(images)
    assert embedded.shape == (9, classifier.network.n_features)
    assert embedded.dtype == np.float32
    assert weights(classifier.network) == before
    mean, std = pixel_statistics(tinted(24)[0])
    with torch.no_grad():
        views = normalize(torch.from_numpy(images), mean, std).to(classifier.device)
        expected = classifier.network.features(views).cpu().numpy()
    np.testing.assert_allclose(embedded, expected, rtol=0.05, atol=0.05)  # bf16 may round
    backwards = classifier.embed(np.ascontiguousarray(images[::-1]))[::-1]
    np.testing.assert_allclose(backwards, embedded, rtol=0.02, atol=0.02)


# The last one has a batch larger than the data.
@pytest.mark.parametrize(("steps", "n", "batch_size"), [(1, 24, 4), (51, 24, 4), (3, 5, 16)])
def test_every_step_is_reported(tmp_path, steps, n, batch_size):
    reported = []
    train(tmp_path, on_step=reported.append, n=n, steps=steps, batch_size=batch_size)
    assert sum(reported) == steps


def test_nan_stops_with_the_step_and_the_learning_rate(tmp_path):
    message = r"the classifier's loss is (nan|inf) at step 5 with the learning rate .*; lower"
    with pytest.raises(InputError, match=message):
        train(tmp_path, steps=6, learning_rate=1e30)


# The data are three batches. A step is reported after its checkpoint.
@pytest.mark.parametrize("last", [2, 3, 8, 12])
def test_an_interrupted_training_resumes_to_the_same_bytes(tmp_path, save_every_epoch, last):
    complete = train(tmp_path / "complete").network
    with pytest.raises(Stop):
        train(tmp_path / "cut", on_step=stop_at(last))
    reported = []
    continued = train(tmp_path / "cut", on_step=reported.append).network
    assert reported[0] == last // 3 * 3
    assert sum(reported) == 12
    assert weights(continued) == weights(complete)


def run_slowly_saved(directory, counter):
    """Target of the process that is killed; a checkpoint after every epoch."""
    torch.set_num_threads(1)
    module.Checkpoint = functools.partial(Checkpoint, every_s=0.0)

    def on_step(n):
        with open(counter, "a") as file:
            file.write("." * n)

    train(directory, on_step=on_step, steps=30)


def test_a_killed_training_resumes_to_the_same_bytes(tmp_path, save_every_epoch):
    complete = train(tmp_path / "complete", steps=30).network
    for run, last in enumerate((5, 14)):
        counter = tmp_path / f"steps{run}"
        process = start(run_slowly_saved, tmp_path / "cut", counter)
        kill_when(process, lambda file=counter, n=last: file.exists() and file.stat().st_size >= n)
    continued = train(tmp_path / "cut", steps=30).network
    assert weights(continued) == weights(complete)


@pytest.mark.parametrize("value", [-0.1, 1.0])
def test_smoothing_outside_0_to_1_is_refused(value):
    message = f"label_smoothing {value} .* at least 0 and below 1; change it"
    with pytest.raises(InputError, match=message):
        classifier_params(label_smoothing=value)
