"""What is written of a model's answers: predictions.csv, summary.json, and the sentences."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, is_dataclass

import numpy as np

from zeroshot_al.predicting.accuracy import Estimate
from zeroshot_al.predicting.calibration import probabilities
from zeroshot_al.predicting.labelled import Labelled


@dataclass(frozen=True, eq=False)
class Guesses:
    """The calibrated answers to images.

    Parameters
    ----------
    codes : ndarray of shape (n,), int64
        The most probable class of each.
    probability, margin : ndarray of shape (n,)
        Of it, and how much more probable it is than the next class.
    """

    codes: np.ndarray
    probability: np.ndarray
    margin: np.ndarray

    @classmethod
    def of(cls, logits: np.ndarray, temperature: float) -> "Guesses":
        """Make them of logits (n, n_classes) of two classes at least."""
        found = probabilities(logits, temperature)
        ranked = np.sort(found, axis=1)
        return cls(found.argmax(axis=1), ranked[:, -1], ranked[:, -1] - ranked[:, -2])

    def rows(
        self, ids: Sequence[str], classes: Sequence[str], labels: Sequence[str]
    ) -> Iterator[tuple]:
        """Yield the rows of predictions.csv; the label of an image without one is empty."""
        numbers = zip(self.codes.tolist(), self.probability, self.margin, strict=True)
        for name, label, (code, probability, margin) in zip(ids, labels, numbers, strict=True):
            yield name, classes[code], f"{probability:.4f}", f"{margin:.4f}", label


def pool_labels(labelled: Labelled, n_images: int) -> list[str]:
    """Return the label of each image of a pool, "" without one."""
    labels = [""] * n_images
    for index, code in zip(labelled.indices, labelled.codes, strict=True):
        labels[index] = labelled.classes[code]
    return labels


def plain(value: object) -> object:
    """Return what JSON can hold of a summary; floats with 6 digits."""
    if is_dataclass(value):
        value = asdict(value)
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return round(value, 6) if isinstance(value, float) else value


def in_percent(found: Estimate) -> str:
    """Write a share and its interval."""
    low, high = max(found.low, 0), min(found.high, 1)
    return f"{100 * found.value:.1f}% ({100 * low:.1f} to {100 * high:.1f})"


def in_points(found: Estimate) -> str:
    """Write a difference of shares and its interval."""
    low, value, high = (100 * x for x in (found.low, found.value, found.high))
    return f"{value:+.1f} points ({low:+.1f} to {high:+.1f})"


def sentences(summary: dict) -> list[str]:
    """Say how good the model is, and what to do next.

    Parameters
    ----------
    summary : dict
        As summary.json holds it, with `Estimate` in the place of its dicts.
    """
    said = []
    n, accuracy = summary["labels"], summary["accuracy"]
    if accuracy is None:
        said.append(f"{n:,} labels are too few to say how good the model is; label on.")
    else:
        said.append(
            f"On {n:,} labels the model is right for {in_percent(accuracy)} of the pool, by "
            "cross-validation, weighted to be like the pool; 95% interval."
        )
    if summary["accuracy_test"] is not None:
        found = summary["accuracy_test"]
        said.append(f"On the {found.n:,} images of the test folder: {in_percent(found)}.")
    if summary["accuracy_random"] is not None:
        found = summary["accuracy_random"]
        said.append(f"On the {found.n:,} labels drawn at random alone: {in_percent(found)}.")
    if summary["order_and_random"] is not None:
        said.append(_order_and_random(summary["order_and_random"]))
    if single := summary["single_label_classes"]:
        said.append(
            f"Of {', '.join(single)} there is one label: it is trained on, and never tested."
        )
    said.append(_when_to_stop(summary["rounds"]))
    return said


def _order_and_random(found: dict) -> str:
    verdict = "the order is better than random"
    if found["difference"].high < 0:
        verdict = "random images are better here"
    elif found["difference"].low <= 0:
        verdict = "that does not tell them apart yet"
    return (
        f"With {found['labels']:,} labels each, first picks of the order give "
        f"{found['order']:.1%}, random images {found['random']:.1%}, a difference of "
        f"{in_points(found['difference'])}: {verdict}."
    )


def _when_to_stop(rounds: list[dict]) -> str:
    if not rounds or rounds[-1]["gain"] is None:
        return "After the next batch this says what a batch adds, and so when to stop."
    before, last = rounds[-2:]
    added = last["labels"] - before["labels"]
    gain = last["gain"]
    advice = "the next of that size will hardly add more than that"
    if gain.low <= 0:
        advice = "that may be nothing, so stop or take a larger batch"
    return f"The last {added:,} labels changed the accuracy by {in_points(gain)}; {advice}."
