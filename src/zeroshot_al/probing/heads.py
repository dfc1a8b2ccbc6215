"""Two heads on frozen features, at every budget of an order: logistic regression and 1-NN."""

import warnings
from collections.abc import Sequence

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

HEADS = ("linear", "nearest")
MAX_ITER = 1000


def centred(rows: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Subtract a mean of features and bring each row to length 1, float32 (n, n_dims)."""
    rows = rows.astype(np.float32) - mean.astype(np.float32)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def fit_linear(rows: np.ndarray, labels: np.ndarray, linear_c: float) -> LogisticRegression:
    """Fit the logistic regression to centred rows, whose labels are of two classes at least."""
    with warnings.catch_warnings():
        # A fit that is stopped after so many steps predicts as well.
        warnings.simplefilter("ignore", ConvergenceWarning)
        # Nor do many classes with a label or two each make it a regression.
        warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)
        return LogisticRegression(C=linear_c, max_iter=MAX_ITER).fit(rows, labels)


def head_accuracies(
    rows: np.ndarray,
    labels: np.ndarray,
    test_rows: np.ndarray,
    test_labels: np.ndarray,
    budgets: Sequence[int],
    linear_c: float,
    *,
    balanced: bool = False,
) -> dict[str, list[float]]:
    """Return the test accuracies of both heads with the first labels of an order.

    Parameters
    ----------
    rows, labels : ndarray of shape (n_picks, n_dims), float32, and (n_picks,), int64
        Features and labels of the picks by rank; rows of length 1.
    test_rows, test_labels : ndarray, likewise
    budgets : sequence of int
        Increasing, at most n_picks.
    linear_c : float
        Inverse regularisation of the logistic regression.
    balanced : bool
        The mean over the classes of the test images, in place of the mean over the images.

    Returns
    -------
    dict of str to list of float
        By head of `HEADS`, an accuracy a budget.
    """
    nearest = _nearest_labels(rows, labels, test_rows, budgets)
    linear = [
        _linear_labels(rows[:budget], labels[:budget], test_rows, linear_c) for budget in budgets
    ]
    return {
        head: [accuracy(found, test_labels, balanced=balanced) for found in predictions]
        for head, predictions in zip(HEADS, (linear, nearest), strict=True)
    }


def accuracy(predicted: np.ndarray, labels: np.ndarray, *, balanced: bool) -> float:
    """Return the share of images that are right, or its mean over the classes."""
    right = predicted == labels
    if not balanced:
        return float(right.mean())
    return float(np.mean([right[labels == name].mean() for name in np.unique(labels)]))


def _linear_labels(
    rows: np.ndarray, labels: np.ndarray, test_rows: np.ndarray, linear_c: float
) -> np.ndarray:
    if (labels == labels[0]).all():
        return np.full(len(test_rows), labels[0])
    return fit_linear(rows, labels, linear_c).predict(test_rows)


def _nearest_labels(
    rows: np.ndarray, labels: np.ndarray, test_rows: np.ndarray, budgets: Sequence[int]
) -> list[np.ndarray]:
    """Return what the nearest of the first picks says of each test image, a budget at a time."""
    best = np.full(len(test_rows), -np.inf, dtype=np.float32)
    found = np.zeros(len(test_rows), dtype=np.int64)
    predictions, start = [], 0
    for budget in budgets:
        for first in range(start, budget, 1024):
            part = slice(first, min(first + 1024, budget))
            similarity = test_rows @ rows[part].T
            place = similarity.argmax(axis=1)
            value = similarity[np.arange(len(test_rows)), place]
            nearer = value > best  # of equally near ones the earliest
            best[nearer], found[nearer] = value[nearer], labels[part][place[nearer]]
        predictions.append(found.copy())
        start = budget
    return predictions
