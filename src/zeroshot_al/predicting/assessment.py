"""What held-out labels say of a model: its accuracy, what rounds added, doubtful labels."""

from dataclasses import dataclass

import numpy as np

from zeroshot_al.predicting.accuracy import Estimate, difference, share, weighted, weights_for
from zeroshot_al.predicting.calibration import calibration_error, fit_temperature, probabilities
from zeroshot_al.predicting.head import UNTRIED, choose_strength, fit_head, logits_out_of_fold
from zeroshot_al.predicting.labelled import Labelled

FEWEST_RANDOM = 20  # random labels for a figure of their own
# What the weights leave, and what a tenth fewer labels cost: docs/benchmarks/labels.md.
ACCURACY_ERROR = 0.01


@dataclass(frozen=True, eq=False)
class HeldOut:
    """The answers to labels that were held out; `n` of them, those of a fold.

    Parameters
    ----------
    places : ndarray of shape (n,), int64
        Of them among all labels.
    codes : ndarray of shape (n,), int64
        The labels.
    probabilities : ndarray of shape (n, n_classes)
        Calibrated.
    temperature : float
    sample_confidence : ndarray of shape (n_sample,)
        Of the same models, in the mean, for a sample of the pool: a model that was fitted to all
        labels is surer, and would make the accuracy look 2 points better.
    """

    places: np.ndarray
    codes: np.ndarray
    probabilities: np.ndarray
    temperature: float
    sample_confidence: np.ndarray

    @classmethod
    def of(cls, logits: np.ndarray, codes: np.ndarray, sample_logits: np.ndarray) -> "HeldOut":
        """Calibrate the logits of all labels, NaN where one was not held out, and of the sample.

        The last are (n_folds, n_sample, n_classes).
        """
        places = np.flatnonzero(np.isfinite(logits).any(axis=1))
        temperature = fit_temperature(logits[places], codes[places])
        sure = probabilities(sample_logits, temperature).max(axis=2)
        sample_confidence = sure.sum(axis=0) / max(1, len(sure))
        of_labels = probabilities(logits[places], temperature)
        return cls(places, codes[places], of_labels, temperature, sample_confidence)

    @property
    def guesses(self) -> np.ndarray:
        """Class indices, int64 (n,)."""
        return self.probabilities.argmax(axis=1)

    @property
    def confidence(self) -> np.ndarray:
        """Probability of each guess, (n,)."""
        return self.probabilities.max(axis=1)

    @property
    def right(self) -> np.ndarray:
        """Whether each guess is the label, float64 (n,)."""
        return (self.guesses == self.codes).astype(np.float64)

    def confusion(self) -> np.ndarray:
        """Count the guesses (columns) of each label (rows), int64 (n_classes, n_classes)."""
        n_classes = self.probabilities.shape[1]
        pairs = self.codes * n_classes + self.guesses
        return np.bincount(pairs, minlength=n_classes**2).reshape(n_classes, n_classes)

    def doubtful(self) -> np.ndarray:
        """Find labels that contradict a confident guess, the most doubtful first.

        Returns
        -------
        ndarray of int64
            Their numbers among the `n`.

        References
        ----------
        Northcutt et al., "Confident Learning", 2021, section 3.1: a label is doubtful if another
        class is as probable as it is, in the mean, for images of that class. Deviation: and if it
        has itself less than half the probability of chance, else every fifth label is doubtful
        where a model is right for two of three.
        """
        n_classes = self.probabilities.shape[1]
        thresholds = np.full(n_classes, np.inf)
        for code in np.unique(self.codes):
            thresholds[code] = self.probabilities[self.codes == code, code].mean()
        confident = np.where(self.probabilities >= thresholds, self.probabilities, 0)
        own = self.probabilities[np.arange(len(self.codes)), self.codes]
        doubted = confident.any(axis=1) & (confident.argmax(axis=1) != self.codes)
        doubted &= own < 0.5 / n_classes
        return np.flatnonzero(doubted)[np.argsort(own[doubted], kind="stable")]


