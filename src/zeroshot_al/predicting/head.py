"""The head that spends a user's labels: logistic regression on an encoder's embeddings."""

from dataclasses import dataclass

import numpy as np

from zeroshot_al.predicting.calibration import fit_temperature, log_loss
from zeroshot_al.probing.heads import fit_linear

STRENGTHS = (1.0, 3.0, 10.0, 30.0, 100.0)
"""Inverse regularisations that are tried, up to the first that is worse than the one before."""
FEW = 2000
"""Labels up to which there are ten folds; above, a fifth less in training costs little."""
UNTRIED = 10.0
"""Where there are too few labels to try with."""


@dataclass(frozen=True, eq=False)
class Head:
    """A linear classifier.

    Parameters
    ----------
    weight, bias : ndarray of shape (n_classes, n_dims) and (n_classes,), float32
        A class without a label has the bias -inf.
    """

    weight: np.ndarray
    bias: np.ndarray

    def logits(self, rows: np.ndarray) -> np.ndarray:
        """Return float32 (n, n_classes) of centred rows."""
        return rows @ self.weight.T + self.bias


def fit_head(rows: np.ndarray, labels: np.ndarray, n_classes: int, strength: float) -> Head:
    """Fit a head to centred rows, float32 (n, n_dims), and labels, int64 (n,).

    Labels of one class alone make a head that knows no other.
    """
    weight = np.zeros((n_classes, rows.shape[1]), dtype=np.float32)
    bias = np.full(n_classes, -np.inf, dtype=np.float32)
    found = np.unique(labels)
    bias[found] = 0
    if len(found) > 1:
        model = fit_linear(rows, labels, strength)
        # Of two classes scikit-learn keeps one row, the difference of the two.
        both = (model.coef_, model.intercept_)
        coef, intercept = [np.stack([-x[0], x[0]]) / 2 for x in both] if len(found) == 2 else both
        weight[found], bias[found] = coef, intercept
    return Head(weight, bias)


def stratified_folds(labels: np.ndarray, n_folds: int, seed: int) -> np.ndarray:
    """Give each label a fold, a class's in turn; -1, always in training, to a class's only one.

    scikit-learn's own splitter would hold out a class's only label.

    Parameters
    ----------
    labels : ndarray of shape (n,), int64
    n_folds, seed : int
    """
    rng = np.random.default_rng(seed)
    folds = np.full(len(labels), -1)
    start = 0
    for name in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == name))
        if len(members) > 1:
            folds[members] = (start + np.arange(len(members))) % n_folds
            start += len(members)
    return folds


def logits_out_of_fold(
    rows: np.ndarray,
    labels: np.ndarray,
    folds: np.ndarray,
    n_classes: int,
    strength: float,
    trained: np.ndarray | None = None,
) -> tuple[np.ndarray, list[Head]]:
    """Return each label's logits by a head that was fitted without its fold, and these heads.

    Parameters
    ----------
    rows, labels, folds
        Centred float32 (n, n_dims), int64 (n,), and int64 (n,) of `stratified_folds`.
    trained : ndarray of shape (n,), bool, optional
        The labels that heads are fitted to; None: all.

    Returns
    -------
    ndarray of shape (n, n_classes), float32
        NaN in the rows of the fold -1.
    list of Head
        One a fold.
    """
    heads = []
    logits = np.full((len(rows), n_classes), np.nan, dtype=np.float32)
    trained = np.ones(len(rows), dtype=bool) if trained is None else trained
    for fold in np.unique(folds[folds >= 0]):
        held, kept = folds == fold, (folds != fold) & trained
        heads.append(fit_head(rows[kept], labels[kept], n_classes, strength))
        logits[held] = heads[-1].logits(rows[held])
    return logits, heads


def choose_strength(
    rows: np.ndarray, labels: np.ndarray, folds: np.ndarray, n_classes: int
) -> tuple[float, np.ndarray, list[Head]]:
    """Choose the strength whose probabilities out of fold are best once they are calibrated.

    Returns
    -------
    float
        Of `STRENGTHS`.
    ndarray of shape (n, n_classes), float32, and list of Head
        What `logits_out_of_fold` returns with it.
    """
    best = (np.inf, UNTRIED, np.full((len(rows), n_classes), np.nan, dtype=np.float32), [])
    for strength in STRENGTHS if (folds >= 0).any() else ():
        logits, heads = logits_out_of_fold(rows, labels, folds, n_classes, strength)
        # Without its fold a class may have no label, and its logits are -inf.
        tested = np.isfinite(logits[np.arange(len(rows)), labels])
        if not tested.any():
            continue
        temperature = fit_temperature(logits[tested], labels[tested])
        loss = log_loss(logits[tested] / temperature, labels[tested])
        if loss >= best[0]:
            break  # the next would be worse still, and take longest
        best = (loss, strength, logits, heads)
    return best[1:]