@dataclass(frozen=True, eq=False)
class PoolLikeness:
    """The labels that were held out, weighted to be as sure and as densely placed as the pool.

    Parameters
    ----------
    properties : ndarray of shape (n, 2)
        Confidence and density of each.
    pool_mean : ndarray of shape (2,)
        Of the images without a label.
    """

    properties: np.ndarray
    pool_mean: np.ndarray

    @property
    def weights(self) -> np.ndarray:
        """As `accuracy.weights_for` returns them."""
        return weights_for(self.properties, self.pool_mean)

    def estimate(self, values: np.ndarray) -> Estimate:
        """Estimate the pool's mean of values that are known of the labels."""
        return weighted(values, self.weights, self.properties)


def assess(held: HeldOut, like: PoolLikeness, labelled: Labelled) -> dict:
    """Return the accuracy on the pool, that on the random labels alone, and the calibration error.

    Accuracies are None where too few labels can tell them.
    """
    found = {"accuracy": None, "accuracy_random": None, "calibration_error": None}
    if len(held.places) > like.properties.shape[1] + 1:
        found["accuracy"] = like.estimate(held.right).widened(ACCURACY_ERROR)
        error = calibration_error(held.confidence, held.right, like.weights)
        found["calibration_error"] = error
    random = labelled.is_random[held.places]
    if random.sum() >= FEWEST_RANDOM:
        found["accuracy_random"] = share(int(held.right[random].sum()), int(random.sum()))
    return found


def gains(
    rows: np.ndarray, labelled: Labelled, folds: np.ndarray, held: HeldOut, like: PoolLikeness
) -> list[dict]:
    """Measure what each round's labels added, by heads on the labels up to it.

    All are asked about the same labels, those of all rounds, each by a head that was fitted
    without its fold.

    Returns
    -------
    list of dict
        Round, labels up to it, accuracy, and gain over the round before.
    """
    numbers = np.unique(labelled.rounds[labelled.rounds > 0])
    found, before = [], None
    n_classes = len(labelled.classes)
    for number in numbers:
        trained = labelled.rounds <= number
        known = (rows[trained], labelled.codes[trained], folds[trained])
        strength = choose_strength(*known, n_classes)[0]
        logits, _ = logits_out_of_fold(rows, labelled.codes, folds, n_classes, strength, trained)
        right = (logits[held.places].argmax(axis=1) == held.codes).astype(np.float64)
        gain = None if before is None else like.estimate(right - before)
        found.append(
            {
                "round": int(number),
                "labels": int(trained.sum()),
                "accuracy": like.estimate(right).widened(ACCURACY_ERROR),
                "gain": gain,
            }
        )
        before = right
    return found


def compare_with_random(rows: np.ndarray, labelled: Labelled, folds: np.ndarray) -> dict | None:
    """Compare the first picks of the order with as many random images, on the random ones.

    Each random image is asked about by a head that was fitted to the others, and by one that was
    fitted to equally many first picks.

    Returns
    -------
    dict or None
        Labels of each, both accuracies, and the difference; None with too few random labels.
    """
    picks = np.flatnonzero((labelled.rounds > 0) & ~labelled.is_random)
    n_classes, codes = len(labelled.classes), labelled.codes
    right: dict[str, list] = {"order": [], "random": []}
    n_trained = []
    for fold in np.unique(folds[labelled.is_random & (folds >= 0)]):
        asked = labelled.is_random & (folds == fold)
        others = np.flatnonzero(labelled.is_random & (folds != fold))
        n_trained.append(len(others))
        if len(others) == 0 or len(others) > len(picks):
            return None
        for name, places in (("order", picks[: len(others)]), ("random", others)):
            head = fit_head(rows[places], codes[places], n_classes, UNTRIED)
            right[name].append(head.logits(rows[asked]).argmax(axis=1) == codes[asked])
    if sum(map(len, right["order"])) < FEWEST_RANDOM:
        return None
    order, random = (np.concatenate(found).astype(np.float64) for found in right.values())
    return {
        "labels": round(float(np.mean(n_trained))),
        "order": float(order.mean()),
        "random": float(random.mean()),
        "difference": difference(order - random),
    }
